import CairnBSON

/// The operators of an update, arranged by the paths that they change, so that a document is rewritten in one pass.
struct UpdateTree: Sendable {
    /// One step of an update's path.
    enum Step: Sendable, Hashable {
        case field(FieldPath.Component)
        /// `$`: the element that the query matched.
        case matched
        /// `$[]`: every element.
        case each
        /// `$[name]`: the elements that the array filter of that name accepts.
        case filtered(String)

        var text: String {
            switch self {
            case .field(let component): component.name.string
            case .matched: "$"
            case .each: "$[]"
            case .filtered(let name): "$[\(name)]"
            }
        }
    }

    indirect enum Node: Sendable {
        case action(UpdateAction)
        case tree(UpdateTree)
    }

    /// Arrays may be extended with nulls by at most this many elements, as in MongoDB.
    static let paddingMax = 1_500_000

    /// The path of what this tree changes, for messages.
    let path: String
    private(set) var children: [(step: Step, node: Node)] = []
    /// The steps of the children, until all are here.
    private var places = PlaceTable<Step>()
    /// The children that are fields, once all are here and there are many.
    private var fields: [BSONString: Int] = [:]

    init(path: String) { self.path = path }

    // MARK: Building

    mutating func insert(_ action: UpdateAction, at steps: ArraySlice<Step>, of whole: String) throws(QueryError) {
        guard let step = steps.first else { return }
        let existing = places.place(of: step)
        let here = path.isEmpty ? step.text : path + "." + step.text
        if steps.count == 1 {
            guard existing == nil else { throw Self.conflict(whole, at: here) }
            add(step, .action(action))
            return
        }
        var tree = UpdateTree(path: here)
        if let existing {
            guard case .tree(let inner) = children[existing].node else { throw Self.conflict(whole, at: here) }
            tree = inner
            // So that the children are not copied for the sake of the one that comes to them.
            children[existing].node = .action(.unset)
        }
        try tree.insert(action, at: steps.dropFirst(), of: whole)
        if let existing { children[existing].node = .tree(tree) } else { add(step, .tree(tree)) }
    }

    static func conflict(_ path: String, at place: String) -> QueryError {
        QueryError(.conflictingUpdateOperators, "Updating the path '\(path)' would create a conflict at '\(place)'")
    }

    private mutating func add(_ step: Step, _ node: Node) {
        children.append((step, node))
        places.append(step)
    }

    /// To be called after the last insertion and before the tree is applied. New fields appear in this order: numbers by value, then
    /// names by bytes.
    mutating func finish() {
        children.sort { Self.goesFirst($0.step, $1.step) }
        places = PlaceTable()
        for place in children.indices {
            if case .tree(var tree) = children[place].node {
                tree.finish()
                children[place].node = .tree(tree)
            }
        }
        guard children.count > Self.fewMax else { return }
        for (place, child) in children.enumerated() {
            if case .field(let component) = child.step { fields[component.name] = place }
        }
    }

    /// Children that are looked at one by one.
    private static let fewMax = 16

    private static func goesFirst(_ left: Step, _ right: Step) -> Bool {
        switch (left, right) {
        case (.field(let a), .field(let b)):
            if let x = a.index, let y = b.index { return x < y }
            if (a.index == nil) != (b.index == nil) { return a.index != nil }
            return a.name < b.name
        case (.field, _): return true
        case (_, .field): return false
        default: return left.text < right.text
        }
    }

    // MARK: Applying

    struct Situation {
        let action: UpdateAction.Situation
        let matchedIndex: Int?
        let arrayFilters: [String: ArrayFilter]
    }

