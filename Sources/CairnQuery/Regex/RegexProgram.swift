import CairnBSON

/// A compiled regular expression with PCRE's meaning: leftmost, the first alternative that works, UTF-8.
///
/// Written here because the language's own engine has no limit on backtracking: a pattern such as `(a+)+$` from a
/// client could hold a group's thread for hours. This one counts its steps and gives up with an error after
/// ``stepsMax``. Patterns that are plain text, or plain text behind `^`, never reach the machine at all.
///
/// - Complexity: linear for plain text; else bounded by ``stepsMax``.
struct RegexProgram: Sendable {
    /// Steps of one search, about 50 ms of work. PCRE as MongoDB builds it has a limit of the same kind.
    static let stepsMax = 4_000_000

    enum Instruction: Sendable {
        case scalar(UInt32)
        case foldedScalar(UInt32)
        case any
        case anyButNewline
        case set(Int)
        case jump(Int)
        /// Tries `first`, and `second` if that fails.
        case split(first: Int, second: Int)
        case save(Int)
        case assert(RegexAssertion)
        case backreference(Int, ignoreCase: Bool)
        /// Runs from the next instruction to its `accept`; goes on at `next` if the outcome is the wanted one.
        case look(next: Int, ahead: Bool, negated: Bool)
        case atomic(next: Int)
        /// A loop over a one-scalar instruction that stands right after this one; goes on at `next`.
        case run(min: Int, max: Int, lazy: Bool, next: Int)
        /// Remembers where an iteration of a loop began.
        case mark(Int)
        /// Leaves the loop (to `exit`) when the iteration consumed nothing.
        case progress(Int, exit: Int)
        case accept
    }

    private enum Strategy: Sendable {
        case contains([UInt8])
        case hasPrefix([UInt8])
        case equals([UInt8])
        case machine
    }

    let pattern: String
    let options: String
    let captureCount: Int
    private(set) var instructions: [Instruction] = []
    private(set) var sets: [ScalarSet] = []
    private(set) var registerCount = 0
    private var strategy = Strategy.machine
    /// True when a match can only begin at the start of the text.
    private(set) var isAnchored = false
    /// The byte that any match must begin with, when there is one.
    private(set) var firstByte: UInt8?
    /// Text that every match begins with at the start of the string: what an index scan can be bounded by.
    let literalPrefix: [UInt8]
    /// True when the pattern is `^literal` and nothing else, so that the bounds of an index scan decide it.
    var isExactPrefix: Bool {
        if case .hasPrefix = strategy { return true }
        return false
    }

    /// - Parameter options: MongoDB's letters: `i`, `m`, `s`, `x`; `u` and `l` are accepted and mean nothing.
    init(pattern: String, options: String) throws(QueryError) {
        var flags = RegexParser.Flags()
        for letter in options {
            switch letter {
            case "i": flags.ignoreCase = true
            case "m": flags.multiline = true
            case "s": flags.dotMatchesNewline = true
            case "x": flags.extended = true
            case "u", "l", "g": break
            default: throw QueryError(ErrorCode(51108), "invalid flag in regex options: \(letter)")
            }
        }
        if pattern.utf8.contains(0) || options.utf8.contains(0) {
            throw QueryError(.badValue, "Regular expression cannot contain an embedded null byte")
        }
        if pattern.utf8.count > 32_764 {
            throw QueryError(ErrorCode(51091), "Regular expression is invalid: regular expression is too large")
        }
        self.pattern = pattern
        self.options = options
        let parsed = try RegexParser.parse(pattern, flags: flags)
        captureCount = parsed.captures
        let shape = Self.literalShape(of: parsed.node)
        literalPrefix = shape.isAnchored ? shape.text : []
        if shape.isWhole && parsed.captures == 0 {
            strategy = shape.isAnchored ? .hasPrefix(shape.text) : .contains(shape.text)
        }
        isAnchored = shape.isAnchored || Self.startsAtText(parsed.node)
        firstByte = shape.text.first
        try compile(parsed.node)
        emit(.accept)
    }

    // MARK: Searching

    /// Whether the pattern matches anywhere in `text`.
    ///
    /// - Throws: code 51156 when the search exceeds ``stepsMax``.
    func matches(_ text: ArraySlice<UInt8>) throws(QueryError) -> Bool {
        switch strategy {
        case .contains(let literal): return Self.find(literal, in: text) != nil
        case .hasPrefix(let literal): return text.starts(with: literal)
        case .equals(let literal): return text.elementsEqual(literal)
        case .machine: return try firstMatch(in: text, from: text.startIndex) != nil
        }
    }

    /// The first match at or after `start`: bounds of the whole, then of each group, -1 where a group took no part.
    /// Positions are indices of `text`.
    func firstMatch(in text: ArraySlice<UInt8>, from start: Int) throws(QueryError) -> [Int]? {
        var machine = RegexMachine(program: self, text: text)
        return try machine.search(from: start)
    }

    private static func find(_ literal: [UInt8], in text: ArraySlice<UInt8>) -> Int? {
        var search = SequenceSearch(for: literal)
        return search.firstIndex(in: text, from: text.startIndex, to: text.endIndex)
    }

