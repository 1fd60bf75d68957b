import CairnBSON
import CairnTestSupport
import Testing

/// Bytes that lie. Each is cut out of a larger buffer whose surroundings would show if anything were read beyond it.
struct HostileInputTests {
    private func error(in bytes: [UInt8]) -> BSONError? {
        let padded = [0xEE, 0xEE] + bytes + [0xEE, 0xEE]
        do {
            _ = try Document(validating: padded[2..<(2 + bytes.count)])
            return nil
        } catch {
            return error
        }
    }

    /// Looks at everything that a document shows, to have a trap or an endless loop show.
    private func walk(_ document: Document, depth: Int = 0) -> Int {
        var count = 0
        guard depth < 50 else { return 0 }
        for element in document {
            count += 1 + element.name.utf8.count + element.bytes.count
            switch element.value {
            case .document(let inner): count += walk(inner, depth: depth + 1)
            case .array(let inner): count += walk(inner.document, depth: depth + 1)
            case .javaScriptWithScope(let code, let scope):
                count += code.string.utf8.count + walk(scope, depth: depth + 1)
            case let value: count += value.encodedBytes.count
            }
        }
        return count
    }

    @Test func E06_everyTruncationIsAnError() {
        let bytes = Array(everyType.bytes)
        for count in 0..<bytes.count {
            let cut = Array(bytes.prefix(count))
            #expect(error(in: cut) != nil, "\(count) bytes")
            // With the outer length put right, something inside still does not fit.
            var patched = cut
            if count >= 5 {
                patched[0] = UInt8(count & 0xFF)
                patched[1] = UInt8(count >> 8)
                let found = error(in: patched)
                #expect(found != nil || Document(trusted: patched[...]).count < everyType.count)
                #expect(found?.offset ?? 0 <= count)
                _ = walk(Document(trusted: patched[...]))
            }
            _ = walk(Document(trusted: cut[...]))
        }
    }

    @Test(arguments: [
        "string", "document", "array", "binary", "dbPointer", "javaScript", "symbol", "javaScriptWithScope",
    ])
    func E06_everyLengthFieldIsChecked(name: String) throws {
        let element = try #require(everyType.element(named: name))
        let offset = element.valueBytes.startIndex - everyType.bytes.startIndex
        let bytes = Array(everyType.bytes)
        let honest = Int32(bytes[offset]) | Int32(bytes[offset + 1]) << 8
        for length in [-1, 0, 4, honest - 1, honest + 1, honest + 1000, .max, .min, 0x7FFF_FFFF - 4] as [Int32] {
            // Lengths that such a value can have.
            if length == honest || (length == 0 && name == "binary") { continue }
            var hostile = bytes
            let little = UInt32(bitPattern: length)
            for index in 0..<4 { hostile[offset + index] = UInt8(truncatingIfNeeded: little >> UInt32(8 * index)) }
            let found = error(in: hostile)
            #expect(found != nil, "\(name) with length \(length)")
            #expect(found.map { $0.offset >= 4 && $0.offset < hostile.count } ?? false, "\(name) with length \(length)")
            _ = walk(Document(trusted: hostile[...]))
        }
    }

    @Test func E06_theOuterLengthIsTheNumberOfBytes() {
        for length in [-1, 0, 4, 5, 200, 10_000, .max, .min] as [Int32] {
            var bytes = Array(everyType.bytes)
            for index in 0..<4 { bytes[index] = UInt8(truncatingIfNeeded: length >> Int32(8 * index)) }
            #expect(error(in: bytes)?.code == .lengthOutOfBounds)
            #expect(error(in: bytes)?.offset == 0)
            #expect((try? Document.byteCount(prefixOf: bytes[...])) == (length == 5 ? 5 : length == 200 ? 200 : nil))
        }
    }

    @Test func E06_aHugeClaimAllocatesNothing() {
        // 40 bytes: a string, a binary and a document that claim 2 GB.
        for type in [2, 5, 3] as [UInt8] {
            var bytes: [UInt8] = [40, 0, 0, 0, type, 0x61, 0, 0xF0, 0xFF, 0xFF, 0x7F]
            bytes += [UInt8](repeating: 0, count: 29)
            #expect(error(in: bytes)?.code == .lengthOutOfBounds)
            #expect(error(in: bytes)?.offset == 7)
            #expect(Document(trusted: bytes[...])["a"] == nil)
        }
    }

