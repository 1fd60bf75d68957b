import CairnBSON

/// The variables that an expression may name where it is being parsed.
///
/// What is known when a command is parsed (`$$NOW`, the command's `let`) becomes a constant in the compiled
/// expression. What `$let`, `$map` and their like bind gets a slot of the evaluation's frame.
struct VariableScope: Sendable {
    let context: QueryContext
    private var slots: [(name: String, slot: Int)] = []
    /// The slots that a frame needs for everything parsed so far in this scope.
    private(set) var slotCount = 0
    /// How deep the parser is in nested expressions.
    var depth = 0

    init(_ context: QueryContext) { self.context = context }

    enum Binding {
        case constant(Value?)
        case root
        case slot(Int)
    }

    /// What a name after `$$` stands for, or nil when nothing has that name.
    func lookup(_ name: String) -> Binding? {
        if let bound = slots.last(where: { $0.name == name }) { return .slot(bound.slot) }
        switch name {
        case "ROOT", "CURRENT": return .root
        case "REMOVE": return .constant(nil)
        case "NOW": return .constant(.date(milliseconds: context.nowMilliseconds))
        case "CLUSTER_TIME": return context.clusterTime.map { .constant(.timestamp($0)) }
        default: return context.variables.last { $0.name == name }.map { .constant($0.value) }
        }
    }

    /// Binds a name until ``unbind(_:)`` and returns its slot. Slots are never shared, so that a frame may outlive a
    /// binding.
    mutating func bind(_ name: String) -> Int {
        slots.append((name, slotCount))
        slotCount += 1
        return slotCount - 1
    }

    mutating func unbind(_ count: Int) { slots.removeLast(count) }

    /// - Throws: code 9 for a name that a user may not bind.
    static func checkUserName(_ name: String) throws(QueryError) {
        guard let first = name.unicodeScalars.first else {
            throw QueryError(.failedToParse, "empty variable names are not allowed")
        }
        let isLower = first.value >= 97 && first.value <= 122 || first.value >= 128
        guard isLower || name == "CURRENT" else {
            throw QueryError(.failedToParse, "'\(name)' starts with an invalid character for a user variable name")
        }
        for scalar in name.unicodeScalars.dropFirst() {
            let isFine = ScalarSet.wordCharacters.contains(scalar.value) || scalar.value >= 128
            guard isFine else {
                throw QueryError(
                    .failedToParse, "'\(name)' contains an invalid character for a variable name: '\(scalar)'")
            }
        }
    }
}
