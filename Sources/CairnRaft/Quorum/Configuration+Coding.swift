/// The bytes of a configuration in an ``Entry`` and wherever a host keeps one:
///
///     version (u8 = 1) | voters | outgoing | learners | nextLearners
///     each list: count (u16 LE) | node (u64 LE) ...
extension Configuration {
    private static let formatVersion: UInt8 = 1

    /// The configuration as bytes.
    public func encoded() -> [UInt8] {
        var bytes: [UInt8] = [Self.formatVersion]
        bytes.reserveCapacity(9 + 8 * (voters.count + outgoing.count + learners.count + nextLearners.count))
        for list in [voters, outgoing, learners, nextLearners] {
            let count = UInt16(list.count)
            bytes.append(UInt8(truncatingIfNeeded: count))
            bytes.append(UInt8(truncatingIfNeeded: count >> 8))
            for node in list {
                for shift in stride(from: 0, to: 64, by: 8) {
                    bytes.append(UInt8(truncatingIfNeeded: node.rawValue >> UInt64(shift)))
                }
            }
        }
        return bytes
    }

    /// The configuration that `bytes` hold; nil when they hold none, or one without voters.
    public init?(decoding bytes: ArraySlice<UInt8>) {
        var rest = bytes
        guard rest.popFirst() == Self.formatVersion else { return nil }
        var lists: [[NodeID]] = []
        for _ in 0..<4 {
            guard rest.count >= 2 else { return nil }
            let count = Int(rest.removeFirst()) | Int(rest.removeFirst()) << 8
            guard rest.count >= count * 8 else { return nil }
            var list: [NodeID] = []
            for _ in 0..<count {
                var value: UInt64 = 0
                for shift in stride(from: 0, to: 64, by: 8) { value |= UInt64(rest.removeFirst()) << UInt64(shift) }
                list.append(NodeID(value))
            }
            lists.append(list)
        }
        guard rest.isEmpty, !lists[0].isEmpty else { return nil }
        self.init(voters: lists[0], outgoing: lists[1], learners: lists[2], nextLearners: lists[3])
    }
}
