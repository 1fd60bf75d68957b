import CairnBSON
import CairnWire

/// A client's message, taken out of whichever envelope it came in, and the way its answer goes back.
struct ClientRequest: Sendable {
    private enum Envelope: Sendable {
        case message(OpMsg.Flags)
        case query
    }

    let name: String
    let database: String
    var body: Document
    let sequences: [OpMsg.Sequence]
    let requestID: Int32
    private let envelope: Envelope
    private let compressor: Compressor?

    /// - Throws: ``WireError``; after any but `document` the connection is of no use.
    init(parsing bytes: ArraySlice<UInt8>) throws(WireError) {
        var bytes = bytes
        var header = try MessageHeader(parsing: bytes)
        if header.opCode == OpCode.compressed.rawValue {
            let (unpacked, compressor) = try OpCompressed.unpack(bytes)
            self.compressor = compressor
            bytes = unpacked[...]
            header = try MessageHeader(parsing: bytes)
        } else {
            compressor = nil
        }
        requestID = header.requestID
        switch OpCode(rawValue: header.opCode) {
        case .message:
            let message = try OpMsg(parsing: bytes)
            envelope = .message(message.flags)
            body = message.body
            sequences = message.sequences
            database = body["$db"]?.stringValue ?? "admin"
        case .query:
            let query = try OpQuery(parsing: bytes)
            guard let commandDatabase = query.commandDatabase else {
                // Queries of the old protocol on collections ended with MongoDB 5.1.
                throw .unknownOpCode(header.opCode)
            }
            envelope = .query
            body = query.command
            sequences = []
            database = commandDatabase
        default: throw .unknownOpCode(header.opCode)
        }
        name = body.first(where: { _ in true }).map { $0.name.string } ?? ""
    }

    var expectsReply: Bool {
        if case .message(let flags) = envelope { !flags.contains(.moreToCome) } else { true }
    }

    /// Whether the client takes several answers to this one request.
    var allowsExhaust: Bool {
        if case .message(let flags) = envelope { flags.contains(.exhaustAllowed) } else { false }
    }

    /// The bytes of the answer, in the same envelope.
    ///
    /// - Parameters:
    ///   - answered: the message that it answers, when that is not the request but the answer before this one.
    ///   - isMoreToCome: whether another answer follows without a request.
    func encode(
        _ reply: Document, requestID number: Int32, responseTo answered: Int32? = nil, isMoreToCome: Bool = false
    ) -> [UInt8] {
        let bytes: [UInt8]
        switch envelope {
        case .query: bytes = OpReply.encoded(document: reply, requestID: number, responseTo: answered ?? requestID)
        case .message(let flags):
            var flags = flags.intersection(.checksumPresent)
            if isMoreToCome { flags.insert(.moreToCome) }
            bytes = OpMsg(flags: flags, body: reply)
                .encoded(requestID: number, responseTo: answered ?? requestID)
        }
        guard let compressor, let packed = try? OpCompressed.pack(bytes, with: compressor) else { return bytes }
        return packed
    }
}
