import CairnRaft
import CairnReplication
import Hummingbird
import Logging
import NIOCore

/// The node's page and its endpoints for probes, metrics and fault injection.
struct AdminEndpoint: Sendable {
    let node: Node

    /// Where a request comes from decides whether it may break things.
    struct Context: RequestContext, RemoteAddressRequestContext {
        var coreContext: CoreRequestContextStorage
        let remoteAddress: SocketAddress?

        init(source: ApplicationRequestContextSource) {
            coreContext = .init(source: source)
            remoteAddress = source.channel.remoteAddress
        }
    }

    func application() -> some ApplicationProtocol {
        let router = Router(context: Context.self)
        router.get("/healthz") { _, _ in "ok\n" }
        router.get("/readyz") { _, _ in
            let leaderless = await node.leaderlessGroups()
            return Response(
                status: leaderless.isEmpty ? .ok : .serviceUnavailable, headers: [.contentType: "text/plain"],
                body: .init(
                    byteBuffer: ByteBuffer(
                        string: leaderless.isEmpty
                            ? "ready\n"
                            : "groups without a leader: \(leaderless.map { "\($0.rawValue)" }.joined(separator: ", "))\n"
                    )))
        }
        router.get("/metrics") { _, _ in
            Response(
                status: .ok, headers: [.contentType: "text/plain; version=0.0.4"],
                body: .init(byteBuffer: ByteBuffer(string: await MetricsPage.text(of: node))))
        }
        router.get("/") { _, _ in
            Response(
                status: .ok, headers: [.contentType: "text/html; charset=utf-8"],
                body: .init(byteBuffer: ByteBuffer(string: await StatusPage.html(of: node))))
        }
        if node.shared.configuration.testCommandsEnabled { addTestCommands(to: router) }
        let address = node.shared.configuration.address.http
        return Application(
            router: router,
            configuration: .init(address: .hostname(address.host, port: address.port), serverName: "cairn"),
            logger: quiet(node.shared.logger))
    }

    private func addTestCommands(to router: Router<Context>) {
        // Each call adds to what is cut; healing mends everything.
        router.post("/test/partition") { request, context -> HTTPResponse.Status in
            try requireLoopback(context)
            var cut = node.barrier.current
            cut.outgoing.formUnion(try nodes(request.uri.queryParameters["outgoing"]))
            cut.incoming.formUnion(try nodes(request.uri.queryParameters["incoming"]))
            node.barrier.set(cut)
            return .ok
        }
        router.post("/test/heal") { _, context -> HTTPResponse.Status in
            try requireLoopback(context)
            node.barrier.set(.init())
            return .ok
        }
    }

    private func requireLoopback(_ context: Context) throws {
        guard let address = context.remoteAddress?.ipAddress, address == "127.0.0.1" || address == "::1" else {
            throw HTTPError(.forbidden, message: "test commands are for this machine only")
        }
    }

    private func nodes(_ list: Substring?) throws -> [NodeID] {
        try (list ?? "").split(separator: ",").map {
            guard let number = UInt64($0) else { throw HTTPError(.badRequest, message: "'\($0)' is not a node number") }
            return NodeID(rawValue: number)
        }
    }

    private func quiet(_ logger: Logger) -> Logger {
        var logger = logger
        logger.logLevel = max(logger.logLevel, .warning)
        return logger
    }
}
