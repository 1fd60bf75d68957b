import Foundation
import Synchronization

/// Whether the standard input has ended: the sign to stop.
final class EndOfInput: Sendable {
    private let reached = Atomic(false)

    var isReached: Bool { reached.load(ordering: .relaxed) }

    /// Blocks its thread until then.
    func wait() {
        while readLine() != nil {}
        reached.store(true, ordering: .relaxed)
    }
}

/// The clock that all processes of a run share, as Python's `time.monotonic()` reads it.
func monotonicSeconds() -> Double {
    var time = timespec()
    // Safety: `time` lives through the call, which fills it.
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
