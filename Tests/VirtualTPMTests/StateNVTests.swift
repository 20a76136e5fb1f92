// NV indices (Part 3, 31). The response codes are those of a stock swtpm 0.7.1 for the same commands.
import Testing
import TPMCrypto
import TPMWire
import Wire

@testable import VirtualTPM

private let index = TPMHandle(.nvIndex, 0x50_0001)
private let ordinary: NVAttributes = [.ownerWrite, .ownerRead, .authWrite, .authRead]

private func area(
    _ handle: TPMHandle = index, _ hash: HashAlgorithm = .sha256, _ attributes: NVAttributes = ordinary, policy: [UInt8] = [],
    size: UInt16 = 32
) -> NVPublic {
    NVPublic(index: handle, nameAlgorithm: hash, attributes: attributes, authPolicy: policy, dataSize: size)
}

extension Guest {
    fileprivate func define(_ area: NVPublic, auth: [UInt8] = [], by authHandle: TPMHandle = .owner) throws -> TPMRC {
        try run(.nvDefineSpace, [authHandle]) {
            $0.sized16(auth)
            $0.sized16(area)
        }.code
    }
    fileprivate func write(_ data: [UInt8], at offset: UInt16 = 0, _ handle: TPMHandle = index, by authHandle: TPMHandle = index) throws -> TPMRC {
        try run(.nvWrite, [authHandle, handle]) {
            $0.sized16(data)
            $0.u16(offset)
        }.code
    }
    fileprivate func read(_ size: UInt16, at offset: UInt16 = 0, _ handle: TPMHandle = index, by authHandle: TPMHandle = index) throws -> TPMRC {
        try run(.nvRead, [authHandle, handle]) {
            $0.u16(size)
            $0.u16(offset)
        }.code
    }
    fileprivate func contents(_ handle: TPMHandle = index, size: UInt16 = 32) throws -> [UInt8] {
        var reader = try succeed(.nvRead, [.owner, handle]) {
            $0.u16(size)
            $0.u16(0)
        }
        return try reader.sized16()
    }
    fileprivate func publicArea(_ handle: TPMHandle = index) throws -> NVPublic {
        var reader = try succeed(.nvReadPublic, [handle])
        let area = try reader.value(Sized<NVPublic>.self).value
        #expect(try reader.sized16() == area.name)
        return area
    }
}

private func with(_ type: NVAttributes.IndexType, _ more: NVAttributes = []) -> NVAttributes {
    var attributes: NVAttributes = [.ownerWrite, .ownerRead, .noDA]
    attributes.formUnion(more)
    attributes.indexType = type
    return attributes
}

@Suite struct StateNVTests {
    @Test func anIndexIsDefinedWrittenReadAndUndefined() throws {
        let guest = try Guest()
        #expect(try guest.define(area()) == .success)
        #expect(try guest.define(area()) == .nvDefined)
        #expect(try guest.read(1) == .nvUninitialized)
        #expect(try !guest.publicArea().attributes.contains(.written))
        #expect(try guest.write([1, 2, 3], at: 5) == .success)
        #expect(try guest.publicArea().attributes.contains(.written))
        #expect(try guest.contents() == [UInt8](repeating: 0xFF, count: 5) + [1, 2, 3] + [UInt8](repeating: 0xFF, count: 24))
        #expect(try guest.run(.nvUndefineSpace, [.owner, index]).code == .success)
        #expect(try guest.run(.nvReadPublic, [index]).code == TPMRC.handle.handle(1))
        #expect(guest.store.records[RecordKey(kind: 4, id: index.wire)] == nil)
    }

