// Framing of TPM commands on a data connection.
import Glibc
import GuestProxy
import IPC
import SystemMap
import Testing

/// TPM2_GetRandom(16), and a response that shows which command it answers.
private let command: [UInt8] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7B, 0, 16]
private let response: [UInt8] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0]
/// TPM_SEND_COMMAND, locality 3, length
private let header: [UInt8] = [0, 0, 0, 8, 3, 0, 0, 0, 12]

@Suite struct CommandFrames {
    @Test func aFrameNeedsAWholeHeader() throws {
        for length in 0..<10 { #expect(CommandFrame(command[..<length], allowsHeader: true) == nil) }
        let frame = try #require(CommandFrame(command, allowsHeader: true))
        #expect(frame.start == 0 && frame.needed == 12 && frame.locality == nil)
    }

    @Test func swtpmsHeaderIsTakenOffWhereItIsAllowed() throws {
        let framed = try #require(CommandFrame(header + command, allowsHeader: true))
        #expect(framed.start == 9 && framed.needed == 21 && framed.locality == 3)
        let plain = try #require(CommandFrame(header + command, allowsHeader: false))
        #expect(plain.start == 0 && plain.locality == nil)
    }

    @Test func noSizeIsTooLargeToRead() throws {
        let huge = try #require(CommandFrame([0x80, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 1, 0x7B], allowsHeader: true))
        #expect(huge.needed == 0xFFFF_FFFF)
    }
}

@Suite struct DataConnections {
    private let client: Int32
    private let mark: CommandMark
    private let connection: DataConnection

    init() throws {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        client = ends[0]
        let page = try #require(CommandMark.makeFile())
        mark = try #require(CommandMark(page))
        connection = DataConnection(Descriptor(owning: ends[1]), allowsHeader: true, mark: mark)
    }

    private func send(_ bytes: [UInt8]) { _ = write(client, bytes, bytes.count) }
    private func received() -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 8192)
        let count = recv(client, &buffer, buffer.count, Int32(MSG_DONTWAIT))
        return Array(buffer.prefix(max(0, count)))
    }
    /// What the TPM was given in one turn.
    private func served() -> (goesOn: Bool, commands: [[UInt8]]) { turn(connection.serve) }
    private func waitedInVain() -> (goesOn: Bool, commands: [[UInt8]]) { turn(connection.endWaiting) }
    private func turn(_ turn: (([UInt8], UInt8?) -> [UInt8]) -> Bool) -> (goesOn: Bool, commands: [[UInt8]]) {
        var commands: [[UInt8]] = []
        let goesOn = turn { (command, _) in
            commands.append(command)
            return response
        }
        return (goesOn, commands)
    }

    @Test func aCommandIsAnswered() {
        send(command)
        #expect(served() == (true, [command]))
        #expect(received() == response)
        close(client)
        #expect(!served().goesOn)
    }

    @Test func aCommandWithHeaderIsAnsweredWithLengthAndTrailer() {
        send(header + command)
        #expect(served() == (true, [command]))
        #expect(received() == [0, 0, 0, 10] + response + [0, 0, 0, 0])
    }

    @Test func aClientThatSaysNothingIsGone() {
        close(client)
        #expect(!served().goesOn)
    }

    @Test func aWrongSizeIsTheTPMsToRefuse() {
        send(command + [0xAA])
        #expect(served().commands == [command + [0xAA]])
        var short = command
        short[5] = 9
        send(short)
        #expect(served().commands == [short])
        // More than any command: not waited for.
        let huge: [UInt8] = [0x80, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 1, 0x7B]
        send(huge)
        #expect(served().commands == [huge])
        // Less than it says: waited for, in vain.
        var long = command
        long[5] = 20
        send(long)
        #expect(served() == (true, []))
        #expect(connection.isMidway)
        #expect(waitedInVain() == (true, [long]))
        #expect(!connection.isMidway)
    }

    @Test func aCommandMayComeInPieces() {
        let whole = header + command
        for cut in 1..<whole.count {
            send(Array(whole[..<cut]))
            #expect(served() == (true, []))
            send(Array(whole[cut...]))
            #expect(served() == (true, [command]))
            #expect(received() == [0, 0, 0, 10] + response + [0, 0, 0, 0])
        }
    }

    @Test func aFewBytesAreNoCommandHoweverLongOneWaits() {
        send([0x80, 0x01])
        #expect(served() == (true, []))
        #expect(waitedInVain() == (true, []))
        send(Array(command[2...]))
        #expect(served() == (true, [command]))
    }

    @Test func whatAProxyDiedOfIsAnsweredByTheNext() {
        send(command)
        connection.answerInterrupted(response)
        #expect(received() == response)
        connection.answerInterrupted(response)
        #expect(received() == [])
        send(command)
        #expect(served().commands == [command])
    }

    @Test func whatAProxyTookAndDiedOfIsAnsweredByTheNext() throws {
        let next = DataConnection(Descriptor(owning: dup(connection.descriptor.raw)), allowsHeader: true, mark: mark)
        for (bytes, answer) in [(command, response), (header + command, [0, 0, 0, 10] + response + [0, 0, 0, 0])] {
            send(bytes)
            var answered: [UInt8] = []
            _ = connection.serve { (_, _) in
                // Here it dies.
                next.answerInterrupted(response)
                answered = received()
                return response
            }
            #expect(answered == answer)
            #expect(received() == answer)
            // What was answered is not answered again.
            next.answerInterrupted(response)
            #expect(received() == [])
        }
        // Nor what is not there yet.
        send(Array(command.prefix(11)))
        #expect(served() == (true, []))
        next.answerInterrupted(response)
        #expect(received() == [])
    }

    @Test func aLongCommandIsOne() {
        for size in [999, 1000, 1001, 2000, 4096] {
            let long = [0x80, 0x01, 0, 0, UInt8(size >> 8), UInt8(size & 0xFF)] + [UInt8](repeating: 7, count: size - 6)
            send(long)
            #expect(served() == (true, [long]))
            // What is longer than it says is one command as well.
            send([0x80, 0x01, 0, 0, 0, 12] + long.dropFirst(6))
            #expect(served().commands.map(\.count) == [size])
        }
    }
}
