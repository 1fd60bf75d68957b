import CairnBSON

/// A compiled `$lookup`, in any of its forms.
struct LookupSpecification: Sendable {
    let collection: String?
    let output: FieldPath
    /// Equality of a local and a foreign field, when given.
    let fields: (local: FieldPath, foreign: FieldPath)?
    /// The `let` variables, evaluated on the local document.
    let variables: [(name: String, value: ExpressionProgram)]
    /// The beginning of the sub-pipeline that does not depend on the local document: it runs once, at the collection.
    let common: [Document]
    /// The rest of it, which runs here for each local document. Parsed anew with the variables' values.
    let correlated: [Document]
    /// A parse of the rest, to know what it needs.
    let inner: Pipeline?

    var foreignCollections: Set<String> {
        (inner?.foreignCollections ?? []).union(collection.map { [$0] } ?? [])
    }
}

/// `$lookup`: a join with another collection.
///
/// With an equality of fields it asks for the matches of a batch of documents at once and joins them by hash. With a
/// sub-pipeline it reads the part that is the same for all documents once, and runs the rest of the pipeline over that.
final class LookupRunner: StageRunner {
    private static let batchMax = 512

    private let specification: LookupSpecification
    private let upstream: StageRunner
    private let context: QueryContext
    private var batch: [Document] = []
    private var batchEnd = false
    private var position = 0
    private var request: ForeignRequest?
    /// The foreign documents at hand, and where each value of the foreign field occurs in them.
    private var foreign: [Document] = []
    private var places: [Value: [Int]] = [:]
    private var foreignBytes = 0
    /// Whether they are those that the batch needs.
    private var isFetched = false
    /// The values whose documents were asked for, when the foreign side is asked for each batch.
    private var asked: Set<Value> = []
    /// Those of the request at hand.
    private var wanted: Set<Value> = []
    /// The sub-pipeline that runs for the current document.
    private var executor: PipelineExecutor?
    private var executorKey: [Value] = []
    private var collected: [Document] = []
    private var collectedBytes = 0
    /// Answers for values of the variables that came before.
    private var answers: [[Value]: [Document]] = [:]
    private var answerBytes = 0
    private let share: MemoryShare
    /// The `$unwind` behind it, whose work it does.
    private var unwind: UnwindSpecification?
    private var unwinding: (document: Document, matches: [Document], index: Int)?

    init(_ specification: LookupSpecification, _ upstream: StageRunner, _ context: QueryContext) {
        self.specification = specification
        self.upstream = upstream
        self.context = context
        share = MemoryShare(context.memory)
    }

    /// Takes over the work of the stage behind it, if that takes the array apart which this one would make.
    ///
    /// - Returns: whether it does.
    func absorb(_ unwind: UnwindSpecification) -> Bool {
        guard self.unwind == nil, specification.output.components.count == 1, unwind.path == specification.output else {
            return false
        }
        self.unwind = unwind
        return true
    }

    /// Whether the foreign side is asked for each batch, rather than once.
    private var asksByBatch: Bool { specification.fields != nil && specification.inner == nil }

    override func poll() throws(QueryError) -> PipelinePoll {
        while true {
            if let document = nextUnwound() { return .document(document) }
            if position < batch.count {
                if !isFetched, let waiting = try fetch() { return waiting }
                let document = batch[position]
                switch try matches(of: document) {
                case .waits(let waiting): return waiting
                case .found(let matches):
                    position += 1
                    guard let unwind else { return .document(try joined(document, matches)) }
                    if matches.isEmpty {
                        guard unwind.preservesEmpty else { continue }
                        return .document(unwind.finished(document.setting(unwind.path, to: nil), index: .null))
                    }
                    unwinding = (document, matches, 0)
                    continue
                }
            }
            if batchEnd { return .finished }
            batch.removeAll(keepingCapacity: true)
            position = 0
            if let waiting = try fillBatch() { return waiting }
            if asksByBatch { isFetched = false }
        }
    }

