import CairnBSON
import CairnQuery
import CairnWire

/// One field that a command takes: its name, the types that its value may have, and whether the Stable API has it.
struct CommandField: Sendable {
    /// What a value has to be. MongoDB passes over null, whatever it expects.
    enum Kind: Sendable {
        /// Whatever the command itself makes of it.
        case any
        /// The name of a collection, in the command's own field.
        case collection
        case string, object, array, bool, long
        /// A truth value, for which numbers stand in.
        case flag
        case number
        /// An array of documents with fields of their own: the statements of a write.
        case statements([CommandField])
    }

    let name: String
    let kind: Kind
    /// Whether `apiStrict` lets it pass.
    let isStable: Bool

    init(_ name: String, _ kind: Kind = .any, isStable: Bool = true) {
        self.name = name
        self.kind = kind
        self.isStable = isStable
    }
}

extension CommandField.Kind {
    func accepts(_ type: BSONType) -> Bool {
        if type == .null || type == .undefined { return true }
        return switch self {
        case .any: true
        case .string, .collection: type == .string
        case .object: type == .document
        case .array, .statements: type == .array
        case .bool: type == .bool
        case .long: type == .int64
        case .flag: type == .bool || type.isNumber
        case .number: type.isNumber
        }
    }

    /// The types as MongoDB's message names them, its odd apostrophes included.
    private var expectation: String {
        switch self {
        case .any: "any type"
        case .string, .collection: "expected type 'string'"
        case .object: "expected type 'object'"
        case .array, .statements: "expected type 'array'"
        case .bool: "expected type 'bool'"
        case .long: "expected type 'long'"
        case .flag: "expected types '[bool, long, int, decimal, double']"
        case .number: "expected types '[long, int, decimal, double']"
        }
    }

    func refusal(of type: BSONType, in path: String) -> QueryError {
        if case .collection = self {
            return QueryError(.invalidNamespace, "collection name has invalid type \(type.alias)")
        }
        return QueryError(
            .typeMismatch, "BSON field '\(path)' is the wrong type '\(type.alias)', \(expectation)")
    }
}

/// The fields that one command takes. What is not among them is refused, as MongoDB does, so that a mistyped option
/// never passes for one that was obeyed.
struct CommandFields: Sendable {
    /// In the order in which they are documented; the first is the command's own.
    let fields: [CommandField]
    /// Whether unknown fields are passed over: of commands whose fields are the names of what they ask for, and of those that
    /// drivers of every age send before they know what they talk to.
    let isOpen: Bool
    /// Whether the command itself is part of the Stable API, version 1.
    let isStable: Bool
    private let byName: [BSONString: CommandField]
    private let statements: [BSONString: [BSONString: CommandField]]

    init(_ fields: [CommandField], isOpen: Bool = false, isStable: Bool = false) {
        self.fields = fields
        self.isOpen = isOpen
        self.isStable = isStable
        func table(_ fields: [CommandField]) -> [BSONString: CommandField] {
            Dictionary(uniqueKeysWithValues: fields.map { (BSONString($0.name), $0) })
        }
        byName = table(fields)
        statements = Dictionary(
            uniqueKeysWithValues: fields.compactMap { field in
                if case .statements(let inner) = field.kind { (BSONString(field.name), table(inner)) } else { nil }
            })
    }

    /// Looks at each field of a command once.
    ///
    /// - Parameters:
    ///   - name: the command, as messages name it.
    ///   - sequences: document sequences, which stand for arrays of the body.
    ///   - isStrict: whether only what the Stable API has may pass.
    /// - Throws: code 40415 for an unknown field, 14 for a value of the wrong type, 323 for a field that is not in the Stable
    ///   API.
    func check(
        _ body: Document, _ sequences: [OpMsg.Sequence], of name: String, isStrict: Bool
    ) throws(QueryError) {
        var isFirst = true
        for element in body {
            let fieldName = element.name
            // The command's own field may be spelt in an older way.
            let field = isFirst ? fields.first : byName[fieldName]
            isFirst = false
            guard let field else {
                if isOpen || GenericArguments.names.contains(fieldName) { continue }
                throw Self.unknown("\(name).\(fieldName)")
            }
            let type = element.type
            guard field.kind.accepts(type) else {
                throw field.kind.refusal(of: type, in: "\(name).\(field.name)")
            }
            if isStrict, !field.isStable {
                throw QueryError(
                    .apiStrictError, "BSON field '\(name).\(field.name)' is not allowed with apiStrict:true.")
            }
            if case .statements = field.kind, case .array(let array) = element.value {
                for case .document(let statement) in array {
                    try check(statement, "\(name).\(field.name)", statements[fieldName]!)
                }
            }
        }
        for sequence in sequences {
            let fieldName = BSONString(sequence.name)
            guard let field = byName[fieldName] else {
                if isOpen { continue }
                throw Self.unknown("\(name).\(fieldName)")
            }
            switch field.kind {
            case .statements:
                for statement in sequence.documents {
                    try check(statement, "\(name).\(field.name)", statements[fieldName]!)
                }
            case .array, .any: continue
            default: throw field.kind.refusal(of: .array, in: "\(name).\(field.name)")
            }
        }
    }

    private func check(
        _ statement: Document, _ path: @autoclosure () -> String, _ table: [BSONString: CommandField]
    ) throws(QueryError) {
        for element in statement {
            let fieldName = element.name
            guard let field = table[fieldName] else { throw Self.unknown("\(path()).\(fieldName)") }
            let type = element.type
            guard field.kind.accepts(type) else { throw field.kind.refusal(of: type, in: "\(path()).\(field.name)") }
        }
    }

    static func unknown(_ path: String) -> QueryError {
        QueryError(.unknownField, "BSON field '\(path)' is an unknown field.")
    }
}
