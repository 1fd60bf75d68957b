import CairnBSON
import CairnQuery
import CairnStorage

/// A source of documents that are asked for one by one.
protocol DocumentStream: AnyObject {
    /// The next document, or nil at the end.
    func next() throws -> Document?

    /// Goes on without the ``ReadLimit`` under which it began.
    func liftLimit()
}

/// What a `find` asks for, read from the request's body in one pass.
struct FindArguments {
    var filter = Document()
    var projection: Document?
    var sort: Document?
    var skip = 0
    var limit = 0
    var batchSize: Int?
    var singleBatch = false
    var hint: Value?
    var variables: Document?
    /// The `_id` of the one document that is meant, exactly, whatever the filter's collation holds for equal.
    var record: Value?
    /// What of the hinted index is to be looked at.
    var window = KeyWindow()
    /// Whether the key that led to a document is wanted instead of it, or beside it.
    var returnsKey = false
    var keepsDocuments = false
    var showsRecordID = false
    private var collation: Collation?
    private var hasCollation = false

    /// How the command compares strings: as it says, else as the collection does.
    func collation(in collection: CollectionState) -> Collation? { hasCollation ? collation : collection.collation }

    /// - Throws: ``QueryError`` for values of the wrong type or sign.
    init(_ body: Document) throws {
        for element in body {
            let value = element.value
            switch element.name {
            case "filter", "query", "q": filter = try Self.document(value, element.name)
            case "projection", "fields": projection = try Self.document(value, element.name)
            case "sort": sort = try Self.document(value, element.name)
            case "skip": skip = try Self.count(value, element.name)
            case "limit": limit = try Self.count(value, element.name)
            case "batchSize": batchSize = try Self.count(value, element.name)
            case "singleBatch": singleBatch = value.isTruthy
            case "hint": if !value.isEmptyHint { hint = value }
            case "collation":
                guard let document = value.asDocument else { continue }
                collation = try Collation.parse(document)
                hasCollation = true
            case "$recordID": record = value
            case "min": window.minimum = try Self.document(value, element.name)
            case "max": window.maximum = try Self.document(value, element.name)
            case "returnKey": returnsKey = value.isTruthy
            case "showRecordId": showsRecordID = value.isTruthy
            case "keepDocuments": keepsDocuments = value.isTruthy
            case "let": variables = try Self.document(value, element.name)
            default: break
            }
        }
    }

    private static func document(_ value: Value, _ name: BSONString) throws -> Document {
        switch value {
        case .document(let document): return document
        case .null, .undefined: return Document()
        default:
            throw QueryError(
                .typeMismatch, "BSON field '\(name)' is the wrong type '\(value.type.alias)', expected type 'object'")
        }
    }

    static func count(_ value: Value, _ name: BSONString) throws -> Int {
        if value.isNullish { return 0 }
        guard let number = value.numericDouble else {
            throw QueryError(
                .typeMismatch,
                "BSON field '\(name)' is the wrong type '\(value.type.alias)', expected types '[long, int, decimal, "
                    + "double']")
        }
        guard number >= 0 else {
            throw QueryError(ErrorCode(51024), "BSON field '\(name)' value must be >= 0, actual value '\(value)'")
        }
        return value.intExactly ?? (number >= Double(Int.max) ? Int.max : Int(number))
    }
}

extension Value {
    /// Drivers send `{}` or "" for no hint.
    fileprivate var isEmptyHint: Bool {
        switch self {
        case .document(let document): document.isEmpty
        case .string(let string): string.isEmpty
        case .null, .undefined: true
        default: false
        }
    }
}

/// The documents that match a filter, sorted, skipped, limited and projected.
final class QueryStream: DocumentStream {
    let source: RecordSource
    let plan: Plan
    let filter: Filter
    /// Whether no document that the source brings has to be asked whether it matches.
    private let matchesAnyway: Bool
    private let sort: SortSpecification?
    private let projection: Projection?
    private var skip: Int
    /// How many documents may still be given out; nil for all.
    private var remaining: Int?
    private let sortBytesMax: Int
    private let spill: (any SpillStore)?
    private let memory: MemoryAccount?
    private var sorter: DocumentSorter?
    private(set) var returned = 0
    private let returnsKey: Bool
    private let keepsDocuments: Bool
    private let showsRecordID: Bool

