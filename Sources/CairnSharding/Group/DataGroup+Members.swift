import CairnBSON
import CairnDatabase
import CairnRaft

extension DataGroup {
    /// Who takes part in the group.
    func members(_ consensus: any GroupConsensus) -> GroupReply {
        func list(_ nodes: [NodeID]) -> Value { .array(BSONArray(nodes.map { .int64(Int64($0.rawValue)) })) }
        let configuration = consensus.configuration(of: group)
        return GroupReply(body: [
            "nodes": list(configuration?.members ?? []), "voters": list(configuration?.voters ?? []),
        ])
    }
}
