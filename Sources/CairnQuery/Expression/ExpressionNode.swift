import CairnBSON

/// A compiled aggregation expression. Nil stands for a missing value everywhere.
indirect enum ExpressionNode: Sendable {
    typealias Unary = @Sendable (Value?) throws(QueryError) -> Value?
    typealias Binary = @Sendable (Value?, Value?) throws(QueryError) -> Value?
    typealias Nary = @Sendable ([Value?]) throws(QueryError) -> Value?

    case constant(Value?)
    case root
    case field(FieldPath)
    case variable(slot: Int, path: FieldPath?)
    /// A path into whatever value an expression gives.
    case fieldOf(ExpressionNode, FieldPath)
    case object([(name: BSONString, node: ExpressionNode)])
    case array([ExpressionNode])
    case unary(Unary, ExpressionNode)
    case binary(Binary, ExpressionNode, ExpressionNode)
    case nary(Nary, [ExpressionNode])
    case and([ExpressionNode])
    case or([ExpressionNode])
    case condition(ExpressionNode, then: ExpressionNode, otherwise: ExpressionNode)
    case branches([(when: ExpressionNode, then: ExpressionNode)], otherwise: ExpressionNode?)
    case firstNonNull([ExpressionNode])
    case bind([(slot: Int, node: ExpressionNode)], in: ExpressionNode)
    case map(input: ExpressionNode, slot: Int, in: ExpressionNode)
    case filter(input: ExpressionNode, slot: Int, condition: ExpressionNode, limit: ExpressionNode?)
    case reduce(input: ExpressionNode, initial: ExpressionNode, valueSlot: Int, thisSlot: Int, in: ExpressionNode)
    case sortArray(input: ExpressionNode, by: ArrayOrder)
    case random(salt: UInt64)

    func evaluate(_ frame: inout ExpressionFrame) throws(QueryError) -> Value? {
        switch self {
        case .constant(let value): return value
        case .root: return .document(frame.root)
        case .field(let path): return path.value(in: frame.root)
        case .variable(let slot, let path):
            guard let path else { return frame.slots[slot] }
            guard let value = frame.slots[slot] else { return nil }
            return path.descend(into: value, from: 0)
        case .fieldOf(let node, let path):
            guard let value = try node.evaluate(&frame) else { return nil }
            return path.descend(into: value, from: 0)
        case .object(let fields):
            var builder = DocumentBuilder()
            for (name, node) in fields {
                if let value = try node.evaluate(&frame) {
                    builder.append(name, value)
                    try frame.checkSize(builder.byteCount)
                }
            }
            try frame.count(bytes: builder.byteCount)
            return .document(builder.finish())
        case .array(let nodes):
            var builder = ArrayBuilder()
            for node in nodes {
                builder.append(try node.evaluate(&frame) ?? .null)
                try frame.checkSize(builder.byteCount)
            }
            try frame.count(bytes: builder.byteCount)
            return .array(builder.finish())
        case .unary(let function, let operand):
            let value = try operand.evaluate(&frame)
            try frame.countOperator(on: ExpressionFrame.size(value))
            return try frame.checked(try function(value))
        case .binary(let function, let left, let right):
            let first = try left.evaluate(&frame)
            let size = ExpressionFrame.size(first)
            try frame.hold(size)
            let second = try right.evaluate(&frame)
            frame.release(size)
            try frame.countOperator(on: size + ExpressionFrame.size(second))
            return try frame.checked(try function(first, second))
        case .nary(let function, let operands):
            var values: [Value?] = []
            values.reserveCapacity(operands.count)
            var size = 0
            for operand in operands {
                let value = try operand.evaluate(&frame)
                let bytes = ExpressionFrame.size(value)
                try frame.hold(bytes)
                size += bytes
                values.append(value)
            }
            frame.release(size)
            try frame.countOperator(on: size)
            return try frame.checked(try function(values))
        case .and(let nodes):
            try frame.count(nodes.count)
            for node in nodes where try !(node.evaluate(&frame)?.isTruthy ?? false) { return false }
            return true
        case .or(let nodes):
            try frame.count(nodes.count)
            for node in nodes where try node.evaluate(&frame)?.isTruthy ?? false { return true }
            return false
        case .condition(let condition, let then, let otherwise):
            let holds = try condition.evaluate(&frame)?.isTruthy ?? false
            return try (holds ? then : otherwise).evaluate(&frame)
        case .branches(let branches, let otherwise):
            for (when, then) in branches where try when.evaluate(&frame)?.isTruthy ?? false {
                return try then.evaluate(&frame)
            }
            guard let otherwise else {
                throw QueryError(
                    ErrorCode(40066),
                    "$switch could not find a matching branch for an input, and no default was specified.")
            }
            return try otherwise.evaluate(&frame)
        case .firstNonNull(let nodes):
            for node in nodes.dropLast() {
                if let value = try node.evaluate(&frame), !value.isNullish { return value }
            }
            return try nodes[nodes.count - 1].evaluate(&frame)
        default: return try evaluateBinding(&frame)
        }
    }

    /// The forms that bind variables, apart from the others so that those need little stack.
    private func evaluateBinding(_ frame: inout ExpressionFrame) throws(QueryError) -> Value? {
        switch self {
        case .bind(let variables, let body):
            var size = 0
            for (slot, node) in variables {
                let value = try node.evaluate(&frame)
                let bytes = ExpressionFrame.size(value)
                try frame.hold(bytes)
                size += bytes
                frame.slots[slot] = value
            }
            let result = try body.evaluate(&frame)
            frame.release(size)
            for (slot, _) in variables { frame.slots[slot] = nil }
            return result
        case .map(let input, let slot, let body):
            guard let array = try Self.array(input, &frame, "$map", 16883, "input to $map must be an array not") else {
                return .null
            }
            let size = array.document.byteCount
            try frame.hold(size)
            var result = ArrayBuilder()
            for element in array {
                frame.slots[slot] = element
                let value = try body.evaluate(&frame) ?? .null
                try frame.count(bytes: ExpressionFrame.size(value))
                result.append(value)
                try frame.checkSize(result.byteCount)
            }
            frame.release(size)
            return .array(result.finish())
        case .filter(let input, let slot, let condition, let limit):
            guard let array = try Self.array(input, &frame, "$filter", 28651, "input to $filter must be an array not")
            else { return .null }
            var left = Int.max
            if let limit, let value = try limit.evaluate(&frame), !value.isNullish {
                guard let count = value.intExactly, count > 0 else {
                    throw QueryError(ErrorCode(327392), "$filter: limit must be a positive integer, found \(value)")
                }
                left = count
            }
            let size = array.document.byteCount
            try frame.hold(size)
            var result = ArrayBuilder()
            for element in array where left > 0 {
                try frame.count()
                frame.slots[slot] = element
                if try condition.evaluate(&frame)?.isTruthy ?? false {
                    result.append(element)
                    left -= 1
                }
            }
            frame.release(size)
            return .array(result.finish())
        case .reduce(let input, let initial, let valueSlot, let thisSlot, let body):
            guard
                let array = try Self.array(
                    input, &frame, "$reduce", 40080, "$reduce requires that 'input' be an array, found:")
            else { return .null }
            let size = array.document.byteCount
            try frame.hold(size)
            var value = try initial.evaluate(&frame)
            for element in array {
                frame.slots[valueSlot] = value
                frame.slots[thisSlot] = element
                value = try body.evaluate(&frame)
                try frame.count(bytes: ExpressionFrame.size(value))
                try frame.checkContainer(value)
            }
            frame.release(size)
            return value
        case .sortArray(let input, let order):
            guard
                let array = try Self.array(
                    input, &frame, "$sortArray", 2_942_504,
                    "The input argument to $sortArray must be an array, but was of type:")
            else { return .null }
            let elements = Array(array)
            try frame.count(elements.count + array.document.byteCount >> 6)
            return .array(BSONArray(try order.sorted(elements)))
        case .random(let salt): return .double(frame.random(salt: salt))
        default: preconditionFailure("not a binding form")
        }
    }

    private static func array(
        _ node: ExpressionNode, _ frame: inout ExpressionFrame, _ name: String, _ code: Int32, _ message: String
    ) throws(QueryError) -> BSONArray? {
        guard let value = try node.evaluate(&frame), !value.isNullish else { return nil }
        guard case .array(let array) = value else {
            throw QueryError(ErrorCode(code), "\(message) \(value.type.alias)")
        }
        return array
    }

    var isConstant: Bool {
        if case .constant = self { return true }
        return false
    }

    /// What a constant takes in memory, roughly; 0 for anything else.
    var constantBytes: Int {
        if case .constant(let value) = self { return ExpressionFrame.size(value) }
        return 0
    }
}

