import CairnBSON
import CairnQuery
import CairnSharding

/// What a loop's router may ask about the node. It lives and ends with the loop.
final class LoopReports: NodeReports {
    private unowned let loop: NodeLoop

    init(_ loop: NodeLoop) { self.loop = loop }

    var host: String { "\(loop.shared.configuration.address.client)" }

    func profile(of database: String) -> [Document] { loop.shared.profiler.records(of: database) }

    func dropProfile(of database: String) throws(QueryError) -> Bool {
        try loop.shared.profiler.drop(profileOf: database)
    }

    func currentOperations(idleConnections: Bool) async -> [Document] {
        var operations: [Document] = []
        for loop in await loop.siblings {
            operations += await loop.currentOperations(idleConnections: idleConnections)
        }
        return operations
    }

    func sessions() async -> [Document] {
        var sessions: [Document] = []
        for loop in await loop.siblings { sessions += await loop.sessionDocuments() }
        return sessions
    }
}
