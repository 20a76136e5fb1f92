// libFuzzer's door into paratpm: PARATPM_FUZZ names what is fuzzed. scripts/fuzz builds and runs it.
// A trap, a hang, unbounded memory or an answer that is not well formed ends the run, with the input that led to it.
import Glibc

/// What is fuzzed. Each takes any bytes.
private let targets: [String: @Sendable ([UInt8]) -> Void] = [
    "commands": fuzzCommands,
    "control": fuzzControl,
    "messages": fuzzMessages,
    "state": fuzzState,
]

private let target: @Sendable ([UInt8]) -> Void = {
    guard let name = getenv("PARATPM_FUZZ"), let target = targets[String(cString: name)] else {
        print("PARATPM_FUZZ names one of \(targets.keys.sorted().joined(separator: ", "))")
        exit(64)
    }
    return target
}()

/// libFuzzer as a library.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<Int32>, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ one: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

@main enum Fuzz {
    static func main() {
        var count = CommandLine.argc
        var arguments = CommandLine.unsafeArgv
        _ = target
        exit(runDriver(&count, &arguments) { bytes, count in
            // SAFETY: libFuzzer hands over `count` readable bytes, and they are copied before it has them back.
            target(Array(UnsafeBufferPointer(start: bytes, count: count)))
            return 0
        })
    }
}

/// Ends the run with the input that led here.
func broken(_ what: String) -> Never { fatalError(what) }
