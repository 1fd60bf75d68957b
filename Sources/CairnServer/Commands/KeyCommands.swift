import CairnBSON
import CairnFiles
import CairnQuery
import CairnReplication
import CairnStorage

/// What `cairn key` asks a node about its data keys. No reply has a key in it, only ids.
enum KeyCommands {
    static var all: [Command] {
        [
            .local("cairnRotateKey", "gives this node a new data key", rotate),
            .local("cairnDataKeys", "the data keys of this node, and what is under them", list),
        ]
    }

    private static func upkeep(of node: isolated NodeLoop) throws -> DataKeyUpkeep {
        guard let upkeep = node.shared.dataKeys.withLock({ $0 }) else {
            throw QueryError(
                .illegalOperation, "the data of node \(node.shared.configuration.node.rawValue) is not encrypted")
        }
        return upkeep
    }

    /// With `rewrite: true` it also begins to write again what is under older keys; `cairnDataKeys` tells when that is done.
    private static func rotate(_ invocation: Invocation, _ node: isolated NodeLoop) async throws -> Document {
        let upkeep = try upkeep(of: node)
        let id = Keyring.name(try upkeep.keyring.rotate())
        node.shared.logger.info("a new data key is in use", metadata: ["key": "\(id)"])
        if invocation.body["rewrite"]?.asBool ?? false {
            var engines: [Engine] = []
            for loop in node.siblings { engines += await loop.engines() }
            upkeep.beginRewriting(engines)
        } else {
            for loop in node.siblings { await loop.requestFlush() }
        }
        return ["keyId": .string(BSONString(id)), "ok": .double(1)]
    }

    private static func list(_ invocation: Invocation, _ node: isolated NodeLoop) async throws -> Document {
        let upkeep = try upkeep(of: node)
        let usage = try await upkeep.usage()
        let active = upkeep.keyring.activeID
        let keys = upkeep.keyring.keys.map { key -> Value in
            let use = usage.uses[key.id] ?? DataKeyUsage.Use()
            return .document([
                "keyId": .string(BSONString(Keyring.name(key.id))), "active": .bool(key.id == active),
                "files": .int64(Int64(use.files)), "bytes": .int64(Int64(use.bytes)),
            ])
        }
        let clear = usage.uses[0] ?? DataKeyUsage.Use()
        let (isRewriting, failure) = upkeep.state
        var reply = DocumentBuilder()
        reply.append("keys", BSONArray(keys))
        reply.append("clearFiles", Int64(clear.files))
        reply.append("clearBytes", Int64(clear.bytes))
        reply.append("unknownFiles", Int64(usage.unknown.count))
        reply.append("rewriting", isRewriting)
        if let failure { reply.append("failure", failure) }
        reply.append("ok", 1.0)
        return reply.finish()
    }
}
