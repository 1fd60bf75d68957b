import CairnRaft

/// A host's sign of life for another host, which stands for the heartbeats of all its quiet groups.
///
/// It travels in a frame like the messages of groups, under the number ``GroupID/node``: kind (u8, 1), host (u64),
/// resignations (u64).
struct NodeSign: Hashable {
    private static let kind: UInt8 = 1

    /// Names the host, another one at each start of the process.
    var host: UInt64
    /// Counts the times that a leader here left its office with no heir in sight. Who follows one of this host's leaders
    /// in silence has to look again when it changes.
    var resignations: UInt64

    static let byteCount = 17

    init(host: UInt64, resignations: UInt64) {
        self.host = host
        self.resignations = resignations
    }

    func append(to frame: inout [UInt8]) {
        frame.append(Self.kind)
        frame.appendInteger(host)
        frame.appendInteger(resignations)
    }

    init(decoding bytes: ArraySlice<UInt8>) throws(PeerCodecError) {
        var reader = ByteReader(bytes)
        let kind: UInt8 = try reader.integer()
        guard kind == Self.kind else { throw PeerCodecError(.malformed, "a node's message of kind \(kind)") }
        host = try reader.integer()
        resignations = try reader.integer()
        try reader.end()
    }
}

/// What is known of a peer by its signs of life.
struct PeerWatch {
    /// Hosts of one process, one an event loop.
    private static let hostsMax = 64

    /// By the host's patience, when the last sign came.
    private var lastSign: UInt64
    /// The last sign of each host of the peer, the newest host last.
    private var signs: [NodeSign] = []

    init(since patience: UInt64) { lastSign = patience }

    func isSilent(at patience: UInt64, timeout: UInt64) -> Bool { patience >= lastSign + timeout }

    /// Takes a sign; true when what the peer vouched for before may not hold any more.
    mutating func take(_ sign: NodeSign, at patience: UInt64) -> Bool {
        lastSign = patience
        guard let known = signs.firstIndex(where: { $0.host == sign.host }) else {
            if signs.count == Self.hostsMax { signs.removeFirst() }
            signs.append(sign)
            return true
        }
        guard signs[known].resignations != sign.resignations else { return false }
        signs[known] = sign
        return true
    }
}
