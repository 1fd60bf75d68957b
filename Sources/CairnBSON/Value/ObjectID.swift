/// Twelve bytes that name a document: four of time, five of the process, three of a counter. Orders by bytes.
public struct ObjectID: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The first eight bytes as a big-endian number.
    public let high: UInt64
    /// The last four.
    public let low: UInt32

    @inlinable
    public init(high: UInt64, low: UInt32) {
        self.high = high
        self.low = low
    }

    /// - Parameters:
    ///   - seconds: Since 1970 UTC.
    ///   - random: The lower 40 bits are used; a process keeps its own for as long as it lives.
    ///   - counter: The lower 24 bits are used.
    public init(seconds: UInt32, random: UInt64, counter: UInt32) {
        high = UInt64(seconds) << 32 | (random >> 8) & 0xFFFF_FFFF
        low = UInt32(truncatingIfNeeded: random & 0xFF) << 24 | counter & 0xFF_FFFF
    }

    /// Reads 12 bytes; nil for any other number of them.
    public init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 12 else { return nil }
        var high: UInt64 = 0
        var low: UInt32 = 0
        for (index, byte) in bytes.enumerated() {
            if index < 8 { high = high << 8 | UInt64(byte) } else { low = low << 8 | UInt32(byte) }
        }
        self.init(high: high, low: low)
    }

    /// Reads 24 hexadecimal digits; nil for anything else.
    public init?(_ hex: String) {
        guard hex.utf8.count == 24 else { return nil }
        var high: UInt64 = 0
        var low: UInt32 = 0
        for (index, digit) in hex.utf8.enumerated() {
            guard let value = hexadecimalValue(digit) else { return nil }
            if index < 16 { high = high << 4 | UInt64(value) } else { low = low << 4 | UInt32(value) }
        }
        self.init(high: high, low: low)
    }

    public init?(hex: String) { self.init(hex) }

    public var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(12)
        append(to: &bytes)
        return bytes
    }

    func append(to bytes: inout [UInt8]) {
        bytes.append(bigEndian: high)
        bytes.append(bigEndian: low)
    }

    /// 24 lower-case hexadecimal digits.
    public var hex: String { hexadecimal(bytes) }

    public var description: String { hex }

    /// Seconds since 1970 UTC at which the id was made.
    public var seconds: UInt32 { UInt32(truncatingIfNeeded: high >> 32) }

    @inlinable
    public static func < (left: ObjectID, right: ObjectID) -> Bool {
        left.high != right.high ? left.high < right.high : left.low < right.low
    }

    static func compare(_ left: ObjectID, _ right: ObjectID) -> Int {
        left == right ? 0 : (left < right ? -1 : 1)
    }
}

/// Makes object ids for one process: ids differ as long as no more than 2^24 are made in a second.
///
/// It reads no clock and no random source: the caller seeds it once and says the time.
public struct ObjectIDGenerator: Sendable {
    private let random: UInt64
    private var counter: UInt32

    /// - Parameter seed: 64 random bits; two processes with the same seed make the same ids.
    public init(seed: UInt64) {
        var mixed = seed &+ 0x9E37_79B9_7F4A_7C15
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        mixed ^= mixed >> 31
        random = seed & 0xFF_FFFF_FFFF
        counter = UInt32(truncatingIfNeeded: mixed) & 0xFF_FFFF
    }

    /// The next id, for a time in seconds since 1970 UTC.
    public mutating func next(seconds: UInt32) -> ObjectID {
        defer { counter = (counter &+ 1) & 0xFF_FFFF }
        return ObjectID(seconds: seconds, random: random, counter: counter)
    }
}

func hexadecimalValue(_ digit: UInt8) -> UInt8? {
    switch digit {
    case 0x30...0x39: digit - 0x30
    case 0x41...0x46: digit - 0x41 + 10
    case 0x61...0x66: digit - 0x61 + 10
    default: nil
    }
}

func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}
