// The chip's random numbers, fetched in blocks so that most GetRandom commands need no hop.
import SystemMap
import TPMCrypto
import TPMWire

/// Random bytes of the chip and of the kernel together: as good as the better of the two. Each is given out once.
struct RandomPool {
    private var bytes: [UInt8] = []
    /// All that StirRandom brought.
    private var stirred: [UInt8] = []
    private static let blockSize = Int(DeviceCalls.Random.countMax)

    /// - Parameter count: at most a block.
    mutating func draw(_ count: Int, from device: any DeviceService) throws(TPMRC) -> [UInt8] {
        if bytes.count < count { try refill(from: device) }
        let start = bytes.count - count
        let drawn = Array(bytes[start...])
        for index in start..<bytes.count { bytes[index] = 0 }
        bytes.removeLast(count)
        return drawn
    }

    private mutating func refill(from device: any DeviceService) throws(TPMRC) {
        let chip = try device.random(Self.blockSize)
        guard chip.count == Self.blockSize else { throw .failure }
        let kernel = kdfa(.sha512, key: randomBytes(64), label: "RANDOM", contextU: stirred, bits: Self.blockSize * 8)
        bytes = zip(chip, kernel).map { $0 ^ $1 }
    }

    /// Additional information for what comes later (Part 3, 16.2).
    mutating func stir(_ data: [UInt8]) {
        stirred = digest(.sha512, stirred, data)
        bytes = []
    }
}

extension VirtualTPM {
    /// - Parameter count: at most 256.
    func drawRandom(_ count: Int) throws(TPMRC) -> [UInt8] { try volatile.random.draw(count, from: device) }
}
