/// What one thing does when clients take turns: the yardstick for what it may do when they do not.
public protocol SequentialModel {
    associatedtype State: Hashable
    associatedtype Input
    associatedtype Output

    /// The state before the first operation.
    static var initial: State { get }

    /// The state after an operation that took effect in `state`; nil if it cannot have had this output there.
    ///
    /// - Parameter output: nil for an operation whose answer nobody saw, which may have had any.
    static func step(_ state: State, _ input: Input, _ output: Output?) -> State?
}

/// One operation of a client, and when it began and ended by the order in which things happened.
public struct RecordedOperation<Input, Output> {
    public let client: Int
    public let input: Input
    /// Nil when no answer came: the operation may take effect at any time after it began, or never.
    public internal(set) var output: Output?
    public let began: Int
    /// Nil together with ``output``.
    public internal(set) var ended: Int?

    public init(client: Int, _ input: Input, _ output: Output?, began: Int, ended: Int?) {
        precondition((output == nil) == (ended == nil), "an answer has a time and a time an answer")
        precondition(ended.map { $0 > began } ?? true, "an operation ends after it began")
        self.client = client
        self.input = input
        self.output = output
        self.began = began
        self.ended = ended
    }
}

extension RecordedOperation: CustomStringConvertible {
    public var description: String {
        guard let output, let ended else { return "[\(began), …] client \(client): \(input), no answer" }
        return "[\(began), \(ended)] client \(client): \(input) → \(output)"
    }
}
