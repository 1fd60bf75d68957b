import CairnDatabase
import CairnQuery
import CairnRaft
import CairnReplication
import CairnSharding
import NIOCore

// Following the cluster's layout: which nodes there are, and which replicas belong here.
extension NodeLoop {
    /// Takes a newer layout over on this loop; the network has it already.
    func adopt(_ layout: ClusterLayout) {
        router?.adopt(layout)
        guard let peers, let host else { return }
        transport?.use(peers.hostConnections())
        owesReplicas = false
        do { try hostGroups(of: layout) } catch {
            // For want of room, most likely; it is tried again.
            owesReplicas = true
            shared.logger.error("a replica that belongs here cannot be made", metadata: ["reason": "\(error)"])
        }
        host.learnPeers(layout.nodes.map(\.id))
        setNeedsFlush()
    }

    /// Opens the replicas that belong on this loop or were left on it, and says where all of them belong.
    ///
    /// A replica that is new here has no vote, and waits for the group's leader to send it what the group has.
    func hostGroups(of layout: ClusterLayout) throws {
        guard let storage, let host else { return }
        let node = shared.configuration.node
        for description in layout.groups where loop(of: description.id) === self {
            let belongsHere = description.voters.contains(node)
            if groups[description.id] == nil, !retired.contains(where: { $0.group == description.id }),
                try belongsHere || storage.hasReplica(of: description.id)
            {
                // Under the configuration's own layout every node begins; later, a replica is added to what there is.
                let (group, isNewcomer) = try storage.openGroup(
                    description.id, isNew: layout.version > 0, on: self)
                if let damage = group.damage {
                    shared.logger.error(
                        "a tablet is damaged", metadata: ["group": "\(description.id)", "reason": "\(damage)"])
                }
                do throws(ReplicationError) {
                    try host.add(
                        group: description.id, voters: description.founders,
                        preferredLeader: description.preferredLeader, isNewcomer: isNewcomer, stateMachine: group)
                } catch {
                    // The other groups are unharmed, and this one is told of by the status.
                    guard error.code == .damaged || error.code == .logGap else { throw error }
                    shared.logger.error("a replica stays out", metadata: ["reason": "\(error)"])
                }
                group.attach(host)
                groups[description.id] = group
                groupsInOrder.append(group)
            }
            host.place(description.id, voters: description.voters, preferredLeader: description.preferredLeader)
        }
        groupsInOrder.sort { $0.group < $1.group }
    }

    /// Makes replicas that could not be made before, gives up those whose group goes on without this node, and deletes what was
    /// given up before. About once a second.
    func keepReplicas() {
        guard let host, let storage else { return }
        if owesReplicas { adopt(shared.layout) }
        if host.logBatchesInFlight == 0, !retired.isEmpty {
            for group in retired {
                do {
                    try group.close()
                    try storage.removeReplica(of: group.group)
                    shared.logger.info(
                        "a replica that is not needed here was deleted", metadata: ["group": "\(group.group.rawValue)"])
                } catch {
                    shared.logger.error(
                        "a replica that is not needed here could not be deleted",
                        metadata: ["group": "\(group.group.rawValue)", "reason": "\(error)"])
                }
            }
            retired = []
            // One of them may have been wanted again meanwhile.
            adopt(shared.layout)
        }
        for group in host.releasedGroups {
            shared.logger.notice("a lost replica is made anew", metadata: ["group": "\(group.rawValue)"])
            retire(group, host)
        }
        // A node is forgotten when no group has it as a member: what it still holds is of no use.
        let isForgotten = shared.layout.node(shared.configuration.node) == nil
        for group in isForgotten ? host.groups.filter({ host.role(of: $0)?.isLeader == false }) : host.dispensableGroups
        {
            retire(group, host)
        }
    }

    private func retire(_ group: GroupID, _ host: GroupHost) {
        do throws(ReplicationError) { try host.remove(group) } catch {
            return shared.logger.error(
                "a replica that is not needed here could not be given up; it is tried again in a second",
                metadata: ["reason": "\(error)"])
        }
        guard let replica = groups.removeValue(forKey: group) else { return }
        groupsInOrder.removeAll { $0 === replica }
        retired.append(replica)
        setNeedsFlush()
    }

    // MARK: Watching

    /// Looks for a newer layout in the meta group, and, where that group is led, after the other nodes. About once a second,
    /// on the node's first loop.
    func watchLayout() {
        guard index == 0, host != nil, let router, !isWatchingLayout else { return }
        isWatchingLayout = true
        Task.immediate(executorPreference: tasks) {
            do throws(QueryError) {
                let stored = try await router.storedLayout(deadline: clock.nanoseconds + 2_000_000_000)
                if let stored { adoptEverywhere(stored) }
                if groups[.meta]?.role.isLeader == true {
                    try await router.restore(shared.layout, over: stored, deadline: clock.nanoseconds + 2_000_000_000)
                }
            } catch {
                // The meta group has no leader that could be found; the next second is another one.
            }
            await judgePeers(router)
            isWatchingLayout = false
        }
    }

    /// Makes a newer layout durable, and then what the whole node goes by.
    func adoptEverywhere(_ layout: ClusterLayout) {
        guard layout.version > shared.layout.version, let storage, let peers else { return }
        do { try storage.store(layout) } catch {
            shared.logger.error("the cluster's layout cannot be written", metadata: ["reason": "\(error)"])
            return
        }
        guard shared.adopt(layout) else { return }
        shared.logger.info("the cluster has a new layout", metadata: ["version": "\(layout.version)"])
        peers.adopt(layout)
        for loop in siblings { loop.onLoop { $0.adopt(layout) } }
    }

    /// Who was heard of so recently is there.
    private static let freshNanoseconds: UInt64 = 3_000_000_000

    /// On the meta group's leader: has the replicas of a node that is silent for too long made anew elsewhere, and takes it
    /// back when it answers again.
    private func judgePeers(_ router: Router) async {
        let limit = UInt64(shared.configuration.rebuildAfterSeconds) * 1_000_000_000
        guard let peers, groups[.meta]?.role.isLeader == true, limit > 0 else {
            leadsMetaSince = nil
            return
        }
        peers.ping()
        let now = clock.nanoseconds
        let since = leadsMetaSince ?? now
        leadsMetaSince = since
        for node in shared.layout.nodes where node.id != shared.configuration.node {
            let heard = peers.lastHeard(node.id)
            let change: LayoutChange
            switch node.state {
            case .active where max(heard ?? 0, since) + limit < now: change = .markLost(node.id)
            case .lost where heard.map { $0 + Self.freshNanoseconds > now } ?? false: change = .activate(node.id)
            default: continue
            }
            do throws(QueryError) {
                adoptEverywhere(try await router.changeLayout(change, deadline: now + 5_000_000_000))
                shared.logger.warning("a node was judged", metadata: ["change": "\(change)"])
            } catch {
                // Mostly: there is no node left to put its replicas on.
                shared.logger.debug(
                    "a silent node keeps its replicas", metadata: ["node": "\(node.id.rawValue)", "reason": "\(error)"])
            }
        }
    }
}
