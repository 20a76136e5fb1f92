// What vouches for the guest's TPM, over the proxy's channels.
import IPC
import SystemMap
import TPMWire
import VirtualTPM

final class HostAdapter: HostService {
    private let device: ServiceLink
    private let policy: ServiceLink

    init(device: ServiceLink, policy: ServiceLink) {
        self.device = device
        self.policy = policy
    }

    func deepQuote(_ request: [UInt8]) throws(TPMRC) -> [UInt8] {
        try policy.call(DeepQuoteCalls.Own.self, Blob(request)).bytes
    }
    func certificates() throws(TPMRC) -> HostCalls.Certificates.Reply { try device.call(HostCalls.Certificates.self, Nothing()) }
    func certify(_ index: TPMHandle, _ handle: UInt32) throws(TPMRC) -> [UInt8] {
        try device.call(HostCalls.Certify.self, .init(index: index, handle: handle)).bytes
    }
}
