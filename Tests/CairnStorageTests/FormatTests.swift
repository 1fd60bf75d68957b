import CairnFiles
import CairnSimulator
import Testing

@testable import CairnStorage

/// The examples of the page on formats are what the code writes and reads.
@Suite struct FormatTests {
    /// The code blocks of the page that consist of hexadecimal digits only.
    static func examples() throws -> [[UInt8]] {
        let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let page = try PosixFileSystem().contents(of: "/\(root)/Sources/CairnStorage/CairnStorage.docc/Formats.md")
        let blocks = String(decoding: page, as: UTF8.self).split(separator: "```", omittingEmptySubsequences: false)
        return blocks.enumerated().filter { $0.offset % 2 == 1 }.compactMap { _, block in
            let digits = block.filter { !$0.isWhitespace }
            guard digits.count % 2 == 0, digits.allSatisfy(\.isHexDigit) else { return nil }
            let characters = Array(digits)
            return stride(from: 0, to: characters.count, by: 2).map {
                UInt8(String(characters[$0...$0 + 1]), radix: 16)!
            }
        }
    }

    static func table(in directory: String, _ fileSystem: FixedIDs) throws -> TableDescription {
        var options = EngineOptions()
        options.compression = .none
        options.bloomBitsPerKey = 0
        try fileSystem.createDirectory(directory)
        var builder = try TableBuilder(
            number: 5, level: 1, directory: directory, fileSystem: fileSystem, options: options)
        var failure: FileError?
        "a".utf8.map { $0 }.withBorrowedBytes { key in
            "one".utf8.map { $0 }.withBorrowedBytes { value in
                do throws(FileError) { try builder.add(key, 3, .put, value, isSuperseded: false) } catch {
                    failure = error
                }
            }
        }
        if let failure { throw failure }
        return try builder.finish(
            tombstones: RangeTombstones([RangeTombstone(from: Array("m".utf8), to: Array("n".utf8), version: 4)]),
            mark: 9)
    }

    @Test func whatThePageShowsIsWhatIsWrittenAndRead() throws {
        let examples = try Self.examples()
        #expect(examples.count == 4)
        var batch = WriteBatch()
        batch.put("a".utf8, "1".utf8)
        batch.delete("b".utf8)
        batch.deleteRange(from: "c".utf8, to: "d".utf8)
        #expect(batch.encoded == examples[0])
        #expect(try WriteBatch(decoding: examples[0][...]) == batch)

        var edit = ManifestEdit()
        edit.logNumber = 7
        edit.mark = 42
        #expect(edit.encoded() == examples[1])
        #expect(try ManifestEdit(decoding: examples[1][...], path: "m", offset: 0) == edit)

        var block = BlockBuilder(restartInterval: 2)
        for (key, version, kind, value) in [
            ("apple", 2, EntryKind.put, "x"), ("apply", 1, .delete, ""), ("b", 1, .put, "yz"),
        ] as [(String, UInt64, EntryKind, String)] {
            Array(key.utf8).withBorrowedBytes { key in
                Array(value.utf8).withBorrowedBytes { block.add(key, version, kind, $0) }
            }
        }
        block.finish()
        #expect(block.bytes == examples[2])

        let fileSystem = FixedIDs()
        let description = try Self.table(in: "/t", fileSystem)
        let written = try fileSystem.contents(of: "/t/000005.sst")
        if written != examples[3] {
            let digits = written.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
            for start in stride(from: 0, to: digits.count, by: 32) {
                print(digits[start..<min(start + 32, digits.count)].joined())
            }
        }
        #expect(written == examples[3])
        let reader = try TableReader(
            description, path: "/t/000005.sst", fileSystem: fileSystem, cache: BlockCache(capacityBytes: 0))
        var tally = LookupTally()
        let found = try [0x61].withBorrowedBytes { key throws(StorageError) in try reader.find(key, at: 3, &tally) }
        #expect(found?.version == 3)
        #expect(found?.value == ArraySlice("one".utf8))
        #expect(reader.tombstones.tombstones.count == 1)
    }

    /// A simulated disk whose files all have the page's id.
    struct FixedIDs: FileSystem {
        let disk = SimulatedFileSystem(seed: 1)
        func create(_ path: String, preallocate bytes: Int) throws(FileError) -> any WritableFile {
            try disk.create(path, preallocate: bytes)
        }
        func openForWriting(_ path: String) throws(FileError) -> any WritableFile { try disk.openForWriting(path) }
        func open(_ path: String) throws(FileError) -> any ReadableFile { try disk.open(path) }
        func exists(_ path: String) throws(FileError) -> Bool { try disk.exists(path) }
        func size(of path: String) throws(FileError) -> UInt64 { try disk.size(of: path) }
        func list(_ directory: String) throws(FileError) -> [String] { try disk.list(directory) }
        func rename(_ source: String, to target: String) throws(FileError) { try disk.rename(source, to: target) }
        func link(_ source: String, to target: String) throws(FileError) { try disk.link(source, to: target) }
        func remove(_ path: String) throws(FileError) { try disk.remove(path) }
        func createDirectory(_ path: String) throws(FileError) { try disk.createDirectory(path) }
        func removeTree(_ path: String) throws(FileError) { try disk.removeTree(path) }
        func synchronizeDirectory(_ directory: String) throws(FileError) { try disk.synchronizeDirectory(directory) }
        func lock(_ path: String) throws(FileError) -> any FileLock { try disk.lock(path) }
        func freeSpace(at path: String) throws(FileError) -> UInt64 { try disk.freeSpace(at: path) }
        func makeFileID() -> UInt64 { 0x0123_4567_89AB_CDEF }
    }
}
