import CairnFiles
import CairnRaft
import CairnSimulator
import Testing

@testable import CairnReplication

/// What is remembered of a replica that left.
@Suite struct FormerReplicaTests {
    @Test func itIsReadAsItWasWritten() throws {
        let fileSystem = SimulatedFileSystem(seed: 1)
        try fileSystem.createDirectory("groups")
        for vote in [nil, NodeID(7)] as [NodeID?] {
            let former = FormerReplica(
                term: Term(3), vote: vote, last: LogPosition(term: Term(2), index: LogIndex(212)))
            try former.write(GroupID(5), in: "groups", fileSystem)
            #expect(try FormerReplica.read(GroupID(5), in: "groups", fileSystem) == former)
        }
        #expect(try FormerReplica.read(GroupID(6), in: "groups", fileSystem) == nil)
        #expect(
            String(decoding: try fileSystem.contents(of: "groups/5.left", limit: 100), as: UTF8.self)
                == "term 3 vote 7\nlast 2/212\n")
    }

    @Test(arguments: [
        "", "term 3", "term 3 vote 7\nlast 2/212", "term 3 vote 7\nlast 2/x\n", "term -1 vote 7\nlast 2/2\n",
    ])
    func whatIsNoneIsRefused(text: String) throws {
        let fileSystem = SimulatedFileSystem(seed: 1)
        try fileSystem.createDirectory("groups")
        try fileSystem.replace("groups/5.left", with: Array(text.utf8))
        #expect(throws: ReplicationError.self) { try FormerReplica.read(GroupID(5), in: "groups", fileSystem) }
    }

    @Test("a replica stays out where nobody knows what its former self had promised, and is not made anew either")
    func whatCannotBeReadKeepsTheReplicaOut() throws {
        let cluster = try SimulatedCluster(seed: 61)
        #expect(try cluster.run { cluster.hasAllLeaders })
        let (node, group) = (cluster.nodes[0], cluster.groups[0])
        node.kill()
        try node.fileSystem.replace("groups/\(group.rawValue).left", with: Array("term 3".utf8))
        try node.start()
        try cluster.load(milliseconds: 1_000)
        #expect(node.startFailures.keys.elementsEqual([group]) && node.rejoined.isEmpty)
        #expect(node.host!.releasedGroups.isEmpty && node.host!.status(of: group)?.failure?.code == .damaged)
    }
}
