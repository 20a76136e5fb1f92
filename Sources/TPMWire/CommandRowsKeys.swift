// The command table, Part 3 chapters 9 to 20: start-up, sessions, objects, cryptography, attestation, signatures.

extension CommandTable {
    static let startUp = CommandChapter(9, "Start-up", [
        CommandRow(.startup, "Startup", "9.3", .answered, [], [.nv, .noSessions, .beforeStartup],
            note: "The chip was started by the host long ago; the guest's power cycle is the door's word, which paratpm-pcr takes once for each reset."),
        CommandRow(.shutdown, "Shutdown", "9.4", .answered, [], [.nv],
            note: "The state to resume from goes into the guest's state file. The chip's own shutdown is the host's."),
    ])

    static let testing = CommandChapter(10, "Testing", [
        CommandRow(.selfTest, "SelfTest", "10.2", .answered, [], [.nv],
            note: "The chip has tested itself; a guest that could make it test again would stop all others for that time."),
        CommandRow(.incrementalSelfTest, "IncrementalSelfTest", "10.3", .answered, [], [.nv],
            note: "Nothing is left to test, and the answer says so."),
        CommandRow(.getTestResult, "GetTestResult", "10.4", .answered, [], [.encrypts, .inFailureMode],
            note: "The result of the guest's own TPM: why it is in failure mode, if it is."),
    ])

    static let sessionCommands = CommandChapter(11, "Session commands", [
        CommandRow(.startAuthSession, "StartAuthSession", "11.1", .backed, [.plain(.objectOrNull), .plain(.entityOrNull)],
            [.responseHandle, .decrypts, .encrypts],
            note: "The twin recovers a salt; all else is software. Sessions name virtual entities, so the chip could not check their HMACs (D1)."),
        CommandRow(.policyRestart, "PolicyRestart", "11.2", .answered, [.plain(.policySession)],
            note: "A policy session is a token; it starts anew with an empty one."),
    ])

    static let objectCommands = CommandChapter(12, "Object commands", [
        CommandRow(.create, "Create", "12.1", .backed, [.user(.object)], [.decrypts, .encrypts],
            note: "The chip makes and wraps the twin. The rules for templates are software, so that they are the guest's, not the broker's."),
        CommandRow(.load, "Load", "12.2", .answered, [.user(.object)], [.responseHandle, .decrypts, .encrypts],
            note: "The envelope is opened in software. The chip loads the twin when its private part is first used: most parents never need it."),
        CommandRow(.loadExternal, "LoadExternal", "12.3", .answered, [], [.responseHandle, .decrypts, .encrypts],
            note: "A public area needs no chip; a private part that comes in the clear gains nothing from one."),
        CommandRow(.readPublic, "ReadPublic", "12.4", .answered, [.plain(.object)], [.encrypts],
            note: "The guest's public area, not the twin's."),
        CommandRow(.activateCredential, "ActivateCredential", "12.5", .backed, [.admin(.object), .user(.object)], [.decrypts, .encrypts],
            note: "The policy checker recovers the seed with the twin, for no proxy gets one of a credential; restricted keys must be of its own making."),
        CommandRow(.makeCredential, "MakeCredential", "12.6", .answered, [.plain(.object)], [.decrypts, .encrypts],
            note: "Public-key work only."),
        CommandRow(.unseal, "Unseal", "12.7", .backed, [.user(.object)], [.encrypts],
            note: "The chip unseals the twin; the policy over virtual PCRs is checked before."),
        CommandRow(.objectChangeAuth, "ObjectChangeAuth", "12.8", .answered, [.admin(.object), .plain(.object)], [.decrypts, .encrypts],
            note: "The authValue stands in the envelope, which is sealed anew. The twin stays as it is: wrong passwords cannot lock the chip."),
        CommandRow(.createLoaded, "CreateLoaded", "12.9", .backed, [.user(.parent)], [.responseHandle, .decrypts, .encrypts],
            note: "As Create and CreatePrimary. A derived key is computed in software, being a function of the virtual parent; the chip then takes it in as a twin."),
    ])

