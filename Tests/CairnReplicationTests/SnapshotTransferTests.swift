import CairnFiles
import CairnRaft
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnReplication

/// A sender and a receiver with nothing between them but what a test takes away.
@Suite("the transfer of a snapshot")
struct SnapshotTransferTests {
    let transfer = SnapshotTransfer(term: Term(2), number: 1)
    let metadata = SnapshotMetadata(
        position: LogPosition(term: Term(2), index: LogIndex(50)), configuration: Configuration(voters: [NodeID(1)]))

    func options() -> GroupHostOptions {
        var options = GroupHostOptions()
        options.snapshotChunkBytes = 100
        options.snapshotWindowBytes = 400
        options.snapshotRetryNanoseconds = 10
        options.snapshotTimeoutNanoseconds = 10_000
        return options
    }

    func source(_ fileSystem: SimulatedFileSystem) throws -> [String: [UInt8]] {
        var random = SeededGenerator(seed: 5)
        let files = [
            "a-empty": [], "b": random.bytes(250), "c": random.bytes(1), "d-empty": [], "e": random.bytes(1000),
            "f-empty": [],
        ]
        try fileSystem.createDirectory("source")
        for (name, bytes) in files {
            let file = try fileSystem.create("source/" + name)
            try file.write(bytes, at: 0)
            try file.synchronizeData()
            try file.close()
        }
        try fileSystem.synchronizeDirectory("source")
        return files
    }

    @Test("A42: lost, repeated, reordered and damaged chunks change nothing but the time", arguments: 1...20)
    func A42_badNetwork(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let fileSystem = SimulatedFileSystem(seed: UInt64(seed))
        let files = try source(fileSystem)
        let sender = try SnapshotSender(
            peer: NodeID(2), transfer: transfer, metadata: metadata, directory: "source", fileSystem: fileSystem,
            options: options(), now: 1)
        var receiver: SnapshotReceiver?
        var toReceiver: [SnapshotMessage] = []
        var now: UInt64 = 1
        while receiver?.isComplete != true {
            now += 3
            try #require(now < 100_000, "seed \(seed): no progress")
            var budget: UInt64 = 300
            try sender.pump(now: now, budget: &budget) { toReceiver.append($0) }
            guard !toReceiver.isEmpty else { continue }
            let message = toReceiver.remove(at: random.oneIn(4) ? Int(random.next() % UInt64(toReceiver.count)) : 0)
            if random.oneIn(5) { continue }
            if random.oneIn(6) { toReceiver.append(message) }
            switch message {
            case .begin(_, _, let names, _):
                if receiver == nil {
                    receiver = try SnapshotReceiver(
                        sender: NodeID(1), transfer: transfer, metadata: metadata, files: names, directory: "target",
                        fileSystem: fileSystem, syncBytes: 64, now: now)
                }
            case .chunk(_, let file, let offset, let position, let checksum, var bytes):
                if random.oneIn(7) { bytes[bytes.startIndex] ^= 1 }
                try receiver?.accept(
                    file: file, offset: offset, position: position, checksum: checksum, bytes, now: now)
            default: break
            }
            if let receiver, !random.oneIn(4) { sender.acknowledge(receiver.received, now: now) }
        }
        try receiver!.finish()
        fileSystem.restart()
        #expect(try fileSystem.list("target") == files.keys.sorted(), "seed \(seed)")
        for (name, bytes) in files {
            #expect(try fileSystem.contents(of: "target/" + name) == bytes, "seed \(seed): \(name)")
        }
    }

    @Test("a receiver that forgot the transfer gets it from the start")
    func startOver() throws {
        let fileSystem = SimulatedFileSystem(seed: 1)
        _ = try source(fileSystem)
        let sender = try SnapshotSender(
            peer: NodeID(2), transfer: transfer, metadata: metadata, directory: "source", fileSystem: fileSystem,
            options: options(), now: 1)
        var sent: [SnapshotMessage] = []
        var budget = UInt64.max
        try sender.pump(now: 1, budget: &budget) { sent.append($0) }
        sender.acknowledge(0, now: 1)
        try sender.pump(now: 1, budget: &budget) { sent.append($0) }
        sender.acknowledge(300, now: 2)
        sender.startOver()
        sent = []
        try sender.pump(now: 3, budget: &budget) { sent.append($0) }
        guard case .begin = sent.first else {
            Issue.record("\(sent)")
            return
        }
        #expect(sent.count == 1)
    }

    @Test("a sender never runs further ahead than its window")
    func window() throws {
        let fileSystem = SimulatedFileSystem(seed: 1)
        _ = try source(fileSystem)
        let sender = try SnapshotSender(
            peer: NodeID(2), transfer: transfer, metadata: metadata, directory: "source", fileSystem: fileSystem,
            options: options(), now: 1)
        var bytes = 0
        var budget = UInt64.max
        try sender.pump(now: 1, budget: &budget) { _ in }
        sender.acknowledge(0, now: 1)
        for _ in 0..<10 {
            try sender.pump(now: 2, budget: &budget) {
                if case .chunk(_, _, _, _, _, let slice) = $0 { bytes += slice.count }
            }
        }
        #expect((400...500).contains(bytes))
    }
}
