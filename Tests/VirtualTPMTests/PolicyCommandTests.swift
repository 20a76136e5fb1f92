// Part 3, 23: enhanced authorization, as far as a stock TPM cannot be asked for the answers, or cannot be made to give them.
import CryptoBase
import SystemMap
import TPMWire
import Testing
import Wire

@testable import VirtualTPM

extension Guest {
    fileprivate func policySession(trial: Bool = false) throws -> TPMHandle {
        let response = try run(.startAuthSession, [.null, .null]) {
            $0.sized16([UInt8](repeating: 1, count: 16))
            $0.sized16([UInt8]())
            $0.u8(trial ? 3 : 1)
            $0.value(TPMAlgorithm.null)
            $0.value(HashAlgorithm.sha256)
        }
        return try #require(response.handle)
    }

    /// PolicySecret of the owner
    fileprivate func policySecret(_ session: TPMHandle, expiration: Int32, nonce: [UInt8] = []) throws -> ResponseMessage {
        try run(.policySecret, [.owner, session]) {
            $0.sized16(nonce)
            $0.sized16([UInt8]())
            $0.sized16([UInt8]())
            $0.u32(UInt32(bitPattern: expiration))
        }
    }

    fileprivate func present(_ ticket: ResponseMessage, to session: TPMHandle) throws -> TPMRC {
        var reader = WireReader(ticket.parameters)
        let (timeout, ticket) = (try reader.sized16(), try reader.value(Ticket.self))
        return try run(.policyTicket, [session]) {
            $0.sized16(timeout)
            $0.sized16([UInt8]())
            $0.sized16([UInt8]())
            $0.sized16(TPMHandle.owner.wire)
            $0.value(ticket)
        }.code
    }
}

@Suite struct PolicyCommandTests {
    private func capability(
        _ guest: Guest, _ session: TPMHandle, _ capability: UInt32, _ property: UInt32, _ operand: [UInt8], offset: UInt16 = 0,
        _ operation: ArithmeticOperation = .equal
    ) throws -> UInt32 {
        try guest.run(.policyCapability, [session]) {
            $0.sized16(operand)
            $0.u16(offset)
            $0.value(operation)
            $0.u32(capability)
            $0.u32(property)
        }.code.rawValue
    }

    @Test func aCapabilityIsComparedWithItsOwnEntry() throws {
        let guest = try Guest()
        let session = try guest.policySession()
        // TPM_PT_FAMILY_INDICATOR: "2.0"
        #expect(try capability(guest, session, 6, 0x100, [0x32, 0x2E, 0x30, 0], offset: 4) == 0)
        #expect(try capability(guest, session, 6, 0x100, [0x33, 0x2E, 0x30, 0], offset: 4) == TPMRC.policy.rawValue)
        #expect(try capability(guest, session, 6, 0x1, [], .equal) == TPMRC.policy.rawValue)
        #expect(try capability(guest, session, 6, 0x1, [9], .notEqual) == 0)
        #expect(try capability(guest, session, 0, 0x000B, [0, 0x0B]) == 0)
        #expect(try capability(guest, session, 1, 0x4000_0001, [0x40, 0, 0, 1]) == 0)
        #expect(try capability(guest, session, 2, TPMCommandCode.unseal.rawValue, [0x01, 0x5E], offset: 2) == 0)
        #expect(try capability(guest, session, 6, 0x100, [], offset: 9) == TPMRC.value.parameter(2).rawValue)
        #expect(try capability(guest, session, 6, 0x100, [1], offset: 8) == TPMRC.size.parameter(1).rawValue)
        #expect(try capability(guest, session, 5, 0, []) == TPMRC.value.parameter(4).rawValue)
        #expect(try capability(guest, session, 99, 0, []) == TPMRC.value.parameter(4).rawValue)
        #expect(try capability(guest, session, 9, 0x8100_0000, []) == TPMRC.value.parameter(5).rawValue)
        #expect(try capability(guest, try guest.policySession(trial: true), 99, 0, []) == 0)
    }

    @Test func aTimeLimitOfTheSessionEndsItsUse() throws {
        let guest = try Guest()
        let session = try guest.policySession()
        let nonce = try #require(guest.tpm.volatile.sessions[session]).nonceTPM
        #expect(try guest.policySecret(session, expiration: 10, nonce: nonce).code == .success)
        var reader = try guest.succeed(.policyGetDigest, [session])
        let policy = try reader.sized16()
        _ = try guest.succeed(.setPrimaryPolicy, [.owner]) {
            $0.sized16(policy)
            $0.value(HashAlgorithm.sha256)
        }
        func use() throws -> TPMRC {
            let auth = AuthCommand(handle: session, attributes: [.continueSession])
            return try guest.run(.clockRateAdjust, [.owner], sessions: [auth]) { $0.u8(0) }.code
        }
        guest.clock.milliseconds += 10_001
        #expect(try use() == TPMRC.expired.session(1))
        guest.clock.milliseconds -= 1
        #expect(try use() == .success)
    }

    @Test func aTicketEndsWithThePower() throws {
        let guest = try Guest()
        let given = try guest.policySecret(try guest.policySession(), expiration: -100)
        #expect(try guest.present(given, to: try guest.policySession()) == .success)
        guest.clock.milliseconds += 5_000
        guest.powerOn()
        try guest.startup()
        #expect(try guest.present(given, to: try guest.policySession()) == TPMRC.ticket.parameter(5))
    }

    @Test func aTicketEndsWithItsHierarchy() throws {
        let guest = try Guest()
        let given = try guest.policySecret(try guest.policySession(), expiration: -100)
        _ = try guest.succeed(.clear, [.platform])
        #expect(try guest.present(given, to: try guest.policySession()) == TPMRC.ticket.parameter(5))
    }
}
