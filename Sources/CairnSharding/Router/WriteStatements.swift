import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication

/// One statement of an `update` or `delete` command.
struct WriteStatement {
    /// Its place in the command.
    var index: Int
    /// Its number in the session.
    var id: Int32
    /// As the groups take it: `{q, u, …}` or `{q, limit, …}`.
    var document: Document
    var filter: Document
    /// Whether it concerns all matching documents.
    var isMulti: Bool
    var isUpsert: Bool
    /// As the statement gives it.
    var collation: Document?

    /// The statement with another filter, as a group is to carry it out.
    func document(filter: Document, upsert: Bool) -> Document {
        var document = document
        document.set("q", .document(filter))
        if isUpsert != upsert { document.set("upsert", .bool(upsert)) }
        return document
    }
}

/// What a command's statements came to.
struct WriteOutcome {
    var matched: Int64 = 0
    var modified: Int64 = 0
    var upserted: [(index: Int, id: Value)] = []
    var errors: [(index: Int, error: Document)] = []
    /// What each statement matched and modified, by its place in the command; only when that is wanted.
    var each: [Int: (matched: Int64, modified: Int64)] = [:]
}

/// Carries the statements of one `update` or `delete` command through.
///
/// A statement about one `_id` goes to the group that owns it; neighbours with the same group go together, and in an
/// unordered command all such statements go out at once. One about all matching documents goes to every group. One about
/// *one* document that is not named by its `_id` needs two steps: every group is asked for a candidate, and the first is then
/// changed where it lives, by `_id` and the original filter together; when another client got there first, the search
/// begins again. A group carries a numbered statement out once, and before the search the groups are asked whether one of
/// them did already, and not to do it any more for an earlier try (``GroupRequest/attempt``), so that a repetition does not
/// change a second document.
final class StatementWriter {
    private let router: Router
    private let operation: GroupOperation
    private let namespace: Namespace
    private let stamp: SessionStamp
    private let isClients: Bool
    private let deadline: UInt64
    /// Values, no expressions: the groups take them as they are.
    private let variables: Document?
    private let options: WriteOptions
    private var descriptor: CollectionDescriptor?

    private(set) var outcome = WriteOutcome()

    init(
        router: Router, operation: GroupOperation, namespace: Namespace, stamp: SessionStamp, isClients: Bool,
        variables: Document?, options: WriteOptions, deadline: UInt64
    ) {
        self.router = router
        self.options = options
        self.operation = operation
        self.namespace = namespace
        self.stamp = stamp
        self.isClients = isClients
        self.variables = variables
        self.deadline = deadline
    }

    func run(_ statements: [WriteStatement], ordered: Bool) async throws(QueryError) {
        try router.refuseCatalogWrite(namespace)
        descriptor = try await router.collection(namespace, deadline: deadline)
        if descriptor == nil, statements.contains(where: \.isUpsert) {
            descriptor = try await router.collectionForWriting(namespace, deadline: deadline)
        }
        if descriptor == nil { return }
        if ordered {
            try await runInOrder(statements)
        } else {
            try await runAtOnce(statements)
        }
        outcome.errors.sort { $0.index < $1.index }
        outcome.upserted.sort { $0.index < $1.index }
    }

    private func runInOrder(_ statements: [WriteStatement]) async throws(QueryError) {
        var start = 0
        while start < statements.count, outcome.errors.isEmpty {
            guard let group = try group(of: statements[start]) else {
                try await runAlone(statements[start])
                start += 1
                continue
            }
            var end = start + 1
            while end < statements.count, try self.group(of: statements[end]) == group { end += 1 }
            try await send(Array(statements[start..<end]), ordered: true)
            start = end
        }
    }

    private func runAtOnce(_ statements: [WriteStatement]) async throws(QueryError) {
        var targeted: [WriteStatement] = []
        var others: [WriteStatement] = []
        for statement in statements {
            do throws(QueryError) {
                if try group(of: statement) != nil { targeted.append(statement) } else { others.append(statement) }
            } catch {
                outcome.errors.append((statement.index, Router.writeError(statement.index, error)))
            }
        }
        try await send(targeted, ordered: false)
        for statement in others { try await runAlone(statement) }
    }

