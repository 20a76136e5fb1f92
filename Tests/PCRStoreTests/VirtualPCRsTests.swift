// The vPCRs of one guest. What stock TPMs do stands as recorded from swtpm 0.7.1 with libtpms 0.9.2.
import CryptoBase
import PCRStore
import SystemMap
import TPMWire
import Testing

private let ones = TaggedDigest(.sha256, [UInt8](repeating: 1, count: 32))

private func started(locality: UInt8 = 0) throws -> VirtualPCRs {
    var pcrs = VirtualPCRs(generation: 1000)
    pcrs.powerOn()
    try pcrs.setLocality(locality)
    try pcrs.startup(state: false)
    return pcrs
}

extension VirtualPCRs {
    fileprivate func sha256(_ pcr: Int) -> String { hexString(values.digest(.sha256, pcr)) }
}

private let zero = String(repeating: "00", count: 32)
private let allOnes = String(repeating: "ff", count: 32)
private let drtm = "589f9ffed4c477966bfb8d41f37895b08c69047df8f911d6f3b57fbe08faee8d"
private let hcrtm = "15703cc929081671c587dad9b09606521a35aa6bf4741df448d22c4b307acc71"

@Suite struct StartupTests {
    @Test func nothingWorksBeforeStartup() {
        var pcrs = VirtualPCRs(generation: 0)
        pcrs.powerOn()
        #expect(throws: TPMRC.initialize) { try pcrs.extend(10, [ones]) }
        #expect(throws: TPMRC.initialize) { try pcrs.reset(16) }
        #expect(throws: TPMRC.initialize) { try pcrs.shutdown(state: false) }
        #expect(throws: TPMRC.initialize) { try pcrs.countClear() }
        #expect(!pcrs.values.started)
    }

    @Test func startupHappensOnceForEachPower() throws {
        var pcrs = try started()
        #expect(throws: TPMRC.initialize) { try pcrs.startup(state: false) }
        pcrs.powerOn()
        try pcrs.startup(state: false)
        #expect(pcrs.values.bootCount == 2)
    }

    @Test func pcrsBeginAsThePCClientProfileSays() throws {
        let pcrs = try started()
        for pcr in 0..<24 {
            let expected: UInt8 = (17...22).contains(pcr) ? 0xFF : 0x00
            for bank in HashAlgorithm.allCases {
                #expect(pcrs.values.digest(bank, pcr) == [UInt8](repeating: expected, count: bank.digestSize), "PCR \(pcr)")
            }
        }
        #expect(pcrs.values.updateCounter == 20)
    }

    @Test(arguments: [(UInt8(0), "00"), (3, "03")])
    func theStartupLocalityStandsInPCR0(_ locality: UInt8, _ last: String) throws {
        #expect(try started(locality: locality).sha256(0) == zero.dropLast(2) + last)
    }

    @Test(arguments: [UInt8(1), 2, 4]) func startupAtAnotherLocalityIsRefused(_ locality: UInt8) {
        #expect(throws: TPMRC.locality) { try started(locality: locality) }
    }

    @Test func thereAreFiveLocalities() throws {
        var pcrs = try started()
        try pcrs.setLocality(4)
        #expect(throws: TPMRC.locality) { try pcrs.setLocality(5) }
        #expect(pcrs.values.locality == 4)
    }
}

@Suite struct ShutdownTests {
    @Test func aResumeTakesBackTheStaticPCRs() throws {
        var pcrs = try started()
        try pcrs.extend(23, [ones])
        try pcrs.extend(7, [ones])
        let pcr7 = pcrs.sha256(7)
        #expect(pcrs.values.updateCounter == 21)
        try pcrs.shutdown(state: true)
        pcrs.powerOn()
        try pcrs.startup(state: true)
        #expect(pcrs.sha256(7) == pcr7)
        #expect(pcrs.sha256(23) == zero)
        #expect(pcrs.sha256(17) == allOnes)
        #expect(pcrs.values.updateCounter == 25)
    }

