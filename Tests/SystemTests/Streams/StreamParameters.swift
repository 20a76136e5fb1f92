// Parameters of the commands that make no objects: cryptography, PCRs, policy, hierarchies, NV and the rest.
import TPMWire
import Wire

extension StreamGenerator {
    mutating func fillUses(_ step: inout Step) {
        switch step.code {
        case .startup: step.parameters = [.bytes([0, UInt8(random.below(3))])]
        case .selfTest: step.parameters = [.bytes(flag())]
        case .incrementalSelfTest: step.parameters = [.bytes([0, 0, 0, 1] + hash().wire)]
        case .rsaEncrypt, .rsaDecrypt: step.parameters = [data(64), .bytes(random.pick([[0, 0x10], [0, 0x15], [0, 0x17, 0, 0x0B]])), sized([])]
        case .ecdhZGen: step.parameters = [point()]
        case .eccParameters: step.parameters = [.bytes(random.pick([[0, 3], [0, 4], [0, 5], [0, 1], [0, 0x10], [0, 0], [0, 0x20]]))]
        case .zGen2Phase: step.parameters = [point(), point(), .bytes([0, 0x19, 0, 0])]
        case .encryptDecrypt: step.parameters = [.bytes(flag()), .bytes(cipherMode()), sized(random.bytes(random.pick([16, 16, 0, 15]))), data(64)]
        case .encryptDecrypt2: step.parameters = [data(64), .bytes(flag()), .bytes(cipherMode()), sized(random.bytes(random.pick([16, 16, 0, 15])))]
        case .hash: step.parameters = [data(200), .bytes(hash().wire), .bytes(hierarchy())]
        case .hmac: step.parameters = [data(200), .bytes(random.chance(50) ? [0, 0x10] : hash().wire)]
        case .getRandom: step.parameters = [.bytes(u16())]
        case .stirRandom: step.parameters = [data(128)]
        case .certify, .getTime, .getSessionAuditDigest, .getCommandAuditDigest: step.parameters = [data(32), .bytes(signatureScheme())]
        case .certifyCreation: step.parameters = [data(32), digest(), .bytes(signatureScheme()), .bytes(ticket(0x8021))]
        case .quote: step.parameters = [data(32), .bytes(signatureScheme()), .bytes(selection())]
        case .certifyX509: step.parameters = [sized([]), .bytes(signatureScheme()), data(64)]
        case .commit: step.parameters = [random.chance(50) ? sized([]) : point(), data(32), data(32)]
        case .ecEphemeral: step.parameters = [.bytes(random.pick([[0, 3], [0, 4], [0, 0x10], [0, 0x11]]))]
        case .verifySignature: step.parameters = [digest(), .bytes(signature())]
        case .sign: step.parameters = [digest(), .bytes(signatureScheme()), .bytes(ticket(0x8024))]
        case .testParms: step.parameters = [.bytes(Self.someParameters[random.below(Self.someParameters.count)])]
        case .getCapability: step.parameters = [.bytes(capability())]
        case .readClock, .getTestResult, .readPublic, .nvReadPublic, .unseal, .ecdhKeyGen: break
        default: fillPlatform(&step)
        }
    }

    private mutating func cipherMode() -> [UInt8] { random.pick([[0, 0x43], [0, 0x43], [0, 0x10], [0, 0x40], [0, 0x42], [0, 0x44], [0, 0x0B]]) }

    /// TPMT_PUBLIC_PARMS, for TestParms
    private static let someParameters: [[UInt8]] = [
        [0, 1, 0, 0x10, 0, 0x10, 8, 0, 0, 0, 0, 0], [0, 1, 0, 6, 0, 128, 0, 0x43, 0, 0x10, 8, 0, 0, 0, 0, 0], [0, 1, 0, 0x10, 0, 0x10, 8, 1, 0, 0, 0, 0],
        [0, 0x23, 0, 0x10, 0, 0x10, 0, 3, 0, 0x10], [0, 0x23, 0, 0x10, 0, 0x18, 0, 0x0B, 0, 4, 0, 0x10], [0, 0x23, 0, 0x10, 0, 0x10, 0, 9, 0, 0x10],
        [0, 8, 0, 5, 0, 0x0B], [0, 8, 0, 0x10], [0, 8, 0, 0x0A, 0, 0x0B, 0, 0x22], [0, 0x25, 0, 6, 0, 128, 0, 0x43], [0, 0x25, 0, 0x10], [0, 0x44],
    ]

