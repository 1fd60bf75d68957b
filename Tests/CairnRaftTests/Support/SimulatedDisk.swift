import CairnRaft

/// A node's disk: writes get durable in the order they were submitted, and a power cut keeps a prefix of them, the
/// next one perhaps in part.
final class SimulatedDisk {
    enum Write {
        case batch(PersistReceipt, [Entry])
        case install(SnapshotMetadata)
    }

    /// What a power cut leaves.
    struct Durable: Hashable {
        var hardState = HardState()
        var log = MemoryLog()
        /// The configuration as of the log's purge point, or an earlier entry that was the last to change it.
        var configuration: Configuration
        var configurationIndex = LogIndex.zero
        /// What the state machine finds applied after a restart. May be ahead of the log, as entries are applied as
        /// soon as other disks have made them committed.
        var applied = LogIndex.zero
    }

    private(set) var durable: Durable
    private(set) var storage = MemoryLogStorage()
    private(set) var queue: [Write] = []

    init(configuration: Configuration) { durable = Durable(configuration: configuration) }

    func submit(_ ready: Ready) {
        storage.log.append(ready.entries)
        if let receipt = ready.receipt { queue.append(.batch(receipt, ready.entries)) }
        if let snapshot = ready.snapshotToInstall { queue.append(.install(snapshot)) }
    }

    /// Makes the oldest write durable.
    func completeNext() -> Write {
        let write = queue.removeFirst()
        switch write {
        case .batch(let receipt, let entries):
            durable.log.append(entries)
            if let hardState = receipt.hardState { durable.hardState = hardState }
        case .install(let snapshot):
            durable.log = MemoryLog(base: snapshot.position)
            durable.configuration = snapshot.configuration
            durable.configurationIndex = snapshot.position.index
            durable.applied = snapshot.position.index
            storage.log = MemoryLog(base: snapshot.position)
        }
        return write
    }

    func purge(through index: LogIndex, _ found: ConfigurationInForce) {
        storage.log.purge(through: index)
        durable.log.purge(through: index)
        durable.configuration = found.configuration
        durable.configurationIndex = found.index
    }

    func flushStateMachine(applied: LogIndex) { durable.applied = max(durable.applied, applied) }

    /// Cuts the power: `survivors` writes of the queue get durable, of the next one the hard state or a number of
    /// entries or both.
    func cutPower(survivors: Int = 0, tornHardState: Bool = false, tornEntries: Int = 0) {
        for _ in 0..<min(survivors, queue.count) { _ = completeNext() }
        if case .batch(let receipt, let entries)? = queue.first {
            durable.log.append(entries.prefix(tornEntries))
            if tornHardState, let hardState = receipt.hardState { durable.hardState = hardState }
        }
        queue = []
        storage = MemoryLogStorage(durable.log)
    }

    /// A core on what the disk holds.
    func open(id: NodeID, options: RaftOptions, seed: UInt64, now: UInt64) throws -> RaftCore {
        try RaftCore(
            id: id, configuration: durable.configuration, configurationIndex: durable.configurationIndex,
            hardState: durable.hardState, storage: storage, applied: durable.applied, options: options, seed: seed,
            now: now)
    }
}
