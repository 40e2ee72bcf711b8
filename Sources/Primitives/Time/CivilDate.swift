/// A UTC calendar date and time of day, for signatures, ledgers and calendar budgets.
///
/// The day arithmetic is the proleptic Gregorian algorithm of RFC 3339's calendar.
public struct CivilDate: Equatable, Sendable {
    /// The year, such as 2026.
    public let year: Int
    /// The month, 1 to 12.
    public let month: Int
    /// The day of the month, 1 to 31.
    public let day: Int
    /// The hour, 0 to 23.
    public let hour: Int
    /// The minute, 0 to 59.
    public let minute: Int
    /// The second, 0 to 59.
    public let second: Int
    /// The millisecond, 0 to 999.
    public let millisecond: Int

    /// The UTC date and time of `time`.
    public init(_ time: WallTime) {
        let seconds = time.seconds
        var days = seconds / 86_400
        var rest = Int(seconds % 86_400)
        if rest < 0 {
            rest += 86_400
            days -= 1
        }
        // Days since 0000-03-01, in eras of 400 years, so that leap days end each year.
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = Int(shifted - era * 146_097)
        let leapDays = dayOfEra / 1460 - dayOfEra / 36_524 + dayOfEra / 146_096
        let yearOfEra = (dayOfEra - leapDays) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        year = yearOfEra + Int(era) * 400 + (month <= 2 ? 1 : 0)
        hour = rest / 3600
        minute = rest / 60 % 60
        second = rest % 60
        // Not the difference to the seconds: near the end of time it would not fit.
        millisecond = Int((time.milliseconds % 1000 + 1000) % 1000)
    }

    /// Midnight UTC of a calendar day; months beyond 12 carry into the next year.
    public static func midnight(year: Int, month: Int, day: Int) -> WallTime {
        let carriedYear = year + (month - 1) / 12
        let carriedMonth = (month - 1) % 12 + 1
        let shiftedYear = carriedMonth <= 2 ? carriedYear - 1 : carriedYear
        let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
        let yearOfEra = shiftedYear - era * 400
        let monthIndex = carriedMonth > 2 ? carriedMonth - 3 : carriedMonth + 9
        let dayOfYear = (153 * monthIndex + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return WallTime(milliseconds: Int64(era * 146_097 + dayOfEra - 719_468) * 86_400_000)
    }
}
