import CairnBSON

// The stages that hold no more than one document: each pulls, changes and passes on.

final class MatchRunner: StageRunner {
    private let filter: Filter
    private let upstream: StageRunner

    init(_ filter: Filter, _ upstream: StageRunner) {
        self.filter = filter
        self.upstream = upstream
    }

    override func poll() throws(QueryError) -> PipelinePoll {
        while true {
            let polled = try upstream.poll()
            guard case .document(let document) = polled else { return polled }
            if try filter.matches(document) { return polled }
        }
    }
}

final class TransformRunner: StageRunner {
    private let transform: DocumentTransform
    private let upstream: StageRunner

    init(_ transform: DocumentTransform, _ upstream: StageRunner) {
        self.transform = transform
        self.upstream = upstream
    }

    override func poll() throws(QueryError) -> PipelinePoll {
        let polled = try upstream.poll()
        guard case .document(let document) = polled else { return polled }
        let made = try transform.apply(to: document)
        try WorkMeter.count(bytes: made.byteCount)
        return .document(made)
    }
}

final class LimitRunner: StageRunner {
    private var left: Int
    private let upstream: StageRunner

    init(_ count: Int, _ upstream: StageRunner) {
        left = count
        self.upstream = upstream
    }

    override func poll() throws(QueryError) -> PipelinePoll {
        guard left > 0 else { return .finished }
        let polled = try upstream.poll()
        if case .document = polled { left -= 1 }
        return polled
    }
}

final class SkipRunner: StageRunner {
    private var left: Int
    private let upstream: StageRunner

    init(_ count: Int, _ upstream: StageRunner) {
        left = count
        self.upstream = upstream
    }

    override func poll() throws(QueryError) -> PipelinePoll {
        while true {
            let polled = try upstream.poll()
            guard case .document = polled, left > 0 else { return polled }
            left -= 1
        }
    }
}

struct UnwindSpecification: Sendable {
    let path: FieldPath
    let indexPath: FieldPath?
    let preservesEmpty: Bool

    /// A result, with its place in the array where that is wanted.
    func finished(_ document: Document, index: Value) -> Document {
        guard let indexPath else { return document }
        return document.setting(indexPath, to: index)
    }
}

/// `$unwind`: a document for each element of an array.
final class UnwindRunner: StageRunner {
    private let specification: UnwindSpecification
    private let upstream: StageRunner
    private var document = Document()
    private var elements: BSONArray.Iterator?
    private var index: Int64 = 0

    init(_ specification: UnwindSpecification, _ upstream: StageRunner) {
        self.specification = specification
        self.upstream = upstream
    }

    override func poll() throws(QueryError) -> PipelinePoll {
        while true {
            if let element = elements?.next() {
                try WorkMeter.count(bytes: document.byteCount + 256)
                defer { index += 1 }
                return .document(
                    specification.finished(document.setting(specification.path, to: element), index: .int64(index)))
            }
            elements = nil
            let polled = try upstream.poll()
            guard case .document(let document) = polled else { return polled }
            switch UpdateAction.plainValue(specification.path, in: document) {
            case .array(let array)?:
                if array.isEmpty {
                    guard specification.preservesEmpty else { continue }
                    return .document(
                        specification.finished(document.setting(specification.path, to: nil), index: .null))
                }
                self.document = document
                elements = array.makeIterator()
                index = 0
            case nil, .null?, .undefined?:
                guard specification.preservesEmpty else { continue }
                return .document(specification.finished(document, index: .null))
            case .some: return .document(specification.finished(document, index: .null))
            }
        }
    }

}

extension Document {
    /// A document with a value at a path through documents, or without it when the value is nil. What lies on the path
    /// and is no document is replaced.
    func setting(_ path: FieldPath, to value: Value?, from index: Int = 0) -> Document {
        let name = path.components[index].name
        var builder = DocumentBuilder(capacity: byteCount + 32)
        var isDone = false
        for element in self {
            guard !isDone, element.name == name else {
                builder.append(element: element)
                continue
            }
            isDone = true
            if index + 1 == path.components.count {
                if let value { builder.append(name, value) }
            } else if case .document(let inner) = element.value {
                builder.append(name, .document(inner.setting(path, to: value, from: index + 1)))
            } else if value == nil {
                builder.append(element: element)
            } else {
                builder.append(name, .document(Document().setting(path, to: value, from: index + 1)))
            }
        }
        if !isDone, let value {
            let last = index + 1 == path.components.count
            builder.append(name, last ? value : .document(Document().setting(path, to: value, from: index + 1)))
        }
        return builder.finish()
    }
}

/// `$documents`: the pipeline's own input.
final class DocumentsRunner: StageRunner {
    private let expression: ExpressionProgram
    private var elements: BSONArray.Iterator?

    init(_ expression: ExpressionProgram) { self.expression = expression }

    override func poll() throws(QueryError) -> PipelinePoll {
        if elements == nil {
            guard case .array(let array)? = try expression.evaluate(Document()) else {
                throw QueryError(ErrorCode(5_858_203), "an array is expected")
            }
            elements = array.makeIterator()
        }
        guard let element = elements?.next() else { return .finished }
        try WorkMeter.count(4)
        guard case .document(let document) = element else {
            throw QueryError(
                ErrorCode(40228), "$documents array elements must be objects, found: \(element.type.alias)")
        }
        return .document(document)
    }
}