    private mutating func capability() -> [UInt8] {
        let which = random.chance(95) ? UInt32(random.below(9)) : random.pick([9, 10, 0x100, 0xFFFF])
        let property: UInt32 = switch which {
        case 1: random.pick([0, 0x8000_0000, 0x8100_0000, 0x0100_0000, 0x0200_0000, 0x0300_0000, 0x4000_0000, 0x0500_0000, 0xFF00_0000])
        case 6: random.pick([0x100, 0x200, 0, 0x110])
        default: random.pick([0, 0, 1, 0x11F, 0xFFFF_FFFF])
        }
        return which.wire + property.wire + random.pick([0, 1, 8, 64, 128, 1000] as [UInt32]).wire
    }

    private mutating func fillPlatform(_ step: inout Step) {
        switch step.code {
        case .pcrExtend:
            let count = random.below(3)
            step.parameters = [.bytes(UInt32(count).wire)] + (0..<count).map { _ in
                let hash = random.pick(HashAlgorithm.allCases)
                return .bytes(TaggedDigest(hash, [UInt8](repeating: 3, count: hash.digestSize)).wire)
            }
        case .pcrEvent: step.parameters = [data(200)]
        case .pcrRead: step.parameters = [.bytes(selection(3))]
        case .pcrAllocate: step.parameters = [.bytes(random.pick([[0, 0, 0, 0], [0, 0, 0, 1, 0, 0x12, 3, 0, 0, 0], [0, 0, 0, 1, 0, 0x0B, 5]]))]
        case .pcrSetAuthPolicy: step.parameters = [digest(), .bytes(hash().wire), .bytes([0, 0, 0, 20])]
        case .pcrSetAuthValue: step.parameters = [digest()]
        case .pcrReset: break
        case .setCommandCodeAuditStatus:
            step.parameters = [.bytes(random.pick([[0, 0x10], [0, 0x10], hash().wire]) + [0, 0, 0, 1] + commandCode() + [0, 0, 0, 0])]
        case .ppCommands: step.parameters = [.bytes([0, 0, 0, 0, 0, 0, 0, 0])]
        case .setAlgorithmSet: step.parameters = [.bytes([0, 0, 0, 0])]
        case .hierarchyControl:
            // Off is rare, since most of what follows then only fails.
            step.parameters = [.bytes(hierarchy()), .bytes([random.chance(80) ? 1 : 0])]
        case .setPrimaryPolicy: step.parameters = random.chance(70) ? [sized([]), .bytes([0, 0x10])] : [digest(), .bytes(hash().wire)]
        case .hierarchyChangeAuth:
            let value = auth()
            step.parameters = [sized(value)]
            guard case .bytes(let bytes) = step.handles[0], let handle = try? TPMHandle(wire: bytes) else { break }
            step.effect = { $0.hierarchyAuths[handle] = value }
        case .clear: step.effect = { $0.clear() }
        case .clearControl: step.parameters = [.bytes([random.chance(80) ? 0 : 1])]
        case .changeEPS, .changePPS: step.effect = { $0.objects = [] }
        case .dictionaryAttackParameters:
            step.parameters = [.bytes(random.pick([3, 32, 100] as [UInt32]).wire + random.pick([0, 1000, 7200] as [UInt32]).wire + random.pick([0, 1000] as [UInt32]).wire)]
        case .clockSet: step.parameters = [.bytes(random.pick([1 << 40, UInt64.max, 0xFFFF_0000_0000_0000] as [UInt64]).wire)]
        case .clockRateAdjust: step.parameters = [.bytes([random.pick([0, 1, 3, 0xFD, 0xFF, 4])])]
        case .shutdown: step.parameters = [.bytes([0, UInt8(random.below(3))])]
        default: fillPolicy(&step)
        }
    }

