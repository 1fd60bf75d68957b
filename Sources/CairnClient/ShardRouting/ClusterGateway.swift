import CairnBSON
import CairnDatabase
import CairnQuery
import CairnRaft
import CairnReplication
import CairnSharding
import CairnWire
import NIOCore

/// Reaches every group's replicas over connections to the nodes' client ports. Confined to one event loop.
public final class ClusterGateway: GroupGateway {
    private enum Link {
        case connecting([(WireConnection?) -> Void])
        case open(WireConnection)
        /// Failed a moment ago; not tried again before that time.
        case failed(until: NIODeadline)
    }

    private let eventLoop: any EventLoop
    private var endpoints: [NodeID: (host: String, port: Int)] = [:]
    private var links: [NodeID: Link] = [:]
    private var isClosed = false

    /// - Parameter eventLoop: where this is used and its connections live.
    public init(layout: ClusterLayout, eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        adopt(layout)
    }

    public func adopt(_ layout: ClusterLayout) {
        endpoints = [:]
        for node in layout.nodes {
            if let parsed = ConnectionString.hostAndPort(node.clientAddress) { endpoints[node.id] = parsed }
        }
        for (node, link) in links where endpoints[node] == nil {
            if case .open(let connection) = link { connection.assumeIsolated { $0.close() } }
            if case .connecting = link { continue }
            links[node] = nil
        }
    }

    public func leader(of group: GroupID) -> NodeID? { nil }

    public func call(
        _ request: GroupRequest, to group: GroupID, at node: NodeID, deadline: UInt64,
        completion: @escaping (Result<GroupReply, GroupFailure>) -> Void
    ) {
        guard !isClosed else {
            return completion(.failure(.error(QueryError(.interruptedAtShutdown, "the client was closed"))))
        }
        let eventLoop = eventLoop
        withConnection(to: node) { connection in
            guard let connection else {
                return completion(.failure(.unavailable("node \(node.rawValue) cannot be reached")))
            }
            let bound = NIOLoopBound(completion, eventLoop: eventLoop)
            connection.assumeIsolated { connection in
                let number = connection.send(encodedBy: { GroupCallMessage.encoded(request, to: group, requestID: $0) })
                {
                    bound.value(Self.result(of: $0))
                }
                connection.expire(number, at: deadline)
            }
        }
    }

    /// Ends all connections; calls under way fail, and later ones are refused.
    public func close() {
        isClosed = true
        let links = links
        self.links = [:]
        for link in links.values {
            switch link {
            case .open(let connection): connection.assumeIsolated { $0.close() }
            // Their callers wait for an answer, and nobody else would give it.
            case .connecting(let waiting): for body in waiting { body(nil) }
            case .failed: break
            }
        }
    }

    private static func result(of answer: Result<Document, ConnectionError>) -> Result<GroupReply, GroupFailure> {
        switch answer {
        case .failure(let error): return .failure(.unavailable("\(error)"))
        case .success(let reply):
            guard case .binary(let payload)? = reply["answer"] else {
                return .failure(.unavailable("the node refused: \(reply["errmsg"].map { "\($0)" } ?? "no answer")"))
            }
            do throws(DatabaseError) {
                switch try GroupAnswer(decoding: payload.data, validating: false) {
                case .reply(let reply): return .success(reply)
                case .failure(let failure): return .failure(failure)
                }
            } catch {
                return .failure(.unavailable("the node's answer cannot be read: \(error)"))
            }
        }
    }

    private func withConnection(to node: NodeID, _ body: @escaping (WireConnection?) -> Void) {
        switch links[node] {
        case .open(let connection):
            if connection.assumeIsolated({ $0.isOpen }) { return body(connection) }
            connect(to: node, then: body)
        case .connecting(var waiting):
            waiting.append(body)
            links[node] = .connecting(waiting)
        case .failed(let until):
            if until > .now() { return body(nil) }
            connect(to: node, then: body)
        case nil: connect(to: node, then: body)
        }
    }

    private func connect(to node: NodeID, then body: @escaping (WireConnection?) -> Void) {
        guard let endpoint = endpoints[node] else { return body(nil) }
        links[node] = .connecting([body])
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let eventLoop = eventLoop
        Task {
            let connection = try? await WireConnection.connect(
                host: endpoint.host, port: endpoint.port, on: eventLoop, endsWhenSilent: true)
            eventLoop.execute { bound.value.connected(node, connection) }
        }
    }

    private func connected(_ node: NodeID, _ connection: WireConnection?) {
        guard case .connecting(let waiting)? = links[node] else {
            // The client was closed meanwhile.
            connection?.assumeIsolated { $0.close() }
            return
        }
        links[node] = connection.map { .open($0) } ?? .failed(until: .now() + .milliseconds(200))
        for body in waiting { body(connection) }
    }
}
