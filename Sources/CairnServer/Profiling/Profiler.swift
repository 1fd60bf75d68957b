import CairnBSON
import CairnQuery
import DequeModule
import Synchronization

/// Which operations a node writes down: slow ones in its log, and for databases whose profiling level is above 0 in their
/// `system.profile`.
///
/// As in MongoDB all of it belongs to one node: a level is set, and a profile read, on the node that is asked. Levels and profiles end
/// with the process. Nothing grows without bound: a profile has ``profileBytesMax`` bytes, the oldest entries make room, and
/// ``databasesMax`` databases have one.
final class Profiler: Sendable {
    /// Bytes of one database's profile, as MongoDB's capped collection has them.
    static let profileBytesMax = 1 << 20
    static let databasesMax = 64

    struct Settings: Sendable, Hashable {
        /// Operations that take longer are slow.
        var slowMilliseconds: Int64 = 100
        /// The share of slow operations that is written down.
        var sampleRate = 1.0
    }

    /// What is to be done about one operation.
    struct Interest: Sendable, Hashable {
        var isLogged: Bool
        var isRecorded: Bool
        var any: Bool { isLogged || isRecorded }
    }

    fileprivate struct Profile {
        var level = 0
        var filter: Filter?
        var records: Deque<Document> = []
        var bytes = 0
    }

    fileprivate struct State {
        var settings = Settings()
        var profiles: [String: Profile] = [:]
    }

    private let state = Mutex(State())
    private let slowNanoseconds = Atomic<Int64>(100_000_000)
    /// Whether any database has a level above 0.
    private let isProfiling = Atomic(false)

    var settings: Settings { state.withLock { $0.settings } }

    /// Decides whether an operation is of interest, from what costs nothing to know. Most are not, and pay two loads.
    func interest(in database: String, nanoseconds: Int64) -> Interest? {
        let isSlow = nanoseconds >= slowNanoseconds.load(ordering: .relaxed)
        guard isSlow || isProfiling.load(ordering: .relaxed) else { return nil }
        return state.withLock { state in
            let profile = state.profiles[database]
            let level = profile?.level ?? 0
            if profile?.filter != nil { return Interest(isLogged: true, isRecorded: level > 0) }
            let isSampled =
                isSlow && (state.settings.sampleRate >= 1 || .random(in: 0..<1) < state.settings.sampleRate)
            let interest = Interest(isLogged: isSampled, isRecorded: level == 2 || (level == 1 && isSampled))
            return interest.any ? interest : nil
        }
    }

    /// Takes an operation's record in, unless the database's filter is against it.
    ///
    /// - Returns: whether it is to be logged.
    func add(_ record: Document, of database: String, _ interest: Interest) -> Bool {
        state.withLock { state in
            if let filter = state.profiles[database]?.filter, (try? filter.matches(record)) != true { return false }
            if interest.isRecorded { state.profiles[database]?.add(record) }
            return interest.isLogged
        }
    }

    /// The entries of a database's profile, oldest first.
    func records(of database: String) -> [Document] { state.withLock { Array($0.profiles[database]?.records ?? []) } }

    /// Empties a database's profile.
    ///
    /// - Returns: whether there was anything.
    /// - Throws: while the database is profiled.
    func drop(profileOf database: String) throws(QueryError) -> Bool {
        try state.withLock { (state) throws(QueryError) in
            guard let profile = state.profiles[database] else { return false }
            guard profile.level == 0 else {
                throw QueryError(.illegalOperation, "turn off profiling before dropping system.profile collection")
            }
            state.profiles[database]?.records = []
            state.profiles[database]?.bytes = 0
            state.forgetIdle(database)
            return !profile.records.isEmpty
        }
    }

    /// What `profile` changes; nil leaves a thing as it is.
    struct Change: Sendable {
        var level: Int?
        var slowMilliseconds: Int64?
        var sampleRate: Double?
        var filter: FilterChange?
        enum FilterChange: Sendable { case set(Filter), unset }
    }

    /// What was, in the shape of `profile`'s answer.
    ///
    /// - Throws: when as many databases are profiled as can be.
    func apply(_ change: Change, to database: String) throws(QueryError) -> Document {
        try state.withLock { (state) throws(QueryError) in
            let former = state.profiles[database]
            var reply: Document = [
                "was": .int32(Int32(former?.level ?? 0)),
                "slowms": .int32(Int32(clamping: state.settings.slowMilliseconds)),
                "sampleRate": .double(state.settings.sampleRate),
            ]
            if let filter = former?.filter {
                reply.append("filter", .document(filter.source))
                reply.append(
                    "note",
                    "When a filter expression is set, slowms and sampleRate are not used for profiling and slow-query log lines."
                )
            }
            reply.append("ok", .double(1))
            if former == nil, (change.level ?? 0) > 0 || change.filter != nil {
                guard state.profiles.count < Self.databasesMax else {
                    throw QueryError(
                        .exceededMemoryLimit, "\(Self.databasesMax) databases are profiled on this node, its limit")
                }
                state.profiles[database] = Profile()
            }
            if let level = change.level { state.profiles[database]?.level = level }
            switch change.filter {
            case .set(let filter)?: state.profiles[database]?.filter = filter
            case .unset?: state.profiles[database]?.filter = nil
            case nil: break
            }
            if let slow = change.slowMilliseconds { state.settings.slowMilliseconds = slow }
            if let rate = change.sampleRate { state.settings.sampleRate = rate }
            state.forgetIdle(database)
            slowNanoseconds.store(
                state.settings.slowMilliseconds.multipliedReportingOverflow(by: 1_000_000).partialValue,
                ordering: .relaxed)
            isProfiling.store(
                state.profiles.values.contains { $0.level > 0 || $0.filter != nil }, ordering: .relaxed)
            return reply
        }
    }
}

extension Profiler.State {
    /// A database without level, filter and entries is as one that was never profiled.
    fileprivate mutating func forgetIdle(_ database: String) {
        guard let profile = profiles[database], profile.level == 0, profile.filter == nil, profile.records.isEmpty
        else { return }
        profiles[database] = nil
    }
}

extension Profiler.Profile {
    fileprivate mutating func add(_ record: Document) {
        records.append(record)
        bytes += record.byteCount
        while bytes > Profiler.profileBytesMax, records.count > 1 { bytes -= records.removeFirst().byteCount }
    }
}
