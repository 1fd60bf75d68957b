/// What the program can do, by the names that `scripts/faults list` shows.
enum WorkloadName: String {
    case set = "swift-set"
    case counter = "swift-counter"
    case register = "swift-register"
    case list = "swift-list"
    case unique = "swift-unique"

    var clientCount: Int {
        switch self {
        case .register: 4
        case .set, .counter, .list, .unique: 3
        }
    }

    /// For one client.
    func actions() -> any Actions {
        switch self {
        case .set: SetActions()
        case .counter: CounterActions()
        case .register: RegisterActions()
        case .list: ListActions()
        case .unique: UniqueActions()
        }
    }
}

/// What one client does, again and again, and what it remembers meanwhile.
protocol Actions {
    /// One or a few operations, `elapsed` seconds after the run's clients began.
    mutating func act(_ client: WorkloadClient, elapsed: Double) async throws
}

/// Names a set of keys that is in use for a while, so that no key's history grows too long to search.
func generation(_ elapsed: Double, lengths: [Double] = [6, 11, 17]) -> String {
    lengths.map { "\(Int(elapsed / $0))." }.joined()
}
