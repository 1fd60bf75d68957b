/// The tables of a sorted level as one: it opens a table when it gets there.
final class LevelIterator: InternalIterator {
    private let tables: [Table]
    private let fillsCache: Bool
    private var mode: ReadMode
    private var place = -1
    private var current: TableIterator?

    init(_ tables: [Table], fillsCache: Bool, mode: ReadMode = .any) {
        self.tables = tables
        self.fillsCache = fillsCache
        self.mode = mode
    }

    override func value() -> ArraySlice<UInt8> { current!.value() }

    override func seekToFirst() throws(StorageError) {
        try open(0)
        try current?.seekToFirst()
        try skipForward()
    }

    override func seekToLast() throws(StorageError) {
        try open(tables.count - 1)
        try current?.seekToLast()
        try skipBackward()
    }

    override func seek(to target: BorrowedBytes, _ version: UInt64) throws(StorageError) {
        try open(TableSet.firstTable(notBefore: target, in: tables))
        try current?.seek(to: target, version)
        try skipForward()
    }

    override func next() throws(StorageError) {
        try current!.next()
        try skipForward()
    }

    override func previous() throws(StorageError) {
        try current!.previous()
        try skipBackward()
    }

    override func allowDisk() {
        mode = .any
        current?.allowDisk()
    }

    private func open(_ place: Int) throws(StorageError) {
        isValid = false
        guard tables.indices.contains(place) else {
            current = nil
            self.place = -1
            return
        }
        if current != nil, self.place == place { return }
        current = try tables[place].reader(mode).makeIterator(fillsCache: fillsCache, mode: mode)
        self.place = place
    }

    private func skipForward() throws(StorageError) {
        while let here = current, !here.isValid {
            try open(place + 1)
            try current?.seekToFirst()
        }
        show()
    }

    private func skipBackward() throws(StorageError) {
        while let here = current, !here.isValid {
            try open(place - 1)
            try current?.seekToLast()
        }
        show()
    }

    @inline(__always)
    private func show() {
        guard let current, current.isValid else {
            isValid = false
            return
        }
        show(current)
    }
}
