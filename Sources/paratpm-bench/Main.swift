// paratpm-bench: what a paratpm guest costs beside a stock swtpm and beside the chip itself, measured in one run.
// Started by scripts/bench.
import Glibc

@main
enum Main {
    private static let usage = "usage: paratpm-bench --work DIR --swtpm PATH [--programs DIR] [--scale N] [--json]"

    static func main() {
        do throws(BenchError) {
            let arguments = try Arguments(CommandLine.arguments.dropFirst())
            let report = try Bench(arguments).run()
            print(arguments.json ? report.json : report.text)
        } catch {
            let line = Array("paratpm-bench: \(error.text)\n".utf8)
            _ = write(STDERR_FILENO, line, line.count)
            exit(1)
        }
    }

    struct Arguments {
        /// An empty directory for everything that the run leaves.
        var work = ""
        /// The real swtpm.
        var swtpm = ""
        /// Where paratpm's programs are.
        var programs = "."
        /// Multiplies the rounds.
        var scale = 100
        var json = false

        init(_ arguments: ArraySlice<String>) throws(BenchError) {
            var rest = arguments
            while let argument = rest.popFirst() {
                if argument == "--json" {
                    json = true
                    continue
                }
                guard let value = rest.popFirst() else { throw BenchError(usage) }
                switch argument {
                case "--work": work = value
                case "--swtpm": swtpm = value
                case "--programs": programs = value
                case "--scale": scale = max(5, Int(value) ?? 0)
                default: throw BenchError(usage)
                }
            }
            guard !work.isEmpty, !swtpm.isEmpty else { throw BenchError(usage) }
        }
    }
}
