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
    let context: QueryContext
    let options: GroupDatabaseOptions
    /// Whether the write took more steps than it may while others wait, so that it is to be tried first.
    let isTrial: Bool

    /// - Returns: why the write must not be evaluated, if there is a reason.
    func run(isOverdue: (@Sendable () -> Bool)? = nil) -> QueryError? {
        let meter = WorkMeter(steps: isTrial ? options.writeStepsMax : .max, isOverdue: isOverdue)
        meter.run { read() }
        return meter.error
    }

    private func read() {
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
                if isTrial {
                    try carryOut(statement, in: collection, limit)
                } else if request.operation == .insert {
                    try readForInsertion(of: statement, into: collection)
                } else {
                    try readMatches(of: statement, in: collection, limit)
                }
            } catch  where ReadLimit.isReached(error) {
                return
            } catch  where WorkMeter.current?.isSpent == true {
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

    /// Does everything that the statement does, except to write: what it costs is known then.
    private func carryOut(_ statement: Document, in collection: CollectionState, _ limit: ReadLimit) throws {
        if request.operation == .insert {
            try collection.validation?.check(statement, replacing: nil)
            return
        }
        var context = context
        let changeName = request.operation == .update ? "u" : "update"
        let change =
            statement[changeName] == nil
            ? nil : try UpdateStatement(statement, updateName: changeName, in: collection, context: context)
        let arguments = try FindArguments(statement.removing("limit"))
        context.collation = arguments.collation(in: collection)
        let filter = try change?.filter ?? Filter(parsing: arguments.filter, context: context)
        let isOne =
            request.operation == .findAndModify || !(change?.isMulti ?? (statement["limit"]?.int64Exactly != 1))
        let plan: Plan
        if let record = arguments.record {
            plan = Plan(access: .records([KeySpace.recordKey(collection.id, id: record)]), providesSort: true)
        } else {
            let sort = try arguments.sort.map { try SortSpecification(parsing: $0, collation: context.collation) }
            plan = try Planner(collection: collection, readVersion: nil, collation: context.collation)
                .plan(filter, sort: sort, hint: arguments.hint)
        }
        let source = RecordSource(
            view: ReadView(engine: engine, version: nil, limit: limit), collection: collection, access: plan.access)
        while try source.next() {
            guard try filter.isAlwaysTrue || filter.matches(source.document) else { continue }
            if let change {
                var index: Int?
                if let path = change.update.positionalPath {
                    index = try filter.matchedArrayIndex(in: source.document, arrayPath: path)
                }
                let outcome = try change.update.apply(to: source.document, matchedIndex: index)
                try collection.validation?.check(outcome.document, replacing: source.document)
            }
            if isOne, plan.providesSort { return }
        }
    }
}
