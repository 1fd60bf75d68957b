import CairnBSON
import CairnTestSupport
import Testing

/// One element of each type.
let everyType: Document = [
    "double": 1.5,
    "string": "grüße",
    "document": ["a": 1, "b": ["c": nil]],
    "array": [1, "two", [3.0]],
    "binary": .binary(Binary([1, 2, 3], subtype: .init(rawValue: 128))),
    "undefined": .undefined,
    "objectID": .objectID(ObjectID("507f1f77bcf86cd799439011")!),
    "bool": true,
    "date": .date(milliseconds: -1),
    "null": nil,
    "regex": .regex(RegularExpression(pattern: "^a.b$", options: "im")),
    "dbPointer": .dbPointer(DBPointer(namespace: "db.c", id: ObjectID("507f1f77bcf86cd799439011")!)),
    "javaScript": .javaScript("f()"),
    "symbol": .symbol("s"),
    "javaScriptWithScope": .javaScriptWithScope("g()", scope: ["x": 1]),
    "int32": -7,
    "timestamp": .timestamp(Timestamp(seconds: 5, increment: 6)),
    "int64": 1_099_511_627_776,
    "decimal128": .decimal128(Decimal128("1.00")!),
    "minKey": .minKey,
    "maxKey": .maxKey,
]

struct DocumentTests {
    @Test func aDocumentOfTheSpecificationHasItsBytes() {
        let bytes: [UInt8] = [
            0x16, 0, 0, 0, 2, 0x68, 0x65, 0x6C, 0x6C, 0x6F, 0, 6, 0, 0, 0, 0x77, 0x6F, 0x72, 0x6C, 0x64, 0, 0,
        ]
        let document: Document = ["hello": "world"]
        #expect(Array(document.bytes) == bytes)
    }

    @Test func everyTypeIsReadBackAsItWasWritten() throws {
        let checked = try Document(validating: everyType.bytes)
        #expect(checked.count == 21)
        #expect(Set(checked.map(\.type)).count == 21)
        for element in checked {
            let value = element.value
            #expect(value.type == element.type)
            #expect(element.type == BSONType(alias: element.type.alias))
            #expect(element.type == BSONType(number: element.type.number))
            #expect(checked[element.name] == value)
            #expect(checked[element.name.string]?.isIdentical(to: value) == true)
            #expect(Array(element.valueBytes) == value.encodedBytes)
        }
        let rebuilt = Document(checked.map { ($0.name.string, $0.value) })
        #expect(rebuilt == everyType)
    }

    @Test func randomDocumentsAreReadBackAsTheyWereWritten() throws {
        let seed: UInt64 = 7
        var values = RandomValues(seed: seed)
        for round in 0..<3000 {
            let document = values.document()
            let checked = try Document(validating: document.bytes)
            let rebuilt = Document(checked.map { ($0.name.string, $0.value) })
            #expect(rebuilt == document, "seed \(seed), round \(round)")
        }
    }

    @Test func aSliceInTheMiddleOfABufferIsRead() throws {
        let bytes: [UInt8] = [9, 9, 9] + everyType.bytes + [9, 9]
        let length = try Document.byteCount(prefixOf: bytes[3...])
        #expect(length == everyType.byteCount)
        let document = try Document(validating: bytes[3..<(3 + length)])
        #expect(document == everyType)
        #expect(document["int32"] == -7)
        #expect(document["document"]?.asDocument?["b"] == ["c": nil])
        #expect(document["string"]?.asString?.utf8.startIndex ?? 0 > 3, "a copy would start at 0")
        #expect(document.hashValue == everyType.hashValue)
        #expect(document.compacted().bytes.startIndex == 0)
    }

    @Test func theFirstOfRepeatedNamesCounts() {
        let document: Document = ["a": 1, "ab": 2, "a": 3, "": 4]
        #expect(document["a"] == 1)
        #expect(document[""] == 4)
        #expect(document["b"] == nil)
        #expect(document["abc"] == nil)
        #expect(document.names == ["a", "ab", "a", ""])
    }

    @Test func editingKeepsTheOrderOfTheOthers() throws {
        var document: Document = ["a": 1, "b": "two", "c": 3]
        document.set("b", 2)
        #expect(document == ["a": 1, "b": 2, "c": 3])
        document.set("d", [4])
        #expect(document == ["a": 1, "b": 2, "c": 3, "d": [4]])
        document.remove("a")
        #expect(document == ["b": 2, "c": 3, "d": [4]])
        #expect(document.removing("x") == document)
        #expect(document.prepending("_id", 0).first?.name == "_id")
        #expect(document.appending("b", 5) == ["b": 2, "c": 3, "d": [4], "b": 5])
        #expect(document.appending("b", 5).removing("b") == ["c": 3, "d": [4]])
        let wide: Document = ["a": 1, "ab": 2, "b": ["a": 3], "a": 4, "": 5]
        #expect(wide.keeping(["b", "a"]) == ["a": 1, "b": ["a": 3], "a": 4])
        #expect(wide.keeping(["", "ab", "none"]) == ["ab": 2, "": 5])
        #expect(wide.keeping(["c"]) == Document())
        #expect(Document().keeping(["a"]) == Document())
        // A slice of something larger.
        let nested = (["x": 1, "in": ["a": 1, "b": "two", "c": 3]] as Document)["in"]?.asDocument
        #expect(nested?.keeping(["b", "c"]) == ["b": "two", "c": 3])
        _ = try Document(validating: document.bytes)
        // A document that lies in the middle of something else can be edited as well.
        let inner = try #require((["x": 0, "in": ["p": 1, "q": 2]] as Document)["in"]?.asDocument)
        #expect(inner.replacing("p", with: nil) == ["p": nil, "q": 2])
    }

