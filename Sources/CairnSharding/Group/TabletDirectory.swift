import CairnFiles

/// Which directory below a group's own is its tablet.
///
/// It is `tablet`, until a snapshot replaced it: then it is `tablet-N`, and the file `TABLET` says so. The file is replaced
/// atomically, so that after a power cut the tablet is the old one or the new one; whatever the file does not name is
/// a leftover.
enum TabletDirectory {
    private static let pointer = "TABLET"
    private static let first = "tablet"
    private static let damaged = "DAMAGED"
    /// The empty tablet that answers while a damaged one waits to be replaced.
    private static let standIn = "stand-in"
    /// A longer name was not written here.
    private static let nameBytesMax = 64

    /// The path of the group's tablet; it may not exist yet.
    static func current(in directory: String, _ fileSystem: any FileSystem) throws -> String {
        try fileSystem.createDirectory(directory)
        return "\(directory)/\(try name(in: directory, fileSystem))"
    }

    private static func name(in directory: String, _ fileSystem: any FileSystem) throws -> String {
        let path = "\(directory)/\(pointer)"
        guard try fileSystem.exists(path) else { return first }
        let name = String(decoding: try fileSystem.contents(of: path, limit: nameBytesMax), as: UTF8.self)
        guard name.hasPrefix(first), !name.contains("/") else {
            throw FileError(.corruption, .read, path: path)
        }
        return name
    }

    /// Gives the files in `source` names in a new tablet directory and makes that the group's tablet.
    /// - Returns: its path.
    static func install(from source: String, in directory: String, _ fileSystem: any FileSystem) throws -> String {
        let current = try name(in: directory, fileSystem)
        let number = current.split(separator: "-").dropFirst().first.flatMap { Int($0) } ?? 0
        let new = "\(first)-\(number + 1)"
        let target = "\(directory)/\(new)"
        // A former attempt may have left some of it.
        try fileSystem.removeTree(target)
        try fileSystem.createDirectory(target)
        for file in try fileSystem.list(source) {
            try fileSystem.link("\(source)/\(file)", to: "\(target)/\(file)")
        }
        try fileSystem.synchronizeDirectory(target)
        try fileSystem.replace("\(directory)/\(pointer)", with: Array(new.utf8))
        try fileSystem.removeTree(source)
        return target
    }

    /// Writes down that the present tablet is damaged and how, for starts that might not notice.
    static func noteDamage(_ reason: String, in directory: String, _ fileSystem: any FileSystem) throws {
        let tablet = try name(in: directory, fileSystem)
        try fileSystem.replace("\(directory)/\(damaged)", with: Array("\(tablet)\n\(reason.prefix(1000))".utf8))
    }

    /// What was written down about the present tablet; a note about another one is a leftover.
    static func notedDamage(in directory: String, _ fileSystem: any FileSystem) throws -> String? {
        let path = "\(directory)/\(damaged)"
        guard try fileSystem.exists(path) else { return nil }
        let text = String(decoding: try fileSystem.contents(of: path, limit: 1 << 16), as: UTF8.self)
        let lines = text.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
        guard try lines[0] == name(in: directory, fileSystem) else { return nil }
        return lines.count > 1 ? String(lines[1]) : text
    }

    /// An empty directory for a tablet that stands in for one that cannot be opened.
    static func makeStandIn(in directory: String, _ fileSystem: any FileSystem) throws -> String {
        let path = "\(directory)/\(standIn)"
        try fileSystem.removeTree(path)
        return path
    }

    /// Removes tablets that a crash left behind, and what stood in for one.
    static func removeOthers(than tablet: String, in directory: String, _ fileSystem: any FileSystem) throws {
        try fileSystem.removeTree("\(directory)/\(standIn)")
        if try notedDamage(in: directory, fileSystem) == nil, try fileSystem.exists("\(directory)/\(damaged)") {
            try fileSystem.remove("\(directory)/\(damaged)")
        }
        for name in try fileSystem.list(directory) where name == first || name.hasPrefix("\(first)-") {
            if "\(directory)/\(name)" != tablet { try fileSystem.removeTree("\(directory)/\(name)") }
        }
    }
}
