// MongoDB's order of all values, which sorting, ranges, unique keys and `$eq` rest on.
//
// First the family of the type (see ``BSONType/canonicalOrder``), then the content:
//   numbers      by exact value across the four types; NaN is below all and equal to itself; -0 is 0
//   text         by UTF-8 bytes; a symbol is a string
//   documents    element by element: type family, then name, then value; the one that ends first is less
//   arrays       element by element; the one that ends first is less
//   binaries     by length, subtype, bytes
//   dates        signed;   timestamps unsigned;   false before true
//   regexes      by pattern, then options
//   pointers     by the namespace's length, its bytes, then the id
//   code         by text, then scope
//
// ``KeyEncoding`` writes this order as bytes; whatever changes here changes there.

extension Value: Hashable {
    /// Nesting beyond which containers are compared as plain bytes, so that no input exhausts the stack. Documents from
    /// outside are never that deep (see ``Document/depthMax``).
    static let comparisonDepthMax = 500

    /// Less than 0, 0, or more than 0, in MongoDB's order across all types.
    public static func compare(_ left: Value, _ right: Value) -> Int { compare(left, right, depth: 0) }

    public static func == (left: Value, right: Value) -> Bool { compare(left, right) == 0 }

    static func compare(_ left: Value, _ right: Value, depth: Int) -> Int {
        switch (left, right) {
        case (.int32(let a), .int32(let b)): return a < b ? -1 : (a == b ? 0 : 1)
        case (.string(let a), .string(let b)): return compareBytes(a.utf8, b.utf8)
        default: break
        }
        let a = left.type.canonicalOrder
        let b = right.type.canonicalOrder
        if a != b { return a < b ? -1 : 1 }
        switch (left, right) {
        case (.string(let a), .string(let b)), (.string(let a), .symbol(let b)), (.symbol(let a), .string(let b)),
            (.symbol(let a), .symbol(let b)), (.javaScript(let a), .javaScript(let b)):
            return compareBytes(a.utf8, b.utf8)
        case (.document(let a), .document(let b)): return Document.compare(a, b, named: true, depth: depth + 1)
        case (.array(let a), .array(let b)):
            return Document.compare(a.document, b.document, named: false, depth: depth + 1)
        case (.binary(let a), .binary(let b)): return Binary.compare(a, b)
        case (.objectID(let a), .objectID(let b)): return ObjectID.compare(a, b)
        case (.bool(let a), .bool(let b)): return a == b ? 0 : (b ? -1 : 1)
        case (.date(let a), .date(let b)): return a < b ? -1 : (a == b ? 0 : 1)
        case (.timestamp(let a), .timestamp(let b)): return a < b ? -1 : (a == b ? 0 : 1)
        case (.regex(let a), .regex(let b)):
            let pattern = compareBytes(a.pattern.utf8, b.pattern.utf8)
            return pattern != 0 ? pattern : compareBytes(a.options.utf8, b.options.utf8)
        case (.dbPointer(let a), .dbPointer(let b)):
            let (x, y) = (a.namespace.utf8, b.namespace.utf8)
            if x.count != y.count { return x.count < y.count ? -1 : 1 }
            let namespace = compareBytes(x, y)
            return namespace != 0 ? namespace : ObjectID.compare(a.id, b.id)
        case (.javaScriptWithScope(let a, let x), .javaScriptWithScope(let b, let y)):
            let code = compareBytes(a.utf8, b.utf8)
            return code != 0 ? code : Document.compare(x, y, named: true, depth: depth + 1)
        default: return compareNumbers(left, right)
        }
    }

    /// Compares two numbers of any types by exact value; everything that has no content is equal.
    private static func compareNumbers(_ left: Value, _ right: Value) -> Int {
        switch (left, right) {
        case (.double(let a), .double(let b)):
            if a < b { return -1 }
            if a > b { return 1 }
            if a == b { return 0 }
            return a.isNaN ? (b.isNaN ? 0 : -1) : 1
        case (.decimal128(let a), .decimal128(let b)): return Decimal128.compare(a, b)
        case (.decimal128(let a), .double(let b)): return Decimal128.compare(a, b)
        case (.double(let a), .decimal128(let b)): return -Decimal128.compare(b, a)
        case (.decimal128(let a), _):
            guard let b = right.integer else { return 0 }
            return Decimal128.compare(a, Decimal128(b))
        case (_, .decimal128(let b)):
            guard let a = left.integer else { return 0 }
            return Decimal128.compare(Decimal128(a), b)
        case (.double(let a), _):
            guard let b = right.integer else { return 0 }
            return -compare(b, a)
        case (_, .double(let b)):
            guard let a = left.integer else { return 0 }
            return compare(a, b)
        default:
            guard let a = left.integer, let b = right.integer else { return 0 }
            return a < b ? -1 : (a == b ? 0 : 1)
        }
    }

