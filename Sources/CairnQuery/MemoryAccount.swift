import Synchronization

/// Bytes that may be held for queries, all together: of one query, of a node.
///
/// Stages that gather documents take from it what they hold, so that a query of many stages, or many queries, do not come to
/// more than one place allows, though each of their stages is within its own limit.
public final class MemoryAccount: Sendable {
    public let bytesMax: Int
    private let parent: MemoryAccount?
    private let held = Atomic(0)

    /// - Parameter parent: an account that has to have room as well.
    public init(bytesMax: Int, parent: MemoryAccount? = nil) {
        self.bytesMax = bytesMax
        self.parent = parent
    }

    /// Bytes that are held now.
    public var heldBytes: Int { held.load(ordering: .relaxed) }

    /// Takes bytes, all or none.
    ///
    /// - Throws: code 146 (ExceededMemoryLimit).
    func take(_ bytes: Int) throws(QueryError) {
        let total = held.wrappingAdd(bytes, ordering: .relaxed).newValue
        do throws(QueryError) {
            guard total <= bytesMax else {
                throw QueryError(
                    .exceededMemoryLimit,
                    "Exceeded the memory limit of \(bytesMax) bytes for what queries hold together")
            }
            try parent?.take(bytes)
        } catch {
            held.wrappingSubtract(bytes, ordering: .relaxed)
            throw error
        }
    }

    func release(_ bytes: Int) {
        held.wrappingSubtract(bytes, ordering: .relaxed)
        parent?.release(bytes)
    }
}

/// What one stage holds of an account; given back when the stage ends.
final class MemoryShare {
    /// Taken and given back in such portions, so that a document seldom means a look at the account.
    private static let portion = 1 << 20

    private let account: MemoryAccount?
    private var taken = 0

    init(_ account: MemoryAccount?) { self.account = account }

    deinit { account?.release(taken) }

    /// Says how many bytes the stage holds.
    ///
    /// - Throws: code 146 when the account has no room for them.
    @inline(__always)
    func hold(_ bytes: Int) throws(QueryError) {
        if bytes > taken || bytes < taken - Self.portion * 2 { try change(to: bytes) }
    }

    private func change(to bytes: Int) throws(QueryError) {
        guard let account else { return }
        let wanted = (bytes / Self.portion + 1) * Self.portion
        if wanted > taken { try account.take(wanted - taken) } else { account.release(taken - wanted) }
        taken = wanted
    }
}
