import CairnQuery

/// Which views of a database read which of its collections and views.
///
/// A view may be written by several routers at once, each of which looks at the graph without the other's view; so a
/// cycle, or a chain that is too long, can come about all the same. Whoever follows views counts his steps.
struct ViewGraph {
    /// Views on the longest way from a view down to a collection, itself included.
    static let depthMax = 20

    private var references: [String: Set<String>]

    /// - Parameter references: of each view by its name, what it reads.
    init(_ references: [String: Set<String>]) {
        self.references = references
    }

    /// Adds a view, or changes what a view reads.
    ///
    /// - Throws: `GraphContainsCycle` (5) when it would read itself, `ViewDepthLimitExceeded` (165) when a chain of views
    ///   would get longer than ``depthMax``.
    mutating func set(_ name: String, reads collections: Set<String>) throws(QueryError) {
        references[name] = collections
        if let way = cycle(through: name) {
            throw QueryError(.graphContainsCycle, "View cycle detected: \(way.joined(separator: " => "))")
        }
        let below = length(from: name, over: references)
        let above = length(from: name, over: reversed)
        guard above + below - 1 <= Self.depthMax else {
            throw QueryError(
                .viewDepthLimitExceeded, "View depth limit exceeded; maximum depth is \(Self.depthMax)")
        }
    }

    /// A way that leads from the view back to it.
    private func cycle(through name: String) -> [String]? {
        var seen: Set<String> = []
        // Each entry is a view on the way and those of its references that are still to be followed.
        var way: [(name: String, next: [String])] = [(name, references[name]!.sorted())]
        while let last = way.indices.last {
            guard let next = way[last].next.popLast() else {
                way.removeLast()
                continue
            }
            if next == name { return way.map(\.name) + [name] }
            guard let reads = references[next], seen.insert(next).inserted else { continue }
            way.append((next, reads.sorted()))
        }
        return nil
    }

    private var reversed: [String: Set<String>] {
        var readers = references.mapValues { _ in Set<String>() }
        for (name, reads) in references {
            for read in reads where readers[read] != nil { readers[read]!.insert(name) }
        }
        return readers
    }

    /// Views on the longest way from `name`, counted no further than one too many.
    private func length(from name: String, over edges: [String: Set<String>]) -> Int {
        var level: Set<String> = [name]
        var length = 0
        while !level.isEmpty, length <= Self.depthMax {
            length += 1
            level = level.reduce(into: []) { next, view in next.formUnion(edges[view]!.filter { edges[$0] != nil }) }
        }
        return length
    }
}
