import CairnBSON
import CairnQuery
import CairnStorage

/// What a leader has beyond the applied state, for one term: the tip, the clock, and the batch that is open.
///
/// Requests are evaluated one after the other, each against everything before it. A statement first computes all that it
/// would write, and what could forbid it (a duplicate key, a failed validation, an unreadable block) is found before the
/// first byte goes into the batch; so a statement that fails leaves no trace and nothing has to be rolled back.
///
/// - Invariant: the tip says of each key what the open and the taken proposals say last.
final class Evaluator {
    let engine: Engine
    let options: GroupDatabaseOptions
    let tip: Tip
    /// The descriptors as the tip has them.
    var catalog: Catalog
    var clock: VersionClock
    /// Of the sessions' records.
    var ages: AgeClock
    /// The largest ceiling that was proposed; no larger version may be promised.
    private(set) var proposedCeiling: Version
    private var ceilingPosition: TipPosition = 0

    private var batch = WriteBatch()
    private var batchTouchesCatalog = false
    /// Proposals that grew too large to stay open, and their versions, in order.
    private var closed: [(version: Version, payload: [UInt8], position: TipPosition)] = []
    /// The position of the open batch.
    private(set) var openPosition: TipPosition = 1
    /// Versions of closed proposals that are not applied, oldest first.
    private var inFlight: [(version: Version, position: TipPosition)] = []
    private(set) var appliedPosition: TipPosition = 0

    /// Whether the request at hand is exempt from the rules of its collection (`bypassDocumentValidation`).
    private var bypassesValidation = false

    var sessions: [SessionID: SessionRecord] = [:]
    var claims: [SessionID: WriteClaim] = [:]
    /// For upserts that name no `_id`.
    var objectIDs: ObjectIDGenerator

    init(
        term: UInt64, engine: Engine, catalog: Catalog, clock: VersionClock, options: GroupDatabaseOptions
    ) {
        self.engine = engine
        self.options = options
        self.catalog = catalog
        self.clock = clock
        ages = AgeClock(notBefore: VersionClock.milliseconds(of: engine.lastVersion))
        tip = Tip(term: term)
        proposedCeiling = catalog.ceiling
        objectIDs = ObjectIDGenerator(seed: options.cursorSeed ^ (term &* 0x9E37_79B9_7F4A_7C15))
    }

    /// What a write sees: the tip over the newest applied state.
    var view: ReadView { ReadView(engine: engine, version: nil, tip: tip, limit: limit) }
    /// Forbids the disk to a request that can still be put aside: one in mode `cacheOnly` that has written nothing.
    let limit = ReadLimit(mayUseDisk: true)
    /// Counts the steps of the request at hand.
    private var meter = WorkMeter()

    // MARK: - Positions

    /// The position that an answer rests on which has seen everything so far; zero when nothing is under way.
    var lastPosition: TipPosition {
        if !batch.isEmpty { return openPosition }
        return inFlight.last?.position ?? 0
    }

    var hasProposal: Bool { !closed.isEmpty || !batch.isEmpty }

    /// The last proposal that is not applied and has a version at or below `version`; zero when there is none.
    func lastInFlight(atOrBelow version: Version) -> TipPosition {
        inFlight.last { $0.version <= version }?.position ?? 0
    }

    /// Notes that the entry with that version was applied here.
    func applied(version: Version) {
        guard let first = inFlight.first else { return }
        // Entries of this term are applied in the order in which they were taken, and no other leader's lie between.
        precondition(first.version == version, "applied \(version) while \(first.version) was to come")
        inFlight.removeFirst()
        appliedPosition = first.position
        tip.applied(through: appliedPosition)
    }

    // MARK: - The open batch

    @inline(__always)
    func put(_ key: [UInt8], _ value: ArraySlice<UInt8>) {
        willWrite()
        batch.put(key, value)
        tip.set(key, value, position: openPosition)
    }

    @inline(__always)
    func delete(_ key: [UInt8]) {
        willWrite()
        batch.delete(key)
        tip.set(key, nil, position: openPosition)
    }

    /// Deletes a range whose keys are never read again; see ``Tip``.
    func deleteRange(from: [UInt8], to: [UInt8]) {
        willWrite()
        batch.deleteRange(from: from, to: to)
    }

    /// A request that has written can no longer be put aside, so it goes on to its end from here.
    @inline(__always)
    private func willWrite() {
        guard !limit.mayUseDisk else { return }
        limit.setMayUseDisk(true)
        meter.extend(to: options.writeStepsMax)
    }

    /// Whether the request at hand has had its share of steps and may begin anew elsewhere.
    var isToBePutAside: Bool { !limit.mayUseDisk && meter.isSpent }

    /// Writes to the system space, and into the tip's catalog.
    func putSystem(_ key: SystemKey, _ value: ArraySlice<UInt8>?) throws {
        let bytes = key.bytes
        try catalog.note(key: bytes[...], value: value, at: Version(rawValue: clock.last.rawValue))
        if let value { put(bytes, value) } else { delete(bytes) }
        batchTouchesCatalog = true
    }

    /// Whether the batch is as large as one log entry should be.
    var isBatchFull: Bool { batch.byteCount >= options.proposalBytesMax }

    /// Ends the open batch: what follows belongs to the next log entry.
    func closeBatch(nowMilliseconds: UInt64) {
        guard !batch.isEmpty else { return }
        let version = clock.next(nowMilliseconds: nowMilliseconds)
        let payload = ProposalPayload(
            version: version, ceiling: proposedCeiling, touchesCatalog: batchTouchesCatalog, batch: batch)
        closed.append((version, payload.encoded(), openPosition))
        inFlight.append((version, openPosition))
        openPosition += 1
        batch = WriteBatch()
        batchTouchesCatalog = false
    }

