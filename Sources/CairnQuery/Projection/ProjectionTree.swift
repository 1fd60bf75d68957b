import CairnBSON

/// What a projection does to the fields of one document, level by level.
///
/// `$project`, `$addFields`, `$unset` and the projection of `find` are all this tree; they differ in what happens to
/// fields that the tree does not name.
struct ProjectionTree: Sendable {
    indirect enum Node: Sendable {
        case include
        case exclude
        case value(ExpressionProgram)
        case slice(skip: Int, limit: Int?)
        case elementMatch(Predicate)
        /// The one element that the query matched.
        case positional(ProjectionTree)
        case tree(ProjectionTree)
    }

    private var places = PlaceTable<BSONString>()
    private(set) var nodes: [Node] = []
    /// Whether fields that the tree does not name stay.
    var keepsOthers: Bool
    /// Whether something in here makes values that the document does not have.
    private(set) var computes = false
    /// Whether it does no more than to keep fields of the top level.
    private var onlyIncludes = true
    /// Up to so many names a walk that compares each element with all of them is the quickest.
    private static let fewNames = 16

    init(keepsOthers: Bool) { self.keepsOthers = keepsOthers }

    /// The names of the children, each at the place of its node.
    var names: [BSONString] { places.keys }

    /// Puts a node at a dotted path.
    ///
    /// - Throws: code 31249 or 31250 when the path runs into another one.
    mutating func insert(_ node: Node, at path: FieldPath) throws(QueryError) {
        try insert(node, at: path.components[...], of: path)
    }

    private mutating func insert(
        _ node: Node, at components: ArraySlice<FieldPath.Component>, of path: FieldPath
    ) throws(QueryError) {
        if case .value = node { computes = true }
        if case .include = node, components.count == 1 {} else { onlyIncludes = false }
        guard let component = components.first else { return }
        let name = component.name
        let existing = places.place(of: name)
        if components.count == 1 {
            guard existing == nil else { throw QueryError(ErrorCode(31250), "Path collision at \(path)") }
            places.append(name)
            nodes.append(node)
            return
        }
        var subtree = ProjectionTree(keepsOthers: keepsOthers)
        if let existing {
            guard case .tree(let tree) = nodes[existing] else {
                let rest = components.dropFirst().map(\.name.string).joined(separator: ".")
                throw QueryError(ErrorCode(31249), "Path collision at \(path) remaining portion \(rest)")
            }
            subtree = tree
            // So that the children are not copied for the sake of the one that comes to them.
            nodes[existing] = .include
        }
        try subtree.insert(node, at: components.dropFirst(), of: path)
        if let existing {
            nodes[existing] = .tree(subtree)
        } else {
            places.append(name)
            nodes.append(.tree(subtree))
        }
    }

    /// Sets ``keepsOthers`` here and below.
    mutating func setKeepsOthers(_ keeps: Bool) {
        keepsOthers = keeps
        for index in nodes.indices {
            switch nodes[index] {
            case .tree(var tree):
                tree.setKeepsOthers(keeps)
                nodes[index] = .tree(tree)
            default: break
            }
        }
    }

    @inline(__always)
    func index(of name: BSONString) -> Int? { places.place(of: name) }

    // MARK: Applying

    /// What applying needs beside the document at hand.
    struct Situation {
        /// The whole document, which computed fields are evaluated on.
        let root: Document
        /// The element that `$` stands for.
        let matchedIndex: Int?
    }

    func apply(to document: Document, _ situation: Situation) throws(QueryError) -> Document {
        if onlyIncludes, !keepsOthers, names.count <= Self.fewNames { return document.keeping(names) }
        var builder = DocumentBuilder(capacity: keepsOthers ? document.byteCount + 64 : 128)
        try apply(to: document, situation, &builder)
        return builder.finish()
    }

