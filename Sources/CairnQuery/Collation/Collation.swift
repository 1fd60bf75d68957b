import CairnBSON

/// Rules by which strings are compared, as a command, a collection or an index asks for them.
///
/// The rules are those of the root collation for `locale: "en"` and the other locales that add nothing to it:
///
/// - Strength 1 compares letters and digits alone, 2 their accents as well, 3 (the default) also the case, lower before
///   upper. `caseLevel` puts the case behind the letters at strength 1 and behind the accents at strength 2.
/// - `numericOrdering` compares runs of decimal digits as numbers.
///
/// What is compared are the keys of ``CollationKey``, which says how close they come to the Unicode Collation Algorithm. A
/// value with strings in it is compared as the same value with keys in their place (``folded(_:)``), so equality, order,
/// hashing and the encoding of index entries cannot disagree.
public struct Collation: Hashable, Sendable {
    /// The locale as it was given.
    public let locale: String
    /// 1 to 3.
    public let strength: Int
    public let caseLevel: Bool
    public let numericOrdering: Bool

    public init(locale: String = "en", strength: Int = 3, caseLevel: Bool = false, numericOrdering: Bool = false) {
        precondition((1...3).contains(strength), "no such strength: \(strength)")
        self.locale = locale
        self.strength = strength
        self.caseLevel = caseLevel
        self.numericOrdering = numericOrdering
    }

    /// Locales whose rules are the root's.
    static let rootLocales: Set<String> = [
        "en", "en_US", "en_GB", "en_AU", "en_CA", "en_IE", "en_NZ", "en_ZA", "en_IN", "de", "de_DE", "de_CH", "fr",
        "fr_FR", "it", "it_IT", "nl", "nl_NL", "pt", "pt_PT", "pt_BR", "ga", "id", "ms", "sw", "lb", "zu",
    ]

    /// Reads a `collation` document.
    ///
    /// - Returns: nil for `{locale: "simple"}`, which compares bytes.
    /// - Throws: code 2 for values that no collation has, 9 or 14 for what is none, 115 for what is not supported here.
    public static func parse(_ document: Document) throws(QueryError) -> Collation? {
        guard let given = document["locale"] else {
            throw QueryError(ErrorCode(40414), "BSON field 'collation.locale' is missing but a required field")
        }
        guard let locale = given.stringValue else {
            throw QueryError(
                .typeMismatch,
                "BSON field 'collation.locale' is the wrong type '\(given.type.alias)', expected type 'string'")
        }
        var strength = 3
        var caseLevel = false
        var numericOrdering = false
        for element in document {
            let name = element.name.string
            switch name {
            case "locale", "version": continue
            case "strength":
                guard let number = element.value.intExactly, (1...5).contains(number) else {
                    throw QueryError(
                        .badValue, "Enumeration value '\(element.value)' for field 'collation.strength' is not valid")
                }
                strength = number
            case "caseLevel": caseLevel = try flag(element)
            case "numericOrdering": numericOrdering = try flag(element)
            case "backwards", "normalization":
                // Canonically equal strings are equal here with and without `normalization`.
                if try flag(element), name == "backwards" {
                    throw unsupported("collation with backwards: true")
                }
            case "caseFirst": try check(element, known: ["off", "upper", "lower"], supported: "off")
            case "alternate": try check(element, known: ["non-ignorable", "shifted"], supported: "non-ignorable")
            case "maxVariable": try check(element, known: ["punct", "space"], supported: nil)
            default:
                throw QueryError(ErrorCode(40415), "BSON field 'collation.\(name)' is an unknown field.")
            }
        }
        if locale == "simple" {
            guard document.count == 1 || document.allSatisfy({ $0.name == "locale" || $0.name == "version" }) else {
                throw QueryError(
                    .badValue, "If 'locale=simple' no other fields should be set in a collation: \(document)")
            }
            return nil
        }
        guard rootLocales.contains(locale) else {
            throw unsupported("collation with locale '\(locale)': only 'simple' and locales of the root's rules are")
        }
        guard strength <= 3 else { throw unsupported("collation with strength \(strength): only 1, 2 and 3 are") }
        return Collation(
            locale: locale, strength: strength, caseLevel: caseLevel, numericOrdering: numericOrdering)
    }

