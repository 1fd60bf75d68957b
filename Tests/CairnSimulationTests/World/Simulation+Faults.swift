import CairnFiles
import CairnRaft
import CairnReplication
import CairnSharding
import CairnSimulator

/// What strikes a cluster, drawn one after the other while the faults last.
extension Simulation {
    /// What holds all the time: rates and speeds.
    func applyRates() {
        network.lossPermille = plan.lossPermille
        network.duplicationPermille = plan.duplicationPermille
        network.corruptionPermille = plan.corruptionPermille
        network.strayPermille = plan.strayPermille
        network.longDelayPermille = plan.longDelayPermille
        network.delayMax = plan.delayMax
        network.reorders = plan.reorders
        for machine in machines {
            if plan.drift { machine.clock.setRate(permille: 951 + random.next() % 99, now: now) }
        }
        if plan.driftBeyondBound {
            anyMachine().clock.setRate(permille: [700, 800, 1200, 1500][Int(random.next() % 4)], now: now)
        }
    }

    func scheduleFault() {
        schedule(after: 30_000_000 + random.next() % 250_000_000) { [unowned self] in
            guard hasFaults else { return }
            strikeOnce()
            scheduleFault()
        }
    }

    private func anyMachine() -> SimulatedMachine { machines[Int(random.next() % UInt64(machines.count))] }

    /// A machine, more often than not one that leads something.
    private func victim() -> SimulatedMachine {
        let any = anyMachine()
        guard random.oneIn(2) else { return any }
        let group = anyGroup()
        return machines.first { $0.process?.host?.role(of: group)?.isLeader == true } ?? any
    }

    private func anyGroup() -> GroupID { firstLayout.groups[Int(random.next() % UInt64(firstLayout.groups.count))].id }

    private func strikeOnce() {
        let machine = victim()
        switch random.next() % 12 {
        case 0, 1: if plan.crashes { crash(machine) }
        case 2: if plan.crashes, random.oneIn(3) { crashAll() }
        case 3, 4: if plan.partitions { partition(machine) }
        case 5: network.rejoin()
        case 6: if plan.pauses { pause(machine) }
        case 7: if plan.transfers { transfer() }
        case 8: if plan.membership { changeMembership() }
        case 9: if plan.slowDisks { slowDown(machine) }
        case 10: spoilDisk(machine)
        default: if plan.wallJumps { jump(machine) }
        }
    }

    // MARK: Processes

    private func crash(_ machine: SimulatedMachine) {
        guard machine.isUp else { return }
        switch random.next() % 3 {
        case 0:
            trace("\(machine.id) is killed")
            machine.kill()
            scheduleRestart(of: machine)
        case 1:
            trace("\(machine.id) loses power")
            machine.cutPower()
            scheduleRestart(of: machine)
        default:
            // Somewhere in the middle of what it writes next; `settle` sees it.
            trace("\(machine.id) will lose power")
            machine.disk.cutPower(afterOperations: Int(random.next() % 40))
        }
    }

    private func crashAll() {
        trace("all lose power")
        for machine in machines where machine.isUp {
            machine.cutPower()
            scheduleRestart(of: machine)
        }
    }

    private func pause(_ machine: SimulatedMachine) {
        guard machine.isAwake else { return }
        trace("\(machine.id) is paused")
        note("pause", machine.id.rawValue)
        machine.pause()
        schedule(after: random.next() % (8 * Self.electionTimeout)) { [unowned self] in
            trace("\(machine.id) goes on")
            machine.resume()
        }
    }

    // MARK: The network

    private func partition(_ machine: SimulatedMachine) {
        network.rejoin()
        trace("a partition around \(machine.id)")
        let others = machines.filter { $0 !== machine }
        switch random.next() % 5 {
        case 0:
            for other in others {
                network.cut(from: machine.id, to: other.id)
                network.cut(from: other.id, to: machine.id)
            }
        case 1: for other in others { network.cut(from: machine.id, to: other.id) }
        case 2: for other in others { network.cut(from: other.id, to: machine.id) }
        case 3:
            // One pair, so that the rest is a bridge between the two.
            let other = others[Int(random.next() % UInt64(others.count))]
            network.cut(from: machine.id, to: other.id)
            network.cut(from: other.id, to: machine.id)
        default:
            let side = machines.map { _ in random.oneIn(2) }
            for (from, fromSide) in zip(machines, side) {
                for (to, toSide) in zip(machines, side) where fromSide != toSide {
                    network.cut(from: from.id, to: to.id)
                }
            }
        }
        if random.oneIn(2) { schedule(after: random.next() % 1_200_000_000) { [unowned self] in network.rejoin() } }
    }

