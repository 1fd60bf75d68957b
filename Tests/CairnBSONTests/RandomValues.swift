import CairnBSON
import CairnTestSupport

/// Values of all types, with a taste for the edges where comparisons and encodings go wrong.
struct RandomValues {
    var generator: SeededGenerator

    init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    mutating func value(depth: Int = 0) -> Value {
        // Half of all values are numbers: they have the hardest order.
        if generator.oneIn(2) { return number() }
        switch Int.random(in: 0..<(depth < 3 ? 19 : 16), using: &generator) {
        case 0: return .minKey
        case 1: return .maxKey
        case 2: return .null
        case 3: return .undefined
        case 4: return .bool(Bool.random(using: &generator))
        case 5: return .string(text())
        case 6: return .symbol(text())
        case 7: return .javaScript(text())
        case 8: return .objectID(objectID())
        case 9: return .date(milliseconds: integer())
        case 10: return .timestamp(Timestamp(rawValue: UInt64(bitPattern: integer())))
        case 11: return .binary(binary())
        case 12: return .regex(RegularExpression(pattern: name(), options: generator.oneIn(2) ? "i" : ""))
        case 13: return .dbPointer(DBPointer(namespace: text(), id: objectID()))
        case 14, 15: return .string(text())
        case 16: return .document(document(depth: depth + 1))
        case 17:
            return .array(
                BSONArray((0..<Int.random(in: 0..<4, using: &generator)).map { _ in value(depth: depth + 1) }))
        default: return .javaScriptWithScope(text(), scope: document(depth: depth + 1))
        }
    }

    mutating func document(depth: Int = 0) -> Document {
        Document((0..<Int.random(in: 0..<4, using: &generator)).map { _ in (name().string, value(depth: depth)) })
    }

    mutating func number() -> Value {
        switch Int.random(in: 0..<5, using: &generator) {
        case 0: return .int32(Int32(truncatingIfNeeded: integer()))
        case 1: return .int64(integer())
        case 2: return .double(double())
        default: return .decimal128(decimal())
        }
    }

    private mutating func integer() -> Int64 {
        let edges: [Int64] = [
            0, 1, -1, 1 << 53, -(1 << 53), .max, .min, 1 << 31, -(1 << 31), 127, 128, 255, 256, 1 << 62,
        ]
        switch Int.random(in: 0..<4, using: &generator) {
        case 0: return Int64.random(in: -4...4, using: &generator)
        case 1, 2: return edges.randomElement(using: &generator)! &+ Int64.random(in: -2...2, using: &generator)
        default: return Int64(bitPattern: generator.next()) >> Int64.random(in: 0..<63, using: &generator)
        }
    }

    private mutating func double() -> Double {
        let edges: [Double] = [
            0, -0.0, 1, -1, 0.1, 0.5, 1.5, -2.5, 0x1p53, -0x1p53, 0x1p63, -0x1p63, 0x1p64, .infinity, -.infinity, .nan,
            -.nan, .greatestFiniteMagnitude, .leastNonzeroMagnitude, .leastNormalMagnitude, 1e-7, 1e22, 1e23, 19.99,
        ]
        switch Int.random(in: 0..<5, using: &generator) {
        case 0: return edges.randomElement(using: &generator)!
        case 1:
            let edge = edges.randomElement(using: &generator)!
            return generator.oneIn(2) ? edge.nextUp : edge.nextDown
        case 2: return Double(integer())
        case 3: return Double(Int.random(in: -40...40, using: &generator)) / 8
        default: return Double(bitPattern: generator.next())
        }
    }

    mutating func decimal() -> Decimal128 {
        let edges = [
            "0", "-0", "0E+6111", "1", "1.0", "1.00", "-1", "0.1", "0.10", "0.5", "1.5", "1.50", "-2.5", "19.99", "NaN",
            "-NaN", "Infinity", "-Infinity", "9007199254740992", "9007199254740993", "9223372036854775807",
            "9223372036854775808", "9223372036854775807.5", "-9223372036854775808", "-9223372036854775809",
            "18446744073709551616", "1E+22", "1E+23", "1E-6176", "9.999999999999999999999999999999999E+6144",
            "1.7976931348623157E+308", "1.797693134862315708145274237317043E+308", "4.9E-324", "1E-400", "1E+400",
            "0.1000000000000000055511151231257827", "2.5E-1", "127", "128", "1E-7",
        ]
        switch Int.random(in: 0..<4, using: &generator) {
        case 0, 1: return Decimal128(edges.randomElement(using: &generator)!)!
        case 2:
            let digits = Int64.random(in: -400...400, using: &generator)
            return Decimal128("\(digits)E\(Int.random(in: -4...4, using: &generator))")!
        default:
            var digits = ""
            for _ in 0..<Int.random(in: 1...34, using: &generator) {
                digits += "\(Int.random(in: 0...9, using: &generator))"
            }
            let exponent =
                generator.oneIn(4)
                ? Int.random(in: -6170...6100, using: &generator) : Int.random(in: -45...30, using: &generator)
            return Decimal128("\(generator.oneIn(2) ? "-" : "")\(digits)E\(exponent)")!
        }
    }

    private mutating func text() -> BSONString {
        let pool = ["", "a", "b", "ab", "a\0", "a\0b", "\0", "é", "日本", "\u{10FFFF}", "\u{FFFF}", "zz", "a\u{1}"]
        return BSONString(pool.randomElement(using: &generator)!)
    }

    private mutating func name() -> BSONString {
        let pool = ["", "a", "b", "ab", "$set", "x.y", "é", "_id", "a longer name than eight bytes"]
        return BSONString(pool.randomElement(using: &generator)!)
    }

    private mutating func objectID() -> ObjectID {
        ObjectID(
            high: UInt64.random(in: 0...3, using: &generator) << 62, low: UInt32.random(in: 0...3, using: &generator))
    }

    private mutating func binary() -> Binary {
        let subtype = Binary.Subtype(rawValue: [0, 4, 5, 128].randomElement(using: &generator)!)
        return Binary(generator.bytes(Int.random(in: 0...4, using: &generator)), subtype: subtype)
    }
}
