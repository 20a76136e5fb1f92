// The control protocol against what stock swtpm 0.7.1 answers, and against bytes that nobody should send.
import ControlChannel
import Testing

/// A request as its sender writes it: the command, then the body.
private func message(_ command: UInt32, _ body: [UInt8] = []) -> [UInt8] { u32(command) + body }
private func u32(_ value: UInt32) -> [UInt8] {
    [UInt8(value >> 24), UInt8(value >> 16 & 0xFF), UInt8(value >> 8 & 0xFF), UInt8(value & 0xFF)]
}
private func input(_ bytes: [UInt8], running: Bool = true) -> ControlChannel.Input {
    var channel = ControlChannel()
    return channel.receive(bytes, isRunning: running)
}

@Suite struct Requests {
    @Test func everyCommandThatQEMUSendsIsUnderstood() {
        #expect(input(message(0x01), running: false) == .request(.getCapability))
        #expect(input(message(0x02, [0, 0, 0, 0]), running: false) == .request(.initialize))
        #expect(input(message(0x03)) == .request(.shutdown))
        #expect(input(message(0x04)) == .request(.getEstablished))
        #expect(input(message(0x0E), running: false) == .request(.stop))
        #expect(input(message(0x10), running: false) == .request(.setDataFD))
        #expect(input(message(0x11, u32(0xF80)), running: false) == .request(.setBufferSize(0xF80)))
    }

    @Test func theOthersToo() {
        #expect(input(message(0x06)) == .request(.hashStart))
        #expect(input(message(0x07, u32(4) + [1, 2, 3, 4])) == .request(.hashData([1, 2, 3, 4], isLast: true)))
        #expect(input(message(0x07, u32(0))) == .request(.hashData([], isLast: true)))
        #expect(input(message(0x08)) == .request(.hashEnd))
        #expect(input(message(0x09)) == .request(.cancel))
        #expect(input(message(0x0A)) == .request(.storeVolatile))
        #expect(input(message(0x0B, [3])) == .request(.resetEstablished(locality: 3)))
        #expect(input(message(0x0F)) == .request(.getConfig))
        #expect(input(message(0x12, [0, 0, 0, 0, 0, 0, 0, 1] + u32(30) + u32(0))) == .request(.getInfo(flags: 1, offset: 30)))
        #expect(input(message(0x13, u32(300))) == .request(.lockStorage))
    }

    @Test func aLocalityMayBePaddedToTheCStructure() {
        #expect(input(message(0x05, [1])) == .request(.setLocality(1)))
        #expect(input(message(0x05, [1, 0, 0, 0])) == .request(.setLocality(1)))
        #expect(input(message(0x0B, [3, 0, 0, 0])) == .request(.resetEstablished(locality: 3)))
        #expect(input(message(0x05, [5])) == .refused(.badLocality))
        #expect(input(message(0x0B, [5])) == .refused(.badLocality))
    }

    @Test func whatStockSwtpmRefusesIsRefusedAlike() {
        #expect(input(message(0x02, [0, 0, 0, 0, 0x78])) == .refused(.badParameter))
        for command: UInt32 in [0x04, 0x06, 0x0E, 0x0F] {
            #expect(input(message(command, [0x78])) == .refused(.badParameter))
        }
        #expect(input(message(0x11, [0x61, 0x62]), running: false) == .refused(.badParameter))
        #expect(input(message(0x12, u32(0) + u32(0))) == .refused(.badParameter))
        #expect(input(message(0x07, u32(2) + [1, 2, 3, 4])) == .refused(.badParameter))
        for unknown: UInt32 in [0, 0x14, 99, .max] { #expect(input(message(unknown)) == .refused(.badOrdinal)) }
    }

    @Test func someNeedPowerAndSomeNeedItOff() {
        for command: UInt32 in [0x04, 0x06, 0x08, 0x09, 0x0A] {
            #expect(input(message(command), running: false) == .refused(.badOrdinal))
        }
        #expect(input(message(0x0B, [0]), running: false) == .refused(.badOrdinal))
        #expect(input(message(0x07, u32(4) + [1, 2, 3, 4]), running: false) == .refused(.badOrdinal))
        #expect(input(message(0x11, u32(0))) == .request(.setBufferSize(0)))
        #expect(input(message(0x11, u32(3000))) == .refused(.badOrdinal))
    }

    @Test func stateBlobsAreRefusedAndTheirBytesSwallowed() {
        #expect(input(message(0x0C, u32(0) + u32(1) + u32(0))) == .refused(.badOrdinal))
        var channel = ControlChannel()
        let blob = message(0x0D, u32(0) + u32(1) + u32(10) + [1, 2, 3, 4])
        #expect(channel.receive(blob, isRunning: false) == .refused(.badOrdinal))
        #expect(channel.isMidway)
        #expect(channel.receive([5, 6, 7, 8, 9, 10], isRunning: false) == .nothing)
        #expect(channel.receive(message(0x01), isRunning: false) == .request(.getCapability))
        #expect(input(message(0x0D, u32(0) + u32(1) + u32(.max)), running: false) == .hopeless)
    }
}

@Suite struct Streams {
    @Test func aRequestMayComeInPieces() {
        let whole = message(0x02, [0, 0, 0, 1])
        for cut in 1..<whole.count {
            var channel = ControlChannel()
            #expect(channel.receive(Array(whole[..<cut]), isRunning: false) == .nothing)
            #expect(channel.isMidway)
            #expect(channel.receive(Array(whole[cut...]), isRunning: false) == .request(.initialize))
            #expect(!channel.isMidway)
        }
    }

