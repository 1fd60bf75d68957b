import CairnBSON
import CairnQuery
import CairnStorage

/// One element of an update command, parsed.
struct UpdateStatement {
    let find: FindArguments
    let filter: Filter
    let update: Update
    let isMulti: Bool
    let isUpsert: Bool
    /// The document to insert where nothing matches, whatever the update would make (`upsertSupplied`, of `$merge`).
    let supplied: Update?
    /// How it compares strings; nil for by their bytes.
    let collation: Collation?
    /// Which of several documents that match is meant: the first in this order.
    let sort: SortSpecification?

    init(
        _ document: Document, updateName: String = "u", in collection: CollectionState, context: QueryContext
    ) throws {
        find = try FindArguments(document)
        var context = context
        collation = find.collation(in: collection)
        context.collation = collation
        if let constants = document["c"]?.asDocument {
            context.variables += constants.map { ($0.name.string, $0.value) }
        }
        filter = find.filter.isEmpty ? .all : try Filter(parsing: find.filter, context: context)
        guard let change = document[updateName] else {
            throw QueryError(
                .missingRequiredField, "BSON field 'update.updates.\(updateName)' is missing but a required field")
        }
        var arrayFilters: [Document] = []
        for value in document["arrayFilters"]?.asArray ?? [] {
            guard let filter = value.asDocument else { throw QueryError(.typeMismatch, "arrayFilters are objects") }
            arrayFilters.append(filter)
        }
        update = try Update(parsing: change, arrayFilters: arrayFilters, context: context)
        isMulti = document["multi"]?.isTruthy ?? false
        isUpsert = document["upsert"]?.isTruthy ?? false
        if document["upsertSupplied"]?.isTruthy ?? false {
            guard case .document(let new)? = document["c"]?.asDocument?["new"] else {
                throw QueryError(.failedToParse, "an update with 'upsertSupplied' needs a document 'new' among its 'c'")
            }
            supplied = try Update(parsing: .document(new), context: context)
        } else {
            supplied = nil
        }
        sort = try find.sort.map { [collation] in try SortSpecification(parsing: $0, collation: collation) }
        if isMulti, sort != nil {
            throw QueryError(.failedToParse, "Cannot specify sort with multi=true")
        }
        if isMulti, update.kind == .replacement {
            throw QueryError(.failedToParse, "multi update is not supported for replacement-style update")
        }
    }
}

extension Evaluator {
    /// - Parameter command: whose `let` has the values of variables, if it has any.
    func queryContext(_ context: EvaluationContext, of command: Document) -> QueryContext {
        QueryContext(
            nowMilliseconds: Int64(clamping: context.nowMilliseconds),
            variables: command["let"]?.asDocument?.map { ($0.name.string, $0.value) } ?? [],
            randomSeed: clock.last.rawValue)
    }

    func update(
        _ request: GroupRequest, _ collection: CollectionState, _ context: EvaluationContext
    ) throws -> GroupReply {
        var run = try beginStatements(request, context)
        try lookAhead(request.documents, in: collection)
        let queryContext = queryContext(context, of: request.body)
        for (index, document) in request.documents.enumerated() {
            if run.isStopped { break }
            if let earlier = run.earlierResult(index) {
                run.count(index, earlier)
                if let id = earlier.upserted { run.addUpserted(index, id) }
                continue
            }
            try statement(index, of: &run, context) { run throws in
                let statement = try UpdateStatement(document, in: collection, context: queryContext)
                var result = StatementResult(n: 0)
                if statement.isMulti {
                    for key in try matchingKeys(
                        statement.filter, statement.find.hint, collection, statement.collation)
                    {
                        guard let bytes = try view.get(key[...]) else { continue }
                        let old = Document(trusted: bytes)
                        result.n += 1
                        if try replace(old, statement, record: key, in: collection).isModified { result.nModified += 1 }
                        if isBatchFull { closeBatch(nowMilliseconds: context.nowMilliseconds) }
                    }
                } else if let found = try firstMatch(
                    statement.filter, statement.sort, statement.find.hint, collection, statement.collation,
                    record: statement.find.record)
                {
                    result.n = 1
                    let outcome = try replace(found.document, statement, record: found.key, in: collection)
                    result.nModified = outcome.isModified ? 1 : 0
                }
                if result.n == 0, statement.isUpsert {
                    let inserted = try upsert(statement, into: collection, context)
                    result = StatementResult(n: 1, nModified: 0, upserted: inserted["_id"])
                    run.addUpserted(index, inserted["_id"] ?? .null)
                }
                run.count(index, result)
                run.executed(index, result)
            }
        }
        run.flush(into: self)
        return run.reply(counts: true)
    }

