import CairnFiles
import CairnRaft
import Synchronization

/// Which data folder each peer came with, so that a node that comes back without its data is known for what it is.
///
/// A founder with an empty folder would vote as though it had never promised anything, and two of three such would found the
/// cluster anew over the one that still has the data. So a folder gets a number when it is made, every hello names it, and what
/// a peer came with first is remembered in `NODE_ID`.
///
/// May be called on any thread.
final class PeerAcquaintances: Sendable {
    private let identity: Mutex<NodeIdentity>
    private let directory: String
    private let fileSystem: any FileSystem

    init(_ identity: NodeIdentity, in directory: String, _ fileSystem: any FileSystem) {
        self.identity = Mutex(identity)
        self.directory = directory
        self.fileSystem = fileSystem
    }

    /// Lets a peer in, or says why not. A member of the cluster that is new is written down first, which takes a sync.
    func admit(_ peer: NodeID, folder: UInt64, isMember: Bool) throws(LinkRefusal) {
        let failure: LinkRefusal? = identity.withLock { identity in
            if let known = identity.acquaintances[peer] {
                guard known != folder else { return nil }
                return LinkRefusal(
                    reason:
                        "it comes with another data folder than before, so what it had promised is lost: let it join as a new "
                        + "node (cairn node add), and drain and remove node \(peer.rawValue)",
                    callerMustEnd: true)
            }
            guard isMember else { return nil }
            var next = identity
            next.acquaintances[peer] = folder
            do { try next.write(in: directory, fileSystem) } catch {
                return LinkRefusal(reason: "its data folder cannot be remembered: \(error)")
            }
            identity = next
            return nil
        }
        if let failure { throw failure }
    }
}
