import CairnTestSupport
import Testing

@testable import CairnRaft

@Suite struct QuorumTests {
    private func randomConfiguration(_ random: inout SeededGenerator) -> Configuration {
        func nodes(_ count: UInt64) -> [NodeID] { (0..<count).map { _ in NodeID(1 + random.next() % 7) } }
        return Configuration(
            voters: nodes(1 + random.next() % 5), outgoing: nodes(random.next() % 4),
            learners: nodes(random.next() % 3),
            nextLearners: nodes(random.next() % 3))
    }

    @Test func theQuorumsValueIsTheGreatestThatAMajorityHasReached() {
        var random = SeededGenerator(seed: 1)
        for _ in 0..<500 {
            let configuration = randomConfiguration(&random)
            let values = (0...8).map { _ in random.next() % 5 }
            func sorted(_ nodes: [NodeID]) -> UInt64 {
                let reached = nodes.map { values[Int($0.rawValue)] }.sorted(by: >)
                return reached[nodes.count / 2]
            }
            var expected = sorted(configuration.voters)
            if configuration.isJoint { expected = min(expected, sorted(configuration.outgoing)) }
            #expect(configuration.quorumValue { values[Int($0.rawValue)] } == expected, "\(configuration) \(values)")
        }
    }

    @Test func anElectionIsWonByAllMajoritiesAndLostWithoutAnyOfThem() {
        var random = SeededGenerator(seed: 2)
        for _ in 0..<500 {
            let configuration = randomConfiguration(&random)
            let votes: [Bool?] = (0...8).map { _ in [nil, true, false][Int(random.next() % 3)] }
            func can(_ answer: Bool?) -> Bool { answer != false }
            func majority(_ nodes: [NodeID], _ counts: (Bool?) -> Bool) -> Bool {
                nodes.filter { counts(votes[Int($0.rawValue)]) }.count * 2 > nodes.count
            }
            func all(_ counts: (Bool?) -> Bool) -> Bool {
                majority(configuration.voters, counts)
                    && (!configuration.isJoint || majority(configuration.outgoing, counts))
            }
            let result = configuration.voteResult { votes[Int($0.rawValue)] }
            #expect((result == .won) == all { $0 == true })
            #expect((result == .lost) == !all(can))
        }
    }

    @Test func aConfigurationSurvivesItsBytesAndNothingElseIsOne() {
        var random = SeededGenerator(seed: 3)
        for _ in 0..<200 {
            let configuration = randomConfiguration(&random)
            let bytes = configuration.encoded()
            #expect(Configuration(decoding: bytes[...]) == configuration)
            for count in 0..<bytes.count { #expect(Configuration(decoding: bytes.prefix(count)) == nil) }
            #expect(Configuration(decoding: (bytes + [0])[...]) == nil)
            _ = Configuration(decoding: random.bytes(Int(random.next() % 40))[...])
        }
    }

    @Test func optionsThatMakeNoSenseAreNamed() throws {
        var options = RaftOptions()
        _ = try options.validated()
        options.heartbeatInterval = .seconds(1)
        #expect(throws: RaftOptions.InvalidOption.self) { try options.validated() }
    }
}
