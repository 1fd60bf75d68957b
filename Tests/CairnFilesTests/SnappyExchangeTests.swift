import CairnFiles
import Foundation
import Testing

/// The half of `Tests/Cluster/test_snappy.py` that is ours: blocks go through a folder to another implementation and back.
@Suite struct SnappyExchangeTests {
    private static let directory = ProcessInfo.processInfo.environment["CAIRN_SNAPPY_DIR"]
    private static let bytesMax = 1 << 20

    /// Of every `x.raw` makes `x.cairn`, compressed; of every `x.python`, which the other side compressed, `x.back`.
    @Test(.enabled(if: directory != nil, "test_snappy.py sets CAIRN_SNAPPY_DIR"))
    func blocksGoToAnotherSnappyAndComeBack() throws {
        let directory = try #require(Self.directory)
        let fileSystem = PosixFileSystem()
        func write(_ bytes: [UInt8], to name: String) throws {
            let file = try fileSystem.create(directory + "/" + name)
            if !bytes.isEmpty { try file.write(bytes, at: 0) }
            try file.close()
        }
        var done = 0
        for name in try fileSystem.list(directory) {
            let bytes = try fileSystem.contents(of: directory + "/" + name)
            if name.hasSuffix(".raw") {
                var output: [UInt8] = []
                Snappy.compress(bytes.span.bytes, appendingTo: &output)
                try write(output, to: name.dropLast(4) + ".cairn")
            } else if name.hasSuffix(".python") {
                let block = try Snappy.decompress(bytes.span.bytes, limit: Self.bytesMax)
                try write(block, to: name.dropLast(7) + ".back")
            } else {
                continue
            }
            done += 1
        }
        #expect(done > 0, "nothing to do in \(directory)")
    }
}
