import CairnFiles
import CairnRaft

/// What a replica that left its group had promised, for the day on which the node gets another replica of that group.
///
/// Log and hard state go with a replica, but others may count on them still: a node that does not know yet that the members have
/// changed may ask for a vote under the old configuration. A replica that came back empty would give it, although its former
/// self had acknowledged what the asker lacks, or had voted for another in that term; and two leaders might serve at once.
/// So the new replica votes as its former self would.
///
/// Two lines of text in `groups/GROUP.left`: `term T vote N` (0 for none) and `last T/I`.
struct FormerReplica: Hashable {
    static let suffix = ".left"

    var term: Term
    var vote: NodeID?
    /// The end of its log.
    var last: LogPosition

    init(term: Term, vote: NodeID?, last: LogPosition) {
        self.term = term
        self.vote = vote
        self.last = last
    }

    static func path(of group: GroupID, in directory: String) -> String { "\(directory)/\(group.rawValue)\(suffix)" }

    /// Durable on return.
    func write(_ group: GroupID, in directory: String, _ fileSystem: any FileSystem) throws(FileError) {
        try fileSystem.replace(Self.path(of: group, in: directory), with: Array(text.utf8))
    }

    /// Nil when no replica of the group has left this node.
    static func read(
        _ group: GroupID, in directory: String, _ fileSystem: any FileSystem
    ) throws(ReplicationError) -> FormerReplica? {
        let path = path(of: group, in: directory)
        let bytes: [UInt8]
        do throws(FileError) {
            guard try fileSystem.exists(path) else { return nil }
            bytes = try fileSystem.contents(of: path, limit: 1 << 10)
        } catch {
            throw ReplicationError(.damaged, group: group, "\(error)")
        }
        guard let found = FormerReplica(text: String(decoding: bytes, as: UTF8.self)) else {
            throw ReplicationError(
                .damaged, group: group,
                "\(path) cannot be read, and tells for whom this node may vote: drain the node, and add it anew")
        }
        return found
    }

    var text: String {
        "term \(term.rawValue) vote \(vote?.rawValue ?? 0)\nlast \(last.term.rawValue)/\(last.index.rawValue)\n"
    }

    init?(text: String) {
        let words = text.split { " /\n".contains($0) }
        guard words.count == 7, words[0] == "term", words[2] == "vote", words[4] == "last", text.hasSuffix("\n"),
            let term = UInt64(words[1]), let vote = UInt64(words[3]), let lastTerm = UInt64(words[5]),
            let lastIndex = UInt64(words[6])
        else { return nil }
        self.init(
            term: Term(term), vote: vote == 0 ? nil : NodeID(vote),
            last: LogPosition(term: Term(lastTerm), index: LogIndex(lastIndex)))
    }
}
