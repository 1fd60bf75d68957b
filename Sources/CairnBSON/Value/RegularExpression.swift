/// A regular expression as data: what `$regex` or a driver's regex type carried. Nothing here matches anything.
public struct RegularExpression: Hashable, Sendable {
    public let pattern: BSONString
    /// Letters in alphabetical order: i, l, m, s, u, x.
    public let options: BSONString

    public init(pattern: BSONString, options: BSONString = "") {
        self.pattern = pattern
        self.options = options
    }
}
