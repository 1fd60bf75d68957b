extension KeyEncoding {
    /// The length of the encoding that `bytes` start with, to take a compound key apart; nil if they start with none.
    public static func skip(_ bytes: ArraySlice<UInt8>, descending: Bool = false) -> Int? {
        var reader = Reader(bytes: bytes, position: bytes.startIndex, mask: descending ? 0xFF : 0)
        return reader.skipValue(depth: 0) ? reader.position - bytes.startIndex : nil
    }

    private struct Reader {
        let bytes: ArraySlice<UInt8>
        var position: Int
        /// What every byte is combined with: FF for a descending encoding.
        let mask: UInt8

        private mutating func next() -> UInt8? {
            guard position < bytes.endIndex else { return nil }
            defer { position += 1 }
            return bytes[position] ^ mask
        }

        private mutating func skip(_ count: Int) -> Bool {
            guard count <= bytes.endIndex - position else { return false }
            position += count
            return true
        }

        private mutating func nextLength() -> Int? {
            var length = 0
            for _ in 0..<4 {
                guard let byte = next() else { return nil }
                length = length << 8 | Int(byte)
            }
            return length
        }

        mutating func skipValue(depth: Int) -> Bool {
            guard let first = next() else { return false }
            return skipContent(first, depth: depth)
        }

        private mutating func skipContent(_ first: UInt8, depth: Int) -> Bool {
            switch first {
            case 0x05, 0x0A, 0x0F, 0xF0, KeyEncoding.falseByte, KeyEncoding.trueByte, KeyEncoding.nan: return true
            case 0x15...0x2B: return skipNumber(first)
            case 0x3C, 0xA0: return skipText()
            case 0x46: return skipElements(named: true, depth: depth + 1)
            case 0x50: return skipElements(named: false, depth: depth + 1)
            case 0x5A:
                guard let length = nextLength() else { return false }
                return skip(length + 1)
            case 0x64: return skip(12)
            case 0x78, 0x82: return skip(8)
            case 0x8C: return skipText() && skipText()
            case 0x96:
                guard let length = nextLength() else { return false }
                return skip(length + 12)
            case 0xAA: return skipText() && skipElements(named: true, depth: depth + 1)
            default: return false
            }
        }

        private mutating func skipText() -> Bool {
            while let byte = next() {
                guard byte == 0 else { continue }
                guard let second = next() else { return false }
                if second == 0 { return true }
                if second != 0xFF { return false }
            }
            return false
        }

        private mutating func skipElements(named: Bool, depth: Int) -> Bool {
            guard depth <= Value.comparisonDepthMax + 1 else { return false }
            while let first = next() {
                if first == 0 { return true }
                if first == KeyEncoding.opaque { return skipText() }
                if named {
                    while true {
                        guard let byte = next() else { return false }
                        if byte == 0 { break }
                    }
                    guard skipValue(depth: depth) else { return false }
                } else {
                    guard skipContent(first, depth: depth) else { return false }
                }
            }
            return false
        }

        private mutating func skipNumber(_ first: UInt8) -> Bool {
            if first == KeyEncoding.zero { return true }
            let negative = first < KeyEncoding.zero
            let numberClass = negative ? KeyEncoding.zero - first : first - KeyEncoding.zero
            let sign: UInt8 = negative ? 0xFF : 0
            switch numberClass {
            case NumberClass.infinite: return true
            case NumberClass.fraction, NumberClass.large: return skipFraction(sign)
            default:
                guard skip(Int(numberClass - NumberClass.whole) - 1), let last = next() else { return false }
                return (last ^ sign) & 1 == 0 || skipFraction(sign)
            }
        }

        private mutating func skipFraction(_ sign: UInt8) -> Bool {
            guard skip(8), let form = next() else { return false }
            if form ^ sign == 0 { return true }
            guard form ^ sign == 1, skip(2) else { return false }
            while let pair = next() {
                if pair ^ sign == 0 { return true }
            }
            return false
        }
    }
}
