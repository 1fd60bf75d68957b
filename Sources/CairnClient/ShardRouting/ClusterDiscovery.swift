import CairnBSON
import CairnRaft
import CairnReplication
import CairnSharding
import NIOCore

/// Asks nodes of a cluster what the cluster consists of.
public enum ClusterDiscovery {
    /// A node answers from memory. One that has not after so long was stopped, or cut off with the connection still there.
    private static let layoutWithin = TimeAmount.seconds(2)

    /// The layout, from the first host that answers.
    ///
    /// - Throws: ``ClientError`` with code `unreachable` that says what each host answered.
    public static func layout(from address: ConnectionString, on eventLoop: any EventLoop) async throws(ClientError)
        -> ClusterLayout
    {
        let reply = try await ask(address, ["cairnLayout": 1, "$db": "admin"], on: eventLoop, timeout: layoutWithin)
        guard let layout = ClusterLayout(document: reply) else {
            throw ClientError(.malformedAnswer, "what answered is no Cairn node", reply: reply)
        }
        return layout
    }

    /// Sends one command to the first host that answers.
    ///
    /// - Parameter timeout: how long a host may take before the next one is asked; nil, which is for commands that must not
    ///   be carried out twice, means until the connection is lost.
    public static func ask(
        _ address: ConnectionString, _ command: Document, on eventLoop: any EventLoop, timeout: TimeAmount? = nil
    ) async throws(ClientError) -> Document {
        var reasons: [String] = []
        for (host, port) in address.hosts {
            do throws(ConnectionError) {
                let connection = try await WireConnection.connect(host: host, port: port, on: eventLoop)
                let answer: Result<Document, ConnectionError>
                do throws(ConnectionError) {
                    answer = .success(try await connection.call(command, timeout: timeout))
                } catch {
                    answer = .failure(error)
                }
                await connection.close()
                return try answer.get()
            } catch {
                reasons.append("\(error)")
            }
        }
        throw ClientError(.unreachable, "no node answered: \(reasons.joined(separator: "; "))")
    }
}
