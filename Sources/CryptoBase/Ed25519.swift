// Ed25519 (RFC 8032, 5.1). libcrypto offers it through EVP only, which would cost each process about 170 kB of
// private memory for a few signatures in its life. This version is small and plain rather than fast, and takes no branch and
// no memory index from a secret.

/// The seed's expansion: the clamped scalar and the prefix of the nonce's hash (RFC 8032, 5.1.5).
private func expanded(_ seed: [UInt8]) -> (scalar: [UInt8], prefix: [UInt8]) {
    var hashed = digest(.sha512, seed)
    defer { wipe(&hashed) }
    hashed[0] &= 0xF8
    hashed[31] = hashed[31] & 0x7F | 0x40
    return (Array(hashed[..<32]), Array(hashed[32...]))
}

/// - Parameter seed: 32 bytes.
func ed25519PublicKey(_ seed: [UInt8]) -> [UInt8] {
    var (scalar, prefix) = expanded(seed)
    defer {
        wipe(&scalar)
        wipe(&prefix)
    }
    return Point.baseTimes(scalar).encoded
}

/// (RFC 8032, 5.1.6)
func ed25519Sign(_ message: [UInt8], seed: [UInt8], publicKey: [UInt8]) -> [UInt8] {
    var (scalar, prefix) = expanded(seed)
    defer {
        wipe(&scalar)
        wipe(&prefix)
    }
    let nonce = Scalar(reducing: digest(.sha512, prefix, message))
    let r = Point.baseTimes(nonce.bytes).encoded
    let challenge = Scalar(reducing: digest(.sha512, r, publicKey, message))
    return r + challenge.times(Scalar(reducing: scalar), plus: nonce).bytes
}

/// (RFC 8032, 5.1.7), the equation without the cofactor: R is compared as bytes.
func ed25519Verify(_ signature: [UInt8], message: [UInt8], publicKey: [UInt8]) -> Bool {
    guard signature.count == 64, publicKey.count == 32, let key = Point(encoded: publicKey) else { return false }
    let (r, s) = (Array(signature[..<32]), Array(signature[32...]))
    // An S that is not reduced would be a second signature of the same message.
    guard Scalar(reducing: s).bytes == s else { return false }
    let challenge = Scalar(reducing: digest(.sha512, r, publicKey, message))
    return Point.baseTimes(s).plus(key.negated.times(challenge.bytes)).encoded == r
}

/// An integer modulo the group's order L = 2^252 + 27742317777372353535851937790883648493, in four words, the least
/// significant first.
private struct Scalar {
    private var words: SIMD4<UInt64>

    private static let order = SIMD4<UInt64>(0x5812_631A_5CF5_D3ED, 0x14DE_F9DE_A2F7_9CD6, 0, 0x1000_0000_0000_0000)

    /// Little-endian, at most 64 bytes.
    init(reducing bytes: [UInt8]) {
        var wide = SIMD8<UInt64>()
        for (i, byte) in bytes.prefix(64).enumerated() { wide[i / 8] |= UInt64(byte) << UInt64(i % 8 * 8) }
        self.init(reducing: wide)
    }

    /// Bit by bit from the top: double, add the bit, subtract the order if that leaves no less than zero.
    private init(reducing wide: SIMD8<UInt64>) {
        words = SIMD4()
        for bit in (0..<512).reversed() {
            var carry = wide[bit / 64] >> UInt64(bit % 64) & 1
            for i in 0..<4 {
                let top = words[i] >> 63
                words[i] = words[i] << 1 | carry
                carry = top
            }
            var reduced = SIMD4<UInt64>()
            var borrow: UInt64 = 0
            for i in 0..<4 { (reduced[i], borrow) = Self.subtract(words[i], Self.order[i], borrow) }
            let keep = 0 &- borrow
            words = words & SIMD4(repeating: keep) | reduced & SIMD4(repeating: ~keep)
        }
    }

    private static func subtract(_ a: UInt64, _ b: UInt64, _ borrow: UInt64) -> (UInt64, UInt64) {
        let difference = UInt128(a) &- UInt128(b) &- UInt128(borrow)
        return (UInt64(truncatingIfNeeded: difference), UInt64(truncatingIfNeeded: difference >> 127))
    }

