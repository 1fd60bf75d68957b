import CairnRaft
import CairnReplication

/// The wires between the machines, and what happens on them.
final class Network {
    private unowned let simulation: Simulation
    /// Frames and requests lost, in thousandths.
    var lossPermille: UInt64 = 0
    var duplicationPermille: UInt64 = 0
    var corruptionPermille: UInt64 = 0
    /// Requests that are given up as lost and arrive all the same, late.
    var strayPermille: UInt64 = 0
    /// A delay in a hundred or so is this long.
    var longDelayPermille: UInt64 = 0
    var delayMax: UInt64 = 1_000_000
    /// Whether Raft's frames overtake each other; within a connection they do not.
    var reorders = false
    /// From, to: nothing passes.
    private var cut: Set<[UInt64]> = []
    private var lastArrival: [[UInt64]: UInt64] = [:]

    init(simulation: Simulation) { self.simulation = simulation }

    func heal() {
        lossPermille = 0
        duplicationPermille = 0
        corruptionPermille = 0
        strayPermille = 0
        longDelayPermille = 0
        delayMax = 1_000_000
        reorders = false
        cut = []
    }

    // MARK: Partitions

    var isWhole: Bool { cut.isEmpty }

    func rejoin() { cut = [] }

    func cut(from: NodeID, to: NodeID) { cut.insert([from.rawValue, to.rawValue]) }

    func isCut(from: NodeID, to: NodeID) -> Bool { !cut.isEmpty && cut.contains([from.rawValue, to.rawValue]) }

    // MARK: Traffic

    private func chance(_ permille: UInt64) -> Bool {
        permille > 0 && simulation.random.next() % 1000 < permille
    }

    private func delay() -> UInt64 {
        let usual = 30_000 + simulation.random.next() % delayMax
        return chance(longDelayPermille) ? usual + simulation.random.next() % 600_000_000 : usual
    }

    /// When what leaves now arrives, on a lane where nothing overtakes anything.
    private func arrival(_ from: NodeID, _ to: NodeID, lane: UInt64) -> UInt64 {
        let key = [from.rawValue, to.rawValue, lane]
        let due = max(simulation.now + delay(), lastArrival[key] ?? 0)
        lastArrival[key] = due
        return due
    }

    /// A frame between two hosts, which is lost without a word.
    func carry(_ frame: [UInt8], from: NodeID, to: NodeID, over channel: PeerChannel) {
        guard !isCut(from: from, to: to), !chance(lossPermille) else { return }
        var copies = 1
        if channel == .raft, chance(duplicationPermille) { copies = 2 }
        for _ in 0..<copies {
            var bytes = frame
            if chance(corruptionPermille) {
                bytes[Int(simulation.random.next() % UInt64(bytes.count))] ^= 1 << UInt8(simulation.random.next() % 8)
            }
            let due =
                reorders && channel == .raft
                ? simulation.now + delay() : arrival(from, to, lane: UInt64(channel.rawValue))
            simulation.schedule(at: due) { [unowned self] in
                guard !isCut(from: from, to: to), let process = simulation.machine(to).process else { return }
                simulation.note(frame: bytes, from.rawValue, to.rawValue)
                process.run { process.receive(bytes, from: from, over: channel) }
            }
        }
    }

    /// A request or an answer on a connection: it arrives, or the connection is seen to break.
    func request(from: NodeID, to: NodeID, _ deliver: @escaping () -> Void, lost: @escaping () -> Void) {
        let isLost = isCut(from: from, to: to) || chance(lossPermille)
        let isStray = !isLost && chance(strayPermille)
        if isLost || isStray {
            simulation.schedule(after: 1_000_000 + simulation.random.next() % 200_000_000) { lost() }
            if isStray {
                simulation.schedule(after: 1_000_000 + simulation.random.next() % 1_500_000_000) { deliver() }
            }
            return
        }
        simulation.schedule(at: arrival(from, to, lane: 9)) { [unowned self] in
            simulation.note("request", from.rawValue, to.rawValue)
            isCut(from: from, to: to) ? lost() : deliver()
        }
    }
}
