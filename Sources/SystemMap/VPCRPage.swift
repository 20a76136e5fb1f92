// The page that paratpm-pcr shares with one guest's proxy, read-only there: the guest's vPCRs, so that PCR_Read costs no hop.
// The service manager keeps it too, so that the vPCRs outlive paratpm-pcr.
import CSystem
import Glibc
import IPC
import TPMWire
import Wire

/// 24 PCRs in four banks, and what belongs to them. Native byte order: it never leaves the machine.
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
    /// A DRTM or H-CRTM event has begun and not ended: the guest's next command aborts it.
    package var hashing = false
    /// DRTM events since paratpm-pcr knows the guest: each counts in restartCount (Part 1, 36.5).
    package var dynamicLaunches: UInt32 = 0
    /// The banks one after another (order of HashAlgorithm.allCases), each 24 digests.
    package var banks: [UInt8]

    package init() { self.init(banks: [UInt8](repeating: 0, count: VPCRPage.banksSize)) }
    fileprivate init(banks: [UInt8]) { self.banks = banks }

    package func digest(_ hash: HashAlgorithm, _ pcr: Int) -> [UInt8] { Array(banks[Self.place(hash, pcr)]) }

    package mutating func set(_ hash: HashAlgorithm, _ pcr: Int, _ digest: [UInt8]) {
        precondition(digest.count == hash.digestSize)
        banks.replaceSubrange(Self.place(hash, pcr), with: digest)
    }

    /// The selected PCRs as TPM2_PCR_Read lists them: each digest behind its 16-bit size.
    package func list(_ selections: [PCRSelection]) -> [UInt8] { banks.withUnsafeBytes { Self.list(selections, $0) } }

    fileprivate static func list(_ selections: [PCRSelection], _ banks: UnsafeRawBufferPointer) -> [UInt8] {
        var writer = WireWriter(capacity: selections.reduce(0) { $0 + $1.pcrs.count * (2 + $1.hash.digestSize) })
        for selection in selections {
            for pcr in selection.pcrs {
                writer.u16(UInt16(selection.hash.digestSize))
                writer.raw(UnsafeRawBufferPointer(rebasing: banks[place(selection.hash, pcr)]))
            }
        }
        return writer.bytes
    }

    /// Where a digest is in `banks`.
    private static func place(_ hash: HashAlgorithm, _ pcr: Int) -> Range<Int> {
        precondition((0..<PCRSelection.pcrCount).contains(pcr))
        let before = switch hash {
        case .sha1: 0
        case .sha256: 20
        case .sha384: 20 + 32
        case .sha512: 20 + 32 + 48
        }
        let start = before * PCRSelection.pcrCount + pcr * hash.digestSize
        return start..<start + hash.digestSize
    }
}

