// The door: bytes from outside pass here once, and are then read without doubts.
extension Document {
    /// Levels of documents, arrays and scopes that may lie in each other, the outermost included.
    public static let depthMax = 200

    /// Takes bytes from outside after checking all of their structure: every length, terminator, type byte and boolean,
    /// the UTF-8 of names and strings, and the depth, down to the innermost document.
    ///
    /// - Throws: ``BSONError`` with the offset of the first offending byte, counted from the start of `bytes`.
    /// - Complexity: O(bytes); allocates nothing, whatever the bytes claim.
    public init(validating bytes: ArraySlice<UInt8>, maxDepth: Int = Document.depthMax) throws(BSONError) {
        let error: BSONError? = unsafe bytes.withUnsafeBytes { buffer in
            var validator = unsafe Validator(buffer, maxDepth: Swift.min(maxDepth, Self.depthMax))
            _ = validator.checkDocument(at: 0, limit: buffer.count, exact: true, depth: 1)
            return validator.error
        }
        if let error { throw error }
        self.bytes = bytes
    }

    /// Takes a copy of the bytes of an array; see ``init(validating:maxDepth:)-(ArraySlice<UInt8>,_)``.
    public init(validating bytes: [UInt8], maxDepth: Int = Document.depthMax) throws(BSONError) {
        try self.init(validating: bytes[...], maxDepth: maxDepth)
    }

    /// The length of the document that `bytes` start with, to cut a stream into documents. Looks at four bytes.
    ///
    /// - Throws: ``BSONError`` if the length cannot be one, or leads beyond `bytes`.
    public static func byteCount(prefixOf bytes: ArraySlice<UInt8>) throws(BSONError) -> Int {
        guard bytes.count >= 5 else {
            throw BSONError(.truncated, offset: bytes.count, "a document has 5 bytes or more, here are \(bytes.count)")
        }
        let claimed = unsafe bytes.withUnsafeBytes { buffer in
            Int(Int32(littleEndian: unsafe buffer.loadUnaligned(as: Int32.self)))
        }
        guard claimed >= 5, claimed <= bytes.count else {
            throw BSONError(
                .lengthOutOfBounds, offset: 0, "a document claims \(claimed) bytes, there are \(bytes.count)")
        }
        return claimed
    }
}

/// Checks a frame recursively. One counter of depth serves documents, arrays and scopes; it bounds the stack too.
///
/// Safety: it lives inside the closure that lends the buffer; every load follows a comparison with `limit`, and every
/// `limit` is at most the buffer's count.
@safe
private struct Validator {
    private let base: UnsafeRawPointer?
    private let maxDepth: Int
    private(set) var error: BSONError?

    init(_ buffer: UnsafeRawBufferPointer, maxDepth: Int) {
        unsafe base = buffer.baseAddress
        self.maxDepth = maxDepth
    }

    private mutating func fail(_ code: BSONError.Code, at offset: Int, _ message: String) -> Int? {
        if error == nil { error = BSONError(code, offset: offset, message) }
        return nil
    }

    @inline(__always)
    private func byte(_ position: Int) -> UInt8 {
        unsafe base.unsafelyUnwrapped.load(fromByteOffset: position, as: UInt8.self)
    }

    @inline(__always)
    private func int32(_ position: Int) -> Int {
        Int(Int32(littleEndian: unsafe base.unsafelyUnwrapped.loadUnaligned(fromByteOffset: position, as: Int32.self)))
    }

    /// Checks the frame at `start`, which must end at or before `limit` (exactly there if `exact`); returns its end.
    mutating func checkDocument(at start: Int, limit: Int, exact: Bool, depth: Int) -> Int? {
        guard depth <= maxDepth else {
            return fail(.tooDeep, at: start, "documents are nested more than \(maxDepth) levels deep")
        }
        guard limit - start >= 5 else {
            return fail(.truncated, at: limit, "a document has 5 bytes or more, here are \(limit - start)")
        }
        let length = int32(start)
        guard length >= 5, length <= limit - start, !exact || length == limit - start else {
            return fail(
                .lengthOutOfBounds, at: start, "a document claims \(length) bytes, it has \(limit - start)")
        }
        let end = start + length - 1
        guard byte(end) == 0 else {
            return fail(.missingTerminator, at: end, "a document does not end in a zero byte")
        }
        var position = start + 4
        while position < end {
            let type = byte(position)
            guard let valueStart = checkCString(at: position + 1, limit: end) else { return nil }
            guard let next = checkValue(type, at: valueStart, limit: end, element: position, depth: depth) else {
                return nil
            }
            position = next
        }
        return end + 1
    }

