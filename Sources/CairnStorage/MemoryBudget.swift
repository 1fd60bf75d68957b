import Synchronization

/// The memory that the engines of a process share: the block cache, and beside it the memtables of all engines.
///
/// A memtable is bounded by ``EngineOptions/memtableBytesMax``, but a node hosts many engines, and their sum is not. When the
/// memtables together pass three quarters of their share, the engine whose active one is largest freezes and flushes it: that
/// frees most for one table. When they pass the share itself, all engines' write pressure rises, up to 1 at half as much again.
///
/// Indexes and filters of open tables count as part of the cache, and where they outgrow it, they take from the memtables'
/// share, of which an eighth of the whole always stays. Bytes are those that memtables have handed out; chunks of memory that
/// they took in advance, up to 1 MiB each, come on top.
///
/// Any thread may call. What is chosen depends on the bytes and on the order in which engines were opened alone.
public final class MemoryBudget: Sendable {
    /// All of it, in bytes.
    public let bytesMax: Int
    private let cache: BlockCache
    private let activeBytes = Atomic<Int>(0)
    private let frozenBytes = Atomic<Int>(0)
    private let members = Mutex(Members())

    private struct Members {
        var accounts: [MemoryAccount] = []
        /// Has been asked to freeze its memtable and has not yet done so; the next one is chosen after it.
        var asked: MemoryAccount?
    }

    /// - Parameters:
    ///   - bytesMax: for cache and memtables together; at least 1 MiB.
    ///   - cache: the one that the engines share.
    public init(bytesMax: Int, cache: BlockCache) {
        precondition(bytesMax >= 1 << 20, "a memory budget of \(bytesMax) bytes")
        self.bytesMax = bytesMax
        self.cache = cache
    }

    /// What the memtables may take at the moment.
    public var memtableBytesMax: Int {
        max(bytesMax - max(cache.capacityBytes, cache.pinnedBytes), bytesMax / 8)
    }

    /// What the memtables of all engines take, active and frozen.
    public var memtableBytes: Int { activeBytes.load(ordering: .relaxed) + frozenBytes.load(ordering: .relaxed) }

    /// From 0 while the memtables keep to their share to 1 at half as much again.
    public var pressure: Double {
        let share = Double(memtableBytesMax)
        return min(1, max(0, (Double(memtableBytes) - share) / (share / 2)))
    }

    func join(_ account: MemoryAccount) {
        members.withLock { $0.accounts.append(account) }
    }

    func leave(_ account: MemoryAccount) {
        members.withLock { members in
            members.accounts.removeAll { $0 === account }
            if members.asked === account { members.asked = nil }
        }
    }

    func add(active: Int, frozen: Int) {
        activeBytes.add(active, ordering: .relaxed)
        frozenBytes.add(frozen, ordering: .relaxed)
    }

    /// Whether another memtable has to be frozen: together they take over three quarters of the share, and the active ones over
    /// half. What is frozen is on its way out, so its room comes back without that.
    var isShort: Bool {
        let active = activeBytes.load(ordering: .relaxed)
        let share = memtableBytesMax
        return active > share / 2 && active + frozenBytes.load(ordering: .relaxed) > share / 4 * 3
    }

    /// The account whose engine is to freeze its memtable; nil if none has to, or one has been asked already.
    ///
    /// Whoever gets it calls ``answered(_:)`` when that has happened, or can not.
    func choose() -> MemoryAccount? {
        guard isShort else { return nil }
        return members.withLock { members in
            guard members.asked == nil else { return nil }
            var best: (account: MemoryAccount, bytes: Int)?
            for account in members.accounts where account.mayFreeze {
                let bytes = account.activeBytes
                if bytes > best?.bytes ?? 0 { best = (account, bytes) }
            }
            members.asked = best?.account
            return best?.account
        }
    }

    func answered(_ account: MemoryAccount) {
        members.withLock { if $0.asked === account { $0.asked = nil } }
    }
}

/// What one engine's memtables take of a ``MemoryBudget``, if it has one.
final class MemoryAccount: Sendable {
    private let budget: MemoryBudget?
    private let frozenMax: Int
    /// Written by the engine's writer alone.
    private let active = Atomic<Int>(0)
    private let frozen = Mutex((bytes: 0, count: 0, isClosed: false))
    private let freeze = Mutex<(@Sendable () -> Void)?>(nil)

    init(_ budget: MemoryBudget?, frozenMax: Int) {
        self.budget = budget
        self.frozenMax = frozenMax
    }

    var activeBytes: Int { active.load(ordering: .relaxed) }
    var mayFreeze: Bool { frozen.withLock { !$0.isClosed && $0.count < frozenMax } }

    /// - Parameter freeze: has the engine freeze and flush its memtable, without waiting for it.
    func open(_ freeze: @escaping @Sendable () -> Void) {
        guard let budget else { return }
        self.freeze.withLock { $0 = freeze }
        budget.join(self)
    }

    /// Counts what the active memtable takes now.
    @inline(__always)
    func setActive(_ bytes: Int) {
        guard let budget else { return }
        let before = active.exchange(bytes, ordering: .relaxed)
        budget.add(active: bytes - before, frozen: 0)
    }

    /// The active memtable is frozen, and a new one takes its place.
    func noteFreeze(_ bytes: Int) {
        guard let budget else { return }
        let before = active.exchange(0, ordering: .relaxed)
        let counts = frozen.withLock { frozen in
            guard !frozen.isClosed else { return false }
            frozen.bytes += bytes
            frozen.count += 1
            return true
        }
        budget.add(active: -before, frozen: counts ? bytes : 0)
    }

    /// A frozen memtable is in tables.
    func noteFlush(_ bytes: Int) {
        guard let budget else { return }
        let counts = frozen.withLock { frozen in
            guard !frozen.isClosed else { return false }
            frozen.bytes -= bytes
            frozen.count -= 1
            return true
        }
        if counts { budget.add(active: 0, frozen: -bytes) }
    }

    /// Has the largest engine freeze its memtable, if memory is short.
    func relieve() {
        guard let budget, budget.isShort, let account = budget.choose() else { return }
        guard let freeze = account.freeze.withLock({ $0 }) else { return budget.answered(account) }
        freeze()
    }

    func answered() { budget?.answered(self) }

    /// The engine is closed: its memory counts no longer.
    func close() {
        guard let budget else { return }
        freeze.withLock { $0 = nil }
        let bytes = frozen.withLock { frozen -> Int in
            defer { frozen = (0, 0, true) }
            return frozen.bytes
        }
        budget.add(active: -active.exchange(0, ordering: .relaxed), frozen: -bytes)
        budget.leave(self)
    }
}
