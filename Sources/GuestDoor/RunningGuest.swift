// One running guest: its proxy, its services, its power and its data connection, kept alive across the death of any of them.
import ControlChannel
import CSystem
import Glibc
import GuestIdentity
import IPC
import SystemMap
import TPMWire
import Wire

final class RunningGuest {
    let options: DoorOptions
    let broker: Broker
    private let state: Descriptor
    /// CommandMark's file
    private let mark: Descriptor
    let spawner: ProxySpawner

    private(set) var proxy: ProxyProcess?
    private(set) var isPowered = false
    private var locality: UInt8 = 0
    /// What this boot measures before anything else.
    private var hostBinding = HostBindingCalls.Event.Reply.nothing
    private(set) var bufferSize = ProxyCalls.SetBufferSize.largest
    private var page: VPCRPage?
    /// The number of the last signal to paratpm-pcr. The beginning is random: another door of this guest has used other numbers.
    private var lastSignal = UInt64.random(in: 1..<1 << 63)
    /// A connection that the hypervisor handed over; outlives the proxy.
    private var data: Descriptor?
    /// A listening socket for data connections, which the proxy serves.
    private var listener: Descriptor?
    /// Readable when the proxy says that its client is gone: of `data`, and of `listener` where that matters.
    private(set) var dataDone: Descriptor?
    private(set) var listenerDone: Descriptor?

    init(_ options: DoorOptions, _ broker: Broker, state: Descriptor, mark: Descriptor, spawner: ProxySpawner) {
        self.options = options
        self.broker = broker
        self.state = state
        self.mark = mark
        self.spawner = spawner
    }

    var hasData: Bool { data != nil }

    // MARK: Coming and going

    func start() throws(Failure) {
        for service in ServiceName.allCases where !broker.isConnected(service) { try broker.connect(service) }
        let proxy = try ProxyProcess(spawner, state: state, mark: mark)
        self.proxy = proxy
        for service in ServiceName.allCases { try giveChannel(service, to: proxy) }
    }

    /// How long the proxy waits for the chip before it also looks for its door's cancellation, in milliseconds. Most answers come sooner.
    private static let undisturbed = 10

    /// A new channel for a service that came back, or for a new proxy.
    private func giveChannel(_ service: ServiceName, to proxy: ProxyProcess) throws(Failure) {
        let descriptors = try broker.proxyChannel(service)
        if service == .device { descriptors[0].setReceiveTimeout(milliseconds: Self.undisturbed) }
        if service == .pcr { page = VPCRPage(descriptors[1], writable: false) }
        guard let index = ServiceName.allCases.firstIndex(of: service) else { return }
        try tell(proxy, ProxyCalls.UseChannel.self, UInt8(index), descriptors)
    }

    private func tell<C: Call>(
        _ proxy: ProxyProcess, _ call: C.Type, _ request: C.Request, _ descriptors: [Descriptor] = []
    ) throws(Failure) {
        do throws(IPCError) {
            _ = try proxy.call(call, request, descriptors: descriptors)
        } catch {
            throw Failure(.software, "the proxy does not do what it is told: \(text(error))")
        }
    }

    /// A service is gone; true when it is back, with everything it has to know.
    func reconnect(_ service: ServiceName) -> Bool {
        do throws(Failure) {
            try broker.connect(service)
            if let proxy { try giveChannel(service, to: proxy) }
            if service == .pcr { checkPCRs() }
            log(.notice, .guest, "\(service.rawValue) is back")
            return true
        } catch {
            broker.drop(service)
            return false
        }
    }

    /// Where nobody kept the vPCRs, paratpm-pcr came back without them. They stay unusable until the next _TPM_Init: whoever
    /// could begin a boot now could give them any history.
    private func checkPCRs() {
        guard isPowered, page?.read()?.bootCount == 0 else { return }
        _ = try? broker.signal(PCRCalls.SetLocality.self, locality, change: 0)
        log(.error, .guest, "the guest's PCRs are lost; they work again when the virtual machine is reset")
    }

    /// The proxy died: a new one takes its place. False: not now.
    func replaceProxy() -> Bool {
        if let dead = proxy {
            log(.error, .guest, "the proxy ended (\(dead.bury())); starting another")
            proxy = nil
        }
        do throws(Failure) {
            try start()
            try restore()
            return true
        } catch {
            log(.error, .guest, error.message)
            if let half = proxy { _ = half.bury() }
            proxy = nil
            return false
        }
    }

    private func restore() throws(Failure) {
        guard let proxy else { return }
        if bufferSize != ProxyCalls.SetBufferSize.largest { try tell(proxy, ProxyCalls.SetBufferSize.self, bufferSize) }
        if isPowered {
            try tell(proxy, ProxyCalls.PowerOn.self, .init(startup: .none, hostEvents: hostBinding.log))
            log(.error, .guest, "the guest's sessions and loaded objects are lost; its TPM works again when it is started")
        }
        if let data { try attach(data, isRecovered: true) }
        if let listener { try serve(listener) }
    }

    /// A clean end: what the guest's TPM keeps is kept, and the proxy ends.
    func end() {
        guard let proxy else { return }
        proxy.setPatience(5)
        if isPowered {
            _ = try? proxy.call(ProxyCalls.PowerOff.self, .init(shutdown: options.shutsDown))
            isPowered = false
        }
        self.proxy = nil
        _ = proxy.bury()
    }

    // MARK: Data connections

