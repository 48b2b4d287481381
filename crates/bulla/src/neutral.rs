//! Foreign text made harmless for terminals and for CI systems that read commands out of logs.
//!
//! Everything that this program shows and did not write itself goes through here: what steps print, names of packages
//! and files, messages of servers.

use std::borrow::Cow;

/// The longest piece of one line that is shown; a longer line is cut into pieces.
pub(crate) const MAX_LINE: usize = 4096;

/// What CI systems take for a command wherever it stands in a line: Azure Pipelines, older GitHub runners, TeamCity.
const COMMANDS_ANYWHERE: [&str; 3] = ["##vso[", "##[", "##teamcity["];

/// Makes one line harmless: control characters and those that reorder text are written as escapes, and CI commands are
/// broken by a space. A tab stays.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    if is_harmless(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\t' => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            _ if is_harmful(c) => out.extend(c.escape_unicode()),
            _ => out.push(c),
        }
    }
    for command in COMMANDS_ANYWHERE {
        if out.contains(command) {
            out = out.replace(command, &format!("# {}", &command[1..]));
        }
    }
    if let Some(rest) = out.trim_start().strip_prefix("::") {
        out = format!(": :{rest}");
    }
    Cow::Owned(out)
}

/// Makes a text of several lines harmless, line by line; line ends stay.
pub(crate) fn lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, part) in text.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        out.push_str(&line(part.strip_suffix('\r').unwrap_or(part)));
    }
    out
}

/// Makes bytes of a log harmless: what is not UTF-8 becomes U+FFFD, colours and other escape sequences are dropped, and
/// of a line that overwrites itself by carriage returns the last state is kept.
pub(crate) fn log_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\r');
    let last = text.rsplit('\r').next().unwrap_or(text);
    line(&without_escape_sequences(last)).into_owned()
}

fn is_harmless(text: &str) -> bool {
    !text.contains("##") && !text.trim_start().starts_with("::") && !text.chars().any(|c| c != '\t' && is_harmful(c))
}

/// Says whether a character controls a terminal or reorders what a person reads.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Drops escape sequences (ECMA-48: CSI, OSC and the two-character ones), since their remains are hard to read.
fn without_escape_sequences(text: &str) -> Cow<'_, str> {
    if !text.contains('\u{1b}') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\u{1b}' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('[') => while rest.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {},
            Some(']') => {
                while let Some(c) = rest.next() {
                    if c == '\u{7}' || (c == '\u{1b}' && rest.next_if_eq(&'\\').is_some()) {
                        break;
                    }
                }
            }
            _ => {}
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_escapes() {
        assert_eq!(line("a\x1b[2Jb\x07\u{202e}c\td\r\u{9b}"), "a\\u{1b}[2Jb\\u{7}\\u{202e}c\td\\r\\u{9b}");
    }

    #[test]
    fn commands_to_ci_systems_are_broken() {
        assert_eq!(line("::set-output name=x::y"), ": :set-output name=x::y");
        assert_eq!(line("  ::error::x"), ": :error::x");
        assert_eq!(line("x ##vso[task.setvariable]"), "x # #vso[task.setvariable]");
        assert_eq!(line("##[set-env name=A]1"), "# #[set-env name=A]1");
        assert_eq!(line("##teamcity[x]"), "# #teamcity[x]");
        assert_eq!(line("std::vec and # Title ## Two"), "std::vec and # Title ## Two");
    }

    #[test]
    fn each_line_of_a_text_is_made_harmless() {
        assert_eq!(lines("a\r\n::stop\nb"), "a\n: :stop\nb");
    }

    #[test]
    fn a_log_line_loses_its_colours_and_what_it_overwrote() {
        assert_eq!(log_line(b"\x1b[1;31mred\x1b[0m"), "red");
        assert_eq!(log_line(b"10%\r50%\r100%\r"), "100%");
        assert_eq!(log_line(b"\x1b]0;title\x07text\xff"), "text\u{fffd}");
        assert_eq!(log_line(b"\x1b]8;;http://x\x1b\\link"), "link");
        assert_eq!(log_line(b"\x1b[31"), "");
        assert_eq!(log_line(b"\x1b[0m::warning::x"), ": :warning::x");
    }
}
