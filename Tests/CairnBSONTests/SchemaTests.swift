import CairnBSON
import Foundation
import Testing

@Suite("Schemas of Codable types")
struct SchemaTests {
    enum Kind: String, Codable, CaseIterable { case granite, slate }
    enum Size: Int, Codable, CaseIterable { case small = 1, large }
    enum Loose: String, Codable { case one, two }

    struct Place: Codable {
        var latitude: Double
        var name: String?
    }

    struct Stone: Codable {
        var _id: ObjectID
        var kind: Kind
        var size: Size?
        var weight: Int
        var small: Int8
        var price: Decimal128
        var found: Date
        var tags: [String]
        var places: [Place]
        var readings: [String: Double]
        var picture: Data?
        var anything: Value
        var isWet: Bool
    }

    private func schema<T: Codable>(_ type: T.Type, allowsOtherFields: Bool = true) throws -> Document {
        try BSONSchema(of: type, allowsOtherFields: allowsOtherFields).document
    }

    @Test func aStructBecomesAnObjectWithItsProperties() throws {
        let expected = try ExtendedJSON.document(
            from: """
                {"bsonType": "object",
                 "required": ["_id", "kind", "weight", "small", "price", "found", "tags", "places", "readings", "anything", "isWet"],
                 "properties": {
                    "_id": {"bsonType": "objectId"},
                    "kind": {"enum": ["granite", "slate"]},
                    "size": {"enum": [1, 2, null]},
                    "weight": {"bsonType": ["int", "long"]},
                    "small": {"bsonType": "int"},
                    "price": {"bsonType": "decimal"},
                    "found": {"bsonType": "date"},
                    "tags": {"bsonType": "array", "items": {"bsonType": "string"}},
                    "places": {"bsonType": "array", "items": {"bsonType": "object", "required": ["latitude"], "properties": {
                        "latitude": {"bsonType": ["double", "int", "long"]}, "name": {"bsonType": ["string", "null"]}}}},
                    "readings": {"bsonType": "object", "additionalProperties": {"bsonType": ["double", "int", "long"]}},
                    "picture": {"bsonType": ["binData", "null"]},
                    "anything": {},
                    "isWet": {"bsonType": "bool"}}}
                """)
        #expect(Value.document(try schema(Stone.self)) == .document(expected))
    }

    struct Tree: Codable {
        var name: String
        var children: [Tree]
        var parent: Parent?
        final class Parent: Codable {
            let tree: Tree
        }
    }

    @Test func aTypeInsideItselfIsLookedIntoOnce() throws {
        let tree = try schema(Tree.self)
        let properties = tree["properties"]?.asDocument
        #expect(properties?["children"]?.asDocument?["items"]?.asDocument == ["bsonType": "object"])
        let parent = properties?["parent"]?.asDocument
        #expect(parent?["bsonType"]?.asArray.map(Array.init) == ["object", "null"])
    }

    @Test func otherFieldsCanBeForbidden() throws {
        let closed = try schema(Place.self, allowsOtherFields: false)
        #expect(closed["additionalProperties"] == false)
        #expect(closed["properties"]?.asDocument?["_id"]?.asDocument == [:])
        #expect(closed["required"]?.asArray.map(Array.init) == ["latitude"])
    }

    struct Renamed: Codable {
        var weight: Int
        enum CodingKeys: String, CodingKey { case weight = "w" }
    }

    @Test func namesAreThoseOfTheKeys() throws {
        #expect(try schema(Renamed.self)["properties"]?.asDocument?["w"] != nil)
    }

    struct WithLoose: Codable { var loose: Loose }

    @Test func whatCannotBeMadeUpIsNamed() {
        let error = #expect(throws: BSONSchema.Indescribable.self) { try schema(WithLoose.self) }
        #expect(error?.description.contains("loose: no Loose") == true, "\(String(describing: error))")
        #expect(throws: BSONSchema.Indescribable.self) { try schema(Int.self) }
        #expect(throws: BSONSchema.Indescribable.self) { try schema([String].self) }
    }

    @Test func everyEncodedValueIsOfTheTypesThatItsSchemaNames() throws {
        let stone = Stone(
            _id: ObjectID(seconds: 1, random: 2, counter: 3), kind: .slate, size: .large, weight: 5, small: 6,
            price: Decimal128(7), found: Date(timeIntervalSince1970: 8), tags: ["a"],
            places: [Place(latitude: 1.5, name: nil)], readings: ["x": 1], picture: Data([1]), anything: 3, isWet: true)
        let document = try BSONEncoder().encode(stone)
        let properties = try #require(try schema(Stone.self)["properties"]?.asDocument)
        for element in document {
            let property = try #require(properties[element.name.string]?.asDocument, "\(element.name)")
            let types: [String]
            switch property["bsonType"] {
            case .string(let type)?: types = [type.string]
            case .array(let several)?: types = several.compactMap { $0.stringValue }
            default: continue
            }
            #expect(types.contains(element.value.type.alias), "\(element.name)")
        }
    }
}
