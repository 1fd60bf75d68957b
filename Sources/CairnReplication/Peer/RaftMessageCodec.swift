import CairnRaft

/// How Raft's messages stand in a frame: kind (u8), term (u64), and the fields of the kind in the order of the core.
///
/// Sender and receiver are the frame's. The entries of an append follow each other, so that their indexes need no room:
/// each is term (u64) ‖ kind (u8) ‖ length (u32) ‖ payload. A snapshot offer never travels as one of these; the receiving
/// host makes it when the files are there.
enum RaftMessageCodec {
    private enum Kind: UInt8 {
        case preVoteRequest, preVoteResponse, voteRequest, voteResponse
        case append, appendResponse, appendRejection
        case heartbeat, heartbeatResponse, commit, timeoutNow, staleTerm, removed
        case snapshotRequest, logLost, released
    }

    /// Terms at or above are no term that elections could have reached: refused, so that a forged message cannot use up the space.
    static let termLimit: UInt64 = 1 << 62
    private static let entryHeaderBytes = 13

    static func byteCount(of message: Message) -> Int {
        guard case .append(_, _, let entries) = message.kind else { return 64 }
        var bytes = 64
        for entry in entries { bytes += entryHeaderBytes + entry.payload.count }
        return bytes
    }

    static func append(_ message: Message, to frame: inout [UInt8]) {
        @inline(__always)
        func head(_ kind: Kind) {
            frame.append(kind.rawValue)
            frame.appendInteger(message.term.rawValue)
        }
        @inline(__always)
        func append(_ position: LogPosition) {
            frame.appendInteger(position.term.rawValue)
            frame.appendInteger(position.index.rawValue)
        }
        switch message.kind {
        case .append(let previous, let commit, let entries):
            head(.append)
            append(previous)
            frame.appendInteger(commit.rawValue)
            frame.appendInteger(UInt32(entries.count))
            for entry in entries {
                frame.appendInteger(entry.term.rawValue)
                frame.append(entry.kind.rawValue)
                frame.appendInteger(UInt32(entry.payload.count))
                frame.append(contentsOf: entry.payload)
            }
        case .appendResponse(let match):
            head(.appendResponse)
            frame.appendInteger(match.rawValue)
        case .appendRejection(let rejected, let hint):
            head(.appendRejection)
            frame.appendInteger(rejected.rawValue)
            append(hint)
        case .heartbeat(let heartbeat):
            head(.heartbeat)
            frame.appendInteger(heartbeat.round)
            frame.appendInteger(heartbeat.sentAt)
            append(heartbeat.commit)
            frame.appendInteger(heartbeat.acknowledged.rawValue)
            frame.appendInteger(heartbeat.revokedToken)
            frame.append(heartbeat.isLast ? 1 : 0)
        case .heartbeatResponse(let response):
            head(.heartbeatResponse)
            frame.appendInteger(response.round)
            frame.appendInteger(response.sentAt)
            frame.appendInteger(response.clock)
            frame.appendInteger(response.transferToken)
            frame.append(response.isShortOfSpace ? 1 : 0)
            frame.append(response.isQuiet ? 1 : 0)
        case .commit(let position):
            head(.commit)
            append(position)
        case .preVoteRequest(let proposedTerm, let last):
            head(.preVoteRequest)
            frame.appendInteger(proposedTerm.rawValue)
            append(last)
        case .preVoteResponse(let proposedTerm, let granted):
            head(.preVoteResponse)
            frame.appendInteger(proposedTerm.rawValue)
            frame.append(granted ? 1 : 0)
        case .voteRequest(let last, let isTransfer):
            head(.voteRequest)
            append(last)
            frame.append(isTransfer ? 1 : 0)
        case .voteResponse(let granted):
            head(.voteResponse)
            frame.append(granted ? 1 : 0)
        case .timeoutNow(let token):
            head(.timeoutNow)
            frame.appendInteger(token)
        case .staleTerm:
            head(.staleTerm)
        case .snapshotRequest:
            head(.snapshotRequest)
        case .logLost(let request):
            head(.logLost)
            frame.appendInteger(request)
        case .released(let request):
            head(.released)
            frame.appendInteger(request)
        case .removed(let configurationIndex):
            head(.removed)
            frame.appendInteger(configurationIndex.rawValue)
        case .snapshot:
            preconditionFailure("a snapshot offer is made by the host that has the files")
        }
    }

