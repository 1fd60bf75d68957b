import CairnQuery
import CairnStorage

/// Thrown by a write that takes more steps than it may while others wait, before it has written anything: it begins anew once
/// it is known not to take too many.
struct TooManySteps: Error {}

/// What a read may cost on a thread that others wait for: memory only, and so many documents.
///
/// - Note: one read at a time; not `Sendable`.
final class ReadLimit {
    /// Thrown by a read that comes to its limit. Nothing is wrong: it has to begin anew where it may take longer.
    struct Reached: Error {}

    private(set) var mayUseDisk: Bool
    private var documentsLeft: Int
    private let isMetered: Bool

    /// - Parameters:
    ///   - documents: documents and index entries that may be looked at.
    ///   - isMetered: whether they count as steps of the run at hand.
    init(mayUseDisk: Bool = false, documents: Int = .max, isMetered: Bool = false) {
        self.mayUseDisk = mayUseDisk
        documentsLeft = documents
        self.isMetered = isMetered
    }

    /// Counts a document or an index entry.
    @inline(__always)
    func count() throws {
        guard documentsLeft > 0 else { throw Reached() }
        documentsLeft &-= 1
        // All at once, which spares each of them the way to the meter.
        if documentsLeft & 127 == 0, isMetered { try WorkMeter.count(128 * Self.stepsOfDocument) }
    }

    /// What it takes to find a document or an index entry.
    private static let stepsOfDocument = 4

    /// Whether the disk is within the limit from now on.
    func setMayUseDisk(_ may: Bool) { mayUseDisk = may }

    /// Lets the read go on without a limit.
    func lift() {
        mayUseDisk = true
        documentsLeft = .max
    }

    /// Whether `error` says that a read came to its limit.
    static func isReached(_ error: any Error) -> Bool {
        switch error {
        case is Reached, is TooManySteps: true
        case let error as StorageError: error.code == .wouldNeedDisk
        default: false
        }
    }
}
