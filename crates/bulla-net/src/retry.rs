//! How long to wait before asking again.

use std::time::Duration;

use crate::config::Timeouts;

/// Gives the pause before repetition `attempt` (the first is 0): doubled each time, spread by up to a half so that many
/// clients do not come back at once, and bounded.
pub(crate) fn pause(timeouts: &Timeouts, attempt: u32, seed: u64) -> Duration {
    let doubled = timeouts.pause.saturating_mul(2_u32.saturating_pow(attempt));
    // No dice are needed to spread clients: the URL and the time of the first failure differ enough.
    let spread = u32::try_from(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56).unwrap_or(0);
    let spread = doubled.saturating_mul(spread) / 512;
    doubled.saturating_add(spread).min(timeouts.longest_pause)
}

/// Reads `Retry-After` in its form of seconds (RFC 9110, section 10.2.3). Its other form, a date, needs a clock that agrees
/// with the server's, and is passed over.
pub(crate) fn retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    (value.len() <= 10 && value.bytes().all(|c| c.is_ascii_digit()))
        .then(|| value.parse().ok().map(Duration::from_secs))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        let timeouts = Timeouts::default();
        let pauses: Vec<_> = (0..40).map(|attempt| pause(&timeouts, attempt, 7)).collect();
        assert!(pauses.is_sorted() && pauses[0] >= timeouts.pause && pauses[39] == timeouts.longest_pause);
        assert_ne!(pause(&timeouts, 0, 1), pause(&timeouts, 0, 2));
    }

    #[test]
    fn only_seconds_are_read() {
        assert_eq!(retry_after(" 12 "), Some(Duration::from_secs(12)));
        for text in ["", "-1", "1.5", "99999999999", "Fri, 31 Dec 1999 23:59:59 GMT"] {
            assert_eq!(retry_after(text), None, "{text}");
        }
    }
}
