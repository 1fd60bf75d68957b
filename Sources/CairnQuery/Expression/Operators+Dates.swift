import CairnBSON

// Dates. A timestamp or an object id serves as a date; null and missing give null.
extension ExpressionOperators {
    static let dates: [String: Parse] = [
        "$year": part { .int32(Int32(clamping: $0.year)) },
        "$month": part { .int32(Int32($0.month)) },
        "$dayOfMonth": part { .int32(Int32($0.day)) },
        "$hour": part { .int32(Int32($0.hour)) },
        "$minute": part { .int32(Int32($0.minute)) },
        "$second": part { .int32(Int32($0.second)) },
        "$millisecond": part { .int32(Int32($0.millisecond)) },
        "$dayOfYear": part { .int32(Int32($0.dayOfYear)) },
        "$dayOfWeek": part { .int32(Int32($0.dayOfWeek)) },
        "$week": part { .int32(Int32($0.week)) },
        "$isoWeek": part { .int32(Int32($0.isoWeek.week)) },
        "$isoWeekYear": part { .int64(Int64($0.isoWeek.year)) },
        "$isoDayOfWeek": part { .int32(Int32($0.isoDayOfWeek)) },
        "$dateToString": { (parser, value, name) throws(QueryError) in
            let operands = try parser.named(value, name, ["date", "format", "timezone", "onNull"], required: 1)
            let hasZone = operands[2] != nil
            let hasOnNull = operands[3] != nil
            let nodes = operands.map { $0 ?? .constant(nil) }
            return parser.folded(
                .nary(
                    { (values) throws(QueryError) in
                        guard let value = values[0], !value.isNullish else { return hasOnNull ? values[3] : .null }
                        guard let zone = try zone(values[2], isGiven: hasZone) else { return .null }
                        let standard = hasZone ? "%Y-%m-%dT%H:%M:%S.%L" : "%Y-%m-%dT%H:%M:%S.%LZ"
                        var format = standard
                        if let given = values[1] {
                            if given.isNullish { return .null }
                            guard let text = given.asString else {
                                throw QueryError(
                                    ErrorCode(18533),
                                    "$dateToString requires that 'format' be a string, found: \(given.type.alias) with value \(given)"
                                )
                            }
                            format = text.string
                        }
                        guard let text = DateText.format(try moment(value, name), format, zone: zone) else {
                            throw QueryError(ErrorCode(18536), "Invalid format character in format string")
                        }
                        return .text(text)
                    }, nodes), nodes)
        },
        "$dateFromString": { (parser, value, name) throws(QueryError) in
            let operands = try parser.named(
                value, name, ["dateString", "format", "timezone", "onError", "onNull"], required: 1)
            let hasZone = operands[2] != nil
            let hasOnError = operands[3] != nil
            let hasOnNull = operands[4] != nil
            let nodes = operands.map { $0 ?? .constant(nil) }
            return parser.folded(
                .nary(
                    { (values) throws(QueryError) in
                        guard let value = values[0], !value.isNullish else { return hasOnNull ? values[4] : .null }
                        do throws(QueryError) {
                            guard let text = value.asString?.string else {
                                throw QueryError(
                                    .conversionFailure,
                                    "$dateFromString requires that 'dateString' be a string, found: \(value.type.alias) with value \(value)"
                                )
                            }
                            guard let zone = try zone(values[2], isGiven: hasZone) else { return .null }
                            if let format = values[1] {
                                guard let format = format.asString?.string else { return .null }
                                return .date(milliseconds: try DateText.parse(text, format: format, zone: zone))
                            }
                            return .date(milliseconds: try DateText.parse(text, zone: hasZone ? zone : nil))
                        } catch {
                            if hasOnError { return values[3] }
                            throw error
                        }
                    }, nodes), nodes)
        },
        "$dateFromParts": { (parser, value, name) throws(QueryError) in
            let names = [
                "year", "month", "day", "hour", "minute", "second", "millisecond", "timezone", "isoWeekYear", "isoWeek",
                "isoDayOfWeek",
            ]
            let operands = try parser.named(value, name, names, required: 0)
            let isISO = operands[8] != nil
            guard isISO || operands[0] != nil else {
                throw QueryError(
                    ErrorCode(40516), "$dateFromParts requires either 'year' or 'isoWeekYear' to be present")
            }
            let given = operands.map { $0 != nil }
            let nodes = operands.map { $0 ?? .constant(nil) }
            return parser.folded(
                .nary(
                    { (values) throws(QueryError) in
                        try DateParts.build(values, given, isISO: isISO)
                    }, nodes), nodes)
        },
        "$dateToParts": { (parser, value, name) throws(QueryError) in
            let operands = try parser.named(value, name, ["date", "timezone", "iso8601"], required: 1)
            let hasZone = operands[1] != nil
            let nodes = operands.map { $0 ?? .constant(nil) }
            return parser.folded(
                .nary(
                    { (values) throws(QueryError) in
                        guard let value = values[0], !value.isNullish,
                            let zone = try zone(values[1], isGiven: hasZone)
                        else { return .null }
                        let time = CivilTime(zone.local(try moment(value, name)))
                        var builder = DocumentBuilder()
                        if values[2]?.isTruthy ?? false {
                            builder.append("isoWeekYear", Int32(clamping: time.isoWeek.year))
                            builder.append("isoWeek", Int32(time.isoWeek.week))
                            builder.append("isoDayOfWeek", Int32(time.isoDayOfWeek))
                        } else {
                            builder.append("year", Int32(clamping: time.year))
                            builder.append("month", Int32(time.month))
                            builder.append("day", Int32(time.day))
                        }
                        builder.append("hour", Int32(time.hour))
                        builder.append("minute", Int32(time.minute))
                        builder.append("second", Int32(time.second))
                        builder.append("millisecond", Int32(time.millisecond))
                        return .document(builder.finish())
                    }, nodes), nodes)
        },
        "$dateAdd": shift(1),
        "$dateSubtract": shift(-1),
        "$dateDiff": { (parser, value, name) throws(QueryError) in
            let operands = try parser.named(
                value, name, ["startDate", "endDate", "unit", "timezone", "startOfWeek"], required: 3)
            let hasZone = operands[3] != nil
            let nodes = operands.map { $0 ?? .constant(nil) }
            return parser.folded(
                .nary(
                    { (values) throws(QueryError) in
                        guard let start = values[0], !start.isNullish, let end = values[1], !end.isNullish,
                            let unitName = values[2], !unitName.isNullish,
                            let zone = try zone(values[3], isGiven: hasZone)
                        else { return .null }
                        let unit = try DateUnit(unitName, name)
                        let first = try unit.ordinal(
                            of: zone.local(try moment(start, name)), startOfWeek: try weekday(values[4]))
                        let last = try unit.ordinal(
                            of: zone.local(try moment(end, name)), startOfWeek: try weekday(values[4]))
                        return .int64(last - first)
                    }, nodes), nodes)
        },
        "$dateTrunc": { (parser, value, name) throws(QueryError) in
            let operands = try parser.named(
                value, name, ["date", "unit", "binSize", "timezone", "startOfWeek"], required: 2)
            let hasZone = operands[3] != nil
            let hasSize = operands[2] != nil
            let nodes = operands.map { $0 ?? .constant(nil) }
            return parser.folded(
                .nary(
                    { (values) throws(QueryError) in
                        guard let date = values[0], !date.isNullish, let unitName = values[1], !unitName.isNullish,
                            let zone = try zone(values[3], isGiven: hasZone)
                        else { return .null }
                        if hasSize, values[2]?.isNullish ?? true { return .null }
                        let size = hasSize ? values[2]?.int64Exactly ?? 0 : 1
                        guard size > 0 else {
                            throw QueryError(
                                ErrorCode(5_439_018),
                                "$dateTrunc requires 'binSize' to be greater than 0, but got value \(values[2] ?? .null)"
                            )
                        }
                        let unit = try DateUnit(unitName, name)
                        let local = zone.local(try moment(date, name))
                        let start = unit.truncated(local, size: size, startOfWeek: try weekday(values[4]))
                        return .date(milliseconds: zone.utc(start))
                    }, nodes), nodes)
        },
        "$tsSecond": unary { (value) throws(QueryError) in
            guard let value, !value.isNullish else { return .null }
            guard case .timestamp(let time) = value else {
                throw QueryError(
                    ErrorCode(5_687_301), "$tsSecond requires a timestamp argument, found: \(value.type.alias)")
            }
            return .int64(Int64(time.seconds))
        },
        "$tsIncrement": unary { (value) throws(QueryError) in
            guard let value, !value.isNullish else { return .null }
            guard case .timestamp(let time) = value else {
                throw QueryError(
                    ErrorCode(5_687_302), "$tsIncrement requires a timestamp argument, found: \(value.type.alias)")
            }
            return .int64(Int64(time.increment))
        },
    ]

