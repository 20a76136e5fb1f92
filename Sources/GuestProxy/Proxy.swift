// paratpm-proxy: one guest's TPM behind its data connection. Plain blocking code, one thread.
import CSystem
import Glibc
import IPC
import Sandbox
import SystemMap
import TPMWire
import Wire

package final class Proxy {
    private let port: DoorPort
    private let tpm: GuestTPM
    private let mark: CommandMark
    private var data: DataConnection?
    private var listener: Listener?
    /// Where the door hears that the client of `data` is gone.
    private var done: Descriptor?

    private struct Listener {
        let descriptor: Descriptor
        let disconnects: Bool
        /// Where the door hears that the first of its clients is gone.
        let done: Descriptor
    }

    /// A proxy's whole life: acquire, confine, serve.
    package static func main() -> Never {
        LogSink.look()
        LogSink.prefix = variable(LogSink.prefixVariable) ?? ""
        signal(SIGPIPE, SIG_IGN)
        guard let mark = CommandMark(Descriptor(owning: ProxyCalls.Inherited.mark)) else {
            log(.error, .proxy, "cannot map its command mark: errno \(errno)")
            exit(EX_OSERR)
        }
        let proxy = Proxy(
            door: Descriptor(owning: ProxyCalls.Inherited.door), state: Descriptor(owning: ProxyCalls.Inherited.state), mark: mark)
        do throws(SandboxError) {
            try Profile.proxy.confine(.proxy, allowsUnconfined: CommandLine.arguments.contains(allowUnconfinedOption))
        } catch {
            log(.error, .proxy, error.description)
            exit(EX_UNAVAILABLE)
        }
        proxy.serve()
        exit(0)
    }

    private init(door: Descriptor, state: Descriptor, mark: CommandMark) {
        self.mark = mark
        port = DoorPort(door)
        tpm = GuestTPM(port, state: state)
    }

    /// Until the door is gone.
    private func serve() {
        while true {
            var polled = [
                pollfd(fd: port.channel.descriptor.raw, events: Int16(POLLIN), revents: 0),
                pollfd(fd: data?.descriptor.raw ?? listener?.descriptor.raw ?? -1, events: Int16(POLLIN), revents: 0),
            ]
            let ready = poll(&polled, 2, patience)
            guard ready >= 0 || errno == EINTR else { return }
            if polled[0].revents != 0 || port.hasPostponed {
                guard let message = port.receive() else { return }
                answer(message)
            } else if polled[1].revents != 0 {
                if data == nil { acceptClient() } else { serveData { $0.serve($1) } }
            } else if ready == 0 {
                pause()
            }
        }
    }

    /// How long the next message may take before there is something else to do, in milliseconds; -1: any time.
    private var patience: Int32 {
        if port.hasPostponed { return 0 }
        if data?.isMidway == true { return DataConnection.patience }
        if port.postedExtends.isQuiet { return Self.quiet }
        return port.isTidy ? -1 : Self.idle
    }
    /// A guest that extends many PCRs one after another pauses for less.
    private static let quiet: Int32 = 1
    /// A guest that pauses for so long may do so for hours.
    private static let idle: Int32 = 100

    /// Nothing came for a while.
    private func pause() {
        if data?.isMidway == true { return serveData { $0.endWaiting($1) } }
        if port.postedExtends.isQuiet { return port.postedExtends.announce() }
        csystem_return_free_memory()
        port.isTidy = true
    }

    private func serveData(_ turn: (DataConnection, ([UInt8], UInt8?) -> [UInt8]) -> Bool) {
        guard let data else { return }
        let goesOn = turn(data) { [tpm] (command, locality) in tpm.execute(command, locality: locality) }
        let isLast = listener?.disconnects == true && done === listener?.done && !data.isMidway
        if !goesOn || isLast { endData() }
    }

    private func endData() {
        data = nil
        if let done { csystem_send(done.raw, [0], 1, nil, 0, Int32(MSG_DONTWAIT)) }
        done = nil
    }

    private func acceptClient() {
        guard let listener else { return }
        let raw = csystem_accept(listener.descriptor.raw, 0)
        guard raw >= 0 else { return }
        data = DataConnection(Descriptor(owning: raw), allowsHeader: true, mark: mark)
        done = listener.done
    }

    // MARK: The door's requests

    private func answer(_ message: DoorPort.Message) {
        switch message.number {
        case ProxyCalls.UseChannel.number:
            port.reply(port.useChannel(message))
            tpm.prepare()
        // No command is being executed.
        case ProxyCalls.Cancel.number: break
        case ProxyCalls.PowerOn.number:
            on(message) { (request: ProxyCalls.PowerOn.Request) in tpm.powerOn(request) }
        case ProxyCalls.PowerOff.number:
            on(message) { (request: ProxyCalls.PowerOff.Request) in tpm.powerOff(shutdown: request.shutdown) }
        case ProxyCalls.AttachData.number:
            on(message) { (request: ProxyCalls.AttachData.Request) in attach(request, message.descriptors) }
        case ProxyCalls.ServeData.number:
            on(message) { (request: ProxyCalls.ServeData.Request) in
                guard message.descriptors.count == 2 else { return .malformed }
                listener = Listener(
                    descriptor: message.descriptors[0], disconnects: request.disconnects, done: message.descriptors[1])
                return .ok
            }
        case ProxyCalls.SetBufferSize.number:
            guard let size = try? UInt32(wire: message.body) else { return port.reply(.malformed) }
            port.reply(.ok, tpm.setBufferSize(size).wire)
        default: port.reply(.unknownCall)
        }
    }

    private func on<Request: WireCodable>(_ message: DoorPort.Message, _ body: (Request) -> CallStatus) {
        guard let request = try? Request(wire: message.body) else { return port.reply(.malformed) }
        port.reply(body(request))
    }

    private func attach(_ request: ProxyCalls.AttachData.Request, _ descriptors: [Descriptor]) -> CallStatus {
        guard descriptors.count == 2 else { return .malformed }
        let connection = DataConnection(descriptors[0], allowsHeader: request.allowsHeader, mark: mark)
        if request.isRecovered { connection.answerInterrupted(tpm.retryResponse) } else { mark.isTaken = false }
        data = connection
        done = descriptors[1]
        return .ok
    }
}
