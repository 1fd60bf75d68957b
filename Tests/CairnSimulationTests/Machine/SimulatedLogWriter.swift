import CairnReplication

/// The log thread: writes what waits, syncs after a while, reports. Between the write and the sync a power cut may fall.
final class SimulatedLogWriter: LogSink {
    private let log: SharedLog
    private unowned let process: SimulatedProcess
    private var waiting: [LogBatch] = []
    private var writing: [LogBatch] = []
    /// Why the process must end.
    private(set) var failure: String?

    init(log: SharedLog, process: SimulatedProcess) {
        self.log = log
        self.process = process
    }

    private var machine: SimulatedMachine { process.machine }

    func submit(_ batch: LogBatch) {
        waiting.append(batch)
        if writing.isEmpty { process.schedule(after: 10_000) { [weak self] in self?.begin() } }
    }

    private func begin() {
        guard writing.isEmpty, !waiting.isEmpty else { return }
        writing = waiting
        waiting = []
        write()
    }

    private func write() {
        do throws(SharedLogError) {
            try log.append(writing)
        } catch {
            return failed(error)
        }
        var delay = 50_000 + machine.random.next() % machine.syncNanosecondsMax
        let now = process.simulation.now
        if machine.hangsUntil > now + delay { delay = machine.hangsUntil - now }
        process.schedule(after: delay) { [weak self] in self?.synchronize() }
    }

    private func synchronize() {
        do throws(SharedLogError) {
            try log.synchronize()
        } catch {
            return failed(error)
        }
        let last = writing[writing.count - 1].id
        writing = []
        process.host?.logPersisted(last)
        begin()
    }

    private func failed(_ error: SharedLogError) {
        if error.code == .outOfSpace {
            // As the log thread: the same again when there may be room.
            process.schedule(after: 50_000_000) { [weak self] in self?.write() }
        } else {
            failure = "\(error)"
            process.host?.logFailed(writing[0].id, error)
        }
    }
}
