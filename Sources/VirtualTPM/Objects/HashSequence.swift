// Hash sequences. A ticket may be asked for at the end, and only the policy checker makes those, of data that it saw itself. As long as the data
// fit in one call they are gathered here; most sequences cost one call, or none.
import SystemMap
import TPMCrypto
import TPMWire

struct HashSequence {
    let hash: HashAlgorithm
    private(set) var progress: Progress = .gathered([])

    enum Progress: Equatable {
        /// All the data so far, at most HashCalls.dataMax bytes
        case gathered([UInt8])
        /// What the policy checker knows them by
        case inChecker(state: [UInt8])
    }

    init(_ hash: HashAlgorithm, _ progress: Progress = .gathered([])) {
        self.hash = hash
        self.progress = progress
    }

    /// - Parameter data: at most HashCalls.dataMax bytes. On error nothing has changed.
    mutating func update(_ data: [UInt8], _ policy: any PolicyService) throws(TPMRC) {
        switch progress {
        case .gathered(let former) where former.count + data.count <= HashCalls.dataMax: progress = .gathered(former + data)
        case .gathered(let former):
            let state = try policy.hash(.init(hash: hash, data: former)).result
            progress = .inChecker(state: try policy.hash(.init(hash: hash, state: state, data: data)).result)
        case .inChecker(let state):
            progress = .inChecker(state: try policy.hash(.init(hash: hash, state: state, data: data)).result)
        }
    }

    /// - Parameter hierarchy: of the ticket; nil: none is wanted.
    func finished(ticket hierarchy: TicketHierarchy?, _ policy: any PolicyService) throws(TPMRC) -> (digest: [UInt8], ticket: Ticket?) {
        let (state, data): ([UInt8], [UInt8])
        switch progress {
        case .gathered(let all):
            guard hierarchy != nil else { return (digest(hash, all), nil) }
            (state, data) = ([], all)
        case .inChecker(let former): (state, data) = (former, [])
        }
        let reply = try policy.hash(.init(hash: hash, state: state, data: data, end: .init(ticket: hierarchy)))
        return (reply.result, reply.ticket)
    }
}
