import CairnFiles
import CairnSimulator
import Testing

/// The byte dumps of the module's page are what the code writes and reads.
@Suite struct WorkedExampleTests {
    /// The bytes of the dump marked `name` on the page.
    private func dump(_ name: String) throws -> [UInt8] {
        let root = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
        let page = try PosixFileSystem().contents(of: root + "/Sources/CairnFiles/CairnFiles.docc/CairnFiles.md")
        let lines = String(decoding: page, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        let start = try #require(lines.firstIndex(of: "```\(name)"))
        return lines[(start + 1)...].prefix { $0 != "```" }.flatMap { line in
            line.split(separator: " ").dropFirst().map { UInt8($0, radix: 16)! }
        }
    }

    @Test func theRecordLogOfThePageIsReadAndWritten() throws {
        let bytes = try dump("record-log")
        let disk = SimulatedFileSystem(seed: 1)
        let file = try disk.create("example")
        try file.write(bytes, at: 0)
        let kind = RecordLogHeader.Kind("TEST")
        var reader = try RecordLogReader("example", kind: kind, in: disk)
        let header = RecordLogHeader(kind: kind, number: 3, fileID: 0x1122_3344_5566_7788)
        #expect(reader.header == header)
        let record = try #require(try reader.next())
        #expect(record.tag == 7 && String(decoding: record.body, as: UTF8.self) == "cairn")
        #expect(try reader.next() == nil)

        var writer = try RecordLogWriter.create("again", header: header, in: disk)
        try writer.append(Array("cairn".utf8), tag: 7)
        #expect(try disk.contents(of: "again") == bytes)
    }

    @Test func theBlockOfThePageIsReadAndWritten() throws {
        let bytes = try dump("block")
        let text = Array("stone on stone on stone on stone".utf8)
        let block = try BlockCodec().decode(bytes[...], fileID: 0x1122_3344_5566_7788, offset: 4096, path: "page")
        #expect(block == text[...])
        var stored: [UInt8] = []
        BlockCodec().encode(text.span.bytes, fileID: 0x1122_3344_5566_7788, offset: 4096, appendingTo: &stored)
        #expect(stored == bytes)
    }
}
