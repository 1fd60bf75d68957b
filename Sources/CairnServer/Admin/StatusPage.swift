import CairnReplication

/// A page that says at a glance how the node and its groups are.
enum StatusPage {
    static func html(of node: Node) async -> String {
        let configuration = node.shared.configuration
        let groups = await node.groupStatuses()
        let space = await node.space()
        let alarm =
            space.map {
                $0.state == .ample
                    ? "" : "<p><b>Read-only: the disk is nearly full, \($0.freeBytes >> 20) MiB are free.</b></p>"
            } ?? ""
        let rows = groups.map { status in
            let leader: String
            switch status.role {
            case .leader: leader = "this node"
            case .follower(let known): leader = known.map { "node \($0.rawValue)" } ?? "<b>none</b>"
            }
            let name = status.group.rawValue == 0 ? "0 (meta)" : "\(status.group.rawValue)"
            return """
                <tr><td>\(name)</td><td>\(leader)</td><td>\(status.term.rawValue)</td>\
                <td>\(status.commitIndex.rawValue)</td><td>\(status.appliedIndex.rawValue)</td>\
                <td>\(status.logBytes / 1024) KiB</td></tr>
                """
        }
        return """
            <!doctype html>
            <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
            <meta http-equiv="refresh" content="2"><title>Cairn node \(configuration.node.rawValue)</title>
            <style>
            body { font: 16px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 50em; padding: 0 1em; }
            table { border-collapse: collapse; width: 100%; } td, th { text-align: right; padding: .2em .6em; }
            td:nth-child(-n+2), th:nth-child(-n+2) { text-align: left; } tr:nth-child(even) { background: #f2f2ee; }
            </style></head><body>
            <h1>Cairn, node \(configuration.node.rawValue) of \(configuration.nodes.count)</h1>
            <p>Cluster <b>\(configuration.clusterName)</b> · clients at <code>\(configuration.address.client)</code> ·
            \(node.shared.connectionCount.open) connected · \(MachineFacts.residentBytes() >> 20) MiB</p>
            \(alarm)<table><tr><th>Group</th><th>Leader</th><th>Term</th><th>Committed</th><th>Applied</th><th>Log</th></tr>
            \(rows.joined(separator: "\n"))
            </table></body></html>
            """
    }
}