    // MARK: Pieces

    static func moment(_ value: Value, _ name: String) throws(QueryError) -> Int64 {
        switch value {
        case .date(let milliseconds): return milliseconds
        case .timestamp(let time): return Int64(time.seconds) * 1000
        case .objectID(let id): return Int64(Int32(bitPattern: id.seconds)) * 1000
        default: throw QueryError(ErrorCode(16006), "can't convert from BSON type \(value.type.alias) to Date")
        }
    }

    /// The zone of an operand; nil when the operand is null, which makes the whole expression null.
    static func zone(_ value: Value?, isGiven: Bool) throws(QueryError) -> Zone? {
        guard isGiven else { return .utc }
        guard let value, !value.isNullish else { return nil }
        guard let name = value.asString?.string else {
            throw QueryError(ErrorCode(40517), "timezone must evaluate to a string, found \(value.type.alias)")
        }
        return try Zone(name)
    }

    /// 1 (Monday) to 7; Sunday when not given.
    private static func weekday(_ value: Value?) throws(QueryError) -> Int {
        guard let value, !value.isNullish else { return 7 }
        let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
        guard let name = value.asString?.string.lowercased(), let index = names.firstIndex(of: String(name.prefix(3)))
        else {
            throw QueryError(
                ErrorCode(5_439_015), "'startOfWeek' parameter value cannot be recognized as a day of a week: \(value)")
        }
        return index + 1
    }

