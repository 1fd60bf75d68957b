import CairnBSON

/// Which fields of its documents a pipeline looks at, so that the others need not travel.
///
/// Only whole fields of the top level are told apart. A field to which a stage gives a value is needed too: where the document
/// has it already, there the value stands.
struct FieldNeeds {
    /// The names, in the order in which they were met.
    private(set) var names: [BSONString] = []
    private var known: Set<BSONString> = []

    private enum Verdict {
        /// What the stage does not name goes on to the next.
        case passesOthers
        /// Nothing of the input goes on but through what the stage names.
        case makesAnew
        case needsEverything
    }

    /// More than this is not worth naming.
    private static let namesMax = 64

    private init() {}

    /// What the steps need of the documents that are put in; nil for all of it.
    static func of(_ steps: some Sequence<Pipeline.Step>) -> FieldNeeds? {
        var needs = FieldNeeds()
        for step in steps {
            switch needs.take(step.stage) {
            case .passesOthers: continue
            case .makesAnew: return needs.names.count <= namesMax ? needs : nil
            case .needsEverything: return nil
            }
        }
        return nil
    }

    /// The stage that leaves what is needed.
    var projection: Document {
        var builder = DocumentBuilder()
        for name in names { builder.append(name, .int32(1)) }
        if !known.contains("_id") { builder.append("_id", .int32(0)) }
        // `$project` takes no specification that keeps nothing.
        return ["$project": .document(names.isEmpty ? ["_id": 1] : builder.finish())]
    }

    private mutating func need(_ name: BSONString) {
        if known.insert(name).inserted { names.append(name) }
    }

    private mutating func take(_ stage: Stage) -> Verdict {
        switch stage {
        case .limit, .skip, .sample: return .passesOthers
        case .match(let filter): return need(filter: filter.source) ? .passesOthers : .needsEverything
        case .sort(let order, _):
            for field in order.fields { need(BSONString(field.path.prefix { $0 != "." })) }
            return .passesOthers
        case .unwind(let unwind):
            need(unwind.path.head)
            if let index = unwind.indexPath { need(index.head) }
            return .passesOthers
        case .lookup(let lookup):
            if let fields = lookup.fields { need(fields.local.head) }
            for (_, value) in lookup.variables where !need(value.node) { return .needsEverything }
            need(lookup.output.head)
            return .passesOthers
        case .group(let group):
            guard group.role == .whole, need(group.id.node) else { return .needsEverything }
            for accumulator in group.accumulators {
                guard need(accumulator.input.node) else { return .needsEverything }
                for path in accumulator.orderPaths { need(BSONString(path.prefix { $0 != "." })) }
            }
            return .makesAnew
        case .transform(.replaceRoot(let expression, _)):
            return need(expression.node) ? .makesAnew : .needsEverything
        case .transform(.tree(let tree)): return take(tree)
        case .transform(.project(let projection)): return projection.tree.map { take($0) } ?? .passesOthers
        default: return .needsEverything
        }
    }

    private mutating func take(_ tree: ProjectionTree) -> Verdict {
        for (name, node) in zip(tree.names, tree.nodes) {
            switch node {
            case .exclude: continue
            case .value(let expression):
                guard need(expression.node) else { return .needsEverything }
                // An inclusion puts what it computes behind what it keeps.
                if tree.keepsOthers { need(name) }
            case .tree(let inner):
                need(name)
                guard needExpressions(of: inner) else { return .needsEverything }
            case .include, .slice, .elementMatch, .positional: need(name)
            }
        }
        return tree.keepsOthers ? .passesOthers : .makesAnew
    }

    private mutating func needExpressions(of tree: ProjectionTree) -> Bool {
        for node in tree.nodes {
            switch node {
            case .value(let expression): guard need(expression.node) else { return false }
            case .tree(let inner): guard needExpressions(of: inner) else { return false }
            default: continue
            }
        }
        return true
    }

    /// - Returns: false when the filter may look at anything.
    private mutating func need(filter: Document) -> Bool {
        for element in filter {
            let name = element.name.string
            switch name {
            case "$and", "$or", "$nor":
                for branch in element.value.asArray ?? [] {
                    guard let branch = branch.asDocument, need(filter: branch) else { return false }
                }
            case "$comment": continue
            default:
                guard !name.hasPrefix("$") else { return false }
                need(BSONString(name.prefix { $0 != "." }))
            }
        }
        return true
    }

    /// - Returns: false when the expression needs whole documents.
    private mutating func need(_ node: ExpressionNode) -> Bool {
        switch node {
        case .root: return false
        case .field(let path):
            need(path.head)
            return true
        default: return node.operands.allSatisfy { need($0) }
        }
    }
}

extension ExpressionNode {
    /// The expressions that it is made of.
    fileprivate var operands: [ExpressionNode] {
        switch self {
        case .constant, .root, .field, .variable, .random: []
        case .fieldOf(let node, _), .unary(_, let node), .sortArray(let node, _): [node]
        case .object(let fields): fields.map(\.node)
        case .array(let nodes), .nary(_, let nodes), .and(let nodes), .or(let nodes), .firstNonNull(let nodes): nodes
        case .binary(_, let left, let right): [left, right]
        case .condition(let condition, let then, let otherwise): [condition, then, otherwise]
        case .branches(let branches, let otherwise):
            branches.flatMap { [$0.when, $0.then] } + (otherwise.map { [$0] } ?? [])
        case .bind(let variables, let body): variables.map(\.node) + [body]
        case .map(let input, _, let body): [input, body]
        case .filter(let input, _, let condition, let limit): [input, condition] + (limit.map { [$0] } ?? [])
        case .reduce(let input, let initial, _, _, let body): [input, initial, body]
        }
    }
}
