import CairnBSON
import CairnQuery
import CairnStorage
import CairnTestSupport
import Testing

@testable import CairnDatabase

@Suite struct ProtocolTests {
    static let request = GroupRequest(
        .insert, collection: CollectionID(9), epoch: 77, session: .test(5, 3), statementIDs: [0, 4], attempt: 7,
        readVersion: Version(rawValue: 99), token: 13, budgetMilliseconds: 250, body: ["ordered": false],
        documents: [["_id": 1], ["_id": "two"]])

    @Test func requestSurvivesTheWire() throws {
        let decoded = try GroupRequest(decoding: Self.request.encoded()[...])
        #expect(decoded.operation == .insert)
        #expect(decoded.collection == CollectionID(9))
        #expect(decoded.epoch == 77)
        #expect(decoded.session == .test(5, 3))
        #expect(decoded.statementIDs == [0, 4])
        #expect(decoded.readVersion == Version(rawValue: 99))
        #expect(decoded.attempt == 7)
        #expect(decoded.token == 13)
        #expect(decoded.budgetMilliseconds == 250)
        #expect(decoded.body == Self.request.body)
        #expect(decoded.documents == Self.request.documents)
    }

    @Test func answersSurviveTheWire() throws {
        let error = QueryError(.duplicateKey, "E11000", details: ["keyPattern": ["a": 1]])
        let answers: [GroupAnswer] = [
            .reply(GroupReply(body: ["n": 1], documents: [["_id": 1]])), .failure(.notLeader(hint: nil)),
            .failure(.notLeader(hint: 3)), .failure(.staleEpoch(current: 8)), .failure(.needsDescriptor(have: nil)),
            .failure(.needsDescriptor(have: 2)), .failure(.droppedCollection), .failure(.error(error)),
            .failure(.unavailable("no")), .failure(.claimLost),
        ]
        for answer in answers {
            let bytes = answer.encoded()
            #expect(try GroupAnswer(decoding: bytes[...]).encoded() == bytes)
        }
        guard case .failure(.error(let back)) = try GroupAnswer(decoding: answers[7].encoded()[...]) else {
            Issue.record("not an error")
            return
        }
        #expect(back == error)
    }

    @Test func messagesCutAnywhereAreRefused() {
        let bytes = Self.request.encoded()
        for count in 0..<bytes.count {
            #expect(throws: DatabaseError.self) { try GroupRequest(decoding: bytes[..<count]) }
        }
        let answer = GroupAnswer.failure(.error(QueryError(.badValue, "text", details: ["a": 1]))).encoded()
        for count in 0..<answer.count {
            #expect(throws: DatabaseError.self) { try GroupAnswer(decoding: answer[..<count]) }
        }
    }

