// Every message between the processes, and the tokens of policy sessions.
import EnhancedAuthorization
import IPC
import SystemMap
import Wire

/// The input's first byte chooses the message.
func fuzzMessages(_ input: [UInt8]) {
    guard let first = input.first else { return }
    let messages = messages
    messages[Int(first) % messages.count](Array(input.dropFirst()))
}

private var messages: [([UInt8]) -> Void] {
    both(DeviceCalls.GuestSecret.self) + both(DeviceCalls.Describe.self) + both(DeviceCalls.Create.self) + both(DeviceCalls.Load.self)
    + both(DeviceCalls.Release.self) + both(DeviceCalls.Sign.self) + both(DeviceCalls.DecryptRSA.self) + both(DeviceCalls.Agree.self)
    + both(DeviceCalls.Unseal.self) + both(DeviceCalls.HMAC.self) + both(DeviceCalls.Random.self) + both(DeviceCalls.RecoverSeed.self)
    + both(DeviceCalls.Import.self) + both(DeviceCalls.Duplicate.self) + both(DeviceCalls.ForgetGuest.self)
    + both(PCRCalls.SetLocality.self) + both(PCRCalls.HashData.self) + both(PCRCalls.Startup.self) + both(PCRCalls.Extend.self)
    + both(PCRCalls.ResetPCR.self) + both(PCRCalls.Values.self) + both(PCRCalls.ForgetGuest.self)
    + both(PolicyCalls.Start.self) + both(PolicyCalls.Step.self)
    + both(ProxyCalls.UseChannel.self) + both(ProxyCalls.PowerOn.self) + both(ProxyCalls.SetBufferSize.self)
    + both(Introduction.Hello.self) + both(Introduction.Prove.self) + both(Introduction.OpenProxyChannel.self)
    // A status report repairs what is not UTF-8, so its bytes may change.
    + [decode(PolicyState.self), decode(PCRCalls.PostedExtend.self), { _ = try? StatusReport(wire: $0).wire }]
}

private func both<C: Call>(_: C.Type) -> [([UInt8]) -> Void] { [decode(C.Request.self), decode(C.Reply.self)] }

/// What decodes is encoded, and decodes again to the same bytes.
private func decode<T: WireCodable>(_: T.Type) -> ([UInt8]) -> Void {
    { bytes in
        guard let value = try? T(wire: bytes) else { return }
        guard let again = try? T(wire: value.wire), again.wire == value.wire else { broken("\(T.self) does not decode to what it was") }
    }
}