    @Test func theBuilderWritesNestedDocumentsInPlace() throws {
        var builder = DocumentBuilder()
        builder.append("n", 1 as Int32)
        builder.appendDocument("d") { builder in
            builder.append("s", "text")
            builder.appendArray("a") { array in
                for index in 0..<120 { array.append(.int32(Int32(index))) }
                array.appendDocument { $0.append("deep", true) }
                array.appendArray { $0.append(nil) }
            }
        }
        builder.append(element: try #require(everyType.element(named: "regex")))
        builder.append("renamed", valueOf: try #require(everyType.element(named: "decimal128")))
        let mark = builder.begin(.document, "manual")
        builder.append(rawElements: try #require(everyType.rawElement(named: "int64")))
        builder.end(mark)
        let document = builder.finish()
        _ = try Document(validating: document.bytes)
        #expect(document["d"]?.asDocument?["a"]?.asArray?.count == 122)
        #expect(document["d"]?.asDocument?["a"]?.asArray?[119] == 119)
        #expect(document["d"]?.asDocument?["a"]?.asArray?.document.names[119] == "119")
        #expect(document["regex"] == everyType["regex"])
        #expect(document["renamed"]?.isIdentical(to: everyType["decimal128"]!) == true)
        #expect(document["manual"]?.asDocument?["int64"] == 1_099_511_627_776)
        #expect(builder.finish() == [:], "a finished builder starts again")
    }

    @Test func literalsAndVariablesNeedNoTypesInABuilder() throws {
        let (text, whole, large, document) = ("t", 5, 1 << 40, ["x": 1] as Document)
        var builder = DocumentBuilder()
        builder.append("a", 1)
        builder.append("b", [:])
        builder.append("c", [1, "x"])
        builder.append("d", nil)
        builder.append("e", 1.5)
        builder.append("f", true)
        builder.append("g", "x")
        builder.append("h", ["y": [2]])
        builder.append("i", text)
        builder.append("j", whole)
        builder.append("k", large)
        builder.append("l", document)
        builder.append("m", .minKey)
        let expected: Document = [
            "a": 1, "b": [:], "c": [1, "x"], "d": nil, "e": 1.5, "f": true, "g": "x", "h": ["y": [2]], "i": "t", "j": 5,
            "k": 1_099_511_627_776, "l": ["x": 1], "m": .minKey,
        ]
        #expect(builder.finish() == expected)
        var array = ArrayBuilder()
        array.append(1)
        array.append(["x": 1])
        array.append(document)
        #expect(array.finish() == [1, ["x": 1], ["x": 1]])
    }

    @Test func aBodyThatThrowsLeavesTheBuilderUsable() {
        struct Stop: Error {}
        var builder = DocumentBuilder()
        #expect(throws: Stop.self) {
            try builder.appendArray("a") { array throws(Stop) in
                array.append(1)
                throw Stop()
            }
        }
        builder.append("b", 2 as Int32)
        #expect(builder.finish() == ["a": [1], "b": 2])
    }

    @Test func stringsCompareWithSwiftStringsByBytes() {
        let name: BSONString = "name"
        #expect(name == "name")
        #expect(name != "nam")
        #expect(name != "names")
        #expect(BSONString("é") != BSONString("e\u{301}"))
        #expect(BSONString("a") < BSONString("ab"))
        #expect(BSONString("\u{FFFF}") < BSONString("\u{10000}"), "UTF-8 order is code point order")
        #expect(BSONString("a longer text than eight") > "a longer text than Eight")
        #expect(name.hasPrefix("na"))
        switch name {
        case "other": Issue.record("matched")
        case "name": break
        default: Issue.record("did not match")
        }
    }

    @Test func objectIDsAreMadeFromWhatTheCallerGives() {
        var first = ObjectIDGenerator(seed: 1)
        var second = ObjectIDGenerator(seed: 2)
        var ids: Set<ObjectID> = []
        for _ in 0..<1000 {
            ids.insert(first.next(seconds: 1_700_000_000))
            ids.insert(second.next(seconds: 1_700_000_000))
        }
        #expect(ids.count == 2000)
        #expect(ids.allSatisfy { $0.seconds == 1_700_000_000 })
        let id = ObjectID("507f1f77bcf86cd799439011")
        #expect(id?.hex == "507f1f77bcf86cd799439011")
        #expect(id?.bytes.count == 12)
        #expect(ObjectID(bytes: id?.bytes ?? []) == id)
        #expect(ObjectID("507f1f77bcf86cd79943901") == nil)
        #expect(ObjectID("507f1f77bcf86cd79943901g") == nil)
        #expect(ObjectID(bytes: [1, 2, 3]) == nil)
    }
}
