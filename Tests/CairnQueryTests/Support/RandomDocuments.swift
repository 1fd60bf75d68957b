import CairnBSON
import CairnTestSupport

/// Small random documents and filters with values that collide often.
struct RandomDocuments {
    var generator: SeededGenerator

    init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &generator) }

    mutating func scalar() -> Value {
        switch below(12) {
        case 0: .null
        case 1: .double([Double.nan, -0.0, 1.5, -.infinity][below(4)])
        case 2: .int64(Int64(below(4)))
        case 3: .text(["", "a", "b", "abc"][below(4)])
        case 4: .bool(below(2) == 0)
        case 5: .date(milliseconds: Int64(below(5) - 2) * 86_400_000)
        case 6: .decimal128(Decimal128(below(3)))
        case 7: .double(Double(below(4)))
        default: .int32(Int32(below(6) - 1))
        }
    }

    mutating func value(depth: Int = 2) -> Value {
        switch below(depth > 0 ? 8 : 1) {
        case 1: .array(BSONArray((0..<below(4)).map { _ in value(depth: depth - 1) }))
        case 2: .document(["b": value(depth: depth - 1)])
        case 3: .document(["c": value(depth: depth - 1), "b": value(depth: depth - 1)])
        default: scalar()
        }
    }

    mutating func document() -> Document {
        var document = Document()
        for name in ["a", "b", "c"] where below(5) > 0 { document.append(name, value()) }
        return document
    }

    mutating func condition() -> Value {
        switch below(9) {
        case 0: .document(["$gt": scalar()])
        case 1: .document(["$gte": scalar()])
        case 2: .document(["$lt": scalar()])
        case 3: .document(["$lte": scalar()])
        case 4: .document(["$in": [scalar(), value(), scalar()]])
        case 5: .document(["$gt": scalar(), "$lt": scalar()])
        case 6: .document(["$elemMatch": ["$gte": scalar()]])
        case 7: .document(["$exists": .bool(below(2) == 0)])
        default: value()
        }
    }

    mutating func filter(on paths: [String]) -> Document {
        var filter = Document()
        for _ in 0...below(2) { filter.append(paths[below(paths.count)], condition()) }
        return filter
    }
}
