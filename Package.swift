// swift-tools-version: 6.2
import PackageDescription

/// Every target in `Sources` says `unsafe` where it steps outside the language's guarantees, and an async function
/// that names no actor stays on its caller's, so that work on an event loop does not leave it unasked.
let swiftSettings: [SwiftSetting] = [
    .strictMemorySafety(),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

let testSettings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

let package = Package(
    name: "cairn",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "cairn", targets: ["cairn"]),
        .library(name: "CairnBSON", targets: ["CairnBSON"]),
        .library(name: "CairnStorage", targets: ["CairnStorage"]),
        .library(name: "CairnRaft", targets: ["CairnRaft"]),
        .library(name: "CairnClient", targets: ["CairnClient"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(
            url: "https://github.com/apple/swift-configuration", from: "1.4.0",
            traits: [.defaults, "YAML", "CommandLineArguments"]),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // Libraries of the system, and what Swift has no name for.
        .systemLibrary(name: "CSnappy", providers: [.apt(["libsnappy-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .target(name: "CCRC32C"),
        .target(name: "CStepCount"),
        .target(name: "CShortSeal", dependencies: ["COpenSSL"]),

        // Deliberate bugs for the tests of the tests. A release build has none of them.
        .target(
            name: "CairnDefects",
            swiftSettings: swiftSettings + [.define("CAIRN_DEFECTS", .when(configuration: .debug))]),

        // The cores: synchronous, deterministic, without sockets, clocks, threads or randomness of their own.
        .target(name: "CairnBSON", swiftSettings: swiftSettings),
        .target(
            name: "CairnWire", dependencies: ["CairnBSON", "CCRC32C", "CSnappy", "CZlib"], swiftSettings: swiftSettings),
        .target(
            name: "CairnFiles",
            dependencies: [
                "CCRC32C", "COpenSSL", "CShortSeal", "CSnappy",
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: swiftSettings),
        .target(name: "CairnStorage", dependencies: ["CairnFiles"], swiftSettings: swiftSettings),
        .target(
            name: "CairnRaft",
            dependencies: ["CairnDefects", .product(name: "DequeModule", package: "swift-collections")],
            swiftSettings: swiftSettings),
        .target(name: "CairnQuery", dependencies: ["CairnBSON", "CStepCount"], swiftSettings: swiftSettings),
        .target(
            name: "CairnDatabase",
            dependencies: ["CairnBSON", "CairnDefects", "CairnFiles", "CairnQuery", "CairnStorage"],
            swiftSettings: swiftSettings),
        .target(
            name: "CairnReplication",
            dependencies: [
                "CairnDefects", "CairnFiles", "CairnRaft", "CairnStorage",
                .product(name: "DequeModule", package: "swift-collections"),
            ],
            swiftSettings: swiftSettings),
        .target(
            name: "CairnSharding",
            dependencies: [
                "CairnBSON", "CairnDefects", "CairnFiles", "CairnStorage", "CairnRaft", "CairnQuery", "CairnDatabase",
                "CairnReplication",
                .product(name: "DequeModule", package: "swift-collections"),
            ],
            swiftSettings: swiftSettings),

        // The shells: sockets, clocks and threads.
        .target(
            name: "CairnClient",
            dependencies: [
                "CairnBSON", "CairnWire", "CairnRaft", "CairnQuery", "CairnDatabase", "CairnReplication",
                "CairnSharding",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: swiftSettings),
        .target(
            name: "CairnServer",
            dependencies: [
                "CairnBSON", "CairnDefects", "CairnWire", "CairnFiles", "CairnStorage", "CairnRaft", "CairnQuery",
                "CairnDatabase",
                "CairnReplication", "CairnSharding", "CairnClient",
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "SystemPackage", package: "swift-system"),
                .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "cairn",
            dependencies: [
                "CairnServer", "CairnClient", "CairnDatabase", "CairnFiles", "CairnReplication",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "storage-bench",
            dependencies: [
                "CairnFiles", "CairnStorage", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Sources/StorageBench", swiftSettings: swiftSettings),
        .executableTarget(
            name: "fault-workload", dependencies: ["CairnBSON", "CairnClient"], path: "Sources/FaultWorkload",
            swiftSettings: swiftSettings),

        // Tests: a folder a module, and what they share.
        .target(
            name: "CairnTestSupport", dependencies: [.product(name: "HeapModule", package: "swift-collections")],
            path: "Tests/CairnTestSupport", swiftSettings: testSettings),
        .target(
            name: "CairnSimulator", dependencies: ["CairnFiles", "CairnTestSupport"], path: "Tests/CairnSimulator",
            swiftSettings: testSettings),
        .testTarget(
            name: "CairnBSONTests", dependencies: ["CairnBSON", "CairnTestSupport"], swiftSettings: testSettings),
        .testTarget(
            name: "CairnWireTests", dependencies: ["CairnWire", "CairnTestSupport"], swiftSettings: testSettings),
        .testTarget(
            name: "CairnFilesTests", dependencies: ["CairnFiles", "CairnSimulator", "CairnTestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "CairnStorageTests", dependencies: ["CairnStorage", "CairnSimulator", "CairnTestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "CairnRaftTests", dependencies: ["CairnDefects", "CairnRaft", "CairnTestSupport"],
            exclude: ["Scripts"], swiftSettings: testSettings),
        .testTarget(
            name: "CairnQueryTests", dependencies: ["CairnQuery", "CairnTestSupport"], swiftSettings: testSettings),
        .testTarget(
            name: "CairnDatabaseTests", dependencies: ["CairnDatabase", "CairnSimulator", "CairnTestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "CairnReplicationTests", dependencies: ["CairnReplication", "CairnSimulator", "CairnTestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "CairnShardingTests", dependencies: ["CairnSharding", "CairnSimulator", "CairnTestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "CairnSimulationTests",
            dependencies: ["CairnDefects", "CairnSharding", "CairnSimulator", "CairnTestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "CairnServerTests", dependencies: ["CairnDefects", "CairnServer", "CairnClient", "CairnTestSupport"],
            swiftSettings: testSettings),
    ],
    swiftLanguageModes: [.v6]
)