    func apply(to document: Document, _ situation: Situation) throws(QueryError) -> Document {
        var builder = DocumentBuilder(capacity: document.byteCount + 64)
        var handled: UInt64 = 0
        var handledMore: Set<Int> = []
        var untouched = UntouchedRun(of: document)
        for element in document {
            guard let index = try index(of: element.name, situation) else {
                untouched.extend(element)
                continue
            }
            untouched.flush(before: element, into: &builder)
            if index < 64 { handled |= 1 << UInt64(index) } else { handledMore.insert(index) }
            let here = try Self.apply(children[index].node, to: element.value, name(index), situation)
            if let here { builder.append(element.name, here) }
        }
        untouched.finish(into: &builder)
        for index in children.indices {
            if index < 64 ? handled >> UInt64(index) & 1 == 1 : handledMore.contains(index) { continue }
            guard let name = try fieldName(of: children[index].step, situation) else {
                throw QueryError(
                    .badValue,
                    "Cannot apply array updates to non-array element \(path): \(document)")
            }
            if let value = try Self.apply(children[index].node, to: nil, self.name(index), situation) {
                builder.append(name, value)
            }
        }
        return builder.finish()
    }

    private func name(_ index: Int) -> String {
        // Only built for messages of leaves; a tree knows its own.
        path.isEmpty ? children[index].step.text : path + "." + children[index].step.text
    }

    private func index(of name: BSONString, _ situation: Situation) throws(QueryError) -> Int? {
        if let place = fields[name] { return place }
        // Others than fields come last, and are few.
        for index in fields.isEmpty ? children.indices : fields.count..<children.count {
            switch children[index].step {
            case .field(let component): if component.name == name { return index }
            case .matched:
                if let matched = situation.matchedIndex, name == String(matched) { return index }
            default: break
            }
        }
        return nil
    }

    /// The name under which a step creates a field of a document, or nil when it can only be applied to arrays.
    private func fieldName(of step: Step, _ situation: Situation) throws(QueryError) -> BSONString? {
        switch step {
        case .field(let component): return component.name
        case .matched: return BSONString(String(try Self.matchedIndex(situation)))
        default: return nil
        }
    }

    private static func matchedIndex(_ situation: Situation) throws(QueryError) -> Int {
        guard let index = situation.matchedIndex else {
            throw QueryError(.badValue, "The positional operator did not find the match needed from the query.")
        }
        return index
    }

    private static func apply(
        _ node: Node, to value: Value?, _ path: @autoclosure () -> String, _ situation: Situation
    ) throws(QueryError) -> Value? {
        switch node {
        case .action(let action): return try action.apply(to: value, at: path(), situation.action)
        case .tree(let tree): return try tree.apply(toValue: value, situation)
        }
    }

    private func apply(toValue value: Value?, _ situation: Situation) throws(QueryError) -> Value? {
        switch value {
        case .document(let document)?: return .document(try apply(to: document, situation))
        case .array(let array)?: return .array(try apply(to: array, situation))
        case nil:
            for child in children {
                switch child.step {
                case .each, .filtered:
                    throw QueryError(
                        .badValue, "The path '\(path)' must exist in the document in order to apply array updates.")
                default: break
                }
            }
            let created = try apply(to: Document(), situation)
            guard !created.isEmpty else { return nil }
            return .document(created)
        case .some(let scalar):
            // Removing what cannot be there changes nothing; creating it cannot be done.
            for index in children.indices {
                switch children[index].step {
                case .each, .filtered:
                    throw QueryError(.badValue, "Cannot apply array updates to non-array element \(path): \(scalar)")
                default: break
                }
                if try Self.apply(children[index].node, to: nil, name(index), situation) != nil {
                    throw notViable(children[index].step, scalar)
                }
            }
            return scalar
        }
    }

    private func notViable(_ step: Step, _ value: Value) -> QueryError {
        let last = path.split(separator: ".").last.map(String.init) ?? path
        return QueryError(
            .pathNotViable, "Cannot create field '\(step.text)' in element {\(last): \(value)}")
    }

