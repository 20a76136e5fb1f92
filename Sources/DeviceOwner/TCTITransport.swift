// A chip of any kind through libtss2's TCTI loader.
import CSystem
import CTSS2
import Glibc
import IPC
import SystemMap

final class TCTITransport: Transport {
    private let context: OpaquePointer
    private let calls: TSS2_TCTI_CONTEXT_COMMON_V1
    private static let mostPollHandles = 8

    /// - Parameter configuration: "NAME" or "NAME:CONFIGURATION", as tpm2-tools' `--tcti` takes it.
    init(_ configuration: String) throws(ChipError) {
        var context: OpaquePointer?
        let result = Tss2_TctiLdr_Initialize(configuration, &context)
        guard result == 0, let context else {
            throw .gone("the TCTI “\(configuration)” does not open (\(Self.hex(result)))")
        }
        // SAFETY: every TCTI context begins with TSS2_TCTI_CONTEXT_COMMON_V1 (TCG TSS 2.0 TCTI, 3.2).
        calls = UnsafeRawPointer(context).assumingMemoryBound(to: TSS2_TCTI_CONTEXT_COMMON_V1.self).pointee
        self.context = context
        guard calls.transmit != nil, calls.receive != nil else { throw .gone("the TCTI “\(configuration)” is incomplete") }
        // Its library stays when the context goes: a confined process, whose chip comes back, loads no code.
        csystem_keep_loaded(unsafeBitCast(calls.transmit, to: UnsafeRawPointer?.self))
    }

    deinit {
        var context: OpaquePointer? = context
        Tss2_TctiLdr_Finalize(&context)
    }

    func exchange(_ command: [UInt8], limit: Int) throws(ChipError) -> [UInt8] {
        let result = calls.transmit(context, command.count, command)
        guard result == 0 else { throw .gone("sending failed (\(Self.hex(result)))") }
        let pollable = try waitForResponse(until: milliseconds() + limit)
        var buffer = [UInt8](repeating: 0, count: responseMax)
        let size = try receive(&buffer, timeout: pollable ? TSS2_TCTI_TIMEOUT_BLOCK : Int32(clamping: limit))
        guard size <= buffer.count, try responseSize(buffer[..<size]) == size else { throw .garbage }
        return Array(buffer[..<size])
    }

    /// - Returns: false where the TCTI has nothing to wait on.
    private func waitForResponse(until deadline: Int) throws(ChipError) -> Bool {
        guard let getPollHandles = calls.getPollHandles else { return false }
        var handles = [pollfd](repeating: pollfd(), count: Self.mostPollHandles)
        var count = handles.count
        guard getPollHandles(context, &handles, &count) == 0, (1...handles.count).contains(count) else { return false }
        try wait(for: handles[0].fd, until: deadline)
        return true
    }

    /// - Parameter deadline: of `milliseconds()`.
    private func wait(for descriptor: Int32, until deadline: Int) throws(ChipError) {
        while true {
            var polled = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let left = max(0, deadline - milliseconds())
            let ready = poll(&polled, 1, Int32(clamping: left))
            if ready > 0 { return }
            if ready < 0 && errno != EINTR { throw .gone(describe(errno: errno)) }
            if ready == 0 && left == 0 { throw .timeout }
        }
    }

    private func receive(_ buffer: inout [UInt8], timeout: Int32) throws(ChipError) -> Int {
        var size = buffer.count
        var result = calls.receive(context, &size, &buffer, timeout)
        if result & Self.codeMask == TSS2_BASE_RC_BAD_VALUE, timeout != TSS2_TCTI_TIMEOUT_BLOCK {
            // Many TCTIs can only wait for ever.
            size = buffer.count
            result = calls.receive(context, &size, &buffer, TSS2_TCTI_TIMEOUT_BLOCK)
        }
        switch result & Self.codeMask {
        case 0: return size
        case TSS2_BASE_RC_TRY_AGAIN: throw .timeout
        case TSS2_BASE_RC_MALFORMED_RESPONSE, TSS2_BASE_RC_INSUFFICIENT_BUFFER: throw .garbage
        default: throw .gone("receiving failed (\(Self.hex(result)))")
        }
    }

    /// A TSS2_RC without its layer.
    private static let codeMask: TSS2_RC = 0xFFFF

    private static func hex(_ code: TSS2_RC) -> String { "0x" + String(code, radix: 16) }
}
