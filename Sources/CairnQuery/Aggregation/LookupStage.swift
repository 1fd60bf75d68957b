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
    private var foreign: [Document]?
    private var places: [Value: [Int]] = [:]
    /// The sub-pipeline that runs for the current document.
    private var executor: PipelineExecutor?
    private var executorKey: [Value] = []
    private var collected: [Document] = []
    private var collectedBytes = 0
    /// Answers for values of the variables that came before.
    private var answers: [[Value]: [Document]] = [:]
    private var answerBytes = 0
    private let share: MemoryShare

    init(_ specification: LookupSpecification, _ upstream: StageRunner, _ context: QueryContext) {
        self.specification = specification
        self.upstream = upstream
        self.context = context
        share = MemoryShare(context.memory)
    }

    /// Whether the foreign side is asked for each batch, rather than once.
    private var asksByBatch: Bool { specification.fields != nil && specification.inner == nil }

    override func poll() throws(QueryError) -> PipelinePoll {
        while true {
            if position < batch.count {
                if foreign == nil {
                    if let waiting = try fetch() { return waiting }
                }
                switch try joined(batch[position]) {
                case .document(let document):
                    position += 1
                    return .document(document)
                case let waiting: return waiting
                }
            }
            if batchEnd { return .finished }
            batch.removeAll(keepingCapacity: true)
            position = 0
            if let waiting = try fillBatch() { return waiting }
            if asksByBatch {
                foreign = nil
                request = nil
            }
        }
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
            foreign = []
            return nil
        }
        let request: ForeignRequest
        if let pending = self.request {
            request = pending
        } else {
            var pipeline: [Document] = []
            if asksByBatch, let fields = specification.fields {
                var wanted: Set<Value> = []
                for document in batch { wanted.formUnion(Self.localValues(fields.local, in: document)) }
                // A regular expression in $in would match as a pattern.
                let values = wanted.map { (value) -> Value in if case .regex = value { .null } else { value } }
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
        let bytes = documents.reduce(0) { $0 + $1.byteCount + 64 }
        guard bytes <= context.memoryBytesMax else { throw Self.memoryExceeded("$lookup", context.memoryBytesMax) }
        foreign = documents
        try share.hold(bytes + answerBytes)
        try WorkMeter.count(documents.count * 8)
        places = [:]
        if let fields = specification.fields {
            for (index, document) in documents.enumerated() {
                for value in Self.foreignValues(fields.foreign, in: document) {
                    places[value, default: []].append(index)
                }
            }
        }
        return nil
    }

    private func joined(_ document: Document) throws(QueryError) -> PipelinePoll {
        guard let foreign else { return .finished }
        var matches: [Document]
        var matchKey: [Value] = []
        if let fields = specification.fields {
            var indices: Set<Int> = []
            let values = Self.localValues(fields.local, in: document)
            for value in values {
                let known = places[value] ?? []
                try WorkMeter.count(known.count * 2 + 2)
                indices.formUnion(known)
            }
            matches = indices.sorted().map { foreign[$0] }
            matchKey = values.sorted()
        } else {
            matches = foreign
        }
        if specification.inner != nil {
            var values: [(name: String, value: Value)] = []
            for (name, expression) in specification.variables {
                values.append((name, try expression.evaluate(document) ?? .null))
            }
            let key = values.map(\.value) + matchKey
            if let answer = answers[key] {
                matches = answer
            } else {
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
                    case let waiting: return waiting
                    }
                }
                executor = nil
                matches = collected
                if answerBytes + collectedBytes < context.memoryBytesMax / 4 {
                    answers[executorKey] = collected
                    answerBytes += collectedBytes + 256
                }
            }
        }
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
        return .document(document.setting(specification.output, to: .array(array.finish())))
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
