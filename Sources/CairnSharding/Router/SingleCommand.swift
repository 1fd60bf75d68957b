import CairnBSON
import CairnDatabase
import CairnQuery
import CairnRaft
import CairnReplication

/// Commands that one group carries out, on a collection that the router knows, which is what most commands are: an insert of one
/// document, a find or an update of one that its `_id` names, any find where one group has the whole collection. They need no
/// task, and wait in no frame of a function, only in the request that is under way.
extension Router {
    /// What became of a command that ``begin(_:completion:)`` took on.
    public enum SingleOutcome: Sendable {
        /// The whole reply for the client.
        case reply(Document)
        /// The catalog has changed: carry this command out with ``Router/run(_:)``.
        case startOver(ClientCommand)
    }

    /// Gives up a command that was begun. To be used on the router's loop.
    final class Cancellation {
        fileprivate var action: (() -> Void)?

        /// A read ends with error 11601, and so does what its group does for it, unless it has ended already. A write goes on: what
        /// becomes of it is not for the router to say.
        func cancel() { action?() }
    }

    /// Carries a command of the simple kind out; nil for others.
    func runSingle(_ command: ClientCommand) async -> SingleOutcome? {
        let awaited = Awaited<SingleOutcome>()
        let cancellation = Cancellation()
        guard begin(command, cancellation: cancellation, completion: { awaited.set($0) }) else { return nil }
        if let outcome = await awaited.result(isInterruptible: command.name == "find") { return outcome }
        cancellation.cancel()
        return .reply(Router.errorReply(Router.interrupted))
    }

    /// Begins a command that is of the simple kind, without a task. Everything else, also what is wrong with a command, is left to
    /// ``run(_:)``.
    ///
    /// - Parameter completion: called once if this returns true, on the router's loop, perhaps before this returns.
    /// - Returns: false, with nothing begun, when the command is not of the simple kind.
    public func begin(_ command: ClientCommand, completion: @escaping (SingleOutcome) -> Void) -> Bool {
        begin(command, cancellation: nil, completion: completion)
    }

    /// As ``begin(_:completion:)``.
    ///
    /// - Parameter cancellation: by which the command can be given up, once begun.
    private func begin(
        _ command: ClientCommand, cancellation: Cancellation?, completion: @escaping (SingleOutcome) -> Void
    ) -> Bool {
        switch command.name {
        case "insert": beginInsert(command, completion)
        case "find": beginFind(command, cancellation, completion)
        case "update": beginUpdate(command, completion)
        default: false
        }
    }

    private func beginInsert(_ command: ClientCommand, _ completion: @escaping (SingleOutcome) -> Void) -> Bool {
        guard command.sequences.count == 1, command.sequences[0].name == "documents",
            command.sequences[0].documents.count == 1,
            let arguments = SingleArguments(command), arguments.statement == nil,
            let (_, descriptor) = collection(ofSimple: command, arguments),
            command.sequences[0].documents[0].byteCount <= Router.documentBytesMax,
            let (document, id, _) = try? withID(command.sequences[0].documents[0])
        else { return false }
        // The same document under the same number, should it have to be sent again: an earlier try may have been carried out.
        var again = command
        again.sequences[0].documents[0] = document
        let request = GroupRequest(.insert, collection: descriptor.id, epoch: descriptor.epoch, documents: [document])
        startWrite(again, request, on: id, of: descriptor, completion) { reply throws(CommandFailure) in
            try Self.insertReply(reply)
        }
        return true
    }

    private func beginUpdate(_ command: ClientCommand, _ completion: @escaping (SingleOutcome) -> Void) -> Bool {
        guard let arguments = SingleArguments(command),
            let statement = arguments.statement ?? command.onlyStatement(in: "updates"),
            let filter = SingleArguments.filter(ofUpdate: statement),
            let (_, descriptor) = collection(ofSimple: command, arguments),
            let id = Targeting.plainID(in: filter, of: descriptor)
        else { return false }
        let request = GroupRequest(.update, collection: descriptor.id, epoch: descriptor.epoch, documents: [statement])
        startWrite(command, request, on: id, of: descriptor, completion) { reply throws(CommandFailure) in
            try Self.updateReply(reply)
        }
        return true
    }

