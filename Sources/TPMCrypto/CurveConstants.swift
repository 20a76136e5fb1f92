// The constants of the curves, as TPM2_ECC_Parameters tells them.
import CCrypto
import TPMWire

/// p, a, b, the generator and n, each of the curve's field size, and the cofactor h (SP 800-186).
package struct CurveConstants: Equatable, Sendable {
    package let p: [UInt8]
    package let a: [UInt8]
    package let b: [UInt8]
    package let gX: [UInt8]
    package let gY: [UInt8]
    package let n: [UInt8]
    package let h: [UInt8] = [1]

    package init(_ curve: ECCCurve) {
        // SAFETY: the group is freed at the end of this function; its generator is the group's own and only read.
        let group = makeGroup(curve)
        guard let generator = EC_GROUP_get0_generator(group) else { outOfMemory() }
        defer { EC_GROUP_free(group) }
        let (p, a, b, n) = (BigNumber(), BigNumber(), BigNumber(), BigNumber())
        let (x, y) = (BigNumber(), BigNumber())
        guard EC_GROUP_get_curve(group, p.pointer, a.pointer, b.pointer, nil) == 1,
            EC_GROUP_get_order(group, n.pointer, nil) == 1,
            EC_POINT_get_affine_coordinates(group, generator, x.pointer, y.pointer, nil) == 1
        else { outOfMemory() }
        let numbers = [p, a, b, x, y, n].map { $0.bytes(curve.fieldSize) ?? [] }
        (self.p, self.a, self.b, gX, gY, self.n) = (numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5])
    }
}

/// The curve's group, to be freed by the caller.
func makeGroup(_ curve: ECCCurve) -> OpaquePointer {
    let group = switch curve {
    case .p256: EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1)
    case .p384: EC_GROUP_new_by_curve_name(NID_secp384r1)
    case .p521: EC_GROUP_new_by_curve_name(NID_secp521r1)
    case .bnP256: bnP256Group()
    }
    guard let group else { outOfMemory() }
    return group
}

/// TPM_ECC_BN_P256 (ISO/IEC 15946-5; TCG Algorithm Registry, 6.5), which libcrypto has no name for: y² = x³ + 3 with the generator (1, 2).
private func bnP256Group() -> OpaquePointer? {
    let p: [UInt8] = [
        0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFC, 0xF0, 0xCD, 0x46, 0xE5, 0xF2, 0x5E, 0xEE, 0x71, 0xA4, 0x9F,
        0x0C, 0xDC, 0x65, 0xFB, 0x12, 0x98, 0x0A, 0x82, 0xD3, 0x29, 0x2D, 0xDB, 0xAE, 0xD3, 0x30, 0x13,
    ]
    let n: [UInt8] = [
        0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFC, 0xF0, 0xCD, 0x46, 0xE5, 0xF2, 0x5E, 0xEE, 0x71, 0xA4, 0x9E,
        0x0C, 0xDC, 0x65, 0xFB, 0x12, 0x99, 0x92, 0x1A, 0xF6, 0x2D, 0x53, 0x6C, 0xD1, 0x0B, 0x50, 0x0D,
    ]
    let (prime, order) = (BigNumber(p), BigNumber(n))
    let (zero, one, two, three) = (BigNumber([0]), BigNumber([1]), BigNumber([2]), BigNumber([3]))
    // SAFETY: the group belongs to the caller, and is freed where it does not become whole; it copies what it is given.
    guard let group = EC_GROUP_new_curve_GFp(prime.pointer, zero.pointer, three.pointer, nil) else { return nil }
    let generator = EC_POINT_new(group)
    defer { EC_POINT_free(generator) }
    guard EC_POINT_set_affine_coordinates(group, generator, one.pointer, two.pointer, nil) == 1,
        EC_GROUP_set_generator(group, generator, order.pointer, one.pointer) == 1
    else {
        EC_GROUP_free(group)
        return nil
    }
    return group
}