    func takeProposal(nowMilliseconds: UInt64) -> Proposal? {
        if closed.isEmpty { closeBatch(nowMilliseconds: nowMilliseconds) }
        guard !closed.isEmpty else { return nil }
        let first = closed.removeFirst()
        return Proposal(payload: first.payload, version: first.version, position: first.position)
    }

    // MARK: - Requests

    /// - Throws: ``ReadLimit/Reached`` or `wouldNeedDisk` in mode `cacheOnly`, when nothing was written yet and a read needs
    ///   the disk; ``TooManySteps`` then, when it needs long.
    func evaluate(
        _ request: GroupRequest, _ context: EvaluationContext, _ mode: ReadMode
    ) throws -> Evaluation {
        limit.setMayUseDisk(mode == .any)
        defer { limit.setMayUseDisk(true) }
        bypassesValidation = request.body["bypassDocumentValidation"]?.isTruthy ?? false
        meter = WorkMeter(steps: mode == .any ? options.writeStepsMax : options.stepsAtOnce)
        do {
            let evaluation = try meter.run { () throws in try evaluated(request, context) }
            if isToBePutAside { throw TooManySteps() }
            return evaluation
        } catch  where isToBePutAside {
            throw TooManySteps()
        }
    }

    private func evaluated(_ request: GroupRequest, _ context: EvaluationContext) throws -> Evaluation {
        let before = (openPosition, batch.count)
        let reply: GroupReply
        switch request.operation {
        case .insert: reply = try insert(request, try collection(request), context)
        case .update: reply = try update(request, try collection(request), context)
        case .delete: reply = try delete(request, try collection(request), context)
        case .findAndModify: reply = try findAndModify(request, try collection(request), context)
        case .installDescriptor: reply = try installDescriptor(request)
        case .dropCollection: reply = try dropCollection(request)
        case .buildIndex: reply = try buildIndex(request, try collection(request), context)
        case .releaseIfEmpty: reply = try releaseIfEmpty(request)
        case .promiseReadVersion: return try promiseReadVersion(request, context)
        case .checkExecuted: reply = try checkExecuted(request)
        case .expireSessions: reply = try expireSessions(request, context)
        case .expireDocuments: reply = try expireDocuments(request, try collection(request), context)
        case .find, .getMore, .killCursors, .count, .distinct, .aggregate, .explain, .statistics, .validate,
            .members, .interrupt:
            preconditionFailure("\(request.operation) is no write")
        }
        let wrote = before != (openPosition, batch.count)
        return Evaluation(.answer(.reply(reply)), restsOn: lastPosition, wrote: wrote)
    }

    /// The rule that documents of the request at hand have to keep.
    func validation(of collection: CollectionState) -> DocumentValidation? {
        bypassesValidation ? nil : collection.validation
    }

    /// The collection that a write is about, once the epochs agree.
    private func collection(_ request: GroupRequest) throws -> CollectionState {
        guard let state = catalog[request.collection], state.epoch == request.epoch else {
            throw GroupFailure.mismatch(catalog, request)
        }
        guard !state.owned.isEmpty, !state.descriptor.isSealed else {
            throw GroupFailure.staleEpoch(current: state.epoch)
        }
        return state
    }

    // MARK: - Versions for readers

    /// Sees to it that a read at `version` will never miss a commit at or below it.
    ///
    /// - Returns: the position that has to be applied before such a read; zero when it may go ahead.
    func promise(_ version: Version) throws -> TipPosition {
        clock.advance(to: version)
        if version > proposedCeiling {
            let ahead = VersionClock.version(milliseconds: options.promiseAheadMilliseconds).rawValue
            proposedCeiling = Version(rawValue: version.rawValue + ahead)
            try putSystem(.ceiling, SystemKey.bytes(proposedCeiling.rawValue)[...])
            ceilingPosition = openPosition
        }
        let ceiling = ceilingPosition > appliedPosition ? ceilingPosition : 0
        return max(ceiling, lastInFlight(atOrBelow: version))
    }

    /// The largest version for which the applied state is known to be what a read sees, now and for ever: no write that is under
    /// way or to come has a version at or below it. Costs no write.
    ///
    /// - Returns: nil when that would take a promise that is not in the log yet.
    func settledVersion(nowMilliseconds: UInt64) -> Version? {
        let version: Version
        if let first = inFlight.first {
            version = Version(rawValue: first.version.rawValue - 1)
        } else {
            version = clock.next(nowMilliseconds: nowMilliseconds)
        }
        guard version <= proposedCeiling, ceilingPosition <= appliedPosition else { return nil }
        return version
    }

    private func promiseReadVersion(_ request: GroupRequest, _ context: EvaluationContext) throws -> Evaluation {
        var version = clock.next(nowMilliseconds: context.nowMilliseconds)
        if let wanted = request.body["at"]?.int64Exactly {
            let wanted = Version(rawValue: UInt64(bitPattern: wanted))
            guard clock.observe(wanted, nowMilliseconds: context.nowMilliseconds) else {
                throw QueryError(.badValue, "read version \(wanted) is too far in the future")
            }
            version = max(version, wanted)
        }
        let position = try promise(version)
        let reply = GroupReply(body: ["version": .int64(Int64(bitPattern: version.rawValue))])
        return Evaluation(.answer(.reply(reply)), restsOn: position, wrote: position == openPosition)
    }
}
