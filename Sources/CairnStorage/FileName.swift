/// The files of an engine's directory.
enum FileName: Hashable {
    case wal(UInt64)
    case table(UInt64)
    case manifest(UInt64)
    case current
    case lock

    /// No engine comes to this number; what claims it is damaged or not ours.
    static let numberEnd: UInt64 = 1 << 62

    init?(_ name: String) {
        switch name {
        case "CURRENT": self = .current
        case "LOCK": self = .lock
        default:
            if name.hasPrefix("MANIFEST-"), let number = Self.number(name.dropFirst(9)) {
                self = .manifest(number)
            } else if name.hasSuffix(".wal"), let number = Self.number(name.dropLast(4)) {
                self = .wal(number)
            } else if name.hasSuffix(".sst"), let number = Self.number(name.dropLast(4)) {
                self = .table(number)
            } else {
                return nil
            }
        }
    }

    private static func number(_ digits: Substring) -> UInt64? {
        UInt64(digits).flatMap { $0 < numberEnd ? $0 : nil }
    }

    var name: String {
        switch self {
        case .wal(let number): "\(Self.padded(number)).wal"
        case .table(let number): "\(Self.padded(number)).sst"
        case .manifest(let number): "MANIFEST-\(Self.padded(number))"
        case .current: "CURRENT"
        case .lock: "LOCK"
        }
    }

    func path(in directory: String) -> String { directory + "/" + name }

    private static func padded(_ number: UInt64) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 6 - digits.count)) + digits
    }
}
