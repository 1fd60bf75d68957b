import Foundation

/// How an operation went; the names are those of the rig's `history.py`.
enum Outcome: String {
    /// The answer came and says what happened.
    case ok
    /// It is certain that nothing happened.
    case failed
    /// Whether it happened is not known and never will be.
    case unknown
}

/// An argument or an answer in a history.
enum HistoryValue: Encodable, Hashable, Sendable {
    case none
    case flag(Bool)
    case number(Int)
    case text(String)
    case list([HistoryValue])

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .none: try container.encodeNil()
        case .flag(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .text(let value): try container.encode(value)
        case .list(let values): try container.encode(values)
        }
    }
}

/// One call, with the moments of its beginning and its answer by the machine's monotonic clock.
struct Operation: Encodable {
    var client: String
    var name: String
    var key: String
    var argument: HistoryValue
    var result: HistoryValue
    var outcome: Outcome
    var began: Double
    var ended: Double
    var error: String

    /// An array, in the order of the fields in `history.py`.
    func encode(to encoder: any Encoder) throws {
        var fields = encoder.unkeyedContainer()
        for text in [client, name, key] { try fields.encode(text) }
        for value in [argument, result] { try fields.encode(value) }
        try fields.encode(outcome.rawValue)
        for moment in [began, ended] { try fields.encode(moment) }
        try fields.encode(error)
    }
}

/// Appends operations to a file as they end, a line each. One client's own.
final class HistoryRecorder {
    private let file: FileHandle
    private let encoder = JSONEncoder()

    init(path: String) throws {
        guard FileManager.default.createFile(atPath: path, contents: nil), let file = FileHandle(forWritingAtPath: path)
        else { throw Mistake("\(path) cannot be written") }
        self.file = file
    }

    /// The line is in the kernel when this returns, so that it is there however the process ends.
    func write(_ operation: Operation) throws {
        var line = try encoder.encode(operation)
        line.append(UInt8(ascii: "\n"))
        try file.write(contentsOf: line)
    }

    func close() throws { try file.close() }
}
