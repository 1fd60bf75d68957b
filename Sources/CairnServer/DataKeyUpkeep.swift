import CairnFiles
import CairnReplication
import CairnStorage
import Foundation
import Logging
import Synchronization

/// What a node does with its data keys beside using them: says which files are under which, writes again what is under old
/// ones, and drops those that nothing needs any more. All of it reads or writes files, on threads of its own.
final class DataKeyUpkeep: Sendable {
    let keyring: Keyring
    private let directory: String
    private let fileSystem: any FileSystem
    private let log: SharedLog
    private let logger: Logger
    private let rewriting = Mutex(Rewriting())

    private struct Rewriting {
        var isRunning = false
        /// Why the last one did not come to its end.
        var failure: String?
    }

    init(_ keyring: Keyring, directory: String, fileSystem: any FileSystem, log: SharedLog, logger: Logger) {
        self.keyring = keyring
        self.directory = directory
        self.fileSystem = fileSystem
        self.log = log
        self.logger = logger
    }

    /// Whether old files are being written again, and why that failed the last time, if it did.
    var state: (isRewriting: Bool, failure: String?) { rewriting.withLock { ($0.isRunning, $0.failure) } }

    /// Under which keys the files are at this moment.
    func usage() async throws -> DataKeyUsage {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread { [directory, fileSystem] in
                continuation.resume(with: Result { try DataKeyUsage(of: directory, in: fileSystem) })
            }
        }
    }

    /// Begins to write again what is under old keys, if that is not under way already.
    func beginRewriting(_ engines: [Engine]) {
        let isRunning = rewriting.withLock { state in
            let isRunning = state.isRunning
            state.isRunning = true
            return isRunning
        }
        if isRunning { return }
        Thread.detachNewThread { self.rewrite(engines) }
    }

    private func rewrite(_ engines: [Engine]) {
        let failure: String?
        do {
            try rewriteAll(engines)
            failure = nil
        } catch {
            failure = "\(error)"
            logger.warning("files stay under old data keys", metadata: ["reason": "\(error)"])
        }
        rewriting.withLock { state in
            state.isRunning = false
            state.failure = failure
        }
    }

    private func rewriteAll(_ engines: [Engine]) throws {
        // Tables first: what they have, the log need not copy.
        for engine in engines {
            try Self.rewrite(engine)
        }
        // A follower that catches up reads from the oldest segment, but not for ever.
        while try !log.rewriteUnderActiveKey() { Thread.sleep(forTimeInterval: 0.1) }
        try dropUnused()
    }

    private static func rewrite(_ engine: Engine) throws(StorageError) {
        do throws(StorageError) {
            try engine.rewriteUnderActiveKey()
        } catch {
            // A snapshot has taken its place, or the node is shutting down.
            if error.code != .closed { throw error }
        }
    }

    /// Drops the keys that no file needs; also to be called at the start, before anything is on its way.
    func dropUnused() throws {
        let dropped = try keyring.dropUnused(below: directory, in: fileSystem)
        for id in dropped {
            logger.info("no file needs a data key any more, it is gone", metadata: ["key": "\(Keyring.name(id))"])
        }
    }
}
