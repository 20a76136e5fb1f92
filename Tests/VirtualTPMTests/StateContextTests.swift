// Saved contexts (Part 3, 28), PCR commands (Part 3, 22) and capabilities (Part 3, 30).
import SystemMap
import TPMCrypto
import TPMWire
import Testing
import Wire

@testable import VirtualTPM

extension Guest {
    fileprivate func save(_ handle: TPMHandle) throws -> SavedContext {
        var reader = try succeed(.contextSave, [handle])
        return try reader.value()
    }
    fileprivate func load(_ context: SavedContext) throws -> ResponseMessage { try run(.contextLoad) { $0.value(context) } }
    fileprivate func flush(_ handle: TPMHandle) throws -> TPMRC { try run(.flushContext) { $0.value(handle) }.code }
    fileprivate func startSession(_ kind: UInt8 = 0) throws -> TPMHandle {
        let response = try run(.startAuthSession, [.null, .null]) {
            $0.sized16([UInt8](repeating: 1, count: 16))
            $0.sized16([UInt8]())
            $0.u8(kind)
            $0.value(TPMAlgorithm.null)
            $0.value(HashAlgorithm.sha256)
        }
        return try #require(response.handle)
    }
    fileprivate func startSequence(_ hash: HashAlgorithm?) throws -> TPMHandle {
        let response = try run(.hashSequenceStart) {
            $0.sized16([UInt8]())
            $0.hashOrNull(hash)
        }
        return try #require(response.handle)
    }
    fileprivate func cycle(_ shutdown: UInt16, _ startup: UInt16) throws {
        _ = try succeed(.shutdown) { $0.u16(shutdown) }
        powerOn()
        _ = try succeed(.startup) { $0.u16(startup) }
    }
    fileprivate func capability(_ capability: UInt32, _ property: UInt32, _ count: UInt32) throws -> ResponseMessage {
        try run(.getCapability) {
            $0.u32(capability)
            $0.u32(property)
            $0.u32(count)
        }
    }
}

@Suite struct StateContextTests {
    @Test func aSessionContextIsLoadedOnce() throws {
        let guest = try Guest()
        let session = try guest.startSession()
        let context = try guest.save(session)
        #expect(context.savedHandle == session && context.hierarchy == .null)
        #expect(try guest.run(.contextSave, [session]).code == .referenceH0)
        #expect(try guest.load(context).handle == session)
        #expect(try guest.load(context).code == TPMRC.handle.parameter(1))
        let second = try guest.save(session)
        #expect(try guest.load(context).code == TPMRC.handle.parameter(1))
        #expect(try guest.load(second).code == .success)
    }

    @Test func everyFieldOfASessionComesBack() throws {
        let guest = try Guest()
        let handle = try guest.startSession(1)
        var session = try #require(guest.tpm.volatile.sessions[handle])
        var policy = try #require(session.policy)
        policy.rolls = 12
        session = Session(
            handle: handle, kind: .policy, hash: .sha384, symmetric: .aes(keyBits: 128, mode: .cfb), sessionKey: Secret([1, 2, 3]),
            nonceTPM: [4, 5], boundTo: .init(name: [6], authValue: Secret([7]), isDAProtected: true), auditDigest: [9], policy: policy)
        guest.tpm.volatile.sessions[handle] = session
        #expect(try guest.load(guest.save(handle)).code == .success)
        let restored = try #require(guest.tpm.volatile.sessions[handle])
        #expect(restored.kind == .policy && restored.hash == .sha384 && restored.symmetric == .aes(keyBits: 128, mode: .cfb))
        #expect(restored.sessionKey == session.sessionKey && restored.nonceTPM == [4, 5] && restored.boundTo == session.boundTo)
        #expect(restored.auditDigest == [9] && restored.policy?.rolls == 12 && restored.policy?.nonces == policy.nonces)
        #expect(restored.policy?.start == policy.start && restored.policy?.token == policy.token)
    }

    @Test func sessionContextsOutliveAResumeAndARestartButNoReset() throws {
        let guest = try Guest()
        var context = try guest.save(try guest.startSession())
        try guest.cycle(1, 1)
        #expect(try guest.load(context).code == .success)
        context = try guest.save(context.savedHandle)
        try guest.cycle(1, 0)
        #expect(try guest.load(context).code == .success)
        context = try guest.save(context.savedHandle)
        try guest.cycle(0, 0)
        #expect(try guest.load(context).code == TPMRC.integrity.parameter(1))
    }