package final class VPCRPage {
    // File: u32 sequence, u32 version, u64 madeAt, the guest's id; then the record's copies, each with the header of the values, the
    // banks, and behind its u32 size at the header's end what paratpm-pcr keeps besides.
    package static let size = 5 * 4096
    package static let banksSize = (20 + 32 + 48 + 64) * 24
    private static let header = 64
    private static let valuesSize = header + banksSize
    private static let copySize = SharedCopies.copySize(size)
    /// The most that paratpm-pcr can keep besides the values, in bytes.
    package static let remainderMax = copySize - valuesSize
    private static let version: UInt32 = 1
    private static let counterOffset = 4
    private static let generationOffset = 16
    private static let localityOffset = 24
    private static let hashingOffset = 27
    private static let changeOffset = 32
    private let copies: SharedCopies

    /// Maps a page that paratpm-pcr made.
    /// - Parameter writable: true in paratpm-pcr alone; a descriptor sealed against writing refuses it.
    package init?(_ descriptor: Descriptor, writable: Bool) {
        guard let copies = SharedCopies(descriptor, size: Self.size, writable: writable) else { return nil }
        self.copies = copies
    }

    // MARK: In paratpm-pcr

    /// A new page and its file, sealed; nil when the system has no memory or no descriptors left.
    package static func make() -> (page: VPCRPage, file: Descriptor)? {
        guard let file = Descriptor.memoryFile("paratpm-vpcrs", size: size), let page = VPCRPage(file, writable: true), file.seal() else { return nil }
        return (page, file)
    }

    /// Says whose the page is; once, before anyone else has it.
    /// - Parameter madeAt: of two pages of one guest the later counts.
    package func begin(_ guest: GuestID, madeAt: UInt64) {
        let memory = copies.memory
        memory.storeBytes(of: Self.version, toByteOffset: 4, as: UInt32.self)
        memory.storeBytes(of: madeAt, toByteOffset: 8, as: UInt64.self)
        guest.bytes.withUnsafeBytes { (memory + 16).copyMemory(from: $0.baseAddress!, byteCount: GuestID.size) }
    }

    /// A change: all of it, or should we die meanwhile nothing.
    /// - Parameters:
    ///   - remainder: at most `remainderMax` bytes.
    ///   - change: the number of the proxy's last change, if that was made; else 0.
    package func write(_ values: VPCRValues, _ remainder: [UInt8], change: UInt64) {
        precondition(remainder.count <= Self.remainderMax)
        copies.write { Self.fill($0, values, remainder, change) }
    }

    private static func fill(_ copy: UnsafeMutableRawPointer, _ values: VPCRValues, _ remainder: [UInt8], _ change: UInt64) {
        // SAFETY: each offset is within the copy: the banks have their size (VPCRValues), and write(_:_:change:) checked the remainder's.
        copy.storeBytes(of: values.updateCounter, toByteOffset: counterOffset, as: UInt32.self)
        copy.storeBytes(of: values.bootCount, toByteOffset: 8, as: UInt64.self)
        copy.storeBytes(of: values.generation, toByteOffset: generationOffset, as: UInt64.self)
        copy.storeBytes(of: values.locality, toByteOffset: localityOffset, as: UInt8.self)
        copy.storeBytes(of: values.established ? 1 : 0, toByteOffset: 25, as: UInt8.self)
        copy.storeBytes(of: values.started ? 1 : 0, toByteOffset: 26, as: UInt8.self)
        copy.storeBytes(of: values.hashing ? 1 : 0, toByteOffset: hashingOffset, as: UInt8.self)
        copy.storeBytes(of: values.dynamicLaunches, toByteOffset: 28, as: UInt32.self)
        copy.storeBytes(of: change, toByteOffset: changeOffset, as: UInt64.self)
        copy.storeBytes(of: UInt32(remainder.count), toByteOffset: header - 4, as: UInt32.self)
        values.banks.withUnsafeBytes { (copy + header).copyMemory(from: $0.baseAddress!, byteCount: banksSize) }
        remainder.withUnsafeBytes { bytes in
            if let base = bytes.baseAddress { (copy + valuesSize).copyMemory(from: base, byteCount: bytes.count) }
        }
    }

    /// What a page holds that a former paratpm-pcr left.
    package struct Saved {
        package let guest: GuestID
        package let madeAt: UInt64
        package let values: VPCRValues
        package let remainder: [UInt8]
    }

    /// nil: it is not a page of ours.
    package static func saved(in descriptor: Descriptor) -> Saved? {
        var status = stat()
        guard fstat(descriptor.raw, &status) == 0, status.st_size == size, csystem_is_sealed(descriptor.raw) != 0,
            let page = VPCRPage(descriptor, writable: false), page.copies.memory.load(fromByteOffset: 4, as: UInt32.self) == version,
            let guest = GuestID(Array(UnsafeRawBufferPointer(start: page.copies.memory + 16, count: GuestID.size))),
            let copy = page.copies.read(Array.init), case let count = Int(copy.withUnsafeBytes { $0.u32(header - 4) }), count <= remainderMax
        else { return nil }
        return Saved(
            guest: guest, madeAt: page.copies.memory.load(fromByteOffset: 8, as: UInt64.self), values: copy.withUnsafeBytes(values),
            remainder: Array(copy[valuesSize..<valuesSize + count]))
    }

    // MARK: Everywhere

    /// A consistent copy of the last whole change; nil only while changes follow one another faster than one can read.
    package func read() -> VPCRValues? { copies.read(Self.values) }

    /// `VPCRValues.updateCounter` and `list` alone, of the last whole change.
    package func list(_ selections: [PCRSelection]) -> (updateCounter: UInt32, list: [UInt8])? {
        copies.read { ($0.u32(Self.counterOffset), VPCRValues.list(selections, UnsafeRawBufferPointer(rebasing: $0[Self.header..<Self.valuesSize]))) }
    }

    /// `VPCRValues.generation` and `locality` alone, of the last whole change.
    package var moment: (generation: UInt64, locality: UInt8)? { copies.read { ($0.u64(Self.generationOffset), $0[Self.localityOffset]) } }

    /// `VPCRValues.locality` alone, of the last whole change.
    package var locality: UInt8 { copies.number(Self.localityOffset, as: UInt8.self) }

    /// `VPCRValues.hashing` alone, of the last whole change: what every command asks.
    package var isHashing: Bool { copies.number(Self.hashingOffset, as: UInt8.self) != 0 }

    /// The number of the proxy's last change, of the last whole change; 0 where that was refused.
    package var change: UInt64 { copies.number(Self.changeOffset, as: UInt64.self) }

    private static func values(in copy: UnsafeRawBufferPointer) -> VPCRValues {
        var values = VPCRValues(banks: Array(copy[header..<valuesSize]))
        values.updateCounter = copy.u32(counterOffset)
        values.bootCount = copy.u64(8)
        values.generation = copy.u64(generationOffset)
        values.locality = copy[localityOffset]
        values.established = copy[25] != 0
        values.started = copy[26] != 0
        values.hashing = copy[hashingOffset] != 0
        values.dynamicLaunches = copy.u32(28)
        return values
    }
}

// Numbers as they lie in memory. The offsets are the page's own, far inside its header.
extension UnsafeRawBufferPointer {
    fileprivate func u32(_ offset: Int) -> UInt32 { loadUnaligned(fromByteOffset: offset, as: UInt32.self) }
    fileprivate func u64(_ offset: Int) -> UInt64 { loadUnaligned(fromByteOffset: offset, as: UInt64.self) }
}
