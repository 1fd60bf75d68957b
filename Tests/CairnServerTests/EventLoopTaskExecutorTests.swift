import NIOCore
import NIOPosix
import Testing

@testable import CairnClient

/// Lives on an event loop, as connections and routers do.
private actor Resident {
    nonisolated let eventLoop: any EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { eventLoop.executor.asUnownedSerialExecutor() }
    private let tasks: EventLoopTaskExecutor
    private var turns = 0

    init(_ eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        tasks = EventLoopTaskExecutor(eventLoop)
    }

    /// Waits for another thread, and says whether each piece of the task ran on the loop.
    func work(waits: Int) async -> Bool {
        await withTaskExecutorPreference(tasks) {
            var isAtHome = eventLoop.inEventLoop
            for _ in 0..<waits {
                await withCheckedContinuation { continuation in
                    Thread.detach { continuation.resume() }
                }
                isAtHome = isAtHome && eventLoop.inEventLoop
                turns += 1
                isAtHome = await Self.nowhere(eventLoop) && isAtHome
            }
            return isAtHome
        }
    }

    /// Belongs to no actor, so it runs where the task prefers.
    @concurrent
    private static func nowhere(_ eventLoop: any EventLoop) async -> Bool { eventLoop.inEventLoop }

    var count: Int { turns }
}

private enum Thread {
    static func detach(_ body: @escaping @Sendable () -> Void) {
        NIOThreadPool.singleton.submit { _ in body() }
    }
}

@Suite struct EventLoopTaskExecutorTests {
    @Test func aTaskStaysOnItsLoopOverWaitsForOtherThreads() async {
        let resident = Resident(MultiThreadedEventLoopGroup.singleton.next())
        #expect(await resident.work(waits: 200))
        #expect(await resident.count == 200)
    }

    @Test func manyTasksOfOneLoopGetTheirTurns() async {
        let resident = Resident(MultiThreadedEventLoopGroup.singleton.next())
        await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<50 { group.addTask { await resident.work(waits: 20) } }
            for await isAtHome in group { #expect(isAtHome) }
        }
        #expect(await resident.count == 1_000)
    }
}
