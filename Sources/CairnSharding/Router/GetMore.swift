import CairnBSON
import CairnQuery

extension Router {
    /// `getMore`: the next batch of a cursor of this router.
    func getMore(_ command: ClientCommand) async throws(QueryError) -> Document {
        guard let id = try command.body.integer("getMore") else {
            throw QueryError(.typeMismatch, "BSON field 'getMore.getMore' is the wrong type, expected type 'long'")
        }
        guard let collection = try command.body.string("collection") else {
            throw QueryError(
                .missingRequiredField, "BSON field 'getMore.collection' is missing but a required field")
        }
        guard let cursor = cursors[id] else {
            throw QueryError(.cursorNotFound, "cursor id \(id) not found")
        }
        let namespace = "\(command.database).\(collection)"
        guard cursor.namespace == namespace else {
            throw QueryError(
                .unauthorized,
                "Requested getMore on namespace '\(namespace)', but cursor belongs to a different namespace")
        }
        let size = try command.body.count("batchSize")
        guard !cursor.isBusy else {
            throw QueryError(.cursorInUse, "cursor id \(id) is already in use")
        }
        let limit = try command.body.count("maxTimeMS")
        if let tail = cursor.tail, tail.awaitsData {
            // Without a limit MongoDB waits for a second.
            tail.patienceNanoseconds = UInt64(clamping: min(limit ?? 1_000, 86_400_000)) * 1_000_000
        } else if let limit, limit > 0, cursor.tail != nil {
            throw QueryError(
                .badValue, "cannot set maxTimeMS on getMore command for a non-awaitData cursor")
        }
        cursor.isBusy = true
        defer {
            cursor.isBusy = false
            cursor.usedAt = clock.nanoseconds
        }
        let batch: [Document]
        do throws(QueryError) {
            batch = try await cursor.nextBatch(
                size.flatMap { $0 == 0 ? nil : Int(clamping: $0) }, deadline: command.deadline!)
        } catch {
            _ = cursors.remove(id)
            closeAtGroups(cursor)
            throw error
        }
        // It may have been killed while the groups were asked.
        let isOpen = cursors[id] != nil && !cursor.isFinished
        if !isOpen, cursors.remove(id) != nil { closeAtGroups(cursor) }
        return Router.cursorReply(id: isOpen ? id : 0, namespace: namespace, batch: batch, isFirst: false)
    }

    /// `killCursors`.
    func killCursors(_ command: ClientCommand) async throws(QueryError) -> Document {
        guard let list = try command.body.list("cursors") else {
            throw QueryError(
                .missingRequiredField, "BSON field 'killCursors.cursors' is missing but a required field")
        }
        var killed: [Value] = []
        var unknown: [Value] = []
        for value in list {
            guard let id = value.asInt64Exactly else {
                throw QueryError(.typeMismatch, "BSON field 'killCursors.cursors' must hold numbers")
            }
            if let cursor = cursors.remove(id) {
                closeAtGroups(cursor)
                killed.append(.int64(id))
            } else {
                unknown.append(.int64(id))
            }
        }
        return [
            "cursorsKilled": .array(BSONArray(killed)), "cursorsNotFound": .array(BSONArray(unknown)),
            "cursorsAlive": [], "cursorsUnknown": [], "ok": 1.0,
        ]
    }
}
