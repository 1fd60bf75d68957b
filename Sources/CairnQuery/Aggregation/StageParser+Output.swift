import CairnBSON

// `$out` and `$merge`.
extension StageParser {
    func out(_ value: Value) throws(QueryError) -> PipelineOutput {
        let output: PipelineOutput
        switch value {
        case .string(let name): output = .replace(database: nil, collection: name.string)
        case .document(let document):
            for element in document where !["db", "coll"].contains(element.name.string) {
                if element.name == "timeseries" {
                    throw QueryError(.notImplemented, "$out into a time series collection is not supported")
                }
                throw QueryError(.unknownField, "BSON field '$out.\(element.name)' is an unknown field.")
            }
            output = .replace(
                database: try required("db", of: document, "$out"),
                collection: try required("coll", of: document, "$out")
            )
        default:
            throw QueryError(
                ErrorCode(16990), "$out only supports a string or object argument, but found \(value.type.alias)")
        }
        guard case .replace(let database, let collection) = output else { return output }
        guard !collection.isEmpty else {
            throw QueryError(.invalidNamespace, "Invalid $out target namespace, '\(collection)'")
        }
        guard !collection.hasPrefix("system.") else {
            throw QueryError(ErrorCode(17385), "Can't $out to special collection: \(collection)")
        }
        if let database, ["admin", "config", "local"].contains(database) {
            throw QueryError(ErrorCode(31321), "Can't $out to internal database: \(database)")
        }
        return output
    }

    func merge(_ value: Value) throws(QueryError) -> PipelineOutput {
        let document: Document
        switch value {
        case .string: document = ["into": value]
        case .document(let given): document = given
        default:
            throw QueryError(
                .typeMismatch, "$merge requires a string or object argument, but found \(value.type.alias)")
        }
        for element in document
        where !["into", "on", "let", "whenMatched", "whenNotMatched"].contains(element.name.string) {
            throw QueryError(.unknownField, "BSON field '$merge.\(element.name)' is an unknown field.")
        }
        let target = try mergeTarget(document["into"])
        let on = try mergeFields(document["on"])
        let whenMatched = try whenMatched(document["whenMatched"])
        let whenNotMatched = try whenNotMatched(document["whenNotMatched"])
        switch (whenMatched, whenNotMatched) {
        case (.keepExisting, .discard), (.keepExisting, .fail), (.fail, .discard), (.fail, .fail):
            throw QueryError(
                ErrorCode(51181),
                "Combination of $merge modes 'whenMatched: \(document["whenMatched"] ?? "merge")' and "
                    + "'whenNotMatched: \(whenNotMatched.rawValue)' is not supported")
        default: break
        }
        return .merge(
            MergeSpecification(
                database: target.database, collection: target.collection, on: on.map(\.string),
                whenMatched: whenMatched, whenNotMatched: whenNotMatched, onPaths: on,
                variables: try mergeVariables(document["let"], whenMatched), constants: context.variables))
    }

    private func mergeTarget(_ value: Value?) throws(QueryError) -> (database: String?, collection: String) {
        let target: (database: String?, collection: String)
        switch value {
        case nil:
            throw QueryError(.missingRequiredField, "BSON field '$merge.into' is missing but a required field")
        case .string(let name)?: target = (nil, name.string)
        case .document(let into)?:
            for element in into where !["db", "coll"].contains(element.name.string) {
                throw QueryError(.unknownField, "BSON field '$merge.into.\(element.name)' is an unknown field.")
            }
            target = (
                try into["db"] == nil ? nil : required("db", of: into, "$merge.into"),
                try required("coll", of: into, "$merge.into")
            )
        case let other?:
            throw QueryError(
                ErrorCode(51178),
                "$merge 'into' field must be either a string or an object, but found \(other.type.alias)")
        }
        guard !target.collection.isEmpty else {
            throw QueryError(.invalidNamespace, "Invalid $merge target namespace: '\(target.collection)'")
        }
        if let database = target.database, ["admin", "config", "local"].contains(database) {
            throw QueryError(ErrorCode(31320), "Cannot $merge to internal database: \(database)")
        }
        guard !target.collection.hasPrefix("system.") else {
            throw QueryError(ErrorCode(31319), "Cannot $merge to special collection: \(target.collection)")
        }
        return target
    }

