// The interface of paratpm-pcr. Platform signals (power, locality, the DRTM hash) come from the door alone (D5). Changes are
// numbered: of the door and of the proxy paratpm-pcr knows the last one, so that neither is lost or made twice when it dies.
import IPC
import TPMWire
import Wire

package enum PCRCalls {
    // From the door: the platform's signals.

    /// _TPM_Init: a new boot. The boot count rises; nothing works until Startup. (The vPCRs keep their values until then,
    /// because Startup(STATE) may want those that Shutdown(STATE) kept.)
    package enum PowerOn: Call {
        package static let number: UInt16 = 16
        package static let callers: Caller = [.door]
        package static let isNumbered = true
        package typealias Request = Nothing
        package typealias Reply = Nothing
    }
    /// The locality of the commands that follow: 0 to 4, or TPM_RC_LOCALITY.
    package enum SetLocality: Call {
        package static let number: UInt16 = 17
        package static let callers: Caller = [.door]
        package static let repeatable = true
        package typealias Request = UInt8
        package typealias Reply = Nothing
    }
    /// _TPM_Hash_Start: begins a DRTM event after Startup, an H-CRTM event before it. Any command of the guest aborts
    /// it (AbortEvent); HashData and HashEnd without an event do nothing.
    package enum HashStart: Call {
        package static let number: UInt16 = 18
        package static let callers: Caller = [.door]
        package static let isNumbered = true
        package typealias Request = Nothing
        package typealias Reply = Nothing
    }
    package enum HashData: Call {
        package static let number: UInt16 = 19
        package static let callers: Caller = [.door]
        package static let isNumbered = true
        package typealias Request = Blob
        package typealias Reply = Nothing
    }
    /// _TPM_Hash_End: resets PCR 17 to 22 to 0 and extends the digest into PCR 17 (DRTM), or into a PCR 0 of 0…04, which
    /// Startup then leaves alone (H-CRTM).
    package enum HashEnd: Call {
        package static let number: UInt16 = 20
        package static let callers: Caller = [.door]
        package static let isNumbered = true
        package typealias Request = Nothing
        package typealias Reply = Nothing
    }
    /// Clears tpmEstablished; allowed at locality 3 and 4 (the locality that the hypervisor names with the signal), else
    /// TPM_RC_LOCALITY.
    package enum ResetEstablished: Call {
        package static let number: UInt16 = 21
        package static let callers: Caller = [.door]
        package static let repeatable = true
        package typealias Request = UInt8
        package typealias Reply = Nothing
    }

    // From the proxy: the guest's commands. Errors are TPM response codes.

    /// TPM2_Startup: one for each PowerOn (TPM_RC_INITIALIZE otherwise, and so for a paratpm-pcr that knows of none).
    package enum Startup: Call {
        package static let number: UInt16 = 32
        package static let callers: Caller = [.proxy]
        package static let isNumbered = true
        package struct Request: WireCodable, Sendable {
            /// Startup(STATE), which takes back the values that Shutdown(STATE) kept (TPM_RC_VALUE where there are none).
            package var state: Bool
            /// A TPM Reset: something undid the last Shutdown(STATE), if there was one, so pcrUpdateCounter begins again.
            package var isReset: Bool
            /// What TPM2_PCR_Allocate has allocated.
            package var banks: PCRBanks
            package init(state: Bool, isReset: Bool = false, banks: PCRBanks = .all) {
                self.state = state
                self.isReset = isReset
                self.banks = banks
            }
            package init(from reader: inout WireReader) throws(WireError) {
                state = try reader.flag()
                isReset = try reader.flag()
                banks = try reader.value()
            }
            package func encode(to writer: inout WireWriter) {
                writer.flag(state)
                writer.flag(isReset)
                writer.value(banks)
            }
        }
        package typealias Reply = Nothing
    }
    /// TPM2_Shutdown; true: Shutdown(STATE) keeps the values for Startup(STATE).
    package enum Shutdown: Call {
        package static let number: UInt16 = 33
        package static let callers: Caller = [.proxy]
        package static let isNumbered = true
        package struct Request: WireCodable, Sendable {
            package var state: Bool
            package init(state: Bool) { self.state = state }
            package init(from reader: inout WireReader) throws(WireError) { state = try reader.flag() }
            package func encode(to writer: inout WireWriter) { writer.flag(state) }
        }
        package typealias Reply = Nothing
    }
    /// Extends one PCR in each bank that is named. TPM_RC_LOCALITY where the locality may not.
    package enum Extend: Call {
        package static let number: UInt16 = 34
        package static let callers: Caller = [.proxy]
        package static let isNumbered = true
        package struct Request: WireCodable, Sendable {
            package var pcr: UInt8
            package var digests: [TaggedDigest]
            package init(pcr: UInt8, digests: [TaggedDigest]) {
                self.pcr = pcr
                self.digests = digests
            }
            package init(from reader: inout WireReader) throws(WireError) {
                pcr = try reader.u8()
                digests = try reader.list(max: PCRSelection.listMax)
            }
            package func encode(to writer: inout WireWriter) {
                writer.u8(pcr)
                writer.list(digests)
            }
        }
        package typealias Reply = Nothing
    }
    /// TPM2_PCR_Reset: TPM_RC_LOCALITY where the PCR or the locality may not.
    package enum ResetPCR: Call {
        package static let number: UInt16 = 35
        package static let callers: Caller = [.proxy]
        package static let isNumbered = true
        package typealias Request = UInt8
        package typealias Reply = Nothing
    }

    /// TPM2_Clear counts as a change of PCRs, so that no policy session outlives it (Part 3, 24.6).
    package enum CountClear: Call {
        package static let number: UInt16 = 36
        package static let callers: Caller = [.proxy]
        package static let isNumbered = true
        package typealias Request = Nothing
        package typealias Reply = Nothing
    }

    /// A command came while an event was going on.
    package enum AbortEvent: Call {
        package static let number: UInt16 = 37
        package static let callers: Caller = [.proxy]
        package static let isNumbered = true
        package typealias Request = Nothing
        package typealias Reply = Nothing
    }

    /// An Extend, for a PCR that every locality may extend, whose answer nobody awaits: the page says when it was made. It goes by a
    /// socket of its own, the third descriptor of OpenProxyChannel, and nobody is woken by it. paratpm-pcr takes what waits there before
    /// it does or says anything else about the guest's vPCRs, whoever asks.
    package struct PostedExtend: WireCodable, Sendable {
        /// The number that Extend would have.
        package let change: UInt64
        package let request: Extend.Request

        package init(change: UInt64, _ request: Extend.Request) {
            self.change = change
            self.request = request
        }
        package init(from reader: inout WireReader) throws(WireError) {
            change = try reader.u64()
            request = try reader.value()
        }
        package func encode(to writer: inout WireWriter) {
            writer.u64(change)
            writer.value(request)
        }
        /// So many at most may wait; those behind them may come too late.
        package static let waitingMax = 16
    }

    /// Makes what was posted, now.
    package enum TakePosted: Call {
        package static let number: UInt16 = 38
        package static let callers: Caller = [.proxy]
        package static let isSilent = true
        package typealias Request = Nothing
        package typealias Reply = Nothing
    }

    // From the policy checker and the administrator.

    /// The values of a guest's selected vPCRs, with the generation that they belong to.
    package enum Values: Call {
        package static let number: UInt16 = 48
        package static let callers: Caller = [.policy, .admin]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            /// The guest's id.
            package var guest: [UInt8]
            /// Each bank at most once.
            package var selection: [PCRSelection]
            package init(guest: [UInt8], selection: [PCRSelection]) {
                self.guest = guest
                self.selection = selection
            }
            package init(from reader: inout WireReader) throws(WireError) {
                guest = try reader.sized16(max: GuestID.size)
                selection = try reader.list(max: PCRSelection.listMax)
            }
            package func encode(to writer: inout WireWriter) {
                writer.sized16(guest)
                writer.list(selection)
            }
        }
        package struct Reply: WireCodable, Sendable {
            package var generation: UInt64
            /// Which boot of the guest it is, since paratpm-pcr knows it.
            package var bootCount: UInt64
            package var updateCounter: UInt32
            package var locality: UInt8
            /// In the order of the selections, ascending within each; a bank or PCR that is not there is left out.
            package var digests: [TaggedDigest]
            package init(
                generation: UInt64, bootCount: UInt64, updateCounter: UInt32, locality: UInt8, digests: [TaggedDigest]
            ) {
                self.generation = generation
                self.bootCount = bootCount
                self.updateCounter = updateCounter
                self.locality = locality
                self.digests = digests
            }
            package init(from reader: inout WireReader) throws(WireError) {
                generation = try reader.u64()
                bootCount = try reader.u64()
                updateCounter = try reader.u32()
                locality = try reader.u8()
                digests = try reader.list(max: PCRSelection.listMax * PCRSelection.pcrCount)
            }
            package func encode(to writer: inout WireWriter) {
                writer.u64(generation)
                writer.u64(bootCount)
                writer.u32(updateCounter)
                writer.u8(locality)
                writer.list(digests)
            }
        }
    }
    /// The guest is gone: forget its vPCRs.
    package enum ForgetGuest: Call {
        package static let number: UInt16 = 64
        package static let callers: Caller = [.admin]
        package typealias Request = Blob
        package typealias Reply = Nothing
    }
}
