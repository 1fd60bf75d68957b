/// Bytes with a subtype that says what they are.
public struct Binary: Hashable, Sendable {
    /// The meaning of the bytes; 128 and above belong to users.
    public struct Subtype: RawRepresentable, Hashable, Sendable {
        public let rawValue: UInt8

        @inlinable
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        public static let generic = Subtype(rawValue: 0)
        public static let function = Subtype(rawValue: 1)
        /// The obsolete generic kind; its data start with their own length.
        public static let binaryOld = Subtype(rawValue: 2)
        public static let uuidOld = Subtype(rawValue: 3)
        public static let uuid = Subtype(rawValue: 4)
        public static let md5 = Subtype(rawValue: 5)
        public static let encrypted = Subtype(rawValue: 6)
        public static let column = Subtype(rawValue: 7)
        public static let sensitive = Subtype(rawValue: 8)
        public static let vector = Subtype(rawValue: 9)
    }

    public let subtype: Subtype
    public let data: ArraySlice<UInt8>

    public init(_ data: ArraySlice<UInt8>, subtype: Subtype = .generic) {
        self.data = data
        self.subtype = subtype
    }

    public init(_ data: [UInt8], subtype: Subtype = .generic) { self.init(data[...], subtype: subtype) }

    /// Length first, then the subtype, then the bytes: -1, 0 or 1.
    static func compare(_ left: Binary, _ right: Binary) -> Int {
        if left.data.count != right.data.count { return left.data.count < right.data.count ? -1 : 1 }
        if left.subtype != right.subtype { return left.subtype.rawValue < right.subtype.rawValue ? -1 : 1 }
        return compareBytes(left.data, right.data)
    }
}
