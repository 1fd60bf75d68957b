import Synchronization

/// Holds a data key in its keyring for as long as something here still seals or opens with it, so that no key is dropped
/// from under a file that is being written and cannot be found on the disk yet.
final class DataKeyUse: Sendable {
    /// All uses of the keys of one keyring.
    final class Register: Sendable {
        private let counts = Mutex<[UInt64: Int]>([:])

        func begin(_ id: UInt64) -> DataKeyUse {
            counts.withLock { $0[id, default: 0] += 1 }
            return DataKeyUse(id, self)
        }

        fileprivate func end(_ id: UInt64) {
            counts.withLock { counts in
                counts[id, default: 0] -= 1
                if counts[id] == 0 { counts[id] = nil }
            }
        }

        /// The keys that something seals or opens with at this moment.
        var inUse: Set<UInt64> { counts.withLock { Set($0.keys) } }
    }

    private let id: UInt64
    private let register: Register

    private init(_ id: UInt64, _ register: Register) {
        self.id = id
        self.register = register
    }

    deinit { register.end(id) }
}
