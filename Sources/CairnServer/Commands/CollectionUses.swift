import CairnBSON

/// How often commands on each collection came over a loop, and how long they took.
struct CollectionUses: Sendable {
    /// Collections that are told apart; those that are used first after that many are not counted.
    static let collectionsMax = 10_000

    /// As `top` names them.
    enum Kind: Int, CaseIterable, Sendable {
        case queries, getmore, insert, update, remove, commands

        init(command: String) {
            self =
                switch command {
                case "find": .queries
                case "getMore": .getmore
                case "insert": .insert
                case "update": .update
                case "delete": .remove
                default: .commands
                }
        }

        var isWrite: Bool { self == .insert || self == .update || self == .remove }
    }

    struct Use: Sendable {
        private var counts = [Int64](repeating: 0, count: Kind.allCases.count)
        private var microseconds = [Int64](repeating: 0, count: Kind.allCases.count)

        mutating func add(_ kind: Kind, microseconds time: Int64) {
            counts[kind.rawValue] += 1
            microseconds[kind.rawValue] += time
        }

        mutating func add(_ other: Use) {
            for index in counts.indices {
                counts[index] += other.counts[index]
                microseconds[index] += other.microseconds[index]
            }
        }

        var document: Document {
            func part(_ kinds: [Kind]) -> Value {
                [
                    "time": .int64(kinds.reduce(0) { $0 + microseconds[$1.rawValue] }),
                    "count": .int64(kinds.reduce(0) { $0 + counts[$1.rawValue] }),
                ]
            }
            var document: Document = [
                "total": part(Kind.allCases), "readLock": part(Kind.allCases.filter { !$0.isWrite }),
                "writeLock": part(Kind.allCases.filter(\.isWrite)),
            ]
            for kind in Kind.allCases { document.append("\(kind)", part([kind])) }
            return document
        }
    }

    private var uses: [String: Use] = [:]

    mutating func note(_ namespace: String, _ kind: Kind, microseconds: Int64) {
        guard uses[namespace] != nil || uses.count < Self.collectionsMax else { return }
        uses[namespace, default: Use()].add(kind, microseconds: microseconds)
    }

    mutating func add(_ other: CollectionUses) {
        for (namespace, use) in other.uses { uses[namespace, default: Use()].add(use) }
    }

    var sorted: [(namespace: String, use: Use)] { uses.sorted { $0.key < $1.key }.map { ($0.key, $0.value) } }
}
