import CairnDefects
import CairnRaft
import Foundation
import Testing

@testable import CairnServer

@Suite struct ConfigurationTests {
    private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent()
        .deletingLastPathComponent()

    private func load(_ text: String, flags: [String: String] = [:]) async throws -> NodeConfiguration {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("cairn-\(UUID().uuidString).yaml")
        try text.write(to: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(at: file) }
        return try await ConfigurationLoader.load(
            file: file.path, flags: flags.merging(["node.data": "/nowhere"]) { own, _ in own })
    }

    private let minimal = """
        cluster:
          name: test
          nodes:
            - "1 client=127.0.0.1:1001 peer=127.0.0.1:1002 http=127.0.0.1:1003"
            - "2 client=127.0.0.1:2001 peer=127.0.0.1:2002 http=127.0.0.1:2003"
            - "3 client=127.0.0.1:3001 peer=127.0.0.1:3002 http=127.0.0.1:3003"
        """

    @Test(arguments: ["local-3", "local-5"])
    func theShippedConfigurationsAreValid(name: String) async throws {
        let file = Self.repository.appendingPathComponent("cluster-configs/\(name)/cluster.yaml").path
        for node in 1...(name == "local-3" ? 3 : 5) {
            let configuration = try await ConfigurationLoader.load(
                file: file, flags: ["node.id": "\(node)", "node.data": "/nowhere"])
            #expect(configuration.node == NodeID(rawValue: UInt64(node)))
            #expect(configuration.clusterName == name)
            #expect(configuration.replicas == 3)
            #expect(configuration.dataGroups == 6)
            #expect(configuration.address.client.port == 27016 + node)
        }
    }

    @Test func flagsWinOverTheFile() async throws {
        let configuration = try await load(
            minimal + "\nraft:\n  heartbeat-ms: 50\n", flags: ["raft.heartbeat-ms": "70", "node.id": "2"])
        #expect(configuration.heartbeatMilliseconds == 70)
        #expect(configuration.node == NodeID(rawValue: 2))
    }

    @Test func deliberateBugsAreForDebugBuildsAndTestsAlone() async throws {
        func load(_ names: String, isTest: Bool = true) async throws -> [Defect] {
            let flags = ["node.data": "/nowhere", "node.test-commands": "\(isTest)", "defect": names]
            return try await ConfigurationLoader.load(file: nil, flags: flags).defects.list
        }
        if Defects.areCompiledIn {
            #expect(try await load("skipLogSync,countLearners") == [.skipLogSync, .countLearners])
            await #expect(throws: ConfigurationError.self) { try await load("skipLogSink") }
            await #expect(throws: ConfigurationError.self) { try await load("skipLogSync", isTest: false) }
        } else {
            await #expect(throws: ConfigurationError.self) { try await load("skipLogSync") }
        }
    }

    @Test func withoutAFileANodeIsWholeByItself() async throws {
        let configuration = try await ConfigurationLoader.load(
            file: nil, flags: ["node.data": "/nowhere", "node.port": "4000"])
        #expect(configuration.replicas == 1)
        #expect(configuration.address.client.port == 4000)
        #expect(configuration.address.peer.port == 4100)
        #expect(configuration.address.http.port == 5000)
    }

    @Test func memoryHasRoomForTheCacheAndMemtablesUnlessItIsTold() async throws {
        let byDefault = try await load(minimal)
        #expect(byDefault.memoryBytes == byDefault.cacheBytesMax + (256 << 20))
        let large = try await load(minimal + "\nstorage:\n  memtable-bytes: 134217728\n")
        #expect(large.memoryBytes == large.cacheBytesMax + (512 << 20))
        let told = try await load(minimal + "\nstorage:\n  cache-bytes: 8388608\n  memory-bytes: 80000000\n")
        #expect(told.memoryBytes == 80_000_000)
    }

    @Test(arguments: [
        ("\nraft:\n  heartbeat-ms: soon\n", "raft.heartbeat-ms"), ("\nraft:\n  hartbeat-ms: 50\n", "raft.hartbeat-ms"),
        ("\nraft:\n  heartbeat-ms: 5\n", "raft.heartbeat-ms"), ("\nnonsense:\n  a: 1\n", "nonsense"),
        ("\nraft:\n  election-timeout-ms: 200\n", "raft.election-timeout-ms"), ("\nnode:\n  id: 9\n", "node.id"),
        ("\nstorage:\n  memtable-bytes: 1\n", "storage.memtable-bytes"),
        ("\nstorage:\n  memory-bytes: 1048576\n", "storage.memory-bytes"),
    ])
    func aWrongSettingNamesFileKeyAndFix(addition: String, key: String) async throws {
        let error = await #expect(throws: ConfigurationError.self) { try await load(minimal + addition) }
        #expect(error?.key.hasPrefix(key) == true, "\(String(describing: error))")
        #expect(error?.file?.hasSuffix(".yaml") == true)
        #expect(error?.fix.isEmpty == false)
    }

    @Test func aFileThatIsMissingOrNoYAMLIsNamed() async throws {
        await #expect(throws: ConfigurationError.self) {
            try await ConfigurationLoader.load(file: "/nowhere/cluster.yaml", flags: [:])
        }
        await #expect(throws: ConfigurationError.self) { try await load("cluster: [") }
    }
}
