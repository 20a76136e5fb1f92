// Command and response framing (Part 1, 18; Part 2, 6.9): header, handles, authorization area, parameters.
import Wire

/// One TPMS_AUTH_COMMAND (Part 2, 10.13.2)
package struct AuthCommand: Sendable, WireCodable {
    package var handle: TPMHandle
    package var nonce: [UInt8]
    package var attributes: SessionAttributes
    package var hmac: [UInt8]

    package init(handle: TPMHandle, nonce: [UInt8] = [], attributes: SessionAttributes = [], hmac: [UInt8] = []) {
        self.handle = handle
        self.nonce = nonce
        self.attributes = attributes
        self.hmac = hmac
    }
    package init(from reader: inout WireReader) throws(WireError) {
        handle = try reader.value()
        guard handle.isSession || handle == .password else { throw .rc(.value) }
        nonce = try reader.sized16(max: HashAlgorithm.largestDigest)
        attributes = try reader.value()
        hmac = try reader.sized16(max: HashAlgorithm.largestDigest)
    }
    package func encode(to writer: inout WireWriter) {
        writer.value(handle)
        writer.sized16(nonce)
        writer.value(attributes)
        writer.sized16(hmac)
    }
}

/// One TPMS_AUTH_RESPONSE (Part 2, 10.13.3)
package struct AuthResponse: Sendable, WireCodable {
    package var nonce: [UInt8]
    package var attributes: SessionAttributes
    package var hmac: [UInt8]
    package init(nonce: [UInt8] = [], attributes: SessionAttributes, hmac: [UInt8] = []) {
        self.nonce = nonce
        self.attributes = attributes
        self.hmac = hmac
    }
    package init(from reader: inout WireReader) throws(WireError) {
        nonce = try reader.sized16(max: HashAlgorithm.largestDigest)
        attributes = try reader.value()
        hmac = try reader.sized16(max: HashAlgorithm.largestDigest)
    }
    package func encode(to writer: inout WireWriter) {
        writer.sized16(nonce)
        writer.value(attributes)
        writer.sized16(hmac)
    }
}

/// The ten bytes before everything: tag, size, command or response code.
package struct MessageHeader: Sendable, WireCodable {
    package static let size = 10
    package var tag: UInt16
    /// The whole message's size in bytes, this header included.
    package var size: UInt32
    package var code: UInt32

    package init(tag: UInt16, size: UInt32, code: UInt32) {
        self.tag = tag
        self.size = size
        self.code = code
    }
    package init(from reader: inout WireReader) throws(WireError) {
        tag = try reader.u16()
        size = try reader.u32()
        code = try reader.u32()
    }
    package func encode(to writer: inout WireWriter) {
        writer.u16(tag)
        writer.u32(size)
        writer.u32(code)
    }
}

/// A command as it goes to a TPM (used by everyone who talks to one: the device owner, and tests).
package struct CommandMessage: Sendable {
    package var code: TPMCommandCode
    package var handles: [TPMHandle]
    package var sessions: [AuthCommand]
    package var parameters: [UInt8]

    package init(_ code: TPMCommandCode, handles: [TPMHandle] = [], sessions: [AuthCommand] = [], parameters: [UInt8] = []) {
        self.code = code
        self.handles = handles
        self.sessions = sessions
        self.parameters = parameters
    }

    package var bytes: [UInt8] {
        var area = WireWriter()
        for session in sessions { area.value(session) }
        let authorization = sessions.isEmpty ? 0 : 4 + area.bytes.count
        let size = MessageHeader.size + handles.count * TPMHandle.size + authorization + parameters.count
        var writer = WireWriter(capacity: size)
        let tag = sessions.isEmpty ? StructureTag.noSessions : StructureTag.sessions
        writer.value(MessageHeader(tag: tag, size: UInt32(size), code: code.rawValue))
        for handle in handles { writer.value(handle) }
        if !sessions.isEmpty { writer.sized32(area.bytes) }
        writer.raw(parameters)
        return writer.bytes
    }
}

/// A response from a TPM, taken apart with checked lengths.
package struct ResponseMessage: Sendable {
    package var code: TPMRC
    package var handle: TPMHandle?
    package var parameters: [UInt8]
    package var sessions: [AuthResponse]

    /// - Parameters:
    ///   - bytes: the whole response, and nothing behind it.
    ///   - hasHandle: whether the command's successful response has a handle.
    package init(_ bytes: [UInt8], hasHandle: Bool) throws(WireError) {
        var reader = WireReader(bytes)
        let header = try reader.value(MessageHeader.self)
        guard Int(header.size) == bytes.count else { throw .truncated }
        code = TPMRC(rawValue: header.code)
        parameters = []
        sessions = []
        guard code == .success else {
            try reader.finish()
            return
        }
        if hasHandle { handle = try reader.value() }
        switch header.tag {
        case StructureTag.noSessions: parameters = reader.rest()
        case StructureTag.sessions:
            parameters = try reader.sized32(max: reader.remaining)
            while !reader.isAtEnd { sessions.append(try reader.value()) }
        default: throw .invalid(0)
        }
    }
}
