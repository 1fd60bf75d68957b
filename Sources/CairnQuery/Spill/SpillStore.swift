import CairnBSON

/// Where a stage puts documents that do not fit into its memory. Whoever runs a query says where that is; the query engine knows
/// no files.
public protocol SpillStore: AnyObject, Sendable {
    /// Begins a sequence of documents. It ends, with all that it takes up, when its last reference goes.
    func makeRun() throws(QueryError) -> any SpillRun
}

/// A sequence of documents outside of memory: written once, then read once, in order.
public protocol SpillRun: AnyObject {
    func append(_ document: Document) throws(QueryError)

    /// The next document; nil at the end. Nothing may be appended after the first call.
    func next() throws(QueryError) -> Document?
}

/// Merges sequences that are each in order into one. Of equals, those of an earlier sequence come first.
///
/// - Complexity: O(sequences) a document, which are few: each is as large as memory allows.
struct RunMerge<Key> {
    private var heads: [(run: any SpillRun, document: Document, key: Key)] = []
    private let key: (Document) throws(QueryError) -> Key
    private let goesFirst: (Key, Key) -> Bool

    init(
        _ runs: [any SpillRun], by goesFirst: @escaping (Key, Key) -> Bool,
        key: @escaping (Document) throws(QueryError) -> Key
    ) throws(QueryError) {
        self.key = key
        self.goesFirst = goesFirst
        for run in runs {
            if let document = try run.next() { heads.append((run, document, try key(document))) }
        }
    }

    /// The key of the document that comes next.
    var nextKey: Key? { least.map { heads[$0].key } }

    private var least: Int? {
        guard !heads.isEmpty else { return nil }
        var best = 0
        for index in heads.indices.dropFirst() where goesFirst(heads[index].key, heads[best].key) { best = index }
        return best
    }

    mutating func next() throws(QueryError) -> Document? {
        guard let index = least else { return nil }
        try WorkMeter.count(heads.count + 8)
        let document = heads[index].document
        if let following = try heads[index].run.next() {
            heads[index].document = following
            heads[index].key = try key(following)
        } else {
            heads.remove(at: index)
        }
        return document
    }
}
