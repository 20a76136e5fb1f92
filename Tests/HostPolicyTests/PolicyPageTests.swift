// The page that shows a proxy its guest's policy.
import Glibc
import SystemMap
import TPMWire
import Testing

@testable import HostPolicy

struct PolicyPageTests {
    @Test func whatIsWrittenIsReadElsewhereAndTheGenerationRises() throws {
        let (page, file) = try #require(PolicyPage.make())
        let reader = try #require(PolicyPage(file))
        #expect(reader.read() == nil, "nothing was written yet")
        let name = try #require(GuestName("web1"))
        var policy = GuestPolicy.builtIn
        for sessions in 3...6 {
            policy.quotas.sessions = sessions
            page.write(policy, of: name)
            #expect(reader.generation == UInt32(sessions - 2))
            #expect(reader.read().map { $0.guest == name && $0.policy == policy } == true)
        }
    }

    @Test func theLargestPolicyFits() throws {
        let (page, file) = try #require(PolicyPage.make())
        var policy = GuestPolicy.builtIn
        policy.connect = AccessList(users: Set(0..<64), groups: Set(0..<64))
        let name = try #require(GuestName(String(repeating: "g", count: 63)))
        page.write(policy, of: name)
        #expect(PolicyPage(file)?.read()?.policy == policy)
    }

    @Test func whoReceivesThePageCannotWriteIt() throws {
        let (_, file) = try #require(PolicyPage.make())
        var byte: UInt8 = 1
        #expect(write(file.raw, &byte, 1) < 0)
        #expect(ftruncate(file.raw, 0) < 0)
        #expect(mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file.raw, 0) == MAP_FAILED)
    }

    @Test func everyWordOfAPolicyHasAPlaceInTheVocabulary() {
        #expect(PolicyWords.algorithms.map(\.value) == Vocabulary.algorithms)
        #expect(PolicyWords.curves.map(\.value) == ECCCurve.allCases)
        #expect(GuestPolicy.builtIn.vocabulary == .whole)
        for word in Vocabulary.words {
            let (key, name) = PolicyWords.name(of: word)
            var policy = GuestPolicy.builtIn
            switch word {
            case .algorithm(let value): policy.algorithms.remove(value)
            case .curve(let value): policy.curves.remove(value)
            case .rsaBits(let bits): policy.rsaBits.remove(bits)
            case .aesBits(let bits): policy.aesBits.remove(bits)
            }
            #expect(Vocabulary.words(policy.vocabulary.absent) == [word])
            #expect(key.words(of: .builtIn).contains(name) && !key.words(of: policy).contains(name))
        }
    }
}