    private func beginFind(
        _ command: ClientCommand, _ cancellation: Cancellation?, _ completion: @escaping (SingleOutcome) -> Void
    ) -> Bool {
        guard command.sequences.isEmpty, let arguments = SingleArguments(command),
            let (namespace, descriptor) = collection(ofSimple: command, arguments),
            let (group, body) = question(ofFind: command, arguments, in: descriptor)
        else { return false }
        let request = GroupRequest(.find, collection: descriptor.id, epoch: descriptor.epoch, body: body)
        let deadline = command.deadline ?? clock.nanoseconds + options.commandNanoseconds
        let giveUp = startNoting(Question(GroupID(group), request, descriptor), deadline: deadline) {
            [self] result, node in
            cancellation?.action = nil
            do throws(CommandFailure) {
                let reply = try result.reply()
                completion(.reply(firstBatch(reply, of: GroupID(group), at: node, namespace)))
            } catch {
                switch error {
                case .stale:
                    var again = command
                    again.deadline = deadline
                    completion(.startOver(again))
                case .error(let error): completion(.reply(Router.errorReply(error)))
                }
            }
        }
        // It may have been answered already.
        if let giveUp { cancellation?.action = giveUp }
        return true
    }

    /// The group that has all of the documents, and what it is asked; nil when there are several, or a closer look is needed.
    private func question(
        ofFind command: ClientCommand, _ arguments: SingleArguments, in descriptor: CollectionDescriptor
    ) -> (group: UInt32, body: Document)? {
        let filter = arguments.filter ?? Document()
        if !arguments.hasOrder, let id = Targeting.plainID(in: filter, of: descriptor) {
            var body = DocumentBuilder(capacity: filter.byteCount + (arguments.projection?.byteCount ?? 0) + 40)
            body.append("filter", .document(filter))
            if let projection = arguments.projection { body.append("projection", .document(projection)) }
            return (Targeting.group(of: id, in: descriptor), body.finish())
        }
        guard descriptor.chunks.count == 1, command.body.byteCount <= options.argumentBytesAtOnce,
            let query = try? FindArguments(command.body)
        else { return nil }
        return (descriptor.chunks[0].group, query.groupBody(isMerged: false, withoutProjection: false))
    }

    /// The reply to a find that one group answered, whose cursor, if it has one, becomes the client's.
    private func firstBatch(
        _ reply: GroupReply, of group: GroupID, at node: NodeID, _ namespace: Namespace
    ) -> Document {
        var id: Int64 = 0
        if reply.openCursor != 0 {
            let stream = CursorStream(group: group, node: node, cursor: reply.openCursor, buffer: [])
            do throws(QueryError) {
                guard cursors.count < options.cursorsMax else {
                    throw QueryError(
                        .tooManyLogicalSessions, "this router has \(cursors.count) open cursors, its limit")
                }
                id = cursors.newID(random: random)
                cursors.insert(
                    try RouterCursor(id: id, namespace: namespace.description, router: self, streams: [stream]))
            } catch {
                close(stream)
                return Router.errorReply(error)
            }
        }
        return Router.cursorReply(id: id, namespace: namespace.description, batch: reply.documents, isFirst: true)
    }

    /// Sends a write to the group that owns `id`, numbered so that it may be sent again.
    private func startWrite(
        _ command: ClientCommand, _ request: GroupRequest, on id: Value, of descriptor: CollectionDescriptor,
        _ completion: @escaping (SingleOutcome) -> Void,
        reply: @escaping (GroupReply) throws(CommandFailure) -> Document
    ) {
        let stamp = command.session ?? command.routersStamp ?? takeSession()
        let deadline = command.deadline ?? clock.nanoseconds + options.commandNanoseconds
        var request = request
        request.session = stamp
        request.statementIDs = [0]
        // Chunks cover every slot, an invariant of descriptors.
        let group = GroupID(Targeting.group(of: id, in: descriptor))
        start(Question(group, request, descriptor), deadline: deadline) { [self] result in
            let outcome: SingleOutcome
            do throws(CommandFailure) {
                outcome = .reply(try reply(result.reply()))
            } catch {
                switch error {
                case .stale:
                    var again = command
                    again.deadline = deadline
                    if command.session == nil { again.routersStamp = stamp }
                    return completion(.startOver(again))
                case .error(let error):
                    let isRetryable = command.session != nil && Router.isRetryable(error)
                    outcome = .reply(Router.errorReply(error, retryable: isRetryable))
                }
            }
            if command.session == nil { giveBack(stamp) }
            completion(outcome)
        }
    }