    /// self × factor + addend
    func times(_ factor: Scalar, plus addend: Scalar) -> Scalar {
        var wide = SIMD8<UInt64>()
        for i in 0..<4 { wide[i] = addend.words[i] }
        for i in 0..<4 {
            var carry: UInt64 = 0
            for j in 0..<4 {
                let sum = UInt128(words[i]) &* UInt128(factor.words[j]) &+ UInt128(wide[i + j]) &+ UInt128(carry)
                wide[i + j] = UInt64(truncatingIfNeeded: sum)
                carry = UInt64(truncatingIfNeeded: sum >> 64)
            }
            // Words above have not been touched yet, but for the addend's: the carry goes on through them.
            for j in i + 4..<8 {
                let sum = UInt128(wide[j]) &+ UInt128(carry)
                wide[j] = UInt64(truncatingIfNeeded: sum)
                carry = UInt64(truncatingIfNeeded: sum >> 64)
            }
        }
        return Scalar(reducing: wide)
    }

    /// Little-endian, 32 bytes.
    var bytes: [UInt8] { (0..<32).map { UInt8(truncatingIfNeeded: words[$0 / 8] >> UInt64($0 % 8 * 8)) } }
}

/// An integer modulo p = 2^255 - 19 in five limbs of 51 bits, least significant first, each below 2^52.
private struct FieldElement {
    private var limbs: (UInt64, UInt64, UInt64, UInt64, UInt64)

    private static let limbMask: UInt64 = 1 << 51 - 1

    static let zero = FieldElement(0)
    static let one = FieldElement(1)

    init(_ small: UInt64) { limbs = (small, 0, 0, 0, 0) }

    private init(_ limbs: (UInt64, UInt64, UInt64, UInt64, UInt64)) { self.limbs = limbs }

    /// 32 bytes, little-endian; the top bit is ignored.
    init(_ bytes: [UInt8]) {
        func bits(_ first: Int) -> UInt64 {
            var word: UInt128 = 0
            for i in 0..<8 where first / 8 + i < 32 { word |= UInt128(bytes[first / 8 + i]) << UInt128(8 * i) }
            return UInt64(truncatingIfNeeded: word >> UInt128(first % 8)) & Self.limbMask
        }
        limbs = (bits(0), bits(51), bits(102), bits(153), bits(204))
    }

    /// Carries what stands above 51 bits upward, and from the top limb around by 2^255 = 19.
    private init(carrying wide: (UInt128, UInt128, UInt128, UInt128, UInt128)) {
        var (w0, w1, w2, w3, w4) = wide
        let mask = UInt128(Self.limbMask)
        w1 &+= w0 >> 51
        w2 &+= w1 >> 51
        w3 &+= w2 >> 51
        w4 &+= w3 >> 51
        w0 = (w0 & mask) &+ (w4 >> 51) &* 19
        w1 = (w1 & mask) &+ (w0 >> 51)
        limbs = (UInt64(truncatingIfNeeded: w0 & mask), UInt64(truncatingIfNeeded: w1),
                 UInt64(truncatingIfNeeded: w2 & mask), UInt64(truncatingIfNeeded: w3 & mask),
                 UInt64(truncatingIfNeeded: w4 & mask))
    }

    static func + (a: FieldElement, b: FieldElement) -> FieldElement {
        let (a, b) = (a.limbs, b.limbs)
        return FieldElement(carrying: (
            UInt128(a.0 &+ b.0), UInt128(a.1 &+ b.1), UInt128(a.2 &+ b.2), UInt128(a.3 &+ b.3), UInt128(a.4 &+ b.4)))
    }

    /// Adds 4p first, so that no limb goes below zero.
    static func - (a: FieldElement, b: FieldElement) -> FieldElement {
        let (a, b) = (a.limbs, b.limbs)
        let low: UInt64 = 4 * (limbMask - 18)
        let high: UInt64 = 4 * limbMask
        return FieldElement(carrying: (
            UInt128(a.0 &+ low &- b.0), UInt128(a.1 &+ high &- b.1), UInt128(a.2 &+ high &- b.2),
            UInt128(a.3 &+ high &- b.3), UInt128(a.4 &+ high &- b.4)))
    }

