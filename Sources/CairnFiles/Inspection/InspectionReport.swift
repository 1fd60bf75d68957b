/// What an inspection says, line by line, and the damage that it met.
///
/// Inspectors read the formats of a data directory for people. They open files for reading only, take no lock and make
/// nothing, so they may run beside a node; what such a node removes or rewrites at that moment is not damage. They go on
/// behind damage as far as the format allows.
public struct InspectionReport {
    /// All damage so far, in the order in which it was met.
    public private(set) var damages: [InspectedDamage] = []
    /// What was read and found whole.
    public private(set) var checked = InspectedAmount()
    private var depth = 0
    private let write: (String) -> Void
    private let noteChecked: (UInt64) -> Void

    /// - Parameters:
    ///   - noteChecked: Hears of each piece that was found whole, with its bytes, for those who show how far it is.
    ///   - write: Takes each line as it comes, without its end.
    public init(noteChecked: @escaping (UInt64) -> Void = { _ in }, write: @escaping (String) -> Void) {
        self.noteChecked = noteChecked
        self.write = write
    }

    /// Counts a block or a record that is whole.
    public mutating func check(bytes: UInt64) {
        checked.blocks += 1
        checked.bytes += bytes
        noteChecked(bytes)
    }

    public mutating func line(_ text: String) {
        write(String(repeating: " ", count: 2 * depth) + text)
    }

    /// Facts below each other, their names in a column.
    public mutating func facts(_ facts: KeyValuePairs<String, String?>) {
        let width = facts.map { $0.key.count }.max() ?? 0
        for (name, fact) in facts {
            guard let fact else { continue }
            line(name + String(repeating: " ", count: width - name.count) + "  " + fact)
        }
    }

    /// Lets the lines of `body` stand further to the right.
    public mutating func indented<Failure: Error>(
        _ body: (inout InspectionReport) throws(Failure) -> Void
    ) throws(Failure) {
        depth += 1
        defer { depth -= 1 }
        try body(&self)
    }

    /// Keeps back what `body` says until `isOutdated` has looked at it; false when that threw it away.
    ///
    /// For what changes while it is looked at: a second look tells damage from a running node's work.
    public mutating func tentatively<Failure: Error>(
        _ body: (inout InspectionReport) throws(Failure) -> Void,
        unless isOutdated: ([InspectedDamage]) throws(Failure) -> Bool
    ) throws(Failure) -> Bool {
        let lines = KeptLines()
        var attempt = InspectionReport { lines.all.append($0) }
        try body(&attempt)
        if try isOutdated(attempt.damages) { return false }
        for text in lines.all { line(text) }
        damages += attempt.damages
        return true
    }

    /// Notes damage and says so.
    public mutating func damage(_ damage: InspectedDamage) {
        damages.append(damage)
        line("DAMAGE \(damage)")
    }

    public mutating func damage(_ path: String, at offset: UInt64? = nil, _ reason: String) {
        damage(InspectedDamage(path: path, offset: offset, reason: reason))
    }

    /// Notes what kept a file from being read.
    public mutating func damage(_ error: FileError) {
        let reason = error.reason.isEmpty ? "\(error.operation.rawValue): \(error.code.rawValue)" : error.reason
        damage(error.path, at: error.offset, reason)
    }
}

/// How much of a file was checked.
public struct InspectedAmount: Hashable, Sendable {
    /// Blocks of tables, records of logs, and small files as one block.
    public var blocks: UInt64 = 0
    public var bytes: UInt64 = 0

    public init() {}
}

/// Lines that wait to be shown.
private final class KeptLines {
    var all: [String] = []
}

/// Bytes that are not what was written, or that cannot be read.
public struct InspectedDamage: Hashable, Sendable, CustomStringConvertible {
    public var path: String
    /// The first bad byte, or the start of the checksummed piece that has it; nil when the whole file is meant.
    public var offset: UInt64?
    public var reason: String

    public init(path: String, offset: UInt64?, reason: String) {
        self.path = path
        self.offset = offset
        self.reason = reason
    }

    public var description: String {
        path + (offset.map { " at offset \($0)" } ?? "") + ": " + reason
    }
}

/// How much an inspection shows.
public struct InspectionOptions: Sendable {
    /// Also the keys of tables, and the operations of batches.
    public var showsKeys = false
    /// The most lines of any one list; nil shows all. Whatever is not shown is still read and checked.
    public var linesMax: Int? = 20
    /// When a directory is looked at: also every block of its tables, where otherwise their ends are read.
    public var readsEveryBlock = false
    /// A key in words. Whoever knows what keys mean says it here.
    public var describeKey: @Sendable (ArraySlice<UInt8>) -> String = { InspectionText.bytes($0) }
    /// What a log entry's payload says: one line, and more if keys are shown.
    public var describePayload: @Sendable (_ payload: ArraySlice<UInt8>, _ showsKeys: Bool) -> [String] = { _, _ in [] }

    public init() {}
}

/// A list of which only the first lines are shown.
public struct InspectionList {
    private let linesMax: Int
    /// All that was added, shown or not.
    public private(set) var count = 0

    public init(_ options: InspectionOptions) {
        linesMax = options.linesMax ?? .max
    }

    /// Counts one more thing; `text` is asked for only if it is shown.
    public mutating func add(to report: inout InspectionReport, _ text: @autoclosure () -> String) {
        if showsNext { report.line(text()) }
        count += 1
    }

    /// Counts one more thing that the caller shows, or does not show.
    public mutating func note() { count += 1 }

    /// Whether what is added next will be shown.
    public var showsNext: Bool { count < linesMax }

    /// Says how many were not shown.
    public func finish(_ report: inout InspectionReport) {
        if count > linesMax { report.line("… and \(count - linesMax) more (--limit)") }
    }
}

/// Bytes and numbers for people.
public enum InspectionText {
    /// Text in quotes where all of `bytes` is printable ASCII, otherwise hexadecimal digits; the first 64 bytes.
    public static func bytes(_ bytes: ArraySlice<UInt8>) -> String {
        let shown = bytes.prefix(64)
        let rest = bytes.count > shown.count ? "… (\(bytes.count) bytes)" : ""
        if shown.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) {
            return "\"" + String(decoding: shown, as: UTF8.self) + "\"" + rest
        }
        return hexadecimal(shown) + rest
    }

    /// Two digits a byte.
    public static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
        var text = ""
        for byte in bytes { text += (byte < 16 ? "0" : "") + String(byte, radix: 16) }
        return text
    }

    /// Sixteen digits, as a file's id is written.
    public static func fileID(_ id: UInt64) -> String {
        let digits = String(id, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// "164 B", "1.2 GiB".
    public static func size(_ bytes: UInt64) -> String {
        guard bytes >= 1024 else { return "\(bytes) B" }
        let units = ["KiB", "MiB", "GiB", "TiB"]
        var tenths = bytes / 1024 * 10 + bytes % 1024 * 10 / 1024
        var unit = 0
        while tenths >= 10_240, unit < units.count - 1 {
            tenths /= 1024
            unit += 1
        }
        return tenths < 1000 ? "\(tenths / 10).\(tenths % 10) \(units[unit])" : "\(tenths / 10) \(units[unit])"
    }

    /// "1 edit", "2 edits".
    public static func count(_ number: some BinaryInteger, _ noun: String) -> String {
        "\(number) \(noun)\(number == 1 ? "" : "s")"
    }
}