    /// The one group that can carry the statement out by itself, if there is one.
    private func group(of statement: WriteStatement) throws(QueryError) -> UInt32? {
        guard let descriptor else { return nil }
        if descriptor.chunks.count == 1 { return descriptor.chunks[0].group }
        if let id = try Targeting.id(in: statement.filter, collation(of: statement, in: descriptor)) {
            return Targeting.group(of: id, in: descriptor)
        }
        return nil
    }

    private func collation(
        of statement: WriteStatement, in descriptor: CollectionDescriptor
    ) throws(QueryError) -> Collation? {
        try descriptor.collation(asGiven: statement.collation)
    }

    /// After a group refused the epoch.
    private func refresh(_ retries: inout StaleRetries, forUpsert: Bool) async throws(QueryError) {
        try await retries.next(router, deadline: deadline)
        descriptor =
            forUpsert
            ? try await router.collectionForWriting(namespace, fresh: true, deadline: deadline)
            : try await router.collection(namespace, fresh: true, deadline: deadline)
    }

    // MARK: statements with a group of their own

    private func send(_ statements: [WriteStatement], ordered: Bool) async throws(QueryError) {
        var pending = statements
        var retries = StaleRetries()
        while !pending.isEmpty, descriptor != nil {
            var perGroup: [UInt32: [WriteStatement]] = [:]
            for statement in pending {
                guard let group = try group(of: statement) else {
                    // The collection was placed anew meanwhile, and no one group has all of it any more.
                    try await runAlone(statement)
                    continue
                }
                perGroup[group, default: []].append(statement)
            }
            let parts = perGroup.sorted { $0.key < $1.key }
            let questions = parts.map { part in
                question(part.key, part.value.map(\.document), ids: part.value.map(\.id), ordered: ordered)
            }
            pending = []
            var failure: QueryError?
            let results = await router.ask(questions, deadline: deadline)
            for (part, result) in zip(parts, results) {
                do throws(CommandFailure) {
                    try note(try result.reply(), part.value)
                } catch {
                    switch error {
                    case .stale: pending.append(contentsOf: part.value)
                    case .error(let error): failure = failure ?? error
                    }
                }
            }
            if let failure { throw failure }
            if !pending.isEmpty {
                pending.sort { $0.index < $1.index }
                try await refresh(&retries, forUpsert: pending.contains(where: \.isUpsert))
            }
        }
    }

    private func question(
        _ group: UInt32, _ documents: [Document], ids: [Int32], _ attempt: UInt64? = nil, ordered: Bool
    ) -> Question {
        var body: Document = ordered ? Document() : ["ordered": false]
        if let variables { body.set("let", .document(variables)) }
        options.set(in: &body)
        let request = GroupRequest(
            operation, collection: descriptor!.id, epoch: descriptor!.epoch, session: stamp, statementIDs: ids,
            attempt: attempt, body: body, documents: documents)
        return Question(GroupID(group), request, descriptor)
    }

    /// Adds a group's answer to the outcome.
    private func note(_ reply: GroupReply, _ statements: [WriteStatement]) throws(CommandFailure) {
        outcome.matched += try reply.body.countField("n")
        if operation == .update { outcome.modified += try reply.body.countField("nModified") }
        if options.wantsEach {
            for (position, counts) in try reply.body.eachCounts() where position < statements.count {
                add(counts, of: statements[position])
            }
        }
        for (position, id) in try reply.body.upsertedIDs() where position < statements.count {
            outcome.upserted.append((statements[position].index, id))
        }
        for (position, error) in try reply.body.writeErrors() where position < statements.count {
            let index = statements[position].index
            outcome.errors.append((index, Router.writeError(error, at: index)))
        }
    }

    private func add(_ counts: (matched: Int64, modified: Int64), of statement: WriteStatement) {
        let former = outcome.each[statement.index] ?? (0, 0)
        outcome.each[statement.index] = (former.matched + counts.matched, former.modified + counts.modified)
    }