    init(
        view: ReadView, collection: CollectionState, arguments: FindArguments, context: QueryContext,
        options: GroupDatabaseOptions
    ) throws {
        var context = context
        context.collation = arguments.collation(in: collection)
        let hasWindow = arguments.window.minimum != nil || arguments.window.maximum != nil
        var given = arguments.filter
        if hasWindow, Planner.meansID(arguments.hint) { given = try arguments.window.narrowing(given) }
        filter = given.isEmpty ? .all : try Filter(parsing: given, context: context)
        returnsKey = arguments.returnsKey
        keepsDocuments = arguments.keepsDocuments
        showsRecordID = arguments.showsRecordID
        var hint = arguments.hint
        if let document = arguments.sort, let natural = document["$natural"], document.count == 1 {
            hint = .document(["$natural": natural])
            sort = nil
        } else {
            let order = try arguments.sort.map { try SortSpecification(parsing: $0, collation: context.collation) }
            sort = order.flatMap { $0.isEmpty ? nil : $0 }
        }
        projection = try arguments.projection.flatMap {
            $0.isEmpty ? nil : try Projection(parsing: $0, context: context)
        }
        skip = arguments.skip
        remaining = arguments.limit == 0 ? nil : arguments.limit
        sortBytesMax = options.stageMemory.sortBytesMax
        spill = context.spill
        memory = context.memory
        plan = try Planner(collection: collection, readVersion: view.version, collation: context.collation)
            .plan(filter, sort: sort, hint: hint, window: hasWindow ? arguments.window : nil)
        matchesAnyway = filter.isAlwaysTrue || plan.isExact
        source = RecordSource(view: view, collection: collection, access: plan.access)
    }

    /// All documents that match, as a plan that was made elsewhere brings them.
    init(view: ReadView, collection: CollectionState, filter: Filter, plan: Plan, options: GroupDatabaseOptions) {
        self.filter = filter
        self.plan = plan
        sort = nil
        projection = nil
        returnsKey = false
        keepsDocuments = false
        showsRecordID = false
        skip = 0
        remaining = nil
        sortBytesMax = options.stageMemory.sortBytesMax
        spill = nil
        memory = nil
        matchesAnyway = filter.isAlwaysTrue || plan.isExact
        source = RecordSource(view: view, collection: collection, access: plan.access)
    }

    func next() throws -> Document? {
        guard remaining != 0 else { return nil }
        while let document = try nextInOrder() {
            if skip > 0 {
                skip -= 1
                continue
            }
            remaining = remaining.map { $0 - 1 }
            returned += 1
            return try shaped(document)
        }
        return nil
    }

    func liftLimit() { source.liftLimit() }

    /// Whether ``count()`` looks at index entries only.
    var countsByKeys: Bool { plan.isExact }

    /// How many documents there are, from where it stands to the end.
    func count() throws -> Int {
        var n = 0
        guard countsByKeys else {
            while try next() != nil { n += 1 }
            return n
        }
        while try source.nextKey() { n += 1 }
        n = max(0, n - skip)
        returned += remaining.map { min(n, $0) } ?? n
        return returned
    }

    private func shaped(_ document: Document) throws -> Document {
        guard returnsKey || showsRecordID else { return try project(document) }
        var result: Document
        if returnsKey {
            // Documents that were sorted here are no longer those that the source stands on.
            let key = sorter == nil ? try source.currentKey() : source.key(of: document)
            result = keepsDocuments ? document.appending("$key", .document(key)) : key
        } else {
            result = try project(document)
        }
        if showsRecordID { result = result.appending("$recordId", try source.recordID(of: document)) }
        return result
    }

    private func project(_ document: Document) throws -> Document {
        guard let projection else { return document }
        var index: Int?
        if let path = projection.positionalPath { index = try filter.matchedArrayIndex(in: document, arrayPath: path) }
        return try projection.apply(document, matchedIndex: index)
    }

    private func nextInOrder() throws -> Document? {
        guard let sort, !plan.providesSort else { return try nextMatch() }
        if sorter == nil {
            let wanted = remaining.map { $0.addingReportingOverflow(skip) }.flatMap {
                $0.overflow ? nil : $0.partialValue
            }
            var sorter = DocumentSorter(sort, limit: wanted, bytesMax: sortBytesMax, spill: spill, memory: memory)
            while let document = try nextMatch() { try sorter.add(document) }
            try sorter.finish()
            self.sorter = sorter
        }
        return try sorter?.next()
    }

    /// Times that the sort went to the disk.
    var spillCount: Int { sorter?.spillCount ?? 0 }

    private func nextMatch() throws -> Document? {
        while try source.next() {
            if matchesAnyway { return source.document }
            if try filter.matches(source.document) { return source.document }
        }
        return nil
    }
}
