// Extends that were answered before paratpm-pcr made them: the guest waits for none, paratpm-pcr makes many at a time, and none is lost.
import Glibc
import IPC
import SystemMap
import TPMWire
import Wire

final class PostedExtends {
    private let link: ServiceLink
    private var socket: Channel?
    /// In order; of those that are made, some.
    private var waiting: [PCRCalls.PostedExtend] = []
    /// The link's, when they were posted.
    private var epoch = 0
    /// paratpm-pcr does not know yet that it has some to make.
    private(set) var isQuiet = false

    init(_ link: ServiceLink) { self.link = link }

    /// The socket that came with the link's channel.
    func use(_ descriptor: Descriptor) { socket = Channel(descriptor) }

    /// Posts one that paratpm-pcr cannot refuse. From here on it cannot be taken back: it happens before anything else that anyone asks of
    /// the guest's vPCRs.
    /// - Returns: false: it was not posted. Settle, and call.
    func post(_ request: PCRCalls.Extend.Request) -> Bool {
        // They are made in order, and a socket whose other end is gone has lost some.
        guard waiting.count < PCRCalls.PostedExtend.waitingMax, waiting.isEmpty || epoch == link.epoch, link.isConnected, let socket else {
            return false
        }
        let posted = PCRCalls.PostedExtend(change: link.number(of: PCRCalls.Extend.self, request), request)
        guard (try? socket.send(posted.wire)) != nil else { return false }
        link.forgetUnresolved()
        epoch = link.epoch
        isQuiet = true
        waiting.append(posted)
        return true
    }

    /// Has paratpm-pcr make what was posted, without waiting for it.
    func announce() {
        isQuiet = false
        link.tellIfConnected(PCRCalls.TakePosted.self, Nothing())
    }

    /// Makes sure that what was posted has happened.
    /// - Parameter made: the number of the last change that is known to be made.
    /// - Throws: TPM_RC_RETRY when the service is coming back; TPM_RC_FAILURE when the change will never happen.
    func settle(made: () -> UInt64?) throws(TPMRC) {
        while let first = waiting.first {
            if let made = made(), made &- first.change < UInt64(PCRCalls.PostedExtend.waitingMax) {
                waiting.removeFirst()
                continue
            }
            // Asked for with an answer, it is made unless it was, and before it what was posted.
            do throws(TPMRC) { _ = try link.call(PCRCalls.Extend.self, first.request, change: first.change) } catch {
                throw error == .retry ? .retry : .failure
            }
            waiting.removeFirst()
        }
        isQuiet = false
        link.forgetUnresolved()
    }

    /// What was posted is of no consequence any more.
    func forget() {
        isQuiet = false
        waiting = []
    }
}
