import CairnBSON

/// A query predicate, parsed and checked once and then asked about any number of documents.
///
/// The meaning is that of MongoDB 7's query language: dotted paths look through arrays, a missing field counts as null
/// for equality, and ranges compare only within a type's family.
///
/// - Complexity: `matches` reads the document's bytes in place and allocates nothing for comparisons of scalars.
public struct Filter: Sendable {
    /// Nesting beyond which a filter is refused, so that no client exhausts the stack.
    static let depthMax = 100

    /// The filter as it was given.
    public let source: Document
    let node: FilterNode

    /// Matches every document.
    public static let all = Filter(source: Document(), node: .always(true))

    /// - Throws: code 2 (BadValue), 9 (FailedToParse) or what MongoDB says about the operator at fault.
    public init(parsing document: Document, context: QueryContext = QueryContext()) throws(QueryError) {
        var scope = VariableScope(context)
        try self.init(parsing: document, scope: &scope)
    }

    init(parsing document: Document, scope: inout VariableScope) throws(QueryError) {
        var parser = FilterParser(scope: scope)
        source = document
        node = try parser.parse(document, depth: 0)
        scope = parser.scope
    }

    private init(source: Document, node: FilterNode) {
        self.source = source
        self.node = node
    }

    /// True when the filter is empty, so that counting needs no documents.
    public var isAlwaysTrue: Bool {
        switch node {
        case .always(true): true
        case .and(let nodes): nodes.isEmpty
        default: false
        }
    }

    /// Whether the document satisfies the filter.
    ///
    /// - Throws: what `$expr` runs into, or code 51156 when a regular expression backtracks without end.
    public func matches(_ document: Document) throws(QueryError) -> Bool { try node.matches(document) }

    /// The position that the positional operator `$` stands for after the document matched: the array element that
    /// satisfied the condition on the array, in the outermost array that was looked into.
    ///
    /// - Parameter arrayPath: The path before the `$`; a condition on that array wins when several arrays matched.
    public func matchedArrayIndex(in document: Document, arrayPath: String? = nil) throws(QueryError) -> Int? {
        try node.matchedIndex(in: document, preferring: arrayPath)
    }
}
