import CairnBSON
import CairnQuery
import CairnStorage

/// Everything that one replica of one group knows about documents.
///
/// On every replica it is the state machine under the log: ``apply(index:term:payload:)`` takes committed payloads, each an
/// atomic engine write that carries the applied index. On the leader it also evaluates requests: reads against the applied
/// state, writes against the *tip*, the applied state plus what this leader has proposed and not yet applied.
///
/// How a leader's host drives it:
///
/// 1. ``beginTerm(_:)`` once everything before the term's own first entry is applied (a new leader appends an empty entry
///    and waits for it), with no entry of that leader proposed yet.
/// 2. ``evaluate(_:_:)`` for each request. Release an answer once ``appliedPosition`` has reached its `restsOn`.
/// 3. ``takeProposal(nowMilliseconds:)`` until nil, and propose the payloads in that order, each as one log entry.
/// 4. ``apply(index:term:payload:)`` for every committed entry, own or not, then release what waited.
/// 5. ``endTerm()`` when leadership ends, or when a taken proposal could not be proposed: what waits has an unknown
///    outcome.
///
/// Nothing here reads a clock, makes a random number or starts a thread: the same calls give the same bytes.
///
/// - Invariant: replicas that applied the same payloads hold the same keys and values.
/// - Invariant: versions of payloads strictly increase along the log, over leaders too, and none is at or below a version
///   that was promised to a reader.
/// - Note: not `Sendable`; everything happens on the loop that the group lives on.
public final class GroupDatabase {
    /// The group's number, which chunks of descriptors name.
    public let group: UInt32
    let options: GroupDatabaseOptions
    /// The tablet. ``replaceEngine(_:)`` exchanges it when a snapshot was installed.
    public private(set) var engine: Engine
    /// The descriptors of the applied state.
    var catalog: Catalog
    let cursors: CursorTable
    /// What a leader has beyond the applied state; nil on a follower.
    var evaluator: Evaluator?
    /// The first damage that a read or the engine's background work met; the tablet has to be replaced.
    public private(set) var damage: StorageError?
    private var horizon = Version(rawValue: 0)
    /// Reused for keys of point reads.
    var keyScratch: [UInt8] = []

    /// Opens the database that a tablet holds.
    ///
    /// - Throws: ``DatabaseError`` when the system space cannot be read or does not decode.
    public init(engine: Engine, group: UInt32, options: GroupDatabaseOptions = GroupDatabaseOptions())
        throws(DatabaseError)
    {
        self.engine = engine
        self.group = group
        self.options = options
        cursors = CursorTable(options: options)
        keyScratch.reserveCapacity(256)
        catalog = Catalog(group: group)
        try readSystemSpace()
    }

    // MARK: - Replica

    /// The index of the last log entry whose effect the tablet has.
    public var appliedIndex: UInt64 { engine.mark }

    /// Entries at or below this survive a power cut without the log.
    public var durableIndex: UInt64 { engine.durableMark }

    /// The term of the last applied entry; 0 before the first.
    public private(set) var appliedTerm: UInt64 = 0

    /// The payload of the last applied configuration entry, if there was one.
    public private(set) var appliedConfiguration: [UInt8]?

    /// The version of the last applied entry.
    public var appliedVersion: Version { engine.lastVersion }

    /// No entry to come has a version at or below this.
    public var ceiling: Version { catalog.ceiling }

    /// Writes a committed entry to the tablet, together with its index and term.
    ///
    /// An entry at or below ``appliedIndex`` is passed over: the log is replayed from below after a restart.
    ///
    /// - Throws: ``DatabaseError``. The entry is not applied then, not even in part, and the replica must not go on to the
    ///   next one; after `outOfSpace` the same entry may be tried again.
    public func apply(index: UInt64, term: UInt64, payload: ArraySlice<UInt8>) throws(DatabaseError) {
        guard index > engine.mark else { return }
        let decoded = try ProposalPayload(decoding: payload)
        guard decoded.version > engine.lastVersion else {
            throw DatabaseError(
                .corruption, "entry \(index) has version \(decoded.version), \(engine.lastVersion) is applied already")
        }
        var batch = decoded.batch
        noteTerm(term, in: &batch)
        do {
            try engine.apply(batch, at: decoded.version, mark: index, durability: .buffered)
            appliedTerm = term
            if decoded.touchesCatalog { try catalog.apply(decoded.batch, at: decoded.version) }
        } catch {
            note(error)
            throw DatabaseError(wrapping: error)
        }
        evaluator?.applied(version: decoded.version)
        moveHorizon(decoded.version)
    }

