/// What a group can be asked to do, and what each asks for and answers.
///
/// `body` and `documents` are those of ``GroupRequest`` and ``GroupReply``. Filters, updates, sorts, projections and
/// pipelines are MongoDB's. Integers may come as any BSON number that is whole.
public enum GroupOperation: UInt8, Sendable, CaseIterable {
    /// Stores `documents`, each with `_id` as its first field (the router adds it).
    ///
    /// body `{ordered: bool = true, bypassDocumentValidation?, each?}` → body `{n, writeErrors: [{index, code, errmsg, keyPattern?, keyValue?, errInfo?}]}`
    /// (the array is there only when it has elements; `index` counts within `documents`). With `each` the answer of this and
    /// the next two has an array `each` of all statements' `n` and `nModified` by turns.
    case insert = 1
    /// Changes documents; `documents` are statements `{q, u, multi?, upsert?, arrayFilters?, c?, hint?, sort?}`.
    ///
    /// body `{ordered: bool = true, let?, bypassDocumentValidation?, each?}` → body `{n, nModified, upserted: [{index, _id}],
    /// writeErrors}` (`n` counts upserts too). Like those of all operations, the variables in `let` are values.
    case update = 2
    /// Removes documents; `documents` are statements `{q, limit: 0 | 1, hint?}`.
    ///
    /// body `{ordered: bool = true, let?, each?}` → body `{n, writeErrors}`.
    case delete = 3
    /// MongoDB's command: body `{query, sort, update | remove, new, fields, upsert, arrayFilters, hint}`
    /// → body `{lastErrorObject: {n, updatedExisting?, upserted?}, value: document | null}`.
    case findAndModify = 4
    /// body `{filter, projection, sort, skip, limit, batchSize, singleBatch, hint}` → body `{cursor: int64 (0: none),
    /// exhausted: bool, version: int64}`, documents = the first batch. `batchSize` absent means 101; 0 opens the cursor
    /// without reading. `limit` 0 means none.
    ///
    /// With `settled`, and without a read version, the answer's body may have `settled: int64`: the version until which the
    /// answer is the same. Nothing commits at or below it any more.
    ///
    /// `min` and `max` bound the keys of the hinted index. `returnKey` asks for the keys of the index that was used instead of
    /// documents, or with `keepDocuments` as a field `$key` of theirs; `showRecordId` for a field `$recordId`.
    ///
    /// With `tail: {after?: int64, awaitMilliseconds?}` it reads what came into a capped collection behind that place → body
    /// `{position: int64, skipped, count, next}`: the place of the last document looked at, how many of `skip` were passed
    /// over, how many documents there are, and the place of the next to come. No cursor is left open. When nothing is there
    /// yet, the answer waits so long for something; 136 (CappedPositionLost) when the document at `after` is gone.
    case find = 5
    /// body `{cursor: int64, batchSize?}` → as ``find``. The error is 43 (CursorNotFound) when the cursor is not here.
    case getMore = 6
    /// body `{cursors: [int64]}` → body `{killed: [int64], unknown: [int64]}`. Needs no collection.
    case killCursors = 7
    /// body `{query, skip, limit, hint}` → body `{n: int64}`.
    case count = 8
    /// body `{key, query, hint}` → body `{values: [...]}`, each value once within this group.
    case distinct = 9
    /// The part of a pipeline that runs on each group: body `{pipeline: [...], batchSize, hint, let}` → as ``find``.
    case aggregate = 10
    /// body `{command: {find | count | distinct | aggregate | update | delete | findAndModify: <arguments of that
    /// operation>}, verbosity: "queryPlanner" | "executionStats" | "allPlansExecution"}` → body `{queryPlanner:
    /// {winningPlan…}, executionStats?}`.
    case explain = 11
    /// Makes the group's copy of a collection's descriptor as new as body: body = the descriptor → body `{epoch}`. A copy
    /// that is as new already is left alone. Indexes that the new descriptor lacks are dropped; indexes that it adds
    /// are maintained from here on, and ready at once when the group holds no document of the collection.
    case installDescriptor = 12
    /// Deletes all the group holds of the collection and remembers the id as dropped: body `{}` → body `{}`. Idempotent.
    case dropCollection = 13
    /// One bounded step of filling an index: body `{index: id, resume?: binary, steps: documents a step = 1000}` → body
    /// `{done: bool, resume?: binary, slots?, scanned}`. Ask again with `resume` until `done`; 11000 when documents collide.
    /// `slots` is how many of the group's slots of the collection are done, `scanned` how many documents this step looked at.
    case buildIndex = 14
    /// Deletes the group's copy of the descriptor if the group holds no document of the collection, so that the
    /// collection may move to other groups: body `{}` → body `{released: bool}`.
    case releaseIfEmpty = 15
    /// body `{}` → body `{count, size, avgObjSize, indexes: [{id, name, ready, size}], storageSize, totalIndexSize}`,
    /// counted by scanning; sizes in bytes.
    case statistics = 16
    /// Promises never to commit at or below a version: body `{at?: int64}` → body `{version: int64}`, at least `at`, and
    /// at least the version of everything acknowledged so far. Needs no collection.
    case promiseReadVersion = 17
    /// Which of `statementIDs` of `session` have been executed in this group: body `{}` → body `{executed: [{stmtId,
    /// n, nModified, upserted?}], value?}`. Needs no collection.
    case checkExecuted = 18
    /// Forgets the results of retryable writes: body `{before: int64 milliseconds, forget: int64 milliseconds}` →
    /// body `{expired, forgotten}`. A session's record that was last written before `before` keeps its transaction
    /// number alone, and one before `forget` goes. Needs no collection.
    case expireSessions = 19
    /// Compares every index with the documents: body `{}` → body `{valid: bool, nrecords, missing: int64, extra:
    /// int64, indexes: [{name, entries, missing, extra}], order?: {missing, extra}}` (`order` for a capped collection).
    case validate = 20
    /// Which nodes hold a replica: body `{}` → body `{nodes: [int64], voters: [int64]}`. Answered by the leader's host, not by
    /// the database. Needs no collection.
    case members = 21

