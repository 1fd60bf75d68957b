import CairnBSON
import CairnDatabase
import CairnDefects
import CairnFiles
import CairnQuery
import CairnRaft
import CairnReplication
import CairnStorage
import DequeModule

/// One replica of one group: the database under the log, and the requests that wait for it.
///
/// A **read** is evaluated at once when the leader's lease is valid and everything it must see is applied, and its answer
/// given before ``execute(_:completion:)`` returns; otherwise leadership is confirmed by a round of messages first. What is
/// not in memory, or takes long, is read on a ``ReaderPool`` meanwhile; a write that needs the disk has its blocks fetched
/// there and is evaluated when it has them.
///
/// A **write** is evaluated at once against the tip. All writes of a turn of the loop become one log entry, and so do all that
/// arrive while ``DataGroupOptions/entriesInFlight`` entries are on their way: the more load, the larger the entries. An
/// answer is held back until the entry that it rests on has been applied here, so after a majority has it on disk. When
/// the role is lost before, the outcome is unknown and the answer says so (`.unavailable`).
///
/// Its shell calls, on the group's loop: ``execute(_:completion:)`` for each request, ``flush()`` and then the host's
/// `flush()` once a turn unless the group ``isIdle``, and both again while ``needsFlush`` says so. Answers are given in
/// `execute` or `flush`, never from within the host.
///
/// The meta group is one of these too: its catalog is documents (see ``Router``).
///
/// - Note: not `Sendable`; everything happens on the loop that the group lives on.
public final class DataGroup {
    public let group: GroupID
    public let node: NodeID
    public let directory: String
    public let options: DataGroupOptions
    /// The replica's database; for `inspect`, metrics and tests. Writes go through ``execute(_:completion:)``.
    public let database: GroupDatabase
    /// Why the tablet could not be opened; nil if it could.
    var openingDamage: String?
    let fileSystem: any FileSystem
    let openEngine: (String) throws -> Engine
    /// Nil: everything is read where it is asked for.
    let readers: (any ReaderPool)?
    let clock: any RouterClock
    private weak var consensus: (any GroupConsensus)?

    public internal(set) var role: ReplicaRole = .follower(leader: nil)
    /// Set while a leader whose tip was lost waits for what it proposed to be applied.
    var resumesAfter = LogIndex(rawValue: 0)

    /// Answers that wait for a position of the tip to be applied, in the order of their positions.
    private var held: Deque<Held> = []
    /// Requests that wait until writes can be evaluated in this term.
    var parked: Deque<Waiting> = []
    /// Reads that wait for an index to be applied.
    var reads: [(index: LogIndex, waiting: Waiting)] = []
    /// Reads that are under way among the readers, by the numbers that routers gave them.
    var running: [UInt64: Interruption] = [:]
    /// Answers to be given at the next flush.
    private var deliveries: [() -> Void] = []
    private var waitingCount = 0
    private var waitingBytes = 0
    /// Entries of this term that are not applied, oldest first.
    var inFlight: Deque<(position: TipPosition, bytes: Int)> = []
    var bytesInFlight = 0
    /// When sessions are looked over next, by the monotonic clock.
    private var expiresSessionsAt: UInt64 = 0
    /// Of the documents whose time is over.
    var expiry = ExpiryPass()
    /// Of the indexes whose routers are gone.
    var indexBuilds = IndexBuilds()
    /// Reads that wait for more of a capped collection.
    var tails: [UInt64: Tail] = [:]
    var lastTail: UInt64 = 0
    /// When the next entry may be proposed, by the monotonic clock, while the engine is behind; 0 when it is not.
    private var throttledUntil: UInt64 = 0
    /// Bytes of the requests that are in the open proposal.
    private var openBytes = 0

    struct Waiting {
        let request: GroupRequest
        let byteCount: Int
        /// When the sender stops waiting, by the monotonic clock; nil for never.
        let deadline: UInt64?
        let completion: (Result<GroupReply, GroupFailure>) -> Void

