// The vPCRs beside those of a stock TPM, through random streams of power, locality, events and commands.
import PCRStore
import RunningService
import SystemMap
import TPMWire
import Testing
import Wire

private enum Event: CustomStringConvertible {
    case powerOn, locality(UInt8), hashStart, hashData(UInt8), hashEnd, resetEstablished(UInt8)
    case startup(Bool), shutdown(Bool), extend(Int, [TaggedDigest]), reset(Int)

    var description: String {
        switch self {
        case .extend(let pcr, let digests): "extend(\(pcr), \(digests.map { "\($0.hash) \($0.digest[0])" }))"
        case .powerOn: "powerOn"
        case .locality(let locality): "locality(\(locality))"
        case .hashStart: "hashStart"
        case .hashData(let byte): "hashData(\(byte))"
        case .hashEnd: "hashEnd"
        case .resetEstablished(let locality): "resetEstablished(\(locality))"
        case .startup(let state): "startup(state: \(state))"
        case .shutdown(let state): "shutdown(state: \(state))"
        case .reset(let pcr): "reset(\(pcr))"
        }
    }

    static func random(_ generator: inout SeededGenerator) -> Event {
        let byte = UInt8.random(in: 0...255, using: &generator)
        switch Int.random(in: 0..<30, using: &generator) {
        case 0: return .powerOn
        case 1...5: return .locality([0, 0, 0, 1, 2, 3, 3, 4, 5][Int(byte) % 9])
        case 6: return .hashStart
        case 7: return .hashData(byte)
        case 8...9: return .hashEnd
        case 10: return .resetEstablished(byte % 6)
        case 11...14: return .startup(byte % 3 == 0)
        case 15...16: return .shutdown(byte % 3 != 0)
        case 17...24:
            let digests = (0..<Int(byte % 4)).map { _ in
                let hash = HashAlgorithm.allCases.randomElement(using: &generator)!
                return TaggedDigest(hash, [UInt8](repeating: .random(in: 0...255, using: &generator), count: hash.digestSize))
            }
            return .extend(Int(byte) % 24, digests)
        default: return .reset(byte % 8 == 0 ? Int(byte) % 24 : 15 + Int(byte) % 9)
        }
    }
}

extension VirtualPCRs {
    /// - Returns: the response code.
    fileprivate mutating func take(_ event: Event) -> UInt32 {
        do throws(TPMRC) {
            switch event {
            case .powerOn: powerOn()
            case .locality(let locality): try setLocality(locality)
            case .hashStart: hashStart()
            case .hashData(let byte): hashData([byte])
            case .hashEnd: hashEnd()
            case .resetEstablished(let locality): try resetEstablished(at: locality)
            case .startup(let state): try startup(state: state)
            case .shutdown(let state): try shutdown(state: state)
            case .extend(let pcr, let digests): try extend(pcr, digests)
            case .reset(let pcr): try reset(pcr)
            }
        } catch {
            return error.rawValue
        }
        return 0
    }
}

extension StockTPM {
    fileprivate func take(_ event: Event) throws -> UInt32 {
        /// TPM_BAD_LOCALITY of TPM 1.2, with which swtpm's control channel answers
        func locality(_ result: UInt32) -> UInt32 { result == 0x3D ? TPMRC.locality.rawValue : result }
        switch event {
        case .powerOn: try powerOn()
        case .locality(let value): return locality(try control(5, [value]).result)
        case .hashStart: return try control(6).result
        case .hashData(let byte): return try control(7, [0, 0, 0, 1, byte]).result
        case .hashEnd: return try control(8).result
        case .resetEstablished(let value): return locality(try control(11, [value]).result)
        case .startup(let state): return try command(0x144, [0, state ? 1 : 0]).code
        case .shutdown(let state): return try command(0x145, [0, state ? 1 : 0]).code
        case .extend(let pcr, let digests):
            var parameters = WireWriter()
            parameters.list(digests)
            return try command(0x182, handles: [UInt32(pcr)], password: true, parameters.bytes).code
        case .reset(let pcr): return try command(0x13D, handles: [UInt32(pcr)], password: true).code
        }
        return 0
    }

    /// Counter, tpmEstablished and all banks; nil before Startup.
    fileprivate func values() throws -> (counter: UInt32, established: Bool, banks: [UInt8])? {
        var counter: UInt32 = 0
        var banks: [UInt8] = []
        for bank in HashAlgorithm.allCases {
            // TPM2_PCR_Read gives eight values at most.
            for eight in 0..<3 {
                var selection = WireWriter()
                selection.list([PCRSelection(bank, pcrs: eight * 8..<eight * 8 + 8)])
                let (code, rest) = try command(0x17E, selection.bytes)
                guard code == 0 else { return nil }
                var reader = WireReader(rest)
                counter = try reader.u32()
                _ = try reader.list(PCRSelection.self, max: 1)
                for _ in 0..<(try reader.u32()) { banks += try reader.sized16() }
            }
        }
        return (counter, try control(4).rest.first == 1, banks)
    }
}

@Suite(.enabled(if: StockTPM.isInstalled)) struct StockPCRTests {
    @Test(arguments: [UInt64(1), 2, 3, 4]) func vPCRsAreThoseOfAStockTPM(_ seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let stock = try StockTPM()
        var pcrs = VirtualPCRs(generation: 0)
        pcrs.powerOn()
        var history: [Event] = []
        var isHashing = false
        for _ in 0..<400 {
            let event = Event.random(&generator)
            history.append(event)
            let code = try stock.take(event)
            try #require(pcrs.take(event) == code, "\(history.suffix(12))")
            switch event {
            case .hashStart: isHashing = true
            case .hashData, .locality, .resetEstablished: break
            default: isHashing = false
            }
            // Reading is a command, too, and aborts an event that is under way.
            if isHashing {
                guard history.count.isMultiple(of: 3) else { continue }
                pcrs.abortEvent()
                isHashing = false
            }
            let values = try stock.values()
            try #require(pcrs.values.started == (values != nil), "\(history.suffix(12))")
            guard let values else { continue }
            try #require(hexString(pcrs.values.banks) == hexString(values.banks), "\(history.suffix(12))")
            try #require(pcrs.values.updateCounter == values.counter, "\(history.suffix(12))")
            try #require(pcrs.values.established == values.established, "\(history.suffix(12))")
        }
    }
}
