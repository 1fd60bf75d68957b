/// Turns the text of a pattern into a ``RegexNode``.
///
/// Groups nest at most ``depthMax`` deep, so that a pattern made of a million parentheses costs an error and not
/// the stack.
struct RegexParser {
    struct Flags {
        var ignoreCase = false
        var multiline = false
        var dotMatchesNewline = false
        var extended = false
    }

    static let depthMax = 100

    private let pattern: [UInt32]
    private var position = 0
    private var flags: Flags
    private var depth = 0
    private(set) var captureCount = 0
    private(set) var captureNames: [(name: String, index: Int)] = []
    private var backreferenceMax = 0

    static func parse(_ pattern: String, flags: Flags) throws(QueryError) -> (node: RegexNode, captures: Int) {
        var parser = RegexParser(pattern: pattern.unicodeScalars.map(\.value), flags: flags)
        let node = try parser.alternation()
        guard parser.position == parser.pattern.count else { throw parser.invalid("unmatched closing parenthesis") }
        guard parser.backreferenceMax <= parser.captureCount else {
            throw parser.invalid("reference to non-existent subpattern")
        }
        return (node, parser.captureCount)
    }

    private init(pattern: [UInt32], flags: Flags) {
        self.pattern = pattern
        self.flags = flags
    }

    private func invalid(_ reason: String) -> QueryError {
        QueryError(ErrorCode(51091), "Regular expression is invalid: \(reason) (at offset \(position))")
    }

    private var isAtEnd: Bool { position >= pattern.count }

    private func peek(_ offset: Int = 0) -> UInt32? {
        position + offset < pattern.count ? pattern[position + offset] : nil
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard peek() == character.value else { return false }
        position += 1
        return true
    }

    private mutating func take(_ text: String) -> Bool {
        let scalars = text.unicodeScalars.map(\.value)
        guard position + scalars.count <= pattern.count,
            pattern[position..<position + scalars.count].elementsEqual(scalars)
        else { return false }
        position += scalars.count
        return true
    }

    // MARK: Structure

    private mutating func alternation() throws(QueryError) -> RegexNode {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.depthMax else { throw invalid("parentheses are too deeply nested") }
        let outerFlags = flags
        defer { flags = outerFlags }
        var branches = [try sequence()]
        while take("|") { branches.append(try sequence()) }
        return branches.count == 1 ? branches[0] : .alternation(branches)
    }

    private mutating func sequence() throws(QueryError) -> RegexNode {
        var items: [RegexNode] = []
        while let next = peek(), next != 0x7C, next != 0x29 {
            if flags.extended && skipExtendedSpace() { continue }
            guard let atom = try atom() else { continue }
            items.append(try quantified(atom))
        }
        return items.count == 1 ? items[0] : (items.isEmpty ? .empty : .sequence(items))
    }

    private mutating func skipExtendedSpace() -> Bool {
        guard let next = peek() else { return false }
        if ScalarSet.whitespace.contains(next) {
            position += 1
            return true
        }
        if next == 0x23 {
            while let character = peek(), character != 0x0A {
                position += 1
                _ = character
            }
            return true
        }
        return false
    }

    private mutating func quantified(_ atom: RegexNode) throws(QueryError) -> RegexNode {
        var node = atom
        while true {
            if flags.extended { while skipExtendedSpace() {} }
            let range: (Int, Int?)
            if take("*") {
                range = (0, nil)
            } else if take("+") {
                range = (1, nil)
            } else if take("?") {
                range = (0, 1)
            } else if peek() == 0x7B, let counted = countedRange() {
                range = counted
            } else {
                return node
            }
            if let upper = range.1, upper < range.0 { throw invalid("numbers out of order in {} quantifier") }
            if max(range.0, range.1 ?? 0) > 1000 { throw invalid("number too big in {} quantifier") }
            let mode: RegexNode.RepetitionMode = take("?") ? .lazy : (take("+") ? .possessive : .greedy)
            node = .repetition(node, min: range.0, max: range.1, mode: mode)
        }
    }

