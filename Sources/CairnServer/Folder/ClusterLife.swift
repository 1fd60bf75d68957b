public import CairnBSON

/// Which life of a cluster a node belongs to.
///
/// A cluster begins its first life by itself. When most of its nodes are lost for good, `cairn recover` begins another one on
/// a survivor. Nodes of different lives have nothing to say to each other: what the earlier one acknowledged and the
/// survivor did not have is given up, and must not come back half.
public struct ClusterLife: Hashable, Sendable {
    /// How often the cluster was recovered before.
    var number: Int
    /// Drawn when the life began, so that lives that were begun on two survivors are not taken for one.
    var mark: UInt64

    /// The life that a cluster begins with.
    public static let first = ClusterLife(number: 0, mark: 0)

    /// The life after this one.
    func next(mark: UInt64) -> ClusterLife { ClusterLife(number: number + 1, mark: mark) }

    private init(number: Int, mark: UInt64) {
        self.number = number
        self.mark = mark
    }

    /// `{number, mark}`, as ``document`` made it.
    public init?(document: Document) {
        guard let number = document["number"]?.intExactly, let mark = document["mark"]?.int64Exactly, number >= 0 else {
            return nil
        }
        self.init(number: number, mark: UInt64(bitPattern: mark))
    }

    public var document: Document { ["number": .int64(Int64(number)), "mark": .int64(Int64(bitPattern: mark))] }
}

/// A cluster and its life, as one name by which peers know each other: the cluster's own name in its first life, and
/// `NAME#NUMBER-MARK` in later ones.
struct LinkName: Hashable, Sendable {
    var cluster: String
    var life: ClusterLife

    init(cluster: String, life: ClusterLife) {
        self.cluster = cluster
        self.life = life
    }

    /// Reads what ``text`` wrote; any other text is a cluster in its first life.
    init(parsing text: String) {
        self.init(cluster: text, life: .first)
        guard let separator = text.lastIndex(of: "#") else { return }
        let parts = text[text.index(after: separator)...].split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let number = Int64(parts[0]), number > 0, let mark = UInt64(parts[1], radix: 16),
            let life = ClusterLife(
                document: ["number": .int64(number), "mark": .int64(Int64(bitPattern: mark))])
        else { return }
        cluster = String(text[..<separator])
        self.life = life
    }

    var text: String {
        life == .first ? cluster : "\(cluster)#\(life.number)-\(String(life.mark, radix: 16))"
    }

    /// The name as the number that every frame of Raft messages carries; never 0.
    var number: UInt64 { max(XXH64.hash(Array(text.utf8)), 1) }

    /// Why a caller of that name is turned away; nil when it belongs here.
    func refusal(of caller: LinkName) -> LinkRefusal? {
        guard caller.cluster == cluster else {
            return LinkRefusal(reason: "it belongs to cluster '\(caller.cluster)', not to '\(cluster)'")
        }
        guard caller.life != life else { return nil }
        if caller.life.number < life.number {
            return LinkRefusal(
                reason:
                    "the cluster '\(cluster)' was recovered without it, and what it has was given up: delete its data "
                    + "folder, and let it join as a new node (cairn node add)",
                callerMustEnd: true)
        }
        if caller.life.number > life.number {
            return LinkRefusal(
                reason: "it belongs to a later life of the cluster '\(cluster)', which was recovered without this node")
        }
        return LinkRefusal(
            reason:
                "the cluster '\(cluster)' was recovered on two nodes apart: keep one, delete the other's data folder, "
                + "and let it join as a new node (cairn node add)")
    }
}
