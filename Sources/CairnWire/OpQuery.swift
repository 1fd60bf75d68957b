import CairnBSON

/// The query of the protocol's first generation. Drivers still open a connection with it (`isMaster` on
/// `admin.$cmd`), so commands on `$cmd` are understood; nothing else is.
///
/// Source: MongoDB wire protocol, "OP_QUERY" (legacy).
public struct OpQuery: Sendable {
    /// `database.collection`.
    public var namespace: String
    public var query: Document

    /// - Throws: ``WireError`` when a field runs over the end or the document is not valid.
    public init(parsing message: ArraySlice<UInt8>) throws(WireError) {
        var reader = ByteReader(message.dropFirst(MessageHeader.byteCount))
        _ = try reader.int32()
        namespace = try reader.cString()
        _ = try reader.int32()
        _ = try reader.int32()
        var peek = reader
        let length = Int(try peek.int32())
        guard length >= 5 else { throw .truncated }
        do { query = try Document(validating: try reader.bytes(length)) } catch let error as BSONError {
            throw .document(error)
        } catch {
            throw .truncated
        }
    }

    /// The database when this is a command (`database.$cmd`), nil when it is anything else.
    public var commandDatabase: String? {
        namespace.hasSuffix(".$cmd") ? String(namespace.dropLast(5)) : nil
    }

    /// The command itself: drivers may wrap it in `{$query: …}`.
    public var command: Document {
        if case .document(let inner)? = query["$query"] { return inner }
        return query
    }
}

/// The answer to ``OpQuery``.
public enum OpReply {
    /// The bytes of the whole message with one document in it.
    public static func encoded(document: Document, requestID: Int32, responseTo: Int32) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(MessageHeader.byteCount + 20 + document.byteCount)
        MessageHeader(requestID: requestID, responseTo: responseTo, opCode: .reply).append(to: &bytes)
        bytes.appendInt32(8)  // AwaitCapable, as every server since 1.6 says
        bytes.appendInt64(0)
        bytes.appendInt32(0)
        bytes.appendInt32(1)
        bytes.append(contentsOf: document.bytes)
        bytes.replaceInt32(at: 0, with: Int32(bytes.count))
        return bytes
    }
}
