import CairnBSON
import CairnTestSupport
import Testing

struct OrderTests {
    /// In ascending order; the members of an inner array are equal.
    static let ascending: [[Value]] = [
        [.minKey],
        [.undefined],
        [.null],
        [.double(.nan), .double(-.nan), .decimal128(.nan)],
        [.double(-.infinity), .decimal128(.negativeInfinity)],
        [.decimal128(Decimal128("-1E+6000")!)],
        [.double(-.greatestFiniteMagnitude)],
        [.decimal128(Decimal128("-9223372036854775809")!)],
        [.int64(.min), .double(-0x1p63), .decimal128(Decimal128("-9223372036854775808")!)],
        [.int64(.min + 1)],
        [.int64(-9_007_199_254_740_993)],
        [.int64(-9_007_199_254_740_992), .double(-0x1p53)],
        [.int32(-2), .double(-2), .int64(-2)],
        [.double(-1.5), .decimal128(Decimal128("-1.500")!)],
        [.int32(-1)],
        [.double(-0.1)],
        [.decimal128(Decimal128("-0.1")!)],
        [.double(-.leastNonzeroMagnitude)],
        [.decimal128(Decimal128("-1E-6176")!)],
        [0, .double(0), .double(-0.0), .int64(0), .decimal128(Decimal128("-0E-30")!), .decimal128(.zero)],
        [.decimal128(Decimal128("1E-6176")!)],
        [.double(.leastNonzeroMagnitude)],
        [.decimal128(Decimal128("0.1")!), .decimal128(Decimal128("0.1000")!)],
        [.double(0.1)],
        [.double(0.5), .decimal128(Decimal128("0.5")!)],
        [1, .double(1), .int64(1), .decimal128(Decimal128("1.00")!), .decimal128(Decimal128("1")!)],
        [.double(1.0.nextUp)],
        [.decimal128(Decimal128("19.99")!)],
        [127], [128], [255], [256],
        [.int64(9_007_199_254_740_992), .double(0x1p53)],
        [.int64(9_007_199_254_740_993), .decimal128(Decimal128("9007199254740993")!)],
        [.decimal128(Decimal128("9007199254740993.5")!)],
        [.int64(9_007_199_254_740_994), .double(0x1p53 + 2)],
        [.int64(.max), .decimal128(Decimal128("9223372036854775807")!)],
        [.decimal128(Decimal128("9223372036854775807.5")!)],
        [.double(0x1p63), .decimal128(Decimal128("9223372036854775808")!)],
        [.decimal128(Decimal128("9223372036854775809")!)],
        [.double(.greatestFiniteMagnitude)],
        [.decimal128(Decimal128("1.797693134862315708145274237317044E+308")!)],
        [.decimal128(Decimal128("1E+6000")!)],
        [.double(.infinity), .decimal128(.infinity)],
        ["", .symbol("")],
        ["A"],
        ["a", .symbol("a")],
        ["a\0"],
        ["a\0b"],
        ["aa"],
        ["é"],
        [[:]],
        [["a": 1], ["a": 1.0]],
        [["a": 1, "a": 0]],
        [["a": 2]],
        [["b": 1]],
        [["a": "x"]],
        [.array([])],
        [.array([1]), .array(BSONArray(["q": 1.0]))],
        [.array([1, 1])],
        [.array([2])],
        [.array([[]])],
        [.binary(Binary([]))],
        [.binary(Binary([1]))],
        [.binary(Binary([0], subtype: .uuid))],
        [.binary(Binary([0, 0]))],
        [.objectID(ObjectID(high: 0, low: 0))],
        [.objectID(ObjectID(high: 0, low: 1))],
        [.objectID(ObjectID(high: 1, low: 0))],
        [false],
        [true],
        [.date(milliseconds: .min)],
        [.date(milliseconds: -1)],
        [.date(milliseconds: 0)],
        [.date(milliseconds: .max)],
        [.timestamp(Timestamp(rawValue: 0))],
        [.timestamp(Timestamp(rawValue: .max))],
        [.regex(RegularExpression(pattern: "a"))],
        [.regex(RegularExpression(pattern: "a", options: "i"))],
        [.regex(RegularExpression(pattern: "ab"))],
        [.dbPointer(DBPointer(namespace: "b", id: ObjectID(high: 0, low: 9)))],
        [.dbPointer(DBPointer(namespace: "aa", id: ObjectID(high: 0, low: 1)))],
        [.javaScript("f")],
        [.javaScriptWithScope("f", scope: [:])],
        [.javaScriptWithScope("f", scope: ["a": 1])],
        [.maxKey],
    ]