/// What one evaluation works on: the document and the variables bound so far.
struct ExpressionFrame {
    let root: Document
    var slots: [Value?]
    private let seed: UInt64
    /// Bytes of values that wait for others to be computed.
    private var heldBytes = 0

    /// Values that an expression builds may grow to this; a document larger than 16 MiB cannot be answered anyway.
    static let bytesMax = 64 << 20
    /// All that one evaluation may hold at a time, beside the value that is being made.
    static let heldBytesMax = 192 << 20

    init(root: Document, slotCount: Int, seed: UInt64) {
        self.root = root
        slots = slotCount == 0 ? [] : Array(repeating: nil, count: slotCount)
        self.seed = seed
    }

    /// What an operator made, once its size is known to be fine.
    @inline(__always)
    func checked(_ value: Value?) throws(QueryError) -> Value? {
        let bytes = Self.size(value)
        if bytes > 1024 {
            try checkSize(bytes)
            try count(bytes: bytes)
        }
        return value
    }

    /// What a value takes, roughly; nothing for what is small.
    static func size(_ value: Value?) -> Int {
        switch value {
        case .document(let document)?: document.byteCount
        case .array(let array)?: array.document.byteCount
        case .string(let text)?, .symbol(let text)?, .javaScript(let text)?: text.utf8.count
        case .binary(let binary)?: binary.data.count
        default: 0
        }
    }