    @Test func hashDataMayBeLongerThanAMessage() {
        var channel = ControlChannel()
        let first = channel.receive(message(0x07, u32(10_000) + [UInt8](repeating: 1, count: 4000)), isRunning: true)
        #expect(first == .request(.hashData([UInt8](repeating: 1, count: 4000), isLast: false)))
        let second = channel.receive([UInt8](repeating: 2, count: 4000), isRunning: true)
        #expect(second == .request(.hashData([UInt8](repeating: 2, count: 4000), isLast: false)))
        let third = channel.receive([UInt8](repeating: 3, count: 2500), isRunning: true)
        #expect(third == .request(.hashData([UInt8](repeating: 3, count: 2000), isLast: true)))
        #expect(!channel.isMidway)
    }

    @Test func hashDataThatFailedIsSwallowed() {
        var channel = ControlChannel()
        _ = channel.receive(message(0x07, u32(10) + [1, 2]), isRunning: true)
        channel.abandonHashData()
        #expect(channel.receive([3, 4, 5, 6, 7, 8, 9, 10], isRunning: true) == .nothing)
        #expect(channel.receive(message(0x08), isRunning: true) == .request(.hashEnd))
    }

    @Test func everyRequestCutAtEveryLengthWaitsOrIsRefused() {
        for command in ControlCommand.allCases {
            let whole = message(command.rawValue, [UInt8](repeating: 0, count: 40))
            for length in 0...whole.count {
                for running in [false, true] {
                    var channel = ControlChannel()
                    let answer = channel.receive(Array(whole[..<length]), isRunning: running)
                    #expect((answer == .nothing) == channel.isMidway || length >= 4)
                }
            }
        }
    }

    @Test func randomBytesNeverTrap() {
        var seed: UInt64 = 0x9E37_79B9_7F4A_7C15
        func next() -> UInt64 {
            seed ^= seed << 13
            seed ^= seed >> 7
            seed ^= seed << 17
            return seed
        }
        var channel = ControlChannel()
        for _ in 0..<20_000 {
            let count = Int(next() % 5000)
            var bytes = (0..<min(count, 64)).map { _ in UInt8(truncatingIfNeeded: next()) }
            bytes += [UInt8](repeating: UInt8(truncatingIfNeeded: next()), count: count - bytes.count)
            if next() % 2 == 0, bytes.count >= 4 { bytes.replaceSubrange(0..<4, with: u32(UInt32(next() % 0x15))) }
            if channel.receive(bytes, isRunning: next() % 2 == 0) == .hopeless { channel = ControlChannel() }
            if next() % 8 == 0 { channel = ControlChannel() }
        }
    }
}

@Suite struct Replies {
    /// Captured from swtpm 0.7.1 with libtpms 0.9.
    @Test func theyAreLaidOutAsStockSwtpmLaysThemOut() {
        #expect(ControlReply.result(.badOrdinal).wire == [0, 0, 0, 0x0A])
        #expect(ControlReply.capabilities(.init(rawValue: 0xFFFF)).wire == [0, 0, 0, 0, 0, 0, 0xFF, 0xFF])
        #expect(ControlReply.established(true).wire == [0, 0, 0, 0, 1, 0, 0, 0])
        #expect(ControlReply.config(0).wire == [UInt8](repeating: 0, count: 8))
        #expect(ControlReply.bufferSize(0xBB8, min: 0xAF8, max: 0x1000).wire
            == [0, 0, 0, 0, 0, 0, 0x0B, 0xB8, 0, 0, 0x0A, 0xF8, 0, 0, 0x10, 0])
        #expect(ControlReply.info("{}", offset: 0).wire == [0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 3, 0x7B, 0x7D, 0])
        let text = #"{"TPMSpecification":{"family":"2.0","level":0,"revision":164}}"#
        #expect(ControlReply.info(text, offset: 30).wire
            == [0, 0, 0, 0, 0, 0, 0, 0x3F, 0, 0, 0, 0x21] + Array(#""2.0","level":0,"revision":164}}"#.utf8) + [0])
        #expect(ControlReply.info(text, offset: 3000).wire == [0, 0, 0, 3])
    }

    @Test func theTextIsTheOneThatStockSwtpmGives() {
        let information = TPMInformation(
            manufacturer: 0x1014, model: "swtpm", version: 0x2019_1023, revision: 164, rsaKeySizes: [1024, 2048, 3072])
        #expect(information.json(0) == "{}")
        #expect(information.json(1) == #"{"TPMSpecification":{"family":"2.0","level":0,"revision":164}}"#)
        #expect(information.json(2)
            == #"{"TPMAttributes":{"manufacturer":"id:00001014","version":"id:20191023","model":"swtpm"}}"#)
        #expect(information.json(4) == #"{"TPMFeatures":{"RSAKeySizes":[1024,2048,3072]}}"#)
    }

    @Test func stateBlobsAreNotOffered() {
        #expect(ControlCapabilities.offered.isDisjoint(with: [.getStateBlob, .setStateBlob]))
        #expect(ControlCapabilities.offered.isSuperset(of: [.initialize, .stop, .setDataFD, .setBufferSize]))
    }
}
