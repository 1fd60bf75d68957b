/// A table for a terminal: columns as wide as they need to be, numbers to the right.
struct Table {
    private var rows: [[String]]
    private let rightAligned: Set<Int>

    /// - Parameter numbers: the columns that are aligned to the right.
    init(_ header: [String], numbers: Set<Int> = []) {
        rows = [header]
        rightAligned = numbers
    }

    mutating func add(_ row: [String]) { rows.append(row) }

    var text: String {
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            var line = row.enumerated().map { column, cell in
                let padding = String(repeating: " ", count: widths[column] - cell.count)
                return rightAligned.contains(column) ? padding + cell : cell + padding
            }.joined(separator: "  ")
            while line.last == " " { line.removeLast() }
            return line
        }.joined(separator: "\n")
    }
}
