// The door's loop: the control channel, the proxy's life, the services' lives. One thread, one poll.
import ControlChannel
import CSystem
import Glibc
import GuestIdentity
import IPC
import SystemMap

final class Door {
    /// Control connections at once. Stock swtpm serves one and lets others wait.
    private static let clientsMax = 8
    /// Between tries to bring back a process, in milliseconds; as long as it is gone already, within these bounds.
    private static let retryMin = 20
    private static let retryMax = 320
    /// So long a service is looked for in the shortest intervals: a guest's command may wait for it, and gives up after half a second.
    private static let eagerTime = 3_000

    private final class Client {
        let descriptor: Descriptor
        var channel = ControlChannel()
        /// When the rest of a request must be there, on the loop's clock.
        var deadline: Int?
        init(_ descriptor: Descriptor) { self.descriptor = descriptor }
    }

    /// Something that is gone, and when to try next to bring it back.
    private struct Retry {
        let since: Int
        var next: Int
    }

    private enum Source {
        case signals, watchdog, spawner, listener, proxy, dataDone, listenerDone
        case client(Client)
        case service(ServiceName)
    }

    private let guest: RunningGuest
    private let listener: Descriptor?
    private let signals: Descriptor
    private let manager: ServiceManager
    private let watchdog: Descriptor?
    private var clients: [Client] = []
    private var lostServices: [ServiceName: Retry] = [:]
    private var lostProxy: Retry?
    private var isFinished = false
    /// Why it cannot go on.
    private var failure: Failure?

    init(_ guest: RunningGuest, control: OpenEndpoint?, signals: Descriptor, manager: ServiceManager) {
        self.guest = guest
        self.signals = signals
        self.manager = manager
        watchdog = manager.watchdogTimer()
        if let control, !control.isListening {
            listener = nil
            clients = [Client(control.descriptor)]
        } else {
            listener = control?.descriptor
        }
    }

    /// Until a signal, SHUTDOWN, or the end of the last client where that was asked for.
    /// - Throws: what keeps it from going on.
    func run() throws(Failure) {
        while !isFinished {
            let sources = watched
            var polled = sources.map { pollfd(fd: $0.1.raw, events: Int16(POLLIN), revents: 0) }
            guard poll(&polled, nfds_t(polled.count), timeout) >= 0 || errno == EINTR else { return }
            for (i, (source, descriptor)) in sources.enumerated() where polled[i].revents != 0 && !isFinished {
                handle(source, descriptor)
            }
            keepTime()
        }
        if let failure { throw failure }
    }

    private var watched: [(Source, Descriptor)] {
        var sources: [(Source, Descriptor)] = [(.signals, signals)]
        sources.append((.spawner, guest.spawner.descriptor))
        if let watchdog { sources.append((.watchdog, watchdog)) }
        if let proxy = guest.proxy { sources.append((.proxy, proxy.descriptor)) }
        if let done = guest.dataDone { sources.append((.dataDone, done)) }
        if let done = guest.listenerDone { sources.append((.listenerDone, done)) }
        for (service, descriptor) in guest.broker.connected { sources.append((.service(service), descriptor)) }
        for client in clients { sources.append((.client(client), client.descriptor)) }
        if let listener, clients.count < Self.clientsMax { sources.append((.listener, listener)) }
        return sources
    }

    /// What an earlier source of the same round has replaced is no source any more.
    private func handle(_ source: Source, _ descriptor: Descriptor) {
        switch source {
        case .signals: if csystem_signal_read(signals.raw) != 0 { isFinished = true }
        case .spawner: loseSpawner()
        case .watchdog: manager.answer(descriptor)
        case .listener: acceptClient()
        case .proxy: loseProxy()
        case .dataDone: if guest.dataDone === descriptor { endData(isSaid: takeByte(descriptor)) }
        case .listenerDone: if guest.listenerDone === descriptor { endListener(isSaid: takeByte(descriptor)) }
        case .client(let client): serve(client)
        case .service(let service): if guest.broker.isConnected(service, by: descriptor) { lose(service) }
        }
    }

    /// - Parameter isSaid: the proxy says that its client is gone; otherwise it died.
    private func endData(isSaid: Bool) {
        guest.endData(keepsConnection: !isSaid)
        if isSaid && guest.options.terminates { isFinished = true }
    }

    private func endListener(isSaid: Bool) {
        guest.forgetListenerDone()
        if isSaid { isFinished = true }
    }

    private func takeByte(_ descriptor: Descriptor) -> Bool {
        var byte: UInt8 = 0
        return recv(descriptor.raw, &byte, 1, Int32(MSG_DONTWAIT)) == 1
    }

    // MARK: Lives of others

    private func loseProxy() {
        let soon = now + Self.retryMin
        if !guest.replaceProxy() { lostProxy = Retry(since: soon, next: soon) }
    }

    /// Its proxies died with it, and a confined door can start none: another door has to take over.
    private func loseSpawner() {
        failure = Failure(.software, "its spawner is gone, and with it the proxy")
        isFinished = true
    }

    private func lose(_ service: ServiceName) {
        log(.warning, .guest, "\(service.rawValue) is gone")
        guest.broker.drop(service)
    }

