// Replies of the control channel, in the layouts of tpm_ioctl.h without the unions' unused parts.
import Wire

package enum ControlReply: Equatable, Sendable {
    case result(ControlResult)
    /// ptm_cap_n: result, flags
    case capabilities(ControlCapabilities)
    /// ptm_est: result, the bit, three bytes of padding
    case established(Bool)
    /// ptm_getconfig: result, flags (which keys encrypt the state: 1 a file's, 2 migration's)
    case config(UInt32)
    /// ptm_setbuffersize: result, the size in force, the smallest, the largest; in bytes
    case bufferSize(UInt32, min: UInt32, max: UInt32)
    /// ptm_getinfo: result, total length, length, the text from `offset` on. The terminating NUL counts.
    case info(String, offset: UInt32)

    /// ptm_getinfo's buffer
    private static let infoMax = 3 * 1024

    package var wire: [UInt8] {
        var writer = WireWriter(capacity: 16)
        switch self {
        case .result(let result): writer.u32(result.rawValue)
        case .capabilities(let flags):
            writer.u32(0)
            writer.u32(flags.rawValue)
        case .established(let bit):
            writer.u32(0)
            writer.flag(bit)
            writer.raw([0, 0, 0])
        case .config(let flags):
            writer.u32(0)
            writer.u32(flags)
        case .bufferSize(let size, let min, let max):
            for field in [0, size, min, max] { writer.u32(field) }
        case .info(let text, let offset):
            let bytes = Array(text.utf8)
            guard offset < bytes.count else { return ControlReply.result(.badParameter).wire }
            let part = (bytes + [0]).dropFirst(Int(offset)).prefix(Self.infoMax)
            for field in [0, UInt32(bytes.count + 1), UInt32(part.count)] { writer.u32(field) }
            writer.raw(part)
        }
        return writer.bytes
    }
}

/// What GET_INFO tells of the TPM, as the JSON that swtpm_setup and swtpm_localca read for the EK's certificate.
package struct TPMInformation: Sendable {
    /// TPM_PT_MANUFACTURER
    package var manufacturer: UInt32
    package var model: String
    /// TPM_PT_FIRMWARE_VERSION_1
    package var version: UInt32
    /// TPM_PT_REVISION, as 159 for 1.59
    package var revision: Int
    package var rsaKeySizes: [Int]

    package init(manufacturer: UInt32, model: String, version: UInt32, revision: Int, rsaKeySizes: [Int]) {
        self.manufacturer = manufacturer
        self.model = model
        self.version = version
        self.revision = revision
        self.rsaKeySizes = rsaKeySizes
    }

    /// - Parameter flags: SWTPM_INFO_…: 1 specification, 2 attributes, 4 features; others say nothing.
    package func json(_ flags: UInt64) -> String {
        var parts: [String] = []
        if flags & 1 != 0 {
            parts.append(#""TPMSpecification":{"family":"2.0","level":0,"revision":\#(revision)}"#)
        }
        if flags & 2 != 0 {
            parts.append(
                #""TPMAttributes":{"manufacturer":"id:\#(hex(manufacturer))","version":"id:\#(hex(version))","model":"\#(model)"}"#)
        }
        if flags & 4 != 0 {
            parts.append(#""TPMFeatures":{"RSAKeySizes":[\#(rsaKeySizes.map(String.init).joined(separator: ","))]}"#)
        }
        return "{" + parts.joined(separator: ",") + "}"
    }

    private func hex(_ value: UInt32) -> String {
        let digits = String(value, radix: 16, uppercase: true)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }
}
