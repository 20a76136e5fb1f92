// One guest in paratpm-pcr: its vPCRs, and the page on which its proxy reads them and a later paratpm-pcr finds them.
import CryptoBase
import Glibc
import IPC
import SystemMap
import TPMWire

package final class GuestPCRs {
    let id: GuestID
    private var state: GuestState
    private let page: VPCRPage
    /// The page's file; sealed, so whoever receives it can read and map it but neither write nor resize it.
    package let readable: Descriptor
    /// What the page is called in the service manager's keeping.
    let pageName: String
    /// Set when the guest was removed while connections of it are still open.
    package private(set) var isForgotten = false
    /// A former paratpm-pcr left it, and its proxy has not come back yet.
    var isAwaited: Bool
    /// The process that opened the last channel for a proxy.
    var door: pid_t?
    /// Where that proxy posts.
    private var posts: Channel?

    /// A guest that is not known yet; nil when the system has no memory or no descriptors left.
    convenience init?(_ id: GuestID) {
        // Half of the numbers are left to rise into.
        let generation = randomBytes(8).reduce(0) { $0 << 8 | UInt64($1) } >> 1
        self.init(id, GuestState(VirtualPCRs(generation: generation)), isAwaited: false)
    }

    /// A guest on a page that a former paratpm-pcr left. The page cannot be written any more, so there is a new one.
    convenience init?(_ saved: VPCRPage.Saved) {
        guard let state = try? GuestState(saved.values, remainder: saved.remainder) else { return nil }
        self.init(saved.guest, state, isAwaited: true)
    }

    private init?(_ id: GuestID, _ state: GuestState, isAwaited: Bool) {
        guard let (page, file) = VPCRPage.make() else { return nil }
        readable = file
        // Of a clock that runs as long as memory files live.
        let madeAt = UInt64(nanoseconds())
        self.id = id
        self.state = state
        self.page = page
        self.isAwaited = isAwaited
        pageName = "\(Self.pageNamePrefix)\(id.hex)-\(madeAt)"
        page.begin(id, madeAt: madeAt)
        show()
    }

    private func show() {
        let last = state.last[Side.proxy.rawValue]
        page.write(state.pcrs.values, state.remainder, change: last.status == CallStatus.ok.rawValue ? last.number : 0)
    }

    static let pageNamePrefix = "vpcrs-"

    /// With every change that was posted.
    package var pcrs: VirtualPCRs {
        takePosted()
        return state.pcrs
    }

    /// The end of the socket on which a new proxy posts. nil: the system has no descriptors left.
    func acceptPosts() -> Descriptor? {
        takePosted()
        guard let (ours, theirs) = try? Descriptor.pair() else { return nil }
        posts = Channel(ours)
        return theirs
    }

    /// Makes what was posted, and shows it on the page.
    func takePosted() {
        guard let posts, !isForgotten else { return }
        var isChanged = false
        for _ in 0..<PCRCalls.PostedExtend.waitingMax {
            guard let message = try? posts.receiveBytes(flags: Int32(MSG_DONTWAIT)) else { break }
            guard let posted = try? PCRCalls.PostedExtend(wire: message) else { continue }
            // How it went, the page says.
            try? make(posted.change, by: .proxy) { (pcrs) throws(TPMRC) in try pcrs.extend(posted.request) }
            isChanged = true
        }
        if isChanged { show() }
    }

    /// Makes a change, unless its number says that it was made already, and shows it on the page before anyone hears of it.
    /// - Parameter number: 0 for a change that may be made again.
    func change(
        _ number: UInt64, by side: Side, _ body: (inout VirtualPCRs) throws(TPMRC) -> Void
    ) throws(CallStatus) {
        takePosted()
        defer { show() }
        try make(number, by: side, body)
    }

    private func make(
        _ number: UInt64, by side: Side, _ body: (inout VirtualPCRs) throws(TPMRC) -> Void
    ) throws(CallStatus) {
        let last = state.last[side.rawValue]
        // Of several that were posted one after another, this is not the last.
        if number != 0, last.number != number, last.number &- number < UInt64(PCRCalls.PostedExtend.waitingMax) { return }
        var status = CallStatus(rawValue: last.status)
        if number == 0 || last.number != number {
            status = .ok
            do throws(TPMRC) { try body(&state.pcrs) } catch { status = CallStatus(rawValue: error.rawValue) }
            if number != 0 { state.last[side.rawValue] = LastChange(number: number, status: status.rawValue) }
        }
        guard status == .ok else { throw status }
    }

    func forget() { isForgotten = true }
}