    @Test func rangesAreChecked() throws {
        let guest = try Guest()
        #expect(try guest.define(area()) == .success)
        #expect(try guest.write([UInt8](repeating: 1, count: 33)) == .nvRange)
        #expect(try guest.write([], at: 33) == TPMRC.value.parameter(2))
        #expect(try guest.write([UInt8](repeating: 1, count: 1025)) == TPMRC.size.parameter(1))
        #expect(try guest.write([], at: 32) == .success)
        #expect(try guest.read(33) == .nvRange)
        #expect(try guest.read(1, at: 32) == .nvRange)
        #expect(try guest.read(0, at: 32) == .success)
        #expect(try guest.read(1, at: 33) == TPMRC.value.parameter(2))
        #expect(try guest.read(1025) == TPMRC.value.parameter(1))
        #expect(try guest.define(area(TPMHandle(.nvIndex, 2), .sha256, [.ownerWrite, .ownerRead, .writeAll], size: 8)) == .success)
        #expect(try guest.write([1], TPMHandle(.nvIndex, 2), by: .owner) == .nvRange)
        #expect(try guest.write([UInt8](repeating: 1, count: 8), TPMHandle(.nvIndex, 2), by: .owner) == .success)
    }

    @Test func theAttributesSayWhoMayReadAndWrite() throws {
        let guest = try Guest()
        #expect(try guest.define(area(index, .sha256, [.ownerWrite, .authRead], size: 8)) == .success)
        #expect(try guest.write([1], by: index) == .authUnavailable.session(1))
        #expect(try guest.write([1], by: .platform) == .nvAuthorization)
        #expect(try guest.write([1], by: .owner) == .success)
        #expect(try guest.read(1, by: .owner) == .nvAuthorization)
        #expect(try guest.read(1, by: index) == .success)
        let other = TPMHandle(.nvIndex, 7)
        #expect(try guest.define(area(other)) == .success)
        #expect(try guest.read(1, index, by: other) == .nvAuthorization)
    }

    @Test(arguments: [
        (area(index, .sha256, with(.counter), size: 8), TPMRC.success),
        (area(index, .sha256, with(.counter), size: 7), TPMRC.size.parameter(2)),
        (area(index, .sha256, with(.bits), size: 8), .success),
        (area(index, .sha1, with(.extend), size: 20), .success),
        (area(index, .sha256, with(.extend), size: 20), TPMRC.size.parameter(2)),
        (area(index, .sha256, with(.pinPass), size: 8), .success),
        (area(index, .sha256, with(.pinFail), size: 8), .success),
        (area(index, .sha256, with(.pinFail).subtracting(.noDA), size: 8), TPMRC.attributes.parameter(2)),
        (area(index, .sha256, with(.pinPass, .authWrite), size: 8), TPMRC.attributes.parameter(2)),
        (area(index, .sha256, with(.pinPass, .globalLock), size: 8), TPMRC.attributes.parameter(2)),
        (area(index, .sha256, with(.counter, .clearStClear), size: 8), TPMRC.attributes.parameter(2)),
        (area(index, .sha256, NVAttributes(rawValue: ordinary.rawValue | 3 << 4), size: 8), TPMRC.attributes.parameter(2)),
        (area(index, .sha256, ordinary.union(.written)), TPMRC.attributes.parameter(2)),
        (area(index, .sha256, ordinary.union(.readLocked)), TPMRC.attributes.parameter(2)),
        (area(index, .sha256, [.ownerWrite]), TPMRC.attributes.parameter(2)),
        (area(index, .sha256, [.ownerRead]), TPMRC.attributes.parameter(2)),
        (area(index, .sha256, ordinary.union([.clearStClear, .writeDefine])), TPMRC.attributes.parameter(2)),
        (area(index, .sha256, ordinary.union(.platformCreate)), TPMRC.attributes.handle(1)),
        (area(index, .sha256, ordinary.union(.policyDelete)), TPMRC.attributes.parameter(2)),
        (area(index, .sha256, ordinary, policy: [1, 2, 3]), TPMRC.size.parameter(2)),
        (area(index, .sha256, ordinary, size: 2049), TPMRC.size.parameter(2)),
        (area(index, .sha256, ordinary, size: 2048), .success),
        (area(index, .sha256, ordinary.union(.writeAll), size: 2048), TPMRC.size.parameter(2)),
        (area(TPMHandle(.persistent, 1)), TPMRC.value.parameter(2)),
    ])
    func definitionsAreCheckedAsPart3Says(area: NVPublic, code: TPMRC) throws {
        #expect(try Guest().define(area) == code)
    }

