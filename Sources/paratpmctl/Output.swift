// How subcommands print results: for people, or with --json for programs.
import ArgumentParser
import Attestation
import Glibc
import GuestIdentity

/// `--json`, as every subcommand has it that prints a result.
struct OutputOptions: ParsableArguments {
    @Flag(help: "Print JSON.")
    var json = false

    /// A result in one form or the other.
    func show(_ value: @autoclosure () -> JSON, text: () -> Void) { if json { print(value()) } else { text() } }
}

/// The same for a result that is no text.
struct FileOutputOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Where to write it (else standard output).", valueName: "file"))
    var out: String?
    @Flag(help: "Print JSON; without --out the result is in it, in hexadecimal.")
    var json = false

    /// - Parameter fields: what JSON says of the result.
    func write(_ bytes: [UInt8], _ fields: [(String, JSON)]) throws(Failure) {
        guard json else { return try writeOutput(bytes, out) }
        if let out { try writeOutput(bytes, out) }
        print(JSON.object(fields + [out.map { ("file", .string($0)) } ?? ("data", .string(hexadecimal(bytes)))]))
    }
}

/// To a file, or to standard output where none is named.
private func writeOutput(_ bytes: [UInt8], _ path: String?) throws(Failure) {
    if let path { return try Files.write(path, bytes, mode: 0o644, replacing: true) }
    guard isatty(STDOUT_FILENO) == 0 else { throw Failure(.usage, "the result is not text: name a file with --out, or redirect the output") }
    var rest = bytes[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
        guard count > 0 else { throw .system(.io, "cannot write") }
        rest = rest.dropFirst(count)
    }
}
