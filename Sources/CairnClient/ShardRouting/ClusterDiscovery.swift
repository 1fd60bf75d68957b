import CairnBSON
import CairnRaft
import CairnReplication
import CairnSharding
import NIOCore

/// Asks nodes of a cluster what the cluster consists of.
public enum ClusterDiscovery {
    /// The layout, from the first host that answers.
    ///
    /// - Throws: ``ClientError`` with code `unreachable` that says what each host answered.
    public static func layout(from address: ConnectionString, on eventLoop: any EventLoop) async throws(ClientError)
        -> ClusterLayout
    {
        let reply = try await ask(address, ["cairnLayout": 1, "$db": "admin"], on: eventLoop)
        guard let layout = ClusterLayout(document: reply) else {
            throw ClientError(.malformedAnswer, "what answered is no Cairn node", reply: reply)
        }
        return layout
    }

    /// Sends one command to the first host that answers.
    public static func ask(
        _ address: ConnectionString, _ command: Document, on eventLoop: any EventLoop
    ) async throws(ClientError) -> Document {
        var reasons: [String] = []
        for (host, port) in address.hosts {
            do throws(ConnectionError) {
                let connection = try await WireConnection.connect(host: host, port: port, on: eventLoop)
                let reply = try await connection.call(command)
                await connection.close()
                return reply
            } catch {
                reasons.append("\(error)")
            }
        }
        throw ClientError(.unreachable, "no node answered: \(reasons.joined(separator: "; "))")
    }
}
