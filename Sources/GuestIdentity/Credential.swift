// Credentials that the service manager passes (systemd.exec(5), LoadCredential=).
import Glibc

/// The file of a credential; nil: it was not passed.
package func credential(_ name: String) -> String? {
    guard let directory = getenv("CREDENTIALS_DIRECTORY").map({ String(cString: $0) }), directory.hasPrefix("/") else { return nil }
    let path = "\(directory)/\(name)"
    return access(path, F_OK) == 0 ? path : nil
}
