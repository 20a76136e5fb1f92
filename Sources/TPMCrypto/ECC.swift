// Elliptic curves: key pairs, Diffie-Hellman, ECDSA and the TPM's Schnorr signatures (Part 1, Annex C).
import CCrypto
import CryptoBase
import TPMWire

/// A key pair held in software.
package struct ECCKeyPair: Sendable {
    package let curve: ECCCurve
    package let publicPoint: ECCPoint
    /// The scalar, of the curve's field size.
    package let privateKey: Secret

    private init(_ curve: ECCCurve, _ scalar: BigNumber) {
        let group = CurveGroup.of(curve)
        guard let point = group.coordinates(group.multiple(of: nil, scalar)),
            var bytes = scalar.bytes(curve.fieldSize)
        else { preconditionFailure("a scalar below the order has a point") }
        self.curve = curve
        publicPoint = point
        privateKey = Secret(bytes)
        wipe(&bytes)
    }

    package static func generate(_ curve: ECCCurve) -> ECCKeyPair {
        ECCKeyPair(curve, CurveGroup.of(curve).randomScalar())
    }

    /// - Parameter privateKey: a scalar from 1 to n - 1, big-endian; anything else gives nil.
    package init?(curve: ECCCurve, privateKey: [UInt8]) {
        let scalar = BigNumber(secret: privateKey)
        guard !scalar.isZero, scalar < CurveGroup.of(curve).order else { return nil }
        self.init(curve, scalar)
    }

    /// The key pair that follows from a seed: 64 bits more than the order from KDFa, modulo n - 1, plus 1
    /// (Part 1, C.5; FIPS 186-4, B.4.1).
    package init(curve: ECCCurve, seed: [UInt8], hash: HashAlgorithm, label: String, context: [UInt8] = []) {
        let bits = CurveGroup.of(curve).order.bits + 64
        var bytes = kdfa(hash, key: seed, label: label, contextU: context, bits: bits)
        defer { wipe(&bytes) }
        self.init(curve: curve, extraBits: bytes)
    }

    /// The key pair of a number of at least 64 bits more than the order, modulo n - 1, plus 1 (FIPS 186-4, B.4.1).
    package init(curve: ECCCurve, extraBits bytes: [UInt8]) {
        let group = CurveGroup.of(curve)
        guard let scalar = Arithmetic().remainder(BigNumber(secret: bytes), group.order.minusOne()),
            BN_add_word(scalar.pointer, 1) == 1
        else { outOfMemory() }
        scalar.markSecret()
        self.init(curve, scalar)
    }

    private var scalar: BigNumber {
        var bytes = privateKey.bytes
        defer { wipe(&bytes) }
        return BigNumber(secret: bytes)
    }

    /// The shared point [d]Q; nil if `point` is not on the curve (SP 800-56A, 5.7.1.2).
    package func agree(_ point: ECCPoint) -> ECCPoint? {
        let group = CurveGroup.of(curve)
        guard let point = group.point(point) else { return nil }
        return group.coordinates(group.multiple(of: point, scalar))
    }

    /// ECDSA (Part 1, C.4.2; FIPS 186-4, 6): r and s, each of the curve's field size.
    package func signECDSA(digest: [UInt8]) -> (r: [UInt8], s: [UInt8]) {
        let group = CurveGroup.of(curve)
        let z = group.scalar(fromDigest: digest)
        while true {
            let nonce = group.randomScalar()
            guard let point = group.coordinates(group.multiple(of: nil, nonce)),
                let r = Arithmetic().remainder(BigNumber(point.x), group.order), !r.isZero,
                let s = maskedECDSA(group, nonce, r, z), !s.isZero,
                let rBytes = r.bytes(curve.fieldSize), let sBytes = s.bytes(curve.fieldSize)
            else { continue }
            return (rBytes, sBytes)
        }
    }

    /// s = (z + r d) / k, computed as (b z + (b r) d) / (b k) with a random b, so that the steps whose time depends
    /// on their operands see only masked ones.
    private func maskedECDSA(_ group: CurveGroup, _ k: BigNumber, _ r: BigNumber, _ z: BigNumber) -> BigNumber? {
        let n = group.order
        let math = Arithmetic()
        let b = group.randomScalar()
        guard let bz = math.product(b, z, modulo: n), let br = math.product(b, r, modulo: n),
            let brd = math.product(br, scalar, modulo: n), let numerator = math.sum(bz, brd, modulo: n),
            let bk = math.product(b, k, modulo: n), let divisor = math.inverse(bk, modulo: n)
        else { return nil }
        return math.product(numerator, divisor, modulo: n)
    }

    /// ECDAA (Part 1, C.4.2.2): s = r + T d with T = H(nonceK || digest), where r is a commitment's scalar, of the same curve.
    /// - Parameter hash: the scheme's hash.
    /// - Returns: nonceK and s, each of the curve's field size; nil if this commitment's s is 0 for any nonce.
    package func signECDAA(digest message: [UInt8], hash: HashAlgorithm, commitment: ECCKeyPair) -> (r: [UInt8], s: [UInt8])? {
        let group = CurveGroup.of(curve)
        let math = Arithmetic()
        guard let nonceK = group.randomScalar().bytes(curve.fieldSize) else { return nil }
        let challenge = BigNumber(digest(hash, nonceK, message))
        guard let t = math.remainder(challenge, group.order), let td = math.product(t, scalar, modulo: group.order),
            let s = math.sum(commitment.scalar, td, modulo: group.order), !s.isZero, let sBytes = s.bytes(curve.fieldSize)
        else { return nil }
        return (nonceK, sBytes)
    }

    /// The TPM's Schnorr signature (Part 1, C.4.3): r = H(x([k]G) || digest), cut to the order's size, s = k + r d.
    /// - Parameter hash: the scheme's hash.
    package func signECSchnorr(digest: [UInt8], hash: HashAlgorithm) -> (r: [UInt8], s: [UInt8]) {
        let group = CurveGroup.of(curve)
        let math = Arithmetic()
        while true {
            let nonce = group.randomScalar()
            guard let point = group.coordinates(group.multiple(of: nil, nonce)) else { continue }
            let r = BigNumber(schnorrChallenge(curve, x: point.x, digest, hash))
            // A verifier refuses an r that is not below the order, so such a nonce is thrown away.
            guard !r.isZero, r < group.order, let rd = math.product(r, scalar, modulo: group.order),
                let s = math.sum(nonce, rd, modulo: group.order), !s.isZero,
                let rBytes = r.bytes(curve.fieldSize), let sBytes = s.bytes(curve.fieldSize)
            else { continue }
            return (rBytes, sBytes)
        }
    }
}

