public import CairnRaft

/// Carries frames to other nodes; the shell that owns the sockets implements it.
///
/// Frames of one channel arrive in the order in which they were sent or not at all: a transport drops when a peer is
/// slow or gone, and must bound what it queues. It calls back only through ``GroupHost/receive(frame:from:over:now:)``,
/// never from within ``send(_:to:over:)``.
public protocol PeerTransport: AnyObject {
    /// Queues one frame that ``PeerCodec`` made. Never blocks, never fails loudly.
    func send(_ frame: [UInt8], to peer: NodeID, over channel: PeerChannel)
}