    @Test func E06_missingTerminatorsAreErrors() throws {
        var bytes = Array(everyType.bytes)
        bytes[bytes.count - 1] = 1
        #expect(error(in: bytes)?.code == .missingTerminator)
        bytes = Array((["a": "text"] as Document).bytes)
        bytes[bytes.count - 2] = 1
        #expect(error(in: bytes)?.code == .missingTerminator)
        // A name that runs to the end.
        #expect(error(in: [8, 0, 0, 0, 0x0A, 0x61, 0x61, 0])?.code == .missingTerminator)
        // A zero among the elements is a type that does not exist.
        #expect(error(in: [7, 0, 0, 0, 0, 0, 0])?.code == .unknownType)
        #expect(error(in: [8, 0, 0, 0, 0x14, 0x61, 0, 0])?.code == .unknownType)
    }

    private enum Kind: CaseIterable { case document, array, scope }

    /// `levels` frames in each other, the outermost included.
    private func nested(_ levels: Int, _ kind: (Int) -> Kind) -> [UInt8] {
        // From the inside out, but as a prefix and a suffix, so that many levels take linear time.
        var sizes = [5]
        var kinds: [Kind] = []
        for level in 1..<max(levels, 1) {
            let kind = kind(level)
            kinds.append(kind)
            sizes.append(sizes[level - 1] + (kind == .scope ? 8 + 4 + 5 + 1 : 8))
        }
        var bytes: [UInt8] = []
        func append(_ value: Int) { for index in 0..<4 { bytes.append(UInt8(value >> (8 * index) & 0xFF)) } }
        for level in stride(from: levels - 1, through: 1, by: -1) {
            append(sizes[level])
            switch kinds[level - 1] {
            case .document: bytes += [3, 0x61, 0]
            case .array: bytes += [4, 0x30, 0]
            case .scope:
                bytes += [15, 0x61, 0]
                append(sizes[level - 1] + 10)
                append(2)
                bytes += [0x66, 0]
            }
        }
        append(5)
        bytes += [UInt8](repeating: 0, count: levels)
        return bytes
    }

    @Test func E07_oneCounterLimitsTheDepthOfAllKinds() {
        let mixtures: [(Int) -> Kind] = [
            { _ in .document }, { _ in .array }, { _ in .scope }, { Kind.allCases[$0 % 3] },
        ]
        for mixture in mixtures {
            for levels in [1, 100, 180, 200] { #expect(error(in: nested(levels, mixture)) == nil, "\(levels) levels") }
            for levels in [201, 202, 1000, 100_000] {
                #expect(error(in: nested(levels, mixture))?.code == .tooDeep, "\(levels) levels")
            }
        }
        #expect(throws: BSONError.self) { try Document(validating: self.nested(11) { _ in .array }, maxDepth: 10) }
    }

    @Test func E07_depthThatWasNotValidatedExhaustsNoStack() {
        let bytes = nested(100_000) { Kind.allCases[$0 % 3] }
        let document = Document(trusted: bytes[...])
        #expect(Value.compare(.document(document), .document(document)) == 0)
        let key = KeyEncoding.encode(.document(document))
        #expect(KeyEncoding.skip(key[...]) == key.count)
        #expect(!document.description.isEmpty)
        var hasher = Hasher()
        Value.document(document).hash(into: &hasher)
    }

    @Test func E08_invalidUTF8IsAnErrorWithItsOffset() {
        let bad: [[UInt8]] = [
            [0x80], [0xC3], [0xC0, 0x80], [0xC1, 0xBF], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80],
            [0xF0, 0x80, 0x80, 0x80],
            [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xFF], [0xE2, 0x82], [0xF0, 0x9F, 0x98],
            [0xE2, 0x28, 0xA1],
        ]
        for sequence in bad {
            for padding in 0..<20 {
                let text = [UInt8](repeating: 0x61, count: padding) + sequence
                let length = text.count + 1
                let size = 4 + 3 + 4 + length + 1
                let string = [UInt8(size), 0, 0, 0, 2, 0x61, 0, UInt8(length), 0, 0, 0] + text + [0, 0]
                #expect(error(in: string)?.code == .invalidUTF8, "\(text)")
                #expect(error(in: string)?.offset == 11 + padding, "\(text)")
                let named = [UInt8(4 + 1 + length + 1), 0, 0, 0, 0x0A] + text + [0, 0]
                #expect(error(in: named)?.code == .invalidUTF8, "\(text)")
            }
        }
        for good in ["\u{80}", "\u{7FF}", "\u{800}", "\u{D7FF}", "\u{E000}", "\u{FFFF}", "\u{10000}", "\u{10FFFF}"] {
            #expect(error(in: Array((["aaaaaaa": Value(good)] as Document).bytes)) == nil)
        }
    }