    private mutating func checkValue(
        _ type: UInt8, at position: Int, limit: Int, element: Int, depth: Int
    ) -> Int? {
        switch type {
        case 0x01, 0x09, 0x11, 0x12: return checkRoom(8, at: position, limit: limit)
        case 0x02, 0x0D, 0x0E: return checkString(at: position, limit: limit)
        case 0x03, 0x04: return checkDocument(at: position, limit: limit, exact: false, depth: depth + 1)
        case 0x05: return checkBinary(at: position, limit: limit)
        case 0x06, 0x0A, 0x7F, 0xFF: return position
        case 0x07: return checkRoom(12, at: position, limit: limit)
        case 0x08:
            guard let end = checkRoom(1, at: position, limit: limit) else { return nil }
            guard byte(position) <= 1 else {
                return fail(.invalidBool, at: position, "a boolean is \(byte(position)), neither 0 nor 1")
            }
            return end
        case 0x0B:
            guard let options = checkCString(at: position, limit: limit) else { return nil }
            return checkCString(at: options, limit: limit)
        case 0x0C:
            guard let end = checkString(at: position, limit: limit) else { return nil }
            return checkRoom(12, at: end, limit: limit)
        case 0x0F: return checkCodeWithScope(at: position, limit: limit, depth: depth)
        case 0x10: return checkRoom(4, at: position, limit: limit)
        case 0x13: return checkRoom(16, at: position, limit: limit)
        default: return fail(.unknownType, at: element, "an element has the unknown type \(type)")
        }
    }

    @inline(__always)
    private mutating func checkRoom(_ count: Int, at position: Int, limit: Int) -> Int? {
        guard count <= limit - position else {
            return fail(.truncated, at: limit, "a value needs \(count) bytes, here are \(limit - position)")
        }
        return position + count
    }

    /// Checks a name and its zero byte; returns where the value starts.
    private mutating func checkCString(at start: Int, limit: Int) -> Int? {
        var end = start
        var allASCII = true
        while end < limit {
            let byte = byte(end)
            if byte == 0 { break }
            if byte >= 0x80 { allASCII = false }
            end += 1
        }
        guard end < limit else {
            return fail(.missingTerminator, at: start, "a name does not end within its document")
        }
        if !allASCII, let bad = firstInvalidUTF8(from: start, to: end) {
            return fail(.invalidUTF8, at: bad, "a name is not UTF-8")
        }
        return end + 1
    }

    private mutating func checkString(at start: Int, limit: Int) -> Int? {
        guard let text = checkRoom(4, at: start, limit: limit) else { return nil }
        let length = int32(start)
        guard length >= 1, length <= limit - text else {
            return fail(.lengthOutOfBounds, at: start, "a string claims \(length) bytes, there are \(limit - text)")
        }
        let end = text + length - 1
        guard byte(end) == 0 else {
            return fail(.missingTerminator, at: end, "a string does not end in a zero byte")
        }
        if let bad = firstInvalidUTF8(from: text, to: end) {
            return fail(.invalidUTF8, at: bad, "a string is not UTF-8")
        }
        return end + 1
    }

    private mutating func checkBinary(at start: Int, limit: Int) -> Int? {
        guard let content = checkRoom(5, at: start, limit: limit) else { return nil }
        let length = int32(start)
        guard length >= 0, length <= limit - content else {
            return fail(
                .lengthOutOfBounds, at: start, "a binary claims \(length) bytes, there are \(limit - content)")
        }
        if byte(start + 4) == 2 {
            guard length >= 4, int32(content) == length - 4 else {
                return fail(.invalidBinary, at: content, "a binary of subtype 2 contradicts its inner length")
            }
        }
        return content + length
    }

    private mutating func checkCodeWithScope(at start: Int, limit: Int, depth: Int) -> Int? {
        guard let code = checkRoom(4, at: start, limit: limit) else { return nil }
        let length = int32(start)
        guard length >= 14, length <= limit - start else {
            return fail(
                .lengthOutOfBounds, at: start, "code with scope claims \(length) bytes, there are \(limit - start)")
        }
        guard let scope = checkString(at: code, limit: start + length) else { return nil }
        return checkDocument(at: scope, limit: start + length, exact: true, depth: depth + 1)
    }

    /// The start of the first sequence that is not UTF-8 (RFC 3629: no overlong forms, no surrogates), or nil.
    private func firstInvalidUTF8(from start: Int, to end: Int) -> Int? {
        var position = start
        while position < end {
            if position + 8 <= end {
                let word = unsafe base.unsafelyUnwrapped.loadUnaligned(fromByteOffset: position, as: UInt64.self)
                if word & 0x8080_8080_8080_8080 == 0 {
                    position += 8
                    continue
                }
            }
            let lead = byte(position)
            if lead < 0x80 {
                position += 1
                continue
            }
            let length: Int
            var low: UInt8 = 0x80
            var high: UInt8 = 0xBF
            switch lead {
            case 0xC2...0xDF: length = 2
            case 0xE0: (length, low) = (3, 0xA0)
            case 0xED: (length, high) = (3, 0x9F)
            case 0xE1...0xEF: length = 3
            case 0xF0: (length, low) = (4, 0x90)
            case 0xF1...0xF3: length = 4
            case 0xF4: (length, high) = (4, 0x8F)
            default: return position
            }
            guard position + length <= end else { return position }
            guard byte(position + 1) >= low, byte(position + 1) <= high else { return position }
            for next in position + 2..<max(position + length, position + 2) where byte(next) & 0xC0 != 0x80 {
                return position
            }
            position += length
        }
        return nil
    }
}
