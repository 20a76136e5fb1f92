// Owners of libcrypto's big numbers: each frees, and wipes, what it holds.
import CCrypto
@_exported import CryptoBase
import Wire

/// A BIGNUM, wiped when dropped.
final class BigNumber: @unchecked Sendable {
    // SAFETY: owned and not nil; the methods below pass libcrypto only live numbers and contexts. Not changed
    // once it is shared.
    let pointer: OpaquePointer

    init() {
        guard let pointer = BN_new() else { outOfMemory() }
        self.pointer = pointer
    }

    /// Big-endian.
    convenience init(_ bytes: [UInt8]) {
        self.init()
        guard BN_bin2bn(bytes, Int32(bytes.count), pointer) != nil else { outOfMemory() }
    }

    /// Big-endian, and from here on handled in constant time.
    convenience init(secret bytes: [UInt8]) {
        self.init(bytes)
        markSecret()
    }

    convenience init(_ value: UInt32) { self.init(value.wire) }

    deinit { BN_clear_free(pointer) }

    func markSecret() { BN_set_flags(pointer, BN_FLG_CONSTTIME) }

    var isZero: Bool { BN_is_zero(pointer) == 1 }
    var isOne: Bool { BN_is_one(pointer) == 1 }
    var isOdd: Bool { BN_is_odd(pointer) == 1 }
    var bits: Int { Int(BN_num_bits(pointer)) }

    /// Big-endian, `count` bytes; nil if it does not fit.
    func bytes(_ count: Int) -> [UInt8]? {
        var result = [UInt8](repeating: 0, count: count)
        return BN_bn2binpad(pointer, &result, Int32(count)) == count ? result : nil
    }

    static func < (a: BigNumber, b: BigNumber) -> Bool { BN_cmp(a.pointer, b.pointer) < 0 }
    static func == (a: BigNumber, b: BigNumber) -> Bool { BN_cmp(a.pointer, b.pointer) == 0 }

    /// Itself without its lowest bit: one less, of an odd number.
    func minusOne() -> BigNumber {
        let result = BigNumber()
        guard BN_copy(result.pointer, pointer) != nil, BN_sub_word(result.pointer, 1) == 1 else { outOfMemory() }
        if BN_get_flags(pointer, BN_FLG_CONSTTIME) != 0 { result.markSecret() }
        return result
    }
}

/// Scratch space for calculations, and the calculations. A result of nil says that there is none
/// (no inverse, an even modulus).
final class Arithmetic {
    // SAFETY: owned; a BN_CTX has no state between calls.
    let context: OpaquePointer

    init() {
        guard let context = BN_CTX_new() else { outOfMemory() }
        self.context = context
    }

    deinit { BN_CTX_free(context) }

    private func result(_ calculate: (OpaquePointer) -> Bool) -> BigNumber? {
        let result = BigNumber()
        return calculate(result.pointer) ? result : nil
    }

    func remainder(_ a: BigNumber, _ modulus: BigNumber) -> BigNumber? {
        result { BN_nnmod($0, a.pointer, modulus.pointer, context) == 1 }
    }

    func sum(_ a: BigNumber, _ b: BigNumber, modulo: BigNumber) -> BigNumber? {
        result { BN_mod_add($0, a.pointer, b.pointer, modulo.pointer, context) == 1 }
    }

    func difference(_ a: BigNumber, _ b: BigNumber, modulo: BigNumber) -> BigNumber? {
        result { BN_mod_sub($0, a.pointer, b.pointer, modulo.pointer, context) == 1 }
    }

    func product(_ a: BigNumber, _ b: BigNumber, modulo: BigNumber) -> BigNumber? {
        result { BN_mod_mul($0, a.pointer, b.pointer, modulo.pointer, context) == 1 }
    }

    func product(_ a: BigNumber, _ b: BigNumber) -> BigNumber? {
        result { BN_mul($0, a.pointer, b.pointer, context) == 1 }
    }

    func inverse(_ a: BigNumber, modulo: BigNumber) -> BigNumber? {
        result { BN_mod_inverse($0, a.pointer, modulo.pointer, context) != nil }
    }

    /// base^exponent for public numbers and an odd modulus.
    func power(_ base: BigNumber, _ exponent: BigNumber, modulo: BigNumber) -> BigNumber? {
        guard modulo.isOdd else { return nil }
        return result { BN_mod_exp_mont($0, base.pointer, exponent.pointer, modulo.pointer, context, nil) == 1 }
    }

    /// base^exponent in constant time, for an odd modulus.
    func power(secret exponent: BigNumber, of base: BigNumber, modulo: BigNumber) -> BigNumber? {
        guard modulo.isOdd else { return nil }
        return result {
            BN_mod_exp_mont_consttime($0, base.pointer, exponent.pointer, modulo.pointer, context, nil) == 1
        }
    }

    /// a / b, if b divides a.
    func exactQuotient(_ a: BigNumber, _ b: BigNumber) -> BigNumber? {
        let rest = BigNumber()
        let quotient = result { BN_div($0, rest.pointer, a.pointer, b.pointer, context) == 1 }
        return rest.isZero ? quotient : nil
    }
}

/// Makes libcrypto draw its own random numbers (blinding) from the kernel: its generator would cost 90 kB a process
/// and keep state. Also keeps it from reading openssl.cnf. Evaluated once, before the first use of a generator.
let libcryptoUsesKernelRandomness: Void = {
    OPENSSL_init_crypto(UInt64(OPENSSL_INIT_NO_LOAD_CONFIG), nil)
    // SAFETY: the method is a constant that libcrypto keeps for the life of the process.
    let method = UnsafeMutablePointer<RAND_METHOD>.allocate(capacity: 1)
    let fill: @convention(c) (UnsafeMutablePointer<UInt8>?, Int32) -> Int32 = { buffer, count in
        guard count >= 0 else { return 0 }
        fillRandom(UnsafeMutableRawBufferPointer(start: buffer, count: Int(count)))
        return 1
    }
    method.initialize(
        to: RAND_METHOD(seed: nil, bytes: fill, cleanup: nil, add: nil, pseudorand: fill, status: { 1 }))
    RAND_set_rand_method(method)
}()
