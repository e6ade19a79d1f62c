//! Dates, as Python's `strftime` writes them.

use super::machine::{Res, fail};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// A time in UTC, in its parts.
struct Time {
    seconds: i64,
    year: i64,
    month: i64,
    day: i64,
    /// Of the year, from 1.
    of_year: i64,
    /// From Sunday.
    weekday: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Time {
    fn new(seconds: i64) -> Self {
        let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        Self {
            seconds,
            year,
            month,
            day,
            of_year: days - days_before(year) + 1,
            // 1970-01-01 was a Thursday.
            weekday: (days + 4).rem_euclid(7),
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }

    /// The week of the year by ISO 8601, and the year that it belongs to.
    fn iso(&self) -> (i64, i64) {
        let monday = (self.weekday + 6) % 7;
        let week = (self.of_year - 1 - monday + 10) / 7;
        let weeks = |year: i64| {
            // A year has 53 weeks where it begins, or a leap year ends, on a Thursday.
            let first = (days_before(year) + 4).rem_euclid(7);
            let last = (days_before(year + 1) - 1 + 4).rem_euclid(7);
            if first == 4 || last == 4 { 53 } else { 52 }
        };
        if week < 1 {
            (self.year - 1, weeks(self.year - 1))
        } else if week > weeks(self.year) {
            (self.year + 1, 1)
        } else {
            (self.year, week)
        }
    }
}

/// A number as a flag of glibc asks for: `-` no padding, `_` spaces, `0` zeros.
fn padded(n: i64, width: usize, fill: char, flag: Option<char>) -> String {
    match (flag, fill) {
        (Some('-'), _) => n.to_string(),
        (Some('_'), _) | (None | Some('^' | '#'), ' ') => format!("{n:>width$}"),
        _ => format!("{n:0width$}"),
    }
}

/// The time in UTC in a format of Python on Linux, in the locale C.
///
/// Errors: a field that is not known.
pub(super) fn strftime(seconds: i64, format: &str) -> Res<String> {
    let t = Time::new(seconds);
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let flag = chars.next_if(|c| "-_0^#".contains(*c));
        let Some(field) = chars.next() else {
            return fail("strftime: a '%' at the end of the format; write '%%' for the sign");
        };
        let two = |n: i64| padded(n, 2, '0', flag);
        let spaced = |n: i64| padded(n, 2, ' ', flag);
        let twelve = (t.hour + 11) % 12 + 1;
        let month = MONTHS.get(usize::try_from(t.month - 1).unwrap_or(0));
        let month = month.copied().unwrap_or_default();
        let day = DAYS.get(usize::try_from(t.weekday).unwrap_or(0));
        let day = day.copied().unwrap_or_default();
        let noon = if t.hour < 12 { "AM" } else { "PM" };
        let again = |format: &str| strftime(seconds, format);
        let text = match field {
            'Y' => match flag {
                None => t.year.to_string(),
                flag => padded(t.year, 4, '0', flag),
            },
            'y' => two(t.year.rem_euclid(100)),
            'C' => two(t.year.div_euclid(100)),
            'G' => t.iso().0.to_string(),
            'g' => two(t.iso().0.rem_euclid(100)),
            'V' => two(t.iso().1),
            'U' => two((t.of_year + 6 - t.weekday) / 7),
            'W' => two((t.of_year + 6 - (t.weekday + 6) % 7) / 7),
            'm' => two(t.month),
            'd' => two(t.day),
            'e' => spaced(t.day),
            'j' => padded(t.of_year, 3, '0', flag),
            'B' => month.into(),
            'b' | 'h' => month[..3].into(),
            'A' => day.into(),
            'a' => day[..3].into(),
            'w' => t.weekday.to_string(),
            'u' => ((t.weekday + 6) % 7 + 1).to_string(),
            'H' => two(t.hour),
            'k' => spaced(t.hour),
            'I' => two(twelve),
            'l' => spaced(twelve),
            'M' => two(t.minute),
            'S' => two(t.second),
            'f' => "000000".into(),
            's' => t.seconds.to_string(),
            'p' if flag == Some('#') => noon.to_lowercase(),
            'p' => noon.into(),
            'P' => noon.to_lowercase(),
            // A time without a zone, as Python's now() gives it.
            'z' | 'Z' => String::new(),
            'F' => again("%Y-%m-%d")?,
            'D' | 'x' => again("%m/%d/%y")?,
            'T' | 'X' => again("%H:%M:%S")?,
            'R' => again("%H:%M")?,
            'r' => again("%I:%M:%S %p")?,
            'c' => again("%a %b %e %H:%M:%S %Y")?,
            'n' => "\n".into(),
            't' => "\t".into(),
            '%' => "%".into(),
            other => {
                return fail(format!(
                    "strftime: the field '%{other}' is not known; write '%%' for the sign"
                ));
            }
        };
        out += &match flag {
            Some('^') => text.to_uppercase(),
            Some('#') if field != 'p' => text.to_uppercase(),
            _ => text,
        };
    }
    Ok(out)
}

/// Days from 1970-01-01 to the first day of a year.
fn days_before(year: i64) -> i64 {
    let y = year - 1;
    365 * (year - 1970) + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) - 477
}

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar
/// (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(day: i64) -> (i64, i64, i64) {
    let z = day + 719_468;
    let (era, of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, of_year - (153 * march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "1970-01-01 Thu 001 01 1970"),
            (1_721_952_000, "2024-07-26 Fri 208 30 2024"),
            (951_782_400, "2000-02-29 Tue 060 09 2000"),
            (-1, "1969-12-31 Wed 365 01 1970"),
            (1_104_537_600, "2005-01-01 Sat 001 53 2004"),
            (1_230_681_600, "2008-12-31 Wed 366 01 2009"),
        ] {
            assert_eq!(strftime(seconds, "%Y-%m-%d %a %j %V %G").unwrap(), text);
        }
        let time = 1_721_952_000 + 13 * 3600 + 62;
        assert_eq!(
            strftime(
                time,
                "%d %b %Y, %A %B %y %H:%M:%S %I %p %% %-d %e %-I %U %W %w %u %j"
            )
            .unwrap(),
            "26 Jul 2024, Friday July 24 13:01:02 01 PM % 26 26 1 29 30 5 5 208"
        );
        assert_eq!(
            strftime(time, "%c|%x|%X|%f|%z%Z|%D|%T|%R|%^a|%r|%s").unwrap(),
            "Fri Jul 26 13:01:02 2024|07/26/24|13:01:02|000000||07/26/24|13:01:02|13:01|FRI|01:01:02 PM|1721998862"
        );
        for bad in ["%Q", "%", "%Ey", "%-"] {
            assert!(strftime(0, bad).is_err(), "{bad}");
        }
    }
}
