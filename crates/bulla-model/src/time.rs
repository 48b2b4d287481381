//! Times that go into an image. There is no clock here: an epoch is given by the spec or by signed indexes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A number of seconds since 1970-01-01T00:00:00Z, as in `SOURCE_DATE_EPOCH`; between 0 and the end of the year 9999.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Epoch(u64);

/// The last second that RFC 3339 can write.
const LAST: u64 = 253_402_300_799;

impl Epoch {
    /// Takes seconds since 1970; `None` past the year 9999.
    pub const fn new(seconds: u64) -> Option<Self> {
        if seconds <= LAST { Some(Self(seconds)) } else { None }
    }

    /// Gives the seconds since 1970.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// Writes the time as RFC 3339 in UTC (`2026-01-02T03:04:05Z`), as OCI's `created` wants it.
    pub fn rfc3339(self) -> String {
        let (days, second) = (self.0 / 86_400, self.0 % 86_400);
        let (year, month, day) = civil(days);
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
    }

    /// Gives the time at the start of a day of the proleptic Gregorian calendar, plus seconds; `None` before 1970, past
    /// 9999, and for days that do not exist.
    pub fn from_civil(year: u64, month: u64, day: u64, second: u64) -> Option<Self> {
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || day == 0 || second > 86_400 {
            return None;
        }
        let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = 365 * y + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719_468;
        (civil(days) == (year, month, day)).then(|| Self::new(days * 86_400 + second)).flatten()
    }
}

/// A text that is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a time: expected a date `2026-01-02` or a time in UTC `2026-01-02T03:04:05Z`")]
pub struct ParseEpochError {
    text: String,
}

impl std::str::FromStr for Epoch {
    type Err = ParseEpochError;

    /// Reads a date, or a date and time in UTC (RFC 3339, without fractions and leap seconds).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        date_and_time(text).ok_or_else(|| ParseEpochError { text: text.chars().take(100).collect() })
    }
}

fn date_and_time(text: &str) -> Option<Epoch> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time.strip_suffix('Z')?)),
        None => (text, None),
    };
    let [year, month, day] = fields(date, '-', [4, 2, 2])?;
    let second = match time {
        None => 0,
        Some(time) => {
            let [hour, minute, second] = fields(time, ':', [2, 2, 2])?;
            (hour < 24 && minute < 60 && second < 60).then_some(hour * 3600 + minute * 60 + second)?
        }
    };
    Epoch::from_civil(year, month, day, second)
}

/// Takes three numbers of fixed lengths apart.
fn fields(text: &str, separator: char, lengths: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; 3];
    for (number, length) in numbers.iter_mut().zip(lengths) {
        let part = parts.next().filter(|part| part.len() == length && part.bytes().all(|b| b.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Converts days since 1970-01-01 to year, month and day (the well-known algorithm over 400-year eras that start in March).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + era * 400 + carry, month, day)
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = u64::deserialize(deserializer)?;
        Self::new(seconds).ok_or_else(|| serde::de::Error::custom("a time past the year 9999"))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times_are_written_as_rfc3339() {
        let text = |s| Epoch::new(s).map(Epoch::rfc3339);
        assert_eq!(text(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(text(951_782_400).as_deref(), Some("2000-02-29T00:00:00Z"));
        assert_eq!(text(1_700_000_000).as_deref(), Some("2023-11-14T22:13:20Z"));
        assert_eq!(text(LAST).as_deref(), Some("9999-12-31T23:59:59Z"));
        assert_eq!(text(LAST + 1), None);
        assert_eq!(Epoch::from_civil(2023, 2, 29, 0), None);
    }

    #[test]
    fn what_is_not_a_time_in_utc_is_refused() {
        for bad in
            ["", "2026-1-2", "2026-13-01", "2026-01-02T03:04Z", "2026-01-02T24:00:00Z", "2026-01-02T03:04:05+01:00"]
        {
            assert!(bad.parse::<Epoch>().is_err(), "{bad}");
        }
        assert_eq!("1970-01-02".parse(), Ok(Epoch(86_400)));
    }

    proptest! {
        #[test]
        fn a_time_is_read_back(seconds in 0..=LAST) {
            prop_assert_eq!(Epoch(seconds).rfc3339().parse(), Ok(Epoch(seconds)));
        }

        #[test]
        fn days_come_back_from_the_calendar(days in 0..LAST / 86_400) {
            let (y, m, d) = civil(days);
            prop_assert_eq!(Epoch::from_civil(y, m, d, 7).map(Epoch::seconds), Some(days * 86_400 + 7));
        }
    }
}