    /// `{2}`, `{2,}`, `{,3}` or `{2,3}`; anything else after a brace is a literal brace, as in PCRE.
    private mutating func countedRange() -> (Int, Int?)? {
        let start = position
        position += 1
        let lower = number()
        var upper = lower
        if take(",") {
            upper = number()
        } else if lower == nil {
            position = start
            return nil
        }
        guard take("}"), lower != nil || upper != nil else {
            position = start
            return nil
        }
        return (lower ?? 0, upper)
    }

    private mutating func number() -> Int? {
        var value: Int?
        while let digit = peek(), digit >= 0x30, digit <= 0x39 {
            value = min((value ?? 0) * 10 + Int(digit - 0x30), 1_000_000)
            position += 1
        }
        return value
    }

    // MARK: Atoms

    private mutating func atom() throws(QueryError) -> RegexNode? {
        let character = pattern[position]
        position += 1
        switch Unicode.Scalar(character) {
        case "(": return try group()
        case "[": return .set(try characterClass())
        case ".": return .any(newline: flags.dotMatchesNewline)
        case "^": return .assertion(flags.multiline ? .lineStart : .textStart)
        case "$": return .assertion(flags.multiline ? .lineEnd : .textEndOrNewline)
        case "\\": return try escape()
        case "*", "+", "?":
            position -= 1
            throw invalid("quantifier does not follow a repeatable item")
        default: return .scalar(character, ignoreCase: flags.ignoreCase)
        }
    }

    private mutating func group() throws(QueryError) -> RegexNode? {
        guard take("?") else {
            if peek() == 0x2A { throw invalid("control verbs are not supported") }
            captureCount += 1
            return try closing(.capture(.empty, index: captureCount))
        }
        if take("#") {
            while let next = peek(), next != 0x29 {
                position += 1
                _ = next
            }
            guard take(")") else { throw invalid("missing ) after (?# comment") }
            return nil
        }
        if take(":") { return try closing(.empty) }
        if take("=") { return try closing(.look(.empty, ahead: true, negated: false)) }
        if take("!") { return try closing(.look(.empty, ahead: true, negated: true)) }
        if take("<=") { return try closing(.look(.empty, ahead: false, negated: false)) }
        if take("<!") { return try closing(.look(.empty, ahead: false, negated: true)) }
        if take(">") { return try closing(.atomic(.empty)) }
        if take("P=") {
            let index = try namedReference(until: ")")
            return .backreference(index, ignoreCase: flags.ignoreCase)
        }
        if take("P<") || take("<") { return try namedCapture(until: ">") }
        if take("'") { return try namedCapture(until: "'") }
        return try inlineFlags()
    }

    private mutating func namedCapture(until end: Unicode.Scalar) throws(QueryError) -> RegexNode {
        let name = try name(until: end)
        captureCount += 1
        captureNames.append((name, captureCount))
        return try closing(.capture(.empty, index: captureCount))
    }

    private mutating func name(until end: Unicode.Scalar) throws(QueryError) -> String {
        var name = String.UnicodeScalarView()
        while let next = peek(), next != end.value, ScalarSet.wordCharacters.contains(next) {
            name.append(Unicode.Scalar(next)!)
            position += 1
        }
        guard take(end), !name.isEmpty else { throw invalid("syntax error in subpattern name") }
        return String(name)
    }

    private mutating func namedReference(until end: Unicode.Scalar) throws(QueryError) -> Int {
        let name = try name(until: end)
        guard let found = captureNames.first(where: { $0.name == name }) else {
            throw invalid("reference to non-existent subpattern")
        }
        return found.index
    }

    /// Parses the body of a group up to its parenthesis and puts it into `shape`.
    private mutating func closing(_ shape: RegexNode) throws(QueryError) -> RegexNode {
        let body = try alternation()
        guard take(")") else { throw invalid("missing closing parenthesis") }
        switch shape {
        case .capture(_, let index): return .capture(body, index: index)
        case .look(_, let ahead, let negated): return .look(body, ahead: ahead, negated: negated)
        case .atomic: return .atomic(body)
        default: return body
        }
    }

