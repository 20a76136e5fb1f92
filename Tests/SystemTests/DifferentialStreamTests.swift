// Generated streams of commands, the same to a paratpm guest and to stock swtpm. What differs is either a bug or listed in
// Streams/KnownDifferences.swift with its reason.
import Foundation
import Testing

@Suite(.serialized) struct DifferentialStreamTests {
    /// Settings, from the environment: PARATPM_LONG (scripts/test --long) for a long run, PARATPM_SEED and
    /// PARATPM_EPISODES to choose or to replay.
    private static func setting(_ name: String) -> UInt64? { ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) } }

    @Test func generatedStreams() throws {
        let isLong = ProcessInfo.processInfo.environment["PARATPM_LONG"] != nil
        let seed = Self.setting("PARATPM_SEED") ?? (isLong ? UInt64.random(in: 0..<1 << 40) : 1)
        let commands = isLong ? 200_000 : 4_000
        let episodes = Self.setting("PARATPM_EPISODES") ?? .max
        let runner = try StreamRunner()
        var episode: UInt64 = 0
        while episode < episodes, runner.commands < commands {
            try runner.episode(seed + episode)
            episode += 1
        }
        print("\(runner.commands) commands in \(episode) episodes from seed \(seed): \(runner.successes) succeeded, \(runner.accepted) known differences")
        let found = runner.unknown.count
        #expect(found == 0, "PARATPM_SEED=N PARATPM_EPISODES=1 replays one:\n\(runner.summary)")
    }
}