        init(
            _ request: GroupRequest, _ now: UInt64, _ completion: @escaping (Result<GroupReply, GroupFailure>) -> Void
        ) {
            self.request = request
            self.completion = completion
            byteCount = request.documents.reduce(request.body.byteCount + 128) { $0 + $1.byteCount }
            deadline = request.budgetMilliseconds == 0 ? nil : now + UInt64(request.budgetMilliseconds) * 1_000_000
        }
    }

    private struct Held {
        let position: TipPosition
        let waiting: Waiting
        /// Nil: evaluate the request again instead.
        let answer: GroupAnswer?
    }

    /// Opens the replica's tablet, which is made when it is not there.
    ///
    /// - Parameters:
    ///   - directory: the group's own, which holds the tablet in a directory of its own (``TabletDirectory``).
    ///   - readers: where reads go that have to wait; without, they are waited for.
    ///   - options: ``GroupDatabaseOptions/cursorSeed`` of `databaseOptions` must be random.
    ///   - openEngine: opens the tablet in the directory it is given; called again after a snapshot was installed.
    /// - Throws: what the engine or the file system say, unless it is that the tablet is damaged (``damage``).
    public init(
        group: GroupID, node: NodeID, directory: String, fileSystem: any FileSystem, clock: any RouterClock,
        readers: (any ReaderPool)? = nil, options: DataGroupOptions = DataGroupOptions(),
        databaseOptions: GroupDatabaseOptions = GroupDatabaseOptions(),
        openEngine: @escaping (String) throws -> Engine
    ) throws {
        self.group = group
        self.node = node
        self.directory = directory
        self.fileSystem = fileSystem
        self.clock = clock
        self.readers = readers
        self.options = options
        self.openEngine = openEngine
        let tablet = try TabletDirectory.current(in: directory, fileSystem)
        try TabletDirectory.removeOthers(than: tablet, in: directory, fileSystem)
        func openDatabase(_ path: String) throws -> GroupDatabase {
            try GroupDatabase(engine: try openEngine(path), group: group.rawValue, options: databaseOptions)
        }
        openingDamage = try TabletDirectory.notedDamage(in: directory, fileSystem)
        if openingDamage == nil {
            do {
                database = try openDatabase(tablet)
                return
            } catch  where DataGroup.isDamage(error) {
                openingDamage = "\(error)"
            }
        }
        // The damaged tablet stays as it is until another one is there; what is asked meanwhile meets an empty one.
        database = try openDatabase(try TabletDirectory.makeStandIn(in: directory, fileSystem))
    }

    /// The path at which a group's tablet is opened, for shells that open it ahead of the group; nil when that would be a
    /// damaged one.
    ///
    /// - Parameter directory: the group's own, which is made when it is not there.
    public static func tablet(in directory: String, _ fileSystem: any FileSystem) throws -> String? {
        let tablet = try TabletDirectory.current(in: directory, fileSystem)
        return try TabletDirectory.notedDamage(in: directory, fileSystem) == nil ? tablet : nil
    }

    /// Whether a tablet failed because its bytes are not what was written. A key that is missing is no damage.
    private static func isDamage(_ error: any Error) -> Bool {
        switch error {
        case let error as StorageError: error.code == .corruption
        case let error as DatabaseError: error.code == .corruption || error.storage?.code == .corruption
        default: false
        }
    }

    /// Tells the group who hosts it; once, after the host has it.
    public func attach(_ consensus: any GroupConsensus) {
        self.consensus = consensus
    }

    // MARK: - Requests

    /// Requests that have no answer yet.
    public var pendingRequests: Int { waitingCount }

    /// Starts a request. `completion` is called exactly once, before this returns or in a later ``flush()``.
    public func execute(_ request: GroupRequest, completion: @escaping (Result<GroupReply, GroupFailure>) -> Void) {
        if request.operation == .buildIndex { noteIndexBuild(request) }
        carryOut(request, completion: completion)
    }

