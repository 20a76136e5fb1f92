// How subcommands ask a service and read files.
import ArgumentParser
import Attestation
import CryptoBase
import Glibc
import GuestIdentity
import IPC
import SystemMap

extension Instance {
    /// One call to a service, with its errors in words.
    /// - Parameter explained: what some statuses mean here.
    func ask<C: Call>(
        _ service: ServiceName, _ call: C.Type, _ request: C.Request, explained: [CallStatus: String] = [:]
    ) throws(Failure) -> C.Reply {
        do throws(IPCError) {
            // Making keys takes minutes on slow chips.
            return try Channel.connect(socket(service), timeout: 300).call(call, request)
        } catch {
            if case .status(let status) = error, let why = explained[status] { throw Failure(.unavailable, why) }
            throw Failure(.unavailable, "paratpm-\(service.rawValue): \(explain(error))")
        }
    }
}

/// Where a file is expected; "-" is standard input.
func readInput(_ path: String, max: Int = 16 << 20) throws(Failure) -> [UInt8] {
    let descriptor = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .system(.noInput, "cannot open \(path)") }
    defer { if path != "-" { close(descriptor) } }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while bytes.count <= max {
        let count = read(descriptor, &buffer, buffer.count)
        guard count >= 0 else { throw .system(.io, "cannot read \(path)") }
        if count == 0 { return bytes }
        bytes += buffer[..<count]
    }
    throw Failure(.dataError, "\(path) is larger than such a file can be")
}

/// What a file holds, in the words of the file's name.
func decode<R>(_ path: String, _ body: ([UInt8]) throws(FormatError) -> R) throws(Failure) -> R {
    let bytes = try readInput(path)
    do throws(FormatError) { return try body(bytes) } catch { throw Failure(.dataError, "\(path): \(error)") }
}

/// A file with an authorization value: its bytes, without one newline at their end.
func readAuth(_ path: String?) throws(Failure) -> [UInt8] {
    guard let path else { return [] }
    var bytes = try readInput(path, max: 65)
    if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
    return bytes
}

/// Seconds since 1970
func currentTime() -> Int64 { Int64(time(nil)) }

/// `--nonce`: hexadecimal digits.
struct Nonce: ExpressibleByArgument {
    let bytes: [UInt8]
    init?(argument: String) {
        guard let bytes = hexadecimalBytes(argument), (1...DeepQuoteRequest.nonceMax).contains(bytes.count) else { return nil }
        self.bytes = bytes
    }
}

extension PCRChoice: ExpressibleByArgument {
    public init?(argument: String) {
        guard let choice = try? PCRChoice(argument) else { return nil }
        self = choice
    }
}
