import CairnBSON
import Foundation
import Testing

struct CodableTests {
    struct Address: Codable, Equatable {
        var street: String
        var number: Int?
    }

    enum Status: String, Codable { case active, retired }

    struct Person: Codable, Equatable {
        var _id: ObjectID
        var name: String
        var born: Date
        var id: UUID
        var photo: Data
        var bytes: [UInt8]
        var balance: Decimal128
        var height: Double
        var weight: Float
        var age: Int
        var small: Int8
        var short: UInt16
        var wide: UInt32
        var huge: UInt64
        var status: Status
        var addresses: [Address]
        var scores: [String: Int32]
        var nickname: String?
        var tags: Set<String>
        var matrix: [[Double]]
        var raw: Document
        var any: Value
        var list: BSONArray
        var at: Timestamp
        var blob: Binary
        var pattern: CairnBSON.RegularExpression
    }

    let person = Person(
        _id: ObjectID("507f1f77bcf86cd799439011")!, name: "Ada", born: Date(timeIntervalSince1970: -4_858_790_400.25),
        id: UUID(uuidString: "c8edabc3-f738-4ca3-b68d-ab92a91478a3")!, photo: Data([1, 2, 3]), bytes: [4, 5],
        balance: Decimal128("12.50")!, height: 1.65, weight: 55.5, age: 36, small: -5, short: 65535, wide: .max,
        huge: 1 << 62, status: .active,
        addresses: [Address(street: "a", number: 1), Address(street: "b", number: nil)],
        scores: ["math": 1], nickname: nil, tags: ["x"], matrix: [[1, 2], []], raw: ["a": 1], any: ["b": [nil]],
        list: [1, "two"], at: Timestamp(seconds: 1, increment: 2), blob: Binary([9], subtype: .md5),
        pattern: RegularExpression(pattern: "a", options: "i"))

    @Test func aStructBecomesADocumentWithBSONsTypes() throws {
        let document = try BSONEncoder().encode(person)
        _ = try Document(validating: document.bytes)
        let types = document.reduce(into: [:]) { $0[$1.name.string] = $1.type }
        let expected: [String: BSONType] = [
            "_id": .objectID, "name": .string, "born": .date, "id": .binary, "photo": .binary, "bytes": .binary,
            "balance": .decimal128, "height": .double, "weight": .double, "age": .int64, "small": .int32,
            "short": .int32, "wide": .int64, "huge": .int64, "status": .string, "addresses": .array,
            "scores": .document, "tags": .array, "matrix": .array, "raw": .document, "any": .document, "list": .array,
            "at": .timestamp, "blob": .binary, "pattern": .regex,
        ]
        #expect(types == expected)
        #expect(document.first?.name == "_id", "the order is that of the properties")
        #expect(document["born"] == .date(milliseconds: -4_858_790_400_250))
        #expect(document["addresses"] == [["street": "a", "number": 1], ["street": "b"]])
        #expect(document["id"]?.asBinary?.subtype == .uuid)
        #expect(try BSONDecoder().decode(Person.self, from: document) == person)
    }

    @Test func theSameTypesGoThroughOtherCodersAsText() throws {
        let data = try JSONEncoder().encode([person._id])
        #expect(String(decoding: data, as: UTF8.self).contains("$oid"))
        #expect(try JSONDecoder().decode([ObjectID].self, from: data) == [person._id])
        let document = try JSONDecoder().decode([Document].self, from: JSONEncoder().encode([everyType]))
        #expect(document == [everyType])
    }

    @Test func numbersConvertWhereNothingIsLost() throws {
        let decoder = BSONDecoder()
        #expect(
            try decoder.decode([Int].self, from: [1, 2.0, .int64(3), .decimal128(Decimal128("4.0")!)]) == [1, 2, 3, 4])
        #expect(try decoder.decode([Double].self, from: [1, 2.5]) == [1, 2.5])
        #expect(try decoder.decode([Int?].self, from: [1, nil, .undefined]) == [1, nil, nil])
        #expect(throws: DecodingError.self) { try decoder.decode([Int].self, from: [1.5]) }
        #expect(throws: DecodingError.self) { try decoder.decode([Int8].self, from: [128]) }
        #expect(throws: DecodingError.self) { try decoder.decode([Bool].self, from: [1]) }
        #expect(throws: DecodingError.self) { try decoder.decode([String].self, from: [1]) }
        #expect(throws: EncodingError.self) { try BSONEncoder().encode(["x": UInt64.max]) }
        #expect(throws: EncodingError.self) { try BSONEncoder().encode([1]) }
        #expect(throws: EncodingError.self) { try BSONEncoder().encode(["a\0b": 1]) }
        #expect(try BSONEncoder().encodeValue([1, 2]) == [1, 2])
    }

    @Test func errorsSayWhere() {
        do {
            _ = try BSONDecoder().decode([Address].self, from: [["street": "a"], ["street": 5]])
            Issue.record("decoded")
        } catch DecodingError.typeMismatch(_, let context) {
            #expect(context.codingPath.map(\.stringValue) == ["1", "street"])
        } catch {
            Issue.record("\(error)")
        }
    }

    class Animal: Codable {
        var name = "cat"
        init() {}
    }

    final class Pet: Animal {
        var owner = "Ada"
        enum CodingKeys: CodingKey { case owner }
        override init() { super.init() }
        override func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(owner, forKey: .owner)
            try super.encode(to: container.superEncoder())
        }
        required init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            owner = try container.decode(String.self, forKey: .owner)
            try super.init(from: container.superDecoder())
        }
    }

    @Test func superclassesHaveTheirOwnDocument() throws {
        let document = try BSONEncoder().encode(Pet())
        #expect(document == ["owner": "Ada", "super": ["name": "cat"]])
        #expect(try BSONDecoder().decode(Pet.self, from: document).name == "cat")
    }

    indirect enum Chain: Codable {
        case link(Chain)
        case end
    }

    @Test func E07_deepValuesAreErrors() {
        var chain = Chain.end
        for _ in 0..<500 { chain = .link(chain) }
        #expect(throws: EncodingError.self) { try BSONEncoder().encode(chain) }
    }
}