    private static func part(_ pick: @escaping @Sendable (CivilTime) -> Value) -> Parse {
        { (parser, value, name) throws(QueryError) in
            var dateValue = value
            var zoneValue: Value?
            if case .document(let document) = value, document.first?.name.utf8.first != 0x24 {
                let fields = try parser.fields(value, name, ["date", "timezone"])
                guard let date = fields["date"] else {
                    throw QueryError(ErrorCode(40539), "missing 'date' argument to \(name), provided: \(value)")
                }
                dateValue = date
                zoneValue = fields["timezone"]
            } else if case .array(let array) = value {
                guard array.count == 1, let only = array[0] else {
                    throw QueryError(
                        ErrorCode(40536),
                        "\(name) accepts exactly one argument if given an array, but was given \(array.count)")
                }
                dateValue = only
            }
            let hasZone = zoneValue != nil
            let date = try parser.parse(dateValue)
            let zoneNode = try zoneValue.map { (value) throws(QueryError) in try parser.parse(value) } ?? .constant(nil)
            return parser.folded(
                .binary(
                    { (date, zoneName) throws(QueryError) in
                        guard let date, !date.isNullish, let zone = try zone(zoneName, isGiven: hasZone) else {
                            return .null
                        }
                        return pick(CivilTime(zone.local(try moment(date, name))))
                    }, date, zoneNode), [date, zoneNode])
        }
    }