    private func apply(
        to document: Document, _ situation: Situation, _ builder: inout DocumentBuilder
    ) throws(QueryError) {
        var handled = HandledFields(count: computes ? nodes.count : 0)
        var untouched = UntouchedRun(of: document)
        for element in document {
            guard let index = index(of: element.name) else {
                if keepsOthers { untouched.extend(element) } else { untouched.flush(before: element, into: &builder) }
                continue
            }
            if case .include = nodes[index] {
                untouched.extend(element)
                continue
            }
            untouched.flush(before: element, into: &builder)
            switch nodes[index] {
            case .include: break
            case .exclude: break
            case .value(let expression):
                // An inclusion puts what it computes behind what it keeps.
                guard keepsOthers else { continue }
                handled.insert(index)
                if let value = try expression.evaluate(situation.root) { builder.append(element.name, value) }
            case .slice(let skip, let limit):
                guard case .array(let array) = element.value else {
                    builder.append(element: element)
                    continue
                }
                builder.append(element.name, .array(Self.slice(array, skip: skip, limit: limit)))
            case .elementMatch(let predicate):
                guard case .array(let array) = element.value else { continue }
                for candidate in array where try predicate.matches(.array([candidate])) {
                    builder.append(element.name, .array([candidate]))
                    break
                }
            case .positional(let tree):
                try positional(element, tree, situation, &builder)
            case .tree(let tree):
                handled.insert(index)
                if let value = try tree.applyToValue(element.value, situation) { builder.append(element.name, value) }
            }
        }
        untouched.finish(into: &builder)
        guard computes else { return }
        for index in nodes.indices where !handled.contains(index) {
            switch nodes[index] {
            case .value(let expression):
                if let value = try expression.evaluate(situation.root) { builder.append(names[index], value) }
            case .tree(let tree) where tree.computes:
                builder.append(names[index], .document(try tree.apply(to: Document(), situation)))
            default: break
            }
        }
    }

    private func applyToValue(_ value: Value, _ situation: Situation) throws(QueryError) -> Value? {
        switch value {
        case .document(let document): return .document(try apply(to: document, situation))
        case .array(let array):
            var result = ArrayBuilder()
            for element in array {
                if let value = try applyToValue(element, situation) { result.append(value) }
            }
            return .array(result.finish())
        default:
            if computes { return .document(try apply(to: Document(), situation)) }
            guard keepsOthers else { return nil }
            return value
        }
    }

    private func positional(
        _ element: Document.Element, _ tree: ProjectionTree, _ situation: Situation, _ builder: inout DocumentBuilder
    ) throws(QueryError) {
        switch element.value {
        case .array(let array) where tree.nodes.isEmpty:
            guard let index = situation.matchedIndex, let matched = array[index] else {
                throw QueryError(
                    ErrorCode(51246),
                    "Executor error during find command: positional operator '.$' couldn't find a matching element in the array"
                )
            }
            builder.append(element.name, .array([matched]))
        case .document(let document) where !tree.nodes.isEmpty:
            builder.append(element.name, .document(try tree.apply(to: document, situation)))
        default: builder.append(element: element)
        }
    }

    static func slice(_ array: BSONArray, skip: Int, limit: Int?) -> BSONArray {
        let count = array.count
        let start: Int
        let end: Int
        if let limit {
            start = skip < 0 ? max(0, count + skip) : min(skip, count)
            end = min(count, start + min(limit, count))
        } else if skip < 0 {
            start = max(0, count + skip)
            end = count
        } else {
            start = 0
            end = min(skip, count)
        }
        var result = ArrayBuilder()
        var index = 0
        for element in array.document {
            if index >= end { break }
            if index >= start { result.append(valueOf: element) }
            index += 1
        }
        return result.finish()
    }
}

/// Which children of a tree were met in the document; up to 64 without allocating.
private struct HandledFields {
    private var bits: UInt64 = 0
    private var more: [Bool]

    init(count: Int) { more = count > 64 ? Array(repeating: false, count: count) : [] }

    mutating func insert(_ index: Int) {
        if more.isEmpty { bits |= 1 << UInt64(index & 63) } else { more[index] = true }
    }

    func contains(_ index: Int) -> Bool { more.isEmpty ? bits >> UInt64(index & 63) & 1 == 1 : more[index] }
}
