import CairnBSON
import CairnStorage

/// The logical session and the attempt that a retryable write belongs to.
public struct SessionStamp: Hashable, Sendable {
    /// The session's UUID (`lsid.id`): 16 bytes as two big-endian words.
    public let sessionHigh: UInt64
    public let sessionLow: UInt64
    /// The driver's number for the write; a retry repeats it, the next write has a larger one.
    public let transactionNumber: Int64

    public init(sessionHigh: UInt64, sessionLow: UInt64, transactionNumber: Int64) {
        self.sessionHigh = sessionHigh
        self.sessionLow = sessionLow
        self.transactionNumber = transactionNumber
    }

    /// - Returns: nil unless `session` has 16 bytes.
    public init?(session: ArraySlice<UInt8>, transactionNumber: Int64) {
        guard session.count == 16 else { return nil }
        let high = session.prefix(8).reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
        let low = session.suffix(8).reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
        self.init(sessionHigh: high, sessionLow: low, transactionNumber: transactionNumber)
    }
}

/// One thing that a router asks of one group.
///
/// On the wire between nodes, all integers little-endian:
///
/// ```
/// format u8 = 1 ‖ operation u8 ‖ flags u8 (1 session, 2 statement ids, 4 read version, 8 attempt, 16 token)
/// collection u32 ‖ epoch u64 ‖ budget u32
/// [session 16 bytes ‖ transaction number i64] [count u32 ‖ statement id i32 …] [read version u64] [attempt u64]
/// [token u64]
/// body (BSON) ‖ count u32 ‖ document (BSON) …
/// ```
public struct GroupRequest: Sendable {
    public var operation: GroupOperation
    public var collection: CollectionID
    /// The epoch of the descriptor that the sender went by; see ``GroupFailure/staleEpoch(current:)``.
    public var epoch: UInt64
    /// Set for writes that may be sent again.
    public var session: SessionStamp?
    /// The statement number of each element of `documents` (of the one statement, for findAndModify); empty means
    /// 0, 1, 2… Only meaningful beside ``session``.
    public var statementIDs: [Int32]
    /// The router's number for this try of a write whose group is chosen by a search: the group must have been asked with it before
    /// (``GroupOperation/checkExecuted``), see ``GroupFailure/claimLost``. Only meaningful beside ``session``.
    public var attempt: UInt64?
    /// The version to read at, for cursors that span groups; nil reads the newest applied state.
    public var readVersion: Version?
    /// The router's number for a read that it may want to end (``GroupOperation/interrupt``); nil for others.
    public var token: UInt64?
    /// How long the sender still waits; 0 means without a limit.
    public var budgetMilliseconds: UInt32
    /// The command's arguments; each ``GroupOperation`` says which.
    public var body: Document
    /// The documents or statements of a write.
    public var documents: [Document]

    public init(
        _ operation: GroupOperation, collection: CollectionID, epoch: UInt64 = 0, session: SessionStamp? = nil,
        statementIDs: [Int32] = [], attempt: UInt64? = nil, readVersion: Version? = nil, token: UInt64? = nil,
        budgetMilliseconds: UInt32 = 0,
        body: Document = Document(), documents: [Document] = []
    ) {
        self.operation = operation
        self.collection = collection
        self.epoch = epoch
        self.session = session
        self.statementIDs = statementIDs
        self.attempt = attempt
        self.readVersion = readVersion
        self.token = token
        self.budgetMilliseconds = budgetMilliseconds
        self.body = body
        self.documents = documents
    }

    private static let format: UInt8 = 1
    private static let hasSession: UInt8 = 1
    private static let hasStatementIDs: UInt8 = 2
    private static let hasReadVersion: UInt8 = 4
    private static let hasAttempt: UInt8 = 8
    private static let hasToken: UInt8 = 16