    @Test func aFlushedSavedSessionIsGone() throws {
        let guest = try Guest()
        let session = try guest.startSession(1)
        let context = try guest.save(session)
        // A saved session is listed by its number, as an HMAC session.
        #expect(try guest.capability(1, 0x0300_0000, 5).parameters == hex("00 00000001 00000001 02000000"))
        #expect(try guest.flush(TPMHandle(.hmacSession, session.index)) == .success)
        #expect(try guest.load(context).code == TPMRC.handle.parameter(1))
        #expect(try guest.flush(session) == TPMRC.handle.parameter(1))
    }

    @Test func sequencesGoOnWhereTheyWereSaved() throws {
        let guest = try Guest()
        let sequence = try guest.startSequence(.sha256)
        _ = try guest.succeed(.sequenceUpdate, [sequence]) { $0.sized16(Array("abc".utf8)) }
        let context = try guest.save(sequence)
        #expect(context.savedHandle == TPMHandle(0x8000_0001))
        for _ in 0..<2 {
            let loaded = try #require(try guest.load(context).handle)
            #expect(loaded != sequence)
            var reader = try guest.succeed(.sequenceComplete, [loaded]) {
                $0.sized16(Array("def".utf8))
                $0.value(TPMHandle.null)
            }
            #expect(try reader.sized16() == digest(.sha256, Array("abcdef".utf8)))
        }
        let event = try guest.save(try guest.startSequence(nil))
        #expect(try guest.load(event).code == .success)
    }

    @Test func objectContextsDieWithTheReset() throws {
        let guest = try Guest()
        let context = try guest.save(try guest.startSequence(.sha1))
        try guest.cycle(1, 1)
        #expect(try guest.load(context).code == .success)
        try guest.cycle(1, 0)
        #expect(try guest.load(context).code == .success)
        guest.powerOn()
        try guest.startup()
        #expect(try guest.load(context).code == TPMRC.integrity.parameter(1))
    }

    @Test func everyByteOfAContextCounts() throws {
        let guest = try Guest()
        let bytes = try guest.save(try guest.startSequence(.sha256)).wire
        for offset in bytes.indices {
            var changed = bytes
            changed[offset] ^= 1
            let response = try guest.run(.contextLoad) { $0.raw(changed) }
            #expect(response.code != .success, "byte \(offset)")
        }
        for length in 0..<bytes.count {
            #expect(try guest.run(.contextLoad) { $0.raw(bytes[..<length]) }.code != .success)
        }
    }

    @Test func anotherGuestsContextIsRefused() throws {
        let (first, second) = (try Guest(), try Guest())
        #expect(try second.load(first.save(first.startSequence(.sha256))).code == TPMRC.integrity.parameter(1))
    }

    @Test func flushSaysWhatItCannotFlush() throws {
        let guest = try Guest()
        #expect(try guest.flush(TPMHandle(.transient, 0)) == TPMRC.handle.parameter(1))
        #expect(try guest.flush(.owner) == TPMRC.value.parameter(1))
        #expect(try guest.flush(TPMHandle(.persistent, 1)) == TPMRC.value.parameter(1))
    }
}

