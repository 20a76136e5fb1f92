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

        func run() throws {
            let instance = options.instance
            guard let guest = try GuestEnrolment.load(name, instance) else {
                throw Failure(.noInput, "there is no guest \(name) (\(instance.registration(name)))")
            }
            if instance.isSystem && geteuid() != 0 { throw Failure(.noPermission, "only root removes guests of the system-wide instance") }
            let files = GuestFiles(guest, instance)
            let lock = try lock(files.state)
            defer { withExtendedLifetime(lock) {} }
            if !yes && !keepState { try confirm() }
            let hasUnits = instance.isSystem && guest.home.isEmpty
            if hasUnits && GuestUnits.areManaged { try GuestUnits.disable(name) }
            if keepState { try keep(guest, instance) } else { try destroy(guest, files, instance) }
            if hasUnits { try GuestUser.remove(name) }
        }

        private func keep(_ guest: Registration, _ instance: Instance) throws(Failure) {
            guard guest.home.isEmpty else {
                try Files.remove(instance.registration(name))
                return print("the state of \(name) stays in \(guest.home)")
            }
            unlink(instance.controlSocket(name))
            let kept = try RemovedGuest.keep(guest, instance)
            print("the state of \(name) is kept in \(kept.directory)")
        }

        private func destroy(_ guest: Registration, _ files: GuestFiles, _ instance: Instance) throws(Failure) {
            // First the registration, so that no door can be this guest while the services forget it.
            try GuestEnrolment.remove(name, instance: instance)
            try forget(guest.guest, instance)
            try Files.remove(files.state)
            unlink(instance.controlSocket(name))
            rmdir(files.directory)
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

        private func confirm() throws(Failure) {
            guard isatty(STDIN_FILENO) == 1 else {
                throw Failure(.usage, "removing \(name) destroys its keys for ever: say --yes")
            }
            print("Remove \(name)? Everything that it sealed or encrypted with its TPM is lost for ever. [y/N] ", terminator: "")
            fflush(nil)
            guard let answer = readLine(), ["y", "yes"].contains(answer.lowercased()) else {
                throw Failure(.usage, "\(name) was not removed")
            }
        }

        private func forget(_ guest: GuestID, _ instance: Instance) throws(Failure) {
            let id = Blob(guest.bytes)
            if try !tell(.device, instance, { channel throws(IPCError) in _ = try channel.call(DeviceCalls.ForgetGuest.self, id) }) {
                // The keys are wrapped in this record alone: without it the chip cannot load them.
                try Files.remove(instance.guestRecord(guest))
            }
            _ = try tell(.pcr, instance) { channel throws(IPCError) in _ = try channel.call(PCRCalls.ForgetGuest.self, id) }
        }

        /// False: the service is not running.
        private func tell(
            _ service: ServiceName, _ instance: Instance, _ body: (Channel) throws(IPCError) -> Void
        ) throws(Failure) -> Bool {
            do throws(IPCError) {
                try body(try Channel.connect(instance.socket(service), timeout: 10))
                return true
            } catch .system(ENOENT), .system(ECONNREFUSED) {
                return false
            } catch {
                throw Failure(.unavailable, "paratpm-\(service.rawValue) did not forget \(name): \(explain(error))")
            }
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
