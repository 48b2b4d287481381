//! The lines that a step prints, put together from the pieces in which they arrive.

use bulla_build::event::Stream;

use crate::neutral::{self, MAX_LINE};

/// What one step printed and did not finish as a line.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Lines {
    /// Takes in a piece, and gives the lines that it completes, made harmless.
    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8]) -> Vec<String> {
        let rest = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let mut done = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in piece.chunks(MAX_LINE) {
                rest.extend_from_slice(part);
                if rest.ends_with(b"\n") || rest.len() >= MAX_LINE {
                    let text = rest.strip_suffix(b"\n").unwrap_or(rest);
                    done.push(neutral::log_line(text));
                    rest.clear();
                }
            }
        }
        done
    }

    /// Gives what was printed without a line end, when the step has ended.
    pub(crate) fn finish(&mut self) -> Vec<String> {
        [std::mem::take(&mut self.stdout), std::mem::take(&mut self.stderr)]
            .into_iter()
            .filter(|rest| !rest.is_empty())
            .map(|rest| neutral::log_line(&rest))
            .collect()
    }
}

/// Splits an activity's title into what it is and what it does: `build 2/5: make` is `build 2/5` and `make`.
pub(crate) fn split_title(title: &str) -> (String, String) {
    let first = title.trim().lines().next().unwrap_or_default();
    let more = if title.trim().contains('\n') { " …" } else { "" };
    let (head, tail) = first.split_once(": ").unwrap_or((first, ""));
    (neutral::line(head).into_owned(), neutral::line(tail).into_owned() + more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_lines() {
        let mut lines = Lines::default();
        assert!(lines.push(Stream::Stdout, b"he").is_empty());
        assert_eq!(lines.push(Stream::Stderr, b"warn\n"), ["warn"]);
        assert_eq!(lines.push(Stream::Stdout, b"llo\nwor"), ["hello"]);
        assert_eq!(lines.finish(), ["wor"]);
        assert!(lines.finish().is_empty());
    }

    #[test]
    fn a_line_without_end_is_cut_and_takes_no_more_memory() {
        let mut lines = Lines::default();
        let mut shown = 0;
        for _ in 0..1000 {
            shown += lines.push(Stream::Stdout, &[b'x'; 1000]).iter().map(String::len).sum::<usize>();
            assert!(lines.stdout.capacity() <= 4 * MAX_LINE);
        }
        shown += lines.finish().iter().map(String::len).sum::<usize>();
        assert_eq!(shown, 1_000_000);
    }

    #[test]
    fn titles_are_split_at_their_colon() {
        assert_eq!(split_title("build 2/5: make"), ("build 2/5".into(), "make".into()));
        assert_eq!(split_title("packages"), ("packages".into(), String::new()));
        assert_eq!(split_title("b 1/1: a\nb"), ("b 1/1".into(), "a …".into()));
    }
}
