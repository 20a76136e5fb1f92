// The page that paratpm-pcr shares with one guest's proxy, read-only there: the guest's vPCRs, so that PCR_Read costs no hop.
import CSystem
import Glibc
import IPC
import TPMWire

/// One page: a sequence lock, a header, and 24 PCRs in four banks. Native byte order: it never leaves the machine.
package struct VPCRValues: Equatable, Sendable {
    /// Rises with every _TPM_Init.
    package var bootCount: UInt64 = 0
    /// Rises with every _TPM_Init and every change that pcrUpdateCounter counts, and repeats no value: what a policy session
    /// is bound to. (Changes of PCR 16 and 21 to 23 and of locality are not counted, as in any TPM.)
    package var generation: UInt64 = 0
    /// pcrUpdateCounter (Part 1, 17.9)
    package var updateCounter: UInt32 = 0
    package var locality: UInt8 = 0
    package var established = false
    /// TPM2_Startup has happened in this boot.
    package var started = false
    /// DRTM events since paratpm-pcr knows the guest: each counts in restartCount (Part 1, 36.5).
    package var dynamicLaunches: UInt32 = 0
    /// The banks one after another (order of HashAlgorithm.allCases), each 24 digests.
    package var banks: [UInt8] = [UInt8](repeating: 0, count: VPCRPage.banksSize)

    package init() {}

    package func digest(_ hash: HashAlgorithm, _ pcr: Int) -> [UInt8] {
        let start = Self.offset(hash, pcr)
        return Array(banks[start..<start + hash.digestSize])
    }

    package mutating func set(_ hash: HashAlgorithm, _ pcr: Int, _ digest: [UInt8]) {
        precondition(digest.count == hash.digestSize && pcr < PCRSelection.pcrCount)
        let start = Self.offset(hash, pcr)
        banks.replaceSubrange(start..<start + digest.count, with: digest)
    }

    private static func offset(_ hash: HashAlgorithm, _ pcr: Int) -> Int {
        var start = pcr * hash.digestSize
        for bank in HashAlgorithm.allCases {
            if bank == hash { break }
            start += bank.digestSize * PCRSelection.pcrCount
        }
        return start
    }
}

package final class VPCRPage {
    package static let size = 4096
    package static let banksSize = (20 + 32 + 48 + 64) * 24
    private static let header = 64
    private let memory: UnsafeMutableRawPointer

    /// Maps a page that paratpm-pcr shared.
    /// - Parameter writable: true in paratpm-pcr alone; a descriptor sealed against writing refuses it.
    package init?(_ descriptor: Descriptor, writable: Bool) {
        let protection = PROT_READ | (writable ? PROT_WRITE : 0)
        let address = mmap(nil, Self.size, protection, MAP_SHARED, descriptor.raw, 0)
        guard let address, address != MAP_FAILED else { return nil }
        memory = address
    }
    deinit { munmap(memory, Self.size) }

    // SAFETY: every offset below is within `size`, which init mapped whole; paratpm-pcr sealed the file's size.
    private var sequence: UnsafeMutablePointer<UInt32> { memory.assumingMemoryBound(to: UInt32.self) }

    package func write(_ values: VPCRValues) {
        csystem_page_begin(sequence)
        memory.storeBytes(of: values.updateCounter, toByteOffset: 4, as: UInt32.self)
        memory.storeBytes(of: values.bootCount, toByteOffset: 8, as: UInt64.self)
        memory.storeBytes(of: values.generation, toByteOffset: 16, as: UInt64.self)
        memory.storeBytes(of: values.locality, toByteOffset: 24, as: UInt8.self)
        memory.storeBytes(of: values.established ? 1 : 0, toByteOffset: 25, as: UInt8.self)
        memory.storeBytes(of: values.started ? 1 : 0, toByteOffset: 26, as: UInt8.self)
        memory.storeBytes(of: values.dynamicLaunches, toByteOffset: 28, as: UInt32.self)
        values.banks.withUnsafeBytes { (memory + Self.header).copyMemory(from: $0.baseAddress!, byteCount: Self.banksSize) }
        csystem_page_end(sequence)
    }

    /// A consistent copy; nil when the writer died in the middle of a change.
    package func read() -> VPCRValues? {
        var copy = [UInt8](repeating: 0, count: Self.header + Self.banksSize)
        guard csystem_page_read(sequence, memory, &copy, copy.count, 100_000) == 0 else { return nil }
        var values = VPCRValues()
        copy.withUnsafeBytes { raw in
            values.updateCounter = raw.loadUnaligned(fromByteOffset: 4, as: UInt32.self)
            values.bootCount = raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
            values.generation = raw.loadUnaligned(fromByteOffset: 16, as: UInt64.self)
            values.locality = raw[24]
            values.established = raw[25] != 0
            values.started = raw[26] != 0
            values.dynamicLaunches = raw.loadUnaligned(fromByteOffset: 28, as: UInt32.self)
        }
        values.banks = Array(copy[Self.header...])
        return values
    }
}
