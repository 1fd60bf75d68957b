import CairnRaft

extension Message {
    /// The message as a line of a conversation.
    var line: String { "\(from)@\(term) -> \(to) \(kind.line)" }
}

extension Message.Kind {
    var line: String {
        switch self {
        case .preVoteRequest(let proposedTerm, let last): "pre-vote? term \(proposedTerm) last \(last)"
        case .preVoteResponse(let proposedTerm, let granted): "pre-vote \(granted ? "yes" : "no") term \(proposedTerm)"
        case .voteRequest(let last, let isTransfer): "vote? last \(last)\(isTransfer ? " transfer" : "")"
        case .voteResponse(let granted): "vote \(granted ? "yes" : "no")"
        case .append(let previous, let commit, let entries):
            "append after \(previous) commit \(commit)"
                + (entries.isEmpty ? "" : " [" + entries.map(\.line).joined(separator: ", ") + "]")
        case .appendResponse(let match): "has \(match)"
        case .appendRejection(let rejected, let hint): "lacks \(rejected) try \(hint)"
        case .heartbeat(let heartbeat):
            "heartbeat \(heartbeat.round) commit \(heartbeat.commit)"
                + (heartbeat.revokedToken == 0 ? "" : " revoke") + (heartbeat.isLast ? " the last" : "")
        case .heartbeatResponse(let response):
            response.round == 0
                ? "are you there?" : "heartbeat answer \(response.round)\(response.isQuiet ? " quiet" : "")"
        case .commit(let position): "commit \(position)"
        case .snapshot(let metadata): "snapshot \(metadata.position) \(metadata.configuration)"
        case .snapshotRequest: "send a snapshot"
        case .logLost(let request): "my log is lost (\(request))"
        case .released(let request): "goes on without you (\(request))"
        case .timeoutNow: "take over"
        case .staleTerm: "stale term"
        case .removed(let configurationIndex): "removed since \(configurationIndex)"
        }
    }
}

extension Entry {
    var line: String {
        switch kind {
        case .normal: "\(position) \"\(String(decoding: payload, as: UTF8.self))\""
        case .empty: "\(position) empty"
        case .configuration: "\(position) " + (Configuration(decoding: payload)?.description ?? "?")
        }
    }
}
