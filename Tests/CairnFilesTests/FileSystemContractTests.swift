import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A file system to hold to the contract, with a directory to do it in.
enum Subject: String, CaseIterable, CustomTestStringConvertible {
    case posix, simulated

    var testDescription: String { rawValue }

    func with(_ body: (any FileSystem, String) throws -> Void) throws {
        switch self {
        case .simulated:
            let disk = SimulatedFileSystem(seed: 1)
            try disk.createDirectory("/work")
            try body(disk, "/work")
        case .posix:
            let disk = PosixFileSystem()
            let directory = "/tmp/cairn-files-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
            try disk.createDirectory(directory)
            defer { try? disk.removeTree(directory) }
            try body(disk, directory)
        }
    }
}

private func code(_ body: () throws -> Void) -> FileError.Code? {
    do {
        try body()
        return nil
    } catch {
        return (error as? FileError)?.code
    }
}

@Suite(.serialized) struct FileSystemContractTests {
    @Test(arguments: Subject.allCases) func whatIsWrittenIsRead(_ subject: Subject) throws {
        try subject.with { disk, directory in
            let path = directory + "/a"
            let file = try disk.create(path)
            try file.write([1, 2, 3, 4], at: 0)
            try file.write([9, 9][...], at: 6)
            #expect(file.size == 8)
            let reader = try disk.open(path)
            #expect(try reader.size() == 8)
            #expect(try reader.read(at: 0, count: 8) == [1, 2, 3, 4, 0, 0, 9, 9])
            #expect(try reader.read(at: 6, upTo: 100) == [9, 9])
            #expect(try reader.read(at: 100, upTo: 4) == [])
            do throws(FileError) {
                _ = try reader.read(at: 4, count: 5)
                Issue.record("read past the end")
            } catch {
                #expect(error.code == .truncated && error.offset == 8 && error.path == path)
            }
            try file.truncate(to: 2)
            #expect(try disk.contents(of: path) == [1, 2])
            try file.truncate(to: 4)
            try file.synchronizeData()
            #expect(try disk.contents(of: path) == [1, 2, 0, 0])
            try file.close()
            #expect(code { try file.write([1], at: 0) } == .io)
            let again = try disk.openForWriting(path)
            #expect(again.size == 4)
            try again.write([7], at: 0)
            #expect(try disk.contents(of: path) == [7, 2, 0, 0])
            #expect(code { _ = try disk.contents(of: path, limit: 3) } == .tooLarge)
        }
    }

    @Test(arguments: Subject.allCases) func aStreamIsReadAsItWasWritten(_ subject: Subject) throws {
        try subject.with { disk, directory in
            let path = directory + "/stream"
            let file = try disk.createStream(path)
            #expect(code { _ = try disk.createStream(path) } == .exists)
            var random = SeededGenerator(seed: 7)
            var written: [UInt8] = []
            // Pieces around what a disk's block and the buffer hold, with syncs in between.
            for (round, count) in [1, 4095, 4096, 4097, 0, 1 << 20, (1 << 20) - 1, 700_000, 2_500_001, 13].enumerated()
            {
                let piece = random.bytes(count)
                try file.write(piece, at: UInt64(written.count))
                written += piece
                #expect(file.size == UInt64(written.count))
                guard round % 3 != 1 else { continue }
                try file.synchronizeData()
                #expect(try disk.size(of: path) == UInt64(written.count))
                #expect(try disk.contents(of: path) == written)
            }
            try file.synchronizeData()
            try file.close()
            #expect(try disk.contents(of: path) == written)
        }
    }

    @Test(arguments: Subject.allCases) func whatIsWrittenOverIsReadAndTheRestStays(_ subject: Subject) throws {
        try subject.with { disk, directory in
            let path = directory + "/log"
            var random = SeededGenerator(seed: 8)
            let old = random.bytes(5_000_000)
            let file = try disk.create(path)
            try file.write(old, at: 0)
            try file.synchronizeData()
            try file.close()
            let over = try disk.openForOverwriting(path)
            #expect(over.size == UInt64(old.count))
            var written: [UInt8] = []
            for count in [64, 1, 4031, 4096, 900, 0, (1 << 20) - 3, 1 << 20, 1_300_001, 13] {
                let piece = random.bytes(count)
                try over.write(piece, at: UInt64(written.count))
                written += piece
                if count % 2 == 0 { try over.synchronizeData() }
                // A reader sees at once what is written, whether or not it is synced; behind the block that was begun,
                // the old contents stay.
                let contents = try disk.contents(of: path)
                let block = (written.count + 4095) / 4096 * 4096
                #expect(contents.count == old.count)
                #expect(contents.prefix(written.count) == written[...])
                #expect(contents.dropFirst(block) == old.dropFirst(block))
            }
            // Beyond the old end it grows.
            let rest = random.bytes(2_000_000)
            try over.write(rest, at: UInt64(written.count))
            written += rest
            try over.synchronizeData()
            #expect(try disk.contents(of: path).prefix(written.count) == written[...])
            try over.truncate(to: 100)
            #expect(try disk.contents(of: path) == Array(written.prefix(100)))
            try over.close()
            #expect(code { try over.synchronizeData() } == .io)
        }
    }

