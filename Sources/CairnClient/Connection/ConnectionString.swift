/// A `mongodb://` address: the hosts that lead into a cluster.
///
/// Any of them will do: the client asks the first that answers for all the nodes there are.
public struct ConnectionString: Hashable, Sendable {
    public var hosts: [(host: String, port: Int)] { parsed.map { ($0.host, $0.port) } }
    /// The database of the path, if one is named.
    public var database: String?

    private struct Host: Hashable, Sendable {
        var host: String
        var port: Int
    }
    private var parsed: [Host]

    /// Reads `mongodb://HOST:PORT,HOST:PORT/database`, or hosts alone.
    ///
    /// - Throws: ``ClientError`` with code `badAddress` that says what is wrong.
    public init(_ text: String) throws(ClientError) {
        var rest = Substring(text)
        if rest.hasPrefix("mongodb://") {
            rest = rest.dropFirst("mongodb://".count)
        } else if rest.contains("://") {
            throw ClientError(.badAddress, "'\(text)' does not begin with mongodb://")
        }
        if rest.contains("@") {
            throw ClientError(.badAddress, "users and passwords are not supported by this version of Cairn")
        }
        let parts = rest.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        parsed = []
        for part in parts[0].split(separator: ",") {
            guard let host = Self.hostAndPort(part.contains(":") ? String(part) : "\(part):27017") else {
                throw ClientError(.badAddress, "'\(part)' is not HOST:PORT")
            }
            parsed.append(Host(host: host.host, port: host.port))
        }
        guard !parsed.isEmpty else { throw ClientError(.badAddress, "'\(text)' names no host") }
        if parts.count > 1 {
            let name = parts[1].prefix { $0 != "?" }
            database = name.isEmpty ? nil : String(name)
        }
    }

    static func hostAndPort(_ text: String) -> (host: String, port: Int)? {
        guard let colon = text.lastIndex(of: ":"), colon > text.startIndex,
            let port = Int(text[text.index(after: colon)...]), (1...65535).contains(port)
        else { return nil }
        return (String(text[..<colon]), port)
    }
}
