/// Several iterators as one.
///
/// The children stand from the newest source to the oldest. Where two show the same key and version, which happens when
/// a version is applied twice, the newer source comes first, as a newer version would.
final class MergingIterator: InternalIterator {
    private let children: [InternalIterator]
    private var current = -1
    private var isForward = true

    init(_ children: [InternalIterator]) {
        self.children = children
    }

    override func value() -> ArraySlice<UInt8> { children[current].value() }

    override func seekToFirst() throws(StorageError) {
        for child in children { try child.seekToFirst() }
        isForward = true
        chooseFirst()
    }

    override func seekToLast() throws(StorageError) {
        for child in children { try child.seekToLast() }
        isForward = false
        chooseLast()
    }

    override func seek(to key: BorrowedBytes, _ version: UInt64) throws(StorageError) {
        for child in children { try child.seek(to: key, version) }
        isForward = true
        chooseFirst()
    }

    override func next() throws(StorageError) {
        let moving = children[current]
        if !isForward {
            for (index, child) in children.enumerated() where index != current {
                try child.seek(to: moving.key, moving.version)
                // An equal entry of a newer source comes before the current one, so it is behind us.
                if index < current, child.isValid, child.compare(moving) == 0 { try child.next() }
            }
            isForward = true
        }
        try moving.next()
        chooseFirst()
    }

    override func previous() throws(StorageError) {
        let moving = children[current]
        if isForward {
            for (index, child) in children.enumerated() where index != current {
                try child.seek(to: moving.key, moving.version)
                if index < current, child.isValid, child.compare(moving) == 0 { continue }
                if child.isValid { try child.previous() } else { try child.seekToLast() }
            }
            isForward = false
        }
        try moving.previous()
        chooseLast()
    }

    private func chooseFirst() {
        var best = -1
        for index in children.indices where children[index].isValid {
            if best < 0 || children[index].compare(children[best]) < 0 { best = index }
        }
        show(best)
    }

    private func chooseLast() {
        var best = -1
        for index in children.indices where children[index].isValid {
            if best < 0 || children[index].compare(children[best]) >= 0 { best = index }
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
        let child = children[index]
        isValid = true
        key = child.key
        version = child.version
        kind = child.kind
    }
}
