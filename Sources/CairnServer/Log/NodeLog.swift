public import Logging
import CairnBSON
import DequeModule
import Foundation
import Synchronization

/// The log of this process: where `getLog` finds its last lines, and whose level can change while it runs.
///
/// ``NodeLogHandler`` feeds it. There is one, as there is one standard error.
public final class NodeLog: Sendable {
    public static let current = NodeLog()

    /// Lines that are kept, as MongoDB keeps them, and characters of a line.
    static let linesMax = 1024
    static let lineCharactersMax = 2_000

    private struct State {
        var lines: Deque<String> = []
        var written = 0
        var level = Logger.Level.info
    }
    private let state = Mutex(State())

    /// The least severe level that is logged.
    public var level: Logger.Level {
        get { state.withLock { $0.level } }
        set { state.withLock { $0.level = newValue } }
    }

    /// MongoDB's measure: 0 for what everybody wants to know, up to 5 for everything.
    var verbosity: Int32 {
        get {
            switch level {
            case .trace: 5
            case .debug: 1
            default: 0
            }
        }
        set {
            level =
                switch newValue {
                case ..<1: .info
                case 1: .debug
                default: .trace
                }
        }
    }

    /// The last lines, oldest first, and how many there were in all.
    var lines: (last: [String], written: Int) { state.withLock { (Array($0.lines), $0.written) } }

    func add(_ level: Logger.Level, _ label: String, _ message: String, _ metadata: Logger.Metadata) {
        let severity =
            switch level {
            case .trace: "D5"
            case .debug: "D1"
            case .info, .notice: "I"
            case .warning: "W"
            case .error: "E"
            case .critical: "F"
            }
        var attributes = DocumentBuilder()
        for (name, value) in metadata.sorted(by: { $0.key < $1.key }) {
            attributes.append(name, String("\(value)".prefix(Self.lineCharactersMax)))
        }
        let line: Document = [
            "t": .date(milliseconds: Int64(Date().timeIntervalSince1970 * 1_000)), "s": .string(BSONString(severity)),
            "c": .string(BSONString(label)), "id": 0, "ctx": "main",
            "msg": .string(BSONString(String(message.prefix(Self.lineCharactersMax)))),
            "attr": .document(attributes.finish()),
        ]
        let text = "\(line)"
        state.withLock { state in
            state.lines.append(text)
            state.written += 1
            if state.lines.count > Self.linesMax { state.lines.removeFirst() }
        }
    }
}

/// Writes to standard error, and remembers the last lines in ``NodeLog/current``.
public struct NodeLogHandler: LogHandler {
    private let label: String
    private var stream: StreamLogHandler
    /// Set where a part of the node is to be quieter than the rest.
    private var ownLevel: Logger.Level?

    public init(label: String) {
        self.label = label
        stream = StreamLogHandler.standardError(label: label)
        stream.logLevel = .trace
    }

    public var logLevel: Logger.Level {
        get { ownLevel ?? NodeLog.current.level }
        set { ownLevel = newValue }
    }

    public var metadata: Logger.Metadata {
        get { stream.metadata }
        set { stream.metadata = newValue }
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { stream[metadataKey: key] }
        set { stream[metadataKey: key] = newValue }
    }

    public func log(event: LogEvent) {
        stream.log(event: event)
        NodeLog.current.add(
            event.level, label, "\(event.message)", stream.metadata.merging(event.metadata ?? [:]) { _, given in given }
        )
    }
}