    static let duplication = CommandChapter(13, "Duplication commands", [
        CommandRow(.duplicate, "Duplicate", "13.1", .backed, [.dup(.object), .plain(.objectOrNull)], [.decrypts, .encrypts],
            note: "The private part leaves for a parent that the chip does not know; the wrapping is software."),
        CommandRow(.rewrap, "Rewrap", "13.2", .backed, [.user(.objectOrNull), .plain(.objectOrNull)], [.decrypts, .encrypts],
            note: "The old parent's twin recovers the seed; unwrapping and wrapping are software, as Names are virtual."),
        CommandRow(.import, "Import", "13.3", .backed, [.user(.object)], [.decrypts, .encrypts],
            note: "The parent's twin recovers the seed, and the chip takes the key in as a twin. For that moment the proxy has seen it."),
    ])

    static let asymmetric = CommandChapter(14, "Asymmetric primitives", [
        CommandRow(.rsaEncrypt, "RSA_Encrypt", "14.2", .answered, [.plain(.object)], [.decrypts, .encrypts],
            note: "Public-key work only."),
        CommandRow(.rsaDecrypt, "RSA_Decrypt", "14.3", .backed, [.user(.object)], [.decrypts, .encrypts],
            note: "The chip decrypts with the twin, by the scheme that the guest's key and command select."),
        CommandRow(.ecdhKeyGen, "ECDH_KeyGen", "14.4", .answered, [.plain(.object)], [.encrypts],
            note: "An ephemeral key and public-key work: nothing that lasts is at stake."),
        CommandRow(.ecdhZGen, "ECDH_ZGen", "14.5", .backed, [.user(.object)], [.decrypts, .encrypts],
            note: "The chip multiplies with the twin's private scalar."),
        CommandRow(.eccParameters, "ECC_Parameters", "14.6", .answered,
            note: "Constants of the curves."),
        CommandRow(.zGen2Phase, "ZGen_2Phase", "14.7", .backed, [.user(.object)], [.decrypts, .encrypts],
            note: "The chip multiplies with the twin's scalar; the ephemeral scalar is the proxy's, from EC_Ephemeral. ECDH only."),
        .refused(.eccEncrypt, "ECC_Encrypt", "14.8", note: "Later than revision 1.59."),
        .refused(.eccDecrypt, "ECC_Decrypt", "14.9", note: "Later than revision 1.59."),
    ])

    static let symmetric = CommandChapter(15, "Symmetric primitives", [
        CommandRow(.encryptDecrypt, "EncryptDecrypt", "15.2", .backed, [.user(.object)], [.encrypts],
            note: "The chip unseals the key to the proxy, which ciphers: many chips lack this command, and bulk data would hold up other guests."),
        CommandRow(.encryptDecrypt2, "EncryptDecrypt2", "15.3", .backed, [.user(.object)], [.decrypts, .encrypts],
            note: "As EncryptDecrypt."),
        CommandRow(.hash, "Hash", "15.4", .answered, [], [.decrypts, .encrypts],
            note: "Nothing secret. Where a ticket is wanted the policy checker hashes, since restricted keys sign what has one."),
        CommandRow(.hmac, "HMAC", "15.5", .backed, [.user(.object)], [.decrypts, .encrypts],
            note: "The chip's HMAC with the twin; keys longer than a block, which no twin can hold, are unsealed to the proxy. MAC has the same code."),
    ])

    static let randomNumbers = CommandChapter(16, "Random number generator", [
        CommandRow(.getRandom, "GetRandom", "16.1", .backed, [], [.encrypts],
            note: "From a pool of the chip's random bytes, mixed with the kernel's: the chip is asked once for every 256 bytes."),
        CommandRow(.stirRandom, "StirRandom", "16.2", .answered, [], [.nv, .decrypts],
            note: "Stirred into the guest's own pool. It must not reach a generator that others use, so the chip does not hear of it."),
    ])