    private static func shift(_ sign: Int64) -> Parse {
        { (parser, value, name) throws(QueryError) in
            let operands = try parser.named(value, name, ["startDate", "unit", "amount", "timezone"], required: 3)
            let hasZone = operands[3] != nil
            let nodes = operands.map { $0 ?? .constant(nil) }
            return parser.folded(
                .nary(
                    { (values) throws(QueryError) in
                        guard let start = values[0], !start.isNullish, let unitName = values[1], !unitName.isNullish,
                            let amountValue = values[2], !amountValue.isNullish,
                            let zone = try zone(values[3], isGiven: hasZone)
                        else { return .null }
                        guard let amount = amountValue.int64Exactly else {
                            throw QueryError(ErrorCode(5_166_405), "\(name) expects integer amount of time units")
                        }
                        guard abs(Double(amount)) < 1e16 else {
                            throw QueryError(ErrorCode(5_976_500), "invalid \(name) 'amount' argument value: \(amount)")
                        }
                        return .date(
                            milliseconds: try DateUnit(unitName, name).adding(
                                amount * sign, to: try moment(start, name), zone: zone))
                    }, nodes), nodes)
        }
    }
}

/// The units of date arithmetic.
enum DateUnit: String, Sendable {
    case year, quarter, month, week, day, hour, minute, second, millisecond

    init(_ value: Value, _ operation: String) throws(QueryError) {
        guard let text = value.asString?.string else {
            throw QueryError(
                ErrorCode(5_439_013), "\(operation) requires 'unit' to be a string, but got \(value.type.alias)")
        }
        guard let unit = DateUnit(rawValue: text) else {
            throw QueryError(
                .failedToParse, "\(operation) parameter 'unit' value cannot be recognized as a time unit: \(text)")
        }
        self = unit
    }

    /// The unit's length, where it is always the same.
    var fixedMilliseconds: Int64? {
        switch self {
        case .week: 7 * CivilTime.dayMilliseconds
        case .day: CivilTime.dayMilliseconds
        case .hour: 3_600_000
        case .minute: 60_000
        case .second: 1000
        case .millisecond: 1
        case .year, .quarter, .month: nil
        }
    }

    func adding(_ amount: Int64, to moment: Int64, zone: Zone) throws(QueryError) -> Int64 {
        if let unit = fixedMilliseconds {
            let (span, overflow) = unit.multipliedReportingOverflow(by: amount)
            // Days and weeks keep the time of day of the zone, shorter units the time that passes.
            let isCalendar = self == .day || self == .week
            let (sum, sumOverflow) = (isCalendar ? zone.local(moment) : moment).addingReportingOverflow(span)
            guard !overflow, !sumOverflow else { throw QueryError(ErrorCode(5_166_406), "date overflow") }
            return isCalendar ? zone.utc(sum) : sum
        }
        let months = self == .year ? 12 : (self == .quarter ? 3 : 1)
        guard abs(amount) < 1_000_000_000 else { throw QueryError(ErrorCode(5_166_406), "date overflow") }
        var time = CivilTime(zone.local(moment))
        let total = time.year * 12 + time.month - 1 + Int(amount) * months
        time.year = Int(CivilTime.floored(Int64(total), by: 12))
        time.month = total - time.year * 12 + 1
        guard abs(time.year) < 290_000_000 else { throw QueryError(ErrorCode(5_166_406), "date overflow") }
        time.day = min(time.day, CivilTime.daysIn(month: time.month, year: time.year))
        return zone.utc(time.milliseconds)
    }

    /// How many boundaries of the unit lie between a fixed one and the local moment.
    func ordinal(of local: Int64, startOfWeek: Int) throws(QueryError) -> Int64 {
        switch self {
        case .year: return Int64(CivilTime(local).year)
        case .quarter:
            let time = CivilTime(local)
            return Int64(time.year * 4 + (time.month - 1) / 3)
        case .month:
            let time = CivilTime(local)
            return Int64(time.year * 12 + time.month - 1)
        case .week:
            // 1970-01-01 was a Thursday (4).
            let days = CivilTime.floored(local, by: CivilTime.dayMilliseconds)
            return CivilTime.floored(days + Int64(4 - startOfWeek), by: 7)
        default: return CivilTime.floored(local, by: fixedMilliseconds ?? 1)
        }
    }

