/// What an election has come to.
enum VoteResult { case pending, won, lost }

extension Configuration {
    /// The greatest value that a quorum has reached: that of a majority of the voters, and in a joint configuration of
    /// both majorities. Used for match indexes, heartbeat rounds and times alike.
    ///
    /// Quadratic in the number of voters, which is small, and without any allocation.
    func quorumValue(_ value: (NodeID) -> UInt64) -> UInt64 {
        let incoming = Self.majorityValue(of: voters, value)
        return outgoing.isEmpty ? incoming : min(incoming, Self.majorityValue(of: outgoing, value))
    }

    private static func majorityValue(of nodes: [NodeID], _ value: (NodeID) -> UInt64) -> UInt64 {
        let needed = nodes.count / 2 + 1
        var best: UInt64 = 0
        for node in nodes {
            let candidate = value(node)
            if candidate <= best { continue }
            var reached = 0
            for other in nodes where value(other) >= candidate { reached += 1 }
            if reached >= needed { best = candidate }
        }
        return best
    }

    /// The state of an election in which `vote` tells each node's answer, nil while there is none.
    func voteResult(_ vote: (NodeID) -> Bool?) -> VoteResult {
        let incoming = Self.majorityVote(of: voters, vote)
        guard isJoint else { return incoming }
        switch (incoming, Self.majorityVote(of: outgoing, vote)) {
        case (.lost, _), (_, .lost): return .lost
        case (.won, .won): return .won
        default: return .pending
        }
    }

    private static func majorityVote(of nodes: [NodeID], _ vote: (NodeID) -> Bool?) -> VoteResult {
        var granted = 0
        var refused = 0
        for node in nodes {
            switch vote(node) {
            case true?: granted += 1
            case false?: refused += 1
            case nil: break
            }
        }
        let needed = nodes.count / 2 + 1
        if granted >= needed { return .won }
        return nodes.count - refused < needed ? .lost : .pending
    }
}
