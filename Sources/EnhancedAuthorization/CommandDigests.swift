// The digests of a command that sessions and policies speak of (Part 1, 16.7 and 19.7).
import CryptoBase
import SystemMap
import TPMWire
import Wire

/// cpHash and its kin, made once for each hash algorithm that the command's sessions use.
package final class CommandDigests {
    private let code: TPMCommandCode
    package let names: [[UInt8]]
    private let parameters: [UInt8]
    private var digests: [HashAlgorithm: [UInt8]] = [:]

    /// - Parameters:
    ///   - names: of the command's handles.
    ///   - parameters: as they came, encrypted where a session says so.
    package init(_ code: TPMCommandCode, names: [[UInt8]], parameters: [UInt8]) {
        self.code = code
        self.names = names
        self.parameters = parameters
    }

    package func cpHash(_ hash: HashAlgorithm) -> [UInt8] {
        if let known = digests[hash] { return known }
        var context = HashContext(hash)
        context.update(code.wire)
        for name in names { context.update(name) }
        context.update(parameters)
        let digest = context.finished()
        digests[hash] = digest
        return digest
    }

    /// What a policy session may be bound to; nil where the command has nothing of it.
    package func digest(_ binding: PolicyBinding, _ hash: HashAlgorithm) -> [UInt8]? {
        switch binding {
        case .cpHash: cpHash(hash)
        case .nameHash: nameHash(hash)
        case .template: templateHash(hash)
        case .parameters: CryptoBase.digest(hash, code.wire, parameters)
        }
    }

    private func nameHash(_ hash: HashAlgorithm) -> [UInt8] {
        var context = HashContext(hash)
        for name in names { context.update(name) }
        return context.finished()
    }

    /// PolicyTemplate's digest: what is in TPM2B_PUBLIC, the second parameter of the commands that make objects (Part 3, 23.21).
    private func templateHash(_ hash: HashAlgorithm) -> [UInt8]? {
        guard [.create, .createPrimary, .createLoaded].contains(code) else { return nil }
        var reader = WireReader(parameters)
        guard (try? reader.sized16()) != nil, let template = try? reader.sized16() else { return nil }
        return CryptoBase.digest(hash, template)
    }
}
