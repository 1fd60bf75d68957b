import CairnFiles
import CairnRaft
import CairnSharding
import Foundation
import NIOCore
import Testing

@testable import CairnServer

@Suite("The folder of a node that joins")
struct NodeFolderTests {
    private let directory = FileManager.default.temporaryDirectory
        .appendingPathComponent("cairn-folder-\(UUID().uuidString)").path

    private func description(_ number: UInt64) -> NodeDescription {
        NodeDescription(
            id: NodeID(number), clientAddress: "127.0.0.1:\(1000 + number)",
            peerAddress: "127.0.0.1:\(2000 + number)", httpAddress: "127.0.0.1:\(3000 + number)")
    }

    private func layout() throws -> ClusterLayout {
        try ClusterLayout.spread(nodes: (1...3).map { description($0) }, dataGroups: 4, replicas: 3)
            .applying(
                .add(clientAddress: "127.0.0.1:1004", peerAddress: "127.0.0.1:2004", httpAddress: "127.0.0.1:3004"))
    }

    @Test func tellsTheNodeAllThatAConfigurationWould() async throws {
        defer { try? FileManager.default.removeItem(atPath: directory) }
        #expect(try NodeFolder.mayJoin(with: directory))
        try NodeFolder.prepare(directory, node: NodeID(4), cluster: "hills", layout: try layout())
        let configuration = try await ConfigurationLoader.load(file: nil, flags: ["node.data": directory])
        #expect(configuration.node == NodeID(4) && configuration.clusterName == "hills")
        #expect(configuration.nodes.map(\.id.rawValue) == [1, 2, 3, 4])
        #expect(configuration.dataGroups == 4 && configuration.replicas == 3)
        #expect(configuration.address.peer == SocketEndpoint(host: "127.0.0.1", port: 2004))
        #expect(NodeIdentity(configuration).founders.map(\.rawValue) == [1, 2, 3])
    }

    @Test func isMadeTwiceForOneNodeAndNeverForAnother() throws {
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try NodeFolder.prepare(directory, node: NodeID(4), cluster: "hills", layout: try layout())
        #expect(try NodeFolder.mayJoin(with: directory))
        try NodeFolder.prepare(directory, node: NodeID(4), cluster: "hills", layout: try layout())
        #expect(throws: ConfigurationError.self) {
            try NodeFolder.prepare(directory, node: NodeID(5), cluster: "hills", layout: try layout())
        }
        #expect(throws: ConfigurationError.self) {
            try NodeFolder.prepare(directory, node: NodeID(4), cluster: "valleys", layout: try layout())
        }
    }

    @Test func A53_belongsToOneLifeOfTheCluster() throws {
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let second = ClusterLife.first.next(mark: 77)
        try NodeFolder.prepare(directory, node: NodeID(4), cluster: "hills", life: second, layout: try layout())
        #expect(try NodeIdentity.read(in: directory, PosixFileSystem())?.life == second)
        #expect(ClusterLife(document: second.document) == second)
        #expect(throws: ConfigurationError.self) {
            try NodeFolder.prepare(
                directory, node: NodeID(4), cluster: "hills", life: second.next(mark: 5), layout: try layout())
        }
    }

    @Test func A53_nodesOfAnotherLifeAreTurnedAwayAndThoseOfAnEarlierOneEnd() throws {
        let first = LinkName(cluster: "hills", life: .first)
        let second = LinkName(cluster: "hills", life: ClusterLife.first.next(mark: 77))
        let rival = LinkName(cluster: "hills", life: ClusterLife.first.next(mark: 78))
        #expect(first.text == "hills" && second.text == "hills#1-4d")
        for name in [first, second, rival, LinkName(cluster: "a#b", life: .first)] {
            #expect(LinkName(parsing: name.text) == name)
        }
        #expect(Set([first, second, rival].map(\.number)).count == 3)
        #expect(second.refusal(of: second) == nil)
        #expect(second.refusal(of: first)?.callerMustEnd == true)
        for (own, caller) in [(first, second), (second, rival), (second, LinkName(cluster: "vales", life: .first))] {
            #expect(own.refusal(of: caller)?.callerMustEnd == false)
        }
        let refusal = try #require(second.refusal(of: first))
        let read = LinkRefusal(parsing: ByteBuffer(bytes: refusal.encoded))
        #expect(read.callerMustEnd && read.reason == refusal.reason)
    }

    @Test func A32_aMemberThatComesWithAnotherFolderIsTurnedAway() throws {
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let fileSystem = PosixFileSystem()
        try fileSystem.createDirectory(directory)
        let founders = (1...3).map { NodeID(UInt64($0)) }
        let identity = try NodeIdentity(cluster: "hills", node: NodeID(3), groups: 4, replicas: 3, founders: founders)
            .claim(directory, fileSystem)
        #expect(identity.folder != 0)
        let known = PeerAcquaintances(identity, in: directory, fileSystem)
        try known.admit(NodeID(1), folder: 10, isMember: true)
        try known.admit(NodeID(1), folder: 10, isMember: true)
        // Who is no member is not remembered.
        try known.admit(NodeID(9), folder: 90, isMember: false)
        try known.admit(NodeID(9), folder: 91, isMember: false)
        // Over a restart too.
        let again = PeerAcquaintances(
            try #require(try NodeIdentity.read(in: directory, fileSystem)), in: directory, fileSystem)
        let error = #expect(throws: LinkRefusal.self) {
            try again.admit(NodeID(1), folder: 11, isMember: true)
        }
        #expect(error?.callerMustEnd == true)
        try again.admit(NodeID(2), folder: 20, isMember: true)
        #expect(try NodeIdentity.read(in: directory, fileSystem)?.acquaintances == [NodeID(1): 10, NodeID(2): 20])
    }

    @Test func isNotMadeWhereOtherDataIs() throws {
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try Data("mine".utf8).write(to: URL(fileURLWithPath: directory + "/letter.txt"))
        #expect(try !NodeFolder.mayJoin(with: directory))
    }

    @Test func saysSoWhenItsLayoutIsDamaged() async throws {
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try NodeFolder.prepare(directory, node: NodeID(4), cluster: "hills", layout: try layout())
        try Data("{}".utf8).write(to: URL(fileURLWithPath: directory + "/layout"))
        await #expect(throws: ConfigurationError.self) {
            try await ConfigurationLoader.load(file: nil, flags: ["node.data": directory])
        }
    }
}
