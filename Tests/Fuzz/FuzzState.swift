// State files: damaged ones, and such as would be authentic but hold anything.
import TPMCrypto
import TPMWire
import Wire

@testable import GuestProxy
@testable import VirtualTPM

/// The input's first byte: even damages a good file, odd gives a TPM records that no TPM wrote.
func fuzzState(_ input: [UInt8]) {
    guard let first = input.first else { return }
    let rest = Array(input.dropFirst())
    if first % 2 == 0 { damagedFile(rest) } else { strangeRecords(rest) }
}

private let secret = Secret([UInt8](repeating: 7, count: 32))
private let layout = JournalLayout(regionSize: 4096)
private let change = [(key: RecordKey(kind: 1, id: [1, 2]), value: [UInt8](repeating: 3, count: 100) as [UInt8]?)]

private final class MemoryFile: StateFile {
    private(set) var bytes: [UInt8]
    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        super.init(descriptor: -1)
    }
    override func size() throws(JournalError) -> (bytes: Int, isFixed: Bool) { (bytes.count, false) }
    override func extend(to size: Int) throws(JournalError) { bytes += [UInt8](repeating: 0, count: size - bytes.count) }
    override func read(at offset: Int, count: Int) throws(JournalError) -> [UInt8] { Array(bytes[offset..<offset + count]) }
    override func write(_ new: [UInt8], at offset: Int) throws(JournalError) {
        bytes.replaceSubrange(offset..<offset + new.count, with: new)
    }
    override func synchronize() throws(JournalError) {}
}

private let goodFile: [UInt8] = {
    let file = MemoryFile([])
    guard let journal = try? Journal(file, key: secret, layout: layout) else { broken("no journal") }
    for _ in 0..<3 {
        guard (try? journal.commit(change)) != nil else { broken("no commit") }
    }
    return file.bytes
}()

/// Edits: offset (2) | byte, each; two bytes left over are the length that the file is cut to.
private func damagedFile(_ input: [UInt8]) {
    var bytes = goodFile
    var reader = WireReader(input)
    while reader.remaining >= 3, let offset = try? reader.u16(), let byte = try? reader.u8() {
        bytes[Int(offset) % bytes.count] = byte
    }
    if let length = try? reader.u16() { bytes = Array(bytes.prefix(Int(length))) }
    let file = MemoryFile(bytes)
    guard let journal = try? Journal(file, key: secret, layout: layout) else {
        if file.bytes != bytes { broken("a refused file was changed") }
        return
    }
    guard (try? journal.commit(change)) != nil, let again = try? Journal(file, key: secret, layout: layout),
        again.records == journal.records
    else { broken("what was committed is not there") }
}

private func strangeRecords(_ input: [UInt8]) {
    var records: [RecordKey: [UInt8]] = [:]
    guard (try? ChangeList.apply(input, to: &records)) != nil else { return }
    let store = FakeStore()
    guard (try? store.commit(records.map { (key: $0.key, value: $0.value) })) != nil else { return }
    let (pcrs, device, clock) = (FakePCRs(), FakeDevice(), FakeClock())
    guard
        let tpm = try? VirtualTPM(
            device: device, pcrs: pcrs, policy: FakePolicy(pcrs, device, clock), store: store, clock: clock, secret: secret)
    else { return }
    pcrs.pcrs.powerOn()
    _ = tpm.execute(CommandMessage(.startup, parameters: [0, 0]).bytes)
    for capability in [TPMHandle(0x8100_0000), TPMHandle(0x0100_0000)] {
        _ = tpm.execute(CommandMessage(.getCapability, parameters: UInt32(1).wire + capability.wire + UInt32(64).wire).bytes)
    }
    for key in records.keys.prefix(8) where key.id.count == 4 {
        _ = tpm.execute(CommandMessage(.readPublic, parameters: key.id).bytes)
        _ = tpm.execute(CommandMessage(.nvReadPublic, parameters: key.id).bytes)
    }
    _ = tpm.execute(CommandMessage(.shutdown, parameters: [0, 0]).bytes)
}