    @Test(arguments: Subject.allCases) func preallocatedFilesAreZeros(_ subject: Subject) throws {
        try subject.with { disk, directory in
            let file = try disk.create(directory + "/p", preallocate: 3_000_000)
            #expect(file.size == 3_000_000)
            #expect(try disk.size(of: directory + "/p") == 3_000_000)
            #expect(try disk.contents(of: directory + "/p").allSatisfy { $0 == 0 })
        }
    }

    @Test(arguments: Subject.allCases) func namesObeyTheCalls(_ subject: Subject) throws {
        try subject.with { disk, directory in
            let (a, b, c) = (directory + "/a", directory + "/b", directory + "/c")
            try disk.create(a).write([1], at: 0)
            try disk.create(b).write([2], at: 0)
            #expect(code { _ = try disk.create(a) } == .exists)
            try disk.rename(a, to: b)
            #expect(try disk.contents(of: b) == [1])
            #expect(try !disk.exists(a))
            try disk.link(b, to: c)
            #expect(code { try disk.link(b, to: c) } == .exists)
            let other = try disk.openForWriting(c)
            try other.write([5], at: 0)
            #expect(try disk.contents(of: b) == [5])
            #expect(try disk.list(directory) == ["b", "c"])
            let open = try disk.open(b)
            try disk.remove(b)
            try disk.remove(c)
            // Whoever has it open still reads it.
            #expect(try open.read(at: 0, count: 1) == [5])
            #expect(code { _ = try disk.open(b) } == .notFound)
            #expect(code { _ = try disk.size(of: b) } == .notFound)
            #expect(code { try disk.remove(b) } == .notFound)
            #expect(code { try disk.rename(b, to: a) } == .notFound)
            #expect(code { _ = try disk.list(directory + "/none") } == .notFound)
            #expect(code { _ = try disk.create(directory + "/none/x") } == .notFound)
            try disk.synchronizeDirectory(directory)
        }
    }

    @Test(arguments: Subject.allCases) func directoriesComeAndGo(_ subject: Subject) throws {
        try subject.with { disk, directory in
            try disk.createDirectory(directory + "/x/y/z")
            try disk.createDirectory(directory + "/x/y/z")
            _ = try disk.create(directory + "/x/y/f")
            #expect(try disk.list(directory + "/x/y") == ["f", "z"])
            #expect(code { try disk.createDirectory(directory + "/x/y/f") } == .exists)
            try disk.rename(directory + "/x/y", to: directory + "/moved")
            #expect(try disk.list(directory + "/moved") == ["f", "z"])
            try disk.removeTree(directory + "/moved")
            try disk.removeTree(directory + "/moved")
            #expect(try disk.list(directory) == ["x"])
        }
    }

    @Test(arguments: Subject.allCases) func B17_theSecondOpenerIsRefused(_ subject: Subject) throws {
        try subject.with { disk, directory in
            let lock = try disk.lock(directory + "/LOCK")
            #expect(code { _ = try disk.lock(directory + "/LOCK") } == .locked)
            lock.release()
            let second = try disk.lock(directory + "/LOCK")
            #expect(code { _ = try disk.lock(directory + "/LOCK") } == .locked)
            second.release()
            #expect(try disk.freeSpace(at: directory) > 0)
        }
    }

    @Test(arguments: Subject.allCases) func replaceShowsTheNewContents(_ subject: Subject) throws {
        try subject.with { disk, directory in
            try disk.replace(directory + "/CURRENT", with: [1])
            try disk.replace(directory + "/CURRENT", with: [2, 3])
            #expect(try disk.contents(of: directory + "/CURRENT") == [2, 3])
            #expect(try disk.list(directory) == ["CURRENT"])
        }
    }

    @Test func directoryPartsAreFound() {
        #expect(PosixFileSystem.directory(of: "/a/b") == "/a")
        #expect(PosixFileSystem.directory(of: "/a") == "/")
        #expect(PosixFileSystem.directory(of: "a") == ".")
    }
}
