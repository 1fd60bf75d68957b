import CairnQuery
import Synchronization

/// Whether whoever asked for a read has lost interest. Raised on any thread; what reads looks at it every hundred documents or so.
public final class Interruption: Sendable {
    private let raised = Atomic(false)

    public init() {}

    public func raise() { raised.store(true, ordering: .relaxed) }

    /// - Throws: ``QueryError`` 11601 once it is raised.
    @inline(__always)
    func check() throws(QueryError) {
        if raised.load(ordering: .relaxed) { throw QueryError(.interrupted, "operation was interrupted") }
    }
}
