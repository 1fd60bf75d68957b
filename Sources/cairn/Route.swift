import ArgumentParser
import CairnClient
import CairnServer

/// `cairn route`: a router without data.
struct Route: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a router in front of a cluster.",
        discussion:
            "Any MongoDB driver may connect to it as to a node. It keeps no data and may be stopped at any time.")

    @Option(
        help: ArgumentHelp(
            "Nodes of the cluster: mongodb://HOST:PORT,HOST:PORT/ or HOST:PORT,HOST:PORT", valueName: "address"))
    var cluster = "127.0.0.1:27017"

    @Option(help: ArgumentHelp("Where clients connect.", valueName: "host:port"))
    var listen = "127.0.0.1:27016"

    @Option(help: ArgumentHelp("The least severe level to log.", valueName: "level"))
    var logLevel = "info"

    func run() async throws {
        guard let endpoint = SocketEndpoint(parsing: listen) else {
            throw ValidationError("--listen: '\(listen)' is not HOST:PORT")
        }
        let logger = try Serve.logger(level: logLevel)
        let router = RouterNode(
            cluster: try ConnectionString(cluster), listening: endpoint, arguments: CommandLine.arguments,
            logger: logger)
        do { try await Serve.run(router, logger: logger) } catch {
            logger.critical("the router ended", metadata: ["reason": "\(error)"])
            throw ExitCode(1)
        }
    }
}