    @Test func damagedMessagesNeverTrap() {
        var random = SeededGenerator(seed: 42)
        let bytes = Self.request.encoded()
        for _ in 0..<3_000 {
            var damaged = bytes
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                damaged[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            _ = try? GroupRequest(decoding: damaged[...])
            _ = try? GroupAnswer(decoding: damaged[...])
            _ = try? SessionRecord(decoding: damaged[...])
        }
    }

    @Test func descriptorSurvivesAsDocument() throws {
        var descriptor = CollectionDescriptor(
            id: CollectionID(3), uuid: [UInt8](0..<16), database: "db", name: "x.y", epoch: 4,
            options: ["validator": ["a": 1]],
            indexes: [.on(2, ["a": 1, "b": -1], unique: true, sparse: true, partial: ["c": 1])],
            chunks: [Chunk(SlotRange(0, 100), group: 1), Chunk(SlotRange(100, HashSlot.count), group: 2)])
        #expect(try CollectionDescriptor(descriptor.document) == descriptor)
        #expect(descriptor.group(owning: 99) == 1)
        #expect(descriptor.group(owning: 100) == 2)
        #expect(descriptor.groups == [1, 2])
        #expect(descriptor.slots(ownedBy: 2).count == HashSlot.count - 100)
        descriptor.chunks.removeLast()
        #expect(throws: DatabaseError.self) { try CollectionDescriptor(descriptor.document) }
    }

    @Test func sessionRecordMergesStatements() throws {
        var record = SessionRecord(transactionNumber: 5, milliseconds: 9)
        for statement: Int32 in [4, 0, 1, 9, 3, 2, 8] { record.add(statement, StatementResult()) }
        record.add(20, StatementResult(n: 1, nModified: 1, upserted: "id", image: ["a": 1]))
        #expect(record.executed == [0...4, 8...9, 20...20])
        let decoded = try SessionRecord(decoding: record.encoded()[...])
        #expect(decoded == record)
        #expect(decoded.result(of: 3) == StatementResult())
        #expect(decoded.result(of: 5) == nil)
        #expect(decoded.result(of: 20)?.upserted == "id")
    }

    @Test func payloadSurvivesBothCodecs() throws {
        for size in [0, 100, 5_000] {
            var batch = WriteBatch()
            batch.put([1, 2, 3], [UInt8](repeating: 65, count: size))
            let payload = ProposalPayload(
                version: Version(rawValue: 7), ceiling: Version(rawValue: 9), touchesCatalog: size == 100, batch: batch)
            let bytes = payload.encoded()
            #expect(size < 1_000 || bytes.count < size / 2)
            let decoded = try ProposalPayload(decoding: bytes[...])
            #expect(decoded.version == payload.version && decoded.ceiling == payload.ceiling)
            #expect(decoded.touchesCatalog == payload.touchesCatalog)
            #expect(decoded.batch == batch)
            for count in 0..<min(bytes.count, 200) {
                #expect(throws: DatabaseError.self) { try ProposalPayload(decoding: bytes[..<count]) }
            }
        }
    }
}

/// What a newer release may send or have written.
@Suite struct OtherVersionTests {
    @Test func A52_aLogEntryOfAnUnknownCodecIsRefusedAndNotSkipped() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": 1])
        let index = group.database.appliedIndex
        var batch = WriteBatch()
        batch.put([1, 2, 3], [4])
        let version = Version(rawValue: group.engine.lastVersion.rawValue + 1)
        var payload = ProposalPayload(version: version, ceiling: version, touchesCatalog: false, batch: batch).encoded()
        payload[ProposalPayload.headerBytes - 1] = 5
        let error = #expect(throws: DatabaseError.self) {
            try group.database.apply(index: index + 1, term: 1, payload: payload[...])
        }
        #expect(error?.description.contains("codec 5 is not known") == true)
        #expect(group.database.appliedIndex == index, "the entry was skipped")
        #expect(try group.engine.get([1, 2, 3]) == nil)
    }

    @Test func A52_requestsOfAnotherFormatOrOperationAreRefusedByName() throws {
        let bytes = GroupRequest(.find, collection: CollectionID(1)).encoded()
        for (position, words) in [(0, "request format 200"), (1, "operation 200"), (2, "request flags 200")] {
            var other = bytes
            other[position] = 200
            let error = #expect(throws: DatabaseError.self) { try GroupRequest(decoding: other[...]) }
            #expect(
                error?.description.contains("\(words) is not known") == true
                    || error?.description.contains("\(words) are not known") == true)
        }
    }
}