    private var integer: Int64? {
        switch self {
        case .int32(let value): Int64(value)
        case .int64(let value): value
        default: nil
        }
    }

    /// Compares an integer with a double without rounding either.
    static func compare(_ integer: Int64, _ double: Double) -> Int {
        if double.isNaN { return 1 }
        // 2^63 is the first double above every Int64, and -2^63 is Int64.min itself.
        if double >= 0x1p63 { return -1 }
        if double < -0x1p63 { return 1 }
        let whole = double.rounded(.towardZero)
        let other = Int64(whole)
        if integer != other { return integer < other ? -1 : 1 }
        return double == whole ? 0 : (double > whole ? -1 : 1)
    }

    public func hash(into hasher: inout Hasher) { hash(into: &hasher, depth: 0) }

    func hash(into hasher: inout Hasher, depth: Int) {
        hasher.combine(type.canonicalOrder)
        switch self {
        case .string(let value), .symbol(let value), .javaScript(let value): hasher.combine(value)
        case .document(let value): value.hash(into: &hasher, named: true, depth: depth + 1)
        case .array(let value): value.document.hash(into: &hasher, named: false, depth: depth + 1)
        case .binary(let value):
            hasher.combine(value.subtype)
            unsafe value.data.withUnsafeBytes { bytes in unsafe hasher.combine(bytes: bytes) }
        case .objectID(let value): hasher.combine(value)
        case .bool(let value): hasher.combine(value)
        case .date(let value): hasher.combine(value)
        case .timestamp(let value): hasher.combine(value)
        case .regex(let value): hasher.combine(value)
        case .dbPointer(let value): hasher.combine(value)
        case .javaScriptWithScope(let code, let scope):
            hasher.combine(code)
            scope.hash(into: &hasher, named: true, depth: depth + 1)
        case .int32(let value): hasher.combine(Int64(value))
        case .int64(let value): hasher.combine(value)
        case .double(let value): Self.hash(value, into: &hasher)
        case .decimal128(let value):
            // Numbers that compare equal must hash equal: whole ones as integers, then what a double holds exactly.
            if let whole = value.int64Exactly {
                hasher.combine(whole)
            } else if let double = value.doubleExactly {
                Self.hash(double, into: &hasher)
            } else {
                value.hashNormalized(into: &hasher)
            }
        case .undefined, .null, .minKey, .maxKey: break
        }
    }

    private static func hash(_ value: Double, into hasher: inout Hasher) {
        if let whole = Int64(exactly: value) {
            hasher.combine(whole)
        } else {
            hasher.combine(value.isNaN ? Double.nan.bitPattern : value.bitPattern)
        }
    }
}

extension Value: Comparable {
    public static func < (left: Value, right: Value) -> Bool { compare(left, right) < 0 }
}

extension Document {
    /// MongoDB's order of documents: element by element, the type family before the name before the value.
    public static func compare(_ left: Document, _ right: Document) -> Int {
        compare(left, right, named: true, depth: 1)
    }

    static func compare(_ left: Document, _ right: Document, named: Bool, depth: Int) -> Int {
        guard depth <= Value.comparisonDepthMax else { return compareBytes(left.bytes, right.bytes) }
        return unsafe left.bytes.withUnsafeBytes { leftBytes in
            unsafe right.bytes.withUnsafeBytes { rightBytes in
                var a = unsafe ElementWalker(leftBytes)
                var b = unsafe ElementWalker(rightBytes)
                while true {
                    let (hasA, hasB) = (a.advance(), b.advance())
                    guard hasA, hasB else { return hasA == hasB ? 0 : (hasB ? -1 : 1) }
                    if a.type != b.type {
                        let x = BSONType(rawValue: a.type)?.canonicalOrder ?? 0
                        let y = BSONType(rawValue: b.type)?.canonicalOrder ?? 0
                        if x != y { return x < y ? -1 : 1 }
                    }
                    if named {
                        let x = unsafe UnsafeRawBufferPointer(start: a.base + a.nameStart, count: a.nameCount)
                        let y = unsafe UnsafeRawBufferPointer(start: b.base + b.nameStart, count: b.nameCount)
                        let order = unsafe compareBytes(x, y)
                        if order != 0 { return order }
                    }
                    let order = Value.compare(a.value(in: left.bytes), b.value(in: right.bytes), depth: depth)
                    if order != 0 { return order }
                }
            }
        }
    }

    func hash(into hasher: inout Hasher, named: Bool, depth: Int) {
        guard depth <= Value.comparisonDepthMax else {
            hash(into: &hasher)
            return
        }
        for element in self {
            if named { hasher.combine(element.name) }
            element.value.hash(into: &hasher, depth: depth)
        }
        hasher.combine(UInt8(0))
    }
}
