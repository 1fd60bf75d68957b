import CairnBSON
import CairnQuery
import CairnSharding

/// `profile`: what of a database's operations this node writes down.
enum ProfileCommand {
    static var all: [Command] {
        [
            .local("profile", "sets or reads what this node writes down of a database's operations") {
                try profile($0, $1)
            }
        ]
    }

    private static func profile(_ invocation: Invocation, _ node: isolated NodeLoop) throws -> Document {
        guard let level = invocation.argument?.int64Exactly, (-1...2).contains(level) else {
            throw QueryError(.badValue, "profile takes a level of 0, 1 or 2, or -1 to read what is set")
        }
        var change = Profiler.Change()
        if level >= 0 { change.level = Int(level) }
        if let value = invocation.body["slowms"], !value.isNullish {
            guard let slow = value.int64Exactly, (-1...Int64(Int32.max)).contains(slow) else {
                throw QueryError(.badValue, "'slowms' must be a number of milliseconds")
            }
            change.slowMilliseconds = slow
        }
        if let value = invocation.body["sampleRate"], !value.isNullish {
            guard let rate = value.numericDouble, (0...1).contains(rate) else {
                throw QueryError(.badValue, "'sampleRate' must be between 0.0 and 1.0 inclusive")
            }
            change.sampleRate = rate
        }
        switch invocation.body["filter"] {
        case nil, .null?, .undefined?: break
        case .string(let text)? where text == "unset": change.filter = .unset
        case .document(let filter)?: change.filter = .set(try Filter(parsing: filter))
        default: throw QueryError(.badValue, "Expected an object, or the string 'unset'.")
        }
        return try node.shared.profiler.apply(change, to: invocation.database)
    }
}