    func carryOut(_ request: GroupRequest, completion: @escaping (Result<GroupReply, GroupFailure>) -> Void) {
        if request.operation == .interrupt { return completion(.success(interrupt(request))) }
        if let patience = patience(of: request) {
            return executeTail(request, until: clock.nanoseconds &+ patience, completion)
        }
        if request.operation == .killCursors || request.operation == .getMore {
            // A cursor is bound to this replica and to its version, whoever leads.
            return answerNow(request, completion)
        }
        if options.defects.contains(.readFromFollower), !request.operation.isWrite, request.operation != .members {
            return answerNow(request, completion)
        }
        guard case .leader = role, let consensus else {
            self.consensus?.seekLeader(of: group)
            return completion(.failure(notLeader))
        }
        if request.operation == .members { return completion(.success(members(consensus))) }
        if !request.operation.isWrite {
            // The clock is read here and now: a process that was stopped must see that its lease has run out.
            if let index = consensus.leaseReadIndex(group, now: clock.nanoseconds), index <= appliedIndex {
                return answerNow(request, completion)
            }
        } else if let refusal = refusal(of: request.operation, consensus.room(for: group)) {
            return completion(.failure(refusal))
        } else if database.isLeading {
            return evaluate(Waiting(request, clock.nanoseconds, completion), isNew: true)
        }
        let waiting = Waiting(request, clock.nanoseconds, completion)
        guard hasRoom(for: waiting) else { return refuse(waiting) }
        admit(waiting)
        if request.operation.isWrite {
            parked.append(waiting)
        } else {
            confirmLeadership(for: waiting)
        }
    }

    var notLeader: GroupFailure {
        let leader = consensus?.leader(of: group)
        return .notLeader(hint: leader == node ? nil : leader?.rawValue)
    }

    /// Why a write has to wait for disk space, if it has to.
    ///
    /// The meta group's writes are few and small, and dropping a collection is one of them.
    private func refusal(of operation: GroupOperation, _ room: WriteRoom) -> GroupFailure? {
        switch room {
        case .ample: nil
        case .moving: .notLeader(hint: nil)
        case .deletesOnly(let reason):
            group == .meta || !operation.takesRoom ? nil : .error(QueryError(.outOfDiskSpace, reason))
        case .none(let reason): .error(QueryError(.outOfDiskSpace, reason))
        }
    }

    var context: EvaluationContext {
        EvaluationContext(
            nowMilliseconds: UInt64(max(0, clock.wallMilliseconds)),
            monotonicMilliseconds: clock.nanoseconds / 1_000_000)
    }

    /// A read whose moment has come.
    private func answerNow(
        _ request: GroupRequest, _ completion: @escaping (Result<GroupReply, GroupFailure>) -> Void
    ) {
        let evaluation = database.evaluate(request, context, mode: readMode)
        if case .answer(let answer) = evaluation.outcome, evaluation.restsOn <= database.appliedPosition {
            return completion(answer.result)
        }
        let waiting = Waiting(request, clock.nanoseconds, completion)
        guard hasRoom(for: waiting) else {
            if case .deferred(let read) = evaluation.outcome { database.abandon(read) }
            return refuse(waiting)
        }
        admit(waiting)
        hold(evaluation, waiting)
    }

    /// Evaluates a write, or a read again.
    ///
    /// - Parameter mode: nil for what suits a request that comes for the first time.
    func evaluate(_ waiting: Waiting, isNew: Bool, mode: ReadMode? = nil) {
        if isNew {
            guard hasRoom(for: waiting) else { return refuse(waiting) }
            admit(waiting)
        }
        let evaluation = database.evaluate(waiting.request, context, mode: mode ?? readMode)
        if evaluation.wrote { openBytes += waiting.byteCount }
        let isSettled =
            evaluation.restsOn <= database.appliedPosition || options.defects.contains(.answerBeforeCommit)
        if case .answer(let answer) = evaluation.outcome, isSettled {
            finish(waiting, answer.result)
        } else {
            hold(evaluation, waiting)
        }
    }

    private func hold(_ evaluation: Evaluation, _ waiting: Waiting) {
        // Kept in the order of arrival: an answer behind one that rests on more waits a moment longer than it must.
        let position = max(evaluation.restsOn, held.last?.position ?? 0)
        switch evaluation.outcome {
        case .answer(let answer): held.append(Held(position: position, waiting: waiting, answer: answer))
        case .again: held.append(Held(position: position, waiting: waiting, answer: nil))
        case .deferred(let read): runDeferred(read, for: waiting)
        }
    }