/// A number modulo the curve's prime, of its field size.
package func residue(_ number: [UInt8], _ curve: ECCCurve) -> [UInt8] {
    CurveGroup.of(curve).residue(BigNumber(number))
}

/// Whether the point lies on the curve (and so is not the point at infinity).
package func isOnCurve(_ point: ECCPoint, _ curve: ECCCurve) -> Bool {
    CurveGroup.of(curve).point(point) != nil
}

package func verifyECDSA(curve: ECCCurve, point: ECCPoint, digest: [UInt8], r: [UInt8], s: [UInt8]) -> Bool {
    let group = CurveGroup.of(curve)
    let math = Arithmetic()
    guard let key = group.point(point), let (r, s) = group.signature(r, s),
        let inverse = math.inverse(s, modulo: group.order),
        let u1 = math.product(group.scalar(fromDigest: digest), inverse, modulo: group.order),
        let u2 = math.product(r, inverse, modulo: group.order),
        let sum = group.coordinates(group.sum(u1, key, u2)),
        let x = math.remainder(BigNumber(sum.x), group.order)
    else { return false }
    return x == r
}

package func verifyECSchnorr(
    curve: ECCCurve, point: ECCPoint, digest: [UInt8], hash: HashAlgorithm, r: [UInt8], s: [UInt8]
) -> Bool {
    let group = CurveGroup.of(curve)
    let minusR = BigNumber()
    guard let key = group.point(point), let (r, s) = group.signature(r, s),
        BN_sub(minusR.pointer, group.order.pointer, r.pointer) == 1,
        let sum = group.coordinates(group.sum(s, key, minusR))
    else { return false }
    return BigNumber(schnorrChallenge(curve, x: sum.x, digest, hash)) == r
}

private func schnorrChallenge(_ curve: ECCCurve, x: [UInt8], _ message: [UInt8], _ hash: HashAlgorithm) -> [UInt8] {
    Array(digest(hash, x, message).prefix(curve.fieldSize))
}

/// A curve's group in libcrypto, made at first use and kept.
private final class CurveGroup: @unchecked Sendable {
    // SAFETY: made in init, never freed or changed; libcrypto only reads it.
    private let pointer: OpaquePointer
    let order: BigNumber
    private let prime: BigNumber
    private let fieldSize: Int

    private static let p256 = CurveGroup(.p256)
    private static let p384 = CurveGroup(.p384)
    private static let p521 = CurveGroup(.p521)
    private static let bnP256 = CurveGroup(.bnP256)

