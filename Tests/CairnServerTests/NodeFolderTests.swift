import CairnRaft
import CairnSharding
import Foundation
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
