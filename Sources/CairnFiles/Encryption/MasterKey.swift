/// The 32 bytes that everything else is locked with. It is not kept with the data, and never written by Cairn.
public struct MasterKey: Sendable {
    public static let byteCount = 32

    let bytes: [UInt8]

    /// A key of the operator's: 64 hexadecimal digits, with white space around them at most, or 32 raw bytes.
    ///
    /// - Throws: ``FileError`` with code `unsupported` that names `source`.
    public init(_ contents: [UInt8], source: String) throws(FileError) {
        if contents.count == Self.byteCount {
            bytes = contents
            return
        }
        var digits = contents[...]
        while let first = digits.first, Self.isSpace(first) { digits.removeFirst() }
        while let last = digits.last, Self.isSpace(last) { digits.removeLast() }
        let values = digits.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
        guard values.count == 2 * Self.byteCount, values.count == digits.count else {
            throw FileError(
                .unsupported, .decode, path: source,
                reason:
                    "a master key is 64 hexadecimal digits or 32 bytes, not \(contents.count) bytes of something else")
        }
        bytes = stride(from: 0, to: values.count, by: 2).map { UInt8(values[$0] << 4 | values[$0 + 1]) }
    }

    /// A new one, as 64 hexadecimal digits.
    public static func generate() -> String {
        let digits = Array("0123456789abcdef")
        return String(KeyMaterial.random(byteCount).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
}