    private func confirmLeadership(for waiting: Waiting) {
        consensus!.readIndex(group) { [weak self] result in
            guard let self else { return waiting.completion(.failure(.unavailable("the node is shutting down"))) }
            switch result {
            case .success(let index):
                reads.append((index, waiting))
            case .failure(.notLeader(let leader)):
                later(waiting, .failure(.notLeader(hint: leader.flatMap { $0 == self.node ? nil : $0.rawValue })))
            case .failure(let error):
                later(waiting, .failure(.unavailable("leadership could not be confirmed: \(error)")))
            }
        }
    }

    // MARK: - Bookkeeping of what waits

    func isTooLate(_ waiting: Waiting) -> Bool { waiting.deadline.map { $0 < clock.nanoseconds } ?? false }

    private func hasRoom(for waiting: Waiting) -> Bool {
        waitingCount < options.requestsMax && waitingBytes + waiting.byteCount <= options.requestBytesMax
    }

    private func refuse(_ waiting: Waiting) {
        waiting.completion(.failure(.unavailable("group \(group.rawValue) has too many requests waiting")))
    }

    private func admit(_ waiting: Waiting) {
        waitingCount += 1
        waitingBytes += waiting.byteCount
    }

    func finish(_ waiting: Waiting, _ result: Result<GroupReply, GroupFailure>) {
        waitingCount -= 1
        waitingBytes -= waiting.byteCount
        waiting.completion(result)
    }

    /// Answers at the next flush, because the host is at work.
    func later(_ waiting: Waiting, _ result: Result<GroupReply, GroupFailure>) {
        deliveries.append { self.finish(waiting, result) }
    }

    /// Has something done at the next flush.
    func later(_ work: @escaping () -> Void) { deliveries.append(work) }

    // MARK: - Flush

    /// Whether nothing is under way here, so that no ``flush()`` is needed until the next ``execute(_:completion:)``.
    public var isIdle: Bool {
        waitingCount == 0 && deliveries.isEmpty && inFlight.isEmpty && !database.hasProposal
            && resumesAfter.rawValue != .max
    }

    /// For the shell's use: whether this group is among those that it flushes.
    public var isListed = false

    /// Whether ``flush()`` would get anything done now. Ask again after the host's flush: it applies what lets others go on.
    public var needsFlush: Bool {
        if !deliveries.isEmpty || canPropose { return true }
        if let first = held.first, database.isLeading, first.position <= database.appliedPosition { return true }
        if database.isLeading, !parked.isEmpty { return true }
        return reads.contains { $0.index <= appliedIndex }
    }

    /// Gives the answers that may go, evaluates what waited, and proposes what was written.
    public func flush() {
        // The log may have refused an entry while nothing was under way whose end could be waited for.
        beginTermIfReady()
        repeat {
            deliver()
            releaseHeld()
            runReads()
            runParked()
            propose()
        } while !deliveries.isEmpty
    }

    /// To be called about once a second: closes idle cursors and, on the leader, lets go of old retryable writes' results and
    /// of documents whose time is over, and finishes indexes that nobody fills.
    public func tick() {
        database.closeIdleCursors(context)
        database.checkBackgroundWork()
        expireDocuments()
        resumeIndexBuilds()
        let now = clock.nanoseconds
        guard database.isLeading, now >= expiresSessionsAt else { return }
        expiresSessionsAt = now + 60_000_000_000
        let wall = clock.wallMilliseconds
        let request = GroupRequest(
            .expireSessions, collection: .system,
            body: [
                "before": .int64(wall - options.sessionResultsMilliseconds),
                "forget": .int64(wall - options.sessionMilliseconds),
            ])
        // What cannot be done now is done in a minute.
        execute(request) { _ in }
    }

    func deliver() {
        while !deliveries.isEmpty {
            let batch = deliveries
            deliveries = []
            for delivery in batch { delivery() }
        }
    }

