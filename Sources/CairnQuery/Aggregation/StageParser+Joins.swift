import CairnBSON

// Stages that bring in the documents of other collections.
extension StageParser {
    func unionWith(_ name: String, _ value: Value) throws(QueryError) -> [Pipeline.Step] {
        var collection: String?
        var stages: [Document] = []
        switch value {
        case .string(let text): collection = text.string
        case .document(let document):
            for element in document {
                switch element.name.string {
                case "coll":
                    guard let text = element.value.asString?.string else {
                        throw QueryError(
                            .typeMismatch,
                            "BSON field '$unionWith.coll' is the wrong type '\(element.value.type.alias)', expected type 'string'"
                        )
                    }
                    collection = text
                case "pipeline": stages = try pipeline(element.value, name)
                default: throw QueryError(.unknownField, "BSON field '$unionWith.\(element.name)' is an unknown field.")
                }
            }
        default:
            throw QueryError(
                .failedToParse,
                "the $unionWith stage specification must be an object or string, but found \(value.type.alias)")
        }
        let inner = try self.inner(stages, context, .union)
        guard collection != nil || inner.startsWithDocuments else {
            throw QueryError(
                .failedToParse,
                "$unionWith stage without explicit collection must have a pipeline with $documents as first stage")
        }
        return [Self.step(name, value, .unionWith(collection: collection, pipeline: inner))]
    }

    func graphLookup(_ value: Value) throws(QueryError) -> GraphLookupSpecification {
        guard case .document(let document) = value else {
            throw QueryError(
                .failedToParse,
                "the $graphLookup stage specification must be an object, but found \(value.type.alias)")
        }
        var texts: [String: String] = [:]
        var maxDepth: Int?
        var restriction: Document?
        for element in document {
            let name = element.name.string
            switch name {
            case "startWith": break
            case "maxDepth":
                guard element.value.isNumber else {
                    throw QueryError(
                        ErrorCode(40100), "maxDepth must be numeric, found type: \(element.value.type.alias)")
                }
                guard let number = element.value.numericDouble, number >= 0 else {
                    throw QueryError(
                        ErrorCode(40101), "maxDepth requires a nonnegative argument, found: \(element.value)")
                }
                guard let depth = element.value.intExactly else {
                    throw QueryError(
                        ErrorCode(40102), "maxDepth could not be represented as a long long: \(element.value)")
                }
                maxDepth = depth
            case "restrictSearchWithMatch":
                guard case .document(let filter) = element.value else {
                    throw QueryError(
                        ErrorCode(40185),
                        "restrictSearchWithMatch must be an object, found \(element.value.type.alias)")
                }
                _ = try Filter(parsing: filter, context: context)
                restriction = filter
            case "from", "as", "connectFromField", "connectToField", "depthField":
                guard let text = element.value.asString?.string else {
                    throw QueryError(
                        ErrorCode(40103),
                        "expected string as argument for \(name), found: \(element.value.type.alias)")
                }
                texts[name] = text
            default: throw QueryError(ErrorCode(40104), "Unknown argument to $graphLookup: \(name)")
            }
        }
        guard let start = document["startWith"], let from = texts["from"], let output = texts["as"],
            let connectFrom = texts["connectFromField"], let connectTo = texts["connectToField"]
        else {
            throw QueryError(
                ErrorCode(40105),
                "$graphLookup requires 'from', 'as', 'startWith', 'connectFromField', and 'connectToField' to be "
                    + "specified.")
        }
        var scope = VariableScope(context)
        return GraphLookupSpecification(
            collection: from, output: try ExpressionParser.fieldPath(output),
            startWith: try ExpressionProgram(parsing: start, scope: &scope),
            connectFrom: try ExpressionParser.fieldPath(connectFrom),
            connectTo: try ExpressionParser.fieldPath(connectTo), maxDepth: maxDepth,
            depthField: try texts["depthField"].map { (name) throws(QueryError) in try ExpressionParser.fieldPath(name)
            },
            restriction: restriction)
    }

