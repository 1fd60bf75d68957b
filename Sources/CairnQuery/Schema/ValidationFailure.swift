import CairnBSON

// Why a document does not pass a collection's validator, in the shape that MongoDB gives `errInfo.details`.
extension Filter {
    /// The `details` of a failed validation.
    public func failureDetails(for document: Document) -> Document {
        if case .schema(let schema) = node {
            return [
                "operatorName": "$jsonSchema",
                "schemaRulesNotSatisfied": .array(schema.violations(of: .document(document))),
            ]
        }
        return [
            "operatorName": .text(source.first?.name.string ?? "$and"), "specifiedAs": .document(source),
            "reason": "comparison failed",
        ]
    }
}

extension SchemaNode {
    /// One entry for each rule that the value breaks.
    func violations(of value: Value) -> BSONArray {
        var entries: [Value] = []
        for rule in rules where !rule.check.holds(for: value) { entries.append(.document(rule.violation(by: value))) }
        return BSONArray(entries)
    }
}

extension SchemaNode.Rule {
    fileprivate func violation(by value: Value) -> Document {
        var builder = DocumentBuilder()
        builder.append("operatorName", keyword)
        switch check {
        case .properties(let properties):
            var broken: [Value] = []
            for (name, schema) in properties {
                guard let inner = value.asDocument?[name], !schema.isValid(inner) else { continue }
                var entry = DocumentBuilder()
                entry.append("propertyName", .string(name))
                if let summary = schema.summary { entry.append("description", summary) }
                entry.append("details", schema.violations(of: inner))
                broken.append(.document(entry.finish()))
            }
            builder.append("propertiesNotSatisfied", BSONArray(broken))
            return builder.finish()
        case .required(let names):
            builder.append("specifiedAs", Document([(keyword, operand)]))
            let missing = names.filter { value.asDocument?.element(named: $0) == nil }
            builder.append("missingProperties", BSONArray(missing.map(Value.string)))
            return builder.finish()
        case .additionalProperties:
            builder.append("specifiedAs", Document([(keyword, operand)]))
            builder.append("additionalProperties", BSONArray(check.additionalNames(of: value).map(Value.string)))
            return builder.finish()
        default: break
        }
        builder.append("specifiedAs", Document([(keyword, operand)]))
        let reason =
            switch check {
            case .types: "type did not match"
            case .oneOf: "value was not found in enum"
            case .maximum, .minimum: "comparison failed"
            case .multipleOf: "considered value is not a multiple of the specified value"
            case .maximumLength, .minimumLength: "specified string length was not satisfied"
            case .pattern: "regular expression did not match"
            case .maximumItems, .minimumItems: "array did not match specified length"
            case .uniqueItems: "found a duplicate item"
            case .items, .itemsByPosition: "At least one item did not match the sub-schema"
            case .maximumProperties, .minimumProperties: "specified number of properties was not satisfied"
            case .not: "child expression matched"
            default: "schema did not match"
            }
        builder.append("reason", reason)
        switch value {
        case .document, .array: break
        default: builder.append("consideredValue", value)
        }
        if case .types = check { builder.append("consideredType", value.type.alias) }
        return builder.finish()
    }
}