    // MARK: statements that concern several groups

    private func runAlone(_ statement: WriteStatement) async throws(QueryError) {
        do throws(QueryError) {
            try await statement.isMulti ? runEverywhere(statement) : runOnOne(statement)
        } catch {
            // The cluster's trouble is the command's; a mistake is the statement's.
            if Router.isRetryable(error) { throw error }
            outcome.errors.append((statement.index, Router.writeError(statement.index, error)))
        }
    }

    /// All matching documents, wherever they are.
    private func runEverywhere(_ statement: WriteStatement) async throws(QueryError) {
        var retries = StaleRetries()
        // Each group is asked until it has done its part under the newest epoch; one that has is not asked again.
        var done: Set<UInt32> = []
        var matched: Int64 = 0
        while let descriptor {
            let groups = try await router.groups(
                for: statement.filter, in: descriptor, collation(of: statement, in: descriptor), deadline: deadline
            ).filter { !done.contains($0) }
            let questions = groups.map { group in
                question(
                    group, [statement.document(filter: statement.filter, upsert: false)], ids: [statement.id],
                    ordered: true)
            }
            var isStale = false
            var failure: QueryError?
            for (group, result) in zip(groups, await router.ask(questions, deadline: deadline)) {
                do throws(CommandFailure) {
                    let reply = try result.reply()
                    matched += try reply.body.countField("n")
                    try note(reply, [statement])
                    done.insert(group)
                } catch {
                    switch error {
                    case .stale: isStale = true
                    case .error(let error): failure = failure ?? error
                    }
                }
            }
            if let failure { throw failure }
            if !isStale { break }
            try await refresh(&retries, forUpsert: statement.isUpsert)
        }
        guard matched == 0, statement.isUpsert, outcome.errors.isEmpty else { return }
        do throws(CommandFailure) { try await upsert(statement) } catch { throw error.queryError }
    }

    /// One matching document, which must be found first.
    private func runOnOne(_ statement: WriteStatement) async throws(QueryError) {
        var retries = StaleRetries()
        var races = 0
        var attempt: UInt64?
        while let descriptor {
            let collation = try collation(of: statement, in: descriptor)
            let groups = try await router.groups(
                for: statement.filter, in: descriptor, collation, deadline: deadline)
            do throws(CommandFailure) {
                if isClients, attempt == nil {
                    attempt = router.random()
                    if try await noteFormerTry(of: statement, attempt, groups: descriptor.groups) { return }
                }
                guard let (group, id) = try await candidate(for: statement, groups: groups) else {
                    if statement.isUpsert { try await upsert(statement, attempt) }
                    return
                }
                var narrowed = statement.document(filter: statement.filter.and(id: id), upsert: false)
                if collation != nil {
                    // A filter for the `_id` could mean others that are equal to it.
                    narrowed = statement.document(filter: statement.filter, upsert: false)
                    narrowed.set(Router.recordField, id)
                }
                let reply = try await router.ask(
                    question(group, [narrowed], ids: [statement.id], attempt, ordered: true), deadline: deadline
                ).reply()
                let matched = try reply.body.countField("n")
                let refused = try reply.body.writeErrors()
                if matched > 0 || !refused.isEmpty {
                    return try note(reply, [statement])
                }
                races += 1
                guard races < Router.racesMax, router.clock.nanoseconds < deadline else {
                    throw .error(QueryError(.writeConflict, "other writes were faster \(races) times"))
                }
            } catch {
                guard case .stale = error else { throw error.queryError }
                attempt = nil
                try await refresh(&retries, forUpsert: statement.isUpsert)
            }
        }
    }

