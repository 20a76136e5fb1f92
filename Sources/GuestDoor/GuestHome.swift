// Where a guest lives: its name, its identity and the file of its TPM's lasting state.
import CSystem
import Glibc
import GuestIdentity
import IPC
import SystemMap
import CryptoBase

struct GuestHome {
    let name: GuestName
    let key: IdentityKey
    let statePath: String

    /// Finds the guest, or for swtpm's users makes it.
    static func open(_ guest: DoorOptions.Guest, _ instance: Instance) throws(Failure) -> GuestHome {
        switch guest {
        case .named(let name):
            let identity = credential(Instance.identityFile) ?? instance.identity(name)
            let key = try GuestEnrolment.loadIdentity(at: identity)
            return GuestHome(name: name, key: key, statePath: "\(instance.guestDirectory(name))/\(Instance.stateFile)")
        case .directory(let path):
            guard isDirectory(path) else {
                throw Failure(.noInput, "there is no directory \(path) for the TPM's state; make it first")
            }
            return try home(in: path, state: statePath(guest), instance)
        case .file(let path):
            return try home(in: identityDirectory(ofFile: path, instance), state: path, instance)
        }
    }

    /// The state file of swtpm's users.
    static func statePath(_ guest: DoorOptions.Guest) -> String {
        switch guest {
        case .named(let name): name.text
        case .directory(let path): "\(path)/\(Instance.stateFile)"
        case .file(let path): path
        }
    }

    private static func home(in directory: String, state: String, _ instance: Instance) throws(Failure) -> GuestHome {
        if access("\(directory)/\(Instance.identityFile)", F_OK) != 0 {
            // Its registration says whose it is where users are told apart.
            let uid = instance.isSystem ? geteuid() : nil
            try GuestEnrolment.enrol(name: freshName(), instance: instance, directory: directory, uid: uid)
        }
        let key = try GuestEnrolment.loadIdentity(in: directory)
        guard let known = try GuestEnrolment.list(instance).first(where: { $0.publicKey == key.publicKey }) else {
            throw Failure(.config, "the guest in \(directory) is not known to the broker of \(instance.stateDirectory); "
                + "it belongs to another one, or was removed")
        }
        return GuestHome(name: known.name, key: key, statePath: state)
    }

    private static func freshName() throws(Failure) -> GuestName {
        guard let name = GuestName("swtpm-" + hexString(randomBytes(8))) else {
            throw Failure(.software, "a generated name is no name")
        }
        return name
    }

    /// The identity lies beside a state file, and for a block device, beside which nothing lasts, with the broker.
    private static func identityDirectory(ofFile path: String, _ instance: Instance) -> String {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFBLK else { return path + Instance.besideStateFile }
        let digest = hexString(digest(.sha256, Array(path.utf8)).prefix(16))
        return "\(instance.stateDirectory)/guests/device-\(digest)"
    }

    private static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    // MARK: The state file

    /// How long a former door's proxy may take to die, in milliseconds.
    private static let lockPatience = 2000

    /// Opens the state file and locks it for this guest's door and proxies.
    func openState(mode: mode_t) throws(Failure) -> Descriptor {
        let raw = csystem_open(statePath, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, mode)
        guard raw >= 0 else {
            throw Failure(.cannotCreate, "cannot open the state file \(statePath): \(describe(errno: errno))")
        }
        let file = Descriptor(owning: raw)
        var status = stat()
        guard fstat(raw, &status) == 0, [S_IFREG, S_IFBLK].contains(status.st_mode & S_IFMT) else {
            throw Failure(.dataError, "\(statePath) is neither a regular file nor a block device; it was left alone")
        }
        for _ in 0..<Self.lockPatience / 20 {
            if flock(raw, LOCK_EX | LOCK_NB) == 0 { return file }
            usleep(20_000)
        }
        throw Failure(.unavailable, "\(statePath) is in use: the guest \(name) runs already")
    }
}
