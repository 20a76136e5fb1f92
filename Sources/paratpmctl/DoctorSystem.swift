// What the doctor looks at below paratpm: the kernel, the programs, the chip, the units.
import CSystem
import Glibc
import GuestIdentity
import IPC
import Sandbox
import SystemMap

extension Examination {
    var kernel: [Finding] {
        let missing = KernelSupport.missing.map { what in
            Finding.problem(
                .kernel, "it has no \(what)",
                mend: "a kernel from Linux 5.13 on, with landlock among its lsm=; or start with \(allowUnconfinedOption), and know what that means")
        }
        let landlock = csystem_landlock_version()
        let confines = missing.isEmpty
            ? [Finding.good(.kernel, "it filters system calls (seccomp), and files (Landlock \(landlock))")] : missing
        return confines + [
            sealsMemory ? .good(.kernel, "memory files can be sealed")
                : .problem(.kernel, "memory files cannot be sealed (memfd_create, F_ADD_SEALS)", mend: "a newer kernel: Linux 5.1 or later"),
        ]
    }

    /// As paratpm-pcr seals the pages of vPCRs.
    private var sealsMemory: Bool {
        let raw = csystem_memfd("paratpm-doctor")
        guard raw >= 0 else { return false }
        let file = Descriptor(owning: raw)
        return ftruncate(file.raw, 4096) == 0 && csystem_seal(file.raw) == 0 && csystem_is_sealed(file.raw) == 1
    }

    var programs: [Finding] {
        let roles = Role.allCases.filter { $0 != .control }
        let missing = roles.compactMap { role -> Finding? in
            do throws(Failure) {
                _ = try Programs.own(role)
                return nil
            } catch { return .problem(.programs, error.message, mend: "scripts/install, or the package, puts all of them in place") }
        }
        return missing.isEmpty ? [.good(.programs, "all \(roles.count) are in place")] : missing
    }

    // MARK: The chip

    var chip: [Finding] {
        if let device = services.first(where: { $0.service == .device }), device.problem == nil {
            let lines = Dictionary(device.lines.map { ($0.key, $0.value) }) { $1 }
            let place = lines["chip"] ?? "the chip"
            guard let trouble = lines["state"] else {
                return [.good(.chip, "\(place) answers (\(lines["manufacturer"] ?? "?"), firmware \(lines["firmware"] ?? "?"))")]
            }
            return [.problem(.chip, "\(place): \(trouble)", mend: "look whether another program holds it (fuser -v /dev/tpm0), and at paratpmctl log --all")]
        }
        guard instance.isSystem else { return [] }
        let address = configuredChip
        guard address.hasPrefix("device:") else { return [.note(.chip, "\(address) is not a device: it is tried when paratpm-device starts")] }
        return examineNode(String(address.dropFirst("device:".count)))
    }

    /// PARATPM_CHIP, as the unit of paratpm-device reads it.
    private var configuredChip: String {
        let file = (try? Files.read("\(instance.policyFilesDirectory)/device.env", max: 1 << 16)) ?? []
        let lines = String(decoding: file, as: UTF8.self).split(separator: "\n")
        return lines.last { $0.hasPrefix("PARATPM_CHIP=") }.map { String($0.dropFirst("PARATPM_CHIP=".count)) } ?? "device:/dev/tpm0"
    }

    private func examineNode(_ path: String) -> [Finding] {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFCHR else {
            return [.problem(
                .chip, "there is no device \(path)",
                mend: "switch the TPM on in the firmware's setup, or name another chip: PARATPM_CHIP=… in /etc/paratpm/device.env")]
        }
        let name = path.split(separator: "/").last.map { $0.replacingPrefix("tpmrm", with: "tpm") } ?? ""
        if let version = try? Files.read("/sys/class/tpm/\(name)/tpm_version_major", max: 64), !version.starts(with: [UInt8(ascii: "2")]) {
            return [.problem(.chip, "\(path) is a TPM 1.2", mend: "paratpm needs a TPM 2.0")]
        }
        let groups = [UserDatabase.group("paratpm-device"), UserDatabase.group("tss")].compactMap { $0 }
        guard groups.contains(status.st_gid), status.st_mode & 0o060 == 0o060 else {
            return [.problem(
                .chip, "paratpm-device may not open \(path)", mend: "udevadm control --reload && udevadm trigger --subsystem-match=tpm")]
        }
        return [.good(.chip, "\(path) is there, and paratpm-device may open it")]
    }

    // MARK: Units

    private static let unitNames = ["paratpm.target", "paratpm-rules.service"] + ServiceName.allCases.map { "paratpm-\($0.rawValue).service" }

    var units: [Finding] {
        guard GuestUnits.areManaged else {
            return [.note(.units, "systemd is not the service manager here", mend: "run an instance with a directory of its own: paratpmctl run --dir DIR")]
        }
        let properties = "--property=Id,LoadState,ActiveState,UnitFileState,NeedDaemonReload"
        guard let text = try? Programs.output(["systemctl", "show", properties] + Self.unitNames) else {
            return [.problem(.units, "systemctl does not answer", mend: "systemctl status")]
        }
        let found = text.split(separator: "\n\n").map { block in
            Dictionary(block.split(separator: "\n").map { line in
                let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
                return (parts[0], parts.count == 2 ? parts[1] : "")
            }) { $1 }
        }
        let wrong = found.flatMap(examineUnit)
        return wrong.isEmpty ? [.good(.units, "all \(found.count) are loaded and active")] : wrong
    }

    private func examineUnit(_ unit: [String: String]) -> [Finding] {
        let name = unit["Id"] ?? "?"
        guard unit["LoadState"] == "loaded" else {
            return [.problem(.units, "\(name) is \(unit["LoadState"] ?? "unknown")", mend: "scripts/install, or the package, and systemctl daemon-reload")]
        }
        var findings: [Finding] = []
        if unit["NeedDaemonReload"] == "yes" { findings.append(.note(.units, "\(name) was changed", mend: "systemctl daemon-reload")) }
        if unit["ActiveState"] != "active" {
            findings.append(.problem(.units, "\(name) is \(unit["ActiveState"] ?? "unknown")", mend: "systemctl start \(name); systemctl status \(name)"))
        }
        if name == "paratpm.target" && unit["UnitFileState"] != "enabled" {
            findings.append(.note(.units, "paratpm is not started at boot", mend: "systemctl enable paratpm.target"))
        }
        return findings
    }
}

extension Substring {
    fileprivate func replacingPrefix(_ prefix: String, with other: String) -> String {
        hasPrefix(prefix) ? other + dropFirst(prefix.count) : String(self)
    }
}
