/// Which keys a table may hold: never wrong when it says no, wrong once in a hundred times when it says yes.
///
/// A blocked Bloom filter (Putze, Sanders, Singler 2007): the hash chooses a line of 64 bytes and some bits in it, so a
/// lookup touches one line of memory. The layout is on <doc:Formats>.
struct BloomFilter: Sendable {
    static let lineBytes = 64
    static let headerBytes = 8

    private let bytes: ArraySlice<UInt8>
    private let lineCount: UInt32
    private let probes: Int

    /// - Throws: ``StorageError`` if the bytes are no filter; a filter in doubt must never answer.
    init(decoding bytes: ArraySlice<UInt8>, path: String, offset: UInt64) throws(StorageError) {
        let header = bytes.withBorrowedBytes { view -> (UInt32, UInt32)? in
            var reader = ByteReader(view)
            guard let lines = reader.uint32(), let probes = reader.uint32() else { return nil }
            return (lines, probes)
        }
        guard let (lineCount, probes) = header, lineCount > 0, (1...6).contains(probes),
            bytes.count == Self.headerBytes + Int(lineCount) * Self.lineBytes
        else { throw StorageError(.corruption, "a bloom filter that does not parse", file: path, offset: offset) }
        self.bytes = bytes
        self.lineCount = lineCount
        self.probes = Int(probes)
    }

    var byteCount: Int { bytes.count }

    @inline(__always)
    func mayContain(_ hash: UInt64) -> Bool {
        let start = Self.headerBytes &+ Self.line(hash, lineCount) &* Self.lineBytes
        return bytes.withBorrowedBytes { view in
            var bits = Self.bits(hash)
            for _ in 0..<probes {
                let bit = Int(bits & 511)
                // Safety: the initializer checked that all lines are there.
                let byte = unsafe view.base.load(fromByteOffset: start &+ bit >> 3, as: UInt8.self)
                if byte & (1 << UInt8(truncatingIfNeeded: bit & 7)) == 0 { return false }
                bits >>= 9
            }
            return true
        }
    }

    /// The filter over keys with these hashes.
    static func encoded(_ hashes: [UInt64], bitsPerKey: Int) -> [UInt8] {
        let lineCount = UInt32(max(1, (hashes.count * bitsPerKey + 511) / 512))
        // ln 2 bits a key each would be right for one large filter; in lines the load varies, and fewer do as well.
        let probes = min(6, max(1, bitsPerKey * 6 / 10))
        var bytes: [UInt8] = []
        bytes.reserveCapacity(headerBytes + Int(lineCount) * lineBytes)
        bytes.append(littleEndian: lineCount)
        bytes.append(littleEndian: UInt32(probes))
        bytes.append(contentsOf: repeatElement(0, count: Int(lineCount) * lineBytes))
        for hash in hashes {
            let start = headerBytes &+ line(hash, lineCount) &* lineBytes
            var bits = bits(hash)
            for _ in 0..<probes {
                let bit = Int(bits & 511)
                bytes[start &+ bit >> 3] |= 1 << UInt8(truncatingIfNeeded: bit & 7)
                bits >>= 9
            }
        }
        return bytes
    }

    @inline(__always)
    private static func line(_ hash: UInt64, _ lineCount: UInt32) -> Int {
        Int(((hash >> 32) &* UInt64(lineCount)) >> 32)
    }

    /// Nine bits a probe, from all bits of the hash, those that chose the line mixed in anew.
    @inline(__always)
    private static func bits(_ hash: UInt64) -> UInt64 { (hash &* 0x9E37_79B9_7F4A_7C15) >> 10 }

    /// MurmurHash64A (Austin Appleby, public domain) with seed 0x436169726E.
    static func hash(_ key: BorrowedBytes) -> UInt64 {
        let m: UInt64 = 0xC6A4_A793_5BD1_E995
        var hash = 0x43_6169_726E ^ (UInt64(key.count) &* m)
        var offset = 0
        // Safety: the loops stay within the key.
        while offset &+ 8 <= key.count {
            var word = unsafe UInt64(littleEndian: key.base.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            word = word &* m
            word ^= word >> 47
            word = word &* m
            hash ^= word
            hash = hash &* m
            offset &+= 8
        }
        if offset < key.count {
            var word: UInt64 = 0
            var shift: UInt64 = 0
            while offset < key.count {
                word |= UInt64(unsafe key.base.load(fromByteOffset: offset, as: UInt8.self)) << shift
                shift &+= 8
                offset &+= 1
            }
            hash ^= word
            hash = hash &* m
        }
        hash ^= hash >> 47
        hash = hash &* m
        hash ^= hash >> 47
        return hash
    }
}
