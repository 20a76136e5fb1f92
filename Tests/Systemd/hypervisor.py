#!/usr/bin/python3
"""A hypervisor for tests: has a guest's TPM switched on, or hands it a data socket and passes TPM commands on.

    hypervisor.py SOCKET init      CMD_INIT: the TPM's power comes on
    hypervisor.py SOCKET locality N  CMD_SET_LOCALITY
    hypervisor.py SOCKET relay     commands from standard input, answers to standard output (tpm2-tss: TCTI "cmd:")
"""
import array
import os
import socket
import struct
import sys

INIT, SET_LOCALITY, SET_DATAFD = 2, 5, 16


def request(control, command, body=b"", descriptor=None):
    """One control command; its result is the first word of the answer."""
    rights = []
    if descriptor is not None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
    control.sendmsg([struct.pack(">I", command) + body], rights)
    result = struct.unpack(">I", control.recv(4))[0]
    if result:
        sys.exit(f"control command {command} failed with {result:#x}")


def message(stream):
    """One TPM command or response: tag, size, and the rest."""
    header = stream.read(6)
    if len(header) < 6:
        return None
    return header + stream.read(struct.unpack(">I", header[2:6])[0] - 6)


def relay(control):
    ours, theirs = socket.socketpair()
    request(control, SET_DATAFD, descriptor=theirs.fileno())
    theirs.close()
    answers = ours.makefile("rb")
    while (command := message(sys.stdin.buffer)) is not None:
        ours.sendall(command)
        sys.stdout.buffer.write(message(answers))
        sys.stdout.buffer.flush()


control = socket.socket(socket.AF_UNIX)
control.connect(sys.argv[1])
if sys.argv[2] == "init":
    request(control, INIT, struct.pack(">I", 0))
elif sys.argv[2] == "locality":
    request(control, SET_LOCALITY, bytes([int(sys.argv[3])]))
else:
    relay(control)