    /// The bytes that ``init(decoding:validating:)`` reads.
    public func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(encodedBytesMax)
        append(to: &bytes)
        return bytes
    }

    /// No less than the bytes of the encoded request.
    public var encodedBytesMax: Int {
        documents.reduce(96 + statementIDs.count * 4 + body.byteCount) { $0 + $1.byteCount }
    }

    /// Appends what ``encoded()`` returns.
    public func append(to bytes: inout [UInt8]) {
        var writer = ByteWriter()
        // The bytes move to the writer and back, so that they have one owner and are not copied.
        swap(&writer.bytes, &bytes)
        defer { swap(&writer.bytes, &bytes) }
        writer.append(Self.format)
        writer.append(operation.rawValue)
        var flags: UInt8 = 0
        if session != nil { flags |= Self.hasSession }
        if !statementIDs.isEmpty { flags |= Self.hasStatementIDs }
        if readVersion != nil { flags |= Self.hasReadVersion }
        if attempt != nil { flags |= Self.hasAttempt }
        if token != nil { flags |= Self.hasToken }
        writer.append(flags)
        writer.append(collection.rawValue)
        writer.append(epoch)
        writer.append(budgetMilliseconds)
        if let session {
            writer.append(session.sessionHigh)
            writer.append(session.sessionLow)
            writer.append(session.transactionNumber)
        }
        if !statementIDs.isEmpty {
            writer.append(UInt32(statementIDs.count))
            for id in statementIDs { writer.append(id) }
        }
        if let readVersion { writer.append(readVersion.rawValue) }
        if let attempt { writer.append(attempt) }
        if let token { writer.append(token) }
        writer.append(body.bytes)
        writer.append(UInt32(documents.count))
        for document in documents { writer.append(document.bytes) }
    }

    /// Reads a request that ``encoded()`` wrote; documents are slices of `bytes`, not copies.
    ///
    /// - Parameter validating: whether the structure of the documents is checked to the last field. Turn it off only for
    ///   bytes that this process validated already.
    /// - Throws: ``DatabaseError`` with code `malformed`.
    public init(decoding bytes: ArraySlice<UInt8>, validating: Bool = true) throws(DatabaseError) {
        var reader = ByteReader(bytes)
        let format = try reader.integer(UInt8.self)
        guard format == Self.format else { throw DatabaseError(.malformed, "request format \(format) is not known") }
        let number = try reader.integer(UInt8.self)
        guard let operation = GroupOperation(rawValue: number) else {
            throw DatabaseError(.malformed, "operation \(number) is not known")
        }
        let flags = try reader.integer(UInt8.self)
        let known = Self.hasSession | Self.hasStatementIDs | Self.hasReadVersion | Self.hasAttempt | Self.hasToken
        guard flags & ~known == 0 else {
            throw DatabaseError(.malformed, "request flags \(flags) are not known")
        }
        let collection = CollectionID(try reader.integer(UInt32.self))
        let epoch = try reader.integer(UInt64.self)
        let budget = try reader.integer(UInt32.self)
        var session: SessionStamp?
        if flags & Self.hasSession != 0 {
            let high = try reader.integer(UInt64.self)
            let low = try reader.integer(UInt64.self)
            session = SessionStamp(
                sessionHigh: high, sessionLow: low, transactionNumber: try reader.integer(Int64.self))
        }
        var statementIDs: [Int32] = []
        if flags & Self.hasStatementIDs != 0 {
            let count = try reader.count(ofAtLeast: 4)
            statementIDs.reserveCapacity(count)
            for _ in 0..<count { statementIDs.append(try reader.integer(Int32.self)) }
        }
        var readVersion: Version?
        if flags & Self.hasReadVersion != 0 { readVersion = Version(rawValue: try reader.integer(UInt64.self)) }
        let attempt = flags & Self.hasAttempt != 0 ? try reader.integer(UInt64.self) : nil
        let token = flags & Self.hasToken != 0 ? try reader.integer(UInt64.self) : nil
        let body = try reader.document(validating: validating)
        let documents = try reader.documents(validating: validating)
        try reader.expectEnd()
        self.init(
            operation, collection: collection, epoch: epoch, session: session, statementIDs: statementIDs,
            attempt: attempt, readVersion: readVersion, token: token, budgetMilliseconds: budget, body: body,
            documents: documents)
    }
}

extension ByteReader {
    mutating func documents(validating: Bool) throws(DatabaseError) -> [Document] {
        let count = try count(ofAtLeast: 5)
        var documents: [Document] = []
        documents.reserveCapacity(count)
        for _ in 0..<count { documents.append(try document(validating: validating)) }
        return documents
    }
}
