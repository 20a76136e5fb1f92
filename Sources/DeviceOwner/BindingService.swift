// Binding guests to their host, as the device owner's interface offers it.
import ChipClient
import GuestIdentity
import IPC
import SystemMap
import TPMWire

extension Device {
    fileprivate func bind(_ guest: GuestID, _ request: BindingCalls.Bind.Request) throws(CallStatus) {
        guard request.approval.isSigned(by: request.updateKey, for: guest), request.approval.isWhole,
            RootTemplate.updateKey(ECCPoint(x: [], y: [])).isTemplate(of: request.updateKey)
        else { throw .notPermitted }
        try perform { () throws(ChipError) in
            guard try !roots.exists(guest), try roots.bindings.binding(of: guest) == nil else {
                throw .refused("guest \(guest.hex) has keys already, which cannot be bound any more")
            }
            try roots.bindings.bind(guest, updateKey: request.updateKey, request.approval)
            try roots.ensure(guest)
        }
    }

    fileprivate func approve(_ guest: GuestID, _ approval: HostApproval) throws(CallStatus) {
        guard let binding = try binding(of: guest) else { throw .unavailable }
        guard approval.isSigned(by: binding.updateKey, for: guest), approval.isWhole else { throw .notPermitted }
        try perform { () throws(ChipError) in try roots.bindings.approve(approval, binding, guest) }
    }

    fileprivate func binding(of guest: GuestID) throws(CallStatus) -> GuestBinding? {
        try perform { () throws(ChipError) in try roots.bindings.binding(of: guest) }
    }
}

extension HostApproval {
    /// Each bank once, and as many values as the selection has.
    fileprivate var isWhole: Bool {
        let size = selection.reduce(0) { $0 + $1.pcrs.count * $1.hash.digestSize }
        return size > 0 && size == values.count && Set(selection.map(\.hash)).count == selection.count
    }
}

extension DeviceService {
    var bindingRoutes: [Route<Connection>] {
        [
            .on(BindingCalls.Bind.self) { [device] (request, _: Connection) throws(CallStatus) in
                guard let guest = GuestID(request.guest) else { throw .malformed }
                try device.bind(guest, request)
                return Nothing()
            },
            .on(BindingCalls.Approve.self) { [device] (request, _: Connection) throws(CallStatus) in
                guard let guest = GuestID(request.guest) else { throw .malformed }
                try device.approve(guest, request.approval)
                return Nothing()
            },
            .on(BindingCalls.Binding.self) { [device] (request, _: Connection) throws(CallStatus) in
                guard let guest = GuestID(request.bytes) else { throw .malformed }
                guard let binding = try device.binding(of: guest) else { throw .unavailable }
                return .init(updateKey: binding.updateKey, selection: binding.approvals.first?.selection ?? [])
            },
        ]
    }
}
