extension ExpressionOperators {
    static let arrays: [String: Parse] = [:]
    static let sets: [String: Parse] = [:]
    static let strings: [String: Parse] = [:]
    static let objects: [String: Parse] = [:]
    static let types: [String: Parse] = [:]
    static let dates: [String: Parse] = [:]
    static let accumulating: [String: Parse] = [:]
}
public struct Pipeline: Sendable { static let stageNames: Set<String> = [] }
