// What a guest's TPM needs from the rest of the house. It has no socket, clock or file of its own.
import SystemMap
import TPMCrypto
import TPMWire

/// Twins in the one hardware TPM. Errors are response codes for the guest: the chip's own words about the operation
/// (VALUE for a bad cipher text …), TPM_RC_RETRY when the device owner is coming back, TPM_RC_FAILURE when the chip is lost.
package protocol DeviceService: AnyObject {
    var chip: ChipDescription { get }
    /// Rises when the device owner came back: handles from before are worthless.
    var epoch: Int { get }
    func create(_ spec: TwinSpec, data: [UInt8]) throws(TPMRC) -> TwinBlob
    /// - Parameter spec: an imported one.
    func importTwin(_ spec: TwinSpec, unique: PublicArea.Unique, sensitive: SensitiveArea) throws(TPMRC) -> TwinBlob
    /// - Parameter handle: of a duplicable twin.
    func duplicate(_ handle: UInt32) throws(TPMRC) -> SensitiveArea
    func load(_ twin: TwinBlob) throws(TPMRC) -> UInt32
    func release(_ handle: UInt32)
    func sign(_ handle: UInt32, digest: [UInt8], scheme: Scheme) throws(TPMRC) -> Signature
    func decryptRSA(_ handle: UInt32, cipherText: [UInt8], scheme: Scheme, label: [UInt8]) throws(TPMRC) -> [UInt8]
    func agree(_ handle: UInt32, point: ECCPoint) throws(TPMRC) -> ECCPoint
    /// - Parameter hash: of OAEP, or of KDFe.
    func recoverSeed(_ handle: UInt32, use: SeedUse, hash: HashAlgorithm, secret: [UInt8]) throws(TPMRC) -> [UInt8]
    func unseal(_ handle: UInt32) throws(TPMRC) -> [UInt8]
    func hmac(_ handle: UInt32, hash: HashAlgorithm, data: [UInt8]) throws(TPMRC) -> [UInt8]
    /// A step of an HMAC over more data than fits in one call.
    /// - Parameters:
    ///   - state: what the step before answered; empty at the beginning.
    ///   - data: at most DeviceCalls.HMAC.dataMax bytes.
    /// - Returns: the next step's state, or after the last step the HMAC.
    func hmacStep(
        _ handle: UInt32, hash: HashAlgorithm, state: [UInt8], data: [UInt8], isLast: Bool
    ) throws(TPMRC) -> [UInt8]
    /// - Parameter count: at most DeviceCalls.Random.countMax.
    func random(_ count: Int) throws(TPMRC) -> [UInt8]
}

/// The guest's virtual PCRs.
package protocol PCRService: AnyObject {
    /// A consistent copy of the guest's vPCRs, locality and counters.
    func values() throws(TPMRC) -> VPCRValues
    /// What a policy session is held against, of one moment.
    func moment() throws(TPMRC) -> (generation: UInt64, locality: UInt8)
    /// `VPCRValues.list` of one moment.
    func read(_ selection: [PCRSelection]) throws(TPMRC) -> (updateCounter: UInt32, list: [UInt8])
    func startup(_ startup: PCRCalls.Startup.Request) throws(TPMRC)
    func shutdown(state: Bool) throws(TPMRC)
    func extend(_ pcr: Int, _ digests: [TaggedDigest]) throws(TPMRC)
    func reset(_ pcr: Int) throws(TPMRC)
    /// TPM2_Clear counts as a change of PCRs.
    func countClear() throws(TPMRC)
}

/// Policy sessions, as tokens (docs/architecture.md, D8).
package protocol PolicyService: AnyObject {
    func start(_ request: PolicyCalls.Start.Request) throws(TPMRC) -> [UInt8]
    func step(_ request: PolicyCalls.Step.Request) throws(TPMRC) -> PolicyCalls.Step.Reply
    /// The ticket of a signature that is genuine.
    func verify(_ request: PolicyCalls.Verify.Request) throws(TPMRC) -> Ticket

    // The gate (D7)

    func create(_ request: GateCalls.Create.Request) throws(TPMRC) -> TwinBlob
    func importTwin(_ request: GateCalls.Import.Request) throws(TPMRC) -> TwinBlob
    func createAnonymous(_ template: PublicArea) throws(TPMRC) -> GateCalls.CreateAnonymous.Reply
    /// - Returns: what GateCalls.Use says, by the command.
    func use(_ request: GateCalls.Use.Request) throws(TPMRC) -> [UInt8]
    func recoverSalt(_ request: GateCalls.RecoverSalt.Request) throws(TPMRC) -> [UInt8]
    /// - Throws: TPM_RC_SIGNATURE if it is not the key's.
    func verifyMAC(_ request: GateCalls.VerifyMAC.Request) throws(TPMRC)
    /// The credential; errors have their parameter number.
    func activate(_ request: GateCalls.Activate.Request) throws(TPMRC) -> [UInt8]
    func hash(_ request: HashCalls.Step.Request) throws(TPMRC) -> HashCalls.Step.Reply
    /// - Throws: TPM_RC_TICKET if it is not one of the checker's.
    func checkHash(_ request: HashCalls.Check.Request) throws(TPMRC)
}

/// Names one record of the guest's lasting state.
package struct RecordKey: Hashable, Sendable {
    package let kind: UInt8
    package let id: [UInt8]
    package init(kind: UInt8, id: [UInt8] = []) {
        self.kind = kind
        self.id = id
    }
}

/// The guest's lasting state: records by key. What `commit` returned from has survived any crash; what it threw on is not there.
package protocol DurableStore: AnyObject {
    /// The records as last committed.
    var records: [RecordKey: [UInt8]] { get }
    /// All of the changes or none; nil deletes. On error nothing has changed.
    func commit(_ changes: [(key: RecordKey, value: [UInt8]?)]) throws(DurableError)
}

package enum DurableError: Error, Equatable {
    /// The device is full or failed; errno.
    case io(Int32)
    /// The file has no room for this much state.
    case full
}

package protocol ClockService: AnyObject {
    /// Milliseconds of a clock that only goes forward (while the process lives).
    var milliseconds: UInt64 { get }
}