    private mutating func fillPolicy(_ step: inout Step) {
        switch step.code {
        case .policySigned: step.parameters = [sized([]), digest(), data(32), .bytes([0, 0, 0, 0]), .bytes(signature())]
        case .policySecret: step.parameters = [sized([]), random.chance(80) ? sized([]) : digest(), data(32), .bytes(random.pick([[0, 0, 0, 0], [0, 1, 0, 0], [0xFF, 0xFF, 0, 0]]))]
        case .policyTicket: step.parameters = [data(8), digest(), data(32), digest(), .bytes(ticket(random.pick([0x8023, 0x8025])))]
        case .policyOR:
            let count = random.pick([2, 3, 8, 1, 9])
            let same = digest()
            step.parameters = [.bytes(UInt32(count).wire)] + (0..<count).map { _ in same }
        case .policyPCR: step.parameters = [random.chance(60) ? sized([]) : digest(), .bytes(selection())]
        case .policyLocality: step.parameters = [.bytes(u8())]
        case .policyNV: step.parameters = [data(8), .bytes([0, UInt8(random.pick([0, 1, 8]))]), .bytes([0, UInt8(random.below(13))])]
        case .policyCounterTimer: step.parameters = [data(8), .bytes([0, UInt8(random.pick([0, 8, 16, 24, 25]))]), .bytes([0, UInt8(random.below(13))])]
        case .policyCommandCode: step.parameters = [.bytes(commandCode())]
        case .policyCpHash, .policyNameHash, .policyTemplate: step.parameters = [digest()]
        case .policyDuplicationSelect: step.parameters = [sized([0, 0x0B] + random.bytes(32)), sized([0, 0x0B] + random.bytes(32)), .bytes(flag())]
        case .policyAuthorize: step.parameters = [digest(), data(32), sized([0, 0x0B] + random.bytes(32)), .bytes(ticket(0x8022))]
        case .policyNvWritten: step.parameters = [.bytes(flag())]
        default: fillNV(&step)
        }
    }

    private mutating func fillNV(_ step: inout Step) {
        switch step.code {
        case .nvDefineSpace:
            let handle = TPMHandle(random.pick([0x0100_0001, 0x0100_0002, 0x0100_0003, 0x0180_0001] as [UInt32]))
            var (attributes, value) = (nvAttributes(), auth())
            if case .bytes(let bytes) = step.handles[0], bytes == TPMHandle.platform.wire, random.chance(90) { attributes.insert(.platformCreate) }
            let isSmall = attributes.intersection(NVAttributes(rawValue: 0xF0)).isEmpty
            let size: UInt16 = isSmall ? random.pick([1, 8, 32, 64, 0]) : attributes.rawValue & 0xF0 == 0x40 ? 32 : random.chance(95) ? 8 : 9
            let area = NVPublic(index: handle, nameAlgorithm: .sha256, attributes: attributes, authPolicy: [], dataSize: size)
            step.parameters = [sized(value), sized(area.wire)]
            step.effect = { $0.indices.append(StreamWorld.Index(handle: handle, auth: value, size: Int(size), attributes: attributes)) }
        case .nvUndefineSpace, .nvUndefineSpaceSpecial:
            let number = step.code == .nvUndefineSpace ? 1 : 0
            guard case .bytes(let bytes) = step.handles[number], let handle = try? TPMHandle(wire: bytes) else { break }
            step.effect = { $0.indices.removeAll { $0.handle == handle } }
        case .nvWrite:
            let size = world.indices.first { $0.handle.wire == handleBytes(step, 1) }?.size ?? 8
            step.parameters = [sized(random.bytes(random.chance(85) ? size : random.pick([0, 1, size + 1]))), .bytes([0, random.chance(90) ? 0 : 1])]
        case .nvExtend: step.parameters = [data(64)]
        case .nvSetBits: step.parameters = [.bytes(u64())]
        case .nvRead:
            let size = world.indices.first { $0.handle.wire == handleBytes(step, 1) }?.size ?? 8
            step.parameters = [.bytes(UInt16(random.chance(85) ? size : random.below(70)).wire), .bytes([0, random.chance(90) ? 0 : 1])]
        case .nvChangeAuth:
            let value = auth()
            step.parameters = [sized(value)]
            guard let i = world.indices.firstIndex(where: { $0.handle.wire == handleBytes(step, 0) }) else { break }
            let index = world.indices[i]
            step.effect = { world in
                world.indices.removeAll { $0.handle == index.handle }
                world.indices.append(StreamWorld.Index(handle: index.handle, auth: value, size: index.size, attributes: index.attributes))
            }
        case .nvCertify: step.parameters = [data(32), .bytes(signatureScheme()), .bytes([0, 8]), .bytes([0, 0])]
        default: break
        }
    }

    private func handleBytes(_ step: Step, _ number: Int) -> [UInt8] {
        if case .bytes(let bytes) = step.handles[number] { bytes } else { [] }
    }
}