    /// Notes an entry without a payload, as a leader's first is.
    ///
    /// - Throws: as ``apply(index:term:payload:)``.
    public func applyEmpty(index: UInt64, term: UInt64) throws(DatabaseError) {
        try applyBookkeeping(WriteBatch(), index: index, term: term)
    }

    /// Notes a configuration entry, whose payload ``appliedConfiguration`` then is.
    ///
    /// - Throws: as ``apply(index:term:payload:)``.
    public func applyConfiguration(index: UInt64, term: UInt64, payload: ArraySlice<UInt8>) throws(DatabaseError) {
        guard index > engine.mark else { return }
        var batch = WriteBatch()
        batch.put(SystemKey.appliedConfiguration.bytes, payload)
        try applyBookkeeping(batch, index: index, term: term)
        appliedConfiguration = Array(payload)
    }

    private func applyBookkeeping(_ bookkeeping: WriteBatch, index: UInt64, term: UInt64) throws(DatabaseError) {
        guard index > engine.mark else { return }
        var batch = bookkeeping
        noteTerm(term, in: &batch)
        do {
            // Before the first payload there is no version yet; zero is no version.
            let version = max(engine.lastVersion, Version(rawValue: 1))
            try engine.apply(batch, at: version, mark: index, durability: .buffered)
        } catch {
            throw DatabaseError(error)
        }
        appliedTerm = term
    }

    /// The term is stored when it changes, in the batch of the first entry that has it.
    private func noteTerm(_ term: UInt64, in batch: inout WriteBatch) {
        guard term != appliedTerm else { return }
        batch.put(SystemKey.appliedTerm.bytes, SystemKey.bytes(term))
    }

    /// Takes a tablet in place of the current one, as after the installation of a snapshot. Cursors are gone.
    ///
    /// - Precondition: no term is under way.
    public func replaceEngine(_ engine: Engine) throws(DatabaseError) {
        precondition(evaluator == nil, "a leader installs no snapshot")
        cursors.removeAll(engine: self.engine)
        self.engine = engine
        damage = nil
        horizon = Version(rawValue: 0)
        try readSystemSpace()
    }

    private func readSystemSpace() throws(DatabaseError) {
        do {
            catalog = try Catalog(group: group, reading: engine)
            let term = try engine.get(SystemKey.appliedTerm.bytes[...])
            appliedTerm = term.flatMap { SystemKey.number($0) } ?? 0
            appliedConfiguration = try engine.get(SystemKey.appliedConfiguration.bytes[...]).map { Array($0) }
        } catch {
            throw DatabaseError(wrapping: error)
        }
    }

    /// Lets the engine forget versions that are older than the history kept for readers.
    private func moveHorizon(_ version: Version) {
        let milliseconds = VersionClock.milliseconds(of: version)
        guard milliseconds > options.historyMilliseconds else { return }
        let new = VersionClock.version(milliseconds: milliseconds - options.historyMilliseconds)
        // Once a second is often enough.
        guard VersionClock.milliseconds(of: new) >= VersionClock.milliseconds(of: horizon) + 1_000 else { return }
        horizon = new
        engine.setHistoryHorizon(new)
    }

    // MARK: - Leader

    /// Whether a term is under way here.
    public var isLeading: Bool { evaluator != nil }

    /// Starts evaluating writes, with an empty tip over the applied state.
    ///
    /// - Precondition: everything in the log before this leader's first proposal is applied.
    public func beginTerm(_ term: UInt64) {
        var clock = VersionClock(driftMillisecondsMax: options.clockDriftMillisecondsMax)
        clock.advance(to: engine.lastVersion)
        clock.advance(to: catalog.ceiling)
        evaluator = Evaluator(term: term, engine: engine, catalog: catalog, clock: clock, options: options)
    }

    /// Drops the tip. Whoever waits for a position of this term will not learn from here what became of it.
    public func endTerm() {
        evaluator = nil
    }

    /// The last position whose proposal is applied; zero at the beginning of each term.
    public var appliedPosition: TipPosition { evaluator?.appliedPosition ?? 0 }

    /// Whether there is anything to propose.
    public var hasProposal: Bool { evaluator?.hasProposal ?? false }

    /// Closes the open batch and returns it as the payload of the next log entry; nil when nothing was written.
    public func takeProposal(nowMilliseconds: UInt64) -> Proposal? {
        evaluator?.takeProposal(nowMilliseconds: nowMilliseconds)
    }

    // MARK: - Requests