    func lookup(_ value: Value) throws(QueryError) -> LookupSpecification {
        guard case .document(let document) = value else {
            throw QueryError(.failedToParse, "the $lookup specification must be an Object")
        }
        func text(_ name: String) throws(QueryError) -> String? {
            guard let value = document[name] else { return nil }
            guard let text = value.asString?.string else {
                throw QueryError(.failedToParse, "$lookup argument '\(name)' must be a string, found \(name): \(value)")
            }
            return text
        }
        for element in document {
            guard ["from", "as", "localField", "foreignField", "let", "pipeline"].contains(element.name.string) else {
                throw QueryError(.failedToParse, "unknown argument to $lookup: \(element.name)")
            }
        }
        guard let output = try text("as") else {
            throw QueryError(.failedToParse, "must specify 'as' field for a $lookup")
        }
        let from = try text("from")
        let local = try text("localField")
        let foreign = try text("foreignField")
        var fields: (local: FieldPath, foreign: FieldPath)?
        if let local, let foreign {
            fields = (try ExpressionParser.fieldPath(local), try ExpressionParser.fieldPath(foreign))
        } else if local != nil || foreign != nil {
            throw QueryError(
                .failedToParse, "$lookup requires both or neither of 'localField' and 'foreignField' to be specified")
        }
        var variables: [(name: String, value: ExpressionProgram)] = []
        if let bindings = document["let"] {
            guard case .document(let bindings) = bindings else {
                throw QueryError(
                    .failedToParse,
                    "$lookup argument 'let: \(bindings)' must be an object, is type \(bindings.type.alias)")
            }
            guard document.contains("pipeline") else {
                throw QueryError(.failedToParse, "$lookup with a 'let' argument must also specify 'pipeline'")
            }
            var scope = VariableScope(context)
            for element in bindings {
                try VariableScope.checkUserName(element.name.string)
                variables.append((element.name.string, try ExpressionProgram(parsing: element.value, scope: &scope)))
            }
        }
        var common: [Document] = []
        var correlated: [Document] = []
        var inner: Pipeline?
        if let value = document["pipeline"] {
            let stages = try pipeline(value, "$lookup")
            var bound = context
            bound.bindLocally(variables.map { ($0.name, .null) })
            let whole = try self.inner(stages, bound, .lookup)
            guard from != nil || whole.startsWithDocuments else {
                throw QueryError(.failedToParse, "must specify 'from' field for a $lookup")
            }
            common = commonStages(stages, hasFields: fields != nil, variables: variables.map(\.name))
            correlated = Array(stages.dropFirst(common.count))
            // Without anything that depends on the local document the answer is the foreign side's.
            if fields != nil || !correlated.isEmpty || from == nil { inner = whole }
        } else {
            guard from != nil else { throw QueryError(.failedToParse, "must specify 'from' field for a $lookup") }
            guard fields != nil else {
                throw QueryError(
                    .failedToParse,
                    "$lookup requires either 'pipeline' or both 'localField' and 'foreignField' to be specified")
            }
        }
        return LookupSpecification(
            collection: from, output: try ExpressionParser.fieldPath(output), fields: fields, variables: variables,
            common: common, correlated: correlated, inner: inner)
    }

    /// The leading stages that mean the same for every local document. An equality of fields applies before the
    /// pipeline, so then only filters may go in front of it.
    private func commonStages(_ stages: [Document], hasFields: Bool, variables: [String]) -> [Document] {
        // The collection's side knows the command's own variables and no others.
        let local = Set(variables).union(context.localVariables)
        var common: [Document] = []
        for stage in stages {
            guard let name = stage.first?.name else { break }
            if hasFields && name != "$match" { break }
            if name == "$documents" || Self.mentions(local, in: stage) { break }
            common.append(stage)
        }
        return common
    }

    /// Whether a string in the document names one of the variables. (A string that only looks so costs speed, not
    /// truth.)
    private static func mentions(_ names: Set<String>, in document: Document) -> Bool {
        guard !names.isEmpty else { return false }
        for element in document {
            switch element.value {
            case .string(let text):
                guard text.hasPrefix("$$") else { continue }
                if names.contains(String(text.string.dropFirst(2).prefix { $0 != "." })) { return true }
            case .document(let inner): if mentions(names, in: inner) { return true }
            case .array(let inner): if mentions(names, in: inner.document) { return true }
            default: break
            }
        }
        return false
    }
}
