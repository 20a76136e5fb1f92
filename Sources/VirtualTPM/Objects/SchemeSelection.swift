// Which scheme a command uses: the key's own, or the caller's where the key leaves it open (Part 3, 14.2 and 20.2).
import TPMWire

/// The signing scheme for a key. Errors are without parameter number.
/// - Parameter key: nil for TPM_RH_NULL, which signs nothing.
func signingScheme(for key: LoadedObject?, _ given: Scheme) throws(TPMRC) -> Scheme {
    guard let key else { return .null }
    let scheme = try selected(key.publicArea.parameters.scheme, given)
    guard key.publicArea.allowsSigning(with: scheme.algorithm) else { throw .scheme }
    return scheme
}

/// The padding for an RSA key; both left open is no padding. Errors are without parameter number.
func encryptionScheme(for key: LoadedObject, _ given: Scheme) throws(TPMRC) -> Scheme {
    try selected(key.publicArea.parameters.scheme, given)
}

private func selected(_ own: Scheme, _ given: Scheme) throws(TPMRC) -> Scheme {
    if own.isNull { return given }
    guard given.isNull || own.algorithm == given.algorithm && own.hash == given.hash else { throw .scheme }
    return own
}
