//! What the standard streams are, and how they may be written to: a terminal with or without colours, or a pipe.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;

use crate::environment::Environment;

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Standard error or standard output, as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terminal {
    /// Whether colours are used.
    pub color: bool,
    /// Whether a person watches: lines may be redrawn.
    pub live: bool,
}

/// The few colours in use, by what they mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// Something is wrong.
    Error,
    /// Something may be wrong.
    Warning,
    /// Something went well.
    Good,
    /// What a line is about.
    Strong,
    /// What one may skip.
    Faint,
    /// A way out.
    Hint,
}

impl Terminal {
    /// Looks at standard error.
    pub(crate) fn of_stderr(color: Color, environment: &Environment) -> Self {
        Self::of(std::io::stderr().is_terminal(), color, environment)
    }

    /// Looks at standard output.
    pub(crate) fn of_stdout(color: Color, environment: &Environment) -> Self {
        Self::of(std::io::stdout().is_terminal(), color, environment)
    }

    fn of(terminal: bool, color: Color, environment: &Environment) -> Self {
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !environment.no_color && !environment.dumb_terminal,
        };
        Self { color, live: terminal && !environment.dumb_terminal }
    }

    /// Colours a text, where colours are used.
    pub(crate) fn paint(self, ink: Ink, text: &str) -> String {
        if !self.color {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Error => "1;31",
            Ink::Warning => "1;33",
            Ink::Good => "32",
            Ink::Strong => "1",
            Ink::Faint => "2",
            Ink::Hint => "1;36",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Writes a text to standard error. Nobody can be told when that fails, so a failure is ignored.
pub(crate) fn to_stderr(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

/// Writes a number of bytes as people read it.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    let mut value = count as f64;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{count} B"),
        _ if value < 9.95 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// Writes a duration as people read it.
pub(crate) fn duration(took: std::time::Duration) -> String {
    let seconds = took.as_secs_f64();
    match took.as_secs() {
        0 if took.as_millis() < 1000 => format!("{} ms", took.as_millis()),
        0..=59 => format!("{seconds:.1} s"),
        whole @ 60..=3599 => format!("{} min {:02} s", whole / 60, whole % 60),
        whole => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sizes_have_two_digits_that_matter() {
        let all: Vec<String> = [0, 999, 1000, 1_234, 9_960, 999_499, 999_500, 3_200_000_000].map(bytes).into();
        assert_eq!(all, ["0 B", "999 B", "1.0 kB", "1.2 kB", "10 kB", "999 kB", "1.0 MB", "3.2 GB"]);
    }

    #[test]
    fn durations_have_the_unit_that_fits() {
        let all: Vec<String> = [7, 1_500, 61_000, 3_600_000].map(|ms| duration(Duration::from_millis(ms))).into();
        assert_eq!(all, ["7 ms", "1.5 s", "1 min 01 s", "1 h 00 min"]);
    }

    #[test]
    fn without_colours_text_stays_as_it_is() {
        let plain = Terminal { color: false, live: false };
        assert_eq!(plain.paint(Ink::Error, "x"), "x");
        assert_eq!(Terminal { color: true, live: false }.paint(Ink::Error, "x"), "\x1b[1;31mx\x1b[0m");
    }
}
