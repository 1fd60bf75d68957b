import CairnBSON
import CairnFiles
import CairnStorage
import CairnTestSupport
import Testing

@testable import CairnDatabase

/// Keys in words say what the keys were made of.
@Suite struct KeyDescriptionTests {
    private static let values: [(Value, String)] = [
        (.minKey, "MinKey"), (.bool(true), "true"), (.int32(0), "0"),
        (.int32(-1), "-1"), (.int64(1 << 40), "1099511627776"), (.int64(-255), "-255"), (.double(1.5), "1.5"),
        (.double(-0.25), "-0.25"), (.double(1e300), "1e+300"), (.double(.infinity), "Infinity"), (.double(.nan), "NaN"),
        (.string("a\u{0}b"), "\"a\\0b\""), (.string("Füße"), "\"Füße\""), (.date(milliseconds: -1), "Date(-1)"),
        (.document(["a": 1, "b": ["x", nil]]), "{a: 1, b: [\"x\", null]}"),
        (.array(BSONArray([.int32(1), .string("y")])), "[1, \"y\"]"),
        (.decimal128(Decimal128("0.1")!), "0.1"), (.decimal128(Decimal128("-7.25")!), "-7.25"),
    ]

    /// One descending is the other ascending, and only the descriptor knows which.
    @Test func nullAndMaxKeyAreNotToldApartWhereTheyCannotBe() {
        func entry(_ value: Value, descending: Bool) -> String {
            var key = KeySpace.prefix(CollectionID(3), IndexID(2))
            KeyEncoding.append(value, descending: descending, to: &key)
            key += KeySpace.recordKey(CollectionID(3), id: 1).dropFirst(KeySpace.prefixBytes)
            return KeyDescription.text(of: key[...])
        }
        #expect(entry(.null, descending: false).contains("index 2 (null) slot"))
        #expect(entry(.null, descending: true).contains("index 2 (null or MaxKey) slot"))
        #expect(entry(.maxKey, descending: false).contains("index 2 (null or MaxKey) slot"))
    }

    @Test func recordKeysShowCollectionSlotAndID() {
        for (value, text) in Self.values {
            let key = KeySpace.recordKey(CollectionID(9), id: value)
            let slot = KeySpace.slot(ofRecord: key[...])
            #expect(KeyDescription.text(of: key[...]) == "collection 9 slot \(slot) _id \(text)")
        }
    }

    @Test func indexEntriesShowTheirFieldsWhateverTheirDirections() {
        for (first, firstText) in Self.values {
            for (second, secondText) in Self.values {
                for directions in [[false, false], [false, true], [true, false], [true, true]] {
                    var key = KeySpace.prefix(CollectionID(3), IndexID(2))
                    KeyEncoding.append(first, descending: directions[0], to: &key)
                    KeyEncoding.append(second, descending: directions[1], to: &key)
                    let record = KeySpace.recordKey(CollectionID(3), id: .string("id"))
                    key += record.dropFirst(KeySpace.prefixBytes)
                    let slot = KeySpace.slot(ofRecord: record[...])
                    #expect(
                        KeyDescription.text(of: key[...])
                            == "collection 3 index 2 (\(firstText), \(secondText)) slot \(slot) _id \"id\"",
                        "directions \(directions)")
                }
            }
        }
    }

    @Test func keysOfTheSystemAndBytesOfNobodyAreShownToo() {
        #expect(KeyDescription.text(of: SystemKey.ceiling.bytes[...]) == "system: version ceiling")
        #expect(
            KeyDescription.text(of: SystemKey.session(high: 1, low: 2).bytes[...])
                == "system: session 00000000000000010000000000000002")
        #expect(KeyDescription.text(of: KeySpace.end(of: CollectionID(4))[...]) == "collection 5 records")
        #expect(KeyDescription.text(of: [1, 2]) == "0102")
        var random = SeededGenerator(seed: 11)
        for _ in 0..<2000 {
            // Whatever the bytes are, there is an answer.
            let bytes = (0..<Int.random(in: 0..<40, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            #expect(!KeyDescription.text(of: bytes[...]).isEmpty)
        }
    }

    @Test func aLogEntryShowsItsOperations() throws {
        var batch = WriteBatch()
        batch.put(KeySpace.recordKey(CollectionID(1), id: 5), "xyz".utf8)
        batch.delete(SystemKey.appliedTerm.bytes)
        let payload = ProposalPayload(version: Version(8), ceiling: Version(7), touchesCatalog: false, batch: batch)
        let lines = ProposalDescription.lines(of: payload.encoded()[...], showsKeys: true)
        #expect(lines.first == "@8, 2 operations")
        #expect(lines.count == 3)
        #expect(lines[1].hasPrefix("put collection 1 slot ") && lines[1].hasSuffix(" _id 5, 3 bytes"))
        #expect(lines[2] == "delete system: term of the last applied entry")
        #expect(ProposalDescription.lines(of: payload.encoded()[...], showsKeys: false).count == 1)
        #expect(ProposalDescription.lines(of: [1, 2, 3], showsKeys: true)[0].contains("does not decode"))
    }
}