    static let sequences = CommandChapter(17, "Hash, HMAC and event sequences", [
        CommandRow(.hmacStart, "HMAC_Start", "17.2", .backed, [.user(.object)], [.responseHandle, .decrypts],
            note: "Data that fit in one call are gathered for one HMAC of the chip; for more the chip has the sequence, and the proxy its saved state. MAC_Start has the same code."),
        CommandRow(.hashSequenceStart, "HashSequenceStart", "17.4", .answered, [], [.responseHandle, .decrypts],
            note: "Nothing secret; in software a sequence costs the chip no slot."),
        CommandRow(.sequenceUpdate, "SequenceUpdate", "17.5", .backed, [.user(.object)], [.decrypts],
            note: "The proxy keeps the sequence. A long HMAC with a key of the chip's goes on there, and takes no slot between two commands."),
        CommandRow(.sequenceComplete, "SequenceComplete", "17.6", .backed, [.user(.object)], [.flushed, .decrypts, .encrypts],
            note: "As SequenceUpdate."),
        CommandRow(.eventSequenceComplete, "EventSequenceComplete", "17.7", .answered, [.user(.pcrOrNull), .user(.object)],
            [.nv, .flushed, .decrypts],
            note: "The digests are extended into virtual PCRs."),
    ])

    static let attestation = CommandChapter(18, "Attestation commands", [
        CommandRow(.certify, "Certify", "18.2", .backed, [.admin(.object), .user(.objectOrNull)], [.decrypts, .encrypts],
            note: "The twin signs an attestation that is composed in software, by the policy checker where the key is gated: its Names are the guest's, which the chip does not know."),
        CommandRow(.certifyCreation, "CertifyCreation", "18.3", .backed, [.user(.objectOrNull), .plain(.object)], [.decrypts, .encrypts],
            note: "As Certify; creation data and ticket are the guest's."),
        CommandRow(.quote, "Quote", "18.4", .backed, [.user(.objectOrNull)], [.decrypts, .encrypts],
            note: "The twin signs a quote of the virtual PCRs. With a gated key the policy checker composes it, from paratpm-pcr's values."),
        CommandRow(.getSessionAuditDigest, "GetSessionAuditDigest", "18.5", .backed,
            [.user(.endorsement), .user(.objectOrNull), .plain(.hmacSession)], [.decrypts, .encrypts],
            note: "As Certify; the session is virtual, and so is its digest."),
        CommandRow(.getCommandAuditDigest, "GetCommandAuditDigest", "18.6", .backed,
            [.user(.endorsement), .user(.objectOrNull)], [.nv, .decrypts, .encrypts],
            note: "As Certify; what is audited are the guest's commands."),
        CommandRow(.getTime, "GetTime", "18.7", .backed, [.user(.endorsement), .user(.objectOrNull)], [.decrypts, .encrypts],
            note: "As Certify; the time is that of the guest's clock."),
        CommandRow(.certifyX509, "CertifyX509", "18.8", .backed, [.admin(.object), .user(.objectOrNull)], [.decrypts, .encrypts],
            note: "The certificate is composed in software and the twin signs it."),
    ])

    static let ephemeralKeys = CommandChapter(19, "Ephemeral EC keys", [
        CommandRow(.commit, "Commit", "19.2", .backed, [.user(.object)], [.decrypts, .encrypts],
            note: "The chip's own commit counter is one for all: a guest could count, and void, another's commitments. So the twin of an ECDAA key seals it, each guest counts for itself, and commitments and signatures are made in the proxy; those of a restricted key, which shall not attest at the proxy's word, in the policy checker, which alone has the key and remembers what is under way."),
        CommandRow(.ecEphemeral, "EC_Ephemeral", "19.3", .answered, [], [.encrypts],
            note: "The ephemeral scalar is derived in the proxy, because the chip's commit counter is shared by all."),
    ])

    static let signing = CommandChapter(20, "Signing and signature verification", [
        CommandRow(.verifySignature, "VerifySignature", "20.1", .answered, [.plain(.object)], [.decrypts],
            note: "Public-key work, and a ticket made with the guest's own proof."),
        CommandRow(.sign, "Sign", "20.2", .backed, [.user(.object)], [.decrypts],
            note: "The twin signs. A restricted key is gated: it signs nothing but what the policy checker hashed. ECDAA is for keys of that scheme alone: a key that leaves its scheme open has a twin that signs, and could have made no commitment."),
    ])
}
