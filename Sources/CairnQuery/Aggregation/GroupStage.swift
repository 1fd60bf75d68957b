import CairnBSON

/// A compiled `$group`.
struct GroupSpecification: Sendable {
    /// Groups spread over several places are accumulated where their documents are and finished where they meet.
    enum Role: Sendable {
        case whole
        /// Gives partial results.
        case partial
        /// Takes partial results.
        case merge
    }

    let source: Document
    let role: Role
    let id: ExpressionProgram
    let accumulators: [AccumulatorSpecification]
}

/// `$group`: all accumulators of all groups in one flat array, found by the hash of the group's `_id`.
///
/// What does not fit into memory goes to a ``SpillStore`` as partial results in the order of their ids, as often as memory is
/// full. At the end these runs are merged, so that no more than one group is in memory.
final class GroupRunner: BlockingRunner {
    private let specification: GroupSpecification
    private let columns: [Column]
    private let idField: BSONString?
    private let isMerge: Bool
    private let bytesMax: Int
    /// Groups whose ids it holds for equal are one, under the id that came first.
    private let collation: Collation?
    private var places: [Value: Int] = [:]
    private var ids: [Value] = []
    private var accumulators: [Accumulator] = []
    private var bytes = 0
    private var position = 0
    private let share: MemoryShare
    private let spill: (any SpillStore)?
    private var runs: [any SpillRun] = []
    private var merge: RunMerge<Value>?

    /// An accumulator's specification, as a reference: copying one for every document would be most of the work.
    private final class Column {
        let specification: AccumulatorSpecification
        let name: BSONString
        /// The field whose value it takes, if it takes no more than that.
        let field: BSONString?
        let grows: Bool

        init(_ specification: AccumulatorSpecification) {
            self.specification = specification
            name = specification.name
            field = specification.topLevelField
            grows = specification.grows
        }

        @inline(__always)
        func input(of document: Document) throws(QueryError) -> Value? {
            if let field { return document[field] }
            return try specification.input(of: document)
        }
    }

    init(_ specification: GroupSpecification, _ upstream: StageRunner, _ context: QueryContext) {
        self.specification = specification
        columns = specification.accumulators.map { Column($0) }
        idField = specification.id.topLevelField
        isMerge = specification.role == .merge
        bytesMax = context.groupBytesMax
        collation = context.collation
        share = MemoryShare(context.memory)
        spill = context.spill
        super.init(upstream)
    }

    override func finishInput() throws(QueryError) {
        places = [:]
        guard !runs.isEmpty else { return }
        try spillGroups()
        merge = try RunMerge(runs, by: { Value.compare($0, $1) < 0 }) { [collation] (document) throws(QueryError) in
            let id = document["i"] ?? .null
            return collation?.folded(id) ?? id
        }
    }

    override func give() throws(QueryError) -> Document? {
        if merge != nil { return try nextMerged() }
        guard position < ids.count else { return nil }
        defer { position += 1 }
        return group(position)
    }

    override func take(_ document: Document) throws(QueryError) {
        let id = try id(of: document)
        let width = columns.count
        let place: Int
        let key = collation?.folded(id)
        if let known = places[key ?? id] {
            place = known
        } else {
            place = ids.count
            let kept = Self.compacted(id)
            places[key ?? kept] = place
            ids.append(kept)
            for column in columns { accumulators.append(try column.specification.makeAccumulator(group: id)) }
            bytes += MemorySize.of(id) + 64 + width * 96
        }
        for index in 0..<width {
            let column = columns[index]
            let accumulator = accumulators[place * width + index]
            if column.grows {
                let before = accumulator.byteCount
                try add(document, to: accumulator, column)
                bytes += accumulator.byteCount - before
            } else {
                try add(document, to: accumulator, column)
            }
        }
        guard bytes <= bytesMax else { return try spillGroups() }
        do throws(QueryError) { try share.hold(bytes) } catch {
            // Others hold what this one may not.
            guard spill != nil, bytes > 1 << 20 else { throw error }
            try spillGroups()
        }
    }

    @inline(__always)
    private func id(of document: Document) throws(QueryError) -> Value {
        let value: Value?
        if isMerge {
            value = document["_id"]
        } else if let idField {
            value = document[idField]
        } else {
            value = try specification.id.evaluate(document)
        }
        guard let value else { return .null }
        // Undefined and null are one group.
        return !isMerge && value.isNullish ? .null : value
    }

    @inline(__always)
    private func add(_ document: Document, to accumulator: Accumulator, _ column: Column) throws(QueryError) {
        if isMerge {
            if let partial = document[column.name] { try accumulator.merge(partial) }
        } else {
            try accumulator.add(try column.input(of: document))
        }
    }

    /// Writes partial results of all groups out, and forgets them.
    private func spillGroups() throws(QueryError) {
        guard let spill else { throw Self.memoryExceeded("$group", bytesMax) }
        guard !ids.isEmpty else { return }
        let width = specification.accumulators.count
        let keys = ids.map { collation?.folded($0) ?? $0 }
        let run = try spill.makeRun()
        var order = Array(ids.indices)
        try order.meteredSort { Value.compare(keys[$0], keys[$1]) < 0 }
        for place in order {
            var builder = DocumentBuilder()
            builder.append("i", ids[place])
            builder.appendArray("p") { partials in
                for index in 0..<width { partials.append(accumulators[place * width + index].partial()) }
            }
            try run.append(builder.finish())
        }
        runs.append(run)
        places = [:]
        ids = []
        accumulators = []
        bytes = 0
        try share.hold(0)
    }

    /// The next group, of all that the runs have of it.
    private func nextMerged() throws(QueryError) -> Document? {
        guard let key = merge?.nextKey else { return nil }
        ids = []
        accumulators = []
        while let next = merge?.nextKey, Value.compare(next, key) == 0, let found = try merge?.next() {
            if ids.isEmpty {
                let id = found["i"] ?? .null
                ids = [id]
                for accumulator in specification.accumulators {
                    accumulators.append(try accumulator.makeAccumulator(group: id))
                }
            }
            for (accumulator, partial) in zip(accumulators, found["p"]?.asArray ?? []) {
                try accumulator.merge(partial)
            }
            let held = accumulators.reduce(0) { $0 + $1.byteCount }
            guard held <= bytesMax else {
                throw QueryError(
                    .exceededMemoryLimit,
                    "$group used too much memory and cannot spill to disk: one group exceeds \(bytesMax) bytes")
            }
            try share.hold(held)
        }
        return group(0)
    }

    /// A key without the document around it, which it would keep in memory.
    private static func compacted(_ value: Value) -> Value {
        switch value {
        case .string(let text): .string(BSONString(utf8: ArraySlice(Array(text.utf8))))
        case .document(let document): .document(document.compacted())
        case .array(let array): .array(BSONArray(array.document.compacted()))
        default: value
        }
    }

    private func group(_ place: Int) -> Document {
        let width = specification.accumulators.count
        var builder = DocumentBuilder()
        builder.append("_id", ids[place])
        for index in 0..<width {
            let accumulator = accumulators[place * width + index]
            let value = specification.role == .partial ? accumulator.partial() : accumulator.result()
            builder.append(specification.accumulators[index].name, value)
        }
        return builder.finish()
    }
}
