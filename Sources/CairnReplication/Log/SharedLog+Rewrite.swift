import CairnFiles

extension SharedLog {
    /// Writes again, in segments under the keyring's active key, what groups need of segments under older ones, and gives
    /// those up; also the files that wait to become segments.
    ///
    /// One segment at a time, between which other writes get their turn. May run on any thread.
    ///
    /// - Returns: false if a reader held the oldest segment, so that some are left.
    public func rewriteUnderActiveKey() throws(SharedLogError) -> Bool {
        guard let keyring = fileSystem.keyring else { return true }
        while true {
            let isDone = try writer.withLock { state throws(SharedLogError) -> Bool? in
                if let failure = state.failure { throw failure }
                if state.segment.header.cipher.keyID != keyring.activeID {
                    try flush(&state)
                    try rotate(&state)
                }
                let current = state.number
                let oldest = directory.withLock { directory -> LogSegment? in
                    directory.segments.first { $0.number != current && $0.cipher?.label.keyID != keyring.activeID }
                        .flatMap { _ in directory.segments.first }
                }
                // Only the oldest can go, so those before the last one under an older key go too.
                guard let oldest else { return true }
                guard oldest.pins == 0 else { return false }
                try copyForward(from: oldest, &state)
                return try release(oldest, &state) ? nil : false
            }
            if let isDone { return isDone }
        }
    }
}
