import CairnBSON

/// Dates as text: MongoDB's `%Y-%m-%d` formats, and ISO 8601 in the looseness in which people write it.
enum DateText {
    private static let months = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ]

    /// Nil for a format with an unknown letter or a year that four digits do not hold.
    static func format(_ milliseconds: Int64, _ format: String, zone: Zone) -> String? {
        let time = CivilTime(zone.local(milliseconds))
        var text = ""
        var rest = format.unicodeScalars[...]
        func padded(_ number: Int, _ width: Int) -> String {
            let digits = String(abs(number))
            return (number < 0 ? "-" : "") + String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        while let scalar = rest.popFirst() {
            guard scalar == "%" else {
                text.unicodeScalars.append(scalar)
                continue
            }
            guard let letter = rest.popFirst() else { return nil }
            switch letter {
            case "Y": text += padded(time.year, 4)
            case "m": text += padded(time.month, 2)
            case "d": text += padded(time.day, 2)
            case "H": text += padded(time.hour, 2)
            case "M": text += padded(time.minute, 2)
            case "S": text += padded(time.second, 2)
            case "L": text += padded(time.millisecond, 3)
            case "j": text += padded(time.dayOfYear, 3)
            case "w": text += String(time.dayOfWeek)
            case "u": text += String(time.isoDayOfWeek)
            case "U": text += padded(time.week, 2)
            case "V": text += padded(time.isoWeek.week, 2)
            case "G": text += padded(time.isoWeek.year, 4)
            case "b": text += months[time.month - 1].prefix(3)
            case "B": text += months[time.month - 1]
            case "z":
                let minutes = Int(zone.offsetMilliseconds(at: milliseconds) / 60_000)
                text += (minutes < 0 ? "-" : "+") + padded(abs(minutes) / 60, 2) + padded(abs(minutes) % 60, 2)
            case "Z": text += String(zone.offsetMilliseconds(at: milliseconds) / 60_000)
            case "%": text += "%"
            default: return nil
            }
        }
        return text
    }

    private static func failure(_ text: String, _ why: String) -> QueryError {
        QueryError(.conversionFailure, "Error parsing date string '\(text)'; \(why)")
    }

    /// Reads ISO 8601: a date, then perhaps a time, then perhaps a zone.
    static func parse(_ text: String, zone: Zone?) throws(QueryError) -> Int64 {
        var reader = Reader(text)
        guard let year = reader.number(digits: 4...4), reader.take("-"), let month = reader.number(digits: 1...2),
            reader.take("-"), let day = reader.number(digits: 1...2)
        else { throw failure(text, "0: Unexpected character") }
        guard (1...12).contains(month), (1...31).contains(day) else { throw failure(text, "date out of range") }
        var time = CivilTime(year: year, month: month, day: day)
        var offset: Int?
        if reader.take("T") || reader.take("t") || reader.take(" ") {
            guard let hour = reader.number(digits: 1...2), hour < 24 else { throw failure(text, "hour expected") }
            time.hour = hour
            if reader.take(":") {
                guard let minute = reader.number(digits: 2...2), minute < 60 else {
                    throw failure(text, "minute expected")
                }
                time.minute = minute
                if reader.take(":") {
                    guard let second = reader.number(digits: 2...2), second < 61 else {
                        throw failure(text, "second expected")
                    }
                    time.second = second
                    if reader.take(".") || reader.take(",") { time.millisecond = reader.fraction() ?? 0 }
                }
            }
            while reader.take(" ") {}
            offset = reader.offset()
        }
        guard reader.isAtEnd else { throw failure(text, "Trailing data") }
        if let offset {
            if zone != nil { throw failure(text, "you cannot pass in a date/time string with time zone information") }
            return time.milliseconds - Int64(offset) * 60_000
        }
        return (zone ?? .utc).utc(time.milliseconds)
    }

    /// Reads by a format of `%` letters.
    static func parse(_ text: String, format: String, zone: Zone?) throws(QueryError) -> Int64 {
        var reader = Reader(text)
        var time = CivilTime(year: 1970, month: 1, day: 1)
        var dayOfYear: Int?
        var iso: (year: Int, week: Int, day: Int)?
        var offset: Int?
        var rest = format.unicodeScalars[...]
        while let scalar = rest.popFirst() {
            guard scalar == "%" else {
                guard reader.take(scalar) else { throw failure(text, "the text does not follow the format \(format)") }
                continue
            }
            let letter = rest.popFirst() ?? "%"
            func number(_ digits: ClosedRange<Int>) throws(QueryError) -> Int {
                guard let number = reader.number(digits: digits) else {
                    throw failure(text, "a number was expected for %\(letter)")
                }
                return number
            }
            switch letter {
            case "Y": time.year = try number(4...4)
            case "m": time.month = try number(1...2)
            case "d": time.day = try number(1...2)
            case "H": time.hour = try number(1...2)
            case "M": time.minute = try number(1...2)
            case "S": time.second = try number(1...2)
            case "L": time.millisecond = try number(1...3)
            case "j": dayOfYear = try number(1...3)
            case "G": iso = (try number(4...4), iso?.week ?? 1, iso?.day ?? 1)
            case "V": iso = (iso?.year ?? 1970, try number(1...2), iso?.day ?? 1)
            case "u": iso = (iso?.year ?? 1970, iso?.week ?? 1, try number(1...1))
            case "b", "B":
                guard
                    let index = months.firstIndex(where: {
                        reader.take(word: letter == "b" ? String($0.prefix(3)) : $0)
                    })
                else { throw failure(text, "a month was expected") }
                time.month = index + 1
            case "z":
                guard let found = reader.offset() else { throw failure(text, "a time zone was expected") }
                offset = found
            case "Z":
                let isNegative = reader.take("-")
                if !isNegative { _ = reader.take("+") }
                let minutes = try number(1...4)
                offset = isNegative ? -minutes : minutes
            case "%": guard reader.take("%") else { throw failure(text, "% was expected") }
            default: throw QueryError(ErrorCode(18536), "Invalid format character '%\(letter)' in format string")
            }
        }
        guard reader.isAtEnd else { throw failure(text, "Trailing data") }
        guard (1...12).contains(time.month), (1...31).contains(time.day), time.hour < 24, time.minute < 60 else {
            throw failure(text, "date out of range")
        }
        if let dayOfYear {
            time.month = 1
            time.day = dayOfYear
        }
        if let iso {
            let start = DateParts.isoStart(year: iso.year, week: iso.week, day: iso.day)
            (time.year, time.month, time.day) = (1970, 1, start + 1)
        }
        if let offset { return time.milliseconds - Int64(offset) * 60_000 }
        return (zone ?? .utc).utc(time.milliseconds)
    }

    private struct Reader {
        private let scalars: [Unicode.Scalar]
        private var position = 0

        init(_ text: String) { scalars = Array(text.unicodeScalars) }

        var isAtEnd: Bool { position == scalars.count }

        mutating func take(_ scalar: Unicode.Scalar) -> Bool {
            guard position < scalars.count, scalars[position] == scalar else { return false }
            position += 1
            return true
        }

        mutating func take(word: String) -> Bool {
            let wanted = Array(word.unicodeScalars)
            guard position + wanted.count <= scalars.count,
                zip(scalars[position...], wanted).allSatisfy({
                    $0.properties.lowercaseMapping == $1.properties.lowercaseMapping
                })
            else { return false }
            position += wanted.count
            return true
        }

        mutating func number(digits: ClosedRange<Int>) -> Int? {
            var value = 0
            var count = 0
            while count < digits.upperBound, position < scalars.count, let digit = Self.digit(scalars[position]) {
                value = value * 10 + digit
                count += 1
                position += 1
            }
            return count >= digits.lowerBound ? value : nil
        }

        /// Milliseconds from any number of digits.
        mutating func fraction() -> Int? {
            var value = 0
            var count = 0
            while position < scalars.count, let digit = Self.digit(scalars[position]) {
                if count < 3 { value = value * 10 + digit }
                count += 1
                position += 1
            }
            guard count > 0 else { return nil }
            for _ in min(count, 3)..<3 { value *= 10 }
            return value
        }

        /// Minutes of `Z`, `+02:00`, `-0530` or `+01`.
        mutating func offset() -> Int? {
            if take("Z") || take("z") { return 0 }
            if take(word: "UTC") || take(word: "GMT") { return 0 }
            let isNegative = take("-")
            guard isNegative || take("+"), let hours = number(digits: 2...2) else { return nil }
            _ = take(":")
            let minutes = hours * 60 + (number(digits: 2...2) ?? 0)
            return isNegative ? -minutes : minutes
        }

        private static func digit(_ scalar: Unicode.Scalar) -> Int? {
            scalar.value >= 48 && scalar.value <= 57 ? Int(scalar.value - 48) : nil
        }
    }
}
