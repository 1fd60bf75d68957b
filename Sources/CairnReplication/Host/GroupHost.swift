public import CairnFiles
public import CairnRaft
import DequeModule

/// Hosts all groups of one event loop.
///
/// It reads no clock, opens no socket and starts no thread: time comes with ``tick(now:)`` and
/// ``receive(frame:from:over:now:)`` (monotonic nanoseconds), frames leave through a ``PeerTransport``, log batches through a
/// ``LogSink``, and a shell drives it:
///
/// 1. calls what came in: ``receive(frame:from:over:now:)``, ``propose(_:in:)``, ``readIndex(_:completion:)``,
///    ``logPersisted(_:)``, and ``tick(now:)`` every few milliseconds;
/// 2. calls ``flush()`` once at the end of the loop's turn. It drains every group that has something to do: one log batch for
///    all of them, one frame for each peer, committed entries to their state machines, answers to reads.
///
/// A leader's entries leave for its followers while the log thread writes them. Votes and acknowledgements wait inside
/// the core until ``logPersisted(_:)``.
///
/// - Invariant: everything is called on the loop's thread, and nothing is called back outside of the calls above.
/// - Invariant: after ``failure`` is set no frame leaves and no entry is applied.
public final class GroupHost {
    public let node: NodeID
    let options: GroupHostOptions
    let log: SharedLog
    let sink: any LogSink
    let transport: any PeerTransport
    let fileSystem: any FileSystem
    /// The directory that holds `GROUP/tablet`; snapshots on their way live beside the tablet.
    let directory: String

    /// Hears once of the failure that ends this host; the process must end.
    public var onFailure: ((ReplicationError) -> Void)?
    /// Hears of a group that stops on this node while the others go on.
    public var onGroupFailure: ((ReplicationError) -> Void)?
    /// Hears when the disk has become short of space, and when it is not any more.
    public var onSpaceChange: ((DiskSpace) -> Void)?
    /// How much room the disk has.
    public internal(set) var space: DiskSpace
    /// Why this host does nothing any more; nil while it works.
    public private(set) var failure: ReplicationError?
    /// Batches that were given to the log and are not on the disk yet.
    public var logBatchesInFlight: Int { inFlight.count }
    public internal(set) var statistics = GroupHostStatistics()

    /// The time of the latest call that brought one.
    var now: UInt64
    private var lastTick: UInt64
    var replicas: [Replica] = []
    var index = GroupIndex()
    /// Groups that were refused at ``add(group:voters:preferredLeader:stateMachine:)``, with the reason.
    var refused: [GroupID: ReplicationError] = [:]
    /// Groups whose part of the log is lost here.
    var lost: [GroupID: LostReplica] = [:]
    var links: [PeerLink] = []
    /// Replicas that are awake or have something else to see to.
    var active: [Replica] = []
    /// The last of the others that had its turn.
    var nextQuiet = 0
    /// Peers that were not heard of for an election timeout.
    var absentPeers: [NodeID] = []
    /// The clock by which peers are waited for.
    var patience: UInt64 = 0
    var nextSign: UInt64 = 0
    /// See ``NodeSign``.
    let hostNumber: UInt64
    var resignations: UInt64 = 0
    private var dirty: [Replica] = []
    private var draining: [Replica] = []
    private var isFlushing = false

    /// What the next batch will make durable.
    var batch: LogBatch?
    var receipts: [PersistTicket] = []
    private var lastBatch: UInt64 = 0
    private var inFlight: Deque<BatchInFlight> = []
    /// The log has not answered for longer than it may.
    var isLogStalled = false
    private var logPatienceEnds: UInt64 = 0
    var isShuttingDown = false

    var nextSpaceReading: UInt64 = 0
    var nextPurge: UInt64 = 0
    var nextMaintenance: UInt64 = 0
    var nextReadContext: UInt64 = 1
    var nextTransfer: UInt64 = 1
    /// Snapshot bytes that may be sent now.
    var snapshotBudget: UInt64 = 0
    private var generator: UInt64

    /// - Parameters:
    ///   - directory: the node's directory of groups.
    ///   - seed: differs for each start of each node; the spread of election timeouts comes from it.
    ///   - now: monotonic nanoseconds, as for ``tick(now:)``.
    /// - Throws: ``ReplicationError`` with code `invalidConfiguration`.
    public init(
        node: NodeID, log: SharedLog, sink: any LogSink, transport: any PeerTransport, fileSystem: any FileSystem,
        directory: String, options: GroupHostOptions, seed: UInt64, now: UInt64
    ) throws(ReplicationError) {
        self.node = node
        self.log = log
        self.sink = sink
        self.transport = transport
        self.fileSystem = fileSystem
        self.directory = directory
        self.options = try options.validated()
        space = DiskSpace(reserveBytes: options.spaceReserveBytes)
        self.generator = seed
        hostNumber = seed
        self.now = now
        lastTick = now
        self.nextTransfer = seed | 1
    }

