// GetCapability promises a command, so the guest's TPM must have it.
import TPMWire
import Testing

@testable import VirtualTPM

@Suite struct EveryCommandTests {
    /// Rubbish for parameters and handles that are not there may be refused in any way but "no such command".
    @Test(arguments: CommandTable.rows.map(\.code))
    func everyRowHasAHandler(_ code: TPMCommandCode) throws {
        let guest = try Guest()
        let row = try #require(CommandTable.row(code))
        var call = CommandCall(
            row: row, handles: row.handles.map { _ in .null }, parameters: ParameterReader([]), sessions: [], rawParameters: [])
        do throws(TPMRC) {
            _ = try guest.tpm.perform(&call)
        } catch {
            #expect(error != .commandCode, "\(row.name)")
        }
    }

    @Test func refusedCommandsAnswerCommandCode() throws {
        let guest = try Guest()
        for row in CommandTable.chapters.flatMap(\.rows) where row.commandClass == .refused {
            let message = CommandMessage(row.code, handles: [], sessions: [], parameters: [])
            #expect(try ResponseMessage(guest.tpm.execute(message.bytes), hasHandle: false).code == .commandCode, "\(row.name)")
        }
    }
}
