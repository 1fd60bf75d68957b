/// Why bytes from a peer were refused. Nothing of them has acted.
public struct PeerCodecError: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Code: Hashable, Sendable {
        /// The bytes end before what they claim to hold.
        case truncated
        /// They do not begin as a frame does: something else speaks on this port.
        case notAFrame
        /// The peer speaks a version of the protocol that this node does not.
        case unsupportedVersion
        /// The peer belongs to another cluster.
        case otherCluster
        /// The frame names another sender or receiver than the connection does.
        case wrongNode
        /// A length beyond the limit; no memory was taken for it.
        case tooLarge
        /// The checksum does not match: damaged on the way.
        case checksum
        /// The checksum matches and the content makes no sense: another version's frame or a forged one.
        case malformed
    }

    public let code: Code
    public let message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { "\(code): \(message)" }
}