    /// The data socket of the command line.
    func takeData(from endpoint: OpenEndpoint) throws(Failure) {
        if endpoint.isListening {
            listener = endpoint.descriptor
            try serve(endpoint.descriptor)
        } else {
            try attach(endpoint.descriptor, isRecovered: false)
            data = endpoint.descriptor
        }
    }

    /// SET_DATAFD
    func setData(_ descriptor: Descriptor) -> ControlResult {
        guard data == nil else { return .ioError }
        do throws(Failure) {
            try attach(descriptor, isRecovered: false)
            data = descriptor
            return .success
        } catch {
            log(.error, .guest, error.message)
            return .ioError
        }
    }

    private func attach(_ descriptor: Descriptor, isRecovered: Bool) throws(Failure) {
        let (ours, theirs) = try pair()
        guard let proxy else { throw Failure(.unavailable, "there is no proxy now") }
        try tell(proxy, ProxyCalls.AttachData.self, .init(allowsHeader: true, isRecovered: isRecovered), [descriptor, theirs])
        dataDone = ours
    }

    private func serve(_ listener: Descriptor) throws(Failure) {
        let (ours, theirs) = try pair()
        guard let proxy else { throw Failure(.unavailable, "there is no proxy now") }
        try tell(proxy, ProxyCalls.ServeData.self, .init(disconnects: options.disconnects), [listener, theirs])
        if options.terminates { listenerDone = ours }
    }

    private func pair() throws(Failure) -> (Descriptor, Descriptor) {
        do throws(IPCError) { return try Descriptor.pair() } catch {
            throw Failure(.software, "cannot make a socket pair: \(text(error))")
        }
    }

    func endData(keepsConnection: Bool) {
        if !keepsConnection { data = nil }
        dataDone = nil
    }
    func forgetListenerDone() { listenerDone = nil }

    // MARK: Platform signals

    func powerOn(_ startup: ProxyCalls.PowerOn.Request.Startup = .none) -> ControlResult {
        powerOff()
        do throws(IPCError) {
            hostBinding = try askHostBinding()
            if let event = hostBinding.event {
                try tellPCRs(PCRCalls.MeasuredPowerOn.self, event)
            } else {
                try tellPCRs(PCRCalls.PowerOn.self, Nothing())
            }
            guard let proxy else { throw .disconnected }
            _ = try proxy.call(ProxyCalls.PowerOn.self, .init(startup: startup, hostEvents: hostBinding.log))
            isPowered = true
            return .success
        } catch {
            log(.error, .guest, "the guest's power does not come on: \(text(error))")
            return .fail
        }
    }

    /// What paratpm-policy, which may be starting again, says of this boot. A guest whose policy cannot be asked does not start:
    /// without its first event it could measure any host.
    private func askHostBinding() throws(IPCError) -> HostBindingCalls.Event.Reply {
        for _ in 0..<Self.policyAttempts {
            do throws(IPCError) { return try broker.hostBinding() } catch {
                if case .status(let status) = error, status != .unavailable { throw error }
            }
            if broker.isConnected(.policy) || !reconnect(.policy) { poll(nil, 0, Self.signalPause) }
        }
        throw .timeout
    }

    func powerOnAtStart() throws(Failure) {
        guard powerOn(options.startup) == .success else { throw Failure(.software, "the guest's TPM does not start") }
    }

    func powerOff() {
        guard isPowered else { return }
        isPowered = false
        _ = try? proxy?.call(ProxyCalls.PowerOff.self, .init(shutdown: options.shutsDown))
    }

    func setLocality(_ number: UInt8) -> ControlResult {
        guard number < 4 || !options.rejectsLocality4 else { return .badLocality }
        let result = signal(PCRCalls.SetLocality.self, number)
        if result == .success { locality = number }
        return result
    }

    func setBufferSize(_ size: UInt32) -> ControlResult {
        guard size > 0 else { return .success }
        guard let granted = try? proxy?.call(ProxyCalls.SetBufferSize.self, size) else { return .fail }
        bufferSize = granted
        return .success
    }

    /// nil: paratpm-pcr does not say.
    var isEstablished: Bool? { page?.read()?.established }

    /// A platform signal to paratpm-pcr, as the control channel answers it.
    func signal<C: Call>(_ call: C.Type, _ request: C.Request) -> ControlResult where C.Reply == Nothing {
        do throws(IPCError) {
            try tellPCRs(call, request)
            return .success
        } catch {
            if error == .status(CallStatus(rawValue: TPMRC.locality.rawValue)) { return .badLocality }
            log(.error, .guest, "paratpm-pcr does not take the platform's signal: \(text(error))")
            return .fail
        }
    }

    /// Tells paratpm-pcr, and should it die over that, once more when it is back. Signals are numbered, so none counts twice.
    private func tellPCRs<C: Call>(_ call: C.Type, _ request: C.Request) throws(IPCError) where C.Reply == Nothing {
        lastSignal &+= 1
        for _ in 0..<Self.signalAttempts {
            do throws(IPCError) { return try broker.signal(call, request, change: lastSignal) } catch {
                if case .status = error { throw error }
            }
            if !reconnect(.pcr) { poll(nil, 0, Self.signalPause) }
        }
        throw .disconnected
    }
    /// How often a service is tried while the hypervisor waits, and the milliseconds between. paratpm-policy begins with the chip.
    private static let signalAttempts = 150
    private static let policyAttempts = 500
    private static let signalPause: Int32 = 20
}
