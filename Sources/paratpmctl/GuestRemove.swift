// `paratpmctl guest remove`: the end of a guest's keys.
import ArgumentParser
import CSystem
import Glibc
import GuestIdentity
import IPC
import SystemMap

extension Guest {
    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a guest and destroy all its keys, for ever.",
            discussion: """
                Its identity, its keys and its TPM's state go. Without --yes it asks, and so needs a terminal. With --keep-state nothing \
                is destroyed: the guest can start no more, what it had is set aside, and `guest add --restore` brings it back.
                """)

        @OptionGroup var options: InstanceOptions
        @Argument(help: "The guest's name.") var name: GuestName
        @Flag(help: "Do not ask.")
        var yes = false
        @Flag(help: "Destroy nothing: set the guest's keys and state aside.")
        var keepState = false
        @OptionGroup var output: OutputOptions

        func run() throws {
            let instance = options.instance
            guard let guest = try GuestEnrolment.load(name, instance) else {
                throw Failure(.noInput, "there is no guest \(name) (\(instance.registration(name)))")
            }
            if instance.isSystem && geteuid() != 0 { throw Failure(.noPermission, "only root removes guests of the system-wide instance") }
            let files = GuestFiles(guest, instance)
            let lock = try lock(files.state)
            defer { withExtendedLifetime(lock) {} }
            if !yes && !keepState {
                try confirm(
                    "Remove \(name)? Everything that it sealed or encrypted with its TPM is lost for ever.", otherwise: "\(name) was not removed")
            }
            let hasUnits = instance.isSystem && guest.home.isEmpty
            if hasUnits && GuestUnits.areManaged { try GuestUnits.disable(name) }
            var kept: String?
            if keepState { kept = try keep(guest, instance) } else { try GuestRemoval(guest, instance).destroy() }
            if hasUnits { try GuestUser.remove(name) }
            if output.json {
                print(JSON.object([("removed", .string(name.text)), ("kept", kept.map { .string($0) } ?? .null)]))
            } else if let kept {
                print("the state of \(name) is kept in \(kept)")
            }
        }

        /// Returns where its state is.
        private func keep(_ guest: Registration, _ instance: Instance) throws(Failure) -> String {
            guard guest.home.isEmpty else {
                try Files.remove(instance.registration(name))
                return guest.home
            }
            unlink(instance.controlSocket(name))
            return try RemovedGuest.keep(guest, instance).directory
        }

        /// The door's lock on the state file, so that it does not start meanwhile; nil where there is no such file.
        private func lock(_ state: String) throws(Failure) -> Descriptor? {
            let raw = csystem_open(state, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0)
            guard raw >= 0 else {
                if errno == ENOENT { return nil }
                throw .system(.noInput, "cannot open \(state)")
            }
            let descriptor = Descriptor(owning: raw)
            guard flock(raw, LOCK_EX | LOCK_NB) == 0 else {
                throw Failure(.unavailable, "\(name) is running (\(state) is in use): stop it first")
            }
            return descriptor
        }
    }
}

/// The end of a guest's keys and files, whoever asked for it.
struct GuestRemoval {
    private let guest: Registration
    private let instance: Instance

    init(_ guest: Registration, _ instance: Instance) {
        self.guest = guest
        self.instance = instance
    }

    func destroy() throws(Failure) {
        let files = GuestFiles(guest, instance)
        // First the registration, so that no door can be this guest while the services forget it.
        try GuestEnrolment.remove(guest.name, instance: instance)
        try forget()
        try Files.remove(files.state)
        unlink(instance.controlSocket(guest.name))
        rmdir(files.directory)
    }

    private func forget() throws(Failure) {
        let id = Blob(guest.guest.bytes)
        if try !tell(.device, { channel throws(IPCError) in _ = try channel.call(DeviceCalls.ForgetGuest.self, id) }) {
            // The keys are wrapped in this record alone: without it the chip cannot load them.
            try Files.remove(instance.guestRecord(guest.guest))
        }
        _ = try tell(.pcr) { channel throws(IPCError) in _ = try channel.call(PCRCalls.ForgetGuest.self, id) }
    }

    /// False: the service is not running.
    private func tell(_ service: ServiceName, _ body: (Channel) throws(IPCError) -> Void) throws(Failure) -> Bool {
        do throws(IPCError) {
            try body(try Channel.connect(instance.socket(service), timeout: 10))
            return true
        } catch .system(ENOENT), .system(ECONNREFUSED) {
            return false
        } catch {
            throw Failure(.unavailable, "paratpm-\(service.rawValue) did not forget \(guest.name): \(explain(error))")
        }
    }
}

/// Where a guest's files are.
struct GuestFiles {
    let directory: String
    let state: String

    init(_ guest: Registration, _ instance: Instance) {
        directory = guest.home.isEmpty ? instance.guestDirectory(guest.name) : guest.home
        // A state file that a program named has its identity beside it, in a directory of nearly the same name.
        let suffix = Instance.besideStateFile
        let named = guest.home.hasSuffix(suffix) ? String(guest.home.dropLast(suffix.count)) : nil
        state = named ?? "\(directory)/\(Instance.stateFile)"
    }
}