    static func * (a: FieldElement, b: FieldElement) -> FieldElement {
        let (a, b) = (a.limbs, b.limbs)
        func p(_ x: UInt64, _ y: UInt64) -> UInt128 { UInt128(x) &* UInt128(y) }
        // Limbs whose product stands at 2^255 or above come around by 19.
        let (c1, c2, c3, c4) = (b.1 &* 19, b.2 &* 19, b.3 &* 19, b.4 &* 19)
        return FieldElement(carrying: (
            p(a.0, b.0) &+ p(a.1, c4) &+ p(a.2, c3) &+ p(a.3, c2) &+ p(a.4, c1),
            p(a.0, b.1) &+ p(a.1, b.0) &+ p(a.2, c4) &+ p(a.3, c3) &+ p(a.4, c2),
            p(a.0, b.2) &+ p(a.1, b.1) &+ p(a.2, b.0) &+ p(a.3, c4) &+ p(a.4, c3),
            p(a.0, b.3) &+ p(a.1, b.2) &+ p(a.2, b.1) &+ p(a.3, b.0) &+ p(a.4, c4),
            p(a.0, b.4) &+ p(a.1, b.3) &+ p(a.2, b.2) &+ p(a.3, b.1) &+ p(a.4, b.0)))
    }

    var negated: FieldElement { .zero - self }

    /// self^(2^bits - subtrahend), a public exponent, for a subtrahend from 1 to 32.
    private func power(_ bits: Int, minus subtrahend: Int) -> FieldElement {
        // 2^bits - subtrahend: ones above the lowest five bits, which are 32 - subtrahend.
        let low = 32 - subtrahend
        var result = self
        for bit in (0..<bits - 1).reversed() {
            result = result * result
            if bit >= 5 || low >> bit & 1 == 1 { result = result * self }
        }
        return result
    }

    /// 1 / self, as self^(p - 2)
    var inverse: FieldElement { power(255, minus: 21) }

    /// 2^((p - 1) / 4), a square root of -1
    private static let rootOfMinusOne = FieldElement(2).power(253, minus: 5)

    /// A square root of numerator / denominator, if there is one (RFC 8032, 5.1.3).
    static func squareRoot(_ numerator: FieldElement, over denominator: FieldElement) -> FieldElement? {
        let cube = denominator * denominator * denominator
        let root = numerator * cube * (numerator * cube * cube * denominator).power(252, minus: 3)
        let check = denominator * root * root
        if check.bytes == numerator.bytes { return root }
        return check.bytes == numerator.negated.bytes ? root * rootOfMinusOne : nil
    }

    /// The value below p: little-endian, 32 bytes.
    var bytes: [UInt8] {
        var (l0, l1, l2, l3, l4) = FieldElement(carrying: (
            UInt128(limbs.0), UInt128(limbs.1), UInt128(limbs.2), UInt128(limbs.3), UInt128(limbs.4))).limbs
        // 1 if the value is p or more: then adding 19 reaches 2^255. Dropping that bit subtracts p.
        var excess = (l0 &+ 19) >> 51
        excess = (l1 &+ excess) >> 51
        excess = (l2 &+ excess) >> 51
        excess = (l3 &+ excess) >> 51
        excess = (l4 &+ excess) >> 51
        let mask = Self.limbMask
        l0 &+= 19 &* excess
        l1 &+= l0 >> 51
        l2 &+= l1 >> 51
        l3 &+= l2 >> 51
        l4 &+= l3 >> 51
        (l0, l1, l2, l3, l4) = (l0 & mask, l1 & mask, l2 & mask, l3 & mask, l4 & mask)
        let words = [l0 | l1 << 51, l1 >> 13 | l2 << 38, l2 >> 26 | l3 << 25, l3 >> 39 | l4 << 12]
        return words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(8 * $0)) } }
    }

    /// `other` if `mask` is all ones, self if it is zero.
    func selecting(_ other: FieldElement, _ mask: UInt64) -> FieldElement {
        let (a, b) = (limbs, other.limbs)
        return FieldElement((
            a.0 ^ mask & (a.0 ^ b.0), a.1 ^ mask & (a.1 ^ b.1), a.2 ^ mask & (a.2 ^ b.2), a.3 ^ mask & (a.3 ^ b.3),
            a.4 ^ mask & (a.4 ^ b.4)))
    }
}

/// A point of -x² + y² = 1 + d x² y² in extended coordinates: x = X/Z, y = Y/Z, xy = T/Z (RFC 8032, 5.1.4).
private struct Point {
    private var x: FieldElement
    private var y: FieldElement
    private var z: FieldElement
    private var t: FieldElement

    /// -121665 / 121666
    private static let d = FieldElement(121_665).negated * FieldElement(121_666).inverse
    private static let twiceD = d + d
    private static let neutral = Point(x: .zero, y: .one, z: .one, t: .zero)

