import CairnQuery

/// A collection's full name, `database.collection`.
public struct Namespace: Hashable, Sendable, CustomStringConvertible {
    public let database: String
    public let collection: String

    /// The longest full name, as MongoDB has it.
    static let bytesMax = 255

    /// - Throws: `InvalidNamespace` (73) when MongoDB would refuse one of the names.
    public init(database: String, collection: String) throws(QueryError) {
        try Namespace.check(database: database)
        guard !collection.isEmpty, !collection.utf8.contains(0), !collection.utf8.contains(UInt8(ascii: "$")),
            collection.utf8.first != UInt8(ascii: "."),
            database.utf8.count + 1 + collection.utf8.count <= Namespace.bytesMax
        else { throw QueryError(.invalidNamespace, "Invalid namespace specified '\(database).\(collection)'") }
        self.database = database
        self.collection = collection
    }

    /// For names that were checked when the collection was made.
    init(trusted database: String, _ collection: String) {
        self.database = database
        self.collection = collection
    }

    /// Splits a full name at its first dot.
    init(parsing fullName: String) throws(QueryError) {
        guard let dot = fullName.firstIndex(of: ".") else {
            throw QueryError(.invalidNamespace, "Invalid namespace specified '\(fullName)'")
        }
        try self.init(
            database: String(fullName[..<dot]), collection: String(fullName[fullName.index(after: dot)...]))
    }

    /// Zero, slash, backslash, dot, space, quotation mark, dollar.
    private static let forbidden: [UInt8] = [0, 0x2F, 0x5C, 0x2E, 0x20, 0x22, 0x24]

    static func check(database: String) throws(QueryError) {
        guard !database.isEmpty, database.utf8.count < 64, !database.utf8.contains(where: forbidden.contains) else {
            throw QueryError(.invalidNamespace, "Invalid database name: '\(database)'")
        }
    }

    public var description: String { "\(database).\(collection)" }
}
