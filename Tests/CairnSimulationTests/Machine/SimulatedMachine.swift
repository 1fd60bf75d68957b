import CairnFiles
import CairnRaft
import CairnSharding
import CairnSimulator
import CairnTestSupport

/// A machine of the cluster: a disk and clocks, which outlive the process that runs on it.
final class SimulatedMachine {
    let id: NodeID
    let disk: SimulatedFileSystem
    unowned let simulation: Simulation
    var clock: MachineClock
    private(set) var process: SimulatedProcess?
    /// The process stands still; what comes for it waits.
    private(set) var isPaused = false
    private var backlog: [(isRequest: Bool, work: () -> Void)] = []
    /// Time that a sync of the log takes, at most.
    var syncNanosecondsMax: UInt64 = 2_000_000
    /// Until then the disk does not answer to syncs.
    var hangsUntil: UInt64 = 0
    /// Damage at rest was done here, so what this machine has lost is no fault of the code.
    var isRotten = false
    /// Why the process cannot be started, where that is no fault of the code.
    private(set) var isBeyondRepair = false
    private(set) var starts = 0
    var random: SeededGenerator

    init(id: NodeID, simulation: Simulation, random: SeededGenerator) {
        self.id = id
        self.simulation = simulation
        self.random = random
        disk = SimulatedFileSystem(seed: self.random.next())
        clock = MachineClock(startingAt: 1_000_000_000 + self.random.next() % 1_000_000_000_000)
    }

    var isUp: Bool { process != nil }
    /// Whether the process is there and not paused.
    var isAwake: Bool { process != nil && !isPaused }
    var monotonicNow: UInt64 { clock.monotonic(simulation.now) }
    var wallNow: Int64 { clock.wallMilliseconds(simulation.now) }

    // MARK: The process

    /// Starts the process on what the disk holds.
    func start() {
        guard process == nil, !isBeyondRepair else { return }
        simulation.note("start", id.rawValue)
        for _ in 0..<3 {
            starts += 1
            do {
                let new = try SimulatedProcess(machine: self)
                process = new
                try new.open()
                if disk.isPowerOff { throw FileError(.io, .open, path: "", reason: "the power is off") }
                return
            } catch {
                process?.end()
                process = nil
                // A cut that was ordered fell into the start itself.
                if disk.isPowerOff {
                    disk.restart()
                    continue
                }
                disk.killProcess()
                if isRotten {
                    isBeyondRepair = true
                    simulation.trace("\(id) cannot start: \(error)")
                } else if simulation.plan.fullDisks || simulation.plan.diskErrors, simulation.hasFaults {
                    simulation.trace("\(id) cannot start now: \(error)")
                    simulation.schedule(after: 200_000_000) { [unowned self] in start() }
                } else {
                    simulation.fail("\(id) cannot start: \(error)")
                }
                return
            }
        }
    }

    /// Ends the process; the disk keeps what the kernel had.
    func kill() {
        guard process != nil else { return }
        simulation.note("kill", id.rawValue)
        end()
        disk.killProcess()
    }

    /// Cuts the power: only what was synced is sure.
    func cutPower() {
        guard process != nil else { return }
        simulation.note("power", id.rawValue)
        end()
        disk.restart()
    }

    private func end() {
        let old = process!
        process = nil
        isPaused = false
        backlog = []
        old.end()
        simulation.processEnded(on: self)
    }

    // MARK: Standing still

    func pause() {
        guard process != nil else { return }
        isPaused = true
    }

    func resume() {
        guard isPaused else { return }
        isPaused = false
        var waiting = backlog
        backlog = []
        // What waits in one socket may be read before what came earlier over another: a read, before the news of a new leader.
        if random.oneIn(2) { waiting = waiting.filter(\.isRequest) + waiting.filter { !$0.isRequest } }
        for (_, work) in waiting { work() }
    }

    /// Keeps work for when the process goes on.
    func postpone(isRequest: Bool = false, _ work: @escaping () -> Void) { backlog.append((isRequest, work)) }

    /// Looks what the last event has left: a disk without power, a process that must not go on.
    func settle() {
        guard let process else { return }
        if disk.isPowerOff {
            cutPower()
            simulation.scheduleRestart(of: self)
        } else if let failure = process.fatalFailure {
            simulation.trace("\(id) ends itself: \(failure)")
            kill()
            simulation.scheduleRestart(of: self)
        }
    }
}
