import CairnBSON

/// A command that `cairn bench command` sends again and again, with numbers of its own each time: `{"$random": N}` in it stands for a
/// whole number from 0 to N - 1.
struct BenchCommand: Sendable {
    let database: String
    private let template: Document
    private static let randomField = "$random"

    struct Malformed: Error, CustomStringConvertible {
        let description: String
    }

    /// - Parameter text: extended JSON.
    init(database: String, text: String) throws(Malformed) {
        self.database = database
        do throws(BSONError) {
            template = try ExtendedJSON.document(from: text)
        } catch {
            throw Malformed(description: "the command is no JSON: \(error)")
        }
        guard !template.isEmpty else { throw Malformed(description: "the command is empty") }
        try Self.check(.document(template))
    }

    private static func check(_ value: Value) throws(Malformed) {
        switch value {
        case .document(let document):
            for element in document {
                if element.name == randomField, element.value.int64Exactly.map({ $0 > 0 }) != true {
                    throw Malformed(description: "\(randomField) takes a whole number above 0")
                }
                try check(element.value)
            }
        case .array(let array): for element in array { try check(element) }
        default: return
        }
    }

    /// The command with numbers drawn from `generator`.
    func next(_ generator: inout SplitMix64) -> Document {
        guard case .document(let command) = Self.fill(.document(template), &generator) else { return template }
        return command
    }

    private static func fill(_ value: Value, _ generator: inout SplitMix64) -> Value {
        switch value {
        case .document(let document):
            if let bound = document[randomField]?.int64Exactly {
                return Value(Int64(generator.next() % UInt64(bound)))
            }
            var builder = DocumentBuilder(capacity: document.byteCount)
            for element in document { builder.append(element.name, fill(element.value, &generator)) }
            return .document(builder.finish())
        case .array(let array): return .array(BSONArray(array.map { fill($0, &generator) }))
        default: return value
        }
    }
}