    /// Deletes documents whose date in an index's field is past: body `{index: id, before: date, limit: documents at most =
    /// 1000}` → body `{n, more: bool}`. A document goes when one of the dates in its field is at or before `before`; `more`
    /// says that others are left.
    case expireDocuments = 22
    /// Ends a read that is under way on this replica, leader or not: body `{token: int64}`, that of the read's request → body
    /// `{found: bool}`. The read is answered with error 11601. Answered by the group, not by the database. Needs no collection.
    case interrupt = 32

    /// Whether the operation may write, so that only a leader carries it out.
    public var isWrite: Bool {
        switch self {
        case .insert, .update, .delete, .findAndModify, .installDescriptor, .dropCollection, .buildIndex,
            .releaseIfEmpty, .promiseReadVersion, .checkExecuted, .expireSessions,
            .expireDocuments:
            true
        case .find, .getMore, .killCursors, .count, .distinct, .aggregate, .explain, .statistics, .validate,
            .members, .interrupt:
            false
        }
    }

    /// Whether the operation is there to store more than before, so that it has to wait while disks are nearly full. What a
    /// deletion or a promise to a reader adds to a log is little, and the former makes room.
    public var takesRoom: Bool {
        switch self {
        case .insert, .update, .findAndModify, .installDescriptor, .buildIndex: true
        default: false
        }
    }

    /// Whether the operation concerns no collection, so that neither descriptor nor epoch matters.
    public var isCollectionless: Bool {
        switch self {
        case .getMore, .killCursors, .promiseReadVersion, .checkExecuted, .expireSessions, .members, .interrupt: true
        default: false
        }
    }

    /// Whether it may take long and changes nothing, so that it can be ended when nobody waits for it.
    public var isInterruptible: Bool {
        switch self {
        case .find, .getMore, .count, .distinct, .aggregate, .explain, .statistics, .validate: true
        default: false
        }
    }
}
