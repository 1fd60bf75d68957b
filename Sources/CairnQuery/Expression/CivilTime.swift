import CairnBSON
import Foundation

/// A moment taken apart in the Gregorian calendar, extended to all years.
///
/// The arithmetic is Howard Hinnant's ("chrono-compatible low-level date algorithms"): exact for every day that 64 bits
/// of milliseconds reach, before 1970 included.
struct CivilTime: Sendable {
    var year: Int
    /// 1 to 12.
    var month: Int
    /// 1 to 31.
    var day: Int
    var hour = 0
    var minute = 0
    var second = 0
    var millisecond = 0

    static let dayMilliseconds: Int64 = 86_400_000

    init(year: Int, month: Int, day: Int) {
        self.year = year
        self.month = month
        self.day = day
    }

    /// - Parameter milliseconds: Since 1970, in whatever zone the parts shall be of.
    init(_ milliseconds: Int64) {
        let days = Int(Self.floored(milliseconds, by: Self.dayMilliseconds))
        let rest = Int(milliseconds - Int64(days) * Self.dayMilliseconds)
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        hour = rest / 3_600_000
        minute = rest / 60_000 % 60
        second = rest / 1000 % 60
        millisecond = rest % 1000
    }

    static func floored(_ value: Int64, by divisor: Int64) -> Int64 {
        let quotient = value / divisor
        return value % divisor < 0 ? quotient - 1 : quotient
    }

    /// Days since 1970-01-01; months and days may lie outside of their ranges and carry over.
    static func days(year: Int, month: Int, day: Int) -> Int {
        let months = month - 1
        let carried = year + Int(floored(Int64(months), by: 12))
        let month = months - Int(floored(Int64(months), by: 12)) * 12 + 1
        let shifted = month <= 2 ? carried - 1 : carried
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468 + day - 1
    }

    /// Milliseconds since 1970 in the zone of the parts; parts may carry over.
    var milliseconds: Int64 {
        Int64(Self.days(year: year, month: month, day: day)) * Self.dayMilliseconds
            + Int64(hour) * 3_600_000 + Int64(minute) * 60_000 + Int64(second) * 1000 + Int64(millisecond)
    }

    private var dayNumber: Int { Self.days(year: year, month: month, day: day) }

    /// 1 (January 1st) to 366.
    var dayOfYear: Int { dayNumber - Self.days(year: year, month: 1, day: 1) + 1 }

    /// 1 (Sunday) to 7 (Saturday).
    var dayOfWeek: Int { ((dayNumber + 4) % 7 + 7) % 7 + 1 }

    /// 1 (Monday) to 7 (Sunday).
    var isoDayOfWeek: Int { dayOfWeek == 1 ? 7 : dayOfWeek - 1 }

    /// 0 to 53; weeks begin on Sundays, and what comes before the first is week 0.
    var week: Int { (dayOfYear + 7 - dayOfWeek) / 7 }

    /// The ISO 8601 week and the year that it belongs to.
    var isoWeek: (year: Int, week: Int) {
        // The week is that of its Thursday.
        let thursday = CivilTime(Int64(dayNumber + 4 - isoDayOfWeek) * Self.dayMilliseconds)
        return (thursday.year, (thursday.dayOfYear - 1) / 7 + 1)
    }

    static func daysIn(month: Int, year: Int) -> Int {
        days(year: year, month: month + 1, day: 1) - days(year: year, month: month, day: 1)
    }
}

/// A time zone of an expression: an offset, or a place whose offset changes.
enum Zone: Sendable {
    case fixed(seconds: Int)
    case place(TimeZone)

    static let utc = Zone.fixed(seconds: 0)

    /// - Throws: code 40485 for a name that is neither.
    init(_ name: String) throws(QueryError) {
        if name == "UTC" || name == "GMT" || name == "Z" {
            self = .utc
            return
        }
        if let first = name.first, first == "+" || first == "-" {
            let digits = name.dropFirst().filter { $0 != ":" }
            let isShaped = digits.allSatisfy { $0.isASCII && $0.isNumber } && (digits.count == 2 || digits.count == 4)
            if isShaped, let hours = Int(digits.prefix(2)),
                let minutes = Int(digits.dropFirst(2).isEmpty ? "0" : digits.dropFirst(2))
            {
                let seconds = hours * 3600 + minutes * 60
                self = .fixed(seconds: first == "-" ? -seconds : seconds)
                return
            }
        } else if let zone = TimeZone(identifier: name) {
            self = .place(zone)
            return
        }
        throw QueryError(ErrorCode(40485), "unrecognized time zone identifier: \"\(name)\"")
    }

    func offsetMilliseconds(at milliseconds: Int64) -> Int64 {
        switch self {
        case .fixed(let seconds): Int64(seconds) * 1000
        case .place(let zone):
            Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(milliseconds) / 1000))) * 1000
        }
    }

    func local(_ milliseconds: Int64) -> Int64 {
        milliseconds &+ offsetMilliseconds(at: milliseconds)
    }

    /// The moment at which clocks of the zone show `local`; of two, the earlier.
    func utc(_ local: Int64) -> Int64 {
        let first = local &- offsetMilliseconds(at: local)
        let second = local &- offsetMilliseconds(at: first)
        return second
    }
}
