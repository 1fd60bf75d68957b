import CairnStorage

/// What a read may cost on a thread that others wait for: memory only, and so many documents.
///
/// - Note: one read at a time; not `Sendable`.
final class ReadLimit {
    /// Thrown by a read that comes to its limit. Nothing is wrong: it has to begin anew where it may take longer.
    struct Reached: Error {}

    private(set) var mayUseDisk: Bool
    private var documentsLeft: Int
    private let interruption: Interruption?

    /// - Parameters:
    ///   - documents: documents and index entries that may be looked at.
    ///   - interruption: what ends the read before its time.
    init(mayUseDisk: Bool = false, documents: Int = .max, interruption: Interruption? = nil) {
        self.mayUseDisk = mayUseDisk
        documentsLeft = documents
        self.interruption = interruption
    }

    /// Counts a document or an index entry.
    @inline(__always)
    func count() throws {
        guard documentsLeft > 0 else { throw Reached() }
        documentsLeft &-= 1
        if documentsLeft & 127 == 0 { try interruption?.check() }
    }

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
        case is Reached: true
        case let error as StorageError: error.code == .wouldNeedDisk
        default: false
        }
    }
}
