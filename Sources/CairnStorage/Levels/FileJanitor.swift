import CairnFiles
import Synchronization

/// Removes files that nothing needs any more, in the background.
///
/// A file that cannot be removed now is an orphan that the next opening removes. After the engine was closed nothing is
/// removed any more: the directory may belong to another one by then.
final class FileJanitor: Sendable {
    private struct State {
        var paths: [String] = []
        var isScheduled = false
        var isClosed = false
    }

    private let state = Mutex(State())
    private let fileSystem: any FileSystem
    private let background: any BackgroundExecutor

    init(fileSystem: any FileSystem, background: any BackgroundExecutor) {
        self.fileSystem = fileSystem
        self.background = background
    }

    func remove(_ paths: [String]) {
        guard !paths.isEmpty else { return }
        let schedules = state.withLock { state in
            guard !state.isClosed else { return false }
            state.paths += paths
            defer { state.isScheduled = true }
            return !state.isScheduled
        }
        if schedules { background.submit(.flush) { [self] in sweep() } }
    }

    /// Removes what is due. The lock is held meanwhile, so that ``close()`` waits for it.
    func sweep() {
        state.withLock { state in
            state.isScheduled = false
            guard !state.isClosed else { return }
            for path in state.paths { try? fileSystem.remove(path) }
            state.paths = []
        }
    }

    func close() {
        sweep()
        state.withLock { $0.isClosed = true }
    }
}