    private func mergeFields(_ value: Value?) throws(QueryError) -> [FieldPath] {
        var paths: [FieldPath] = []
        switch value {
        case nil: return [try ExpressionParser.fieldPath("_id")]
        case .string(let name)?: paths.append(try ExpressionParser.fieldPath(name.string))
        case .array(let array)?:
            guard !array.isEmpty else {
                throw QueryError(
                    ErrorCode(51187), "If explicitly specifying $merge 'on', must include at least one field")
            }
            for element in array {
                guard let name = element.asString?.string else {
                    throw QueryError(
                        ErrorCode(51134),
                        "$merge 'on' array elements must be strings, but found \(element.type.alias)")
                }
                let path = try ExpressionParser.fieldPath(name)
                guard !paths.contains(path) else {
                    throw QueryError(ErrorCode(31465), "Found a duplicate field in the $merge.on list: '\(name)'")
                }
                paths.append(path)
            }
        case let other?:
            throw QueryError(
                ErrorCode(51186),
                "$merge 'on' field  must be either a string or an array of strings, but found \(other.type.alias)")
        }
        return paths
    }

    private func whenMatched(_ value: Value?) throws(QueryError) -> MergeSpecification.WhenMatched {
        switch value {
        case nil: return .merge
        case .array(let array)?: return .pipeline(try pipeline(.array(array), "$merge"))
        case .string(let name)?:
            switch name.string {
            case "replace": return .replace
            case "keepExisting": return .keepExisting
            case "merge": return .merge
            case "fail": return .fail
            default:
                throw QueryError(
                    .badValue, "Enumeration value '\(name)' for field '$merge.whenMatched' is not a valid value.")
            }
        case let other?:
            throw QueryError(
                ErrorCode(51191),
                "$merge 'whenMatched' field  must be either a string or an array, but found \(other.type.alias)")
        }
    }

    private func whenNotMatched(_ value: Value?) throws(QueryError) -> MergeSpecification.WhenNotMatched {
        guard let value else { return .insert }
        guard let name = value.asString?.string else {
            throw QueryError(
                .typeMismatch,
                "BSON field '$merge.whenNotMatched' is the wrong type '\(value.type.alias)', expected type 'string'")
        }
        guard let mode = MergeSpecification.WhenNotMatched(rawValue: name) else {
            throw QueryError(
                .badValue, "Enumeration value '\(name)' for field '$merge.whenNotMatched' is not a valid value.")
        }
        return mode
    }

    /// The variables of `let`, after a parse of the update that may name them.
    private func mergeVariables(
        _ value: Value?, _ whenMatched: MergeSpecification.WhenMatched
    ) throws(QueryError) -> [(name: String, value: ExpressionProgram)] {
        guard case .pipeline(let stages) = whenMatched else {
            guard value == nil else {
                throw QueryError(
                    ErrorCode(51199), "Cannot use 'let' variables with 'whenMatched: \(whenMatched)' mode")
            }
            return []
        }
        var variables: [(name: String, value: ExpressionProgram)] = []
        var scope = VariableScope(context)
        switch value {
        case nil: break
        case .document(let bindings)?:
            for element in bindings {
                if element.name == "new" {
                    guard element.value == "$$ROOT" else {
                        throw QueryError(
                            ErrorCode(51273),
                            "'let' may not define a value for the reserved 'new' variable other than '$$ROOT'")
                    }
                    continue
                }
                try VariableScope.checkUserName(element.name.string)
                variables.append((element.name.string, try ExpressionProgram(parsing: element.value, scope: &scope)))
            }
        case let other?:
            throw QueryError(
                .typeMismatch,
                "BSON field '$merge.let' is the wrong type '\(other.type.alias)', expected type 'object'")
        }
        var bound = context
        bound.variables += variables.map { ($0.name, .null) } + [("new", .document(Document()))]
        _ = try Update(parsing: .array(BSONArray(stages.map(Value.document))), context: bound)
        return variables
    }

    private func required(_ field: String, of document: Document, _ name: String) throws(QueryError) -> String {
        guard let value = document[field] else {
            throw QueryError(.missingRequiredField, "BSON field '\(name).\(field)' is missing but a required field")
        }
        guard let text = value.asString?.string else {
            throw QueryError(
                .typeMismatch,
                "BSON field '\(name).\(field)' is the wrong type '\(value.type.alias)', expected type 'string'")
        }
        return text
    }
}