    @Test func E08_odditiesAreReadOrRefusedButNeverTrap() throws {
        #expect(error(in: [9, 0, 0, 0, 8, 0x61, 0, 2, 0])?.code == .invalidBool)
        // Binary of subtype 2 with a wrong inner length.
        let old: [UInt8] = [19, 0, 0, 0, 5, 0x61, 0, 6, 0, 0, 0, 2, 9, 0, 0, 0, 1, 2, 0]
        #expect(error(in: old)?.code == .invalidBinary)
        var right = old
        right[12] = 2
        #expect(error(in: right) == nil)
        // Extreme dates, names that are empty or have dots, an array whose names lie.
        let array = BSONArray(["7": 1, "x": 2, "7": 3])
        let document: Document = [
            "": .date(milliseconds: .min), "$x": .date(milliseconds: .max), "a.b": .array(array),
            "d": .decimal128(Decimal128(high: .max, low: .max)),
            "e": .decimal128(Decimal128(high: 0x6FFF << 48, low: 0)),
        ]
        let checked = try Document(validating: document.bytes)
        #expect(checked["a.b"] == [1, 2, 3], "positions count, not names")
        #expect(checked["a.b"]?.asArray?[1] == 2)
        #expect(!checked.description.isEmpty)
        for element in checked { #expect(KeyEncoding.encode(element.value).isEmpty == false) }
        #expect(checked["d"]?.asDecimal128?.isNaN == true)
        #expect(checked["e"]?.asDecimal128?.isZero == true, "more than 34 digits mean zero")
    }

    /// Flips, cuts and inserts bytes at random. What passes validation must be readable to the last element and be the
    /// same after a rebuild; what does not pass must still be walked without a trap.
    @Test func E25_mutatedDocumentsNeverTrap() throws {
        let seed: UInt64 = 20_261_123
        var generator = SeededGenerator(seed: seed)
        var values = RandomValues(seed: seed)
        var accepted = 0
        for round in 0..<20_000 {
            var bytes = Array((round % 4 == 0 ? everyType : values.document()).bytes)
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                let position = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0..<6, using: &generator) {
                case 0: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
                case 1: bytes[position] = [0, 1, 4, 5, 0x7F, 0x80, 0xFF].randomElement(using: &generator)!
                case 2: bytes.remove(at: position)
                case 3: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: position)
                case 4: bytes[position] = UInt8.random(in: 1...20, using: &generator)
                default: bytes = Array(bytes.prefix(max(position, 1)))
                }
                if bytes.isEmpty { bytes = [0] }
            }
            let document = Document(trusted: bytes[...])
            _ = walk(document)
            if let found = error(in: bytes) {
                #expect(found.offset >= 0 && found.offset <= bytes.count, "seed \(seed), round \(round)")
            } else {
                accepted += 1
                let rebuilt = Document(document.map { ($0.name.string, $0.value) })
                #expect(rebuilt.byteCount == document.byteCount, "seed \(seed), round \(round)")
                let key = KeyEncoding.encode(.document(document))
                #expect(KeyEncoding.skip(key[...]) == key.count, "seed \(seed), round \(round)")
            }
        }
        #expect(accepted > 1000, "too few of the mutations passed for the test to mean something")
    }
}
