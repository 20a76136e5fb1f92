// HMACs over data that come in parts, with a key that only the chip has.
import SystemMap
import TPMCrypto
import TPMWire

/// As long as the data fit in one call the proxy gathers them: most sequences cost the chip one HMAC. Longer ones are a sequence of
/// the chip's own, whose state the proxy keeps between two steps.
struct TwinSequence {
    let twin: TwinReference
    let hash: HashAlgorithm
    private(set) var progress: Progress

    enum Progress: Equatable {
        /// All the data so far, at most DeviceCalls.HMAC.dataMax bytes
        case gathered([UInt8])
        /// What the chip knows it by
        case inChip(state: [UInt8])
    }

    init(_ twin: TwinReference, _ hash: HashAlgorithm, _ progress: Progress = .gathered([])) {
        self.twin = twin
        self.hash = hash
        self.progress = progress
    }

    /// - Parameter data: at most DeviceCalls.HMAC.dataMax bytes. On error nothing has changed.
    mutating func update(_ data: [UInt8]) throws(TPMRC) {
        switch progress {
        case .gathered(let former) where former.count + data.count <= DeviceCalls.HMAC.dataMax:
            progress = .gathered(former + data)
        case .gathered(let former): progress = .inChip(state: try step(try step([], former), data))
        case .inChip(let state): progress = .inChip(state: try step(state, data))
        }
    }

    func finished() throws(TPMRC) -> [UInt8] {
        switch progress {
        case .gathered(let data):
            try twin.use { (device, handle) throws(TPMRC) in try device.hmac(handle, hash: hash, data: data) }
        case .inChip(let state): try step(state, [], isLast: true)
        }
    }

    private func step(_ state: [UInt8], _ data: [UInt8], isLast: Bool = false) throws(TPMRC) -> [UInt8] {
        try twin.use { (device, handle) throws(TPMRC) in
            try device.hmacStep(handle, hash: hash, state: state, data: data, isLast: isLast)
        }
    }
}