    /// `(?i)` for the rest of the group, `(?i-s:…)` for a group of its own.
    private mutating func inlineFlags() throws(QueryError) -> RegexNode? {
        var changed = flags
        var on = true
        while let next = peek() {
            position += 1
            switch Unicode.Scalar(next) {
            case "i": changed.ignoreCase = on
            case "m": changed.multiline = on
            case "s": changed.dotMatchesNewline = on
            case "x": changed.extended = on
            case "-": on = false
            case ")":
                flags = changed
                return nil
            case ":":
                let outer = flags
                flags = changed
                defer { flags = outer }
                return try closing(.empty)
            default:
                position -= 1
                throw invalid("unrecognized character after (? or (?-")
            }
        }
        throw invalid("missing closing parenthesis")
    }

    // MARK: Escapes and classes

    private mutating func escape() throws(QueryError) -> RegexNode? {
        guard let character = peek() else { throw invalid("\\ at end of pattern") }
        if let set = try classEscape() { return .set(set) }
        switch Unicode.Scalar(character) {
        case "b":
            position += 1
            return .assertion(.wordBoundary)
        case "B":
            position += 1
            return .assertion(.notWordBoundary)
        case "A", "G":
            position += 1
            return .assertion(.textStart)
        case "z":
            position += 1
            return .assertion(.textEnd)
        case "Z":
            position += 1
            return .assertion(.textEndOrNewline)
        case "R":
            position += 1
            let crlf = RegexNode.sequence([.scalar(0x0D, ignoreCase: false), .scalar(0x0A, ignoreCase: false)])
            return .atomic(.alternation([crlf, .set(.verticalWhitespace)]))
        case "Q":
            position += 1
            var items: [RegexNode] = []
            while !isAtEnd && !take("\\E") {
                items.append(.scalar(pattern[position], ignoreCase: flags.ignoreCase))
                position += 1
            }
            return items.isEmpty ? nil : .sequence(items)
        case "E":
            position += 1
            return nil
        case "k":
            position += 1
            let end: Unicode.Scalar
            if take("<") {
                end = ">"
            } else if take("{") {
                end = "}"
            } else if take("'") {
                end = "'"
            } else {
                throw invalid("\\k is not followed by a name")
            }
            return .backreference(try namedReference(until: end), ignoreCase: flags.ignoreCase)
        case _ where character >= 0x31 && character <= 0x39:
            let start = position
            if let index = number(), index < 10 || index <= captureCount {
                backreferenceMax = max(backreferenceMax, index)
                return .backreference(index, ignoreCase: flags.ignoreCase)
            }
            position = start
        default: break
        }
        return .scalar(try scalarEscape(), ignoreCase: flags.ignoreCase)
    }

    /// `\d` and its relatives, which stand for sets both inside and outside brackets.
    private mutating func classEscape() throws(QueryError) -> ScalarSet? {
        guard let character = peek() else { return nil }
        let set: ScalarSet
        switch Unicode.Scalar(character) {
        case "d": set = .digits
        case "D": set = .digits.negated
        case "w": set = .wordCharacters
        case "W": set = .wordCharacters.negated
        case "s": set = .whitespace
        case "S": set = .whitespace.negated
        case "h": set = .horizontalWhitespace
        case "H": set = .horizontalWhitespace.negated
        case "v": set = .verticalWhitespace
        case "V": set = .verticalWhitespace.negated
        case "N":
            var newline = ScalarSet()
            newline.insert(0x0A)
            set = newline.negated
        case "p", "P":
            position += 1
            var negated = Unicode.Scalar(character) == "P"
            var name = ""
            if take("{") {
                if take("^") { negated.toggle() }
                while let next = peek(), next != 0x7D, let scalar = Unicode.Scalar(next) {
                    name.unicodeScalars.append(scalar)
                    position += 1
                }
                guard take("}") else { throw invalid("malformed \\P or \\p sequence") }
            } else if let next = peek(), let scalar = Unicode.Scalar(next) {
                name.unicodeScalars.append(scalar)
                position += 1
            }
            let letters = "LMNPSZC"
            let isKnown = name == "Any" || (1...2).contains(name.count) && letters.contains(name.first ?? "?")
            guard isKnown else { throw invalid("unknown property name after \\P or \\p") }
            var property = ScalarSet()
            property.insertCategory(name == "Any" ? "" : name, negated: negated)
            return property
        default: return nil
        }
        position += 1
        return set
    }

