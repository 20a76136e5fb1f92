// One data connection: a TPM command in, its response out, as stock swtpm frames them on its socket.
import CSystem
import Glibc
import IPC
import SystemMap
import TPMWire
import Wire

/// How a command lies in the bytes of one read.
package struct CommandFrame: Equatable {
    /// Bytes of swtpm's header before the command: TPM_SEND_COMMAND, locality, length.
    static let headerSize = 9
    private static let sendCommand: UInt32 = 8

    /// Where the command begins; 0 without a header.
    package var start: Int
    /// The header's locality.
    package var locality: UInt8?
    /// How many bytes the whole needs, as the command itself says.
    package var needed: Int

    /// Nil until the bytes say how many they shall be.
    package init?(_ bytes: some RandomAccessCollection<UInt8>, allowsHeader: Bool) {
        guard bytes.count >= MessageHeader.size else { return nil }
        func u32(_ offset: Int) -> UInt32 {
            (0..<4).reduce(0) { $0 << 8 | UInt32(bytes[bytes.index(bytes.startIndex, offsetBy: offset + $1)]) }
        }
        if allowsHeader, u32(0) == Self.sendCommand {
            start = Self.headerSize
            locality = bytes[bytes.index(bytes.startIndex, offsetBy: 4)]
            needed = Self.headerSize + Int(u32(5))
        } else {
            start = 0
            needed = Int(u32(2))
        }
    }

    /// The largest command with its header, in bytes; what is longer is answered TPM_RC_COMMAND_SIZE in parts, as it comes.
    static let largest = headerSize + 4096

    /// Whether so many bytes are the whole. More than any command is not waited for.
    func isAll(of count: Int) -> Bool { needed <= count || needed > Self.largest }
}

package final class DataConnection {
    /// Bytes of one read: more than most commands have, and little enough for the stack.
    private static let readSize = 1000
    /// How long the rest of a command that has begun may take, in milliseconds.
    package static let patience: Int32 = 500

    package let descriptor: Descriptor
    private let allowsHeader: Bool
    private let mark: CommandMark
    /// A command, or its beginning whose rest is still to come.
    private var partial: [UInt8] = []

    package init(_ descriptor: Descriptor, allowsHeader: Bool, mark: CommandMark) {
        self.descriptor = descriptor
        self.allowsHeader = allowsHeader
        self.mark = mark
    }

    /// Serves one command, or takes a part of one; false when the client is gone.
    ///
    /// From before a command is read until it is answered the mark is set: should the proxy die of it, the next one answers
    /// TPM_RC_RETRY (`answerInterrupted`).
    package func serve(_ execute: (_ command: [UInt8], _ locality: UInt8?) -> [UInt8]) -> Bool {
        mark.isTaken = true
        let part = receive()
        guard let part, !part.isEmpty else {
            mark.isTaken = false
            return part == nil
        }
        partial = partial.isEmpty ? part : partial + part
        guard let frame = CommandFrame(partial, allowsHeader: allowsHeader), frame.isAll(of: partial.count) else {
            mark.isTaken = false
            return true
        }
        return run(frame, execute)
    }

    /// Whether the rest of a command is awaited; after `patience` comes `endWaiting`.
    package var isMidway: Bool { !partial.isEmpty }

    /// The rest did not come: what there is is for the TPM to refuse, if it is a command at all.
    package func endWaiting(_ execute: ([UInt8], UInt8?) -> [UInt8]) -> Bool {
        guard let frame = CommandFrame(partial, allowsHeader: allowsHeader) else { return true }
        return run(frame, execute)
    }

    private func run(_ frame: CommandFrame, _ execute: ([UInt8], UInt8?) -> [UInt8]) -> Bool {
        let command = frame.start == 0 ? partial : Array(partial[frame.start...])
        partial = []
        mark.isFramed = frame.start > 0
        mark.isTaken = true
        let response = execute(command, frame.locality)
        // Better no answer than two.
        mark.isTaken = false
        return respond(response)
    }

    /// A command that a former proxy took, or left in the socket, when it died.
    package func answerInterrupted(_ response: [UInt8]) {
        if let left = receive(), let frame = CommandFrame(left, allowsHeader: allowsHeader) {
            mark.isFramed = frame.start > 0
            mark.isTaken = true
        }
        guard mark.isTaken else { return }
        mark.isTaken = false
        _ = respond(response)
    }

    /// What is there, as far as there is room for it. Nil: nothing; empty: the client is gone.
    private func receive() -> [UInt8]? {
        let room = CommandFrame.largest - partial.count
        let first = read(min(room, Self.readSize))
        guard let first, first.count == Self.readSize else { return first }
        return first + (read(room - first.count) ?? [])
    }

    private func read(_ most: Int) -> [UInt8]? {
        withUnsafeTemporaryAllocation(byteCount: most, alignment: 1) { buffer in
            let count = recv(descriptor.raw, buffer.baseAddress, most, Int32(MSG_DONTWAIT))
            return count < 0 && (errno == EINTR || errno == EAGAIN) ? nil : Array(buffer[..<max(0, count)])
        }
    }

    /// With a header before the command, the response stands between its length and a 32-bit 0.
    private func respond(_ response: [UInt8]) -> Bool {
        guard mark.isFramed else { return send(response) }
        return send(UInt32(response.count).wire + response + UInt32(0).wire)
    }

    private func send(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            // SAFETY: `sent` is below the count, so the range is inside the array.
            let count = bytes.withUnsafeBytes { csystem_send(descriptor.raw, $0.baseAddress! + sent, $0.count - sent, nil, 0, 0) }
            guard count > 0 else { return false }
            sent += count
        }
        return true
    }
}