@Suite struct StatePCRTests {
    @Test func aReadHoldsEightDigestsAndSaysWhich() throws {
        let guest = try Guest()
        let selection = [PCRSelection(.sha256, pcrs: 0..<7), PCRSelection(.sha1, pcrs: 0..<4)]
        var reader = try guest.succeed(.pcrRead) { $0.list(selection) }
        #expect(try reader.u32() == guest.pcrs.pcrs.values.updateCounter)
        #expect(try reader.list(PCRSelection.self, max: 2) == [selection[0], PCRSelection(.sha1, pcrs: [0])])
        #expect(try reader.u32() == 8)
        for _ in 0..<7 { #expect(try reader.sized16().count == 32) }
        #expect(try reader.sized16().count == 20)
        #expect(reader.isAtEnd)
        #expect(try guest.run(.pcrRead) { $0.list([PCRSelection](repeating: selection[0], count: 5)) }.code == TPMRC.size.parameter(1))
    }

    @Test func anEventExtendsEveryBank() throws {
        let guest = try Guest()
        let event = Array("event".utf8)
        var reader = try guest.succeed(.pcrEvent, [TPMHandle(3)]) { $0.sized16(event) }
        let digests = try reader.list(TaggedDigest.self, max: 4)
        #expect(digests == HashAlgorithm.allCases.map { TaggedDigest($0, digest($0, event)) })
        for hash in HashAlgorithm.allCases {
            let extended = digest(hash, [UInt8](repeating: 0, count: hash.digestSize), digest(hash, event))
            #expect(guest.pcrs.pcrs.values.digest(hash, 3) == extended)
        }
        _ = try guest.succeed(.pcrEvent, [.null]) { $0.sized16(event) }
        #expect(try guest.run(.pcrEvent, [TPMHandle(3)]) { $0.sized16([UInt8](repeating: 0, count: 1025)) }.code == TPMRC.size.parameter(1))
    }

    @Test func aResetIsForTheDebugAndApplicationPCR() throws {
        let guest = try Guest()
        #expect(try guest.run(.pcrReset, [TPMHandle(16)]).code == .success)
        #expect(try guest.run(.pcrReset, [TPMHandle(23)]).code == .success)
        #expect(try guest.run(.pcrReset, [TPMHandle(0)]).code == .locality)
        #expect(try guest.run(.pcrReset, [.null]).code == TPMRC.value.handle(1))
    }
}

@Suite struct StateCapabilityTests {
    @Test func everyPropertyComesInPagesOfAnyLength() throws {
        let guest = try Guest()
        for (capability, first) in [(UInt32(0), UInt32(0)), (1, 0), (1, 0x4000_0000), (2, 0), (6, 0x100), (6, 0x200), (7, 0), (8, 0)] {
            let all = try guest.capability(capability, first, 1000)
            #expect(all.code == .success && all.parameters[0] == 0)
            var reader = WireReader(all.parameters)
            _ = try reader.bytes(5)
            let count = try reader.u32()
            #expect(count > 0)
            let one = try guest.capability(capability, first, 1)
            #expect(one.parameters[0] == (count > 1 ? 1 : 0))
            #expect(one.parameters.count < all.parameters.count || count == 1)
            let none = try guest.capability(capability, first, 0)
            #expect(none.parameters == [1] + capability.wire + [0, 0, 0, 0])
        }
    }

    @Test(arguments: [
        (UInt32(0x0B), UInt32(0), TPMRC.value.parameter(1)), (0x100, 0, TPMRC.value.parameter(1)),
        (1, 0x9000_0000, TPMRC.handle.parameter(2)), (5, 1, TPMRC.value.parameter(2)), (9, 0, TPMRC.value.parameter(2)),
        (10, 0, TPMRC.value.parameter(2)), (10, 0x4000_0110, .success), (3, 0, .success), (4, 0, .success), (6, 0x300, .success),
    ])
    func unknownCapabilitiesAndPropertiesAreRefused(capability: UInt32, property: UInt32, code: TPMRC) throws {
        #expect(try Guest().capability(capability, property, 1).code == code)
    }

    @Test func aTPMSaysWhatItIs() throws {
        let guest = try Guest()
        #expect(try guest.capability(6, 0x100, 1).parameters == hex("01 00000006 00000001 00000100 322E3000"))
        #expect(try guest.capability(6, 0x102, 1).parameters == hex("01 00000006 00000001 00000102 0000009F"))
        #expect(try guest.capability(6, 0x105, 1).parameters == hex("01 00000006 00000001 00000105 5054504D"))
        #expect(try guest.capability(5, 0, 1).parameters
            == hex("00 00000005 00000004 0004 03 FFFFFF 000B 03 FFFFFF 000C 03 FFFFFF 000D 03 FFFFFF"))
        #expect(try guest.capability(8, 4, 9).parameters == hex("00 00000008 00000003 0004 0005 0010"))
        #expect(try guest.capability(9, 0x4000_0000, 9).parameters
            == hex("00 00000009 00000004 40000001 0010 4000000A 0010 4000000B 0010 4000000C 0010"))
    }

    @Test func theCommandsAreThoseOfTheTable() throws {
        var reader = try Guest().succeed(.getCapability) {
            $0.u32(2)
            $0.u32(0)
            $0.u32(1000)
        }
        _ = try reader.bytes(5)
        #expect(try reader.list(UInt32.self, max: 254) == CommandTable.rows.map(\.attributes))
    }

    @Test func inFailureModeOnlyTheMakerIsTold() throws {
        let guest = try Guest()
        guest.tpm.power = .failed
        #expect(try guest.capability(6, 0x100, 100).parameters == hex("01 00000006 00000001 00000105 5054504D"))
        #expect(try guest.capability(6, 0x10C, 100).parameters.prefix(9) .elementsEqual(hex("00 00000006 00000001")))
        #expect(try guest.capability(1, 0, 1).code == .failure)
        #expect(try guest.run(.getTestResult).parameters == hex("0000 00000101"))
        #expect(try guest.run(.readClock).code == .failure)
    }
}