@Suite struct KeySpaceTests {
    @Test func systemKeysAreReadBack() {
        let keys: [SystemKey] = [
            .descriptor(CollectionID(5)), .dropped(CollectionID(6)), .indexFlags(CollectionID(5), IndexID(3)),
            .session(high: 1 << 60, low: 77), .ceiling, .appliedTerm, .appliedConfiguration,
        ]
        for key in keys { #expect(SystemKey(key.bytes[...]) == key) }
        #expect(SystemKey(KeySpace.recordKey(CollectionID(1), id: 1)[...]) == nil)
    }

    @Test func C24_valuesThatCompareEqualShareSlotAndKey() throws {
        let ones: [Value] = [.int32(1), .int64(1), .double(1), .decimal128(Decimal128(1 as Int64))]
        let keys = Set(ones.map { KeySpace.recordKey(CollectionID(1), id: $0) })
        #expect(keys.count == 1)
        #expect(Set(ones.map { HashSlot.slot(of: $0) }).count == 1)
        #expect(KeySpace.recordKey(CollectionID(1), id: .double(-0.0)) == KeySpace.recordKey(CollectionID(1), id: 0))
        let order: Value = ["a": 1, "b": 2]
        let other: Value = ["b": 2, "a": 1]
        #expect(KeySpace.recordKey(CollectionID(1), id: order) != KeySpace.recordKey(CollectionID(1), id: other))
    }

    @Test func entryLeadsBackToItsRecord() throws {
        let index = try IndexState(
            .on(2, ["a": 1, "b": -1]), of: CollectionID(8), flags: [], readySince: Version(rawValue: 1))
        let document: Document = ["_id": "key", "a": [1, "x", nil], "b": 2.5]
        let record = KeySpace.recordKey(CollectionID(8), id: "key")
        let entries = try index.entries(of: document, record: record, bytesMax: 1_000)
        #expect(entries.keys.count == 3)
        #expect(entries.multikey)
        for entry in entries.keys {
            let back = KeySpace.recordKey(ofEntry: entry[...], collection: CollectionID(8), descending: [false, true])
            #expect(back == record)
        }
    }
}

@Suite struct TipTests {
    @Test(arguments: [1, 2, 3] as [UInt64])
    func tipTableEqualsASortedDictionary(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let table = TipTable()
        var model: [[UInt8]: [UInt8]?] = [:]
        for step in 0..<4_000 {
            let key = random.bytes(Int.random(in: 1...3, using: &random)).map { $0 & 31 }
            let value: [UInt8]? = random.oneIn(4) ? nil : [UInt8(step & 255)]
            table.set(key, value.map { $0[...] })
            model[key] = value
        }
        #expect(table.count == model.count)
        let sorted = model.keys.sorted { $0.lexicographicallyPrecedes($1) }
        var cursor = table.cursor(atOrAfter: [])
        for key in sorted {
            #expect(cursor.entry?.key == key)
            cursor.next()
        }
        #expect(cursor.entry == nil)
        cursor = table.cursor(before: [255])
        for key in sorted.reversed() {
            #expect(cursor.entry?.key == key)
            cursor.previous()
        }
        #expect(cursor.entry == nil)
        for key in sorted.prefix(300) {
            #expect(table.lookup(key[...])! == model[key]!.map { $0[...] })
            #expect(table.cursor(atOrAfter: key[...]).entry?.key == key)
        }
        #expect(table.lookup([99, 99, 99, 99]) == nil)
    }

    @Test func generationsAreDroppedOnceApplied() {
        let tip = Tip(term: 1)
        tip.set([1], [1], position: 1)
        tip.set([2], [2], position: 2)
        tip.applied(through: 1)
        #expect(tip.lookup([1]) != nil, "the generation still has an entry that is not applied")
        tip.set([1], [3], position: 3)
        #expect(tip.lookup([1])! == [3])
        tip.applied(through: 2)
        #expect(tip.lookup([2]) == nil)
        #expect(tip.lookup([1])! == [3])
        tip.applied(through: 3)
        #expect(tip.isEmpty)
    }

    @Test func A22_clockOnlyMovesForward() {
        var clock = VersionClock()
        let first = clock.next(nowMilliseconds: 1_000_000)
        let back = clock.next(nowMilliseconds: 1)
        #expect(back > first)
        #expect(clock.next(nowMilliseconds: 2_000_000) == VersionClock.version(milliseconds: 2_000_000))
        let far = VersionClock.version(milliseconds: 2_000_000 + 60_001)
        let refused = clock.observe(far, nowMilliseconds: 2_000_000)
        #expect(!refused)
        #expect(clock.last < far)
        let adopted = clock.observe(VersionClock.version(milliseconds: 2_060_000), nowMilliseconds: 2_000_000)
        #expect(adopted)
        #expect(clock.next(nowMilliseconds: 2_000_000) > VersionClock.version(milliseconds: 2_060_000))
    }
}
