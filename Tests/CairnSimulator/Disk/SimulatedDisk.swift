import CairnFiles
import CairnTestSupport

/// The state of a simulated disk: inodes, names, and the changes of names that no directory sync has made durable.
///
/// A value, so that a test can keep a copy and play several ends from one beginning.
struct SimulatedDisk: Sendable {
    static let powerIsOff = "the power is off"

    enum NameChange: Sendable {
        case set(directory: Int, name: String, inode: Int)
        case clear(directory: Int, name: String, inode: Int)
        case move(from: Int, name: String, to: Int, newName: String, inode: Int)

        func touches(_ directory: Int) -> Bool {
            switch self {
            case .set(let place, _, _), .clear(let place, _, _): place == directory
            case .move(let source, _, let target, _, _): source == directory || target == directory
            }
        }
    }

    var random: SeededGenerator
    var inodes: [SimulatedInode]
    var unsyncedNames: [NameChange] = []
    var capacity: UInt64 = .max
    var faults: [(id: Int, fault: DiskFault, matches: Int)] = []
    var faultsMade = 0
    /// Operations that change or sync anything, since the beginning.
    var operations = 0
    /// The count of operations after which the power goes.
    var powerCutAt: Int?
    var powerIsOn = true
    /// Handles of an earlier life are refused.
    var life = 0
    var locked: Set<Int> = []
    var trace: [String]? = nil

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        var root = SimulatedInode()
        root.isDirectory = true
        inodes = [root]
    }

    // MARK: Names

    static func components(_ path: String) -> [String] {
        path.split(separator: "/").map(String.init).filter { $0 != "." }
    }

    func find(_ path: String) -> Int? {
        var place = 0
        for name in Self.components(path) {
            guard inodes[place].isDirectory, let next = inodes[place].entries[name] else { return nil }
            place = next
        }
        return place
    }

    func file(_ path: String, _ operation: FileError.Operation) throws(FileError) -> Int {
        guard let inode = find(path) else { throw FileError(.notFound, operation, path: path) }
        guard !inodes[inode].isDirectory else {
            throw FileError(.io, operation, path: path, reason: "a directory")
        }
        return inode
    }

    func parent(of path: String, _ operation: FileError.Operation) throws(FileError) -> (directory: Int, name: String) {
        var names = Self.components(path)
        guard let name = names.popLast() else { throw FileError(.io, operation, path: path, reason: "the root") }
        guard let directory = find(names.joined(separator: "/")), inodes[directory].isDirectory else {
            throw FileError(.notFound, operation, path: path)
        }
        return (directory, name)
    }

    mutating func change(_ change: NameChange) {
        Self.apply(change, to: &inodes, \.entries)
        unsyncedNames.append(change)
    }

    private static func apply(
        _ change: NameChange, to inodes: inout [SimulatedInode],
        _ names: WritableKeyPath<SimulatedInode, [String: Int]>
    ) {
        switch change {
        case .set(let directory, let name, let inode):
            inodes[directory][keyPath: names][name] = inode
        case .clear(let directory, let name, let inode):
            if inodes[directory][keyPath: names][name] == inode { inodes[directory][keyPath: names][name] = nil }
        case .move(let source, let name, let target, let newName, let inode):
            if inodes[source][keyPath: names][name] == inode { inodes[source][keyPath: names][name] = nil }
            inodes[target][keyPath: names][newName] = inode
        }
    }

    mutating func synchronizeNames(of directory: Int) {
        var rest: [NameChange] = []
        for change in unsyncedNames {
            if change.touches(directory) {
                Self.apply(change, to: &inodes, \.durableEntries)
            } else {
                rest.append(change)
            }
        }
        unsyncedNames = rest
    }

    mutating func makeInode(isDirectory: Bool) -> Int {
        var inode = SimulatedInode()
        inode.isDirectory = isDirectory
        inodes.append(inode)
        return inodes.count - 1
    }

    /// Bytes of all files that have a name.
    var usedBytes: UInt64 {
        var seen: Set<Int> = []
        var open = [0]
        var total: UInt64 = 0
        while let place = open.popLast() {
            guard seen.insert(place).inserted else { continue }
            total += UInt64(inodes[place].bytes.count)
            open.append(contentsOf: inodes[place].entries.values)
        }
        return total
    }

    // MARK: Faults

    /// Counts the operation and decides what happens to it.
    mutating func begin(
        _ operation: FileError.Operation, _ path: String, changes: Bool
    ) throws(FileError) -> DiskFault.Effect? {
        guard powerIsOn else { throw FileError(.io, operation, path: path, reason: Self.powerIsOff) }
        if changes {
            if let cut = powerCutAt, operations >= cut {
                powerIsOn = false
                throw FileError(.io, operation, path: path, reason: Self.powerIsOff)
            }
            operations += 1
            trace?.append("\(operations) \(operation.rawValue) \(path)")
        }
        for index in faults.indices {
            let fault = faults[index].fault
            guard fault.operation == nil || fault.operation == operation,
                fault.pathContains.isEmpty || path.contains(fault.pathContains)
            else { continue }
            faults[index].matches += 1
            if let nth = fault.nth {
                guard faults[index].matches == nth || (fault.lasts && faults[index].matches > nth) else { continue }
            }
            if fault.probability < 1 {
                guard Double.random(in: 0..<1, using: &random) < fault.probability else { continue }
            }
            return fault.effect
        }
        return nil
    }

    /// The power goes and comes back: what was not synced survives in part.
    mutating func restart() {
        for change in unsyncedNames where random.oneIn(2) { Self.apply(change, to: &inodes, \.durableEntries) }
        unsyncedNames.removeAll()
        for index in inodes.indices {
            inodes[index].entries = inodes[index].durableEntries
            inodes[index].losePower(&random)
        }
        forgetProcess()
    }

    /// The process dies and the machine stays up: everything that was handed to the kernel is there.
    mutating func forgetProcess() {
        life += 1
        locked.removeAll()
        powerIsOn = true
        powerCutAt = nil
    }
}
