import CairnBSON

extension Pipeline {
    /// A pipeline as two: one that every group of replicas runs over its own documents, one that runs over what they
    /// give, wherever the answer is put together.
    ///
    /// - Invariant: running `merge` over the concatenated results of `shard` gives what the whole pipeline gives over
    ///   all documents, up to an order that the pipeline leaves open.
    public struct Split: Sendable {
        /// Parses with `allowsInternal: true`.
        public let shard: [Document]
        /// Parses with `allowsInternal: true`.
        public let merge: [Document]
        /// When each shard's results come in an order: that order, and what is left of `merge` for one who merges the
        /// streams by it instead of sorting again.
        public let sorted: (by: SortSpecification, merge: [Document])?
    }

    /// Cuts the pipeline where documents of different groups have to meet.
    public func split() -> Split {
        var shard: [Document] = []
        var isNarrow = false
        for (index, step) in steps.enumerated() {
            let rest = steps[(index + 1)...].map(\.source)
            // Of documents that meet the others whole, only what is looked at there.
            let narrowing = isNarrow ? [] : FieldNeeds.of(steps[index...]).map { [$0.projection] } ?? []
            switch step.stage {
            case .transform(.project(let projection)):
                shard.append(step.source)
                isNarrow = isNarrow || projection.isInclusion
            case .match, .transform, .unwind, .redact: shard.append(step.source)
            case .limit:
                return Split(
                    shard: shard + [step.source] + narrowing, merge: [step.source] + rest, sorted: nil)
            case .skip(let skipped):
                var pushed: [Document] = []
                if index + 1 < steps.count, case .limit(let count) = steps[index + 1].stage {
                    let (most, overflow) = skipped.addingReportingOverflow(count)
                    if !overflow { pushed = [["$limit": .int64(Int64(most))]] }
                }
                return Split(shard: shard + pushed + narrowing, merge: [step.source] + rest, sorted: nil)
            case .sort(let order, let limit):
                var own = shard + [step.source]
                if let limit { own.append(["$limit": .int64(Int64(limit))]) }
                return Split(shard: own + narrowing, merge: [step.source] + rest, sorted: (order, rest))
            case .group(let group):
                return Split(
                    shard: shard + [["$_internalGroupPartial": .document(group.source)]],
                    merge: [["$_internalGroupMerge": .document(group.source)]] + rest, sorted: nil)
            case .sample:
                return Split(
                    shard: shard + [step.source] + narrowing, merge: [step.source] + rest, sorted: nil)
            default: return Split(shard: shard + narrowing, merge: [step.source] + rest, sorted: nil)
            }
        }
        return Split(shard: shard, merge: [], sorted: nil)
    }
}