    /// B, whose y is 4/5 and whose x is even.
    static let base: Point = {
        guard let base = Point(encoded: (FieldElement(4) * FieldElement(5).inverse).bytes) else {
            preconditionFailure("the base point is a point")
        }
        return base
    }()

    private init(x: FieldElement, y: FieldElement, z: FieldElement, t: FieldElement) {
        (self.x, self.y, self.z, self.t) = (x, y, z, t)
    }

    /// (RFC 8032, 5.1.3); nil unless the bytes are the one encoding of a point.
    init?(encoded bytes: [UInt8]) {
        y = FieldElement(bytes)
        var canonical = y.bytes
        canonical[31] |= bytes[31] & 0x80
        let square = y * y
        guard canonical == bytes,
            var root = FieldElement.squareRoot(square - .one, over: Self.d * square + .one)
        else { return nil }
        let sign = bytes[31] >> 7
        if root.bytes[0] & 1 != sign { root = root.negated }
        guard root.bytes[0] & 1 == sign else { return nil }
        x = root
        z = .one
        t = root * y
    }

    /// (RFC 8032, 5.1.2)
    var encoded: [UInt8] {
        let inverse = z.inverse
        var bytes = (y * inverse).bytes
        bytes[31] |= (x * inverse).bytes[0] << 7
        return bytes
    }

    var negated: Point { Point(x: x.negated, y: y, z: z, t: t.negated) }

    /// Complete: it also doubles, and adds the neutral element (RFC 8032, 5.1.4).
    func plus(_ other: Point) -> Point {
        let a = (y - x) * (other.y - other.x)
        let b = (y + x) * (other.y + other.x)
        let c = t * Self.twiceD * other.t
        let zz = z * other.z
        let d = zz + zz
        let (e, f, g, h) = (b - a, d - c, d + c, b + a)
        return Point(x: e * f, y: g * h, z: f * g, t: e * h)
    }

    /// (RFC 8032, 5.1.4)
    private var doubled: Point {
        let (a, b) = (x * x, y * y)
        let zz = z * z
        let h = a + b
        let e = h - (x + y) * (x + y)
        let g = a - b
        let f = zz + zz + g
        return Point(x: e * f, y: g * h, z: f * g, t: e * h)
    }

    private func doubled(_ times: Int) -> Point { (0..<times).reduce(self) { point, _ in point.doubled } }

    /// The multiple by `scalar`, four bits at a time.
    /// - Parameter scalar: 32 bytes, little-endian.
    func times(_ scalar: [UInt8]) -> Point {
        var multiples = [Self.neutral, self]
        while multiples.count < 16 { multiples.append(multiples[multiples.count - 1].plus(self)) }
        return (0..<64).reversed().reduce(Self.neutral) { result, digit in
            result.doubled(4).plus(Self.chosen(scalar[digit / 2] >> UInt8(digit % 2 * 4) & 0xF, of: multiples))
        }
    }

    /// Of four rows of 64 bits, the sums of B, 2^64 B, 2^128 B and 2^192 B that a column of bits stands for.
    private static let columns: [Point] = {
        var rows = [base]
        while rows.count < 4 { rows.append(rows[rows.count - 1].doubled(64)) }
        return (0..<16).map { column in
            rows.enumerated().reduce(neutral) { column >> $1.offset & 1 == 1 ? $0.plus($1.element) : $0 }
        }
    }()

    /// The base point's multiple by `scalar`, one bit of each row at a time.
    /// - Parameter scalar: 32 bytes, little-endian.
    static func baseTimes(_ scalar: [UInt8]) -> Point {
        (0..<64).reversed().reduce(neutral) { result, bit in
            let column = (0..<4).reduce(UInt8(0)) { $0 | (scalar[$1 * 8 + bit / 8] >> UInt8(bit % 8) & 1) << UInt8($1) }
            return result.doubled.plus(chosen(column, of: columns))
        }
    }

    /// Every point is read, whichever is chosen.
    private static func chosen(_ index: UInt8, of points: [Point]) -> Point {
        var result = points[0]
        for (i, point) in points.enumerated() {
            // All ones where i is the index, else zero.
            let mask = 0 &- (UInt64(i ^ Int(index)) &- 1) >> 63
            result = Point(
                x: result.x.selecting(point.x, mask), y: result.y.selecting(point.y, mask),
                z: result.z.selecting(point.z, mask), t: result.t.selecting(point.t, mask))
        }
        return result
    }
}
