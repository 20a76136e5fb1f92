// `paratpmctl guest add`: a new guest, or one that comes back.
import ArgumentParser
import Glibc
import GuestIdentity
import SystemMap

extension Guest {
    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a new guest: its identity and its directory.",
            discussion: """
                In the system-wide instance the guest gets a user of its own, paratpm-NAME, and its control socket \
                /run/paratpm/guests/NAME.sock is opened, now and at each boot; a virtual machine that connects starts its TPM.
                """)

        @OptionGroup var options: InstanceOptions
        @Argument(help: "The guest's name.") var name: GuestName
        @Option(help: ArgumentHelp("Bring back the guest that `guest remove --keep-state` left in a directory.", valueName: "dir"))
        var restore: String?
        @Flag(help: "Do not open the control socket (system-wide instance only).")
        var noStart = false
        @OptionGroup var output: OutputOptions

        func run() throws {
            let instance = options.instance
            try make(instance)
            guard output.json else { return }
            print(JSON.object([
                ("name", .string(name.text)), ("id", .string(try instance.guest(name).hex)),
                ("control-socket", .string(instance.controlSocket(name))),
            ]))
        }

        private func make(_ instance: Instance) throws {
            guard instance.isSystem else { return try add(instance, uid: nil) }
            guard geteuid() == 0 else { throw Failure(.noPermission, "only root adds guests to the system-wide instance") }
            _ = try GuestUser.name(name)
            guard try GuestEnrolment.load(name, instance) == nil else {
                throw Failure(.cannotCreate, "there is a guest \(name) already; remove it first, or take another name")
            }
            try add(instance, uid: try GuestUser.make(name))
            if GuestUnits.areManaged && !noStart { try GuestUnits.enable(name) }
            if access(instance.gateRecord, F_OK) != 0 {
                log(.warning, .control, "the host has no gate secret: until paratpmctl host init its guests have no policy sessions")
            }
        }

        private func add(_ instance: Instance, uid: uid_t?) throws(Failure) {
            if let restore {
                try RemovedGuest(directory: restore).restore(as: name, instance, uid: uid)
            } else {
                try GuestEnrolment.enrol(name: name, instance: instance, uid: uid)
            }
        }
    }
}

/// A guest whose state was kept when it was removed: a directory with its identity and its state.
struct RemovedGuest {
    let directory: String

    /// Takes a guest's files out of their places, so that nothing that comes later meets them there.
    static func keep(_ guest: Registration, _ instance: Instance) throws(Failure) -> RemovedGuest {
        let kept = instance.removedDirectory(guest.guest, guest.name)
        try Files.makeDirectory(instance.removedRoot, mode: 0o700)
        try move(instance.guestDirectory(guest.name), kept)
        try give(kept, to: geteuid())
        let identity = "\(kept)/\(Instance.identityFile)"
        if instance.isSystem { try move(instance.identity(guest.name), identity) }
        try Files.remove(instance.registration(guest.name))
        return RemovedGuest(directory: kept)
    }

    /// The other way round.
    func restore(as name: GuestName, _ instance: Instance, uid: uid_t?) throws(Failure) {
        let key = try GuestEnrolment.loadIdentity(in: directory)
        let place = instance.guestDirectory(name)
        guard access(place, F_OK) != 0 || rmdir(place) == 0 else {
            throw Failure(.cannotCreate, "\(place) is there already: a guest lived there; move it away, or take another name")
        }
        try Files.makeDirectory(instance.stateDirectory + "/guests", mode: 0o755)
        if instance.isSystem {
            try Files.makeDirectory(instance.identityDirectory, mode: 0o700)
            try Self.move("\(directory)/\(Instance.identityFile)", instance.identity(name))
        }
        if let uid { try Self.give(directory, to: uid) }
        try Self.move(directory, place)
        _ = try GuestEnrolment.register(name: name, instance: instance, key: key, uid: uid)
    }

    private static func move(_ from: String, _ to: String) throws(Failure) {
        guard rename(from, to) == 0 else { throw .system(.cannotCreate, "cannot move \(from) to \(to)") }
    }

    /// The directory and the state file.
    private static func give(_ directory: String, to owner: uid_t) throws(Failure) {
        guard geteuid() == 0 else { return }
        for path in [directory, "\(directory)/\(Instance.stateFile)"] where lchown(path, owner, gid_t.max) != 0 && errno != ENOENT {
            throw .system(.cannotCreate, "cannot give away \(path)")
        }
    }
}

extension Instance {
    var removedRoot: String { stateDirectory + "/removed" }
}