    // MARK: Compiling

    private mutating func emit(_ instruction: Instruction) { instructions.append(instruction) }

    private mutating func compile(_ node: RegexNode) throws(QueryError) {
        guard instructions.count < 50_000 else {
            throw QueryError(ErrorCode(51091), "Regular expression is invalid: regular expression is too large")
        }
        switch node {
        case .empty: break
        case .scalar(let scalar, let ignoreCase):
            let (lower, upper) = RegexCase.variants(of: scalar)
            emit(ignoreCase && lower != upper ? .foldedScalar(RegexCase.folded(scalar)) : .scalar(scalar))
        case .any(let newline): emit(newline ? .any : .anyButNewline)
        case .set(let set):
            sets.append(set)
            emit(.set(sets.count - 1))
        case .sequence(let nodes):
            for node in nodes { try compile(node) }
        case .alternation(let branches):
            var jumps: [Int] = []
            for (index, branch) in branches.enumerated() {
                guard index < branches.count - 1 else {
                    try compile(branch)
                    break
                }
                let split = instructions.count
                emit(.accept)
                try compile(branch)
                jumps.append(instructions.count)
                emit(.accept)
                instructions[split] = .split(first: split + 1, second: instructions.count)
            }
            for jump in jumps { instructions[jump] = .jump(instructions.count) }
        case .capture(let body, let index):
            emit(.save(index * 2))
            try compile(body)
            emit(.save(index * 2 + 1))
        case .assertion(let assertion): emit(.assert(assertion))
        case .backreference(let index, let ignoreCase): emit(.backreference(index, ignoreCase: ignoreCase))
        case .look(let body, let ahead, let negated):
            let at = instructions.count
            emit(.accept)
            try compile(body)
            emit(.accept)
            instructions[at] = .look(next: instructions.count, ahead: ahead, negated: negated)
        case .atomic(let body):
            let at = instructions.count
            emit(.accept)
            try compile(body)
            emit(.accept)
            instructions[at] = .atomic(next: instructions.count)
        case .repetition(let body, let lower, let upper, let mode):
            if mode == .possessive {
                try compile(.atomic(.repetition(body, min: lower, max: upper, mode: .greedy)))
            } else {
                try compileRepetition(of: body, min: lower, max: upper, lazy: mode == .lazy)
            }
        }
    }

    private mutating func compileRepetition(
        of body: RegexNode, min lower: Int, max upper: Int?, lazy: Bool
    ) throws(QueryError) {
        if Self.isSingle(body) {
            let at = instructions.count
            emit(.accept)
            try compile(body)
            instructions[at] = .run(min: lower, max: upper ?? .max, lazy: lazy, next: instructions.count)
            return
        }
        for _ in 0..<lower { try compile(body) }
        if let upper {
            var splits: [Int] = []
            for _ in lower..<Swift.max(upper, lower) {
                splits.append(instructions.count)
                emit(.accept)
                try compile(body)
            }
            for split in splits {
                let end = instructions.count
                instructions[split] =
                    lazy ? .split(first: end, second: split + 1) : .split(first: split + 1, second: end)
            }
        } else {
            let register = registerCount
            registerCount += 1
            let split = instructions.count
            emit(.accept)
            emit(.mark(register))
            try compile(body)
            let progress = instructions.count
            emit(.accept)
            emit(.jump(split))
            let end = instructions.count
            instructions[progress] = .progress(register, exit: end)
            instructions[split] =
                lazy ? .split(first: end, second: split + 1) : .split(first: split + 1, second: end)
        }
    }

    private static func isSingle(_ node: RegexNode) -> Bool {
        switch node {
        case .scalar, .any, .set: true
        default: false
        }
    }

    // MARK: Shapes that need no machine

    private static func startsAtText(_ node: RegexNode) -> Bool {
        switch node {
        case .assertion(.textStart): true
        case .sequence(let nodes): nodes.first.map(startsAtText) ?? false
        case .capture(let body, _), .atomic(let body): startsAtText(body)
        case .alternation(let branches): branches.allSatisfy(startsAtText)
        default: false
        }
    }

    /// The literal text a pattern begins with, whether behind `^`, and whether that is all there is.
    private static func literalShape(of node: RegexNode) -> (text: [UInt8], isAnchored: Bool, isWhole: Bool) {
        let nodes: [RegexNode]
        if case .sequence(let items) = node { nodes = items } else { nodes = [node] }
        var text: [UInt8] = []
        var isAnchored = false
        for (index, node) in nodes.enumerated() {
            switch node {
            case .assertion(.textStart) where index == 0: isAnchored = true
            case .scalar(let scalar, let ignoreCase):
                let (lower, upper) = RegexCase.variants(of: scalar)
                guard !ignoreCase || lower == upper, let unicode = Unicode.Scalar(scalar) else {
                    return (text, isAnchored, false)
                }
                text += Array(String(Character(unicode)).utf8)
            case .empty: break
            default: return (text, isAnchored, false)
            }
        }
        return (text, isAnchored, true)
    }
}