    /// What is due: services to reconnect, a proxy to replace, requests that were never finished.
    private func keepTime() {
        for service in ServiceName.allCases where !guest.broker.isConnected(service) {
            if lostServices[service] == nil { lostServices[service] = Retry(since: now, next: now) }
        }
        for (service, retry) in lostServices where retry.next <= now {
            lostServices[service] = guest.broker.isConnected(service) || guest.reconnect(service) ? nil : later(retry, eagerFor: Self.eagerTime)
        }
        if let retry = lostProxy, retry.next <= now { lostProxy = guest.replaceProxy() ? nil : later(retry, eagerFor: 0) }
        clients.removeAll { client in client.deadline.map { $0 <= now } ?? false }
    }

    private func later(_ retry: Retry, eagerFor eager: Int) -> Retry {
        let now = now
        return Retry(since: retry.since, next: now + min(max(now - retry.since - eager, Self.retryMin), Self.retryMax))
    }

    /// Milliseconds until something is due; -1: nothing will be.
    private var timeout: Int32 {
        let due = lostServices.values.map(\.next) + (lostProxy.map { [$0.next] } ?? []) + clients.compactMap(\.deadline)
        return due.min().map { Int32(clamping: max(0, $0 - now)) } ?? -1
    }

    private var now: Int { milliseconds() }

    // MARK: The control channel

    private func acceptClient() {
        guard let listener else { return }
        let raw = csystem_accept(listener.raw, 0)
        if raw >= 0 { clients.append(Client(Descriptor(owning: raw))) }
    }

    private func serve(_ client: Client) {
        var bytes = [UInt8](repeating: 0, count: ControlChannel.readSize)
        var raws = [Int32](repeating: -1, count: Int(CSYSTEM_MAX_FDS))
        var count: Int32 = 0
        let received = csystem_receive(client.descriptor.raw, &bytes, bytes.count, &raws, &count, Int32(MSG_DONTWAIT))
        if received < 0 && errno == EAGAIN { return }
        let descriptors = raws.prefix(Int(count)).map { Descriptor(owning: $0) }
        guard received > 0 else { return drop(client) }
        let input = client.channel.receive(Array(bytes[..<received]), isRunning: guest.isPowered)
        if let reply = answer(input, client, descriptors.first), !send(reply.wire, to: client) { return drop(client) }
        client.deadline = client.channel.isMidway ? now + ControlChannel.patience : nil
    }

    private func drop(_ client: Client) { clients.removeAll { $0 === client } }

    private func send(_ bytes: [UInt8], to client: Client) -> Bool {
        // A client that does not read its replies is dropped: nobody waits for it.
        csystem_send(client.descriptor.raw, bytes, bytes.count, nil, 0, Int32(MSG_DONTWAIT)) == bytes.count
    }

    /// nil: nothing to say (yet).
    private func answer(_ input: ControlChannel.Input, _ client: Client, _ descriptor: Descriptor?) -> ControlReply? {
        switch input {
        case .nothing: return nil
        case .refused(let result): return .result(result)
        case .hopeless:
            drop(client)
            return nil
        case .request(let request): return perform(request, client, descriptor)
        }
    }

    private func perform(_ request: ControlRequest, _ client: Client, _ descriptor: Descriptor?) -> ControlReply? {
        switch request {
        case .getCapability: return .capabilities(.offered)
        case .initialize: return .result(guest.powerOn())
        case .stop:
            guest.powerOff()
            return .result(.success)
        case .shutdown:
            guest.powerOff()
            isFinished = true
            return .result(.success)
        case .getEstablished: return guest.isEstablished.map { .established($0) } ?? .result(.fail)
        case .resetEstablished(let locality): return .result(guest.signal(PCRCalls.ResetEstablished.self, locality))
        case .setLocality(let locality): return .result(guest.setLocality(locality))
        case .hashStart: return .result(guest.signal(PCRCalls.HashStart.self, Nothing()))
        case .hashData(let data, let isLast):
            let result = guest.signal(PCRCalls.HashData.self, Blob(data))
            if result != .success { client.channel.abandonHashData() }
            return isLast || result != .success ? .result(result) : nil
        case .hashEnd: return .result(guest.signal(PCRCalls.HashEnd.self, Nothing()))
        case .cancel:
            guest.proxy?.cancel()
            return .result(.success)
        // Volatile state is not kept on disk.
        case .storeVolatile: return .result(.fail)
        case .getConfig: return .config(guest.options.keyFlags)
        case .setDataFD: return .result(descriptor.map { guest.setData($0) } ?? .badParameter)
        case .setBufferSize(let size):
            let result = guest.setBufferSize(size)
            let limits = ProxyCalls.SetBufferSize.self
            return result == .success
                ? .bufferSize(guest.bufferSize, min: limits.smallest, max: limits.largest) : .result(result)
        case .getInfo(let flags, let offset): return .info(TPMInformation.guest.json(flags), offset: offset)
        case .lockStorage: return .result(.success)
        }
    }
}

extension TPMInformation {
    /// What a guest's TPM says of itself (with GetCapability as well): manufacturer "PTPM", firmware 1.0.
    static let guest = TPMInformation(
        manufacturer: 0x5054_504D, model: "paratpm", version: 0x0001_0000, revision: 159, rsaKeySizes: [2048])
}
