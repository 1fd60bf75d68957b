import CairnBSON
import CairnTestSupport
import Testing

struct ExtendedJSONTests {
    struct Example: Sendable, CustomTestStringConvertible {
        let value: Value
        let canonical: String
        /// Nil where it is the canonical form.
        var relaxed: String?
        var testDescription: String { canonical }
    }

    /// The table of conversions in the specification, a row each.
    static let examples: [Example] = [
        Example(
            value: .objectID(ObjectID("5d505646cf6d4fe581014ab2")!), canonical: #"{"$oid":"5d505646cf6d4fe581014ab2"}"#),
        Example(value: .symbol("hello"), canonical: #"{"$symbol":"hello"}"#),
        Example(value: "hello", canonical: #""hello""#),
        Example(value: "hello☃", canonical: #""hello☃""#),
        Example(value: "a\"\\\n\u{1}\0b", canonical: #""a\"\\\n\u0001\u0000b""#),
        Example(value: 42, canonical: #"{"$numberInt":"42"}"#, relaxed: "42"),
        Example(value: .int64(42), canonical: #"{"$numberLong":"42"}"#, relaxed: "42"),
        Example(value: 42.42, canonical: #"{"$numberDouble":"42.42"}"#, relaxed: "42.42"),
        Example(value: 1.0, canonical: #"{"$numberDouble":"1.0"}"#, relaxed: "1.0"),
        Example(value: .double(-0.0), canonical: #"{"$numberDouble":"-0.0"}"#, relaxed: "-0.0"),
        Example(value: .double(.infinity), canonical: #"{"$numberDouble":"Infinity"}"#),
        Example(value: .double(-.infinity), canonical: #"{"$numberDouble":"-Infinity"}"#),
        Example(value: .double(.nan), canonical: #"{"$numberDouble":"NaN"}"#),
        Example(value: .decimal128(Decimal128("1234.50")!), canonical: #"{"$numberDecimal":"1234.50"}"#),
        Example(
            value: .binary(Binary([0xFF, 0xFF])), canonical: #"{"$binary":{"base64":"//8=","subType":"00"}}"#),
        Example(
            value: .binary(
                Binary(
                    [0xC8, 0xED, 0xAB, 0xC3, 0xF7, 0x38, 0x4C, 0xA3, 0xB6, 0x8D, 0xAB, 0x92, 0xA9, 0x14, 0x78, 0xA3],
                    subtype: .uuid)),
            canonical: #"{"$binary":{"base64":"yO2rw/c4TKO2jauSqRR4ow==","subType":"04"}}"#),
        Example(value: .javaScript("function(){}"), canonical: #"{"$code":"function(){}"}"#),
        Example(
            value: .javaScriptWithScope("f()", scope: ["x": 1]),
            canonical: #"{"$code":"f()","$scope":{"x":{"$numberInt":"1"}}}"#,
            relaxed: #"{"$code":"f()","$scope":{"x":1}}"#),
        Example(value: ["a": nil], canonical: #"{"a":null}"#),
        Example(value: [[], [:], [true, false]], canonical: "[[],{},[true,false]]"),
        Example(
            value: .timestamp(Timestamp(seconds: 42, increment: 4_294_967_295)),
            canonical: #"{"$timestamp":{"t":42,"i":4294967295}}"#),
        Example(
            value: .regex(RegularExpression(pattern: "foo*", options: "ix")),
            canonical: #"{"$regularExpression":{"pattern":"foo*","options":"ix"}}"#),
        Example(
            value: .dbPointer(DBPointer(namespace: "db.c", id: ObjectID("57e193d7a9cc81b4027498b1")!)),
            canonical: #"{"$dbPointer":{"$ref":"db.c","$id":{"$oid":"57e193d7a9cc81b4027498b1"}}}"#),
        Example(
            value: .date(milliseconds: 1_356_351_330_501), canonical: #"{"$date":{"$numberLong":"1356351330501"}}"#,
            relaxed: #"{"$date":"2012-12-24T12:15:30.501Z"}"#),
        Example(
            value: .date(milliseconds: 0), canonical: #"{"$date":{"$numberLong":"0"}}"#,
            relaxed: #"{"$date":"1970-01-01T00:00:00Z"}"#),
        Example(
            value: .date(milliseconds: 253_402_300_799_999),
            canonical: #"{"$date":{"$numberLong":"253402300799999"}}"#,
            relaxed: #"{"$date":"9999-12-31T23:59:59.999Z"}"#),
        Example(
            value: .date(milliseconds: 951_782_400_000), canonical: #"{"$date":{"$numberLong":"951782400000"}}"#,
            relaxed: #"{"$date":"2000-02-29T00:00:00Z"}"#),
        // Outside of the years 1970 to 9999 the relaxed form is the canonical one.
        Example(value: .date(milliseconds: -1), canonical: #"{"$date":{"$numberLong":"-1"}}"#),
        Example(
            value: .date(milliseconds: 253_402_300_800_000),
            canonical: #"{"$date":{"$numberLong":"253402300800000"}}"#),
        Example(value: .minKey, canonical: #"{"$minKey":1}"#),
        Example(value: .maxKey, canonical: #"{"$maxKey":1}"#),
        Example(value: .undefined, canonical: #"{"$undefined":true}"#),
        // A query's operators and references stand for themselves.
        Example(value: ["$regex": "a", "$options": "i"], canonical: #"{"$regex":"a","$options":"i"}"#),
        Example(value: ["$ref": "c", "$id": "x"], canonical: #"{"$ref":"c","$id":"x"}"#),
        Example(
            value: ["$gt": 1, "": 2],
            canonical: #"{"$gt":{"$numberInt":"1"},"":{"$numberInt":"2"}}"#, relaxed: #"{"$gt":1,"":2}"#),
    ]

    @Test(arguments: examples)
    func bothFormsAreThoseOfTheSpecification(example: Example) throws {
        #expect(ExtendedJSON.string(from: example.value, format: .canonical) == example.canonical)
        #expect(ExtendedJSON.string(from: example.value) == example.relaxed ?? example.canonical)
        let read = try ExtendedJSON.value(from: example.canonical)
        #expect(read.type == example.value.type)
        #expect(read == example.value)
        let relaxed = try ExtendedJSON.value(from: example.relaxed ?? example.canonical)
        #expect(relaxed == example.value)
    }

    @Test(arguments: [
        (#" { "a" : [ 1 , 2.5e1 , -3E-1 ] } "#, #"{"a":[1,25.0,-0.3]}"#),
        (#""\u0041\u00e9\ud83d\ude00\/\b\f\n\r\t""#, #""Aé😀/\b\f\n\r\t""#),
        ("2147483648", "2147483648"), ("9223372036854775808", "9.223372036854776e+18"), ("-0", "0"),
        (#"{"$date":"2012-12-24T13:15:30+01:00"}"#, #"{"$date":"2012-12-24T12:15:30Z"}"#),
        (#"{"$date":"2012-12-24T12:15:30.5Z"}"#, #"{"$date":"2012-12-24T12:15:30.500Z"}"#),
        (#"{"$binary":"//8=","$type":"80"}"#, #"{"$binary":{"base64":"//8=","subType":"80"}}"#),
        (#"{"$binary":{"subType":"0","base64":""}}"#, #"{"$binary":{"base64":"","subType":"00"}}"#),
        (
            #"{"$uuid":"c8edabc3-f738-4ca3-b68d-ab92a91478a3"}"#,
            #"{"$binary":{"base64":"yO2rw/c4TKO2jauSqRR4ow==","subType":"04"}}"#
        ),
        (
            #"{"$regularExpression":{"options":"xi","pattern":"a"}}"#,
            #"{"$regularExpression":{"pattern":"a","options":"ix"}}"#
        ),
        (#"{"$scope":{},"$code":"f"}"#, #"{"$code":"f","$scope":{}}"#),
    ])
    func otherSpellingsAreRead(text: String, printed: String) throws {
        #expect(ExtendedJSON.string(from: try ExtendedJSON.value(from: text)) == printed)
    }

    @Test(arguments: [
        "", " ", "{", "}", "[1,]", "[1 2]", #"{"a"}"#, #"{"a":}"#, #"{"a":1,}"#, "{a:1}", "01", "1.", ".5", "-", "+1",
        "1e",
        "tru", "nul", "NaN", "\"", #""\x""#, #""\u12""#, #""\ud800""#, #""\ud800\u0041""#, #""\udc00""#, "\"\n\"",
        "1 1",
        "1e999", "'a'", #"{"a\u0000b":1}"#, #"{"$oid":"12"}"#, #"{"$oid":1}"#, #"{"$numberInt":1}"#,
        #"{"$oid":"57e193d7a9cc81b4027498b1","x":1}"#, #"{"$numberInt":"2147483648"}"#, #"{"$numberLong":"x"}"#,
        #"{"$numberDouble":"0x1p3"}"#, #"{"$numberDouble":"inf"}"#, #"{"$numberDecimal":"1e7000"}"#, #"{"$date":42}"#,
        #"{"$date":"2012-13-01T00:00:00Z"}"#, #"{"$date":"2011-02-29T00:00:00Z"}"#, #"{"$date":"today"}"#,
        #"{"$timestamp":{"t":-1,"i":0}}"#, #"{"$timestamp":{"t":1}}"#, #"{"$minKey":2}"#, #"{"$undefined":false}"#,
        #"{"$binary":{"base64":"!","subType":"00"}}"#, #"{"$binary":{"base64":"AA=="}}"#,
        #"{"$symbol":{"$symbol":"x"}}"#,
        #"{"$regularExpression":{"pattern":"a\u0000","options":""}}"#, #"{"$code":"f","$scope":1}"#, #"{"$scope":{}}"#,
        #"{"$uuid":"c8edabc3f7384ca3b68dab92a91478a3"}"#,
    ])
    func whatIsNotExtendedJSONIsAnErrorWithAPlace(text: String) {
        do {
            let value = try ExtendedJSON.value(from: text)
            Issue.record("\(text) was read as \(value)")
        } catch {
            #expect(error.code == .invalidText)
            #expect(error.offset >= 0 && error.offset <= text.utf8.count)
        }
    }

    @Test func onlyADocumentIsADocument() {
        #expect(throws: BSONError.self) { try ExtendedJSON.document(from: "[1]") }
        #expect((try? ExtendedJSON.document(from: #"{"a":1}"#)) == ["a": 1])
        #expect(throws: BSONError.self) { try ExtendedJSON.value(from: ([0x22, 0xFF, 0x22] as [UInt8])[...]) }
    }

    @Test func E07_deepTextIsAnErrorAndNoStackOverflow() throws {
        for (open, close) in [("[", "]"), (#"{"a":"#, "}")] {
            let deep =
                String(repeating: open, count: 200) + (open == "[" ? "" : "1") + String(repeating: close, count: 200)
            #expect(throws: Never.self) { try ExtendedJSON.value(from: deep) }
            do {
                _ = try ExtendedJSON.value(from: String(repeating: open, count: 100_000))
                Issue.record("read")
            } catch {
                #expect(error.code == .tooDeep)
            }
        }
    }

    @Test func randomDocumentsSurviveTheCanonicalForm() throws {
        let seed: UInt64 = 8
        var values = RandomValues(seed: seed)
        for round in 0..<2000 {
            let document = values.document()
            let text = ExtendedJSON.string(from: document, format: .canonical)
            // Names such as $set are operators here, so documents stand for themselves.
            let read = try ExtendedJSON.document(from: text)
            #expect(Value.document(read) == .document(document), "seed \(seed), round \(round): \(text)")
            #expect(ExtendedJSON.string(from: read, format: .canonical) == text, "seed \(seed), round \(round)")
        }
        let read = try ExtendedJSON.document(from: ExtendedJSON.string(from: everyType, format: .canonical))
        #expect(read == everyType)
    }

    @Test func mutatedTextNeverTraps() {
        let seed: UInt64 = 9
        var generator = SeededGenerator(seed: seed)
        let text = Array(ExtendedJSON.string(from: everyType, format: .canonical).utf8)
        for _ in 0..<5000 {
            var mutated = text
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                let position = Int.random(in: 0..<mutated.count, using: &generator)
                switch generator.next() % 3 {
                case 0: mutated[position] = Array(#"{}[]":,\$0-e"#.utf8).randomElement(using: &generator)!
                case 1: mutated.remove(at: position)
                default: mutated[position] = UInt8.random(in: 0...255, using: &generator)
                }
            }
            _ = try? ExtendedJSON.value(from: mutated[...])
        }
    }
}
