//! Times and sizes as people write them in options and in the configuration.

use std::time::Duration;

/// Reads a time such as `30d`.
///
/// # Errors
/// What was expected.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let units = [("w", 7 * 24 * 3600), ("d", 24 * 3600), ("h", 3600), ("m", 60), ("s", 1)];
    let seconds = number(text, &units).ok_or("expected a number and s, m, h, d or w, as in 30d")?;
    Ok(Duration::from_secs(seconds))
}

/// Reads a size such as `20GB`; decimal units, or binary ones as in `20GiB`.
///
/// # Errors
/// What was expected.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let units = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1000),
        ("KB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("B", 1),
    ];
    number(text, &units).ok_or_else(|| "expected a number and MB, GB or TB, as in 20GB".to_owned())
}

fn number(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, factor) = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?.trim(), factor)))?;
    digits.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_need_a_unit() {
        assert_eq!(time("30d"), Ok(Duration::from_secs(30 * 24 * 3600)));
        assert_eq!(bytes("20GB"), Ok(20_000_000_000));
        assert_eq!(bytes("1 GiB"), Ok(1 << 30));
        for bad in ["", "30", "d", "-1d", "1.5GB", "99999999999999999999GB", "99999999TB"] {
            assert!(time(bad).is_err() && bytes(bad).is_err(), "{bad}");
        }
    }
}
