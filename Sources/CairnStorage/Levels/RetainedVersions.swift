/// Which versions a merge has to keep, as known when it began.
///
/// Readers may look from the horizon on, and at the versions that are pinned. An entry written at `v` and superseded at
/// `s` is what readers at `v ..< s` see; it is needed if there may be one.
struct RetainedVersions: Sendable {
    let horizon: UInt64
    /// Ascending.
    let pins: [UInt64]

    func isNeeded(_ version: UInt64, supersededAt superseded: UInt64) -> Bool {
        if superseded > horizon { return true }
        // The first pin at or after the version.
        var low = 0
        var high = pins.count
        while low < high {
            let middle = (low + high) / 2
            if pins[middle] < version { low = middle + 1 } else { high = middle }
        }
        return low < pins.count && pins[low] < superseded
    }

    /// Whether nobody can look from before `version` any more, so that what it deleted is gone for all.
    func isSeenByAll(_ version: UInt64) -> Bool {
        version <= horizon && (pins.first.map { $0 >= version } ?? true)
    }
}
