import CairnDatabase
import CairnDefects
public import CairnFiles
public import CairnRaft
public import CairnReplication
import CairnStorage

/// The state machine under the log.
extension DataGroup: ReplicatedStateMachine {
    public var appliedIndex: LogIndex { LogIndex(rawValue: database.appliedIndex) }
    public var appliedTerm: Term { Term(rawValue: database.appliedTerm) }
    public var appliedConfiguration: [UInt8]? { database.appliedConfiguration }
    public var durableIndex: LogIndex { LogIndex(rawValue: database.durableIndex) }

    public func apply(_ entries: ArraySlice<Entry>) throws {
        do throws(DatabaseError) {
            for entry in entries { try apply(entry) }
        } catch {
            switch error.storage?.code {
            case .outOfSpace:
                noteApplied()
                throw ReplicationError(.outOfSpace, group: group, "\(error)")
            case .corruption: throw ReplicationError(.damaged, group: group, "\(error)")
            default: throw error
            }
        }
        noteApplied()
    }

    private func apply(_ entry: Entry) throws(DatabaseError) {
        let (index, term) = (entry.index.rawValue, entry.term.rawValue)
        switch entry.kind {
        case .normal: try database.apply(index: index, term: term, payload: entry.payload)
        case .empty: try database.applyEmpty(index: index, term: term)
        case .configuration: try database.applyConfiguration(index: index, term: term, payload: entry.payload)
        }
    }

    private func noteApplied() {
        let applied = database.appliedPosition
        while let first = inFlight.first, first.position <= applied {
            bytesInFlight -= first.bytes
            inFlight.removeFirst()
        }
        wakeTails()
        beginTermIfReady()
    }

    public func roleDidChange(_ role: ReplicaRole) {
        let former = self.role
        guard role != former else { return }
        self.role = role
        switch (former, role) {
        case (.follower, .follower): return
        case (.leader, _): loseOffice()
        case (.follower, .leader): break
        }
        if case .leader = role {
            resumesAfter = LogIndex(rawValue: 0)
            beginTermIfReady()
        }
    }

    private func loseOffice() {
        if database.isLeading {
            endTerm("group \(group.rawValue) lost its leader before the outcome was known")
        }
        // These were not evaluated: they may go to the next leader as they are.
        let refused = parked
        parked.removeAll()
        for waiting in refused { later(waiting, .failure(notLeader)) }
        for (_, waiting) in reads { later(waiting, .failure(notLeader)) }
        reads.removeAll()
        wakeAllTails()
    }

    public func checkpoint(into directory: String) throws -> LogIndex {
        LogIndex(rawValue: try database.engine.checkpoint(into: directory))
    }

    /// Takes the snapshot's files into a directory of their own, and then says with one atomic write that this is the tablet.
    public func install(from directory: String) throws {
        precondition(!role.isLeader, "a leader installs no snapshot")
        if options.defects.contains(.omitTableFromSnapshot) {
            let table = try fileSystem.list(directory).last { $0.hasSuffix(".sst") }
            if let table { try fileSystem.remove("\(directory)/\(table)") }
        }
        // What the old tablet could not flush is in the new one.
        try? database.engine.close()
        let tablet = try TabletDirectory.install(from: directory, in: self.directory, fileSystem)
        try database.replaceEngine(try openEngine(tablet))
        openingDamage = nil
        try TabletDirectory.removeOthers(than: tablet, in: self.directory, fileSystem)
    }

    public var damage: String? {
        if let openingDamage { return openingDamage }
        return database.damage.map { "\($0)" }
    }

    /// What was written down about the damage of the tablet in a group's directory, which need not be open; nil when there
    /// is none.
    public static func notedDamage(in directory: String, _ fileSystem: any FileSystem) throws -> String? {
        try TabletDirectory.notedDamage(in: directory, fileSystem)
    }

    public func noteDamage() throws {
        try TabletDirectory.noteDamage(damage ?? "", in: directory, fileSystem)
    }

    public func advanceDurability() {
        database.engine.requestFlush()
    }

    /// Closes the tablet; the replica is not used after that.
    public func close() throws {
        endTerm("the node is shutting down")
        // Threads that read for nobody any more would keep the node from its end.
        for interruption in running.values { interruption.raise() }
        loseOffice()
        deliver()
        try database.engine.close()
    }
}
