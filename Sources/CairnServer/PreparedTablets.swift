import CairnFiles
import CairnReplication
import CairnSharding
import CairnStorage
import NIOPosix
import Synchronization

/// Tablets that were opened ahead of their groups, many at a time.
///
/// Opening one means a handful of syncs, one after the other, and nearly all of it is waiting. A node with a thousand groups
/// would wait for minutes on a slow disk; side by side, the waits of many become one.
final class PreparedTablets: Sendable {
    /// Openings at a time. They wait for the disk, not for a core.
    private static let threadCount = 32

    private let engines = Mutex<[String: Engine]>([:])

    /// Opens the tablets of `directories`, each a group's own.
    ///
    /// One that cannot be opened is left to its group, which says what that means.
    func prepare(
        _ directories: [String], in fileSystem: any FileSystem, open: @escaping @Sendable (String) throws -> Engine
    ) async {
        guard directories.count > 1 else { return }
        let threads = NIOThreadPool(numberOfThreads: min(Self.threadCount, directories.count))
        threads.start()
        await withTaskGroup(of: Void.self) { tasks in
            for directory in directories {
                tasks.addTask { [self] in
                    try? await threads.runIfActive { [self] in
                        guard let tablet = try DataGroup.tablet(in: directory, fileSystem) else { return }
                        let engine = try open(tablet)
                        engines.withLock { $0[tablet] = engine }
                    }
                }
            }
        }
        try? await threads.shutdownGracefully()
    }

    /// Gives out the tablet in `directory`, if it was prepared and nobody has it yet.
    func take(_ directory: String) -> Engine? { engines.withLock { $0.removeValue(forKey: directory) } }
}
