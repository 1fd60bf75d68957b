import CairnBSON
import CairnQuery

/// Collections in memory, for joins.
final class MemoryCollections: ForeignDocuments {
    let collections: [String: [Document]]
    var requests = 0
    init(_ collections: [String: [Document]]) { self.collections = collections }

    func documents(for request: ForeignRequest) async throws(QueryError) -> [Document] {
        requests += 1
        var context = QueryContext()
        for variable in request.variables { context.variables.append((variable.name.string, variable.value)) }
        let executor = try Pipeline(parsing: request.pipeline, context: context).makeExecutor()
        let source = ArraySource(collections[request.collection] ?? [])
        var results: [Document] = []
        while let next = try await executor.next(source: source, foreign: self) { results.append(next) }
        return results
    }
}

final class ArraySource: DocumentSource {
    private var left: [Document]?
    init(_ documents: [Document]) { left = documents }
    func nextBatch() async throws(QueryError) -> [Document]? {
        defer { left = nil }
        return left
    }
}

/// What stages give over documents, with other collections at hand.
func joined(
    _ stages: [String], _ documents: [String], _ foreign: MemoryCollections, context: QueryContext = QueryContext()
) async throws -> [Document] {
    let executor = try Pipeline(parsing: stages.map(json), context: context).makeExecutor()
    let source = ArraySource(documents.map(json))
    var results: [Document] = []
    while let next = try await executor.next(source: source, foreign: foreign) { results.append(next) }
    return results
}
