/// Runs a ``RegexProgram`` over one text: a backtracking machine with its stack on the heap and a count of steps.
struct RegexMachine {
    private enum Choice {
        /// Go on at `pc` from `position`.
        case resume(pc: Int, position: Int)
        /// Undo a change of a capture or register.
        case restore(slot: Int, value: Int)
        case restoreRegister(Int, value: Int)
        /// A greedy run that may give back scalars down to `least`.
        case giveBack(next: Int, least: Int, position: Int)
        /// A lazy run that may take up to `left` more.
        case takeMore(single: Int, next: Int, left: Int, position: Int)
    }

    private let program: RegexProgram
    private let text: ArraySlice<UInt8>
    private let end: Int
    private var slots: [Int]
    private var registers: [Int]
    private var choices: [Choice] = []
    private var steps = 0

    init(program: RegexProgram, text: ArraySlice<UInt8>) {
        self.program = program
        self.text = text
        end = text.endIndex
        slots = Array(repeating: -1, count: (program.captureCount + 1) * 2)
        registers = Array(repeating: -1, count: program.registerCount)
    }

    mutating func search(from start: Int) throws(QueryError) -> [Int]? {
        var position = start
        while true {
            if let first = program.firstByte, !program.isAnchored {
                while position < end && text[position] != first { position += 1 }
                if position >= end { return nil }
            }
            for index in slots.indices { slots[index] = -1 }
            choices.removeAll(keepingCapacity: true)
            if let stop = try run(pc: 0, position: position, mustEndAt: nil) {
                slots[0] = position
                slots[1] = stop
                return slots
            }
            if program.isAnchored || position >= end { return nil }
            position = after(position)
        }
    }

    // MARK: Scalars of UTF-8

    private func after(_ position: Int) -> Int {
        let byte = text[position]
        let length = byte < 0x80 ? 1 : (byte < 0xE0 ? 2 : (byte < 0xF0 ? 3 : 4))
        return min(position + length, end)
    }

    private func before(_ position: Int) -> Int {
        var index = position - 1
        while index > text.startIndex && text[index] & 0xC0 == 0x80 { index -= 1 }
        return index
    }

    /// Decodes the scalar at `position`, which is before the end. A damaged sequence reads as its first byte.
    private func scalar(at position: Int) -> (value: UInt32, next: Int) {
        let byte = text[position]
        if byte < 0x80 { return (UInt32(byte), position + 1) }
        let next = after(position)
        var value = UInt32(byte) & (next - position == 2 ? 0x1F : (next - position == 3 ? 0x0F : 0x07))
        for index in position + 1..<next { value = value << 6 | UInt32(text[index] & 0x3F) }
        return (value, next)
    }

    private func isWord(_ position: Int) -> Bool {
        position >= text.startIndex && position < end && ScalarSet.wordCharacters.contains(UInt32(text[position]))
    }

    private func holds(_ assertion: RegexAssertion, at position: Int) -> Bool {
        switch assertion {
        case .textStart: position == text.startIndex
        case .textEnd: position == end
        case .textEndOrNewline: position == end || (position == end - 1 && text[position] == 0x0A)
        case .lineStart: position == text.startIndex || text[position - 1] == 0x0A
        case .lineEnd: position == end || text[position] == 0x0A
        case .wordBoundary: isWord(position - 1) != isWord(position)
        case .notWordBoundary: isWord(position - 1) == isWord(position)
        }
    }

    /// The position after the one scalar that the instruction at `pc` accepts, or nil.
    @inline(__always) private func single(_ pc: Int, at position: Int) -> Int? {
        guard position < end else { return nil }
        let (value, next) = scalar(at: position)
        switch program.instructions[pc] {
        case .scalar(let wanted): return value == wanted ? next : nil
        case .foldedScalar(let wanted): return RegexCase.folded(value) == wanted ? next : nil
        case .any: return next
        case .anyButNewline: return value != 0x0A ? next : nil
        case .set(let index): return program.sets[index].contains(value) ? next : nil
        default: return nil
        }
    }

    // MARK: The machine

    private mutating func count() throws(QueryError) {
        steps += 1
        try WorkMeter.count()
        if steps > RegexProgram.stepsMax {
            throw QueryError(
                ErrorCode(51156),
                "Error occurred while executing regular expression. Result code: match limit exceeded")
        }
    }

