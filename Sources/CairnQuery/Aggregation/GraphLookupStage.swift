import CairnBSON

/// A compiled `$graphLookup`.
struct GraphLookupSpecification: Sendable {
    let collection: String
    let output: FieldPath
    let startWith: ExpressionProgram
    let connectFrom: FieldPath
    let connectTo: FieldPath
    let maxDepth: Int?
    let depthField: FieldPath?
    /// What documents on the way have to match as well.
    let restriction: Document?
}

/// `$graphLookup`: everything that can be reached from a document by following a field of another collection.
///
/// Searches of several input documents go forward together, level by level: one question asks for all the values that any
/// of them has arrived at and that nobody asked for before. What came stays at hand, so that paths that meet cost nothing
/// twice; each search then walks over what is there.
///
/// - Invariant: what is kept of the other collection never exceeds the memory of a stage. Where the searches of several
///   documents together need more, they are made one by one; one that does so alone ends in error 40099.
final class GraphLookupRunner: StageRunner {
    private static let batchMax = 64
    /// Bytes of values in one question.
    private static let questionBytesMax = 1 << 20

    private let specification: GraphLookupSpecification
    private let upstream: StageRunner
    private let context: QueryContext

    private var batch: [Document] = []
    private var starts: [[Value]] = []
    private var position = 0
    private var isFilled = false
    /// How many documents of the batch, from `position` on, have all that their searches need at hand.
    private var prepared = 0
    private var size = GraphLookupRunner.batchMax
    private var isUpstreamDone = false

    private var found = FoundDocuments()
    private let share: MemoryShare
    private var sweep: Sweep?
    private var request: ForeignRequest?
    private var asked: [Value] = []

    /// The searches of several documents on their way through the levels.
    private struct Sweep {
        var frontier: [Value]
        var seen: Set<Value>
        var depth = 0
        let width: Int
    }

    init(_ specification: GraphLookupSpecification, _ upstream: StageRunner, _ context: QueryContext) {
        self.specification = specification
        self.upstream = upstream
        self.context = context
        share = MemoryShare(context.memory)
    }

    override func poll() throws(QueryError) -> PipelinePoll {
        while true {
            if prepared > 0 {
                defer {
                    position += 1
                    prepared -= 1
                }
                return .document(try searched(batch[position], from: starts[position]))
            }
            if isFilled, position < batch.count {
                if let waiting = try prepare() { return waiting }
                continue
            }
            if let waiting = try fill() { return waiting }
            if batch.isEmpty { return .finished }
        }
    }

    /// Takes a batch of documents from upstream; nil when it is there, and empty at the end.
    private func fill() throws(QueryError) -> PipelinePoll? {
        if isFilled {
            batch.removeAll(keepingCapacity: true)
            starts.removeAll(keepingCapacity: true)
            position = 0
            isFilled = false
        }
        while !isUpstreamDone, batch.count < Self.batchMax {
            let polled = try upstream.poll()
            switch polled {
            case .document(let document):
                batch.append(document)
                starts.append(try startValues(of: document))
            case .finished: isUpstreamDone = true
            default: return polled
            }
        }
        isFilled = true
        return nil
    }

    private func startValues(of document: Document) throws(QueryError) -> [Value] {
        switch try specification.startWith.evaluate(document) {
        case nil, .undefined?: []
        case .array(let array)?: array.filter { $0 != .undefined }
        case let value?: [value]
        }
    }

    // MARK: Getting what searches need

    /// Makes some documents of the batch ready; nil when they are.
    private func prepare() throws(QueryError) -> PipelinePoll? {
        var current: Sweep
        if let sweep {
            current = sweep
        } else {
            // Everything kept is a cache between two sweeps.
            if found.byteCount > context.memoryBytesMax / 2 { found = FoundDocuments() }
            let width = min(size, batch.count - position)
            var seen: Set<Value> = []
            var frontier: [Value] = []
            for values in starts[position..<position + width] {
                for value in values where seen.insert(value).inserted { frontier.append(value) }
            }
            current = Sweep(frontier: frontier, seen: seen, width: width)
        }
        while !current.frontier.isEmpty, current.depth <= specification.maxDepth ?? .max {
            sweep = current
            if let waiting = try ask(for: current.frontier) {
                guard case .finished = waiting else { return waiting }
                // Too much for several documents at once.
                sweep = nil
                size = 1
                return nil
            }
            var next: [Value] = []
            for value in current.frontier {
                try WorkMeter.count(8)
                for place in found.places(of: value) {
                    for value in found.outgoing[place] where current.seen.insert(value).inserted { next.append(value) }
                }
            }
            current.frontier = next
            current.depth += 1
        }
        sweep = nil
        prepared = current.width
        return nil
    }

