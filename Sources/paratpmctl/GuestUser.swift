// The users of the system-wide instance: each guest's door runs as a user of its own, paratpm-NAME.
import Glibc
import GuestIdentity
import SystemMap

enum GuestUser {
    /// A user's name has at most 31 bytes (UT_NAMESIZE).
    private static let longest = 31

    static func name(_ guest: GuestName) throws(Failure) -> String {
        let name = "paratpm-" + guest.text
        guard name.utf8.count <= longest, !guest.text.contains(".") else {
            throw Failure(.usage, "\(guest) cannot be the name of a user: in the system-wide instance a guest's name has at most "
                + "\(longest - 8) letters, digits, '-' and '_'")
        }
        return name
    }

    /// Makes the user, where it is not there yet. Names resolve through /etc/passwd, as everywhere in paratpm.
    static func make(_ guest: GuestName) throws(Failure) -> uid_t {
        let name = try name(guest)
        if UserDatabase.user(name) == nil {
            try Programs.execute(["systemd-sysusers", "--inline", "u \(name) - \"paratpm guest \(guest)\""])
        }
        guard let user = UserDatabase.user(name) else { throw Failure(.software, "systemd-sysusers did not make the user \(name)") }
        return user.uid
    }

    static func remove(_ guest: GuestName) throws(Failure) {
        let name = try name(guest)
        if UserDatabase.user(name) != nil { try Programs.execute(["userdel", name]) }
    }
}

/// The units of a guest of the system-wide instance.
enum GuestUnits {
    /// Whether systemd is the service manager (sd_booted(3)).
    static var areManaged: Bool { access("/run/systemd/system", F_OK) == 0 }

    /// From now on, and at each boot, the guest's control socket is there.
    static func enable(_ guest: GuestName) throws(Failure) {
        try Programs.execute(["systemctl", "--quiet", "enable", "--now", "paratpm-guest@\(guest).socket"])
    }

    static func disable(_ guest: GuestName) throws(Failure) {
        try Programs.execute(["systemctl", "--quiet", "disable", "--now", "paratpm-guest@\(guest).socket", "paratpm-guest@\(guest).service"])
    }
}