    static func of(_ curve: ECCCurve) -> CurveGroup {
        switch curve {
        case .p256: p256
        case .p384: p384
        case .p521: p521
        case .bnP256: bnP256
        }
    }

    private init(_ curve: ECCCurve) {
        libcryptoUsesKernelRandomness
        pointer = makeGroup(curve)
        fieldSize = curve.fieldSize
        order = BigNumber()
        prime = BigNumber()
        guard EC_GROUP_get_order(pointer, order.pointer, nil) == 1,
            EC_GROUP_get_curve(pointer, prime.pointer, nil, nil, nil) == 1
        else { outOfMemory() }
    }

    /// A point and the memory it stands in.
    final class Point {
        // SAFETY: owned; belongs to the group that made it.
        let pointer: OpaquePointer
        init(_ group: OpaquePointer) {
            guard let pointer = EC_POINT_new(group) else { outOfMemory() }
            self.pointer = pointer
        }
        deinit { EC_POINT_clear_free(pointer) }
    }

    /// nil unless the coordinates are below the prime and on the curve.
    func point(_ coordinates: ECCPoint) -> Point? {
        let point = Point(pointer)
        let (x, y) = (BigNumber(coordinates.x), BigNumber(coordinates.y))
        // libcrypto checks the curve equation here, but takes coordinates modulo the prime.
        guard x < prime, y < prime,
            EC_POINT_set_affine_coordinates(pointer, point.pointer, x.pointer, y.pointer, nil) == 1
        else {
            ERR_clear_error()
            return nil
        }
        return point
    }

    func residue(_ number: BigNumber) -> [UInt8] {
        guard let bytes = Arithmetic().remainder(number, prime)?.bytes(fieldSize) else { outOfMemory() }
        return bytes
    }

    /// nil for the point at infinity.
    func coordinates(_ point: Point) -> ECCPoint? {
        let (x, y) = (BigNumber(), BigNumber())
        guard EC_POINT_is_at_infinity(pointer, point.pointer) == 0,
            EC_POINT_get_affine_coordinates(pointer, point.pointer, x.pointer, y.pointer, nil) == 1,
            let xBytes = x.bytes(fieldSize), let yBytes = y.bytes(fieldSize)
        else { return nil }
        return ECCPoint(x: xBytes, y: yBytes)
    }

    /// [scalar]point in constant time; [scalar]G without a point.
    func multiple(of point: Point?, _ scalar: BigNumber) -> Point {
        let result = Point(pointer)
        let status = point.map { EC_POINT_mul(pointer, result.pointer, nil, $0.pointer, scalar.pointer, nil) }
            ?? EC_POINT_mul(pointer, result.pointer, scalar.pointer, nil, nil, nil)
        guard status == 1 else { outOfMemory() }
        return result
    }

    /// [a]G + [b]point, for public numbers.
    func sum(_ a: BigNumber, _ point: Point, _ b: BigNumber) -> Point {
        let result = Point(pointer)
        let status = EC_POINT_mul(pointer, result.pointer, a.pointer, point.pointer, b.pointer, nil)
        guard status == 1 else { outOfMemory() }
        return result
    }

    /// Uniform in 1 … n - 1, by drawing again (FIPS 186-4, B.4.2).
    func randomScalar() -> BigNumber {
        while true {
            var bytes = randomBytes((order.bits + 7) / 8)
            defer { wipe(&bytes) }
            if order.bits % 8 != 0 { bytes[0] &= 1 << (order.bits % 8) - 1 }
            let scalar = BigNumber(secret: bytes)
            if !scalar.isZero, scalar < order { return scalar }
        }
    }

    /// The leftmost bits of a digest, as many as the order has (FIPS 186-4, 6.4).
    func scalar(fromDigest digest: [UInt8]) -> BigNumber {
        let z = BigNumber(Array(digest.prefix((order.bits + 7) / 8)))
        let excess = min(digest.count * 8, (order.bits + 7) / 8 * 8) - order.bits
        if excess > 0, BN_rshift(z.pointer, z.pointer, Int32(excess)) != 1 { outOfMemory() }
        return z
    }

    /// r and s of a signature; nil unless both are from 1 to n - 1.
    func signature(_ r: [UInt8], _ s: [UInt8]) -> (r: BigNumber, s: BigNumber)? {
        let (r, s) = (BigNumber(r), BigNumber(s))
        guard !r.isZero, r < order, !s.isZero, s < order else { return nil }
        return (r, s)
    }
}
