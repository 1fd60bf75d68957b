import CairnBSON
import CairnFiles
import CairnSharding

/// The newest layout that a node has heard of, as its file `layout` holds it: what it starts with before it reaches the meta
/// group.
enum StoredLayout {
    private static func path(_ directory: String) -> String { "\(directory)/layout" }

    /// - Returns: nil when the node never heard of any but the configuration's.
    /// - Throws: ``ConfigurationError`` when the file is no layout.
    static func read(in directory: String, _ fileSystem: any FileSystem) throws -> ClusterLayout? {
        let file = path(directory)
        guard try fileSystem.exists(file) else { return nil }
        let text = String(decoding: try fileSystem.contents(of: file, limit: 16 << 20), as: UTF8.self)
        guard let layout = (try? ExtendedJSON.document(from: text)).flatMap({ ClusterLayout(document: $0) }) else {
            throw ConfigurationError(
                key: "node.data", problem: "\(file) cannot be read",
                fix: "copy it from another node: all of them have the same")
        }
        return layout
    }

    static func write(_ layout: ClusterLayout, in directory: String, _ fileSystem: any FileSystem) throws {
        try fileSystem.replace(path(directory), with: Array(ExtendedJSON.string(from: layout.document).utf8) + [10])
    }
}