    @Test func valuesAreInTheOrderOfMongoDB() {
        let flat = Self.ascending.enumerated().flatMap { place, values in values.map { (place, $0) } }
        for (i, a) in flat {
            for (j, b) in flat {
                let order = Value.compare(a, b)
                #expect(order.signum() == (i - j).signum(), "\(a) and \(b)")
                if i == j { #expect(a.hashValue == b.hashValue, "\(a) and \(b)") }
            }
        }
    }

    @Test func keysOfTheOrderedListAreOrderedBytes() {
        var previous: [UInt8] = []
        for values in Self.ascending {
            let keys = values.map { KeyEncoding.encode($0) }
            #expect(Set(keys).count == 1, "\(values)")
            #expect(previous.lexicographicallyPrecedes(keys[0]), "\(values)")
            previous = keys[0]
        }
    }

    @Test func C24_numbersThatAreEqualHaveOneKey() {
        let ones: [Value] = [1, 1.0, .int64(1), .decimal128(Decimal128("1.00")!), .decimal128(Decimal128("10E-1")!)]
        #expect(Set(ones.map { KeyEncoding.encode($0) }).count == 1)
        #expect(Set(ones).count == 1)
        let zeros: [Value] = [0, 0.0, .double(-0.0), .int64(0), .decimal128(Decimal128("-0.000")!)]
        #expect(Set(zeros.map { KeyEncoding.encode($0) }).count == 1)
        let nans: [Value] = [.double(.nan), .double(-.nan), .decimal128(.nan), .double(.signalingNaN)]
        #expect(Set(nans.map { KeyEncoding.encode($0) }).count == 1)
        #expect(KeyEncoding.encode(["a": 1]) == KeyEncoding.encode(["a": 1.0]))
        #expect(KeyEncoding.encode(["a": 1, "b": 2]) != KeyEncoding.encode(["b": 2, "a": 1]))
        #expect(XXH64.hash(KeyEncoding.encode(1)) == XXH64.hash(KeyEncoding.encode(1.0)))
        #expect(!Value.int32(1).isIdentical(to: 1.0))
    }

    private func order(_ a: [UInt8], _ b: [UInt8]) -> Int {
        a == b ? 0 : (a.lexicographicallyPrecedes(b) ? -1 : 1)
    }

    @Test func byteOrderIsBSONOrderOverRandomPairsOfAllTypes() {
        let seed: UInt64 = 4711
        var values = RandomValues(seed: seed)
        // Every value meets the one before it and a near relative of its own family.
        var previous = values.value()
        var previousKey = KeyEncoding.encode(previous)
        for round in 0..<60_000 {
            let value = round % 3 == 0 ? values.number() : values.value()
            let key = KeyEncoding.encode(value)
            let expected = Value.compare(previous, value).signum()
            if order(previousKey, key) != expected {
                Issue.record("seed \(seed), round \(round): \(previous) and \(value)")
            }
            if expected == 0, previous.hashValue != value.hashValue {
                Issue.record("seed \(seed), round \(round): hashes of \(previous) and \(value)")
            }
            (previous, previousKey) = (value, key)
        }
    }

    @Test func sortingAThousandNumbersByKeyIsSortingThemByValue() {
        let seed: UInt64 = 99
        var values = RandomValues(seed: seed)
        let numbers = (0..<400).map { _ in values.number() }
        let keys = numbers.map { KeyEncoding.encode($0) }
        var mismatches = 0
        for i in numbers.indices {
            for j in numbers.indices
            where Value.compare(numbers[i], numbers[j]).signum() != order(keys[i], keys[j]) {
                mismatches += 1
                if mismatches < 5 { Issue.record("seed \(seed): \(numbers[i]) and \(numbers[j])") }
            }
        }
        #expect(mismatches == 0)
    }

    @Test func compoundKeysOrderFieldByFieldAndComeApartAgain() {
        let seed: UInt64 = 12
        var values = RandomValues(seed: seed)
        var previous: ([Value], [UInt8])?
        for round in 0..<8000 {
            let fields = [values.value(), values.value(), values.value()]
            var key: [UInt8] = []
            for (index, field) in fields.enumerated() {
                KeyEncoding.append(field, descending: index == 1, to: &key)
            }
            var rest = key[...]
            for (index, field) in fields.enumerated() {
                let length = KeyEncoding.skip(rest, descending: index == 1)
                #expect(length == KeyEncoding.encode(field).count, "seed \(seed), round \(round): \(field)")
                rest = rest.dropFirst(length ?? rest.count)
            }
            #expect(rest.isEmpty)
            if let (other, otherKey) = previous {
                var expected = 0
                for index in 0..<3 where expected == 0 {
                    expected = Value.compare(other[index], fields[index]).signum() * (index == 1 ? -1 : 1)
                }
                #expect(order(otherKey, key) == expected, "seed \(seed), round \(round): \(other) and \(fields)")
            }
            previous = (fields, key)
        }
    }

    @Test func skippingDamagedKeysNeverTraps() {
        let seed: UInt64 = 31
        var values = RandomValues(seed: seed)
        for _ in 0..<5000 {
            var key = KeyEncoding.encode(values.value())
            for count in 0..<min(key.count, 20) { #expect(KeyEncoding.skip(key[..<count]) == nil) }
            let position = Int.random(in: 0..<key.count, using: &values.generator)
            key[position] = UInt8.random(in: 0...255, using: &values.generator)
            if let length = KeyEncoding.skip(key[...]) { #expect(length <= key.count) }
            _ = KeyEncoding.skip(key[...], descending: true)
        }
    }
}