    /// Runs until an `accept` and returns where, or nil when no choice is left.
    ///
    /// Looks and atomic groups call it again for their bodies; the parser's depth limit bounds that.
    private mutating func run(pc start: Int, position from: Int, mustEndAt target: Int?) throws(QueryError) -> Int? {
        let floor = choices.count
        var pc = start
        var position = from
        while true {
            try count()
            var failed = false
            switch program.instructions[pc] {
            case .scalar, .foldedScalar, .any, .anyButNewline, .set:
                if let next = single(pc, at: position) {
                    position = next
                    pc += 1
                } else {
                    failed = true
                }
            case .jump(let to): pc = to
            case .split(let first, let second):
                choices.append(.resume(pc: second, position: position))
                pc = first
            case .save(let slot):
                choices.append(.restore(slot: slot, value: slots[slot]))
                slots[slot] = position
                pc += 1
            case .assert(let assertion):
                if holds(assertion, at: position) { pc += 1 } else { failed = true }
            case .backreference(let group, let ignoreCase):
                if let next = backreference(group, ignoreCase: ignoreCase, at: position) {
                    position = next
                    pc += 1
                } else {
                    failed = true
                }
            case .mark(let register):
                choices.append(.restoreRegister(register, value: registers[register]))
                registers[register] = position
                pc += 1
            case .progress(let register, let exit):
                pc = registers[register] == position ? exit : pc + 1
            case .run(let least, let most, let lazy, let next):
                if let taken = try takeRun(pc: pc + 1, least: least, most: most, lazy: lazy, next: next, at: position) {
                    position = taken
                    pc = next
                } else {
                    failed = true
                }
            case .look(let next, let ahead, let negated):
                let found = try look(pc: pc + 1, ahead: ahead, at: position)
                if found != negated { pc = next } else { failed = true }
            case .atomic(let next):
                let mark = choices.count
                if let stop = try run(pc: pc + 1, position: position, mustEndAt: nil) {
                    dropChoices(above: mark)
                    position = stop
                    pc = next
                } else {
                    failed = true
                }
            case .accept:
                if target == nil || target == position { return position }
                failed = true
            }
            if failed {
                guard let resumed = try backtrack(to: floor) else { return nil }
                (pc, position) = resumed
            }
        }
    }

    private mutating func takeRun(
        pc: Int, least: Int, most: Int, lazy: Bool, next: Int, at start: Int
    ) throws(QueryError) -> Int? {
        var position = start
        var taken = 0
        let wanted = lazy ? least : most
        var floor = least == 0 ? start : -1
        while taken < wanted, let after = single(pc, at: position) {
            position = after
            taken += 1
            if taken == least { floor = position }
            try count()
        }
        guard taken >= least else { return nil }
        if lazy {
            if most > taken {
                choices.append(.takeMore(single: pc, next: next, left: most - taken, position: position))
            }
        } else if position > floor {
            choices.append(.giveBack(next: next, least: floor, position: position))
        }
        return position
    }

    /// Takes the newest choice above `floor`, undoing captures on the way.
    private mutating func backtrack(to floor: Int) throws(QueryError) -> (pc: Int, position: Int)? {
        while choices.count > floor {
            try count()
            switch choices.removeLast() {
            case .resume(let pc, let position): return (pc, position)
            case .restore(let slot, let value): slots[slot] = value
            case .restoreRegister(let register, let value): registers[register] = value
            case .giveBack(let next, let least, let position):
                let shorter = before(position)
                if shorter > least { choices.append(.giveBack(next: next, least: least, position: shorter)) }
                return (next, shorter)
            case .takeMore(let pc, let next, let left, let position):
                guard let longer = single(pc, at: position) else { continue }
                if left > 1 { choices.append(.takeMore(single: pc, next: next, left: left - 1, position: longer)) }
                return (next, longer)
            }
        }
        return nil
    }

    /// Forgets the choices above `mark` but keeps the undo records, so that captures are restored when the whole
    /// group is undone later.
    private mutating func dropChoices(above mark: Int) {
        var kept = mark
        for index in mark..<choices.count {
            switch choices[index] {
            case .restore, .restoreRegister:
                choices[kept] = choices[index]
                kept += 1
            default: break
            }
        }
        choices.removeLast(choices.count - kept)
    }

    private mutating func look(pc: Int, ahead: Bool, at position: Int) throws(QueryError) -> Bool {
        let mark = choices.count
        if ahead {
            let found = try run(pc: pc, position: position, mustEndAt: nil) != nil
            if found { dropChoices(above: mark) }
            return found
        }
        var start = position
        while true {
            if try run(pc: pc, position: start, mustEndAt: position) != nil {
                dropChoices(above: mark)
                return true
            }
            guard start > text.startIndex else { return false }
            try count()
            start = before(start)
        }
    }

    private func backreference(_ group: Int, ignoreCase: Bool, at position: Int) -> Int? {
        let start = slots[group * 2]
        let stop = slots[group * 2 + 1]
        guard start >= 0, stop >= start else { return nil }
        if !ignoreCase {
            guard position + (stop - start) <= end,
                text[start..<stop].elementsEqual(text[position..<position + (stop - start)])
            else { return nil }
            return position + (stop - start)
        }
        var left = start
        var right = position
        while left < stop {
            guard right < end else { return nil }
            let (a, nextLeft) = scalar(at: left)
            let (b, nextRight) = scalar(at: right)
            guard RegexCase.folded(a) == RegexCase.folded(b) else { return nil }
            left = nextLeft
            right = nextRight
        }
        return right
    }
}