    private func noteFormerTry(of statement: WriteStatement, _ attempt: UInt64?, groups: [UInt32])
        async throws(CommandFailure) -> Bool
    {
        do throws(QueryError) {
            let executed = try await router.executed(
                stamp, statementIDs: [statement.id], attempt: attempt, groups: groups, deadline: deadline)
            guard let result = executed[statement.id] else { return false }
            let counts = (matched: try result.integer("n") ?? 0, modified: try result.integer("nModified") ?? 0)
            outcome.matched += counts.matched
            outcome.modified += counts.modified
            if options.wantsEach { add(counts, of: statement) }
            if let id = result["upserted"] { outcome.upserted.append((statement.index, id)) }
            return true
        } catch {
            throw .error(error)
        }
    }

    /// A document that matches: from the first group that has one, or the first in the statement's order.
    private func candidate(
        for statement: WriteStatement, groups: [UInt32]
    ) async throws(CommandFailure) -> (group: UInt32, id: Value)? {
        var body: Document = [
            "filter": .document(statement.filter), "limit": 1, "batchSize": 1, "singleBatch": true,
        ]
        let order = try sortSpecification(of: statement)
        if let sort = statement.document["sort"] { body.set("sort", sort) } else { body.set("projection", ["_id": 1]) }
        if let hint = statement.document["hint"] { body.set("hint", hint) }
        if let collation = statement.collation { body.set("collation", .document(collation)) }
        if let variables { body.set("let", .document(variables)) }
        let questions = groups.map { group in
            Question(
                GroupID(group),
                GroupRequest(.find, collection: descriptor!.id, epoch: descriptor!.epoch, body: body), descriptor)
        }
        let replies = try await router.ask(questions, deadline: deadline).replies()
        var best: (group: UInt32, document: Document)?
        for (group, reply) in zip(groups, replies) {
            guard let document = reply.documents.first else { continue }
            if let former = best {
                guard let order, try order.isBefore(document, former.document) else { continue }
            }
            best = (group, document)
        }
        return best.flatMap { best in best.document["_id"].map { (best.group, $0) } }
    }

    private func sortSpecification(of statement: WriteStatement) throws(CommandFailure) -> SortSpecification? {
        do throws(QueryError) {
            guard let sort = try statement.document.nested("sort"), !sort.isEmpty else { return nil }
            return try SortSpecification(parsing: sort, collation: try collation(of: statement, in: descriptor!))
        } catch {
            throw .error(error)
        }
    }

    /// Nothing matched: the new document goes to the group of its `_id`.
    private func upsert(_ statement: WriteStatement, _ attempt: UInt64? = nil) async throws(CommandFailure) {
        do throws(QueryError) {
            let id = try router.upsertID(
                filter: statement.filter, update: statement.document["u"], variables: variables)
            var retries = StaleRetries()
            while let descriptor {
                let group = Targeting.group(of: id, in: descriptor)
                var document = statement.document(filter: statement.filter.and(id: id), upsert: true)
                if statement.isMulti { document.set("multi", .bool(false)) }
                let result = await router.ask(
                    question(group, [document], ids: [statement.id], attempt, ordered: true), deadline: deadline)
                do throws(CommandFailure) { return try note(try result.reply(), [statement]) } catch {
                    guard case .stale = error else { throw error.queryError }
                    // Whoever has claimed the write begins again with the claim.
                    if attempt != nil { break }
                    try await refresh(&retries, forUpsert: true)
                }
            }
        } catch {
            throw .error(error)
        }
        if attempt != nil { throw .stale }
    }
}

extension Router {
    /// How often a search for a document to change starts again because another client changed what it found.
    static let racesMax = 100

    /// Names the one document that a statement is about, exactly, beside a filter under a collation.
    static let recordField = "$recordID"

    /// The `_id` that the document of an upsert will have: what filter or update say, or a new one.
    func upsertID(filter: Document, update: Value?, variables: Document?) throws(QueryError) -> Value {
        var context = QueryContext()
        for variable in variables ?? Document() { context.variables.append((variable.name.string, variable.value)) }
        if let id = try Filter(parsing: filter, context: context).idEquality { return id }
        if case .document(let update)? = update {
            if let id = update["_id"] { return id }
            for name in ["$set", "$setOnInsert"] {
                if case .document(let fields)? = update[name], let id = fields["_id"] { return id }
            }
        }
        return .objectID(makeObjectID())
    }
}
