import CairnFiles
import CairnRaft
import CairnTestSupport
import Testing

@testable import CairnReplication

/// Keeps the frames that a builder sends.
final class FrameCollector: PeerTransport {
    var frames: [(frame: [UInt8], peer: NodeID, channel: PeerChannel)] = []

    func send(_ frame: [UInt8], to peer: NodeID, over channel: PeerChannel) {
        frames.append((frame, peer, channel))
    }
}

@Suite("frames between nodes")
struct PeerCodecTests {
    let sender = NodeID(1)
    let receiver = NodeID(2)

    func frame(_ messages: [(GroupID, Message.Kind)], term: Term = Term(5), cluster: UInt64 = 42) -> [UInt8] {
        let collector = FrameCollector()
        var builder = FrameBuilder(cluster: cluster, node: sender, peer: receiver, channel: .raft)
        for (group, kind) in messages {
            let message = Message(from: sender, to: receiver, term: term, kind: kind)
            builder.add(group: group, byteCount: RaftMessageCodec.byteCount(of: message), to: collector) {
                RaftMessageCodec.append(message, to: &$0)
            }
        }
        builder.finish(collector)
        precondition(collector.frames.count == 1)
        return collector.frames[0].frame
    }

    var entries: [Entry] {
        [
            Entry(term: Term(3), index: LogIndex(8), kind: .empty, payload: []),
            Entry(term: Term(3), index: LogIndex(9), kind: .normal, payload: [1, 2, 3]),
            Entry(term: Term(5), index: LogIndex(10), kind: .configuration, payload: [0xFF]),
        ]
    }

    var kinds: [Message.Kind] {
        let position = LogPosition(term: Term(3), index: LogIndex(7))
        let response = Message.HeartbeatResponse(
            round: 1, sentAt: 2, clock: 3, transferToken: 4, isShortOfSpace: true)
        return [
            .preVoteRequest(proposedTerm: Term(6), last: position),
            .preVoteResponse(proposedTerm: Term(6), granted: true),
            .voteRequest(last: position, isTransfer: true), .voteResponse(granted: false),
            .append(previous: position, commit: LogIndex(9), entries: entries),
            .append(previous: .zero, commit: .zero, entries: []), .appendResponse(match: LogIndex(10)),
            .appendRejection(rejected: LogIndex(12), hint: position),
            .heartbeat(
                Message.Heartbeat(round: 1, sentAt: 2, commit: position, acknowledged: LogIndex(3), revokedToken: 4)),
            .heartbeat(
                Message.Heartbeat(
                    round: 1, sentAt: 2, commit: position, acknowledged: LogIndex(3), revokedToken: 4, isLast: true)),
            .heartbeatResponse(response),
            .commit(position), .timeoutNow(token: 77), .staleTerm, .snapshotRequest, .logLost(request: 5),
            .released(request: 6),
            .removed(configurationIndex: LogIndex(4)),
        ]
    }

    @Test("every kind of message comes back as it was sent, in order and with its group")
    func roundTrip() throws {
        let sent = kinds.enumerated().map { (GroupID(UInt32($0.offset * 1000)), $0.element) }
        let bytes = frame(sent)
        #expect(try PeerCodec.frameByteCount(header: bytes[..<PeerCodec.headerBytes]) == bytes.count)
        let messages = try PeerCodec.messages(in: bytes[...], cluster: 42, from: sender, to: receiver)
        #expect(messages.count == sent.count)
        for (message, (group, kind)) in zip(messages, sent) {
            #expect(message.group == group)
            let decoded = try RaftMessageCodec.decode(message.bytes, from: message.sender, to: receiver)
            #expect(decoded == Message(from: sender, to: receiver, term: Term(5), kind: kind))
        }
    }

    @Test("snapshot messages come back as they were sent")
    func snapshotRoundTrip() throws {
        let transfer = SnapshotTransfer(term: Term(4), number: 9)
        let metadata = SnapshotMetadata(
            position: LogPosition(term: Term(3), index: LogIndex(100)),
            configuration: Configuration(voters: [NodeID(1), NodeID(2)], learners: [NodeID(3)]))
        let messages: [SnapshotMessage] = [
            .begin(
                transfer, metadata, files: [SnapshotFile(name: "000001.sst", byteCount: 12)],
                keys: [Keyring.DataKey(id: 3, bytes: [UInt8](repeating: 5, count: 32))]),
            .chunk(transfer, file: 1, offset: 2, position: 3, checksum: 4, [5, 6, 7]),
            .progress(transfer, position: 8), .finished(transfer, .obsolete), .cancel(transfer),
        ]
        for message in messages {
            var bytes: [UInt8] = []
            message.append(to: &bytes)
            #expect(try SnapshotMessage(decoding: bytes[...]) == message)
        }
    }

    @Test("a snapshot's file may not leave its directory", arguments: ["../x", "a/b", "", ".", ".hidden", "a\0b", "ä"])
    func unsafeNames(name: String) throws {
        #expect(!SnapshotFile.isSafe(name))
        var bytes: [UInt8] = []
        SnapshotMessage.begin(
            SnapshotTransfer(term: Term(1), number: 1),
            SnapshotMetadata(position: .zero, configuration: Configuration(voters: [NodeID(1)])),
            files: [SnapshotFile(name: name, byteCount: 1)], keys: []
        ).append(to: &bytes)
        #expect(throws: PeerCodecError.self) { try SnapshotMessage(decoding: bytes[...]) }
    }

    func code(_ body: () throws(PeerCodecError) -> Void) -> PeerCodecError.Code? {
        do {
            try body()
            return nil
        } catch {
            return error.code
        }
    }

