import CairnBSON
import Foundation
import Testing

/// The worked example of the format's page, read from the page.
struct KeyFormatTests {
    /// The bytes of the example, a line each, without what is said about them.
    private func example() throws -> [[UInt8]] {
        let page = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../Sources/CairnBSON/CairnBSON.docc/CairnBSON.md")
        let text = try String(contentsOf: page, encoding: .utf8)
        let blocks = text.components(separatedBy: "```")
        try #require(blocks.count == 3, "the page has one block")
        return blocks[1].split(separator: "\n").map { line in
            line.components(separatedBy: "   ")[0].split(separator: " ").compactMap { UInt8($0, radix: 16) }
        }
    }

    private let fields: [(value: Value, descending: Bool)] = [
        ("né", false), (-1.5, true), (["a": 300], false), (.decimal128(Decimal128("0.1")!), false),
    ]

    @Test func thePageShowsTheKeyThatIsWritten() throws {
        let lines = try example()
        try #require(lines.count == fields.count)
        for (line, field) in zip(lines, fields) {
            #expect(line == KeyEncoding.encode(field.value, descending: field.descending), "\(field.value)")
        }
    }

    @Test func thePagesKeyComesApartIntoItsFields() throws {
        let lines = try example()
        var rest = Array(lines.joined())[...]
        for (line, field) in zip(lines, fields) {
            let length = try #require(KeyEncoding.skip(rest, descending: field.descending))
            #expect(Array(rest.prefix(length)) == line)
            rest = rest.dropFirst(length)
        }
        #expect(rest.isEmpty)
    }

    static let frozen: [(Value, String)] = [
        (0, "20"), (1, "2202"), (-1, "1EFD"), (127, "22FE"), (128, "230100"),
        (.int64(.max), "29FFFFFFFFFFFFFFFE"), (.int64(.min), "16BC1FFFFFFFFFFFFFFF"),
        (1.5, "22033FE000000000000000"), (0.5, "213FE000000000000000"), (.double(.nan), "14"),
        (.double(.infinity), "2B"), (.double(-.infinity), "15"), (.minKey, "05"), (.maxKey, "F0"), (nil, "0F"),
        (false, "6E"), (true, "6F"), ("", "3C0000"), ("a\0", "3C6100FF0000"), ([:], "4600"), (.array([]), "5000"),
        (.array([nil, 1]), "500F220200"), (.date(milliseconds: 0), "788000000000000000"),
        (.binary(Binary([7], subtype: .uuid)), "5A000000010407"),
    ]

    @Test func keysOnDiskNeverChange() {
        for (value, hex) in Self.frozen {
            let bytes = KeyEncoding.encode(value).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }
            #expect(bytes.joined().uppercased() == hex, "\(value)")
        }
    }
}
