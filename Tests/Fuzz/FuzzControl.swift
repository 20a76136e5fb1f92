// The control channel's state machine.
import ControlChannel

/// The input's first byte says in what pieces the rest arrives, and whether the TPM runs.
func fuzzControl(_ input: [UInt8]) {
    guard let first = input.first else { return }
    let piece = Int(first >> 1) + 1
    var channel = ControlChannel()
    var rest = input.dropFirst()
    while !rest.isEmpty {
        let bytes = Array(rest.prefix(piece))
        rest = rest.dropFirst(piece)
        switch channel.receive(bytes, isRunning: first & 1 == 1) {
        case .nothing, .refused: break
        case .hopeless: return
        case .request(.hashData(let data, _)):
            if data.count > bytes.count + ControlChannel.readSize { broken("more data than came") }
            if data.first == 0xFF { channel.abandonHashData() }
        case .request: break
        }
    }
}
