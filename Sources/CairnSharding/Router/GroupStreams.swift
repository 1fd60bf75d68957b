import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication
import CairnStorage

/// The same query on several groups, whose answers belong to one moment.
///
/// Mostly one round of questions is enough. Each group answers from its newest state and says until which version that will
/// have been its state; when the newest of what was seen lies within all of these, that is the version that they all were read
/// at. Where a group is written to meanwhile it does not: then a version is agreed on first, and all are read at it.
extension Router {
    /// Starts a query on several groups, at one version when there are more than one and their clocks allow it.
    func openStreams(
        _ operation: GroupOperation, body: Document, on groups: [UInt32], of descriptor: CollectionDescriptor,
        deadline: UInt64
    ) async throws(CommandFailure) -> [CursorStream] {
        var versions: [Version?] = groups.map { _ in nil }
        if groups.count > 1, options.scansReadOneVersion {
            if settledScans.mayTry(descriptor.id) {
                var asking = body
                asking.set("settled", true)
                let (streams, isOneVersion) = try await openStreams(
                    operation, body: asking, on: groups, of: descriptor, at: versions, deadline: deadline)
                settledScans.note(isOneVersion, descriptor.id)
                if isOneVersion { return streams }
                for stream in streams where !stream.isExhausted { close(stream) }
            }
            versions = try await promisedVersions(of: groups, deadline: deadline)
        }
        return try await openStreams(
            operation, body: body, on: groups, of: descriptor, at: versions, deadline: deadline
        ).streams
    }

    /// - Returns: the streams, and whether all groups are known to have been read at one version without having been told which.
    private func openStreams(
        _ operation: GroupOperation, body: Document, on groups: [UInt32], of descriptor: CollectionDescriptor,
        at versions: [Version?], deadline: UInt64
    ) async throws(CommandFailure) -> (streams: [CursorStream], isOneVersion: Bool) {
        let questions = zip(groups, versions).map { group, version in
            Question(
                GroupID(group),
                GroupRequest(
                    operation, collection: descriptor.id, epoch: descriptor.epoch, readVersion: version, body: body),
                descriptor)
        }
        let answers = await askNoting(questions, deadline: deadline)
        var streams: [CursorStream] = []
        var seen: UInt64 = 0
        var settled = UInt64.max
        for (group, answer) in zip(groups, answers) {
            guard case .success(let reply) = answer.result else { continue }
            streams.append(
                CursorStream(
                    group: GroupID(group), node: answer.node, cursor: reply.openCursor, buffer: reply.documents[...]))
            seen = max(seen, UInt64(bitPattern: reply.body["version"]?.int64Exactly ?? 0))
            settled = min(settled, UInt64(bitPattern: reply.body["settled"]?.int64Exactly ?? 0))
        }
        do throws(CommandFailure) {
            _ = try answers.map(\.result).replies()
        } catch {
            // Those that did open a cursor will not be asked again.
            for stream in streams where !stream.isExhausted { close(stream) }
            throw error
        }
        return (streams, seen <= settled)
    }

    /// For each group the version to read it at: one for all, at or above that of everything acknowledged so far. A group that
    /// is asked to read at it promises in turn never to commit at or below it.
    ///
    /// A group refuses a version that is far ahead of its clock, because it would have to follow. So after a node's clock was
    /// set forward, or while one is wrong, each group is read at its own newest version instead: what was acknowledged is
    /// seen all the same, only the moments may differ by as much as the promises took.
    private func promisedVersions(of groups: [UInt32], deadline: UInt64) async throws(CommandFailure) -> [Version] {
        let questions = groups.map { group in
            Question(GroupID(group), GroupRequest(.promiseReadVersion, collection: .system))
        }
        var own: [Version] = []
        for reply in try await ask(questions, deadline: deadline).replies() {
            own.append(Version(rawValue: UInt64(bitPattern: try reply.body.countField("version"))))
        }
        guard let highest = own.max(), let lowest = own.min() else { return own }
        let latest = VersionClock.milliseconds(of: highest)
        let bound = VersionClock().driftMillisecondsMax / 2
        let areClose =
            latest - VersionClock.milliseconds(of: lowest) <= bound
            && latest <= UInt64(max(0, clock.wallMilliseconds)) + bound
        return areClose ? own.map { _ in highest } : own
    }
}

/// Where it is worth a try to read several groups without an agreement on the version.
struct SettledScans {
    private struct Misses {
        /// How often in a row it failed.
        var count: Int
        /// How many scans go by before the next try.
        var pause: Int
    }

    private var misses: [CollectionID: Misses] = [:]
    private static let collectionsMax = 1_000
    private static let pauseMax = 64

    /// Whether the next scan of the collection is to be tried so. Counts it.
    mutating func mayTry(_ collection: CollectionID) -> Bool {
        guard let pause = misses[collection]?.pause, pause > 0 else { return true }
        misses[collection]!.pause = pause - 1
        return false
    }

    mutating func note(_ succeeded: Bool, _ collection: CollectionID) {
        if succeeded {
            if !misses.isEmpty { misses[collection] = nil }
            return
        }
        if misses.count >= Self.collectionsMax { misses = [:] }
        let count = min((misses[collection]?.count ?? 0) + 1, 16)
        // Once may be for want of a promise, which comes with the agreement.
        misses[collection] = Misses(count: count, pause: min(1 << (count - 1), Self.pauseMax) - 1)
    }
}
