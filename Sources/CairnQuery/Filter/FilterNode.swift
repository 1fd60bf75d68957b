import CairnBSON

/// A compiled filter: conditions on paths, joined by logic.
indirect enum FilterNode: Sendable {
    case always(Bool)
    case and([FilterNode])
    case or([FilterNode])
    case nor([FilterNode])
    case path(FieldPath, Predicate)
    case expression(ExpressionProgram)
    case schema(SchemaNode)

    func matches(_ document: Document) throws(QueryError) -> Bool {
        switch self {
        case .always(let outcome): return outcome
        case .and(let nodes):
            try Self.count(nodes.count)
            for node in nodes where try !node.matches(document) { return false }
            return true
        case .or(let nodes):
            try Self.count(nodes.count)
            for node in nodes where try node.matches(document) { return true }
            return false
        case .nor(let nodes):
            try Self.count(nodes.count)
            for node in nodes where try node.matches(document) { return false }
            return true
        case .path(let path, let predicate): return try Self.match(document, path, 0, predicate)
        case .expression(let expression): return try expression.evaluate(document)?.isTruthy ?? false
        case .schema(let schema): return schema.isValid(.document(document))
        }
    }

    /// Counts what is looked at one by one, where it is enough to matter.
    @inline(__always)
    static func count(_ steps: Int) throws(QueryError) {
        if steps >= 16 { try WorkMeter.count(steps) }
    }

    /// Walks the components from `index` on. An array on the way stands for each of its documents; at the end it
    /// stands for each of its elements and for itself.
    private static func match(
        _ document: Document, _ path: FieldPath, _ index: Int, _ predicate: Predicate
    ) throws(QueryError) -> Bool {
        switch predicate {
        case .not(let inner): return try !match(document, path, index, inner)
        case .allOnPath(let predicates):
            for predicate in predicates where try !match(document, path, index, predicate) { return false }
            return true
        default: break
        }
        guard let value = document[path.components[index].name] else { return try predicate.matches(nil) }
        if index + 1 == path.components.count { return try matchLeaf(value, predicate) }
        switch value {
        case .document(let inner): return try match(inner, path, index + 1, predicate)
        case .array(let array): return try match(array, path, index + 1, predicate)
        default: return try predicate.matches(nil)
        }
    }

    static func matchLeaf(_ value: Value, _ predicate: Predicate) throws(QueryError) -> Bool {
        if case .array(let array) = value, predicate.looksIntoLeafArrays {
            try count(array.document.byteCount >> 3)
            for element in array where try predicate.matches(element) { return true }
        }
        return try predicate.matches(value)
    }

    private static func match(
        _ array: BSONArray, _ path: FieldPath, _ index: Int, _ predicate: Predicate
    ) throws(QueryError) -> Bool {
        let component = path.components[index]
        var position = 0
        try count(array.document.byteCount >> 3)
        for element in array {
            if case .document(let inner) = element {
                // A position that no document spells as a name is not a missing field of each of them.
                if component.index == nil || inner.element(named: component.name) != nil,
                    try match(inner, path, index, predicate)
                {
                    return true
                }
            }
            if component.index == position {
                if index + 1 == path.components.count {
                    if try predicate.matches(element) { return true }
                } else {
                    switch element {
                    case .document(let inner): if try match(inner, path, index + 1, predicate) { return true }
                    case .array(let inner): if try match(inner, path, index + 1, predicate) { return true }
                    default: break
                    }
                }
            }
            position += 1
        }
        return false
    }

    // MARK: Which element matched

    /// The position, in the outermost array that was looked into, of the element that made the filter match.
    ///
    /// - Parameter arrayPath: Conditions on this array win over conditions on others.
    func matchedIndex(in document: Document, preferring arrayPath: String?) throws(QueryError) -> Int? {
        switch self {
        case .always, .nor, .expression, .schema: return nil
        case .and(let nodes):
            var found: Int?
            var isPreferred = false
            for node in nodes {
                guard let index = try node.matchedIndex(in: document, preferring: arrayPath) else { continue }
                let prefers = node.concerns(arrayPath)
                if prefers || !isPreferred { found = index }
                isPreferred = isPreferred || prefers
            }
            return found
        case .or(let nodes):
            for node in nodes where try node.matches(document) {
                if let index = try node.matchedIndex(in: document, preferring: arrayPath) { return index }
            }
            return nil
        case .path(let path, let predicate):
            switch predicate {
            case .not: return nil
            case .allOnPath(let predicates):
                for predicate in predicates {
                    if let found = try Self.index(document, path, 0, predicate) { return found }
                }
                return nil
            default: break
            }
            return try Self.index(document, path, 0, predicate)
        }
    }

    private func concerns(_ arrayPath: String?) -> Bool {
        guard let arrayPath else { return false }
        switch self {
        case .path(let path, _): return path.string == arrayPath || path.string.hasPrefix(arrayPath + ".")
        case .and(let nodes), .or(let nodes): return nodes.contains { $0.concerns(arrayPath) }
        default: return false
        }
    }

    private static func index(
        _ document: Document, _ path: FieldPath, _ index: Int, _ predicate: Predicate
    ) throws(QueryError) -> Int? {
        guard let value = document[path.components[index].name] else { return nil }
        if index + 1 == path.components.count {
            guard case .array(let array) = value else { return nil }
            switch predicate {
            case .elementMatchesFilter, .elementMatchesAll:
                return try Predicate.firstElement(of: value) { (element) throws(QueryError) in
                    try predicate.matches(.array([element]))
                }
            default: break
            }
            guard predicate.looksIntoLeafArrays else { return nil }
            var position = 0
            for element in array {
                if try predicate.matches(element) { return position }
                position += 1
            }
            return nil
        }
        switch value {
        case .document(let inner): return try Self.index(inner, path, index + 1, predicate)
        case .array(let array):
            let component = path.components[index + 1]
            var position = 0
            for element in array {
                if case .document(let inner) = element, try match(inner, path, index + 1, predicate),
                    component.index == nil || inner.element(named: component.name) != nil
                {
                    return position
                }
                if component.index == position {
                    // The path names the position itself: the next array below is the one to report.
                    if index + 2 == path.components.count { return nil }
                    if case .document(let inner) = element {
                        return try Self.index(inner, path, index + 2, predicate)
                    }
                }
                position += 1
            }
            return nil
        default: return nil
        }
    }
}