    /// The start of the bin of `size` units that the local moment lies in. Bins are counted from 2000-01-01.
    func truncated(_ local: Int64, size: Int64, startOfWeek: Int) -> Int64 {
        let origin = CivilTime(year: 2000, month: 1, day: 1).milliseconds
        switch self {
        case .year, .quarter, .month:
            let perUnit: Int64 = self == .year ? 12 : (self == .quarter ? 3 : 1)
            let time = CivilTime(local)
            let months = Int64(time.year - 2000) * 12 + Int64(time.month - 1)
            let (width, overflow) = perUnit.multipliedReportingOverflow(by: size)
            let start = overflow ? 0 : CivilTime.floored(months, by: width) * width
            return CivilTime(year: 2000, month: Int(start) + 1, day: 1).milliseconds
        case .week:
            // 2000-01-01 was a Saturday (6); the reference is the first such weekday on or after it.
            let reference = origin + Int64((startOfWeek - 6 + 7) % 7) * CivilTime.dayMilliseconds
            return bin(local, reference, 7 * CivilTime.dayMilliseconds, size)
        default: return bin(local, origin, fixedMilliseconds ?? 1, size)
        }
    }

    private func bin(_ local: Int64, _ origin: Int64, _ unit: Int64, _ size: Int64) -> Int64 {
        let (width, overflow) = unit.multipliedReportingOverflow(by: size)
        guard !overflow else { return origin }
        return origin &+ CivilTime.floored(local &- origin, by: width) &* width
    }
}

/// `$dateFromParts`.
enum DateParts {
    static func build(_ values: [Value?], _ given: [Bool], isISO: Bool) throws(QueryError) -> Value? {
        func part(_ index: Int, _ standard: Int, _ name: String) throws(QueryError) -> Int? {
            guard given[index] else { return standard }
            guard let value = values[index], !value.isNullish else { return nil }
            guard let number = value.intExactly, abs(number) <= 1_000_000_000_000 else {
                throw QueryError(
                    ErrorCode(40515),
                    "'\(name)' must evaluate to an integer, found \(value.type.alias) with value :\(value)")
            }
            return number
        }
        guard let zone = try ExpressionOperators.zone(values[7], isGiven: given[7]),
            let hour = try part(3, 0, "hour"), let minute = try part(4, 0, "minute"),
            let second = try part(5, 0, "second"), let millisecond = try part(6, 0, "millisecond")
        else { return .null }
        let days: Int
        if isISO {
            guard let year = try part(8, 1970, "isoWeekYear"), let week = try part(9, 1, "isoWeek"),
                let day = try part(10, 1, "isoDayOfWeek")
            else { return .null }
            try check(year)
            days = isoStart(year: year, week: min(max(week, -100_000), 100_000), day: min(max(day, -100_000), 100_000))
        } else {
            guard let year = try part(0, 1970, "year"), let month = try part(1, 1, "month"),
                let day = try part(2, 1, "day")
            else { return .null }
            try check(year)
            days = CivilTime.days(
                year: year, month: min(max(month, -100_000), 100_000), day: min(max(day, -100_000), 100_000))
        }
        var time = CivilTime(year: 1970, month: 1, day: 1 + days)
        (time.hour, time.minute, time.second) = (hour % 100_000_000, minute % 1_000_000_000, second % 10_000_000_000)
        time.millisecond = millisecond
        return .date(milliseconds: zone.utc(time.milliseconds))
    }

    private static func check(_ year: Int) throws(QueryError) {
        guard (1...9999).contains(year) else {
            throw QueryError(
                ErrorCode(40523), "'year' must evaluate to an integer in the range 1 to 9999, found \(year)")
        }
    }

    /// Days since 1970 of a day of an ISO week.
    static func isoStart(year: Int, week: Int, day: Int) -> Int {
        let fourth = CivilTime.days(year: year, month: 1, day: 4)
        let weekday = CivilTime(Int64(fourth) * CivilTime.dayMilliseconds).isoDayOfWeek
        return fourth - (weekday - 1) + (week - 1) * 7 + (day - 1)
    }
}
