// The tools that go with swtpm, as paratpm has them: swtpm_ioctl and swtpm_setup, by the name that this program is started under.
import Glibc
import SwtpmTools

@main enum Main {
    static func main() {
        var words = CommandLine.arguments
        let name = (words.isEmpty ? "" : words.removeFirst()).split(separator: "/").last.map(String.init) ?? ""
        do throws(ToolError) {
            switch name {
            case "swtpm_ioctl": try Ioctl.run(words)
            case "swtpm_setup": try Setup.run(words)
            default: throw ToolError("start this program under the name swtpm_ioctl or swtpm_setup", exit: EX_USAGE)
            }
        } catch {
            let line = Array("\(name): \(error.message)\n".utf8)
            _ = write(STDERR_FILENO, line, line.count)
            exit(error.exit)
        }
    }
}