    private func apply(to array: BSONArray, _ situation: Situation) throws(QueryError) -> BSONArray {
        var byIndex: [(index: Int, child: Int)] = []
        var selectors: [Int] = []
        for child in children.indices {
            switch children[child].step {
            case .field(let component):
                guard let index = component.index else {
                    if try Self.apply(children[child].node, to: nil, name(child), situation) == nil { continue }
                    throw notViable(children[child].step, .array(array))
                }
                byIndex.append((index, child))
            case .matched: byIndex.append((try Self.matchedIndex(situation), child))
            case .each, .filtered: selectors.append(child)
            }
        }
        byIndex.sort { $0.index < $1.index }
        var result = ArrayBuilder(capacity: array.document.byteCount + 64)
        var position = 0
        var pending = byIndex[...]
        for element in array.document {
            if selectors.isEmpty && pending.first?.index != position {
                result.append(valueOf: element)
            } else {
                var value = element.value
                var applied: [Int] = []
                while let next = pending.first, next.index == position {
                    applied.append(next.child)
                    pending = pending.dropFirst()
                }
                for child in selectors {
                    if case .filtered(let name) = children[child].step {
                        guard let filter = situation.arrayFilters[name], try filter.matches(value) else { continue }
                    }
                    applied.append(child)
                }
                if applied.count > 1,
                    applied.contains(where: { if case .action = children[$0].node { true } else { false } })
                {
                    throw Self.conflict("\(path).\(position)", at: "\(path).\(position)")
                }
                for child in applied {
                    value = try Self.apply(children[child].node, to: value, name(child), situation) ?? .null
                }
                result.append(value)
            }
            position += 1
        }
        for (index, child) in pending {
            guard let value = try Self.apply(children[child].node, to: nil, name(child), situation) else { continue }
            guard index - position <= Self.paddingMax else {
                throw QueryError(
                    .cannotBackfillArray,
                    "can't backfill more than \(Self.paddingMax) nulls in array '\(path)'")
            }
            while position < index {
                result.append(.null)
                position += 1
            }
            result.append(value)
            position += 1
        }
        return result.finish()
    }
}

/// One entry of `arrayFilters`: a condition on array elements under a name.
struct ArrayFilter: Sendable {
    let name: String
    private let node: FilterNode

    /// - Throws: code 9 (FailedToParse) for what is no array filter.
    init(parsing document: Document, scope: inout VariableScope) throws(QueryError) {
        guard !document.isEmpty else {
            throw QueryError(.failedToParse, "Cannot use an expression without a top-level field name in arrayFilters")
        }
        var names: Set<String> = []
        Self.collectNames(document, into: &names, depth: 0)
        guard let name = names.first else {
            throw QueryError(.failedToParse, "Cannot use an expression without a top-level field name in arrayFilters")
        }
        guard names.count == 1 else {
            let two = names.sorted()
            throw QueryError(
                .failedToParse,
                "Error parsing array filter :: caused by :: Expected a single top-level field name, found '\(two[0])' and '\(two[1])'"
            )
        }
        let scalars = name.unicodeScalars.map(\.value)
        guard let first = scalars.first, first >= 97 && first <= 122,
            scalars.allSatisfy({ ScalarSet.wordCharacters.contains($0) && $0 != 0x5F })
        else {
            throw QueryError(
                .badValue,
                "Error parsing array filter :: caused by :: The top-level field name must be an alphanumeric string "
                    + "beginning with a lowercase letter, found '\(name)'")
        }
        self.name = name
        var parser = FilterParser(scope: scope)
        node = try parser.parse(document, depth: 0)
        scope = parser.scope
    }

    private static func collectNames(_ document: Document, into names: inout Set<String>, depth: Int) {
        guard depth <= Filter.depthMax else { return }
        for element in document {
            let name = element.name.string
            if name.hasPrefix("$") {
                guard case .array(let branches) = element.value else { continue }
                for case .document(let branch) in branches { collectNames(branch, into: &names, depth: depth + 1) }
            } else {
                names.insert(String(name.prefix { $0 != "." }))
            }
        }
    }

    func matches(_ element: Value) throws(QueryError) -> Bool {
        var builder = DocumentBuilder()
        builder.append(name, element)
        return try node.matches(builder.finish())
    }
}
