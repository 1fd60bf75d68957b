import CairnBSON
import CairnQuery
import CairnStorage

extension Query {
    /// Tells how a command would find its documents, and with `executionStats` finds them to count.
    func explain() throws -> GroupReply {
        guard let command = request.body["command"]?.asDocument, let first = command.first else {
            throw QueryError(.failedToParse, "explain needs a command")
        }
        let verbosity = request.body["verbosity"]?.stringValue ?? "allPlansExecution"
        let name = first.name.string
        let given = first.value.asDocument ?? command
        let arguments: FindArguments
        let stream: QueryStream
        if name == "aggregate" {
            stream = try aggregateSource(given).source
            arguments = FindArguments(filter: stream.filter.source)
        } else {
            arguments = try explained(name, given)
            stream = try QueryStream(
                view: makeView(), collection: collection, arguments: arguments, context: queryContext(),
                options: options)
        }

        var body = DocumentBuilder()
        body.append("explainVersion", "1")
        body.appendDocument("queryPlanner") { planner in
            planner.append("namespace", collection.descriptor.namespace)
            planner.append("parsedQuery", arguments.filter)
            planner.append("indexFilterSet", false)
            planner.append("maxIndexedOrSolutionsReached", false)
            planner.append("winningPlan", winningPlan(name, arguments, stream.plan))
            planner.append("rejectedPlans", BSONArray())
        }
        if verbosity != "queryPlanner" {
            var returned: Int64 = 0
            if name == "count" {
                returned = Int64(try stream.count())
            } else {
                while try stream.next() != nil { returned += 1 }
            }
            body.appendDocument("executionStats") { statistics in
                statistics.append("executionSuccess", true)
                statistics.append("nReturned", returned)
                // The core reads no clock.
                statistics.append("executionTimeMillis", Int32(0))
                statistics.append("totalKeysExamined", Int64(stream.source.keysExamined))
                statistics.append("totalDocsExamined", Int64(stream.source.documentsExamined))
                statistics.append(
                    "executionStages", winningPlan(name, arguments, stream.plan, spillCount: stream.spillCount))
            }
        }
        return GroupReply(body: body.finish())
    }

    /// What a command would search for.
    private func explained(_ name: String, _ command: Document) throws -> FindArguments {
        switch name {
        case "find", "count", "distinct", "findAndModify", "findandmodify":
            var arguments = try FindArguments(command)
            if name == "findAndModify" || name == "findandmodify" { arguments.limit = 1 }
            return arguments
        case "update", "delete":
            let statements = command[name == "update" ? "updates" : "deletes"]?.asArray
            guard let statement = statements?[0]?.asDocument ?? (command["q"] == nil ? nil : command) else {
                throw QueryError(.failedToParse, "explain of \(name) needs a statement")
            }
            return try FindArguments(statement.removing("limit"))
        default: throw QueryError(.commandNotFound, "Explain failed due to unknown command: \(name)")
        }
    }

    /// The stages of a plan, the last one outermost, as MongoDB shows them.
    ///
    /// - Parameter spillCount: how often its sort went to the disk, once it was carried out.
    private func winningPlan(
        _ name: String, _ arguments: FindArguments, _ plan: Plan, spillCount: Int? = nil
    ) -> Document {
        var stage = accessStage(plan.access, arguments, countsByKeys: name == "count" && plan.isExact)
        func wrap(_ name: String, _ fields: [(String, Value)]) {
            stage = Document([("stage", Value(name))] + fields + [("inputStage", .document(stage))])
        }
        if let sort = arguments.sort, !sort.isEmpty, sort["$natural"] == nil, !plan.providesSort {
            var fields: [(String, Value)] = [
                ("sortPattern", .document(sort)), ("memLimit", Value(options.stageMemory.sortBytesMax)),
            ]
            if arguments.limit > 0 { fields.append(("limitAmount", Value(arguments.limit + arguments.skip))) }
            fields.append(("type", "simple"))
            if let spillCount {
                fields += [("usedDisk", .bool(spillCount > 0)), ("spills", .int64(Int64(spillCount)))]
            }
            wrap("SORT", fields)
        }
        if let projection = arguments.projection, !projection.isEmpty {
            wrap("PROJECTION_DEFAULT", [("transformBy", .document(projection))])
        }
        if arguments.skip > 0 { wrap("SKIP", [("skipAmount", Value(arguments.skip))]) }
        if arguments.limit > 0, name == "find" { wrap("LIMIT", [("limitAmount", Value(arguments.limit))]) }
        switch name {
        case "count": wrap("COUNT", [])
        case "update": wrap("UPDATE", [])
        case "delete": wrap("DELETE", [])
        default: break
        }
        return stage
    }

    /// - Parameter countsByKeys: whether index entries are counted, and no document is looked at.
    private func accessStage(_ access: Access, _ arguments: FindArguments, countsByKeys: Bool = false) -> Document {
        let filter: (String, Value) = ("filter", .document(arguments.filter))
        switch access {
        case .nothing: return ["stage": "EOF"]
        case .tail: return ["stage": "COLLSCAN", "direction": "forward"]
        case .collection(let descending):
            let direction: (String, Value) = ("direction", descending ? "backward" : "forward")
            return Document([("stage", "COLLSCAN")] + (arguments.filter.isEmpty ? [] : [filter]) + [direction])
        case .records(let keys) where keys.count == 1: return ["stage": "IDHACK"]
        case .records:
            let scan: Document = [
                "stage": "IXSCAN", "keyPattern": ["_id": 1], "indexName": "_id_", "isMultiKey": false,
                "isUnique": true, "direction": "forward",
            ]
            return Document([("stage", "FETCH"), ("inputStage", .document(scan))])
        case .index(let index, let bounds, let descending):
            var scan: Document = [
                "stage": countsByKeys ? "COUNT_SCAN" : "IXSCAN", "keyPattern": .document(bounds.keyPattern(of: index)),
                "indexName": Value(index.descriptor.name), "isMultiKey": .bool(index.isMultikey),
                "isUnique": .bool(index.descriptor.isUnique), "isSparse": .bool(index.descriptor.isSparse),
                "isPartial": .bool(index.descriptor.partialFilter != nil),
                "direction": descending ? "backward" : "forward", "indexBounds": .document(bounds.document),
            ]
            if let collation = index.collation { scan.set("collation", .document(collation.document)) }
            if countsByKeys { return scan }
            return Document(
                [("stage", "FETCH")] + (arguments.filter.isEmpty || bounds.isExact ? [] : [filter]) + [
                    ("inputStage", .document(scan))
                ])
        case .union(let accesses):
            let inputs = accesses.map { Value.document(accessStage($0, FindArguments.everything)) }
            return Document([("stage", "OR"), filter, ("inputStages", .array(BSONArray(inputs)))])
        }
    }
}

extension FindArguments {
    /// Asks for all documents.
    static let everything = FindArguments(filter: Document())

    init(filter: Document) { self.filter = filter }
}
