// What a guest's TPM says of its maker, in GetCapability, in attestations and in its certificates.

/// What identifies this TPM to its guests.
package enum Identification {
    package static let manufacturer = "PTPM"
    package static let vendorStrings = ["para", "tpm"]
    package static let firmwareVersion: UInt64 = 0x0001_0000_0000_0000
}
