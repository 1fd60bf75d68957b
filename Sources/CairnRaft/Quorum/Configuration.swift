/// Who takes part in a group, and as what.
///
/// A configuration with `outgoing` voters is *joint*: elections and commits need a majority of `voters` and one of
/// `outgoing` (Ongaro's thesis, section 4.3). It is entered and left by log entries and acts from the moment such an
/// entry is in a log, committed or not.
///
/// - Invariant: the arrays are sorted, without repetitions; `learners` shares nothing with `voters` or `outgoing`;
///   `nextLearners` are voters of `outgoing` that are learners once the joint configuration is left.
public struct Configuration: Hashable, Sendable, CustomStringConvertible {
    public let voters: [NodeID]
    /// The voters of the configuration being left; empty outside of a change.
    public let outgoing: [NodeID]
    /// Nodes that receive the log and count for nothing.
    public let learners: [NodeID]
    public let nextLearners: [NodeID]

    public init(
        voters: [NodeID], outgoing: [NodeID] = [], learners: [NodeID] = [], nextLearners: [NodeID] = []
    ) {
        self.voters = Set(voters).sorted()
        self.outgoing = Set(outgoing).sorted()
        self.learners = Set(learners).subtracting(voters).subtracting(outgoing).sorted()
        self.nextLearners = Set(nextLearners).subtracting(voters).intersection(outgoing).sorted()
    }

    public var isJoint: Bool { !outgoing.isEmpty }

    /// Whether `node` counts in elections and commits.
    public func isVoter(_ node: NodeID) -> Bool { voters.contains(node) || outgoing.contains(node) }

    /// Whether `node` receives the log.
    public func isMember(_ node: NodeID) -> Bool { isVoter(node) || learners.contains(node) }

    /// Every node that receives the log, sorted.
    public var members: [NodeID] {
        isJoint || !learners.isEmpty ? Set(voters).union(outgoing).union(learners).sorted() : voters
    }

    /// The configuration to enter first on the way to `target`: `target` itself when at most one voter differs, so
    /// that any two majorities meet anyway, else a joint one.
    func step(towards target: Configuration) -> Configuration {
        let difference = Set(voters).symmetricDifference(target.voters)
        if difference.count <= 1 { return target }
        return Configuration(
            voters: target.voters, outgoing: voters, learners: target.learners, nextLearners: target.learners)
    }

    /// The configuration after leaving this joint one.
    func leavingJoint() -> Configuration {
        Configuration(voters: voters, learners: learners + nextLearners)
    }

    public var description: String {
        func list(_ nodes: [NodeID]) -> String { nodes.map { "\($0.rawValue)" }.joined(separator: " ") }
        var text = "voters(\(list(voters)))"
        if isJoint { text += " outgoing(\(list(outgoing)))" }
        if !learners.isEmpty { text += " learners(\(list(learners)))" }
        if !nextLearners.isEmpty { text += " nextLearners(\(list(nextLearners)))" }
        return text
    }
}
