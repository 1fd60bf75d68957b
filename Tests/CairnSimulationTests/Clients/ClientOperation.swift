import CairnBSON
import CairnSharding
import CairnTestSupport

/// One operation of a client: the command that it is, and what the answer says.
struct ClientOperation {
    private enum Kind {
        case register(RegisterModel.Input, History<Int, RegisterModel>.Ticket)
        case counter(CounterModel.Input, History<Int, CounterModel>.Ticket)
        case list(ListModel.Input, History<Int, ListModel>.Ticket)
        case ledger
    }

    private let kind: Kind
    private let key: Int
    let command: ClientCommand
    let isWrite: Bool

    /// Draws an operation and notes that it begins.
    init(drawnFrom random: inout SeededGenerator, client: Int, seen: [Int: Int], _ workload: Workload) {
        let key = Int(random.next() % Workload.keys)
        switch random.next() % 10 {
        case 0...3:
            let value = workload.newValue()
            let input: RegisterModel.Input =
                switch random.next() % 12 {
                case 0...2: .write(value)
                case 3: .insert(value)
                case 4...6: seen[key].map { .compareAndSet($0, value) } ?? .write(value)
                case 7: random.oneIn(2) ? .delete : .insert(value)
                default: .read
                }
            self.init(input, key, client: client, workload)
        case 4...5:
            let input: CounterModel.Input =
                switch random.next() % 3 {
                case 0: .read
                case 1: .add(1 + Int(random.next() % 3))
                default: .addAndRead(1 + Int(random.next() % 3))
                }
            self.init(input, key, client: client, workload)
        case 6...7:
            self.init(random.oneIn(2) ? .read : .append(workload.newValue()), key, client: client, workload)
        default:
            self.init(ledgerEntry: workload.newValue(), padding: Int(random.next() % 400), workload)
        }
    }

    init(_ input: RegisterModel.Input, _ key: Int, client: Int, _ workload: Workload) {
        kind = .register(input, workload.registerHistory.begin(input, on: key, client: client))
        self.key = key
        isWrite = input != .read
        let collection = Workload.registers
        let id = Self.id(key)
        command =
            switch input {
            case .read: Self.find(collection, key)
            case .write(let value): Self.update(collection, key, ["$set": ["v": Value(value)]])
            case .insert(let value): Self.insert(collection, ["_id": id, "v": Value(value)])
            case .compareAndSet(let old, let new):
                Self.command(
                    "findAndModify", collection,
                    [
                        "query": ["_id": id, "v": Value(old)], "update": ["$set": ["v": Value(new)]],
                    ])
            case .delete:
                Self.command("delete", collection, [:], ("deletes", [["q": ["_id": id], "limit": 1]]))
            }
    }

    init(_ input: CounterModel.Input, _ key: Int, client: Int, _ workload: Workload) {
        kind = .counter(input, workload.counterHistory.begin(input, on: key, client: client))
        self.key = key
        isWrite = input != .read
        let collection = Workload.counters
        command =
            switch input {
            case .read: Self.find(collection, key)
            case .add(let number): Self.update(collection, key, ["$inc": ["n": Value(number)]])
            case .addAndRead(let number):
                Self.command(
                    "findAndModify", collection,
                    [
                        "query": ["_id": Self.id(key)], "update": ["$inc": ["n": Value(number)]], "upsert": true,
                        "new": true,
                    ])
            }
    }

    init(_ input: ListModel.Input, _ key: Int, client: Int, _ workload: Workload) {
        kind = .list(input, workload.listHistory.begin(input, on: key, client: client))
        self.key = key
        isWrite = input != .read
        command =
            switch input {
            case .read: Self.find(Workload.lists, key)
            case .append(let member): Self.update(Workload.lists, key, ["$push": ["members": Value(member)]])
            }
    }

    init(ledgerEntry number: Int, padding: Int, _ workload: Workload) {
        kind = .ledger
        key = number
        isWrite = true
        workload.ledgerEntries[number] = .some(nil)
        command = Self.insert(
            Workload.ledger,
            ["_id": Value(number), "padding": .string(BSONString(String(repeating: "x", count: padding)))])
    }

    // MARK: Commands

    private static func id(_ key: Int) -> Value { Value(key) }

