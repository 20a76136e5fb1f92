// Event logs, and the PCRs that they lead to.
import CryptoBase
import Foundation
import TPMWire
import Testing
import Wire

@testable import Attestation
@testable import AttestationFormats

/// Little-endian numbers, as event logs have them.
private func le(_ value: UInt32) -> [UInt8] { value.byteSwapped.wire }
private func le(_ value: UInt16) -> [UInt8] { value.byteSwapped.wire }

private func extended(_ bank: PCRBank, _ digests: [UInt8]..., from first: UInt8 = 0) -> [UInt8] {
    digests.reduce([UInt8](repeating: first, count: bank.digestSize)) { digest(bank.hash, $0, $1) }
}

@Suite struct EventLogTests {
    private let data = Array("a bootloader".utf8)
    private let zeros = [UInt8](repeating: 0, count: 20)

    /// TCG_PCR_EVENT with TCG_EfiSpecIDEvent: SHA-1, SHA-256 and SM3, which guests do not have
    private var agileHeader: [UInt8] {
        let specification = Array("Spec ID Event03".utf8) + [0] + le(UInt32(0)) + [0, 2, 0, 2] + le(UInt32(3))
            + le(UInt16(4)) + le(UInt16(20)) + le(UInt16(0xB)) + le(UInt16(32)) + le(UInt16(0x12)) + le(UInt16(32)) + [0]
        return le(UInt32(0)) + le(UInt32(3)) + zeros + le(UInt32(specification.count)) + specification
    }

    private func agile(_ pcr: UInt32, _ type: UInt32, _ data: [UInt8]) -> [UInt8] {
        le(pcr) + le(type) + le(UInt32(3)) + le(UInt16(4)) + digest(.sha1, data) + le(UInt16(0xB)) + digest(.sha256, data)
            + le(UInt16(0x12)) + [UInt8](repeating: 9, count: 32) + le(UInt32(data.count)) + data
    }

    @Test func anAgileLogLeadsToItsPCRs() throws {
        let bytes = agileHeader + agile(4, 0xD, data) + agile(4, 4, [0, 0, 0, 0]) + agile(7, 4, [0, 0, 0, 0])
        for tail in [[], [UInt8](repeating: 0, count: 100), [UInt8](repeating: 0xFF, count: 9)] {
            let log = try EventLog(bytes + tail)
            #expect(log.events.map(\.pcr) == [0, 4, 4, 7])
            let values = try EventLog.replay([log], banks: [.sha1, .sha256])
            for bank in [PCRBank.sha1, .sha256] {
                let separator = digest(bank.hash, [0, 0, 0, 0])
                #expect(values[PCRIndex(bank, 4)] == extended(bank, digest(bank.hash, data), separator))
                #expect(values[PCRIndex(bank, 7)] == extended(bank, separator))
                #expect(values[PCRIndex(bank, 0)] == [UInt8](repeating: 0, count: bank.digestSize))
                #expect(values[PCRIndex(bank, 17)] == [UInt8](repeating: 0xFF, count: bank.digestSize))
            }
        }
        #expect(throws: FormatError.self) { try EventLog.replay([try EventLog(bytes)], banks: [.sha384]) }
    }

    @Test func theLocalityOfStartupIsInPCR0() throws {
        let locality = Array("StartupLocality".utf8) + [0, 3]
        let values = try EventLog.replay([try EventLog(agileHeader + agile(0, 3, locality) + agile(0, 8, data))], banks: [.sha256])
        let first = [UInt8](repeating: 0, count: 31) + [3]
        #expect(values[PCRIndex(.sha256, 0)] == digest(.sha256, first, digest(.sha256, data)))
    }

    @Test func aLogOfSHA1OnlyLeadsToSHA1sPCRs() throws {
        let event = le(UInt32(8)) + le(UInt32(0xD)) + digest(.sha1, data) + le(UInt32(data.count)) + data
        let log = try EventLog(event + event)
        #expect(try EventLog.replay([log], banks: [.sha1])[PCRIndex(.sha1, 8)] == extended(.sha1, digest(.sha1, data), digest(.sha1, data)))
        #expect(throws: FormatError.self) { try EventLog.replay([log], banks: [.sha256]) }
    }

    @Test func aDamagedLogIsRefused() throws {
        let bytes = agileHeader + agile(4, 0xD, data) + agile(7, 4, [0, 0, 0, 0])
        let whole = [0, agileHeader.count, agileHeader.count + agile(4, 0xD, data).count]
        for count in 1..<bytes.count where !whole.contains(count) {
            // Where an event's first bytes are all zero, they look like the end.
            guard let log = try? EventLog(Array(bytes[..<count])) else { continue }
            #expect(log.events.count < 3, "cut off at \(count)")
        }
        #expect(throws: FormatError.self) { try EventLog(bytes + [1, 2, 3]) }
        #expect(throws: FormatError.self) { try EventLog(agileHeader + le(UInt32(24)) + le(UInt32(1)) + le(UInt32(0))) }
        #expect(throws: FormatError.self) { try EventLog(le(UInt32(1)) + le(UInt32(1)) + zeros + le(UInt32.max)) }
    }

    // MARK: IMA

    private var imaData: [UInt8] {
        let file = Array("sha256:".utf8) + [0] + [UInt8](repeating: 0x11, count: 32)
        let name = Array("/usr/bin/env".utf8) + [0]
        return le(UInt32(file.count)) + file + le(UInt32(name.count)) + name
    }

