// One data connection: a TPM command in, its response out, as stock swtpm frames them on its socket.
import CSystem
import Glibc
import IPC
import TPMWire

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
        func u32(_ offset: Int) -> UInt32 {
            bytes.dropFirst(offset).prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
        }
        guard bytes.count >= MessageHeader.size else { return nil }
        if allowsHeader, u32(0) == Self.sendCommand {
            start = Self.headerSize
            locality = bytes.dropFirst(4).first
            needed = Self.headerSize + Int(u32(5))
        } else {
            start = 0
            needed = Int(u32(2))
        }
    }
}

package final class DataConnection {
    /// The largest command with its header; what is longer is answered TPM_RC_COMMAND_SIZE in parts, as it comes.
    private static let bufferSize = CommandFrame.headerSize + 4096
    /// How long the rest of a command that has begun may take, in milliseconds.
    package static let patience: Int32 = 500

    package let descriptor: Descriptor
    private let allowsHeader: Bool
    /// The beginning of a command whose rest is still to come.
    private var partial: [UInt8] = []
    private var buffer = [UInt8](repeating: 0, count: bufferSize)

    package init(_ descriptor: Descriptor, allowsHeader: Bool) {
        self.descriptor = descriptor
        self.allowsHeader = allowsHeader
    }

    /// Serves one command, or takes a part of one; false when the client is gone.
    ///
    /// A command that came whole stays in the socket until it is executed: should the proxy die of it, the next one finds it
    /// there and answers TPM_RC_RETRY (`answerInterrupted`).
    package func serve(_ execute: (_ command: [UInt8], _ locality: UInt8?) -> [UInt8]) -> Bool {
        guard partial.isEmpty else { return takePart(execute) }
        let present = recv(descriptor.raw, &buffer, buffer.count, Int32(MSG_PEEK))
        guard present > 0 else { return present < 0 && errno == EINTR }
        guard let frame = CommandFrame(buffer[..<present], allowsHeader: allowsHeader), frame.needed <= present else {
            return takePart(execute)
        }
        let response = execute(Array(buffer[frame.start..<present]), frame.locality)
        return recv(descriptor.raw, &buffer, present, 0) == present && respond(response, frame)
    }

    /// Whether the rest of a command is awaited; after `patience` comes `endWaiting`.
    package var isMidway: Bool { !partial.isEmpty }

    /// The rest did not come: what there is is for the TPM to refuse, if it is a command at all.
    package func endWaiting(_ execute: ([UInt8], UInt8?) -> [UInt8]) -> Bool {
        guard let frame = CommandFrame(partial, allowsHeader: allowsHeader) else { return true }
        let command = Array(partial[frame.start...])
        partial = []
        return respond(execute(command, frame.locality), frame)
    }

    private func takePart(_ execute: ([UInt8], UInt8?) -> [UInt8]) -> Bool {
        let count = recv(descriptor.raw, &buffer, buffer.count - partial.count, 0)
        guard count > 0 else { return count < 0 && errno == EINTR }
        partial += buffer[..<count]
        guard let frame = CommandFrame(partial, allowsHeader: allowsHeader) else { return true }
        // More than any command is not waited for, so there is always room for another part.
        let isComplete = frame.needed <= partial.count || frame.needed > buffer.count
        return isComplete ? endWaiting(execute) : true
    }

    /// A command that a former proxy left in the socket when it died.
    package func answerInterrupted(_ response: [UInt8]) {
        let count = recv(descriptor.raw, &buffer, buffer.count, Int32(MSG_DONTWAIT))
        guard count > 0, let frame = CommandFrame(buffer[..<count], allowsHeader: allowsHeader) else { return }
        _ = respond(response, frame)
    }

    /// With a header before the command, the response stands between its length and a 32-bit 0.
    private func respond(_ response: [UInt8], _ frame: CommandFrame) -> Bool {
        guard frame.start > 0 else { return send(response) }
        let size = UInt32(response.count)
        let prefix = [UInt8(truncatingIfNeeded: size >> 24), UInt8(truncatingIfNeeded: size >> 16),
                      UInt8(truncatingIfNeeded: size >> 8), UInt8(truncatingIfNeeded: size)]
        return send(prefix + response + [0, 0, 0, 0])
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
