import CairnBSON
import CairnFiles

/// Reads values back from their key encoding, as text.
///
/// An encoding has lost its value's type where types compare as one (numbers; strings, symbols and code), so it becomes
/// text that shows the value, not the value itself. The format is that of `KeyEncoding`.
struct KeyValueReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int
    /// What every byte is combined with: FF for a descending encoding.
    private let mask: UInt8
    /// Deeper values do not occur: the encoding stops taking containers apart before.
    private static let depthMax = 250

    init(_ bytes: ArraySlice<UInt8>, descending: Bool) {
        self.bytes = bytes
        position = bytes.startIndex
        mask = descending ? 0xFF : 0
    }

    var isAtEnd: Bool { position == bytes.endIndex }

    /// The next value; nil if none begins here.
    mutating func value() -> String? { value(depth: 0) }

    private mutating func value(depth: Int) -> String? {
        guard depth < Self.depthMax, let first = byte() else { return nil }
        return content(first, depth)
    }

    private mutating func content(_ first: UInt8, _ depth: Int) -> String? {
        switch first {
        case 0x05: return "MinKey"
        case 0x0A: return "undefined"
        case 0x0F: return "null"
        case 0xF0: return "MaxKey"
        case 0x14: return "NaN"
        case 0x15...0x2B: return number(first)
        case 0x3C: return quoted()
        case 0x46: return elements(named: true, depth).map { "{\($0)}" }
        case 0x50: return elements(named: false, depth).map { "[\($0)]" }
        case 0x5A:
            guard let count = integer(4), let subtype = byte(), let data = take(Int(count)) else { return nil }
            return "Binary(\(subtype), \(InspectionText.hexadecimal(data.prefix(32)))\(data.count > 32 ? "…" : ""))"
        case 0x64: return take(12).map { "ObjectId(\(InspectionText.hexadecimal($0)))" }
        case 0x6E: return "false"
        case 0x6F: return "true"
        case 0x78: return integer(8).map { "Date(\(Int64(bitPattern: $0 ^ 1 << 63)))" }
        case 0x82: return integer(8).map { "Timestamp(\($0 >> 32), \($0 & 0xFFFF_FFFF))" }
        case 0x8C:
            guard let pattern = text(), let options = text() else { return nil }
            return "/\(String(decoding: pattern, as: UTF8.self))/\(String(decoding: options, as: UTF8.self))"
        case 0x96:
            guard let count = integer(4), let name = take(Int(count)), let id = take(12) else { return nil }
            return "DBPointer(\(String(decoding: name, as: UTF8.self)), \(InspectionText.hexadecimal(id)))"
        case 0xA0: return quoted().map { "Code(\($0))" }
        case 0xAA:
            guard let code = quoted(), let scope = elements(named: true, depth) else { return nil }
            return "Code(\(code), {\(scope)})"
        default: return nil
        }
    }

    // MARK: - Bytes

    private mutating func byte() -> UInt8? {
        guard position < bytes.endIndex else { return nil }
        defer { position += 1 }
        return bytes[position] ^ mask
    }

    private mutating func take(_ count: Int) -> [UInt8]? {
        guard count >= 0, count <= bytes.endIndex - position else { return nil }
        defer { position += count }
        return bytes[position..<position + count].map { $0 ^ mask }
    }

    private mutating func integer(_ count: Int, sign: UInt8 = 0) -> UInt64? {
        take(count)?.reduce(0) { $0 << 8 | UInt64($1 ^ sign) }
    }

    // MARK: - Text and containers

    /// Text ends with 00 00; 00 FF is a 00 in it.
    private mutating func text() -> [UInt8]? {
        var result: [UInt8] = []
        while let next = byte() {
            guard next == 0 else {
                result.append(next)
                continue
            }
            switch byte() {
            case 0: return result
            case 0xFF: result.append(0)
            default: return nil
            }
        }
        return nil
    }

    private mutating func quoted() -> String? {
        text().map { text in
            var result = "\""
            for character in String(decoding: text, as: UTF8.self).unicodeScalars {
                result += character.escaped(asASCII: false)
            }
            return result + "\""
        }
    }

    private mutating func elements(named: Bool, _ depth: Int) -> String? {
        var parts: [String] = []
        while let first = byte() {
            if first == 0 { return parts.joined(separator: ", ") }
            // Nested too deep to be taken apart; the bytes of the whole container follow.
            if first == 0x01 { return text().map { "… \($0.count) bytes" } }
            if named {
                var name: [UInt8] = []
                while true {
                    guard let next = byte() else { return nil }
                    if next == 0 { break }
                    name.append(next)
                }
                guard let value = value(depth: depth + 1) else { return nil }
                parts.append("\(String(decoding: name, as: UTF8.self)): \(value)")
            } else {
                guard let value = content(first, depth + 1) else { return nil }
                parts.append(value)
            }
        }
        return nil
    }

    // MARK: - Numbers

    private mutating func number(_ first: UInt8) -> String? {
        let zero: UInt8 = 0x20
        if first == zero { return "0" }
        let isNegative = first < zero
        let sign: UInt8 = isNegative ? 0xFF : 0
        let prefix = isNegative ? "-" : ""
        switch isNegative ? zero - first : first - zero {
        case 11: return prefix + "Infinity"
        case 1, 10: return fraction(sign, whole: 0).map { prefix + $0 }
        case let numberClass:
            guard let doubled = integer(Int(numberClass) - 1, sign: sign) else { return nil }
            guard doubled & 1 == 1 else { return "\(prefix)\(doubled >> 1)" }
            return fraction(sign, whole: doubled >> 1).map { prefix + $0 }
        }
    }

    /// What comes behind a whole part, or a number that has none: a double, and if that is not all of it, its digits.
    private mutating func fraction(_ sign: UInt8, whole: UInt64) -> String? {
        guard let bits = integer(8, sign: sign), let form = byte() else { return nil }
        if form ^ sign == 0 {
            let double = Double(bitPattern: bits)
            return whole == 0 ? "\(double)" : "\(Double(whole) + double)"
        }
        guard form ^ sign == 1, let power = integer(2, sign: sign) else { return nil }
        var digits = ""
        while let pair = byte() {
            let pair = pair ^ sign
            if pair == 0 { return Self.decimal(digits, power: Int(power) - 0x4000, whole: whole) }
            guard pair <= 100 else { return nil }
            digits += (pair - 1 < 10 ? "0" : "") + "\(pair - 1)"
        }
        return nil
    }

    /// `digits`, whose first stands for ten to the `power`, behind the whole part.
    private static func decimal(_ digits: String, power: Int, whole: UInt64) -> String? {
        var digits = digits
        while digits.utf8.count > 1, digits.hasSuffix("0") { digits.removeLast() }
        guard !digits.isEmpty else { return nil }
        if power < 0, power > -40 { return "\(whole)." + String(repeating: "0", count: -power - 1) + digits }
        let rest = digits.dropFirst()
        return "\(whole == 0 ? "" : "\(whole) + ")\(digits.prefix(1))\(rest.isEmpty ? "" : "." + rest)E\(power)"
    }
}
