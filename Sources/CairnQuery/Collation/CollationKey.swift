import CairnBSON
@_spi(_Unicode) import Swift

/// Makes bytes whose order is that of strings under a ``Collation``.
///
/// A key has up to four levels, each compared only when those before are equal; what is the same for all of plain lower
/// case ASCII is left out, so that the key of such a text is as long as the text.
///
/// ```
/// letters [01 accents [01 cases [01 variants]]]        no byte of a level is below 02
/// ```
///
/// The text is decomposed canonically first (the standard library's tables). Then, for each scalar:
///
/// - Space, punctuation, symbols, currency signs, digits, letters follow each other in this order, as in the root
///   collation. ASCII characters have the root's order within their class; others come behind them in the order of their
///   code points, so scripts are sorted as Unicode lays them out.
/// - Letters count without their case. `æ`, `œ` and `ß` count as two letters, `ø`, `đ`, `ł`, `ħ` and final sigma as the
///   plain letter with a difference of the third level.
/// - Marks (accents) are the second level. Controls and formatting characters are ignored.
///
/// This is not the whole Unicode Collation Algorithm: there are no contractions, letters of one script that are not ASCII
/// are in the order of their code points, and compatibility forms such as full-width letters stand for themselves.
struct CollationKey {
    private let collation: Collation
    private var letters: [UInt8] = []
    private var accents: [UInt8] = []
    private var cases: [UInt8] = []
    private var variants: [UInt8] = []

    init(_ collation: Collation) { self.collation = collation }

    mutating func bytes(of utf8: ArraySlice<UInt8>) -> [UInt8] {
        letters.reserveCapacity(utf8.count + 8)
        if utf8.allSatisfy({ $0 < 0x80 }) {
            appendASCII(utf8)
        } else {
            appendScalars(String(decoding: utf8, as: UTF8.self)._nfd.map { $0 })
        }
        var levels = [letters]
        if collation.strength >= 2 { levels.append(Self.trimmed(accents)) }
        if collation.caseLevel || collation.strength >= 3 { levels.append(Self.trimmed(cases)) }
        if collation.strength >= 3 { levels.append(Self.trimmed(variants)) }
        while levels.count > 1, levels.last!.isEmpty { levels.removeLast() }
        var key = levels[0]
        for level in levels.dropFirst() {
            key.append(Mark.separator)
            key += level
        }
        return key
    }

    /// The common weight says nothing at the end of a level: texts that are equal so far have as many letters.
    private static func trimmed(_ level: [UInt8]) -> [UInt8] {
        var level = level
        while level.last == Mark.common { level.removeLast() }
        return level
    }

    private enum Mark {
        static let separator: UInt8 = 0x01
        /// The weight of a letter without accent, of lower case, of the plain form.
        static let common: UInt8 = 0x02
        static let upper: UInt8 = 0x03
        /// Is followed by the code point of an accent or of a variant.
        static let scalar: UInt8 = 0x04
    }

    /// First bytes of letters' weights; where other characters follow those of ASCII, their code point comes behind.
    private enum Class {
        static let spaces: UInt8 = 0x02
        static let otherSpace: UInt8 = 0x0A
        static let punctuation: UInt8 = 0x0B
        static let otherPunctuation: UInt8 = 0x28
        static let symbols: UInt8 = 0x29
        static let otherSymbol: UInt8 = 0x33
        static let dollar: UInt8 = 0x34
        static let otherCurrency: UInt8 = 0x35
        /// Ten digits, or with `numericOrdering` one byte before a number.
        static let digits: UInt8 = 0x36
        static let otherNumber: UInt8 = 0x42
        static let letters: UInt8 = 0x43
        static let otherLetter: UInt8 = 0x60
        static let unknown: UInt8 = 0x61
    }

    /// The weight of each ASCII character; 0 is ignored. Digits and letters of either case are filled in by rule.
    private static let ascii: [UInt8] = {
        var weights = [UInt8](repeating: 0, count: 128)
        func fill(_ characters: String, from first: UInt8) {
            for (position, byte) in characters.utf8.enumerated() { weights[Int(byte)] = first + UInt8(position) }
        }
        fill("\t\n\u{B}\u{C}\r ", from: Class.spaces)
        fill("_-,;:!?.'\"()[]{}@*/\\&#%", from: Class.punctuation)
        fill("`^+<=>|~", from: Class.symbols)
        fill("$", from: Class.dollar)
        fill("0123456789", from: Class.digits)
        fill("abcdefghijklmnopqrstuvwxyz", from: Class.letters)
        fill("ABCDEFGHIJKLMNOPQRSTUVWXYZ", from: Class.letters)
        return weights
    }()

