import CairnBSON

extension Pipeline {
    /// Checks that every stage compares strings by the pipeline's collation, if it has one.
    ///
    /// - Throws: code 115 for a stage or an accumulator that would compare them by their bytes.
    public func checkCollation() throws(QueryError) {
        guard context.collation != nil else { return }
        for step in steps {
            switch step.stage {
            case .match, .transform, .unwind, .redact, .sort, .limit, .skip, .sample, .documents, .output, .report:
                continue
            case .group(let group):
                for (name, value) in group.source.map({ ($0.name.string, $0.value) }) where name != "_id" {
                    guard let accumulator = value.asDocument?.first?.name.string,
                        Self.comparingAccumulators.contains(accumulator)
                    else { continue }
                    throw Self.unsupported(accumulator)
                }
            case .bucketAuto, .facet, .lookup, .unionWith, .densify, .windowFields, .graphLookup:
                throw Self.unsupported(step.source.first?.name.string ?? "this stage")
            }
        }
    }

    private static let comparingAccumulators: Set<String> = [
        "$min", "$max", "$minN", "$maxN", "$addToSet", "$top", "$topN", "$bottom", "$bottomN",
    ]

    private static func unsupported(_ what: String) -> QueryError {
        QueryError(.commandNotSupported, "\(what) under a collation is not supported by this version of Cairn")
    }
}
