import CairnBSON
import CairnQuery
import Testing

@Suite("$redact") struct RedactTests {
    @Test func eachLevelIsJudgedByItsOwnFields() throws {
        let stage = "{'$redact': {'$cond': [{'$gt': ['$l', 1]}, '$$PRUNE', '$$DESCEND']}}"
        #expect(
            try run([stage], over: ["{'l': 1, 'a': {'l': 2}, 'b': [{'l': 0, 'c': {'l': 5}}, {'l': 3}, 7, [{'l': 9}]]}"])
                == [json("{'l': 1, 'b': [{'l': 0}, 7, []]}")])
        #expect(try run([stage], over: ["{'l': 2}"]) == [])
    }

    @Test func keepingEndsTheDescent() throws {
        let stage = "{'$redact': {'$cond': [{'$eq': ['$l', 1]}, '$$KEEP', '$$PRUNE']}}"
        #expect(try run([stage], over: ["{'l': 1, 'a': {'l': 2}}"]) == [json("{'l': 1, 'a': {'l': 2}}")])
    }

    @Test func rootStaysTheWholeDocument() throws {
        let stage = "{'$redact': {'$cond': [{'$gt': ['$$CURRENT.l', '$$ROOT.max']}, '$$PRUNE', '$$DESCEND']}}"
        #expect(
            try run([stage], over: ["{'max': 3, 'a': {'l': 4}, 'b': {'l': 2}}"]) == [json("{'max': 3, 'b': {'l': 2}}")])
    }

    @Test func anythingElseIsAnError() {
        #expect(code { _ = try run(["{'$redact': '$a'}"], over: ["{'a': 1}"]) } == ErrorCode(17053))
        #expect(code { _ = try run(["{'$redact': {'$literal': null}}"], over: ["{}"]) } == ErrorCode(17053))
    }
}
