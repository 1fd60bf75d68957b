#if canImport(FoundationEssentials)
    public import FoundationEssentials
#elseif canImport(Foundation)
    public import Foundation
#endif

#if canImport(FoundationEssentials) || canImport(Foundation)
    /// A `Date` is BSON's date: what is finer than a millisecond is rounded away.
    extension Date: BSONRepresentable {
        public var bsonValue: Value {
            let milliseconds = (timeIntervalSince1970 * 1000).rounded()
            if milliseconds >= 0x1p63 { return .date(milliseconds: .max) }
            return .date(milliseconds: milliseconds > -0x1p63 ? Int64(milliseconds) : .min)
        }

        public init?(bsonValue: Value) {
            guard case .date(let milliseconds) = bsonValue else { return nil }
            self.init(timeIntervalSince1970: Double(milliseconds) / 1000)
        }
    }

    /// `Data` is a generic binary.
    extension Data: BSONRepresentable {
        public var bsonValue: Value { .binary(Binary(Array(self))) }

        public init?(bsonValue: Value) {
            guard case .binary(let value) = bsonValue else { return nil }
            self.init(value.data)
        }
    }

    /// A `UUID` is a binary of subtype 4; the older subtype 3 is read in the same byte order.
    extension UUID: BSONRepresentable {
        public var bsonValue: Value {
            let bytes = unsafe Swift.withUnsafeBytes(of: uuid) { bytes in unsafe Array(bytes) }
            return .binary(Binary(bytes, subtype: .uuid))
        }

        public init?(bsonValue: Value) {
            guard case .binary(let value) = bsonValue, value.data.count == 16,
                value.subtype == .uuid || value.subtype == .uuidOld
            else { return nil }
            let b = Array(value.data)
            self.init(
                uuid: (
                    b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]
                ))
        }
    }
#endif