    // MARK: Groups

    private func transfer() {
        let group = anyGroup()
        guard let leader = machines.first(where: { $0.isAwake && $0.process?.host?.role(of: group)?.isLeader == true })
        else { return }
        let target = random.oneIn(2) ? nil : anyMachine().id
        leader.process!.run { try? leader.process?.host?.transferLeadership(group, to: target) }
    }

    /// Drains a node or takes it back, as an operator would, through a router.
    private func changeMembership() {
        guard let process = machines.first(where: \.isAwake)?.process else { return }
        let target = anyMachine().id
        let state = process.layout.node(target)?.state
        let change: LayoutChange = state == .active ? .drain(target) : .activate(target)
        trace("\(change)")
        let router = process.router!
        executor.start { [weak process] in
            guard let deadline = process.map({ $0.clock.nanoseconds + 2_000_000_000 }) else { return }
            guard let layout = try? await router.changeLayout(change, deadline: deadline) else { return }
            process?.keep(layout)
        }
    }

    // MARK: Disks and clocks

    private func slowDown(_ machine: SimulatedMachine) {
        if random.oneIn(3) {
            trace("\(machine.id)'s disk hangs")
            machine.hangsUntil = now + random.next() % 1_000_000_000
        } else {
            machine.syncNanosecondsMax = random.oneIn(3) ? 2_000_000 : 5_000_000 + random.next() % 100_000_000
        }
    }

    private func spoilDisk(_ machine: SimulatedMachine) {
        switch random.next() % 3 {
        case 0:
            guard plan.diskErrors else { return }
            trace("\(machine.id)'s next sync fails")
            machine.disk.inject(
                DiskFault(.error(.io), on: .synchronize, pathContains: "raft", nth: 1 + Int(random.next() % 3)))
        case 1:
            guard plan.fullDisks else { return }
            trace("\(machine.id)'s disk is full")
            machine.disk.fill(leaving: random.next() % 20_000)
            schedule(after: random.next() % 1_000_000_000) { machine.disk.setCapacity(.max) }
        default:
            if plan.rot { rot() }
        }
    }

    private func jump(_ machine: SimulatedMachine) {
        machine.clock.wallOffsetMilliseconds = Int64(random.next() % 7_200_000) - 3_600_000
        trace("\(machine.id)'s wall clock is off by \(machine.clock.wallOffsetMilliseconds) ms")
    }

    /// Flips a bit at rest, in the log or in a tablet, on the one machine of this run that it may happen to.
    ///
    /// In the first half of what a file holds: behind the damage there is then something that was synced, and only so can
    /// damage be told from a tail that a crash has torn.
    private func rot() {
        let machine = machines[Int(seed % UInt64(machines.count))]
        let inLog = random.oneIn(2)
        let files = (try? machine.disk.paths(below: inLog ? "raft" : "groups")) ?? []
        let candidates = files.filter { inLog ? $0.contains("segment-") : $0.hasSuffix(".sst") || $0.hasSuffix(".wal") }
        guard !candidates.isEmpty else { return }
        let path = candidates[Int(random.next() % UInt64(candidates.count))]
        guard let bytes = try? machine.disk.contents(of: path),
            let end = bytes.lastIndex(where: { $0 != 0 }), end > 2_000
        else { return }
        let offset = Int(random.next() % UInt64(end / 2))
        trace("a bit of byte \(offset) of \(path) on \(machine.id) flips")
        machine.isRotten = true
        try? machine.disk.flipBit(Int(random.next() % 8), ofByte: offset, in: path)
    }
}

extension SimulatedFileSystem {
    /// The files below a directory.
    fileprivate func paths(below directory: String) throws(FileError) -> [String] {
        var found: [String] = []
        for name in try list(directory) {
            let path = "\(directory)/\(name)"
            if let below = try? paths(below: path) { found += below } else { found.append(path) }
        }
        return found
    }
}
