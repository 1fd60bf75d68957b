/// A parsed regular expression in PCRE's syntax, as far as MongoDB's users write it: everything but recursion,
/// conditionals, callouts and control verbs, which are refused by name.
indirect enum RegexNode {
    case empty
    case scalar(UInt32, ignoreCase: Bool)
    case any(newline: Bool)
    case set(ScalarSet)
    case sequence([RegexNode])
    case alternation([RegexNode])
    case repetition(RegexNode, min: Int, max: Int?, mode: RepetitionMode)
    case capture(RegexNode, index: Int)
    case assertion(RegexAssertion)
    case look(RegexNode, ahead: Bool, negated: Bool)
    case atomic(RegexNode)
    case backreference(Int, ignoreCase: Bool)

    enum RepetitionMode { case greedy, lazy, possessive }
}

enum RegexAssertion: Sendable {
    case textStart, textEnd, textEndOrNewline, lineStart, lineEnd, wordBoundary, notWordBoundary
}

/// The scalars that a class such as `[^a-z\d]` accepts. ASCII is a bitmap, the rest a list of ranges and categories.
struct ScalarSet: Sendable {
    private var asciiLow: UInt64 = 0
    private var asciiHigh: UInt64 = 0
    private var ranges: [ClosedRange<UInt32>] = []
    private var categories: [(prefix: String, negated: Bool)] = []
    var isNegated = false

    mutating func insert(_ range: ClosedRange<UInt32>) {
        if range.lowerBound < 128 {
            for scalar in range.lowerBound...min(range.upperBound, 127) { insertASCII(scalar) }
        }
        if range.upperBound >= 128 { ranges.append(max(range.lowerBound, 128)...range.upperBound) }
    }

    mutating func insert(_ scalar: UInt32) { insert(scalar...scalar) }

    private mutating func insertASCII(_ scalar: UInt32) {
        if scalar < 64 { asciiLow |= 1 << UInt64(scalar) } else { asciiHigh |= 1 << UInt64(scalar - 64) }
    }

    /// Takes in another set whole, its negation included.
    mutating func formUnion(_ other: ScalarSet) {
        if other.isNegated {
            for scalar in UInt32(0)..<128 where other.contains(scalar) { insertASCII(scalar) }
            var lower: UInt32 = 128
            for range in other.ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
                if range.lowerBound > lower { ranges.append(lower...(range.lowerBound - 1)) }
                lower = max(lower, range.upperBound + 1)
            }
            if lower <= 0x10FFFF { ranges.append(lower...0x10FFFF) }
        } else {
            asciiLow |= other.asciiLow
            asciiHigh |= other.asciiHigh
            ranges += other.ranges
        }
        categories += other.categories
    }

    mutating func insertCategory(_ prefix: String, negated: Bool) { categories.append((prefix, negated)) }

    /// Adds the other case of every letter in the set, for matching without regard to case.
    mutating func closeOverCase() {
        for scalar in UInt32(65)...90 {
            let lower = scalar + 32
            if hasASCII(scalar) || hasASCII(lower) {
                insertASCII(scalar)
                insertASCII(lower)
            }
        }
        for range in ranges where range.count <= 4096 {
            for scalar in range {
                let (lower, upper) = RegexCase.variants(of: scalar)
                if lower != scalar { insert(lower) }
                if upper != scalar { insert(upper) }
            }
        }
    }

    private func hasASCII(_ scalar: UInt32) -> Bool {
        scalar < 64 ? asciiLow >> UInt64(scalar) & 1 == 1 : asciiHigh >> UInt64(scalar - 64) & 1 == 1
    }

    @inline(__always) func contains(_ scalar: UInt32) -> Bool {
        if scalar < 128 && categories.isEmpty { return hasASCII(scalar) != isNegated }
        return containsSlowly(scalar) != isNegated
    }

    private func containsSlowly(_ scalar: UInt32) -> Bool {
        if scalar < 128 {
            if hasASCII(scalar) { return true }
        } else if ranges.contains(where: { $0.contains(scalar) }) {
            return true
        }
        guard !categories.isEmpty, let unicode = Unicode.Scalar(scalar) else { return false }
        let abbreviation = RegexCase.categoryAbbreviation(unicode.properties.generalCategory)
        return categories.contains { abbreviation.hasPrefix($0.prefix) != $0.negated }
    }

    static let digits = ScalarSet(ascii: [0x30...0x39])
    static let wordCharacters = ScalarSet(ascii: [0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A])
    static let whitespace = ScalarSet(ascii: [0x09...0x0D, 0x20...0x20])
    static let horizontalWhitespace = ScalarSet(ascii: [0x09...0x09, 0x20...0x20])
    static let verticalWhitespace = ScalarSet(ascii: [0x0A...0x0D])

    init() {}

    init(ascii: [ClosedRange<UInt32>]) {
        for range in ascii { insert(range) }
    }

    var negated: ScalarSet {
        var copy = self
        copy.isNegated.toggle()
        return copy
    }

    /// The set that `[:name:]` stands for inside a class, or nil.
    static func posix(_ name: String) -> ScalarSet? {
        switch name {
        case "alpha": ScalarSet(ascii: [0x41...0x5A, 0x61...0x7A])
        case "digit": digits
        case "alnum": ScalarSet(ascii: [0x30...0x39, 0x41...0x5A, 0x61...0x7A])
        case "upper": ScalarSet(ascii: [0x41...0x5A])
        case "lower": ScalarSet(ascii: [0x61...0x7A])
        case "space": whitespace
        case "blank": horizontalWhitespace
        case "punct": ScalarSet(ascii: [0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E])
        case "xdigit": ScalarSet(ascii: [0x30...0x39, 0x41...0x46, 0x61...0x66])
        case "cntrl": ScalarSet(ascii: [0x00...0x1F, 0x7F...0x7F])
        case "print": ScalarSet(ascii: [0x20...0x7E])
        case "graph": ScalarSet(ascii: [0x21...0x7E])
        case "word": wordCharacters
        case "ascii": ScalarSet(ascii: [0x00...0x7F])
        default: nil
        }
    }
}

