import ArgumentParser
import CairnServer
import Logging
import ServiceLifecycle

/// `cairn serve`: a node.
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a node.",
        discussion: """
            Settings come from flags, then from the environment (CAIRN_RAFT_HEARTBEAT_MS for raft.heartbeat-ms), then \
            from the file. cluster-configs/local-3/cluster.yaml explains every key. Without a file the node is a whole \
            database by itself.
            """)

    @Option(help: ArgumentHelp("The cluster's configuration.", valueName: "file"))
    var config: String?

    @Option(help: ArgumentHelp("Which of the configuration's nodes this is.", valueName: "number"))
    var node: Int?

    @Option(help: ArgumentHelp("The folder for all data; made if it is missing.", valueName: "dir"))
    var data: String?

    @Option(help: ArgumentHelp("The port for clients, without a configuration (default: 27017).", valueName: "port"))
    var port: Int?

    @Option(help: ArgumentHelp("The least severe level to log.", valueName: "level"))
    var logLevel: String?

    @Flag(
        help: """
            Let tests cut this node off from its peers (over its admin endpoint, from this machine only) and make commands fail \
            (configureFailPoint).
            """)
    var enableTestCommands = false

    func run() async throws {
        var flags: [String: String] = [:]
        if let node { flags["node.id"] = "\(node)" }
        if let data { flags["node.data"] = data }
        if let port { flags["node.port"] = "\(port)" }
        if let logLevel { flags["log.level"] = logLevel }
        if enableTestCommands { flags["node.test-commands"] = "true" }
        let settings: NodeConfiguration
        do { settings = try await ConfigurationLoader.load(file: config, flags: flags) } catch {
            throw ValidationError("\(error)")
        }
        let logger = try Self.logger(level: settings.logLevel)
        let node = Node(configuration: settings, arguments: CommandLine.arguments, logger: logger)
        do { try await Self.run(node, logger: logger) } catch {
            logger.critical("the node ended", metadata: ["reason": "\(error)"])
            throw ExitCode(1)
        }
    }

    static func logger(level name: String) throws -> Logger {
        guard let level = Logger.Level(rawValue: name) else {
            throw ValidationError(
                "log.level: '\(name)' is no level; write one of \(Logger.Level.allCases.map(\.rawValue).joined(separator: ", "))"
            )
        }
        NodeLog.current.level = level
        LoggingSystem.bootstrap { NodeLogHandler(label: $0) }
        return Logger(label: "cairn")
    }

    /// Runs until SIGTERM or SIGINT asks for a clean shutdown.
    static func run(_ service: any Service, logger: Logger) async throws {
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .warning)
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [.init(service: service, successTerminationBehavior: .gracefullyShutdownGroup)],
                gracefulShutdownSignals: [.sigterm, .sigint], logger: quiet))
        try await group.run()
    }
}