    /// The groups that are hosted and work, in the order in which they were added.
    public var groups: [GroupID] { replicas.map(\.group) }

    // MARK: Input

    /// Lets time pass: election timers, heartbeats, snapshots, purges, watchdogs. To be called every 10 to 50 ms.
    public func tick(now: UInt64) {
        self.now = max(self.now, now)
        // Since the last tick: messages bring the time too.
        let elapsed = self.now - lastTick
        lastTick = self.now
        guard failure == nil else { return }
        watchSpace()
        watchDamage()
        watchLog()
        exchangeSigns(elapsed: elapsed)
        let holdsStill = isLogStalled || isShuttingDown || space.state == .exhausted
        tickQuiet(elapsed: elapsed)
        for replica in active where replica.failure == nil {
            // Who may not lead does not campaign; a leader goes on until it has handed over.
            if holdsStill, !replica.role.isLeader { continue }
            replica.core.tick(now: now)
            if replica.hasReady { markDirty(replica) }
        }
        tickLost()
        tickSnapshots(elapsed: elapsed)
        if now >= nextMaintenance {
            nextMaintenance = now + 100_000_000
            maintain()
        }
    }

    /// Takes one frame off a peer connection, whose messages are all for groups of this host.
    ///
    /// - Returns: why the frame was refused, nil when it was not. Close the connection then: what follows on it cannot
    ///   be trusted.
    @discardableResult
    public func receive(
        frame: ArraySlice<UInt8>, from sender: NodeID, over channel: PeerChannel, now: UInt64
    ) -> PeerCodecError? {
        self.now = max(self.now, now)
        do {
            let frame = try PeerCodec.open(frame, cluster: options.cluster, from: sender, to: node)
            for message in try frame.messages() { try take(message) }
            return nil
        } catch {
            statistics.refusedFrames += 1
            return error
        }
    }

    /// Takes one message of a frame that the shell opened and split over several hosts.
    @discardableResult
    public func receive(_ message: PeerMessage, now: UInt64) -> PeerCodecError? {
        self.now = max(self.now, now)
        do {
            try take(message)
            return nil
        } catch {
            statistics.refusedFrames += 1
            return error
        }
    }

    private func take(_ message: PeerMessage) throws(PeerCodecError) {
        guard failure == nil else { return }
        let isKnown = links.contains { $0.peer == message.sender }
        if message.group == .node { return take(try NodeSign(decoding: message.bytes), from: message.sender) }
        if isKnown, !lost.isEmpty, lost[message.group] != nil { return try takeForLost(message) }
        guard let replica = index[message.group], replica.failure == nil, isKnown else {
            statistics.unknownMessages += 1
            return
        }
        guard let kind = message.bytes.first else { throw PeerCodecError(.malformed, "an empty message") }
        if kind >= SnapshotMessage.firstKind {
            take(try SnapshotMessage(decoding: message.bytes), from: message.sender, in: replica)
            markDirty(replica)
            return
        }
        let decoded = try RaftMessageCodec.decode(message.bytes, from: message.sender, to: node)
        if isLogStalled || isShuttingDown, case .timeoutNow = decoded.kind { return }
        if isUnwelcome(decoded, to: replica) { return }
        if case .logLost = decoded.kind { replica.mayBeMisplaced = true }
        replica.core.step(decoded, now: now)
        markDirty(replica)
        if let through = replica.core.lostThrough { forsake(replica, acknowledgedThrough: through) }
    }

    /// A connection to `peer` broke, so that frames on their way may be lost: leaders probe it before they send it more.
    public func peerDisconnected(_ peer: NodeID) {
        guard failure == nil else { return }
        for replica in replicas where replica.failure == nil && replica.role.isLeader {
            replica.core.reportUnreachable(peer)
            markDirty(replica)
        }
    }

    /// The log has made a batch durable, and all batches before it.
    public func logPersisted(_ batch: UInt64) {
        guard failure == nil else { return }
        while let first = inFlight.first, first.id <= batch {
            inFlight.removeFirst()
            for ticket in first.tickets where ticket.replica.failure == nil {
                if let last = ticket.receipt.last { ticket.replica.log.persisted(through: last) }
                ticket.replica.core.persisted(ticket.receipt)
                markDirty(ticket.replica)
            }
        }
        if inFlight.isEmpty { isLogStalled = false }
    }

    /// The log could not make a batch durable. The host stops: what the disk holds is unknown until the next start.
    public func logFailed(_ batch: UInt64, _ error: some Error) {
        stop(ReplicationError(.logFailed, "\(error)"))
    }

    func stop(_ error: ReplicationError) {
        guard failure == nil else { return }
        failure = error
        for replica in replicas { abandonReads(of: replica, .unavailable) }
        onFailure?(error)
    }

    // MARK: Proposals