    @Test func theAuthValueFitsTheNameAlgorithmWithoutItsTrailingZeros() throws {
        let guest = try Guest()
        #expect(try guest.define(area(), auth: [UInt8](repeating: 1, count: 33)) == TPMRC.size.parameter(1))
        #expect(try guest.define(area(), auth: [UInt8](repeating: 1, count: 32) + [0, 0, 0]) == .success)
    }

    @Test func platformIndicesAreThePlatforms() throws {
        let guest = try Guest()
        #expect(try guest.define(area(), by: .platform) == TPMRC.attributes.handle(1))
        let attributes: NVAttributes = [.ppWrite, .ppRead, .ownerRead, .platformCreate]
        #expect(try guest.define(area(index, .sha256, attributes), by: .platform) == .success)
        #expect(try guest.run(.nvUndefineSpace, [.owner, index]).code == .nvAuthorization)
        #expect(try guest.run(.nvUndefineSpace, [.platform, index]).code == .success)
        #expect(try guest.define(area(index, .sha256, attributes.union(.policyDelete)), by: .platform) == .success)
        #expect(try guest.run(.nvUndefineSpace, [.platform, index]).code == TPMRC.attributes.handle(2))
    }

    @Test func onlyOrdinaryIndicesAreWrittenWithNVWrite() throws {
        let guest = try Guest()
        #expect(try guest.define(area(index, .sha256, with(.counter), size: 8)) == .success)
        #expect(try guest.write([UInt8](repeating: 0, count: 8), by: .owner) == .attributes)
        #expect(try guest.read(8, by: .owner) == .nvUninitialized)
    }

    @Test func aPINIndexAuthorizesNothingBeforeItIsWritten() throws {
        let guest = try Guest()
        #expect(try guest.define(area(index, .sha256, with(.pinFail, .authRead), size: 8)) == .success)
        #expect(try guest.read(8) == .authUnavailable)
    }

    @Test func theQuotaOfBytesAndIndicesHolds() throws {
        var limits = Limits()
        limits.nvBytes = 5000
        limits.nvIndices = 3
        let guest = try Guest(limits: limits)
        #expect(try guest.define(area(TPMHandle(.nvIndex, 1), size: 2048)) == .success)
        #expect(try guest.define(area(TPMHandle(.nvIndex, 2), size: 2048)) == .success)
        #expect(try guest.define(area(TPMHandle(.nvIndex, 3), size: 2048)) == .nvSpace)
        #expect(try guest.define(area(TPMHandle(.nvIndex, 3), size: 8)) == .success)
        #expect(try guest.define(area(TPMHandle(.nvIndex, 4), size: 8)) == .nvSpace)
    }

    @Test func aWriteIsLastingWhenItIsAnswered() throws {
        let guest = try Guest()
        #expect(try guest.define(area()) == .success)
        #expect(try guest.write(Array("lasting".utf8)) == .success)
        try guest.revive()
        try guest.startup()
        #expect(try guest.contents().prefix(7) == ArraySlice("lasting".utf8))
    }

    @Test func aWriteThatCannotBeMadeLastingIsNotThere() throws {
        let guest = try Guest()
        #expect(try guest.define(area()) == .success)
        #expect(try guest.write([1]) == .success)
        guest.store.failure = .io(5)
        #expect(try guest.write([2]) == .nvUnavailable)
        #expect(try guest.contents().first == 1)
        guest.store.failure = .full
        #expect(try guest.write([2]) == .nvSpace)
        guest.store.failure = nil
        #expect(try guest.contents().first == 1)
    }

    @Test func aSecondWriteOfTheSameDataCostsNoCommit() throws {
        let guest = try Guest()
        #expect(try guest.define(area()) == .success)
        #expect(try guest.write([1]) == .success)
        let commits = guest.store.commits
        #expect(try guest.write([1]) == .success)
        #expect(guest.store.commits == commits)
    }
}