    @Test func aResumeNeedsShutdownState() throws {
        var pcrs = try started()
        try pcrs.shutdown(state: false)
        pcrs.powerOn()
        #expect(throws: TPMRC.value.parameter(1)) { try pcrs.startup(state: true) }
        try pcrs.startup(state: false)
    }

    @Test func aResumeFollowsOneShutdownOnce() throws {
        var pcrs = try started()
        try pcrs.shutdown(state: true)
        pcrs.powerOn()
        pcrs.powerOn()
        try pcrs.startup(state: true)
        pcrs.powerOn()
        #expect(throws: TPMRC.value.parameter(1)) { try pcrs.startup(state: true) }
    }

    @Test func aChangeOfAKeptPCRUndoesTheShutdown() throws {
        var pcrs = try started()
        try pcrs.shutdown(state: true)
        try pcrs.extend(23, [ones])
        pcrs.powerOn()
        try pcrs.startup(state: true)
        try pcrs.shutdown(state: true)
        try pcrs.extend(7, [ones])
        pcrs.powerOn()
        #expect(throws: TPMRC.value.parameter(1)) { try pcrs.startup(state: true) }
        try pcrs.startup(state: false)
        #expect(pcrs.values.updateCounter == 20)
    }

    @Test func aRestartCountsOnAndAResetBeginsAgain() throws {
        var pcrs = try started()
        try pcrs.extend(7, [ones])
        try pcrs.shutdown(state: true)
        pcrs.powerOn()
        try pcrs.startup(state: false)
        #expect(pcrs.sha256(7) == zero)
        #expect(pcrs.values.updateCounter == 41)
        pcrs.powerOn()
        try pcrs.startup(state: false)
        #expect(pcrs.values.updateCounter == 20)
    }

    @Test func aResumeNeedsTheLocalityOfTheBootBefore() throws {
        var pcrs = try started(locality: 3)
        try pcrs.shutdown(state: true)
        pcrs.powerOn()
        try pcrs.setLocality(0)
        #expect(throws: TPMRC.locality) { try pcrs.startup(state: true) }
        try pcrs.setLocality(3)
        try pcrs.startup(state: true)
        #expect(pcrs.sha256(0) == zero.dropLast(2) + "03")
        #expect(pcrs.values.updateCounter == 24)
    }

    @Test func aResumeNeedsAnHCRTMAsTheBootBefore() throws {
        var pcrs = VirtualPCRs(generation: 0)
        pcrs.powerOn()
        pcrs.launch("abc")
        try pcrs.startup(state: false)
        try pcrs.shutdown(state: true)
        pcrs.powerOn()
        #expect(throws: TPMRC.value.parameter(1)) { try pcrs.startup(state: true) }
        pcrs.launch("abd")
        try pcrs.startup(state: true)
        #expect(pcrs.sha256(0) == hcrtm)
    }
}

extension VirtualPCRs {
    fileprivate mutating func launch(_ code: String) {
        hashStart()
        hashData(Array(code.utf8))
        hashEnd()
    }
}

