import CairnBSON
import CairnQuery

/// A logical session's UUID.
struct SessionID: Hashable {
    let high: UInt64
    let low: UInt64

    init(_ stamp: SessionStamp) {
        high = stamp.sessionHigh
        low = stamp.sessionLow
    }

    var key: SystemKey { .session(high: high, low: low) }
}

/// What one statement of a retryable write did, as far as a retry has to be told.
struct StatementResult: Hashable {
    var n: Int32 = 1
    var nModified: Int32 = 0
    /// The `_id` that an upsert made.
    var upserted: Value?
    /// What findAndModify answered: its `value`, nil for null.
    var image: Document?
}

/// What a session's last retryable write did in this group, so that a retry is answered and not carried out again.
///
/// ```
/// format u8 = 1 ‖ expired u8 ‖ transaction number i64 ‖ milliseconds u64
/// count u32 ‖ (first statement i32 ‖ last statement i32) …
/// count u32 ‖ (statement i32 ‖ n i32 ‖ nModified i32 ‖ flags u8 ‖ [upserted: BSON {"": value}] ‖ [image: BSON]) …
/// ```
///
/// Statements whose result is the usual one (`n` 1, the rest as the statement's kind has it) need no entry of their own.
struct SessionRecord: Hashable {
    var transactionNumber: Int64
    /// Wall clock of the last write.
    var milliseconds: UInt64
    /// The results were dropped for their age; a retry can only be told that.
    var isExpired = false
    /// Executed statements as sorted, disjoint, non-adjacent ranges.
    private(set) var executed: [ClosedRange<Int32>] = []
    private(set) var results: [Int32: StatementResult] = [:]

    init(transactionNumber: Int64, milliseconds: UInt64) {
        self.transactionNumber = transactionNumber
        self.milliseconds = milliseconds
    }

    /// The result of a statement, or nil when it was not executed.
    func result(of statement: Int32) -> StatementResult? {
        if let result = results[statement] { return result }
        return executed[rangeIndex(statement)...].first?.contains(statement) == true ? StatementResult() : nil
    }

    /// Notes that a statement was executed.
    mutating func add(_ statement: Int32, _ result: StatementResult) {
        if result != StatementResult() { results[statement] = result }
        let at = rangeIndex(statement)
        if at < executed.count, executed[at].contains(statement) { return }
        var new = statement...statement
        if at < executed.count, executed[at].lowerBound - 1 == statement {
            new = statement...executed[at].upperBound
            executed.remove(at: at)
        }
        if at > 0, executed[at - 1].upperBound + 1 == statement {
            executed[at - 1] = executed[at - 1].lowerBound...new.upperBound
        } else {
            executed.insert(new, at: at)
        }
    }

    /// The record that is left of one whose results are too old to keep.
    func expired() -> SessionRecord {
        var record = SessionRecord(transactionNumber: transactionNumber, milliseconds: milliseconds)
        record.isExpired = true
        return record
    }

    /// The statements that were executed, in order.
    var statements: [Int32] { executed.flatMap { Array($0) } }

    /// The first range that ends at or after `statement`.
    private func rangeIndex(_ statement: Int32) -> Int {
        var low = 0
        var high = executed.count
        while low < high {
            let middle = (low + high) / 2
            if executed[middle].upperBound < statement { low = middle + 1 } else { high = middle }
        }
        return low
    }

    func encoded() -> [UInt8] {
        var writer = ByteWriter(reserving: 32 + executed.count * 8 + results.count * 24)
        writer.append(1 as UInt8)
        writer.append(isExpired ? 1 : 0 as UInt8)
        writer.append(transactionNumber)
        writer.append(milliseconds)
        writer.append(UInt32(executed.count))
        for range in executed {
            writer.append(range.lowerBound)
            writer.append(range.upperBound)
        }
        writer.append(UInt32(results.count))
        // In order, so that the same state has the same bytes.
        for (statement, result) in results.sorted(by: { $0.key < $1.key }) {
            writer.append(statement)
            writer.append(result.n)
            writer.append(result.nModified)
            writer.append((result.upserted == nil ? 0 : 1) | (result.image == nil ? 0 : 2) as UInt8)
            if let upserted = result.upserted { writer.append(Document([("", upserted)]).bytes) }
            if let image = result.image { writer.append(image.bytes) }
        }
        return writer.bytes
    }

    /// - Throws: ``DatabaseError`` with code `malformed`.
    init(decoding bytes: ArraySlice<UInt8>) throws(DatabaseError) {
        var reader = ByteReader(bytes)
        guard try reader.integer(UInt8.self) == 1 else { throw DatabaseError(.malformed, "session record: format") }
        isExpired = try reader.integer(UInt8.self) == 1
        transactionNumber = try reader.integer(Int64.self)
        milliseconds = try reader.integer(UInt64.self)
        for _ in 0..<(try reader.count(ofAtLeast: 8)) {
            let first = try reader.integer(Int32.self)
            let last = try reader.integer(Int32.self)
            guard first <= last, executed.last.map({ $0.upperBound < first }) ?? true else {
                throw DatabaseError(.malformed, "session record: ranges")
            }
            executed.append(first...last)
        }
        for _ in 0..<(try reader.count(ofAtLeast: 13)) {
            let statement = try reader.integer(Int32.self)
            var result = StatementResult()
            result.n = try reader.integer(Int32.self)
            result.nModified = try reader.integer(Int32.self)
            let flags = try reader.integer(UInt8.self)
            if flags & 1 != 0 { result.upserted = try reader.document(validating: true).compacted()[""] }
            if flags & 2 != 0 { result.image = try reader.document(validating: true).compacted() }
            results[statement] = result
        }
        try reader.expectEnd()
    }
}
