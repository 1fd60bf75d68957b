import CairnBSON
import CairnQuery

/// Reading a command's arguments: the type or MongoDB's error that names the field.
extension Document {
    func string(_ name: String) throws(QueryError) -> String? {
        guard let value = self[name] else { return nil }
        guard case .string(let string) = value else { throw wrongType(name, value, "string") }
        return string.string
    }

    func nested(_ name: String) throws(QueryError) -> Document? {
        guard let value = self[name], value != .null else { return nil }
        guard case .document(let document) = value else { throw wrongType(name, value, "object") }
        return document
    }

    func list(_ name: String) throws(QueryError) -> BSONArray? {
        guard let value = self[name], value != .null else { return nil }
        guard case .array(let array) = value else { throw wrongType(name, value, "array") }
        return array
    }

    func integer(_ name: String) throws(QueryError) -> Int64? {
        guard let value = self[name], value != .null else { return nil }
        switch value {
        case .int32(let number): return Int64(number)
        case .int64(let number): return number
        case .double(let number):
            // A number beyond the range counts as the nearest that is in it, as MongoDB has it.
            if number.isNaN { return 0 }
            if number >= 9.2e18 { return .max }
            if number <= -9.2e18 { return .min }
            return Int64(number)
        case .decimal128:
            guard let whole = value.asInt64Exactly else { throw wrongType(name, value, "long") }
            return whole
        default: throw wrongType(name, value, "number")
        }
    }

    /// An integer that may not be negative.
    func count(_ name: String) throws(QueryError) -> Int64? {
        guard let number = try integer(name) else { return nil }
        guard number >= 0 else {
            throw QueryError(.badValue, "BSON field '\(name)' value must be >= 0, actual value '\(number)'")
        }
        return number
    }

    /// Whether a flag is set; numbers count as in MongoDB, 0 for false.
    func flag(_ name: String) -> Bool? {
        switch self[name] {
        case .bool(let flag): flag
        case .int32(let number): number != 0
        case .int64(let number): number != 0
        case .double(let number): number != 0
        default: nil
        }
    }

    private func wrongType(_ name: String, _ value: Value, _ expected: String) -> QueryError {
        QueryError(
            .typeMismatch,
            "BSON field '\(name)' is the wrong type '\(value.type.alias)', expected type '\(expected)'")
    }
}

extension BSONArray {
    /// The elements, all of which must be documents.
    func documents(of name: String) throws(QueryError) -> [Document] {
        var documents: [Document] = []
        for value in self {
            guard case .document(let document) = value else {
                throw QueryError(
                    .typeMismatch,
                    "BSON field '\(name)' has an element of the wrong type '\(value.type.alias)', expected type 'object'"
                )
            }
            documents.append(document)
        }
        return documents
    }
}
