import CairnBSON
import CairnQuery
import CairnStorage

/// Reads what a write is going to look at, so that the evaluation finds it in memory.
///
/// It looks at applied state only and changes nothing: what it misses, because it is in the tip or because it failed, costs
/// the evaluation a read where it stands, and nothing else.
struct WritePreparation: Sendable {
    let engine: Engine
    let collection: CollectionState?
    let request: GroupRequest
    let options: GroupDatabaseOptions

    func run() {
        if let session = request.session { _ = try? engine.get(SessionID(session).key.bytes) }
        guard let collection else { return }
        if request.operation == .expireDocuments {
            // What cannot be read now is read in the evaluation.
            _ = try? Expiry(request, in: collection)?.records(
                ReadView(engine: engine, version: nil), bytesMax: options.proposalBytesMax)
            return
        }
        let statements = request.operation == .findAndModify ? [request.body] : request.documents
        // A write that reads everything needs its blocks one after the other, and would only push out others.
        var limit = ReadLimit(mayUseDisk: true, documents: Self.documentsMax)
        for statement in statements {
            // What one statement cannot read another may.
            do {
                if request.operation == .insert {
                    try readForInsertion(of: statement, into: collection)
                } else {
                    try readMatches(of: statement, in: collection, limit)
                }
            } catch  where ReadLimit.isReached(error) {
                return
            } catch {
                limit = ReadLimit(mayUseDisk: true, documents: Self.documentsMax)
            }
        }
    }

    private static let documentsMax = 100_000

    private func readForInsertion(of document: Document, into collection: CollectionState) throws {
        guard let first = document.first, first.isNamed("_id"), Evaluator.canBeID(first.value) else { return }
        let record = KeySpace.recordKey(collection.id, id: first.value)
        _ = try engine.get(record)
        let view = ReadView(engine: engine, version: nil)
        for index in collection.indexes where index.descriptor.isUnique {
            let entries = try index.entries(of: document, record: record, bytesMax: options.indexEntryBytesMax)
            for entry in entries.keys {
                _ = try view.isEmpty(prefix: Array(index.uniquePart(of: entry, record: record)))
            }
        }
    }

    private func readMatches(of statement: Document, in collection: CollectionState, _ limit: ReadLimit) throws {
        let arguments = try FindArguments(statement.removing("limit"))
        let isOne = statement["limit"].map { $0.int64Exactly == 1 } ?? !(statement["multi"]?.isTruthy ?? false)
        if let record = arguments.record {
            _ = try engine.get(KeySpace.recordKey(collection.id, id: record))
            return
        }
        var context = QueryContext()
        context.collation = arguments.collation(in: collection)
        let filter = arguments.filter.isEmpty ? .all : try Filter(parsing: arguments.filter, context: context)
        let sort = try arguments.sort.map { try SortSpecification(parsing: $0, collation: context.collation) }
        let view = ReadView(engine: engine, version: nil, limit: limit)
        let plan = try Planner(collection: collection, readVersion: nil, collation: context.collation)
            .plan(filter, sort: sort, hint: arguments.hint)
        let source = RecordSource(view: view, collection: collection, access: plan.access)
        while try source.next() {
            if isOne, plan.providesSort, try filter.isAlwaysTrue || filter.matches(source.document) { return }
        }
    }
}
