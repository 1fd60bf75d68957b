import CairnBSON
import CairnStorage
import Foundation
import Testing

@testable import CairnDatabase

/// The worked example of the page on keys and payloads is what the code writes.
@Suite struct KeySpacePageTests {
    /// The hexadecimal digits of the page's example, by the label in front of them.
    private func example() throws -> [String: String] {
        let page = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Sources/CairnDatabase/CairnDatabase.docc/KeySpace.md")
        let text = try String(contentsOf: page, encoding: .utf8)
        let block = text.components(separatedBy: "```").first { $0.contains("record key") } ?? ""
        var found: [String: String] = [:]
        var label = ""
        for line in block.split(separator: "\n") {
            let head = line.prefix(14).trimmingCharacters(in: .whitespaces)
            if !head.isEmpty { label = head }
            found[label, default: ""] += line.dropFirst(14).filter { $0 != " " }
        }
        return found
    }

    private func hex(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    @Test func theExampleIsWhatIsStored() throws {
        let example = try example()
        let group = try TestGroup()
        try group.start([.on(1, ["a": 1])])
        try group.insert(["_id": 1, "a": "x"])
        let lower = KeySpace.prefix(TestGroup.collection, .records)
        let iterator = try group.engine.makeIterator(
            lower: lower[...], upper: KeySpace.end(of: TestGroup.collection)[...])
        try iterator.seekToFirst()
        #expect(hex(iterator.key) == example["record key"])
        #expect(hex(iterator.value) == example["record value"])
        try iterator.next()
        #expect(hex(iterator.key) == example["entry key"])
        let payload = try #require(group.log.last?.payload)
        #expect(hex(payload) == example["payload"])
        #expect(try ProposalPayload(decoding: payload[...]).batch.count == 2)
    }
}
