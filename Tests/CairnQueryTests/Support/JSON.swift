import CairnBSON
import CairnQuery
import Testing

/// A document from relaxed JSON, in which single quotes stand for double ones.
func json(_ text: String) -> Document {
    do {
        return try ExtendedJSON.document(from: text.replacing("'", with: "\""))
    } catch {
        preconditionFailure("\(text): \(error)")
    }
}

func jsonValue(_ text: String) -> Value {
    guard let value = json("{'v': \(text)}")["v"] else { preconditionFailure(text) }
    return value
}

func matches(_ filter: String, _ document: String) throws -> Bool {
    try Filter(parsing: json(filter)).matches(json(document))
}

/// The code that a piece of the query language refuses with.
func code(_ body: () throws -> Void) -> ErrorCode? {
    do {
        try body()
        return nil
    } catch let error as QueryError {
        return error.code
    } catch {
        return .unknownError
    }
}

func evaluate(_ expression: String, on document: String = "{}") throws -> Value? {
    try Expression(parsing: jsonValue(expression)).evaluate(json(document))
}

func updated(_ document: String, _ update: String, filter: String = "{}", arrayFilters: [String] = []) throws
    -> Document
{
    let update = try Update(parsing: jsonValue(update), arrayFilters: arrayFilters.map(json))
    let filter = try Filter(parsing: json(filter))
    let document = json(document)
    let index = try update.positionalPath.flatMap { try filter.matchedArrayIndex(in: document, arrayPath: $0) }
    return try update.apply(to: document, matchedIndex: index).document
}

func run(_ stages: [String], over documents: [String]) throws -> [Document] {
    try Pipeline(parsing: stages.map(json)).makeExecutor().run(documents.map(json))
}
