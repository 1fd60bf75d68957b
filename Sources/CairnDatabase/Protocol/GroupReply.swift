import CairnBSON
import CairnQuery

/// What a group answers when it did what was asked (errors of single statements included).
public struct GroupReply: Sendable {
    /// The result's fields; each ``GroupOperation`` says which.
    public var body: Document
    /// The documents of a batch.
    public var documents: [Document]

    public init(body: Document = Document(), documents: [Document] = []) {
        self.body = body
        self.documents = documents
    }
}

/// Why a group did not do what was asked. Nothing was changed, except where ``unavailable(_:)`` leaves it open.
public enum GroupFailure: Error, Sendable {
    /// Another replica leads; its node, when known.
    case notLeader(hint: UInt64?)
    /// The group's descriptor is newer than the sender's, or the group does not own what the request is about: refresh
    /// the map and repeat. `current` is the group's epoch.
    case staleEpoch(current: UInt64)
    /// The group's descriptor is missing or older than the sender's (`have`, nil: missing): send it with
    /// ``GroupOperation/installDescriptor`` and repeat.
    case needsDescriptor(have: UInt64?)
    /// The collection was dropped; its id never comes back.
    case droppedCollection
    /// Another try of the same numbered write has asked since, or another leader has come, which remembers no tries: ask all groups again
    /// before you choose one.
    case claimLost
    /// The client's own mistake or a limit, with MongoDB's code.
    case error(QueryError)
    /// The group cannot answer now, or cannot know whether the write will last (leadership lost while it was under way).
    case unavailable(String)
}

/// The answer to a ``GroupRequest`` as it travels between nodes.
///
/// ```
/// format u8 = 1 ‖ kind u8 ‖ …
///   0 reply              body (BSON) ‖ count u32 ‖ document (BSON) …
///   1 not leader         known u8 ‖ node u64
///   2 stale epoch        current u64
///   3 needs descriptor   known u8 ‖ have u64
///   4 dropped collection
///   5 error              code i32 ‖ message (u32 length ‖ UTF-8) ‖ detailed u8 [‖ details (BSON)]
///   6 unavailable        message
///   7 claim lost
/// ```
public enum GroupAnswer: Sendable {
    case reply(GroupReply)
    case failure(GroupFailure)

    private static let format: UInt8 = 1

    public func encoded() -> [UInt8] {
        switch self {
        case .reply(let reply):
            var size = 16 + reply.body.byteCount
            for document in reply.documents { size += document.byteCount }
            var writer = ByteWriter(reserving: size)
            writer.append(Self.format)
            writer.append(0 as UInt8)
            writer.append(reply.body.bytes)
            writer.append(UInt32(reply.documents.count))
            for document in reply.documents { writer.append(document.bytes) }
            return writer.bytes
        case .failure(let failure):
            var writer = ByteWriter(reserving: 64)
            writer.append(Self.format)
            switch failure {
            case .notLeader(let hint):
                writer.append(1 as UInt8)
                writer.append(hint == nil ? 0 : 1 as UInt8)
                writer.append(hint ?? 0)
            case .staleEpoch(let current):
                writer.append(2 as UInt8)
                writer.append(current)
            case .needsDescriptor(let have):
                writer.append(3 as UInt8)
                writer.append(have == nil ? 0 : 1 as UInt8)
                writer.append(have ?? 0)
            case .droppedCollection:
                writer.append(4 as UInt8)
            case .error(let error):
                writer.append(5 as UInt8)
                writer.append(error.code.rawValue)
                writer.append(error.message)
                writer.append(error.details == nil ? 0 : 1 as UInt8)
                if let details = error.details { writer.append(details.bytes) }
            case .unavailable(let message):
                writer.append(6 as UInt8)
                writer.append(message)
            case .claimLost:
                writer.append(7 as UInt8)
            }
            return writer.bytes
        }
    }

    /// Reads what ``encoded()`` wrote; documents are slices of `bytes`, not copies.
    ///
    /// - Throws: ``DatabaseError`` with code `malformed`.
    public init(decoding bytes: ArraySlice<UInt8>, validating: Bool = true) throws(DatabaseError) {
        var reader = ByteReader(bytes)
        let format = try reader.integer(UInt8.self)
        guard format == Self.format else { throw DatabaseError(.malformed, "answer format \(format) is not known") }
        let kind = try reader.integer(UInt8.self)
        switch kind {
        case 0:
            let body = try reader.document(validating: validating)
            self = .reply(GroupReply(body: body, documents: try reader.documents(validating: validating)))
        case 1:
            let known = try reader.integer(UInt8.self)
            let node = try reader.integer(UInt64.self)
            self = .failure(.notLeader(hint: known == 1 ? node : nil))
        case 2:
            self = .failure(.staleEpoch(current: try reader.integer(UInt64.self)))
        case 3:
            let known = try reader.integer(UInt8.self)
            let epoch = try reader.integer(UInt64.self)
            self = .failure(.needsDescriptor(have: known == 1 ? epoch : nil))
        case 4:
            self = .failure(.droppedCollection)
        case 5:
            let number = try reader.integer(Int32.self)
            let message = try reader.string()
            let detailed = try reader.integer(UInt8.self)
            let details = detailed == 1 ? try reader.document(validating: validating) : nil
            self = .failure(.error(QueryError(ErrorCode(rawValue: number), message, details: details)))
        case 6:
            self = .failure(.unavailable(try reader.string()))
        case 7:
            self = .failure(.claimLost)
        default:
            throw DatabaseError(.malformed, "answer kind \(kind) is not known")
        }
        try reader.expectEnd()
    }
}
