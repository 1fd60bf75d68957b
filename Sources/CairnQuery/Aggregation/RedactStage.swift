import CairnBSON

/// `$redact`: keeps, prunes or descends into each level of a document.
final class RedactRunner: StageRunner {
    static let keep = Value.text("keep")
    static let prune = Value.text("prune")
    static let descend = Value.text("descend")

    private let expression: ExpressionProgram
    private let rootSlot: Int
    private let upstream: StageRunner

    init(_ expression: ExpressionProgram, rootSlot: Int, _ upstream: StageRunner) {
        self.rootSlot = rootSlot
        self.expression = expression
        self.upstream = upstream
    }

    override func poll() throws(QueryError) -> PipelinePoll {
        while true {
            let polled = try upstream.poll()
            guard case .document(let document) = polled else { return polled }
            if let redacted = try redact(document, in: .document(document)) { return .document(redacted) }
        }
    }

    private func redact(_ document: Document, in root: Value) throws(QueryError) -> Document? {
        switch try expression.evaluate(document, slot: rootSlot, is: root) {
        case Self.keep?: return document
        case Self.prune?: return nil
        case Self.descend?:
            var builder = DocumentBuilder(capacity: document.byteCount)
            for element in document {
                if let value = try redact(element.value, in: root) { builder.append(element.name, value) }
            }
            return builder.finish()
        case let value:
            throw QueryError(
                ErrorCode(17053), "$redact must evaluate to one of $$DESCEND, $$PRUNE or $$KEEP, not \(value ?? .null)")
        }
    }

    private func redact(_ value: Value, in root: Value) throws(QueryError) -> Value? {
        switch value {
        case .document(let document): return try redact(document, in: root).map(Value.document)
        case .array(let array):
            var result = ArrayBuilder(capacity: array.document.byteCount)
            for element in array {
                if let kept = try redact(element, in: root) { result.append(kept) }
            }
            return .array(result.finish())
        default: return value
        }
    }
}
