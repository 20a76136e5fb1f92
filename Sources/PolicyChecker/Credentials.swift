// Credentials (Part 1, 24): whoever has one decrypted has shown that a key is in the same TPM as a storage key. The device owner recovers
// the seed of one for nobody but this process, which opens none for a restricted key that it did not see made.
import CryptoBase
import IPC
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension Gatekeeper {
    /// TPM2_ActivateCredential (Part 3, 12.5)
    package func activate(_ request: GateCalls.Activate.Request, of guest: GuestID) throws(CallStatus) -> [UInt8] {
        let (area, twin) = (request.key.area, request.key.twin)
        guard twin.spec.isStorageKey, !twin.spec.isGated, twin.unique == area.unique, let hash = area.nameAlgorithm else {
            throw .malformed
        }
        let name = try vouchedName(request.object, guest)
        // Its authorization is empty, like that of all twins that are not gated.
        let storageKey = OpenedTwin(guest: guest, blob: twin, auth: .empty)
        var seed: [UInt8]
        do throws(CallStatus) { seed = try recoverSeed(.identity, hash, request.secret, with: storageKey) } catch {
            throw error.isTPM ? CallStatus(TPMRC(rawValue: error.rawValue).parameter(2)) : error
        }
        defer { wipe(&seed) }
        guard seed.count <= hash.digestSize else { throw CallStatus(TPMRC.value.parameter(2)) }
        guard let wrapper = OuterWrapper(protector: area, seed: seed, name: name) else { throw CallStatus(.failure) }
        do throws(TPMRC) { return try Self.opened(request.credential, wrapper) } catch { throw CallStatus(error.parameter(1)) }
    }

    private static func opened(_ blob: [UInt8], _ wrapper: OuterWrapper) throws(TPMRC) -> [UInt8] {
        var plain = try wrapper.open(blob)
        defer { wipe(&plain) }
        return try OuterWrapper.credential(in: plain)
    }
}