    private func nextUnwound() -> Document? {
        guard let unwind, let (document, matches, index) = unwinding else { return nil }
        unwinding = index + 1 < matches.count ? (document, matches, index + 1) : nil
        return unwind.finished(
            document.setting(unwind.path, to: .document(matches[index])), index: .int64(Int64(index)))
    }

    /// Nil when there is a batch (or the end); else what to wait for.
    private var partial: [Document] = []

    private func fillBatch() throws(QueryError) -> PipelinePoll? {
        while partial.count < Self.batchMax {
            let polled = try upstream.poll()
            switch polled {
            case .document(let document): partial.append(document)
            case .finished:
                batchEnd = true
                batch = partial
                partial = []
                return batch.isEmpty ? .finished : nil
            default: return polled
            }
        }
        batch = partial
        partial = []
        return nil
    }

    /// Gets the foreign documents; nil when they are there.
    private func fetch() throws(QueryError) -> PipelinePoll? {
        guard let collection = specification.collection else {
            // A sub-pipeline that starts with $documents reads no collection.
            isFetched = true
            return nil
        }
        let request: ForeignRequest
        if let pending = self.request {
            request = pending
        } else {
            var pipeline: [Document] = []
            if asksByBatch, let fields = specification.fields {
                let values = unaskedValues(fields.local)
                if values.isEmpty {
                    isFetched = true
                    return nil
                }
                let condition: Document = ["$in": .array(BSONArray(values))]
                let match = Document().appending(fields.foreign.string, .document(condition))
                pipeline.append(["$match": .document(match)])
            }
            request = ForeignRequest(
                collection: collection, pipeline: pipeline + specification.common, context: context)
            self.request = request
        }
        guard let documents = request.result else { return .needsForeign(request) }
        self.request = nil
        foreignBytes += documents.reduce(0) { $0 + $1.byteCount + 64 }
        guard foreignBytes <= context.memoryBytesMax else {
            throw Self.memoryExceeded("$lookup", context.memoryBytesMax)
        }
        try share.hold(foreignBytes + answerBytes)
        try WorkMeter.count(documents.count * 8)
        if let fields = specification.fields {
            for (index, document) in documents.enumerated() {
                // One that matches several values comes with each batch that asks for one of them.
                for value in Self.foreignValues(fields.foreign, in: document)
                where !asksByBatch || wanted.contains(value) {
                    places[value, default: []].append(foreign.count + index)
                }
            }
        }
        foreign += documents
        isFetched = true
        return nil
    }

    /// The values of the batch whose documents are not at hand.
    private func unaskedValues(_ path: FieldPath) -> [Value] {
        wanted = []
        for document in batch {
            if let value = Self.onlyLocalValue(path, in: document) {
                wanted.insert(value)
            } else {
                wanted.formUnion(Self.localValues(path, in: document))
            }
        }
        if foreignBytes > context.memoryBytesMax / 8 {
            foreign = []
            places = [:]
            foreignBytes = 0
            asked = []
        }
        wanted.subtract(asked)
        asked.formUnion(wanted)
        // A regular expression in $in would match as a pattern.
        return wanted.sorted().map { (value) -> Value in if case .regex = value { .null } else { value } }
    }

    private enum Matches {
        case found([Document])
        case waits(PipelinePoll)
    }

    /// The foreign documents that belong to a local one.
    private func matches(of document: Document) throws(QueryError) -> Matches {
        var matches = foreign
        var matchKey: [Value] = []
        if let fields = specification.fields {
            if specification.inner == nil, let value = Self.onlyLocalValue(fields.local, in: document) {
                let known = places[value] ?? []
                try WorkMeter.count(known.count * 2 + 2)
                return .found(known.map { foreign[$0] })
            }
            var indices: Set<Int> = []
            let values = Self.localValues(fields.local, in: document)
            for value in values {
                let known = places[value] ?? []
                try WorkMeter.count(known.count * 2 + 2)
                indices.formUnion(known)
            }
            matches = indices.sorted().map { foreign[$0] }
            matchKey = values.sorted()
        }
        return specification.inner == nil ? .found(matches) : try answers(to: document, over: matches, matchKey)
    }

