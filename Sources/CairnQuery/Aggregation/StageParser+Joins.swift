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
        guard collection == nil || !stages.contains(where: { Self.mentions(context.localVariables, in: $0) }) else {
            throw QueryError(.notImplemented, "$unionWith inside of $lookup cannot use the variables of its 'let'")
        }
        let inner = try Pipeline(parsing: stages, context: context, allowsInternal: false, depth: depth + 1)
        guard collection != nil || inner.startsWithDocuments else {
            throw QueryError(
                .failedToParse,
                "$unionWith stage without explicit collection must have a pipeline with $documents as first stage")
        }
        return [Self.step(name, value, .unionWith(collection: collection, pipeline: inner))]
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
            let whole = try Pipeline(parsing: stages, context: bound, allowsInternal: false, depth: depth + 1)
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
