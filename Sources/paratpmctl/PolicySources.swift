// The policy files as paratpmctl finds them, and what it says when something is wrong with them.
import ArgumentParser
import Glibc
import GuestIdentity
import HostPolicy
import PolicyFiles
import SystemMap

enum PolicySources {
    private static let largest = 1 << 20

    /// The files named, or else all *.toml of the instance's directory, in order of name.
    static func load(_ files: [String], _ instance: Instance) throws -> HostPolicyText {
        try HostPolicyText(try read(files.isEmpty ? try all(instance) : files))
    }

    private static func all(_ instance: Instance) throws(Failure) -> [String] {
        let directory = instance.policyFilesDirectory
        return try Files.list(directory).filter { $0.hasSuffix(".toml") && !$0.hasPrefix(".") }.map { "\(directory)/\($0)" }
    }

    private static func read(_ files: [String]) throws(Failure) -> [(file: String, text: String)] {
        try files.map { (file) throws(Failure) in
            guard let bytes = try Files.read(file, max: largest) else { throw Failure(.noInput, "\(file) is missing") }
            guard let text = String(validating: bytes, as: UTF8.self) else { throw Failure(.dataError, "\(file) is not UTF-8 text") }
            return (file, text)
        }
    }

    /// Runs a command; problems in the files are shown one to a line, and end it with 65.
    static func reporting(json: Bool = false, _ body: () throws -> Void) throws {
        do { try body() } catch let problems as PolicyProblems {
            if json {
                print(JSON.object([("ok", .bool(false)), ("problems", .array(problems.all.map(describe)))]))
            } else {
                for problem in problems.all { writeError(problem.description) }
            }
            throw ArgumentParser.ExitCode(GuestIdentity.ExitCode.dataError.rawValue)
        }
    }

    private static func describe(_ problem: PolicyProblem) -> JSON {
        let fields: [(String, JSON)] = [
            ("file", .string(problem.place.file)), ("line", .number(problem.place.line)), ("column", .number(problem.place.column)),
            ("message", .string(problem.message)),
        ]
        return .object(fields + (problem.suggestion.map { [("suggestion", .string($0))] } ?? []))
    }
}

private func writeError(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    _ = write(STDERR_FILENO, bytes, bytes.count)
}
