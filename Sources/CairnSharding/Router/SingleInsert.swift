import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication

/// An insert of one document into a collection that the router knows, which is what most inserts are: it needs no task, and
/// waits in no frame of a function, only in the request that is under way.
extension Router {
    /// What became of an insert that ``beginInsert(_:completion:)`` took on.
    public enum SingleInsertOutcome: Sendable {
        /// The whole reply for the client.
        case reply(Document)
        /// The catalog has changed: carry this command out with ``Router/run(_:)``.
        case startOver(ClientCommand)
    }

    /// Begins an `insert` that is of the simple kind. Everything else, also what is wrong with a command, is left to ``run(_:)``.
    ///
    /// - Parameter completion: called once if this returns true, on the router's loop, perhaps before this returns.
    /// - Returns: false, with nothing begun, when the command is not of the simple kind.
    public func beginInsert(_ command: ClientCommand, completion: @escaping (SingleInsertOutcome) -> Void) -> Bool {
        guard command.name == "insert", command.sequences.count == 1, command.sequences[0].name == "documents",
            command.sequences[0].documents.count == 1, let namespace = namespace(ofSimple: command),
            let descriptor = shardMap[namespace], !descriptor.isView,
            CatalogCollections.descriptor(of: namespace) == nil,
            command.sequences[0].documents[0].byteCount <= Router.documentBytesMax,
            let (document, id, _) = try? withID(command.sequences[0].documents[0])
        else { return false }
        // Chunks cover every slot, an invariant of descriptors.
        let group = Targeting.group(of: id, in: descriptor)
        let stamp = command.session ?? command.routersStamp ?? takeSession()
        let deadline = command.deadline ?? clock.nanoseconds + options.commandNanoseconds
        let request = GroupRequest(
            .insert, collection: descriptor.id, epoch: descriptor.epoch, session: stamp, statementIDs: [0],
            documents: [document])
        start(Question(GroupID(group), request, descriptor), deadline: deadline) { [self] result in
            let outcome: SingleInsertOutcome
            do throws(CommandFailure) {
                outcome = .reply(try Router.insertReply(result.reply()))
            } catch {
                switch error {
                case .stale:
                    // The same document under the same number: an earlier try may have been carried out.
                    var again = command
                    again.sequences[0].documents[0] = document
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
        return true
    }

    /// The collection that the command names, if the command has no field that needs a closer look.
    private func namespace(ofSimple command: ClientCommand) -> Namespace? {
        var collection: String?
        for element in command.body {
            switch element.name.string {
            case "insert":
                guard case .string(let name) = element.value else { return nil }
                collection = name.string
            case "$db", "lsid", "txnNumber", "$clusterTime": continue
            case "ordered":
                guard case .bool = element.value else { return nil }
            default: return nil
            }
        }
        guard let collection else { return nil }
        return Namespace(trusted: command.database, collection)
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

    private static let insertedOne: Document = ["n": 1, "ok": 1.0]
}