    /// Carries a request out: a write against the tip (leader only), a read against the applied state.
    ///
    /// Leadership itself, lease or read index, is the caller's to check before.
    ///
    /// - Parameter mode: with `any`, reads what it needs, however long that takes; with `cacheOnly`, what memory cannot
    ///   answer soon comes back as ``Evaluation/Outcome/deferred(_:)``.
    public func evaluate(
        _ request: GroupRequest, _ context: EvaluationContext, mode: ReadMode = .any
    ) -> Evaluation {
        do {
            return request.operation.isWrite ? try write(request, context, mode) : try read(request, context, mode)
        } catch {
            note(error)
            return Evaluation(.answer(.failure(GroupFailure(wrapping: error))), restsOn: evaluator?.lastPosition ?? 0)
        }
    }

    /// Remembers damage that somebody met.
    func note(_ error: any Error) {
        let storage = error as? StorageError ?? (error as? DatabaseError)?.storage
        if damage == nil, let storage, storage.code == .corruption { damage = storage }
    }

    /// Looks whether flushes or compactions met damage. Call it every second or so.
    public func checkBackgroundWork() {
        if let error = engine.backgroundError { note(error) }
        engine.retryFailedWork()
    }

    private func write(_ request: GroupRequest, _ context: EvaluationContext, _ mode: ReadMode) throws -> Evaluation {
        guard let evaluator else { return Evaluation(.answer(.failure(.notLeader(hint: nil)))) }
        do {
            return try evaluator.evaluate(request, context, mode)
        } catch  where mode == .cacheOnly && ReadLimit.isReached(error) {
            let preparation = WritePreparation(
                engine: engine, collection: evaluator.catalog[request.collection], request: request,
                context: evaluator.queryContext(context, of: request.body), options: options,
                isTrial: error is TooManySteps)
            return Evaluation(.deferred(DeferredRead(.preparation(preparation), isLong: error is TooManySteps)))
        }
    }

    /// The state of the collection that a read is about, once the epochs agree.
    ///
    /// - Throws: ``GroupFailure``, or ``Postponed`` when the applied state is about to become what the sender knows.
    func collectionForReading(_ request: GroupRequest) throws -> CollectionState {
        if let state = catalog[request.collection], state.epoch == request.epoch {
            // Owned by nobody, or by others: while a collection moves, nobody answers for it.
            guard !state.owned.isEmpty else { throw GroupFailure.staleEpoch(current: state.epoch) }
            return state
        }
        if let evaluator, let state = evaluator.catalog[request.collection], state.epoch == request.epoch {
            throw Postponed(until: evaluator.lastPosition)
        }
        throw GroupFailure.mismatch(catalog, request)
    }

    /// Closes cursors that nobody asked for in a while. Call it every few seconds.
    public func closeIdleCursors(_ context: EvaluationContext) {
        cursors.closeIdle(now: context.monotonicMilliseconds, engine: engine)
    }

    /// How many cursors are open here.
    public var openCursorCount: Int { cursors.count }

    /// The descriptors that the applied state holds, by collection id.
    public var descriptors: [CollectionDescriptor] {
        catalog.collections.values.map(\.descriptor).sorted { $0.id < $1.id }
    }

    /// The descriptor that the applied state holds for a collection.
    public func descriptor(of collection: CollectionID) -> CollectionDescriptor? {
        catalog[collection]?.descriptor
    }
}

/// A read that has to be evaluated again once a position is applied.
struct Postponed: Error {
    let until: TipPosition
    init(until position: TipPosition) { until = position }
}

extension GroupFailure {
    /// Why a request's epoch does not fit what `catalog` holds.
    static func mismatch(_ catalog: Catalog, _ request: GroupRequest) -> GroupFailure {
        if catalog.dropped.contains(request.collection) { return .droppedCollection }
        guard let state = catalog[request.collection] else { return .needsDescriptor(have: nil) }
        return state.epoch < request.epoch ? .needsDescriptor(have: state.epoch) : .staleEpoch(current: state.epoch)
    }

    /// What a request is told about an error that came up while it was carried out.
    init(wrapping error: any Error) {
        switch error {
        case let failure as GroupFailure: self = failure
        case let error as QueryError: self = .error(error)
        case let error as StorageError where error.code == .outOfSpace:
            self = .error(QueryError(.outOfDiskSpace, "the disk is full: \(error.message)"))
        case let error as StorageError where error.code == .versionTooOld:
            self = .error(QueryError(.snapshotTooOld, "the read's version is no longer kept: \(error.message)"))
        default: self = .unavailable("\(error)")
        }
    }
}

extension DatabaseError {
    init(wrapping error: any Error) {
        switch error {
        case let error as DatabaseError: self = error
        case let error as StorageError: self.init(error)
        default: self.init(.corruption, "\(error)")
        }
    }
}
