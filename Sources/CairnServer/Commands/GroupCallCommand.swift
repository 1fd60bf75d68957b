import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication
import CairnSharding
import CairnWire

/// The command by which a routing client (``CairnClient``, `cairn route`) reaches a group on the node that leads it:
/// `{cairnGroupCall: <request bytes>, group: <number>}` → `{answer: <answer bytes>, ok: 1}`.
///
/// The bytes are those that nodes send each other, so a client of another version is refused by their format byte.
enum GroupCallCommand {
    static let name = "cairnGroupCall"

    static func begin(_ request: ClientRequest, on connection: ClientConnection, node: isolated NodeLoop) {
        guard case .binary(let payload)? = request.body[name], let number = request.body["group"]?.int64Exactly,
            let group = UInt32(exactly: number).map({ GroupID(rawValue: $0) })
        else {
            let reply = Router.errorReply(QueryError(.badValue, "\(name) takes binary data and the number of a group"))
            return node.write(request.encode(reply, requestID: node.nextRequestID()), to: connection)
        }
        let id = connection.id
        let loop = node
        node.call(payload.data, group: group, among: node.siblings) { answer in
            var reply = DocumentBuilder()
            reply.append("answer", .binary(Binary(answer[...])))
            reply.append("ok", .double(1))
            let body = reply.finish()
            loop.onLoop { loop in
                guard let connection = loop.connections[id] else { return }
                loop.write(request.encode(body, requestID: loop.nextRequestID()), to: connection)
            }
        }
    }
}