    /// Asks for values until all are known. Nil when they are, `.finished` when memory is at its end and fewer documents
    /// would help.
    private func ask(for frontier: [Value]) throws(QueryError) -> PipelinePoll? {
        while true {
            if let pending = request {
                guard let documents = pending.result else { return .needsForeign(pending) }
                request = nil
                try WorkMeter.count(documents.count * 16 + asked.count * 4)
                found.add(documents, for: asked, specification)
                try share.hold(found.byteCount)
                if found.byteCount > context.memoryBytesMax {
                    let isAlone = sweep?.width == 1 && size == 1
                    guard !isAlone else {
                        throw QueryError(
                            ErrorCode(40099),
                            "$graphLookup reached maximum memory consumption of \(context.memoryBytesMax) bytes")
                    }
                    found = FoundDocuments()
                    return .finished
                }
            }
            asked = []
            var bytes = 0
            for value in frontier where !found.knows(value) {
                asked.append(value)
                bytes += MemorySize.of(value)
                if bytes > Self.questionBytesMax { break }
            }
            if asked.isEmpty { return nil }
            // A regular expression in $in would match as a pattern.
            let values = asked.filter { if case .regex = $0 { false } else { true } }
            var filter = Document().appending(
                specification.connectTo.string, .document(["$in": .array(BSONArray(values))]))
            if let restriction = specification.restriction {
                filter = ["$and": [.document(filter), .document(restriction)]]
            }
            request = ForeignRequest(
                collection: specification.collection, pipeline: [["$match": .document(filter)]], context: context)
        }
    }

    // MARK: Searching

    private func searched(_ document: Document, from start: [Value]) throws(QueryError) -> Document {
        var visited: Set<Int> = []
        var seen = Set(start)
        var frontier = start
        var depth = 0
        var result = ArrayBuilder()
        while !frontier.isEmpty, depth <= specification.maxDepth ?? .max {
            var next: [Value] = []
            for value in frontier {
                try WorkMeter.count(4)
                for place in found.places(of: value) where visited.insert(place).inserted {
                    var reached = found.documents[place]
                    if let field = specification.depthField {
                        reached = reached.setting(field, to: .int64(Int64(depth)))
                    }
                    result.append(reached)
                    try WorkMeter.count(bytes: reached.byteCount + found.outgoing[place].count * 128)
                    for value in found.outgoing[place] where seen.insert(value).inserted { next.append(value) }
                }
                guard result.byteCount + document.byteCount <= Update.documentBytesMax else {
                    throw QueryError(
                        .bsonObjectTooLarge,
                        "the document that $graphLookup makes exceeds \(Update.documentBytesMax) bytes")
                }
            }
            frontier = next
            depth += 1
        }
        return document.setting(specification.output, to: .array(result.finish()))
    }
}

/// The documents of the other collection that searches have come upon, and the values that were asked for.
private struct FoundDocuments {
    private(set) var documents: [Document] = []
    /// The values that each document leads on to.
    private(set) var outgoing: [[Value]] = []
    private(set) var byteCount = 0
    private var placeByID: [Value: Int] = [:]
    private var placesByValue: [Value: [Int]] = [:]

    func knows(_ value: Value) -> Bool { placesByValue[value] != nil }

    func places(of value: Value) -> [Int] { placesByValue[value] ?? [] }

    /// Takes in the answer to a question about `values`.
    mutating func add(_ answer: [Document], for values: [Value], _ specification: GraphLookupSpecification) {
        let wanted = Set(values)
        for value in values {
            placesByValue[value] = []
            byteCount += MemorySize.of(value) + 64
        }
        for document in answer {
            let id = document["_id"] ?? .null
            let place: Int
            if let known = placeByID[id] {
                place = known
            } else {
                place = documents.count
                placeByID[id] = place
                documents.append(document)
                outgoing.append(specification.connectFrom.values(in: document))
                byteCount += document.byteCount + 192 + outgoing[place].reduce(0) { $0 + MemorySize.of($1) }
            }
            for value in LookupRunner.foreignValues(specification.connectTo, in: document)
            where wanted.contains(value) {
                placesByValue[value]?.append(place)
                byteCount += 8
            }
        }
    }
}

extension FieldPath {
    /// Every value at the path, through arrays on the way; an array at its end stands for its elements.
    fileprivate func values(in document: Document) -> [Value] {
        var values: [Value] = []
        func collect(_ value: Value, _ index: Int) {
            if index == components.count {
                if case .array(let array) = value { values += array } else { values.append(value) }
                return
            }
            switch value {
            case .document(let inner):
                if let next = inner[components[index].name] { collect(next, index + 1) }
            case .array(let array):
                for element in array { if case .document = element { collect(element, index) } }
                if let position = components[index].index, let element = array[position] {
                    collect(element, index + 1)
                }
            default: break
            }
        }
        collect(.document(document), 0)
        return values.filter { $0 != .undefined }
    }
}