/// Case mappings of single scalars, and the two-letter names of Unicode's general categories.
enum RegexCase {
    @inline(__always) static func folded(_ scalar: UInt32) -> UInt32 {
        if scalar < 128 { return scalar >= 65 && scalar <= 90 ? scalar + 32 : scalar }
        return variants(of: scalar).lower
    }

    static func variants(of scalar: UInt32) -> (lower: UInt32, upper: UInt32) {
        if scalar < 128 {
            if scalar >= 65 && scalar <= 90 { return (scalar + 32, scalar) }
            if scalar >= 97 && scalar <= 122 { return (scalar, scalar - 32) }
            return (scalar, scalar)
        }
        guard let unicode = Unicode.Scalar(scalar) else { return (scalar, scalar) }
        func single(_ mapping: String) -> UInt32 {
            let scalars = mapping.unicodeScalars
            return scalars.count == 1 ? scalars.first!.value : scalar
        }
        return (single(unicode.properties.lowercaseMapping), single(unicode.properties.uppercaseMapping))
    }

    static func categoryAbbreviation(_ category: Unicode.GeneralCategory) -> String {
        switch category {
        case .uppercaseLetter: "Lu"
        case .lowercaseLetter: "Ll"
        case .titlecaseLetter: "Lt"
        case .modifierLetter: "Lm"
        case .otherLetter: "Lo"
        case .nonspacingMark: "Mn"
        case .spacingMark: "Mc"
        case .enclosingMark: "Me"
        case .decimalNumber: "Nd"
        case .letterNumber: "Nl"
        case .otherNumber: "No"
        case .connectorPunctuation: "Pc"
        case .dashPunctuation: "Pd"
        case .openPunctuation: "Ps"
        case .closePunctuation: "Pe"
        case .initialPunctuation: "Pi"
        case .finalPunctuation: "Pf"
        case .otherPunctuation: "Po"
        case .mathSymbol: "Sm"
        case .currencySymbol: "Sc"
        case .modifierSymbol: "Sk"
        case .otherSymbol: "So"
        case .spaceSeparator: "Zs"
        case .lineSeparator: "Zl"
        case .paragraphSeparator: "Zp"
        case .control: "Cc"
        case .format: "Cf"
        case .surrogate: "Cs"
        case .privateUse: "Co"
        case .unassigned: "Cn"
        @unknown default: "Cn"
        }
    }
}