    private static func command(
        _ name: String, _ collection: String, _ body: Document, _ sequence: (name: String, documents: [Document])? = nil
    ) -> ClientCommand {
        var whole: Document = [name: .string(BSONString(collection))]
        for element in body { whole.append(element.name.string, element.value) }
        return ClientCommand(
            name: name, database: Workload.database, body: whole, sequences: sequence.map { [$0] } ?? [])
    }

    private static func find(_ collection: String, _ key: Int) -> ClientCommand {
        command("find", collection, ["filter": ["_id": id(key)], "limit": 1, "singleBatch": true])
    }

    private static func insert(_ collection: String, _ document: Document) -> ClientCommand {
        command("insert", collection, [:], ("documents", [document]))
    }

    private static func update(_ collection: String, _ key: Int, _ update: Document) -> ClientCommand {
        command(
            "update", collection, [:],
            ("updates", [["q": ["_id": id(key)], "u": .document(update), "upsert": true]]))
    }

    // MARK: Answers

    /// Notes what the reply says; false when it leaves open what became of the operation.
    func note(_ reply: Document, in workload: Workload, seen: inout [Int: Int]) -> Bool {
        guard reply["ok"] == 1.0 else { return false }
        switch kind {
        case .register(let input, let ticket):
            guard let output = Self.output(of: input, reply) else { return false }
            switch (input, output) {
            case (_, .value(let value)): seen[key] = value
            case (.write(let value), _), (.insert(let value), .happened(true)),
                (.compareAndSet(_, let value), .happened(true)):
                seen[key] = value
            default: seen[key] = nil
            }
            workload.registerHistory.end(ticket, output)
        case .counter(let input, let ticket):
            switch input {
            case .read: workload.counterHistory.end(ticket, .value(Self.found(reply)?["n"]?.int ?? 0))
            case .add:
                guard Self.count(reply) == 1 else { return false }
                workload.counterHistory.end(ticket, .done)
            case .addAndRead:
                guard let value = reply["value"]?.asDocument?["n"]?.int else { return false }
                workload.counterHistory.end(ticket, .value(value))
            }
        case .list(let input, let ticket):
            switch input {
            case .read:
                let members = Self.found(reply)?["members"]?.asArray ?? []
                workload.listHistory.end(ticket, .members(members.compactMap(\.int)))
            case .append:
                guard Self.count(reply) == 1 else { return false }
                workload.listHistory.end(ticket, .done)
            }
        case .ledger:
            guard Self.count(reply) == 1 else { return false }
            workload.ledgerEntries[key] = true
        }
        return true
    }

    private static func output(of input: RegisterModel.Input, _ reply: Document) -> RegisterModel.Output? {
        switch input {
        case .read: return .value(found(reply)?["v"]?.int)
        case .write: return count(reply) == 1 ? .done : nil
        case .insert:
            if count(reply) == 1 { return .happened(true) }
            let error = reply["writeErrors"]?.asArray?.first { _ in true }?.asDocument
            return error?["code"]?.int == 11000 ? .happened(false) : nil
        case .compareAndSet: return reply["value"].map { .happened($0.asDocument != nil) }
        case .delete: return count(reply).map { .happened($0 == 1) }
        }
    }

    /// The documents that the command found or made; nil when it says of any that something went wrong.
    private static func count(_ reply: Document) -> Int? {
        reply["writeErrors"] == nil && reply["writeConcernError"] == nil ? reply["n"]?.int : nil
    }

    private static func found(_ reply: Document) -> Document? {
        reply["cursor"]?.asDocument?["firstBatch"]?.asArray?.first { _ in true }?.asDocument
    }

    /// Nobody will know. A read without an answer says nothing at all.
    func giveUp(in workload: Workload) {
        guard !isWrite else { return }
        switch kind {
        case .register(_, let ticket): workload.registerHistory.takeBack(ticket)
        case .counter(_, let ticket): workload.counterHistory.takeBack(ticket)
        case .list(_, let ticket): workload.listHistory.takeBack(ticket)
        case .ledger: break
        }
    }
}

extension Value {
    fileprivate init(_ number: Int) { self = .int64(Int64(number)) }
    fileprivate var int: Int? { int64Exactly.map { Int($0) } }
}
