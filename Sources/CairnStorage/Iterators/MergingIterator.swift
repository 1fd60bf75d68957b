/// Several iterators as one.
///
/// The children stand from the newest source to the oldest. Where two show the same key and version, which happens when
/// a version is applied twice, the newer source comes first, as a newer version would.
@safe
final class MergingIterator: InternalIterator {
    private let children: [InternalIterator]
    /// What each child shows, side by side: to compare them touches no object and counts no reference.
    ///
    /// Safety: as many as there are children, indexed by their places, and freed with the iterator.
    private let heads: UnsafeMutablePointer<Head>
    private var current = -1
    private var isForward = true

    private struct Head {
        var isValid = false
        var key: BorrowedBytes = .empty
        var version: UInt64 = 0

        init() {}

        init(_ iterator: InternalIterator) {
            isValid = iterator.isValid
            key = iterator.key
            version = iterator.version
        }

        /// Key order, then newest version first.
        @inline(__always)
        func compare(_ other: Head) -> Int {
            let order = key.compare(other.key)
            if order != 0 { return order }
            return version == other.version ? 0 : (version > other.version ? -1 : 1)
        }
    }

    init(_ children: [InternalIterator]) {
        self.children = children
        unsafe heads = .allocate(capacity: max(1, children.count))
        unsafe heads.initialize(repeating: Head(), count: max(1, children.count))
    }

    deinit { unsafe heads.deallocate() }

    override func value() -> ArraySlice<UInt8> { children[current].value() }

    override func allowDisk() {
        for child in children { child.allowDisk() }
    }

    override func seekToFirst() throws(StorageError) {
        for child in children { try child.seekToFirst() }
        isForward = true
        readHeads()
        chooseFirst()
    }

    override func seekToLast() throws(StorageError) {
        for child in children { try child.seekToLast() }
        isForward = false
        readHeads()
        chooseLast()
    }

    override func seek(to key: BorrowedBytes, _ version: UInt64) throws(StorageError) {
        for child in children { try child.seek(to: key, version) }
        isForward = true
        readHeads()
        chooseFirst()
    }

    override func next() throws(StorageError) {
        let moving = children[current]
        if !isForward {
            for (index, child) in children.enumerated() where index != current {
                try child.seek(to: moving.key, moving.version)
                // An equal entry of a newer source comes before the current one, so it is behind us.
                if index < current, child.isValid, Head(child).compare(Head(moving)) == 0 { try child.next() }
            }
            isForward = true
            readHeads()
        }
        try moving.next()
        unsafe heads[current] = Head(moving)
        chooseFirst()
    }

    override func previous() throws(StorageError) {
        let moving = children[current]
        if isForward {
            for (index, child) in children.enumerated() where index != current {
                try child.seek(to: moving.key, moving.version)
                if index < current, child.isValid, Head(child).compare(Head(moving)) == 0 { continue }
                if child.isValid { try child.previous() } else { try child.seekToLast() }
            }
            isForward = false
            readHeads()
        }
        try moving.previous()
        unsafe heads[current] = Head(moving)
        chooseLast()
    }

    private func readHeads() {
        for index in children.indices { unsafe heads[index] = Head(children[index]) }
    }

    private func chooseFirst() {
        var best = -1
        for index in 0..<children.count where unsafe heads[index].isValid {
            if unsafe best < 0 || heads[index].compare(heads[best]) < 0 { best = index }
        }
        show(best)
    }

    private func chooseLast() {
        var best = -1
        for index in 0..<children.count where unsafe heads[index].isValid {
            if unsafe best < 0 || heads[index].compare(heads[best]) >= 0 { best = index }
        }
        show(best)
    }

    @inline(__always)
    private func show(_ index: Int) {
        current = index
        guard index >= 0 else {
            isValid = false
            return
        }
        show(children[index])
    }
}
