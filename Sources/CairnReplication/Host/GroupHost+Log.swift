import CairnRaft

/// What the groups give to the shared log.
extension GroupHost {
    func append(_ ready: Ready, of replica: Replica) {
        withBatch { batch in
            replica.log.append(ready.entries, hardState: ready.hardState, to: &batch)
        }
    }

    /// The log begins anew behind `position`, which the tablet holds durably.
    func reset(_ log: GroupLog, to position: LogPosition, hardState: HardState) {
        withBatch { batch in
            log.reset(to: position, hardState: hardState, in: &batch)
        }
    }

    /// Nothing of the log is read again.
    func destroy(_ log: GroupLog) {
        withBatch { batch in log.destroy(in: &batch) }
    }

    func purge(_ log: GroupLog, through index: LogIndex) {
        withBatch { batch in
            log.purge(through: index, in: &batch)
        }
    }

    @inline(__always)
    private func withBatch(_ body: (inout LogBatch) -> Void) {
        var current = batch ?? LogBatch(id: nextBatch())
        batch = nil
        body(&current)
        batch = current
    }
}
