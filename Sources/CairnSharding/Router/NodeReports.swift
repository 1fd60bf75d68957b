public import CairnBSON
public import CairnQuery

/// What the node that carries out a command knows by itself: its profiles, its operations, its sessions. A router without a node
/// has none of it.
public protocol NodeReports: AnyObject {
    /// The entries of a database's `system.profile`.
    func profile(of database: String) -> [Document]

    /// Empties a database's `system.profile`.
    ///
    /// - Returns: whether there was anything.
    func dropProfile(of database: String) throws(QueryError) -> Bool

    /// `HOST:PORT` of the node, as documents about it name it.
    var host: String { get }

    /// What runs on the node, in the shape of `$currentOp`.
    func currentOperations(idleConnections: Bool) async -> [Document]

    /// The sessions that were used on the node within their lifetime, in the shape of `$listLocalSessions`.
    func sessions() async -> [Document]
}
