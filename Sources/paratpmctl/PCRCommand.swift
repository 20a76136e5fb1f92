// `paratpmctl pcr read`: a guest's vPCRs, as tpm2_pcrread would print them inside.
import ArgumentParser
import Attestation
import GuestIdentity
import IPC
import SystemMap
import TPMWire

struct PCRCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "pcr", abstract: "Read guests' vPCRs.", subcommands: [Read.self])

    struct Read: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print a guest's vPCRs, in the form of tpm2_pcrread.",
            discussion: "The TPM must have been started by its firmware or its system; of one that was switched off since then they are the last.")

        @OptionGroup var options: InstanceOptions
        @Argument(help: "The guest's name.") var name: GuestName
        @Argument(help: "Which vPCRs: sha256:0,1,7 and the like; several banks with “+” between them.") var pcrs: PCRChoice?
        @OptionGroup var output: OutputOptions

        func run() throws {
            let instance = options.instance
            let guest = try instance.guest(name)
            let choice = pcrs ?? PCRChoice([PCRSelection(.sha256, pcrs: 0..<PCRSelection.pcrCount)])
            var values: PCRValues = [:]
            var updates: UInt32 = 0
            for selection in choice.selections {
                let reply = try instance.ask(
                    .pcr, PCRCalls.Values.self, .init(guest: guest.bytes, selection: [selection]),
                    explained: [
                        CallStatus(rawValue: TPMRC.initialize.rawValue): "the TPM of \(name) is off, or not started yet",
                        .unavailable: "\(name) is not running",
                    ])
                // A bank that the guest did not allocate has none of them.
                guard reply.digests.count == selection.pcrs.count else { continue }
                updates = reply.updateCounter
                for (pcr, digest) in zip(selection.pcrs, reply.digests) { values[PCRIndex(PCRBank(selection.hash), pcr)] = digest.digest }
            }
            guard !values.isEmpty else { throw Failure(.noInput, "\(name) has none of these vPCRs (\(choice))") }
            output.show(describe(values, updates)) { print(values.text, terminator: "") }
        }

        private func describe(_ values: PCRValues, _ updates: UInt32) -> JSON {
            .object([
                ("guest", .string(name.text)), ("pcr-update-counter", .number(Int(updates))),
                ("values", JSON(values)),
            ])
        }
    }
}

extension JSON {
    /// Bank by bank, each PCR by its number.
    init(_ values: PCRValues) {
        let banks = PCRBank.allCases.map { bank in (bank, values.filter { $0.key.bank == bank }.sorted { $0.key < $1.key }) }
        self = .object(banks.filter { !$0.1.isEmpty }.map { bank, digests in
            (bank.rawValue, .object(digests.map { (String($0.key.number), .string(hexadecimal($0.value))) }))
        })
    }
}