@Suite struct LaunchTests {
    @Test func aDynamicLaunchResetsItsPCRsAndMeasuresIntoPCR17() throws {
        var pcrs = try started()
        try pcrs.extend(16, [ones])
        let pcr16 = pcrs.sha256(16)
        pcrs.launch("abc")
        #expect(pcrs.sha256(17) == drtm)
        for pcr in 18...22 { #expect(pcrs.sha256(pcr) == zero) }
        #expect(pcrs.sha256(16) == pcr16)
        #expect(pcrs.sha256(0) == zero)
        #expect(pcrs.values.updateCounter == 24)
    }

    @Test func theEventIsHashedInEachBank() throws {
        var pcrs = try started()
        pcrs.hashStart()
        pcrs.hashData([0x61])
        pcrs.hashData([0x62, 0x63])
        pcrs.hashEnd()
        for bank in HashAlgorithm.allCases {
            let event = digest(bank, [0x61, 0x62, 0x63])
            #expect(pcrs.values.digest(bank, 17) == digest(bank, [UInt8](repeating: 0, count: bank.digestSize), event))
        }
    }

    @Test func aCommandAbortsTheEvent() throws {
        var pcrs = try started()
        let before = pcrs.sha256(17)
        pcrs.hashStart()
        #expect(pcrs.values.hashing)
        pcrs.abortEvent()
        #expect(!pcrs.values.hashing)
        pcrs.hashData([0x61])
        pcrs.hashEnd()
        #expect(pcrs.sha256(17) == before)
    }

    @Test func anHCRTMGoesIntoPCR0BeforeStartup() throws {
        var pcrs = VirtualPCRs(generation: 0)
        pcrs.powerOn()
        pcrs.launch("abc")
        try pcrs.startup(state: false)
        #expect(pcrs.sha256(0) == hcrtm)
        #expect(pcrs.sha256(17) == allOnes)
        #expect(pcrs.values.updateCounter == 20)
        pcrs.powerOn()
        try pcrs.startup(state: false)
        #expect(pcrs.sha256(0) == zero)
    }

    @Test func aCommandAbortsAnEvent() throws {
        var pcrs = try started()
        pcrs.hashStart()
        pcrs.hashData([0x61])
        try pcrs.reset(23)
        pcrs.hashEnd()
        #expect(pcrs.sha256(17) == allOnes)
    }

    @Test func dataAndEndWithoutStartDoNothing() throws {
        var pcrs = try started()
        let before = pcrs.values
        pcrs.hashData([1])
        pcrs.hashEnd()
        #expect(pcrs.values == before)
    }

    @Test func anEventSetsTPMEstablishedUntilLocality3Or4ClearsIt() throws {
        var pcrs = try started()
        #expect(!pcrs.values.established)
        pcrs.hashStart()
        #expect(pcrs.values.established)
        pcrs.powerOn()
        #expect(pcrs.values.established)
        for locality: UInt8 in [0, 1, 2, 5] {
            #expect(throws: TPMRC.locality) { try pcrs.resetEstablished(at: locality) }
        }
        try pcrs.resetEstablished(at: 3)
        #expect(!pcrs.values.established)
    }
}

@Suite struct ExtendTests {
    /// Which of PCR 0, 15, 16 … 23 swtpm extended and reset at each locality.
    static let watched = [0, 15, 16, 17, 18, 19, 20, 21, 22, 23]
    static let extended: [[Int]] = [
        [0, 15, 16, 23], [0, 15, 16, 20, 23], [0, 15, 16, 17, 18, 19, 20, 21, 22, 23], [0, 15, 16, 17, 18, 19, 20, 23],
        [0, 15, 16, 17, 18, 23],
    ]
    static let reset: [[Int]] = [[16, 23], [16, 23], [16, 20, 21, 22, 23], [16, 23], []]

