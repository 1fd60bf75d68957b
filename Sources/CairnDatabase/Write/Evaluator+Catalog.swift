import CairnBSON
import CairnQuery
import CairnStorage

// The group's copies of descriptors, as log entries like everything else.
extension Evaluator {
    func installDescriptor(_ request: GroupRequest) throws -> GroupReply {
        let new: CollectionDescriptor
        do {
            new = try CollectionDescriptor(request.body)
        } catch {
            throw QueryError(.badValue, "\(error)")
        }
        guard new.id != .system, new.id.rawValue < .max else { throw QueryError(.badValue, "no such collection id") }
        guard !catalog.dropped.contains(new.id) else { throw GroupFailure.droppedCollection }
        let old = catalog[new.id]
        if let old, old.epoch >= new.epoch { return GroupReply(body: Self.epochBody(old.epoch)) }

        // What cannot be parsed must not get into the log: every replica would stumble over it.
        _ = try CollectionState(new, group: catalog.group, flags: [:], previous: nil, at: Version(rawValue: 0))
        let oldIndexes = old?.descriptor.indexes ?? []
        let known = Set(oldIndexes.map(\.id))
        let kept = Set(new.indexes.map(\.id))
        for index in new.indexes where !known.contains(index.id) {
            guard old == nil || index.id.rawValue >= old!.descriptor.nextIndexID else {
                throw QueryError(.badValue, "index number \(index.id) of \(new.namespace) was used before")
            }
        }
        for index in oldIndexes {
            if let same = new.indexes.first(where: { $0.id == index.id }), same.key != index.key {
                throw QueryError(.badValue, "index number \(index.id) of \(new.namespace) has got another key")
            }
        }

        let isEmpty = try old == nil || view.isEmpty(prefix: KeySpace.prefix(new.id, .records))
        for index in oldIndexes where !kept.contains(index.id) {
            try putSystem(.indexFlags(new.id, index.id), nil)
            let from = KeySpace.prefix(new.id, index.id)
            deleteRange(from: from, to: ByteOrder.successor(ofPrefix: from) ?? KeySpace.end(of: new.id))
        }
        for index in new.indexes where !known.contains(index.id) {
            try putSystem(.indexFlags(new.id, index.id), [(isEmpty ? IndexFlags.ready : []).rawValue])
        }
        try putSystem(.descriptor(new.id), new.document.bytes)
        return GroupReply(body: Self.epochBody(new.epoch))
    }

    private static func epochBody(_ epoch: UInt64) -> Document {
        ["epoch": .int64(Int64(bitPattern: epoch))]
    }

    func dropCollection(_ request: GroupRequest) throws -> GroupReply {
        let id = request.collection
        guard id != .system, id.rawValue < .max else { throw QueryError(.badValue, "no such collection id") }
        guard !catalog.dropped.contains(id) else { return GroupReply() }
        try removeDescriptor(id)
        deleteRange(from: KeySpace.prefix(id, .records), to: KeySpace.end(of: id))
        try putSystem(.dropped(id), [])
        return GroupReply()
    }

    func releaseIfEmpty(_ request: GroupRequest) throws -> GroupReply {
        let id = request.collection
        guard let state = catalog[id] else {
            if catalog.dropped.contains(id) { throw GroupFailure.droppedCollection }
            return GroupReply(body: ["released": true])
        }
        guard state.epoch <= request.epoch else { throw GroupFailure.staleEpoch(current: state.epoch) }
        guard try view.isEmpty(prefix: KeySpace.prefix(id, .records)) else {
            return GroupReply(body: ["released": false])
        }
        try removeDescriptor(id)
        return GroupReply(body: ["released": true])
    }

    private func removeDescriptor(_ id: CollectionID) throws {
        guard let state = catalog[id] else { return }
        for index in state.indexes { try putSystem(.indexFlags(id, index.id), nil) }
        try putSystem(.descriptor(id), nil)
    }
}
