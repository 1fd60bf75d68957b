import CairnBSON

/// What a query may know of the world beside the documents: fixed for the whole command, on every group that takes
/// part in it, so that `$$NOW` is one moment.
public struct QueryContext: Sendable {
    /// `$$NOW`, in milliseconds since 1970 UTC.
    public var nowMilliseconds: Int64
    /// `$$CLUSTER_TIME`, when the deployment has one.
    public var clusterTime: Timestamp?
    /// The command's `let`, already evaluated.
    public var variables: [(name: String, value: Value)]
    /// Seeds `$rand`, `$sample` and `$sampleRate`: the query engine has no randomness of its own.
    public var randomSeed: UInt64
    /// How strings are compared; nil for by their bytes.
    public var collation: Collation?
    /// What all stages of the query hold together is taken from it; nil for no more than each stage's own limit.
    public var memory: MemoryAccount?
    /// Bytes that one `$sort` may hold, and one `$group`; see ``StageMemory``.
    public var sortBytesMax = StageMemory.bytesMaxDefault
    public var groupBytesMax = StageMemory.bytesMaxDefault
    /// Bytes that any other stage may hold which gathers documents (`$bucketAuto`, `$facet`, …).
    public var memoryBytesMax = 100 << 20

    /// Where stages put what does not fit into their memory; nil makes that an error (`allowDiskUse: false`).
    public var spill: (any SpillStore)?

    /// Names among ``variables`` that a stage of the pipeline has bound, so that other nodes do not know them.
    private(set) var localVariables: Set<String> = []

    mutating func bindLocally(_ values: [(name: String, value: Value)]) {
        variables += values
        localVariables.formUnion(values.map(\.name))
    }

    public init(
        nowMilliseconds: Int64 = 0, clusterTime: Timestamp? = nil, variables: [(name: String, value: Value)] = [],
        randomSeed: UInt64 = 0
    ) {
        self.nowMilliseconds = nowMilliseconds
        self.clusterTime = clusterTime
        self.variables = variables
        self.randomSeed = randomSeed
    }
}