    @Test(arguments: 0...4) func localitiesExtendAndResetWhatTheyMay(_ locality: Int) throws {
        var pcrs = try started()
        try pcrs.setLocality(UInt8(locality))
        func accepted(_ body: (Int) throws(TPMRC) -> Void) -> [Int] {
            Self.watched.filter { pcr in
                do throws(TPMRC) { try body(pcr) } catch { #expect(error == .locality); return false }
                return true
            }
        }
        #expect(accepted { (pcr) throws(TPMRC) in try pcrs.extend(pcr, [ones]) } == Self.extended[locality])
        #expect(accepted { (pcr) throws(TPMRC) in try pcrs.reset(pcr) } == Self.reset[locality])
    }

    @Test func aValueIsTheHashOfTheOldOneAndTheDigest() throws {
        var pcrs = try started()
        try pcrs.extend(10, [ones, ones, ones, ones])
        // swtpm: PCR 10 after four extends with 01…01
        #expect(pcrs.sha256(10) == "f51ef193e5ff5d9abf3d69df96c8dac5736baeddfbf1376214ab38f8e906fdc3")
        #expect(pcrs.values.digest(.sha1, 10) == [UInt8](repeating: 0, count: 20))
        #expect(pcrs.sha256(9) == zero)
        #expect(pcrs.sha256(11) == zero)
    }

    @Test func banksAreIndependent() throws {
        var pcrs = try started()
        for bank in HashAlgorithm.allCases {
            let event = [UInt8](repeating: 0x5A, count: bank.digestSize)
            try pcrs.extend(23, [TaggedDigest(bank, event)])
            #expect(pcrs.values.digest(bank, 23) == digest(bank, [UInt8](repeating: 0, count: bank.digestSize), event))
        }
    }

    @Test func updatesAreCountedForEachBankAsStockTPMsCount() throws {
        var pcrs = try started()
        func change(_ body: (inout VirtualPCRs) throws -> Void) rethrows -> UInt32 {
            let before = pcrs.values.updateCounter
            try body(&pcrs)
            return pcrs.values.updateCounter - before
        }
        #expect(try change { try $0.extend(10, [TaggedDigest(.sha1, [UInt8](repeating: 1, count: 20)), ones]) } == 2)
        #expect(try change { try $0.extend(10, [ones, ones]) } == 2)
        #expect(try change { try $0.extend(10, []) } == 0)
        #expect(try change { try $0.extend(16, [ones]) } == 0)
        #expect(try change { try $0.extend(23, [ones]) } == 0)
        #expect(try change { try $0.reset(16) } == 0)
        #expect(try change { try $0.countClear() } == 1)
    }

    @Test func thereAreNoOtherPCRs() throws {
        var pcrs = try started()
        for pcr in [-1, 24, 255] {
            #expect(throws: TPMRC.value.handle(1)) { try pcrs.extend(pcr, [ones]) }
            #expect(throws: TPMRC.value.handle(1)) { try pcrs.reset(pcr) }
        }
    }
}

@Suite struct GenerationTests {
    @Test func generationsRiseAndNeverComeAgain() throws {
        var pcrs = VirtualPCRs(generation: 1000)
        var seen: Set<UInt64> = [pcrs.values.generation]
        func isNew() -> Bool { seen.insert(pcrs.values.generation).inserted }
        for _ in 0..<3 {
            pcrs.powerOn()
            #expect(isNew())
            try pcrs.startup(state: false)
            #expect(isNew())
            try pcrs.extend(7, [ones])
            #expect(isNew())
            try pcrs.countClear()
            #expect(isNew())
            pcrs.launch("abc")
            #expect(isNew())
        }
        #expect(seen.max() == pcrs.values.generation)
    }

    @Test func whatIsNotCountedEndsNoPolicySession() throws {
        var pcrs = try started()
        let before = pcrs.values.generation
        try pcrs.setLocality(2)
        for pcr in [16, 21, 22, 23] {
            try pcrs.extend(pcr, [ones])
            try pcrs.reset(pcr)
        }
        #expect(pcrs.values.generation == before)
    }

    @Test func valuesComeInTheOrderOfTheSelections() throws {
        var pcrs = try started()
        try pcrs.extend(3, [ones])
        let digests = pcrs.digests([PCRSelection(.sha256, pcrs: [3, 0]), PCRSelection(.sha1, pcrs: [17])])
        #expect(digests.map(\.hash) == [.sha256, .sha256, .sha1])
        #expect(hexString(digests[0].digest) == zero)
        #expect(hexString(digests[1].digest) == pcrs.sha256(3))
        #expect(digests[2].digest == [UInt8](repeating: 0xFF, count: 20))
    }
}