    private mutating func scalarEscape() throws(QueryError) -> UInt32 {
        let character = pattern[position]
        position += 1
        switch Unicode.Scalar(character) {
        case "n": return 0x0A
        case "t": return 0x09
        case "r": return 0x0D
        case "f": return 0x0C
        case "e": return 0x1B
        case "a": return 0x07
        case "c":
            guard let next = peek(), next < 128 else { throw invalid("\\c at end of pattern") }
            position += 1
            return (next >= 97 && next <= 122 ? next - 32 : next) ^ 64
        case "x":
            if take("{") {
                let value = hexadecimal(max: 8)
                guard take("}"), Unicode.Scalar(value) != nil else {
                    throw invalid("character code point value too large")
                }
                return value
            }
            return hexadecimal(max: 2)
        case "u":
            return hexadecimal(max: 4)
        case "0":
            return octal(max: 2)
        case "o" where peek() == 0x7B:
            position += 1
            let value = octal(max: 8)
            guard take("}"), Unicode.Scalar(value) != nil else { throw invalid("character code point value too large") }
            return value
        default:
            let isLetter = character < 128 && ScalarSet.posix("alpha")!.contains(character)
            if isLetter { throw invalid("unrecognized character follows \\") }
            if character >= 0x31 && character <= 0x37 {
                position -= 1
                return octal(max: 3)
            }
            return character
        }
    }

    private mutating func hexadecimal(max count: Int) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<count {
            guard let next = peek(), let scalar = Unicode.Scalar(next), let digit = Character(scalar).hexDigitValue,
                next < 128
            else { break }
            value = value &* 16 &+ UInt32(digit)
            position += 1
        }
        return value
    }

    private mutating func octal(max count: Int) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<count {
            guard let next = peek(), next >= 0x30, next <= 0x37 else { break }
            value = value &* 8 &+ (next - 0x30)
            position += 1
        }
        return value
    }

    private mutating func characterClass() throws(QueryError) -> ScalarSet {
        var set = ScalarSet()
        let isNegated = take("^")
        var isFirst = true
        while true {
            guard let character = peek() else { throw invalid("missing terminating ] for character class") }
            if character == 0x5D && !isFirst {
                position += 1
                break
            }
            isFirst = false
            if character == 0x5B && peek(1) == 0x3A, try posixClass(into: &set) { continue }
            guard let lower = try classMember(into: &set) else { continue }
            if peek() == 0x2D, let after = peek(1), after != 0x5D {
                position += 1
                if let upper = try classMember(into: &set) {
                    guard upper >= lower else { throw invalid("range out of order in character class") }
                    set.insert(lower...upper)
                } else {
                    set.insert(lower)
                    set.insert(0x2D)
                }
            } else {
                set.insert(lower)
            }
        }
        if flags.ignoreCase { set.closeOverCase() }
        set.isNegated = isNegated
        return set
    }

    private mutating func posixClass(into set: inout ScalarSet) throws(QueryError) -> Bool {
        let start = position
        position += 2
        let isNegated = take("^")
        var name = ""
        while let next = peek(), next >= 97, next <= 122 {
            name.unicodeScalars.append(Unicode.Scalar(next)!)
            position += 1
        }
        guard take(":]") else {
            position = start
            return false
        }
        guard let named = ScalarSet.posix(name) else { throw invalid("unknown POSIX class name") }
        set.formUnion(isNegated ? named.negated : named)
        return true
    }

    /// One scalar of a class, or nil when what stood there was a set and is already inserted.
    private mutating func classMember(into set: inout ScalarSet) throws(QueryError) -> UInt32? {
        let character = pattern[position]
        position += 1
        guard character == 0x5C else { return character }
        guard let next = peek() else { throw invalid("\\ at end of pattern") }
        if let escaped = try classEscape() {
            set.formUnion(escaped)
            return nil
        }
        switch Unicode.Scalar(next) {
        case "b":
            position += 1
            return 0x08
        case "Q", "E":
            position += 1
            return nil
        default: return try scalarEscape()
        }
    }
}
