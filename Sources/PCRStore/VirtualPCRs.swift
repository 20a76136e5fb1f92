// The vPCRs of one guest: what power, locality, the DRTM event and the guest's PCR commands do to them. No I/O.
import CryptoBase
import SystemMap
import TPMWire

/// Four banks of 24 PCRs with the attributes of the PC Client profile. Behaves as libtpms does, response codes included.
package struct VirtualPCRs: Sendable {
    package private(set) var values = VPCRValues()
    /// _TPM_Hash_Start came and _TPM_Hash_End did not: a digest for each bank.
    var event: [HashContext]? {
        didSet { values.hashing = event != nil }
    }
    /// What this boot's Startup(CLEAR) extends before anything else.
    var firstEvent: FirstEvent?
    /// How PCR 0 began in this boot.
    var launch: Launch = .normal
    /// What the last TPM2_Shutdown(STATE) kept.
    var kept: Kept?
    /// The PCRs that are allocated. The others have no value that anyone can see.
    var banks = PCRBanks.all

    /// PCR 0 begins as 0…0n: n is 3 after Startup at locality 3, 4 (and extended) after an H-CRTM event.
    enum Launch: UInt8, Sendable {
        case normal = 0
        case locality3 = 3
        case hcrtm = 4
    }

    struct Kept: Sendable {
        /// updateCounter and banks of that moment
        let values: VPCRValues
        let launch: Launch
    }

    private static let pcr0 = 0
    private static let drtmPCR = 17
    private static let localities: ClosedRange<UInt8> = 0...4

    /// A TPM without power.
    /// - Parameter generation: where the generations begin; random, so that none from an earlier life of this service,
    ///   to which some token may be bound, comes again.
    package init(generation: UInt64) { values.generation = generation }

    /// Those of a former paratpm-pcr, without what is not on the page for all to see.
    init(values: VPCRValues) { self.values = values }

    // MARK: The platform's signals

    /// _TPM_Init (Part 3, 9.2): the values stay as they are until Startup says what becomes of them. The locality
    /// is the platform's own, and stays too.
    /// - Parameter event: what the platform measures of itself.
    package mutating func powerOn(measuring event: FirstEvent? = nil) {
        values.bootCount += 1
        values.generation += 1
        values.started = false
        self.event = nil
        launch = .normal
        firstEvent = event
    }

    package mutating func setLocality(_ locality: UInt8) throws(TPMRC) {
        guard Self.localities.contains(locality) else { throw .locality }
        values.locality = locality
    }

    /// Clears tpmEstablished.
    package mutating func resetEstablished(at locality: UInt8) throws(TPMRC) {
        guard locality == 3 || locality == 4 else { throw .locality }
        values.established = false
    }

    /// _TPM_Hash_Start (Part 3, 22.9)
    package mutating func hashStart() {
        values.established = true
        event = HashAlgorithm.allCases.map { HashContext($0) }
    }

    /// _TPM_Hash_Data (Part 3, 22.10)
    package mutating func hashData(_ bytes: [UInt8]) {
        guard event != nil else { return }
        for bank in HashAlgorithm.allCases.indices { event?[bank].update(bytes) }
    }

    /// _TPM_Hash_End (Part 3, 22.11)
    package mutating func hashEnd() {
        guard let digests = event?.map({ TaggedDigest($0.hash, $0.finished()) }) else { return }
        event = nil
        if values.started {
            for pcr in 0..<PCRSelection.pcrCount where PCRAttributes.of(pcr).isDRTM { fill(pcr, with: 0) }
            change(Self.drtmPCR, by: digests)
            values.dynamicLaunches &+= 1
        } else {
            launch = .hcrtm
            fill(Self.pcr0, with: 0, last: launch.rawValue)
            change(Self.pcr0, by: digests)
        }
    }

    // MARK: The guest's commands

    /// Any command ends an event that has not ended, and nothing comes of the event.
    package mutating func abortEvent() { event = nil }

    /// TPM2_Startup (Part 3, 9.3)
    package mutating func startup(state: Bool, isReset: Bool = false, banks: PCRBanks = .all) throws(TPMRC) {
        abortEvent()
        guard !values.started else { throw .initialize }
        guard values.locality == 0 || values.locality == 3 else { throw .locality }
        let launch = launch == .normal && values.locality == 3 ? .locality3 : launch
        if state { try checkResume(launch) }
        if isReset { kept = nil }
        self.banks = banks
        // Resume and Restart, which follow Shutdown(STATE), count on from there; a TPM Reset begins again.
        values.updateCounter = kept?.values.updateCounter ?? 0
        for pcr in 0..<PCRSelection.pcrCount { initialize(pcr, resume: state, launch) }
        if state, let kept { restore(kept) }
        kept = nil
        self.launch = launch
        values.started = true
        if !state, let firstEvent { change(Int(firstEvent.pcr), by: firstEvent.digests) }
        firstEvent = nil
    }

    /// A Resume needs what Shutdown(STATE) kept, and the same H-CRTM and locality as the boot before.
    private func checkResume(_ launch: Launch) throws(TPMRC) {
        guard let kept, (kept.launch == .hcrtm) == (launch == .hcrtm) else { throw .value.parameter(1) }
        guard kept.launch == launch else { throw .locality }
    }

    /// The PC Client's initial values: zero, but all ones for the PCRs of a dynamic launch, and the launch in PCR 0.
    private mutating func initialize(_ pcr: Int, resume: Bool, _ launch: Launch) {
        let attributes = PCRAttributes.of(pcr)
        if resume && attributes.isStateSaved { return }
        count(attributes)
        switch pcr {
        case Self.pcr0 where launch == .hcrtm: break
        case Self.pcr0: fill(pcr, with: 0, last: launch.rawValue)
        default: fill(pcr, with: attributes.isDRTM ? 0xFF : 0)
        }
    }

    private mutating func restore(_ kept: Kept) {
        for pcr in 0..<PCRSelection.pcrCount where PCRAttributes.of(pcr).isStateSaved {
            for bank in HashAlgorithm.allCases { values.set(bank, pcr, kept.values.digest(bank, pcr)) }
        }
    }

    /// TPM2_Shutdown (Part 3, 9.4)
    package mutating func shutdown(state: Bool) throws(TPMRC) {
        try begin()
        kept = state ? Kept(values: values, launch: launch) : nil
    }

    /// TPM2_PCR_Extend (Part 3, 22.2), and the second half of TPM2_PCR_Event (22.3). A bank may be named more than once.
    package mutating func extend(_ pcr: Int, _ digests: [TaggedDigest]) throws(TPMRC) {
        try begin()
        let attributes = try attributes(of: pcr)
        guard attributes.extend.allows(values.locality) else { throw .locality }
        spoil(attributes)
        change(pcr, by: digests)
    }

    mutating func extend(_ request: PCRCalls.Extend.Request) throws(TPMRC) { try extend(Int(request.pcr), request.digests) }

    /// TPM2_PCR_Reset (Part 3, 22.8)
    package mutating func reset(_ pcr: Int) throws(TPMRC) {
        try begin()
        let attributes = try attributes(of: pcr)
        guard attributes.isResettable(at: values.locality) else { throw .locality }
        spoil(attributes)
        fill(pcr, with: 0)
        count(attributes)
    }

    /// TPM2_Clear changes no PCR but counts as a change.
    package mutating func countClear() throws(TPMRC) {
        try begin()
        count(PCRAttributes.of(Self.pcr0))
    }

    /// The selected values, in the order of the selections, ascending within each; those that are not allocated are left out.
    package func digests(_ selections: [PCRSelection]) -> [TaggedDigest] {
        selections.flatMap { selection in
            selection.pcrs.filter { banks.contains(selection.hash, $0) }
                .map { TaggedDigest(selection.hash, values.digest(selection.hash, $0)) }
        }
    }

    // MARK: Parts

    /// Every command needs Startup first, and ends an event.
    private mutating func begin() throws(TPMRC) {
        abortEvent()
        guard values.started else { throw .initialize }
    }

    private func attributes(of pcr: Int) throws(TPMRC) -> PCRAttributes {
        guard (0..<PCRSelection.pcrCount).contains(pcr) else { throw .value.handle(1) }
        return PCRAttributes.of(pcr)
    }

    /// A change to what Shutdown(STATE) kept undoes the shutdown.
    private mutating func spoil(_ attributes: PCRAttributes) {
        if attributes.isStateSaved { kept = nil }
    }

    /// PCR = H(PCR || digest), in each bank that is named and has it
    private mutating func change(_ pcr: Int, by digests: [TaggedDigest]) {
        for change in digests where banks.contains(change.hash, pcr) {
            values.set(change.hash, pcr, digest(change.hash, values.digest(change.hash, pcr), change.digest))
            count(PCRAttributes.of(pcr))
        }
    }

    /// One change of one bank, for pcrUpdateCounter (Part 1, 17.9) and the generation.
    private mutating func count(_ attributes: PCRAttributes) {
        guard attributes.isCounted else { return }
        values.updateCounter &+= 1
        values.generation += 1
    }

    private mutating func fill(_ pcr: Int, with byte: UInt8, last: UInt8? = nil) {
        for bank in HashAlgorithm.allCases {
            var value = [UInt8](repeating: byte, count: bank.digestSize)
            if let last { value[value.count - 1] = last }
            values.set(bank, pcr, value)
        }
    }
}
