import CairnBSON
import CairnQuery
import Synchronization

/// Which of a server's states a `hello` has described: a client that sends it back hears of the next one as soon as there is one.
///
/// Source: the drivers' "Server Discovery and Monitoring" specification.
struct TopologyVersion: Sendable, Hashable {
    /// Differs between processes, so that nobody compares the counters of two.
    let processID: ObjectID
    /// Grows whenever `hello` would say something else than before.
    var counter: Int64

    var value: Value { ["processId": .objectID(processID), "counter": .int64(counter)] }
}

/// What a client of the awaitable `hello` knows already, and how long it is willing to wait for news.
struct AwaitedTopology: Sendable, Hashable {
    let known: TopologyVersion
    let milliseconds: Int64

    /// The longest wait; whoever asks for more is answered earlier and asks again.
    static let millisecondsMax: Int64 = 600_000

    /// - Returns: nil for a `hello` that is to be answered at once.
    /// - Throws: with MongoDB's codes, for one half without the other and for values that mean nothing.
    init?(_ body: Document) throws(QueryError) {
        let version = body["topologyVersion"]
        let wait = body["maxAwaitTimeMS"]
        guard version != nil || wait != nil else { return nil }
        guard let version, let wait else {
            throw QueryError(
                ErrorCode(31_368),
                version == nil
                    ? "A request with 'maxAwaitTimeMS' must include a 'topologyVersion'"
                    : "A request with a 'topologyVersion' must include 'maxAwaitTimeMS'")
        }
        guard let milliseconds = wait.int64Exactly, milliseconds >= 0 else {
            throw QueryError(ErrorCode(31_373), "maxAwaitTimeMS must be a non-negative integer")
        }
        guard case .document(let document) = version, case .objectID(let process)? = document["processId"],
            let counter = document["counter"]?.int64Exactly
        else {
            throw QueryError(
                .typeMismatch, "'topologyVersion' must have an objectId 'processId' and a long 'counter'")
        }
        guard counter >= 0 else {
            throw QueryError(ErrorCode(31_372), "topologyVersion must have a non-negative counter")
        }
        known = TopologyVersion(processID: process, counter: counter)
        self.milliseconds = min(milliseconds, Self.millisecondsMax)
    }
}

/// What `hello` of this process has to say that can change.
final class NodeTopology: Sendable {
    private struct State {
        var version: TopologyVersion
        var isShuttingDown = false
    }
    private let state: Mutex<State>

    init() {
        state = Mutex(
            State(
                version: TopologyVersion(
                    processID: ObjectID(
                        seconds: UInt32(truncatingIfNeeded: LoopClock.wallMilliseconds / 1_000),
                        random: .random(in: 0...UInt64.max), counter: .random(in: 0...UInt32.max)),
                    counter: 0)))
    }

    var version: TopologyVersion { state.withLock { $0.version } }

    /// Whether the node lets its clients go.
    var isShuttingDown: Bool { state.withLock { $0.isShuttingDown } }

    /// From now on `hello` tells clients to go elsewhere.
    func beginShutdown() {
        state.withLock { state in
            guard !state.isShuttingDown else { return }
            state.isShuttingDown = true
            state.version.counter += 1
        }
    }
}
