import Foundation
import Testing

/// A text file of commands (`> command`), each followed by what it is expected to print; comments and blank lines stay.
///
/// The folder is looked for beside the calling file. After an intended change, run with `CAIRN_REWRITE=1` and commit the difference once each line of it is explained.
struct GoldenScript: CustomTestStringConvertible, Sendable {
    let url: URL
    var testDescription: String { url.deletingPathExtension().lastPathComponent }

    static func all(in folder: String, file: StaticString = #filePath) -> [GoldenScript] {
        let tests = URL(fileURLWithPath: "\(file)").deletingLastPathComponent()
        let found = try? FileManager.default.contentsOfDirectory(
            at: tests.appendingPathComponent(folder), includingPropertiesForKeys: nil)
        return (found ?? []).filter { $0.pathExtension == "txt" }
            .sorted { $0.lastPathComponent < $1.lastPathComponent }.map { GoldenScript(url: $0) }
    }

    func check(_ run: (String) throws -> [String]) throws {
        let text = try String(contentsOf: url, encoding: .utf8)
        var actual: [String] = []
        var isOutput = false
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
            if line.hasPrefix("> ") {
                actual.append(line)
                actual += try run(String(line.dropFirst(2)))
                isOutput = true
            } else if line.isEmpty || line.hasPrefix("#") {
                actual.append(line)
                isOutput = false
            } else if !isOutput {
                actual.append(line)
            }
        }
        let result = actual.joined(separator: "\n")
        guard result != text else { return }
        if ProcessInfo.processInfo.environment["CAIRN_REWRITE"] == "1" {
            return try result.write(to: url, atomically: true, encoding: .utf8)
        }
        let expected = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let difference = zip(expected, actual).enumerated().first { $0.element.0 != $0.element.1 }
        let offset = difference?.offset ?? min(expected.count, actual.count)
        Issue.record(
            """
            \(url.lastPathComponent) line \(offset + 1)
            expected: \(offset < expected.count ? expected[offset] : "(end)")
            actual:   \(offset < actual.count ? actual[offset] : "(end)")
            """)
    }
}
