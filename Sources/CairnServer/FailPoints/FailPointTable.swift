import CairnBSON
import CairnQuery
import Synchronization

/// The fail points of a node that runs for tests. Without a fail point that is on, a command pays one load.
final class FailPointTable: Sendable {
    private struct Entry {
        var mode = FailPointMode(.off)
        var plan: CommandFailurePlan?
        /// How often it acted since it was last set.
        var count: Int64 = 0
    }

    private let failCommand = Mutex(Entry())
    private let isOn = Atomic(false)

    /// `configureFailPoint`.
    ///
    /// - Returns: how often the fail point had acted.
    /// - Throws: for a name, a mode or data that mean nothing.
    func configure(_ name: String, mode: Value?, data: Document?) throws(QueryError) -> Int64 {
        guard name == "failCommand" else { throw QueryError(.failPointSetFailed, "\(name) not found") }
        let mode = try FailPointMode(parsing: mode)
        let plan = try CommandFailurePlan(parsing: data ?? Document())
        return failCommand.withLock { entry in
            let count = entry.count
            entry = Entry(mode: mode, plan: plan)
            isOn.store(mode.kind != .off, ordering: .relaxed)
            return count
        }
    }

    /// What is to happen to a command; nil when nothing is.
    func plan(for names: @autoclosure () -> [String], applicationName: String?, namespace: String?)
        -> CommandFailurePlan?
    {
        guard isOn.load(ordering: .relaxed) else { return nil }
        let names = names()
        return failCommand.withLock { entry in
            guard let plan = entry.plan,
                plan.concerns(names, applicationName: applicationName, namespace: namespace),
                entry.mode.hits(random: .random(in: 0..<1))
            else { return nil }
            entry.count += 1
            if entry.mode.kind == .off { isOn.store(false, ordering: .relaxed) }
            return plan
        }
    }
}

/// `configureFailPoint`, which only a node that was started with `--enable-test-commands` has.
enum FailPointCommand {
    static var all: [Command] {
        [
            .local("configureFailPoint", "sets a fail point, for tests") { invocation, node in
                guard invocation.database == "admin" else {
                    throw QueryError(
                        .unauthorized, "configureFailPoint may only be run against the admin database.")
                }
                guard case .string(let name)? = invocation.argument else {
                    throw QueryError(.typeMismatch, "configureFailPoint takes the name of a fail point")
                }
                let count = try node.shared.failPoints.configure(
                    name.string, mode: invocation.body["mode"], data: invocation.body["data"]?.asDocument)
                return ["count": .int32(Int32(clamping: count)), "ok": .double(1)]
            }
        ]
    }
}