    private func releaseHeld() {
        guard database.isLeading else { return }
        let applied = database.appliedPosition
        while let first = held.first, first.position <= applied {
            held.removeFirst()
            if let answer = first.answer {
                finish(first.waiting, answer.result)
            } else {
                evaluate(first.waiting, isNew: false)
            }
            // A completion may have ended the term through a call of its own.
            guard database.isLeading else { return }
        }
    }

    private func runReads() {
        guard !reads.isEmpty else { return }
        let applied = appliedIndex
        var ready: [Waiting] = []
        reads.removeAll { entry in
            guard entry.index <= applied else { return false }
            ready.append(entry.waiting)
            return true
        }
        for waiting in ready { evaluate(waiting, isNew: false) }
    }

    private func runParked() {
        guard database.isLeading else { return }
        while let waiting = parked.popFirst() {
            if isTooLate(waiting) {
                finish(waiting, .failure(.unavailable("the request waited too long for group \(group.rawValue)")))
            } else {
                evaluate(waiting, isNew: false)
            }
        }
    }

    private var canPropose: Bool {
        guard database.hasProposal, bytesInFlight < options.bytesInFlightMax,
            throttledUntil == 0 || clock.nanoseconds >= throttledUntil
        else { return false }
        if openBytes >= options.batchBytes { return true }
        guard let consensus else { return false }
        return inFlight.count < options.entriesInFlight && consensus.logBatchesInFlight < options.logBatchesInFlight
    }

    private func propose() {
        guard let consensus, canPropose, !throttle() else { return }
        let now = UInt64(max(0, clock.wallMilliseconds))
        openBytes = 0
        while let proposal = database.takeProposal(nowMilliseconds: now) {
            do throws(GroupProposalError) {
                lastProposed = try consensus.propose(proposal.payload, in: group).index
            } catch {
                // What was taken is lost to the tip, so the tip is lost. Nothing of it was appended; what went before is
                // under way and may commit.
                return dropTip("the log did not take an entry: \(error)")
            }
            inFlight.append((proposal.position, proposal.payload.count))
            bytesInFlight += proposal.payload.count
        }
    }

    /// Slows proposals down while the engine is behind with its flushes and compactions, and holds them back when it cannot
    /// take more: the tablet's memory is bounded by what is proposed, since nothing that is committed may wait.
    ///
    /// - Returns: whether nothing may be proposed now.
    private func throttle() -> Bool {
        throttledUntil = 0
        let pressure = database.engine.writePressure
        guard pressure > 0 else { return false }
        let delay = UInt64(options.throttleNanosecondsMax * pressure * pressure)
        throttledUntil = clock.nanoseconds + delay
        clock.schedule(afterNanoseconds: delay) { [weak self] in self?.flush() }
        return pressure >= 1
    }

    /// Ends the tip while the role may last: evaluation goes on once all that was proposed is applied.
    private func dropTip(_ reason: String) {
        resumesAfter = LogIndex(rawValue: .max)
        endTerm(reason)
    }

    func endTerm(_ reason: String) {
        database.endTerm()
        inFlight.removeAll()
        bytesInFlight = 0
        openBytes = 0
        let lost = held
        held.removeAll()
        for entry in lost { later(entry.waiting, .failure(.unavailable(reason))) }
    }

    // MARK: - Role

    func beginTermIfReady() {
        guard case .leader(let term) = role, !database.isLeading, database.appliedTerm == term.rawValue else { return }
        if resumesAfter.rawValue == .max {
            // Everything that this leader proposed is applied once the log has nothing beyond the applied index.
            guard lastProposed <= appliedIndex else { return }
            resumesAfter = LogIndex(rawValue: 0)
        }
        database.beginTerm(term.rawValue)
    }

    /// The last entry that this replica proposed.
    private var lastProposed = LogIndex(rawValue: 0)
}

extension GroupAnswer {
    var result: Result<GroupReply, GroupFailure> {
        switch self {
        case .reply(let reply): .success(reply)
        case .failure(let failure): .failure(failure)
        }
    }
}
