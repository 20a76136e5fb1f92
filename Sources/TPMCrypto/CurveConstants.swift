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
        let name = switch curve {
        case .p256: NID_X9_62_prime256v1
        case .p384: NID_secp384r1
        case .p521: NID_secp521r1
        }
        // SAFETY: the group is freed at the end of this function; its generator is the group's own and only read.
        guard let group = EC_GROUP_new_by_curve_name(name), let generator = EC_GROUP_get0_generator(group) else { outOfMemory() }
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
