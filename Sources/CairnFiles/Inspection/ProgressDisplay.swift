/// How far a long piece of work is, as text for the standard error: a bar that is drawn over itself on a terminal, a line
/// now and then elsewhere, as in a log.
///
/// It decides only what to write. The caller knows the time and writes it.
public struct ProgressDisplay: Sendable {
    private let total: UInt64
    private let isTerminal: Bool
    private var nextTenth: UInt64 = 1
    private var lastSeconds = 0.0
    private static let barColumns: UInt64 = 24

    /// - Parameter total: The bytes that all of the work is.
    public init(total: UInt64, isTerminal: Bool) {
        self.total = max(1, total)
        self.isTerminal = isTerminal
    }

    /// What to write when `done` bytes are behind, `seconds` after the start; nil when there is nothing new to say.
    ///
    /// On a terminal at most ten times a second; elsewhere with every tenth of the work, but at most every other second, so
    /// that short work says nothing.
    public mutating func update(done: UInt64, about name: String, seconds: Double) -> String? {
        let done = min(done, total)
        let amount = "\(InspectionText.size(done)) of \(InspectionText.size(total))"
        let percent = Int(Double(done) * 100 / Double(total))
        guard isTerminal else {
            guard Double(done) * 10 >= Double(nextTenth) * Double(total), seconds - lastSeconds >= 2 else { return nil }
            nextTenth = UInt64(Double(done) * 10 / Double(total)) + 1
            lastSeconds = seconds
            return "\(percent) %, \(amount), \(Int(seconds)) s\n"
        }
        guard seconds - lastSeconds >= 0.1 else { return nil }
        lastSeconds = seconds
        let filled = Int(Double(done) * Double(Self.barColumns) / Double(total))
        let bar =
            String(repeating: "#", count: filled) + String(repeating: ".", count: Int(Self.barColumns) - filled)
        let padding = String(repeating: " ", count: percent < 10 ? 2 : percent < 100 ? 1 : 0)
        return Self.erased + "[\(bar)] \(padding)\(percent) %  \(amount)  \(name.suffix(36))"
    }

    /// What to write before other text comes, and at the end.
    public var cleared: String { isTerminal ? Self.erased : "" }

    private static let erased = "\r\u{1B}[K"
}
