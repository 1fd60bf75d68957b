public import CairnDatabase
public import CairnRaft
public import CairnReplication

/// Carries a request to a group's replica on a node: by a call when it lives on this loop, by a hop to another loop of
/// the node, or over a peer connection.
///
/// A gateway decides nothing: which node to ask, whether to ask again and when to give up is the router's business. The replica
/// that is asked answers or refuses; it never passes a request on, so that two stale maps cannot make a request go in circles.
public protocol GroupGateway: AnyObject {
    /// Starts `request` and returns. `completion` is called exactly once, on the router's loop, perhaps before this
    /// returns: with the answer, with the group's refusal, or with `.unavailable` when no answer came: the peer cannot be
    /// reached, the connection broke, or `deadline` (of ``RouterClock/nanoseconds``) passed. `.unavailable` leaves open
    /// whether the request was carried out.
    func call(
        _ request: GroupRequest, to group: GroupID, at node: NodeID, deadline: UInt64,
        completion: @escaping (Result<GroupReply, GroupFailure>) -> Void)

    /// Who leads the group, as far as a replica on this node knows; nil when it does not know or there is none.
    func leader(of group: GroupID) -> NodeID?

    /// The cluster has a newer layout: nodes may have come or gone.
    func adopt(_ layout: ClusterLayout)
}