    static func decode(
        _ bytes: ArraySlice<UInt8>, from sender: NodeID, to receiver: NodeID
    ) throws(PeerCodecError) -> Message {
        var reader = ByteReader(bytes)
        let rawKind: UInt8 = try reader.integer()
        guard let kind = Kind(rawValue: rawKind) else {
            throw PeerCodecError(.malformed, "a message of kind \(rawKind), which this version does not know")
        }
        let term = try self.term(&reader)
        let decoded: Message.Kind
        switch kind {
        case .append:
            let previous = try position(&reader)
            let commit = LogIndex(rawValue: try reader.integer())
            decoded = .append(
                previous: previous, commit: commit, entries: try entries(&reader, after: previous, in: term))
        case .appendResponse:
            decoded = .appendResponse(match: LogIndex(rawValue: try reader.integer()))
        case .appendRejection:
            decoded = .appendRejection(rejected: LogIndex(rawValue: try reader.integer()), hint: try position(&reader))
        case .heartbeat:
            decoded = .heartbeat(
                Message.Heartbeat(
                    round: try reader.integer(), sentAt: try reader.integer(), commit: try position(&reader),
                    acknowledged: LogIndex(rawValue: try reader.integer()), revokedToken: try reader.integer(),
                    isLast: try flag(&reader)))
        case .heartbeatResponse:
            decoded = .heartbeatResponse(
                Message.HeartbeatResponse(
                    round: try reader.integer(), sentAt: try reader.integer(), clock: try reader.integer(),
                    transferToken: try reader.integer(), isShortOfSpace: try flag(&reader), isQuiet: try flag(&reader)))
        case .commit:
            decoded = .commit(try position(&reader))
        case .preVoteRequest:
            decoded = .preVoteRequest(proposedTerm: try self.term(&reader), last: try position(&reader))
        case .preVoteResponse:
            decoded = .preVoteResponse(proposedTerm: try self.term(&reader), granted: try flag(&reader))
        case .voteRequest:
            decoded = .voteRequest(last: try position(&reader), isTransfer: try flag(&reader))
        case .voteResponse:
            decoded = .voteResponse(granted: try flag(&reader))
        case .timeoutNow:
            decoded = .timeoutNow(token: try reader.integer())
        case .staleTerm:
            decoded = .staleTerm
        case .snapshotRequest:
            decoded = .snapshotRequest
        case .logLost:
            decoded = .logLost(request: try reader.integer())
        case .released:
            decoded = .released(request: try reader.integer())
        case .removed:
            decoded = .removed(configurationIndex: LogIndex(rawValue: try reader.integer()))
        }
        try reader.end()
        return Message(from: sender, to: receiver, term: term, kind: decoded)
    }

    private static func entries(
        _ reader: inout ByteReader, after previous: LogPosition, in term: Term
    ) throws(PeerCodecError) -> [Entry] {
        let count = try reader.count(bytesEach: entryHeaderBytes)
        guard previous.index.rawValue < 1 << 62 else {
            throw PeerCodecError(.malformed, "log index \(previous.index)")
        }
        var entries: [Entry] = []
        entries.reserveCapacity(count)
        var index = previous.index
        var newest = previous.term
        for _ in 0..<count {
            index = index.next
            let entryTerm = try self.term(&reader)
            guard entryTerm >= newest, entryTerm <= term else {
                throw PeerCodecError(.malformed, "entry \(index) of term \(entryTerm) in an append of term \(term)")
            }
            newest = entryTerm
            let rawKind: UInt8 = try reader.integer()
            guard let kind = Entry.Kind(rawValue: rawKind) else {
                throw PeerCodecError(.malformed, "an entry of kind \(rawKind), which this version does not know")
            }
            let length = Int(try reader.integer(UInt32.self))
            entries.append(Entry(term: entryTerm, index: index, kind: kind, payload: try reader.slice(length)))
        }
        return entries
    }

    private static func term(_ reader: inout ByteReader) throws(PeerCodecError) -> Term {
        let raw: UInt64 = try reader.integer()
        guard raw < termLimit else { throw PeerCodecError(.malformed, "term \(raw)") }
        return Term(rawValue: raw)
    }

    private static func position(_ reader: inout ByteReader) throws(PeerCodecError) -> LogPosition {
        LogPosition(term: try term(&reader), index: LogIndex(rawValue: try reader.integer()))
    }

    private static func flag(_ reader: inout ByteReader) throws(PeerCodecError) -> Bool {
        let raw: UInt8 = try reader.integer()
        guard raw <= 1 else { throw PeerCodecError(.malformed, "flag \(raw)") }
        return raw == 1
    }
}
