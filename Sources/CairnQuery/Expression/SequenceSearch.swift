/// Finds a sequence in a sequence, in time that grows with their lengths and not with the product of them.
///
/// Most searches end at the first differences; one that keeps finding long beginnings of what it looks for goes on as
/// Knuth, Morris and Pratt do.
struct SequenceSearch<Unit: Equatable> {
    private let wanted: [Unit]
    /// For each beginning of `wanted`, how long its longest end is that is a beginning too. Made when it is first needed.
    private var borders: [Int] = []
    private var wasted = 0

    init(for wanted: [Unit]) { self.wanted = wanted }

    /// Where the first occurrence at or after `start` begins; nil when none ends before `end`.
    mutating func firstIndex(in text: ArraySlice<Unit>, from start: Int, to end: Int) -> Int? {
        guard let first = wanted.first else { return start <= end ? start : nil }
        guard end - start >= wanted.count else { return nil }
        let last = end - wanted.count
        var index = start
        while index <= last {
            guard text[index] == first else {
                index += 1
                continue
            }
            var length = 1
            while length < wanted.count, text[index + length] == wanted[length] { length += 1 }
            if length == wanted.count { return index }
            wasted += length
            index += 1
            if wasted > 1024 + (index - start) * 4 { return linear(in: text, from: index, to: end) }
        }
        return nil
    }

    private mutating func linear(in text: ArraySlice<Unit>, from start: Int, to end: Int) -> Int? {
        if borders.isEmpty { makeBorders() }
        var length = 0
        for index in start..<end {
            while length > 0, text[index] != wanted[length] { length = borders[length - 1] }
            if text[index] == wanted[length] { length += 1 }
            if length == wanted.count { return index + 1 - length }
        }
        return nil
    }

    private mutating func makeBorders() {
        borders = Array(repeating: 0, count: wanted.count)
        var length = 0
        for index in 1..<wanted.count {
            while length > 0, wanted[index] != wanted[length] { length = borders[length - 1] }
            if wanted[index] == wanted[length] { length += 1 }
            borders[index] = length
        }
    }
}
