import CairnBSON
import CairnQuery
import CairnStorage

extension GroupDatabase {
    func aggregateSource(_ command: Document) throws -> (arguments: FindArguments, rest: [Document]) {
        var stages: [Document] = []
        for value in command["pipeline"]?.asArray ?? [] { stages.append(value.asDocument ?? Document()) }
        return (FindArguments.everything, stages)
    }
    func aggregate(
        _ request: GroupRequest, _ collection: CollectionState, _ view: ReadView, _ context: EvaluationContext
    ) throws -> GroupReply {
        throw QueryError(.notImplemented, "x")
    }
}
