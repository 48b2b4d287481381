//! Bytes and times.

use std::time::Duration;

use super::{Scalar, only, wrong};
use crate::time::Epoch;

/// A number of bytes.
#[derive(Debug, Clone, Copy)]
pub(in crate::spec) struct Size(pub(in crate::spec) u64);

impl Scalar for Size {
    const NAME: &'static str = "Size";
    const ABOUT: &'static str = "A number of bytes with its unit, KiB, MiB, GiB or TiB: `512MiB`";
    const PATTERN: Option<&'static str> = Some("^[1-9][0-9]*(KiB|MiB|GiB|TiB)$");

    fn read(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match text.get(digits.len()..) {
            Some("KiB") => Some(1 << 10),
            Some("MiB") => Some(1 << 20),
            Some("GiB") => Some(1_u64 << 30),
            Some("TiB") => Some(1 << 40),
            _ => None,
        };
        let number = Some(digits).filter(|d| only(d, |c| c.is_ascii_digit())).and_then(|d| d.parse::<u64>().ok());
        match (number, unit) {
            (Some(1..), Some(unit)) => number
                .and_then(|n| n.checked_mul(unit))
                .map(Self)
                .ok_or_else(|| format!("`{text}` is too much\nwrite less, such as `4GiB`")),
            (Some(n @ 1..), None) => wrong(
                format_args!("`{text}` has no unit that is clear"),
                format_args!("write `{n}KiB`, `{n}MiB` or `{n}GiB`"),
            ),
            _ => wrong(
                format_args!("`{text}` is not a size"),
                "write a whole number and a unit, such as `512MiB` or `4GiB`",
            ),
        }
    }
}

/// A length of time.
#[derive(Debug, Clone, Copy)]
pub(in crate::spec) struct Time(pub(in crate::spec) Duration);

impl Scalar for Time {
    const NAME: &'static str = "Time";
    const ABOUT: &'static str = "A length of time in hours, minutes and seconds, at most 168h: `90s`, `10m`, `1h30m`";
    const PATTERN: Option<&'static str> = Some("^([0-9]+h)?([0-9]+m)?([0-9]+s)?$");

    fn read(text: &str) -> Result<Self, String> {
        let seconds = seconds(text).filter(|seconds| (1..=168 * 3600).contains(seconds));
        match seconds {
            Some(seconds) => Ok(Self(Duration::from_secs(seconds))),
            None => wrong(
                format_args!("`{text}` is not a length of time"),
                "write hours, minutes and seconds, such as `90s`, `10m` or `1h30m`, at most `168h`",
            ),
        }
    }
}

fn seconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0_u64;
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(unit_at);
        let (unit, factor) = [("h", 3600), ("m", 60), ("s", 1)].into_iter().find(|(unit, _)| tail.starts_with(unit))?;
        if factor >= last {
            return None;
        }
        last = factor;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = &tail[unit.len()..];
    }
    Some(total)
}

/// A time: seconds, a date, or a date with a time in UTC (RFC 3339).
#[derive(Debug, Clone, Copy)]
pub(in crate::spec) struct Moment(pub(in crate::spec) Epoch);

impl Scalar for Moment {
    const NAME: &'static str = "Moment";
    const ABOUT: &'static str =
        "A date, a date and time in UTC, or seconds since 1970: `2026-01-02`, `2026-01-02T03:04:05Z`";
    const LOOKS_LIKE_A_NUMBER: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        let found =
            if only(text, |c| c.is_ascii_digit()) { text.parse().ok().and_then(Epoch::new) } else { text.parse().ok() };
        match found {
            Some(epoch) => Ok(Self(epoch)),
            None => wrong(
                format_args!("`{text}` is not a time"),
                "write a date such as `2026-01-02`, a time such as `2026-01-02T03:04:05Z`, or seconds since 1970",
            ),
        }
    }
}