    /// The collection, if it is one of the kind that has its documents in groups.
    private func collection(
        ofSimple command: ClientCommand, _ arguments: SingleArguments
    ) -> (Namespace, CollectionDescriptor)? {
        let namespace = Namespace(trusted: command.database, arguments.collection)
        guard let descriptor = shardMap[namespace], !descriptor.isView,
            CatalogCollections.descriptor(of: namespace) == nil
        else { return nil }
        return (namespace, descriptor)
    }

    private static func insertReply(_ reply: GroupReply) throws(CommandFailure) -> Document {
        let stored = try reply.body.countField("n")
        let refused = try reply.body.writeErrors()
        if stored == 1, refused.isEmpty { return insertedOne }
        var builder = DocumentBuilder()
        builder.append("n", .int32(Int32(clamping: stored)))
        append(writeErrors: refused.map { ($0.0, writeError($0.1, at: $0.0)) }, to: &builder)
        builder.append("ok", .double(1))
        return builder.finish()
    }

    private static func updateReply(_ reply: GroupReply) throws(CommandFailure) -> Document {
        let matched = try reply.body.countField("n")
        let modified = try reply.body.countField("nModified")
        let refused = try reply.body.writeErrors()
        if matched == 1, modified == 1, refused.isEmpty { return updatedOne }
        var builder = DocumentBuilder()
        builder.append("n", number(matched))
        builder.append("nModified", number(modified))
        append(writeErrors: refused.map { ($0.0, writeError($0.1, at: $0.0)) }, to: &builder)
        builder.append("ok", .double(1))
        return builder.finish()
    }

    private static let insertedOne: Document = ["n": 1, "ok": 1.0]
    private static let updatedOne: Document = ["n": 1, "nModified": 1, "ok": 1.0]
}

/// The fields of a command that has none that needs a closer look.
private struct SingleArguments {
    var collection = ""
    var filter: Document?
    var projection: Document?
    /// Whether a find has a sort, a hint or documents to skip.
    var hasOrder = false
    /// The only element of the array that an update's statements may be in.
    var statement: Document?

    /// Nil when there is another field, or one with a value that a client does not usually send.
    init?(_ command: ClientCommand) {
        for element in command.body {
            switch element.name {
            case "insert", "update", "find":
                guard case .string(let name) = element.value else { return nil }
                collection = name.string
            case "$db", "lsid", "txnNumber", "$clusterTime": continue
            case "ordered" where command.name != "find":
                guard case .bool = element.value else { return nil }
            case "updates" where command.name == "update":
                guard case .array(let array) = element.value, array.count == 1, case .document(let only)? = array[0]
                else { return nil }
                statement = only
            case "filter" where command.name == "find":
                guard case .document(let document) = element.value else { return nil }
                filter = document
            case "projection" where command.name == "find":
                guard case .document(let document) = element.value else { return nil }
                projection = document.isEmpty ? nil : document
            case "limit" where command.name == "find", "batchSize" where command.name == "find":
                // Whatever the number, there is one document at most. Other values mean something else, or are mistakes.
                guard let count = element.value.int64Exactly, count > 0 else { return nil }
            case "singleBatch" where command.name == "find":
                guard case .bool = element.value else { return nil }
            case "sort" where command.name == "find", "skip" where command.name == "find",
                "hint" where command.name == "find":
                hasOrder = true
            default: return nil
            }
        }
        if collection.isEmpty { return nil }
    }

    /// What an update's statement is about, if it changes no more than one document and has no option that the router must know.
    static func filter(ofUpdate statement: Document) -> Document? {
        var filter: Document?
        var hasChange = false
        for element in statement {
            switch element.name {
            case "q":
                guard case .document(let document) = element.value else { return nil }
                filter = document
            case "u": hasChange = true
            case "multi", "upsert":
                guard case .bool(false) = element.value else { return nil }
            case "hint", "arrayFilters": continue
            default: return nil
            }
        }
        return hasChange ? filter : nil
    }
}

extension ClientCommand {
    /// The only document of a sequence, if that is the only sequence.
    fileprivate func onlyStatement(in name: String) -> Document? {
        guard sequences.count == 1, sequences[0].name == name, sequences[0].documents.count == 1 else { return nil }
        return sequences[0].documents[0]
    }
}
