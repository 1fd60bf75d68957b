import Synchronization

/// Whether whoever asked for something has lost interest. Raised on any thread; the ``WorkMeter`` of what runs looks at it.
public final class Interruption: Sendable {
    private let raised = Atomic(false)

    public init() {}

    public func raise() { raised.store(true, ordering: .relaxed) }

    @inline(__always)
    var isRaised: Bool { raised.load(ordering: .relaxed) }
}
