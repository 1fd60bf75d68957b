import CairnQuery
import Testing

@testable import CairnSharding

@Suite("The graph of views")
struct ViewGraphTests {
    private func chain(_ count: Int) -> [String: Set<String>] {
        Dictionary(uniqueKeysWithValues: (1...count).map { ("v\($0)", ["v\($0 - 1)"]) })
    }

    private func code(_ references: [String: Set<String>], _ name: String, _ reads: Set<String>) -> ErrorCode? {
        var graph = ViewGraph(references)
        do throws(QueryError) {
            try graph.set(name, reads: reads)
            return nil
        } catch {
            return error.code
        }
    }

    @Test func aChainMayHaveTwentyViews() {
        #expect(code(chain(19), "v20", ["v19"]) == nil)
        #expect(code(chain(20), "v21", ["v20"]) == .viewDepthLimitExceeded)
    }

    @Test func theViewsAboveCountToo() {
        #expect(code(chain(19), "v0", ["stones"]) == nil)
        #expect(code(chain(20), "v0", ["stones"]) == .viewDepthLimitExceeded)
        // Two chains that meet.
        var references = chain(10)
        for number in 1...10 { references["w\(number)"] = [number == 1 ? "top" : "w\(number - 1)"] }
        #expect(code(references, "top", ["v9"]) == nil)
        #expect(code(references, "top", ["v10"]) == .viewDepthLimitExceeded)
    }

    @Test func aCycleIsFoundHoweverItCloses() {
        #expect(code([:], "v", ["v"]) == .graphContainsCycle)
        #expect(code(chain(5), "v1", ["v5"]) == .graphContainsCycle)
        #expect(code(chain(5), "v1", ["stones", "v3"]) == .graphContainsCycle)
        #expect(
            code(["a": ["b", "c"], "b": ["d"], "c": ["d"]], "d", ["e"]) == nil, "two ways to one view are no cycle")
    }

    @Test func aCycleOfOthersHoldsNobodyUp() {
        let references: [String: Set<String>] = ["x": ["y"], "y": ["x"]]
        #expect(code(references, "v", ["stones"]) == nil)
        #expect(code(references, "v", ["x"]) == .viewDepthLimitExceeded)
    }
}
