import CairnBSON
import CairnDatabase
import CairnQuery

/// What a view is: a pipeline over a collection, or over another view, of its database.
///
/// The catalog keeps it as a descriptor whose options are those of the view and whose slots nobody owns. Routers do not
/// remember views: no group would refuse an outdated one, as groups do with collections.
struct ViewDefinition {
    /// The name of what it reads first.
    let source: String
    let pipeline: [Document]
    /// How whoever reads the view compares strings; nil for by their bytes.
    let collation: Collation?

    /// Nil for a collection.
    init?(_ descriptor: CollectionDescriptor) throws(QueryError) {
        guard let source = try descriptor.options.string("viewOn") else { return nil }
        self.source = source
        pipeline = try descriptor.options.list("pipeline")?.documents(of: "pipeline") ?? []
        collation = try descriptor.options.nested("collation").flatMap { (given) throws(QueryError) in
            try Collation.parse(given)
        }
    }

    /// Checks what a client gives.
    ///
    /// - Throws: `OptionNotSupportedOnView` (167) for a pipeline that writes, and what is wrong with the pipeline.
    init(source: String, pipeline: [Document], collation: Collation?) throws(QueryError) {
        self.source = source
        self.pipeline = pipeline
        self.collation = collation
        let parsed = try self.parsed()
        if let output = parsed.output {
            throw QueryError(
                .optionNotSupportedOnView,
                "The aggregation stage \(output.stageName) is not supported in a view definition")
        }
        guard parsed.report == nil, !parsed.startsWithDocuments else {
            throw QueryError(
                .optionNotSupportedOnView,
                "The aggregation stage \(pipeline[0].first!.name) is not supported in a view definition")
        }
    }

    /// The names of all that the view reads.
    func references() throws(QueryError) -> Set<String> {
        try parsed().foreignCollections.union([source])
    }

    private func parsed() throws(QueryError) -> Pipeline {
        var context = QueryContext()
        context.collation = collation
        return try Pipeline(parsing: pipeline, context: context)
    }

    /// The options of the view's descriptor.
    var options: Document {
        var options: Document = [
            "viewOn": .string(BSONString(source)), "pipeline": .array(BSONArray(pipeline.map { .document($0) })),
        ]
        if let collation { options.set("collation", .document(collation.document)) }
        return options
    }
}

extension CollectionDescriptor {
    /// Whether it is of a view, which has no documents of its own.
    var isView: Bool { options["viewOn"] != nil }
}

/// A view, followed down to the collection that it reads first.
struct ResolvedView {
    let namespace: Namespace
    let collection: Namespace
    let pipeline: [Document]
    /// As a command gives it, so that the collection's own does not come into it.
    let collation: Document

    /// The collection of each database that shows its views as documents.
    static let systemViews = "system.views"

    init(_ namespace: Namespace, on collection: Namespace, pipeline: [Document], collation: Collation?) {
        self.namespace = namespace
        self.collection = collection
        self.pipeline = pipeline
        self.collation = collation?.document ?? ["locale": "simple"]
    }

    /// - Throws: `OptionNotSupportedOnView` (167) when a command wants to compare strings in another way than the view.
    func checkCollation(_ given: Document?) throws(QueryError) {
        guard let given, try Collation.parse(given) != Collation.parse(collation) else { return }
        throw QueryError(.optionNotSupportedOnView, "Cannot override a view's default collation: \(namespace)")
    }
}

extension Router {
    /// The view of that name; nil when it is a collection's, or nobody's.
    ///
    /// What the router remembers as a collection may be a view by now: then ``collection(_:fresh:deadline:)`` finds out.
    func view(_ namespace: Namespace, deadline: UInt64) async throws(QueryError) -> ResolvedView? {
        if namespace.collection == ResolvedView.systemViews {
            return ResolvedView(namespace, on: namespace, pipeline: [], collation: nil)
        }
        if shardMap[namespace] != nil { return nil }
        var collection = namespace
        var pipeline: [Document] = []
        var collation: Collation?
        for depth in 0...ViewGraph.depthMax {
            let descriptor = try await catalogued(collection, deadline: deadline)
            guard let descriptor, let definition = try ViewDefinition(descriptor) else {
                if depth == 0 { return nil }
                return ResolvedView(namespace, on: collection, pipeline: pipeline, collation: collation)
            }
            if depth == 0 { collation = definition.collation }
            pipeline = definition.pipeline + pipeline
            collection = Namespace(trusted: namespace.database, definition.source)
        }
        throw QueryError(
            .viewDepthLimitExceeded,
            "View depth too deep or view cycle detected. Max depth: \(ViewGraph.depthMax)")
    }

    /// The documents of `system.views`.
    func viewDocuments(of database: String, deadline: UInt64) async throws(QueryError) -> [Document] {
        var documents: [Document] = []
        for entry in try await catalogEntries(database: database, deadline: deadline)
        where entry.state == .ready && entry.descriptor.isView {
            let options = entry.descriptor.options
            documents.append(options.prepending("_id", .string(BSONString(entry.descriptor.namespace))))
        }
        return documents.sorted { Value.compare($0["_id"]!, $1["_id"]!) < 0 }
    }
}