    @Test func imasListsLeadToPCR10() throws {
        let hash = digest(.sha1, imaData)
        let binary = le(UInt32(10)) + hash + le(UInt32(6)) + Array("ima-ng".utf8) + le(UInt32(imaData.count)) + imaData
        let ascii = "10 \(hexadecimal(hash)) ima-ng sha256:\(String(repeating: "11", count: 32)) /usr/bin/env\n"
        for bytes in [binary + binary, Array((ascii + ascii).utf8)] {
            let values = try EventLog.replay([try EventLog(bytes)], banks: [.sha1, .sha256])
            #expect(values[PCRIndex(.sha1, 10)] == extended(.sha1, hash, hash))
            let own = digest(.sha256, imaData)
            #expect(values[PCRIndex(.sha256, 10)] == extended(.sha256, own, own))
        }
    }

    @Test func aListThatDoesNotFitItsDigestsIsRefused() throws {
        let ascii = "10 \(String(repeating: "22", count: 20)) ima-ng sha256:\(String(repeating: "11", count: 32)) /usr/bin/env\n"
        #expect(throws: FormatError.self) { try EventLog(Array(ascii.utf8)) }
    }

    @Test func aViolationIsMeasuredAsOnes() throws {
        let line = "10 \(String(repeating: "00", count: 20)) ima-ng sha256:\(String(repeating: "00", count: 32)) /var/log/x\n"
        let values = try EventLog.replay([try EventLog(Array(line.utf8))], banks: [.sha256])
        #expect(values[PCRIndex(.sha256, 10)] == extended(.sha256, [UInt8](repeating: 0xFF, count: 32)))
    }

    // MARK: Of real machines

    @Test(arguments: [
        (RecordedLogs.seaBIOS, RecordedLogs.seaBIOSIMA, RecordedLogs.seaBIOSPCRs), (RecordedLogs.ovmf, RecordedLogs.ovmfIMA, RecordedLogs.ovmfPCRs),
    ])
    func whatRealMachinesLoggedLeadsToTheirPCRs(_ machine: (firmware: String, ima: String, pcrs: String)) throws {
        let logs = try [machine.firmware, machine.ima].map { text in
            try EventLog(Array(try #require(Data(base64Encoded: text, options: .ignoreUnknownCharacters))))
        }
        let values = try EventLog.replay(logs, banks: [.sha1, .sha256])
        let recorded = try PCRValues(text: machine.pcrs)
        #expect(recorded.count == 10)
        for (index, value) in recorded { #expect(values[index] == value, "\(index)") }
    }

    // MARK: With a quote

    @Test func aQuotesVPCRsMustFollowFromTheLogs() throws {
        let host = SoftwareHost()
        let log = try EventLog(agileHeader + agile(4, 0xD, data))
        let values = try EventLog.replay([log], banks: [.sha256])
        let request = try DeepQuoteRequest(nonce: [1], pcrs: PCRChoice("sha256:4,5"))
        let evidence = try host.evidence()
        let bundle = host.bundle(evidence, request, guest: [UInt8](repeating: 1, count: 32), values: values).bytes
        var verifier = DeepQuoteVerifier(nonce: [1], time: SoftwareHost.now)
        verifier.eventLogs = [log]
        #expect(verifier.verify(bundle, evidence: evidence.bytes, trust: .given).proved.last?.name == .eventLog)
        verifier.eventLogs = [try EventLog(agileHeader + agile(5, 0xD, data))]
        #expect(verifier.verify(bundle, evidence: evidence.bytes, trust: .given).broken?.name == .eventLog)
    }

    @Test func aLogThatBeginsWithTheHostSaysWhichHost() throws {
        let host = SoftwareHost()
        let event = HostBinding.data(host.selection, try #require(host.pcrs.concatenated(host.selection)))
        let bytes = agileHeader + agile(14, HostBinding.eventType, event)
        let request = try DeepQuoteRequest(nonce: [1], pcrs: PCRChoice("sha256:14"))
        let evidence = try host.evidence()
        var verifier = DeepQuoteVerifier(nonce: [1], time: SoftwareHost.now)
        func verify(_ host: SoftwareHost, _ log: EventLog) throws -> DeepQuoteVerifier.Report {
            let values = try EventLog.replay([log], banks: [.sha256])
            verifier.eventLogs = [log]
            return verifier.verify(
                host.bundle(evidence, request, guest: [UInt8](repeating: 1, count: 32), values: values).bytes, evidence: evidence.bytes, trust: .given)
        }
        #expect(try verify(host, EventLog(bytes)).proved.last?.statement == "begins with the host's PCRs sha256:0,7")
        #expect(try verify(host, EventLog(HostBinding.log(vpcr: 14, data: event))).holds)
        // What comes later in that vPCR is the guest's own word.
        let late = try verify(host, EventLog(agileHeader + agile(14, 4, [0, 0, 0, 0]) + agile(14, HostBinding.eventType, event)))
        #expect(late.holds && late.proved.last?.statement.contains("begins") == false)
        // So is what stands in a vPCR that was not quoted.
        let unquoted = try verify(host, EventLog(agileHeader + agile(13, HostBinding.eventType, event) + agile(14, 4, [0, 0, 0, 0])))
        #expect(unquoted.holds && unquoted.proved.last?.statement.contains("begins") == false)
        let other = HostBinding.data(host.selection, [UInt8](repeating: 5, count: 64))
        #expect(try verify(host, EventLog(agileHeader + agile(14, 1, other))).broken?.name == .eventLog)
    }
}
