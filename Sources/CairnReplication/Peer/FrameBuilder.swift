import CairnRaft

/// Gathers the messages for one peer and channel into frames.
///
/// The bytes of a message are appended where they will be sent from, so that an entry's payload is copied once. A full
/// frame goes out as soon as it is full; the rest goes out with ``finish(_:)``.
struct FrameBuilder {
    let peer: NodeID
    let channel: PeerChannel
    private let cluster: UInt64
    private let node: NodeID
    private var frame: [UInt8] = []
    private var count: UInt32 = 0
    /// The size of the last frame, from which the next one's buffer is guessed.
    private var lastBytes = 512

    init(cluster: UInt64, node: NodeID, peer: NodeID, channel: PeerChannel) {
        self.cluster = cluster
        self.node = node
        self.peer = peer
        self.channel = channel
    }

    var isEmpty: Bool { count == 0 }

    /// Adds one message whose kind and fields `write` appends, about `byteCount` of them.
    @inline(__always)
    mutating func add(
        group: GroupID, byteCount: Int, to transport: any PeerTransport, _ write: (inout [UInt8]) -> Void
    ) {
        if count > 0, frame.count + byteCount > PeerCodec.bytesWanted { finish(transport) }
        if count == 0 { begin(byteCount: byteCount) }
        let start = frame.count
        frame.appendInteger(UInt32(0))
        frame.appendInteger(group.rawValue)
        write(&frame)
        frame.setInteger(UInt32(frame.count - start - 4), at: start)
        count += 1
    }

    private mutating func begin(byteCount: Int) {
        frame = []
        frame.reserveCapacity(max(lastBytes, PeerCodec.headerBytes + byteCount + 64))
        frame.appendInteger(PeerCodec.magic)
        frame.appendInteger(PeerCodec.protocolVersion)
        frame.appendInteger(UInt16(0))
        frame.appendInteger(cluster)
        frame.appendInteger(node.rawValue)
        frame.appendInteger(peer.rawValue)
        frame.appendInteger(UInt32(0))
        frame.appendInteger(UInt32(0))
        frame.appendInteger(UInt32(0))
    }

    /// Sends what was gathered, if anything.
    mutating func finish(_ transport: any PeerTransport) {
        guard count > 0 else { return }
        precondition(frame.count <= PeerCodec.bytesMax, "a frame of \(frame.count) bytes")
        frame.setInteger(UInt32(frame.count - PeerCodec.headerBytes), at: 32)
        frame.setInteger(count, at: 36)
        frame.setInteger(
            PeerCodec.checksum(header: frame[..<40], body: frame[PeerCodec.headerBytes...]), at: 40)
        lastBytes = min(frame.count + frame.count / 4, 1 << 20)
        let sent = frame
        frame = []
        count = 0
        transport.send(sent, to: peer, over: channel)
    }
}