    private mutating func appendASCII(_ bytes: ArraySlice<UInt8>) {
        var position = bytes.startIndex
        while position < bytes.endIndex {
            let byte = bytes[position]
            if collation.numericOrdering, Self.isDigit(byte) {
                let end = bytes[position...].firstIndex { !Self.isDigit($0) } ?? bytes.endIndex
                appendNumber(bytes[position..<end].map { $0 - 0x30 })
                position = end
                continue
            }
            position += 1
            let weight = Self.ascii[Int(byte)]
            guard weight != 0 else { continue }
            append([weight], isUpper: byte >= 0x41 && byte <= 0x5A)
        }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

    private mutating func appendScalars(_ scalars: [Unicode.Scalar]) {
        var position = 0
        while position < scalars.count {
            let scalar = scalars[position]
            if collation.numericOrdering, Self.digit(scalar) != nil {
                var digits: [UInt8] = []
                while position < scalars.count, let digit = Self.digit(scalars[position]) {
                    digits.append(digit)
                    position += 1
                }
                appendNumber(digits)
                continue
            }
            position += 1
            append(scalar)
        }
    }

    private static func digit(_ scalar: Unicode.Scalar) -> UInt8? {
        if scalar.isASCII { return isDigit(UInt8(scalar.value)) ? UInt8(scalar.value) - 0x30 : nil }
        guard scalar.properties.generalCategory == .decimalNumber, let value = scalar.properties.numericValue else {
            return nil
        }
        return UInt8(exactly: value)
    }

    /// A run of digits as a number: how many digits it has without leading zeros, then the digits.
    private mutating func appendNumber(_ digits: [UInt8]) {
        let significant = Array(digits.drop { $0 == 0 })
        var weight: [UInt8] = [Class.digits]
        for shift in [21, 14, 7, 0] { weight.append(UInt8(significant.count >> shift & 0x7F) | 0x80) }
        weight += significant.map { $0 + Mark.common }
        append(weight, isUpper: false)
    }

    private mutating func append(_ scalar: Unicode.Scalar) {
        if scalar.isASCII {
            let weight = Self.ascii[Int(scalar.value)]
            if weight != 0 { append([weight], isUpper: scalar.value >= 0x41 && scalar.value <= 0x5A) }
            return
        }
        let properties = scalar.properties
        if let digit = Self.digit(scalar) {
            append([Class.digits + digit], isUpper: false, variant: scalar)
            return
        }
        if properties.canonicalCombiningClass != .notReordered {
            accents.append(Mark.scalar)
            Self.append(scalar, to: &accents)
            return
        }
        switch properties.generalCategory {
        case .control, .format, .surrogate: return
        case .spaceSeparator, .lineSeparator, .paragraphSeparator: append(Class.otherSpace, scalar)
        case .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation, .finalPunctuation,
            .connectorPunctuation, .otherPunctuation:
            append(Class.otherPunctuation, scalar)
        case .mathSymbol, .modifierSymbol, .otherSymbol: append(Class.otherSymbol, scalar)
        case .currencySymbol: append(Class.otherCurrency, scalar)
        case .decimalNumber, .letterNumber, .otherNumber: append(Class.otherNumber, scalar)
        case .nonspacingMark where properties.isVariationSelector: return
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .nonspacingMark,
            .spacingMark, .enclosingMark:
            appendLetter(scalar)
        case .privateUse, .unassigned: append(Class.unknown, scalar)
        @unknown default: append(Class.unknown, scalar)
        }
    }

    /// Letters that count as others, with a difference of the last level.
    private static let plain: [Unicode.Scalar: String] = [
        "æ": "ae", "œ": "oe", "ß": "ss", "ø": "o", "đ": "d", "ł": "l", "ħ": "h", "ς": "σ",
    ]

    private mutating func appendLetter(_ scalar: Unicode.Scalar) {
        let lower = scalar.properties.lowercaseMapping.unicodeScalars.first ?? scalar
        let isUpper = lower != scalar
        guard let plain = Self.plain[lower] else {
            append([Class.otherLetter] + Self.weight(lower), isUpper: isUpper)
            return
        }
        for letter in plain.unicodeScalars {
            let weight =
                letter.isASCII ? [Self.ascii[Int(letter.value)]] : [Class.otherLetter] + Self.weight(letter)
            append(weight, isUpper: isUpper, variant: lower)
        }
    }

    private mutating func append(_ first: UInt8, _ scalar: Unicode.Scalar) {
        append([first] + Self.weight(scalar), isUpper: false)
    }

    /// Appends one letter to all levels.
    private mutating func append(_ weight: [UInt8], isUpper: Bool, variant: Unicode.Scalar? = nil) {
        letters += weight
        accents.append(Mark.common)
        cases.append(isUpper ? Mark.upper : Mark.common)
        if let variant {
            variants.append(Mark.scalar)
            Self.append(variant, to: &variants)
        } else {
            variants.append(Mark.common)
        }
    }

    /// A code point in three bytes, none of them below 80.
    private static func weight(_ scalar: Unicode.Scalar) -> [UInt8] {
        [14, 7, 0].map { UInt8(scalar.value >> UInt32($0) & 0x7F) | 0x80 }
    }

    private static func append(_ scalar: Unicode.Scalar, to level: inout [UInt8]) { level += weight(scalar) }
}
