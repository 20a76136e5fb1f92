// What the doctor looks at in the file system: owners and modes, the policy files, and what removed guests left.
import Glibc
import GuestIdentity
import HostPolicy
import PolicyFiles
import SystemMap

/// Whose a file has to be, and what nobody else may do to it.
private struct Expectation {
    let path: String
    let owner: uid_t?
    /// Mode bits that must not be set.
    let forbidden: mode_t
    var isOptional = false

    /// nil: it is as it should be.
    /// - Parameter makes: the command that makes what is missing.
    func finding(makes: String) -> Finding? {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            if errno == EACCES { return .note(.files, "\(path) cannot be looked at", mend: "run paratpmctl doctor as root") }
            return isOptional ? nil : .problem(.files, "\(path) is missing", mend: makes)
        }
        if let owner, status.st_uid != owner {
            return .problem(.files, "\(path) belongs to user \(status.st_uid), not \(owner)", mend: "find out why; then chown \(owner) \(path)")
        }
        let excess = status.st_mode & forbidden
        guard excess != 0 else { return nil }
        let digits = String(status.st_mode & 0o7777 & ~forbidden, radix: 8)
        return .problem(.files, "others may do to \(path) what they must not (mode \(String(status.st_mode & 0o7777, radix: 8)))", mend: "chmod \(digits) \(path)")
    }
}

extension Examination {
    private static let secret: mode_t = 0o077
    private static let readable: mode_t = 0o022

    var files: [Finding] {
        let expectations = (instance.isSystem ? ofTheSystem : ofADirectory) + ofGuests
        let makes = instance.isSystem ? "systemd-tmpfiles --create" : "paratpmctl run --dir \(instance.stateDirectory)"
        let findings = expectations.compactMap { $0.finding(makes: makes) }
        return findings.isEmpty ? [.good(.files, "owners and modes of \(expectations.count) files and directories are right")] : findings
    }

    private var ofTheSystem: [Expectation] {
        let readable = ["/etc/paratpm", instance.runDirectory, instance.runDirectory + "/guests", instance.stateDirectory,
            instance.stateDirectory + "/guests", instance.rulesDirectory]
        let secret = [instance.identityDirectory, instance.removedRoot]
        let services = [(instance.deviceDirectory, "paratpm-device"), (instance.policyDirectory, "paratpm-policy")]
        return readable.map { Expectation(path: $0, owner: 0, forbidden: Self.readable) }
            + secret.map { Expectation(path: $0, owner: 0, forbidden: Self.secret) }
            + services.map { Expectation(path: $0, owner: UserDatabase.user($1)?.uid, forbidden: Self.secret, isOptional: true) }
            + [
                Expectation(path: instance.registryDirectory, owner: 0, forbidden: 0o002),
                Expectation(path: instance.compiledPolicy, owner: 0, forbidden: Self.readable, isOptional: true),
            ]
    }

    private var ofADirectory: [Expectation] {
        [
            Expectation(path: instance.stateDirectory, owner: nil, forbidden: Self.readable),
            Expectation(path: instance.deviceDirectory, owner: nil, forbidden: Self.secret, isOptional: true),
            Expectation(path: instance.compiledPolicy, owner: nil, forbidden: Self.readable, isOptional: true),
        ]
    }

    private var ofGuests: [Expectation] {
        (guests ?? []).filter { $0.home.isEmpty || access($0.home, F_OK) == 0 }.flatMap { guest in
            let isOurs = instance.isSystem && guest.home.isEmpty
            return [
                Expectation(path: GuestFiles(guest, instance).directory, owner: guest.uid, forbidden: Self.readable, isOptional: true),
                Expectation(path: GuestEnrolment.identity(of: guest, instance), owner: isOurs ? 0 : guest.uid, forbidden: Self.secret, isOptional: true),
            ]
        }
    }

    // MARK: The policy

    var policy: [Finding] {
        let set: PolicySet
        do {
            set = try PolicySources.load([], instance).compiled()
        } catch let problems as PolicyProblems {
            return problems.all.map { .problem(.policy, $0.description, mend: "correct the file, then paratpmctl policy reload") }
        } catch {
            return [.problem(.policy, "\(error)", mend: "paratpmctl policy check")]
        }
        let compiled = (try? Files.read(instance.compiledPolicy, max: PolicySet.largest)) ?? nil
        guard let compiled else { return [.note(.policy, "none was compiled yet: the services have what is built in", mend: "paratpmctl policy reload")] }
        return [
            compiled == set.wire ? .good(.policy, "the files are good, and what they say is compiled")
                : .note(.policy, "the files say something else than what is in force", mend: "paratpmctl policy reload"),
        ]
    }

    // MARK: Leftovers

    var leftovers: [Finding] {
        guard let guests else { return [] }
        let names = Set(guests.map(\.name.text))
        let ids = Set(guests.map(\.guest.hex))
        let states = listed(instance.stateDirectory + "/guests").filter { !names.contains($0) && !$0.hasPrefix("device-") }.map { name in
            Finding.note(
                .leftovers, "\(instance.stateDirectory)/guests/\(name) is no guest's",
                mend: "it is never used again, and in the way of a new guest of that name: move it away")
        }
        let identities = (instance.isSystem ? listed(instance.identityDirectory) : []).filter { !names.contains($0) }.map { name in
            Finding.note(.leftovers, "\(instance.identityDirectory)/\(name) is the identity of no guest", mend: "remove it")
        }
        let records = listed(instance.deviceDirectory + "/guests").filter { !ids.contains($0) && !keptIDs.contains($0) }.map { id in
            Finding.note(
                .leftovers, "paratpm-device keeps the keys of \(id), which is no guest", mend: "unless its registration is in a backup: "
                    + "rm \(instance.deviceDirectory)/guests/\(id)")
        }
        let kept = listed(instance.removedRoot).map { name in
            Finding.note(
                .leftovers, "\(instance.removedRoot)/\(name) is the state of a guest that was removed with --keep-state",
                mend: "paratpmctl guest add NAME --restore DIR brings it back")
        }
        let all = states + identities + records + kept
        return all.isEmpty ? [.good(.leftovers, "none")] : all
    }

    /// Of guests whose state was kept: their keys are.
    private var keptIDs: [String] {
        listed(instance.removedRoot).compactMap { $0.split(separator: "-").last.map(String.init) }
    }

    private func listed(_ directory: String) -> [String] {
        ((try? Files.list(directory)) ?? []).filter { !$0.hasPrefix(".") }
    }
}