    /// What the sub-pipeline makes of the matches for a document.
    private func answers(
        to document: Document, over matches: [Document], _ matchKey: [Value]
    ) throws(QueryError) -> Matches {
        var values: [(name: String, value: Value)] = []
        for (name, expression) in specification.variables {
            values.append((name, try expression.evaluate(document) ?? .null))
        }
        let key = values.map(\.value) + matchKey
        if let answer = answers[key] { return .found(answer) }
        if executor == nil {
            var inner = context
            inner.bindLocally(values)
            let pipeline = try Pipeline(parsing: specification.correlated, context: inner)
            let executor = pipeline.makeExecutor()
            executor.feed(matches)
            executor.finishInput()
            self.executor = executor
            executorKey = key
            collected = []
            collectedBytes = 0
        }
        collecting: while let executor {
            switch try executor.poll() {
            case .document(let found):
                collected.append(found)
                collectedBytes += found.byteCount
                if collectedBytes > context.memoryBytesMax {
                    throw Self.memoryExceeded("$lookup", context.memoryBytesMax)
                }
            case .finished: break collecting
            case let waiting: return .waits(waiting)
            }
        }
        executor = nil
        if answerBytes + collectedBytes < context.memoryBytesMax / 4 {
            answers[executorKey] = collected
            answerBytes += collectedBytes + 256
        }
        return .found(collected)
    }

    private func joined(_ document: Document, _ matches: [Document]) throws(QueryError) -> Document {
        var array = ArrayBuilder()
        try WorkMeter.count(matches.count)
        for match in matches {
            array.append(match)
            try WorkMeter.count(bytes: match.byteCount)
            guard array.byteCount + document.byteCount <= Update.documentBytesMax else {
                throw QueryError(
                    ErrorCode(4568),
                    "Total size of documents in \(specification.collection ?? "$lookup") matching pipeline's $lookup stage "
                        + "exceeds \(Update.documentBytesMax) bytes")
            }
        }
        return document.setting(specification.output, to: .array(array.finish()))
    }

    /// The value that a local document asks for, when it asks for one.
    private static func onlyLocalValue(_ path: FieldPath, in document: Document) -> Value? {
        switch path.value(in: document) {
        case .array?: nil
        case let value: normalized(value ?? .null)
        }
    }

    /// The values that a local document asks for: an array stands for its elements, missing for null.
    private static func localValues(_ path: FieldPath, in document: Document) -> Set<Value> {
        switch path.value(in: document) {
        case .array(let array)?:
            var values: Set<Value> = []
            func collect(_ array: BSONArray, _ depth: Int) {
                for element in array {
                    values.insert(normalized(element))
                }
            }
            collect(array, 0)
            return values
        case let value: return [normalized(value ?? .null)]
        }
    }

    private static func normalized(_ value: Value) -> Value { value.isNullish ? .null : value }

    /// The values under which a foreign document is found: as a filter on the field would find it.
    static func foreignValues(_ path: FieldPath, in document: Document) -> Set<Value> {
        var values: Set<Value> = []
        var isMissing = true
        func collect(_ value: Value, _ index: Int) {
            if index == path.components.count {
                isMissing = false
                values.insert(normalized(value))
                if case .array(let array) = value { for element in array { values.insert(normalized(element)) } }
                return
            }
            switch value {
            case .document(let inner):
                if let next = inner[path.components[index].name] {
                    collect(next, index + 1)
                } else {
                    values.insert(.null)
                }
            case .array(let array):
                for element in array { if case .document = element { collect(element, index) } }
                if let position = path.components[index].index, let element = array[position] {
                    collect(element, index + 1)
                }
            default: values.insert(.null)
            }
        }
        collect(.document(document), 0)
        if isMissing && values.isEmpty { return [] }
        return values
    }
}