    private static func flag(_ element: Document.Element) throws(QueryError) -> Bool {
        guard case .bool(let flag) = element.value else {
            throw QueryError(
                .typeMismatch,
                "BSON field 'collation.\(element.name)' is the wrong type '\(element.value.type.alias)', expected type 'bool'"
            )
        }
        return flag
    }

    private static func check(
        _ element: Document.Element, known: [String], supported: String?
    ) throws(QueryError) {
        guard let text = element.value.stringValue else {
            throw QueryError(
                .typeMismatch,
                "BSON field 'collation.\(element.name)' is the wrong type '\(element.value.type.alias)', expected type "
                    + "'string'")
        }
        guard known.contains(text) else {
            throw QueryError(
                .badValue, "Enumeration value '\(text)' for field 'collation.\(element.name)' is not a valid value.")
        }
        if let supported, text != supported { throw unsupported("collation with \(element.name): '\(text)'") }
    }

    private static func unsupported(_ what: String) -> QueryError {
        QueryError(.commandNotSupported, "\(what) is not supported by this version of Cairn")
    }

    /// With every option, as `listIndexes` and `listCollections` show it.
    public var document: Document {
        [
            "locale": .string(BSONString(locale)), "caseLevel": .bool(caseLevel), "caseFirst": "off",
            "strength": .int32(Int32(strength)), "numericOrdering": .bool(numericOrdering),
            "alternate": "non-ignorable", "maxVariable": "punct", "normalization": false, "backwards": false,
            "version": "57.1",
        ]
    }

    /// Two collations compare alike whatever locale of the root's rules they name.
    public static func == (left: Collation, right: Collation) -> Bool {
        left.strength == right.strength && left.caseLevel == right.caseLevel
            && left.numericOrdering == right.numericOrdering
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(strength)
        hasher.combine(caseLevel)
        hasher.combine(numericOrdering)
    }

    // MARK: - Comparing

    /// Less than 0 when `left` goes first. The same as comparing the ``folded(_:)`` values.
    public func compare(_ left: Value, _ right: Value) -> Int { Value.compare(folded(left), folded(right)) }

    /// The value with the key of each string in the string's place.
    public func folded(_ value: Value) -> Value {
        switch value {
        case .string(let text), .symbol(let text): .string(key(of: text))
        case .document(let document): Collation.hasStrings(document) ? .document(folded(document)) : value
        case .array(let array):
            Collation.hasStrings(array.document) ? .array(BSONArray(array.map { folded($0) })) : value
        default: value
        }
    }

    private func folded(_ document: Document) -> Document {
        var builder = DocumentBuilder()
        for element in document { builder.append(element.name, folded(element.value)) }
        return builder.finish()
    }

    /// Whether ``folded(_:)`` may change the value.
    static func concerns(_ value: Value) -> Bool {
        switch value {
        case .string, .symbol: true
        case .document(let document): hasStrings(document)
        case .array(let array): hasStrings(array.document)
        default: false
        }
    }

    private static func hasStrings(_ document: Document) -> Bool {
        document.contains { concerns($0.value) }
    }

    /// The bytes by which a string is compared, as the bytes of another string.
    public func key(of text: BSONString) -> BSONString {
        var key = CollationKey(self)
        return BSONString(utf8: key.bytes(of: text.utf8)[...])
    }
}

extension Value {
    /// Less than 0 when `left` goes first under a collation; nil compares strings by their bytes.
    static func compare(_ left: Value, _ right: Value, under collation: Collation?) -> Int {
        collation?.compare(left, right) ?? compare(left, right)
    }
}
