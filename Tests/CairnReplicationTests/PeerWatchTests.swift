import Testing

@testable import CairnReplication

/// What a host makes of another node's signs of life.
@Suite struct PeerWatchTests {
    private static let timeout: UInt64 = 100

    @Test func aPeerIsSilentAfterATimeoutWithoutSigns() {
        var watch = PeerWatch(since: 1_000)
        #expect(!watch.isSilent(at: 1_099, timeout: Self.timeout))
        #expect(watch.isSilent(at: 1_100, timeout: Self.timeout))
        _ = watch.take(NodeSign(host: 1, resignations: 0), at: 1_150)
        #expect(!watch.isSilent(at: 1_200, timeout: Self.timeout))
        #expect(watch.isSilent(at: 1_250, timeout: Self.timeout))
    }

    @Test func aNewHostOrAResignationIsNewsAndTheSameSignIsNot() {
        var watch = PeerWatch(since: 0)
        let signs: [(host: UInt64, resignations: UInt64)] = [(1, 0), (1, 0), (1, 1), (1, 1), (2, 0), (2, 0)]
        let news = signs.map { watch.take(NodeSign(host: $0.host, resignations: $0.resignations), at: 1) }
        // The last host is a process that has started anew.
        #expect(news == [true, false, true, false, true, false])
    }

    @Test func hostsOfSeveralLoopsTakeTurnsWithoutBeingNews() {
        var watch = PeerWatch(since: 0)
        for round in 1...5 as ClosedRange<UInt64> {
            let news = (1...64 as ClosedRange<UInt64>).map {
                watch.take(NodeSign(host: $0, resignations: 0), at: round)
            }
            #expect(news.allSatisfy { $0 == (round == 1) })
        }
    }

    @Test func aHostThatIsStoppedForAWhileTakesNobodyForDead() throws {
        let cluster = try SimulatedCluster(seed: 1, groups: 2)
        #expect(try cluster.run(limit: 3_000) { cluster.hasAllLeaders && cluster.isQuiet })
        let host = try #require(cluster.nodes[0].host)
        // Signs may be waiting in its sockets: of the time that it stood still only a part counts.
        host.tick(now: cluster.nodes[0].clock + 5_000 * SimulatedCluster.millisecond)
        #expect(host.absentPeers.isEmpty)
    }
}
