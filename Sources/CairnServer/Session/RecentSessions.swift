import CairnBSON

/// The logical sessions that clients used on one loop, and when. A session that nobody used for its lifetime is forgotten, and when
/// there are too many the one that rested longest: it is a list to look at, nothing depends on it.
struct RecentSessions {
    static let lifetimeMilliseconds: Int64 = 30 * 60_000
    /// Sessions that one loop remembers.
    static let countMax = 20_000

    private var lastUses: [Binary: Int64] = [:]

    var count: Int { lastUses.count }

    /// Notes the session of a command that has one.
    mutating func note(_ command: Document, now: Int64) {
        guard case .document(let session)? = command["lsid"], case .binary(let id)? = session["id"],
            id.data.count == 16
        else { return }
        if lastUses[id] != nil {
            lastUses[id] = now
            return
        }
        if lastUses.count >= Self.countMax { makeRoom(now: now) }
        // A copy: the command's bytes must not stay for the sake of sixteen.
        lastUses[Binary(Array(id.data), subtype: id.subtype)] = now
    }

    mutating func end(_ id: Binary) { lastUses[id] = nil }

    /// Forgets a tenth at once, so that the search for the oldest is rare.
    private mutating func makeRoom(now: Int64) {
        expire(now: now)
        guard lastUses.count >= Self.countMax else { return }
        for (id, _) in lastUses.sorted(by: { $0.value < $1.value }).prefix(Self.countMax / 10) { lastUses[id] = nil }
    }

    private mutating func expire(now: Int64) {
        lastUses = lastUses.filter { now - $0.value < Self.lifetimeMilliseconds }
    }

    /// The sessions in the shape of `$listLocalSessions`.
    mutating func documents(now: Int64) -> [Document] {
        expire(now: now)
        return lastUses.map { id, lastUse in
            [
                "_id": ["id": .binary(id), "uid": .binary(Binary(Self.nobody))],
                "lastUse": .date(milliseconds: lastUse),
            ]
        }
    }

    /// The SHA-256 of no user's name, which is what sessions have without authentication.
    private static let nobody: [UInt8] = [
        0xE3, 0xB0, 0xC4, 0x42, 0x98, 0xFC, 0x1C, 0x14, 0x9A, 0xFB, 0xF4, 0xC8, 0x99, 0x6F, 0xB9, 0x24, 0x27, 0xAE,
        0x41, 0xE4, 0x64, 0x9B, 0x93, 0x4C, 0xA4, 0x95, 0x99, 0x1B, 0x78, 0x52, 0xB8, 0x55,
    ]
}