    /// Appends an entry to the group's log, to be replicated from the next ``flush()`` on.
    ///
    /// The outcome is known when the state machine is given the entry at this index: it is this one if the term matches,
    /// else it never happened. When the role is lost before, the outcome is unknown until then.
    public func propose(_ payload: [UInt8], in group: GroupID) throws(GroupProposalError) -> LogPosition {
        let replica = try workingReplica(group)
        guard space.state != .exhausted else { throw .outOfSpace }
        guard !isLogStalled, !isShuttingDown || !replica.hasPeers else { throw .unavailable }
        do {
            let position = try replica.core.propose(payload[...])
            markDirty(replica)
            return position
        } catch {
            throw GroupProposalError(error)
        }
    }

    private func workingReplica(_ group: GroupID) throws(GroupProposalError) -> Replica {
        guard failure == nil, let replica = index[group], replica.failure == nil else { throw .unavailable }
        return replica
    }

    // MARK: Flush

    func markDirty(_ replica: Replica) {
        guard !replica.isDirty else { return }
        replica.isDirty = true
        dirty.append(replica)
    }

    /// Carries out what the groups decided since the last call. To be called once at the end of a loop's turn.
    ///
    /// State machines and completions that it calls may propose and read; that is carried out within the same call.
    public func flush() {
        guard failure == nil, !isFlushing else { return }
        isFlushing = true
        defer { isFlushing = false }
        while !dirty.isEmpty {
            swap(&dirty, &draining)
            for replica in draining {
                replica.isDirty = false
                drain(replica)
                updateActivity(of: replica)
            }
            draining.removeAll(keepingCapacity: true)
        }
        guard failure == nil else { return }
        // The frames first: their way is longer than that to the own disk.
        for position in links.indices {
            links[position].raft.finish(transport)
            links[position].bulk.finish(transport)
        }
        submitBatch()
    }

    private func submitBatch() {
        guard let batch, !batch.isEmpty else { return }
        self.batch = nil
        inFlight.append(BatchInFlight(id: batch.id, submittedAt: now, tickets: receipts))
        receipts.removeAll(keepingCapacity: true)
        statistics.logBatches += 1
        sink.submit(batch)
    }

    // MARK: Watchdog

    /// A disk that does not answer costs the node its leaderships, so that clients go on elsewhere.
    ///
    /// A follower is asked to take over first, which takes a round trip; where nobody can, or nobody has within an election
    /// timeout, the leader gives up its office without an heir.
    private func watchLog() {
        guard let oldest = inFlight.first, now > oldest.submittedAt,
            now - oldest.submittedAt > options.logStallNanoseconds
        else { return }
        // A full disk answers, and reads need none of it: see `watchSpace`.
        guard !log.isOutOfSpace else { return isLogStalled = false }
        if !isLogStalled {
            isLogStalled = true
            statistics.logStalls += 1
            logPatienceEnds = now + options.raft.electionTimeout.nanoseconds
        }
        for replica in replicas where replica.failure == nil && replica.role.isLeader && replica.hasPeers {
            let mayWait = now < logPatienceEnds
            if !mayWait || (try? replica.core.transferLeadership(to: nil)) == nil { replica.core.stepDown(now: now) }
            markDirty(replica)
        }
    }

    /// Whether everything handed to the log has come back.
    var isLogIdle: Bool { inFlight.isEmpty && (batch?.isEmpty ?? true) }

    func nextBatch() -> UInt64 {
        lastBatch += 1
        return lastBatch
    }

    func nextSeed() -> UInt64 {
        // SplitMix64's step: neighbouring groups get unrelated seeds.
        generator &+= 0x9E37_79B9_7F4A_7C15
        var mixed = generator
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// What one Ready waits for.
struct PersistTicket {
    let replica: Replica
    let receipt: PersistReceipt
}

private struct BatchInFlight {
    let id: UInt64
    let submittedAt: UInt64
    let tickets: [PersistTicket]
}

/// Counts since the start of a host, for metrics.
public struct GroupHostStatistics: Hashable, Sendable {
    /// Frames or messages that were damaged, forged or of another version.
    public var refusedFrames: UInt64 = 0
    /// Messages for groups that this host does not have, or from nodes that it does not know.
    public var unknownMessages: UInt64 = 0
    /// Log batches submitted.
    public var logBatches: UInt64 = 0
    /// Times that the log did not answer within the bound.
    public var logStalls: UInt64 = 0
    /// Entries given to state machines.
    public var entriesApplied: UInt64 = 0
    public var snapshotsSent: UInt64 = 0
    public var snapshotsInstalled: UInt64 = 0
}

extension Duration {
    /// Whole nanoseconds; the durations of options are below centuries.
    var nanoseconds: UInt64 {
        UInt64(components.seconds) * 1_000_000_000 + UInt64(components.attoseconds / 1_000_000_000)
    }
}

extension GroupProposalError {
    init(_ error: ProposalError) {
        switch error {
        case .notLeader(let leader): self = .notLeader(leader: leader)
        case .entryTooLarge(let bytes, let limit): self = .tooLarge(bytes: bytes, limit: limit)
        case .transferring, .uncommittedTailFull, .termNotEstablished, .configurationPending, .invalidConfiguration,
            .notCaughtUp:
            self = .busy
        }
    }
}