    /// Changes one document as the statement says; nothing is written when nothing changes.
    ///
    /// - Parameter willWrite: told of the result before anything is written; may throw to prevent it.
    func replace(
        _ old: Document, _ statement: UpdateStatement, record: [UInt8], in collection: CollectionState,
        willWrite: (Document) throws -> Void = { _ in }
    ) throws -> Update.Outcome {
        var index: Int?
        if let path = statement.update.positionalPath {
            index = try statement.filter.matchedArrayIndex(in: old, arrayPath: path)
        }
        let outcome = try statement.update.apply(to: old, matchedIndex: index)
        guard outcome.isModified else {
            try willWrite(outcome.document)
            return outcome
        }
        try validation(of: collection)?.check(outcome.document, replacing: old)
        let place = try place(of: record, in: collection)
        if collection.indexes.isEmpty {
            try willWrite(outcome.document)
            put(record, outcome.document.bytes)
        } else {
            let changes = try indexChanges(
                collection, record: record, old: old, new: outcome.document,
                touched: statement.update.touchedPaths)
            try willWrite(outcome.document)
            try write(collection, record: record, document: outcome.document, changes)
        }
        if let place { resize(old, to: outcome.document, record: record, at: place, of: collection) }
        return outcome
    }

    /// Inserts the document that an update without a match asks for.
    func upsert(
        _ statement: UpdateStatement, into collection: CollectionState, _ context: EvaluationContext
    ) throws -> Document {
        let seconds = UInt32(truncatingIfNeeded: context.nowMilliseconds / 1_000)
        let document = try (statement.supplied ?? statement.update).upsertDocument(
            filter: statement.supplied == nil ? statement.filter : .all,
            newID: .objectID(objectIDs.next(seconds: seconds)))
        guard let key = try recordKeyForInsertion(of: document, into: collection) else { throw Self.badID(document) }
        try insert(document, record: key, into: collection)
        return document
    }

    // MARK: - Finding what a write is about

    /// The first document of the tip that matches, in the given order.
    func firstMatch(
        _ filter: Filter, _ sort: SortSpecification?, _ hint: Value?, _ collection: CollectionState,
        _ collation: Collation?, record: Value? = nil
    ) throws -> (key: [UInt8], document: Document)? {
        let view = view
        let plan: Plan
        if let record {
            plan = Plan(access: .records([KeySpace.recordKey(collection.id, id: record)]), providesSort: true)
        } else {
            plan = try Planner(collection: collection, readVersion: nil, collation: collation)
                .plan(filter, sort: sort, hint: hint)
        }
        let source = RecordSource(view: view, collection: collection, access: plan.access)
        var best: (sortKey: [UInt8], key: [UInt8], document: Document)?
        while try source.next() {
            guard try filter.isAlwaysTrue || filter.matches(source.document) else { continue }
            guard let sort, !sort.isEmpty, !plan.providesSort else { return (source.key, source.document) }
            let key = try sort.sortKey(of: source.document)
            if let best, ByteOrder.compare(best.sortKey, key[...]) <= 0 { continue }
            best = (key, source.key, source.document)
        }
        return best.map { ($0.key, $0.document) }
    }

    /// The record keys of all documents of the tip that match, before any of them is changed.
    func matchingKeys(
        _ filter: Filter, _ hint: Value?, _ collection: CollectionState, _ collation: Collation?
    ) throws -> [[UInt8]] {
        let plan = try Planner(collection: collection, readVersion: nil, collation: collation)
            .plan(filter, sort: nil, hint: hint)
        let source = RecordSource(view: view, collection: collection, access: plan.access)
        var keys: [[UInt8]] = []
        while try source.next() {
            if try filter.isAlwaysTrue || filter.matches(source.document) { keys.append(source.key) }
        }
        return keys
    }
}
