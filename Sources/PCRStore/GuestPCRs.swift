// One guest in paratpm-pcr: its vPCRs, and the page on which its proxy reads them.
import CSystem
import CryptoBase
import Glibc
import IPC
import SystemMap
import TPMWire

package final class GuestPCRs {
    private var pcrs: VirtualPCRs
    private let page: VPCRPage
    /// The page's file; sealed, so whoever receives it can read and map it but neither write nor resize it.
    package let readable: Descriptor
    /// Set when the guest was removed while connections of it are still open.
    package private(set) var isForgotten = false

    /// nil when the system has no memory or no descriptors left.
    package init?() {
        let raw = csystem_memfd("paratpm-vpcrs")
        guard raw >= 0 else { return nil }
        readable = Descriptor(owning: raw)
        // Our mapping comes before the seal, and is the last that may write.
        guard ftruncate(raw, VPCRPage.size) == 0, let page = VPCRPage(readable, writable: true), csystem_seal(raw) == 0 else {
            return nil
        }
        self.page = page
        // Half of the numbers are left to rise into.
        pcrs = VirtualPCRs(generation: randomBytes(8).reduce(0) { $0 << 8 | UInt64($1) } >> 1)
        page.write(pcrs.values)
    }

    package var values: VPCRValues { pcrs.values }

    package func digests(_ selection: [PCRSelection]) -> [TaggedDigest] { pcrs.digests(selection) }

    /// Makes a change, and shows it on the page before anyone hears of it.
    package func change<E: Error>(_ body: (inout VirtualPCRs) throws(E) -> Void) throws(E) {
        defer { page.write(pcrs.values) }
        try body(&pcrs)
    }

    package func forget() { isForgotten = true }
}