    @inline(__always)
    func count(_ steps: Int = 1) throws(QueryError) { try WorkMeter.count(steps) }

    @inline(__always)
    func count(bytes: Int) throws(QueryError) { try WorkMeter.count(bytes: bytes) }

    /// Counts the work of an operator that looks at all of its operands, each byte of which may be an element's.
    @inline(__always)
    func countOperator(on bytes: Int) throws(QueryError) { try WorkMeter.count(2 &+ bytes >> 4) }

    /// Notes bytes that stay in memory until they are released.
    @inline(__always)
    mutating func hold(_ bytes: Int) throws(QueryError) {
        heldBytes += bytes
        if heldBytes > Self.heldBytesMax {
            throw QueryError(
                .exceededMemoryLimit, "an expression's operands exceed \(Self.heldBytesMax) bytes together")
        }
    }

    @inline(__always)
    mutating func release(_ bytes: Int) { heldBytes -= bytes }

    func checkSize(_ count: Int) throws(QueryError) {
        if count > Self.bytesMax {
            throw QueryError(.bsonObjectTooLarge, "an expression's value exceeds \(Self.bytesMax) bytes")
        }
    }

    /// Bounds size and nesting of a value that grows step by step.
    func checkContainer(_ value: Value?) throws(QueryError) {
        switch value {
        case .document(let document)?:
            try checkSize(document.byteCount)
            try checkDepth(document)
        case .array(let array)?:
            try checkSize(array.document.byteCount)
            try checkDepth(array.document)
        case .string(let text)?: try checkSize(text.utf8.count)
        default: break
        }
    }

    private func checkDepth(_ document: Document) throws(QueryError) {
        if document.exceedsDepth(Document.depthMax) {
            throw QueryError(.overflow, "an expression's value is nested more than \(Document.depthMax) levels deep")
        }
    }

    /// A number in [0, 1) that depends on the query's seed, the place in the query and the document, and on nothing
    /// that differs between two runs.
    func random(salt: UInt64) -> Double {
        var state = seed ^ salt &* 0x9E37_79B9_7F4A_7C15
        for byte in root.bytes.prefix(64) { state = (state ^ UInt64(byte)) &* 0x100_0000_01B3 }
        state = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
        state = (state ^ (state >> 27)) &* 0x94D0_49BB_1331_11EB
        return Double((state ^ (state >> 31)) >> 11) * 0x1p-53
    }
}

extension Document {
    /// True if documents and arrays lie in each other more than `limit` deep, this one counted.
    func exceedsDepth(_ limit: Int) -> Bool {
        // A level takes at least eight bytes, so what is small cannot be deep.
        guard byteCount > limit * 7 else { return false }
        if limit <= 0 { return true }
        for element in self {
            switch element.type {
            case .document:
                if case .document(let inner) = element.value, inner.exceedsDepth(limit - 1) { return true }
            case .array:
                if case .array(let inner) = element.value, inner.document.exceedsDepth(limit - 1) { return true }
            default: break
            }
        }
        return false
    }
}

/// An expression with the number of variables it binds.
struct ExpressionProgram: Sendable {
    let node: ExpressionNode
    private let slotCount: Int
    private let seed: UInt64

    init(parsing value: Value, scope: inout VariableScope) throws(QueryError) {
        var parser = ExpressionParser(scope: scope)
        node = try parser.parse(value)
        scope = parser.scope
        slotCount = scope.slotCount
        seed = scope.context.randomSeed
    }

    @inline(__always)
    func evaluate(_ document: Document) throws(QueryError) -> Value? {
        // The common shapes need no frame.
        switch node {
        case .constant(let value): return value
        case .field(let path): return path.value(in: document)
        case .root: return .document(document)
        default:
            var frame = ExpressionFrame(root: document, slotCount: slotCount, seed: seed)
            return try node.evaluate(&frame)
        }
    }

    /// The value with something in the slot of a variable that ``VariableScope/bind(_:)`` gave.
    func evaluate(_ document: Document, slot: Int, is value: Value) throws(QueryError) -> Value? {
        var frame = ExpressionFrame(root: document, slotCount: slotCount, seed: seed)
        frame.slots[slot] = value
        return try node.evaluate(&frame)
    }

    /// The name of the field whose value it is, if it is no more than that.
    var topLevelField: BSONString? {
        if case .field(let path) = node, path.components.count == 1 { return path.head }
        return nil
    }

    /// The value when it does not depend on the document.
    var constant: Value?? {
        if case .constant(let value) = node { return .some(value) }
        return nil
    }
}

/// An aggregation expression, parsed and checked once and evaluated on any number of documents.
public struct Expression: Sendable {
    let program: ExpressionProgram

    /// - Throws: code 168 for an operator that does not exist, or what MongoDB says about the operand at fault.
    public init(parsing value: Value, context: QueryContext = QueryContext()) throws(QueryError) {
        var scope = VariableScope(context)
        program = try ExpressionProgram(parsing: value, scope: &scope)
    }

    /// The value for one document; nil is missing.
    public func evaluate(_ document: Document) throws(QueryError) -> Value? { try program.evaluate(document) }
}