    @Test("E17: frames of another cluster, node or version are refused by name")
    func E17_strangers() throws {
        let bytes = frame([(GroupID(1), .staleTerm)])
        #expect(code { () throws(PeerCodecError) in _ = try PeerCodec.open(bytes[...], cluster: 43) } == .otherCluster)
        #expect(
            code { () throws(PeerCodecError) in _ = try PeerCodec.open(bytes[...], cluster: 42, from: NodeID(3)) }
                == .wrongNode)
        #expect(
            code { () throws(PeerCodecError) in _ = try PeerCodec.open(bytes[...], cluster: 42, to: NodeID(3)) }
                == .wrongNode)
        var newer = bytes
        newer[4] = 5
        do throws(PeerCodecError) {
            _ = try PeerCodec.open(newer[...], cluster: 42)
            Issue.record("version 5 was taken")
        } catch {
            #expect(error.code == .unsupportedVersion)
            #expect(error.message.contains("version 5"))
        }
        #expect(
            code { () throws(PeerCodecError) in
                _ = try PeerCodec.frameByteCount(
                    header: Array("GET / HTTP/1.1\r\nHost: cairn\r\n\r\n-------------".utf8)[...])
            } == .notAFrame)
    }

    @Test("E17: a giant length is refused before its memory is taken")
    func E17_giantFrame() throws {
        var bytes = frame([(GroupID(1), .staleTerm)])
        bytes.setInteger(UInt32.max, at: 32)
        #expect(
            code { () throws(PeerCodecError) in
                _ = try PeerCodec.frameByteCount(header: bytes[..<PeerCodec.headerBytes])
            } == .tooLarge)
        // Inside a message: four billion entries in a hundred bytes.
        var message: [UInt8] = []
        RaftMessageCodec.append(
            Message(
                from: sender, to: receiver, term: Term(5),
                kind: .append(previous: LogPosition(term: Term(3), index: LogIndex(7)), commit: .zero, entries: entries)
            ),
            to: &message)
        message.setInteger(UInt32.max, at: 1 + 8 + 16 + 8)
        #expect(
            code { () throws(PeerCodecError) in
                _ = try RaftMessageCodec.decode(message[...], from: sender, to: receiver)
            }
                == .malformed)
    }

    @Test("E17: a term near the end of the space is refused")
    func E17_giantTerm() throws {
        for term in [Term(1 << 62), Term(1 << 63), Term(.max)] {
            var message: [UInt8] = []
            RaftMessageCodec.append(
                Message(from: sender, to: receiver, term: term, kind: .staleTerm), to: &message)
            #expect(
                code { () throws(PeerCodecError) in
                    _ = try RaftMessageCodec.decode(message[...], from: sender, to: receiver)
                } == .malformed)
        }
    }

    @Test("E17: any flipped bit and any truncation of a frame is found")
    func E17_damage() throws {
        let bytes = frame(kinds.map { (GroupID(3), $0) })
        for length in 0..<bytes.count {
            #expect(code { () throws(PeerCodecError) in _ = try PeerCodec.open(bytes[..<length], cluster: 42) } != nil)
        }
        for bit in 0..<(bytes.count * 8) {
            var damaged = bytes
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(code { () throws(PeerCodecError) in _ = try PeerCodec.open(damaged[...], cluster: 42) } != nil)
        }
    }

    @Test("E17: random and damaged messages give an error or a message, never a trap")
    func E17_fuzz() throws {
        var random = SeededGenerator(seed: 17)
        var encoded: [[UInt8]] = kinds.map { kind in
            var bytes: [UInt8] = []
            RaftMessageCodec.append(Message(from: sender, to: receiver, term: Term(5), kind: kind), to: &bytes)
            return bytes
        }
        var begin: [UInt8] = []
        SnapshotMessage.begin(
            SnapshotTransfer(term: Term(1), number: 1),
            SnapshotMetadata(position: .zero, configuration: Configuration(voters: [NodeID(1)])),
            files: [SnapshotFile(name: "a", byteCount: 1), SnapshotFile(name: "b", byteCount: 2)], keys: []
        ).append(to: &begin)
        encoded.append(begin)
        for _ in 0..<20_000 {
            var bytes = encoded[Int(random.next() % UInt64(encoded.count))]
            for _ in 0..<(1 + random.next() % 4) where !bytes.isEmpty {
                bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            bytes = Array(bytes.prefix(Int(random.next() % UInt64(bytes.count + 1))))
            _ = try? RaftMessageCodec.decode(bytes[...], from: sender, to: receiver)
            _ = try? SnapshotMessage(decoding: bytes[...])
        }
    }

    @Test("messages to one peer share frames, and a full frame goes out before it is too large")
    func coalescing() throws {
        let collector = FrameCollector()
        var builder = FrameBuilder(cluster: 42, node: sender, peer: receiver, channel: .raft)
        let payload = [UInt8](repeating: 1, count: 1 << 20)
        for index in 1...10 {
            let entry = Entry(term: Term(1), index: LogIndex(UInt64(index)), kind: .normal, payload: payload[...])
            let message = Message(
                from: sender, to: receiver, term: Term(1),
                kind: .append(
                    previous: LogPosition(term: index == 1 ? .zero : Term(1), index: LogIndex(UInt64(index - 1))),
                    commit: .zero, entries: [entry]))
            builder.add(group: GroupID(1), byteCount: RaftMessageCodec.byteCount(of: message), to: collector) {
                RaftMessageCodec.append(message, to: &$0)
            }
        }
        builder.finish(collector)
        #expect(collector.frames.count == 4)
        let counts = try collector.frames.map { try PeerCodec.messages(in: $0.frame[...], cluster: 42).count }
        #expect(counts.reduce(0, +) == 10)
        #expect(collector.frames.allSatisfy { $0.frame.count <= PeerCodec.bytesMax })
    }
}
