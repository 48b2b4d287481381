//! Progress as plain lines, for logs: `[build 2/5] | what the step printed`.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bulla_build::event::{Activity, ActivityId, Ending, Event, Observer};

use super::{
    Verbosity,
    lines::{Lines, split_title},
};
use crate::{
    neutral,
    terminal::{Ink, Terminal, bytes, duration},
};

/// How often an activity may say how far it is.
const EVERY: Duration = Duration::from_secs(5);
/// How many refusals of a step are shown one by one.
pub(crate) const REFUSALS: usize = 10;

/// Writes a line for each thing that happens.
pub(crate) struct Plain<W: Fn(&str)> {
    verbosity: Verbosity,
    terminal: Terminal,
    write: W,
    running: Mutex<BTreeMap<ActivityId, Running>>,
}

struct Running {
    prefix: String,
    activity: Activity,
    lines: Lines,
    refusals: usize,
    said: Instant,
}

impl<W: Fn(&str)> Plain<W> {
    /// Makes one that writes with a function, which gets whole lines.
    pub(crate) fn new(verbosity: Verbosity, terminal: Terminal, write: W) -> Self {
        Self { verbosity, terminal, write, running: Mutex::default() }
    }

    fn say(&self, prefix: &str, text: &str) {
        if self.verbosity > Verbosity::Quiet {
            (self.write)(&format!("{} {text}\n", self.terminal.paint(Ink::Strong, &format!("[{prefix}]"))));
        }
    }

    fn say_whole(&self, line: &str) {
        if self.verbosity > Verbosity::Quiet {
            (self.write)(&format!("{line}\n"));
        }
    }

    /// Shows what a step printed. What maintainer scripts print says something only when they fail, and the error has it.
    fn say_lines(&self, running: &Running, lines: &[String]) {
        if running.activity == Activity::Step || self.shows_all() {
            lines.iter().for_each(|line| self.say(&running.prefix, &format!("| {line}")));
        }
    }

    fn finished(&self, mut running: Running, ending: Ending, took: Duration) {
        let rest = running.lines.finish();
        self.say_lines(&running, &rest);
        if let Some(more) = running.refusals.checked_sub(REFUSALS).filter(|more| *more > 0 && !self.shows_all()) {
            self.say(&running.prefix, &format!("refused: {more} more; `--verbose` shows all"));
        }
        let text = match ending {
            Ending::Done => self.terminal.paint(Ink::Good, &format!("done in {}", duration(took))),
            Ending::Cached => self.terminal.paint(Ink::Faint, "cached"),
            Ending::Failed => self.terminal.paint(Ink::Error, &format!("failed after {}", duration(took))),
        };
        self.say(&running.prefix, &text);
    }

    fn shows_all(&self) -> bool {
        self.verbosity == Verbosity::Verbose
    }
}

impl<W: Fn(&str) + Send + Sync> Observer for Plain<W> {
    fn event(&self, event: &Event<'_>) {
        // A thread that panicked while it held the lock has left whole entries behind.
        let mut all = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match *event {
            Event::Started { id, activity, title } => {
                let (prefix, what) = split_title(title);
                self.say(&prefix, if what.is_empty() { "started" } else { &what });
                all.insert(
                    id,
                    Running { prefix, activity, lines: Lines::default(), refusals: 0, said: Instant::now() },
                );
            }
            Event::Progress { id, done, total, unit } => {
                if let Some(running) = all.get_mut(&id).filter(|running| running.said.elapsed() >= EVERY) {
                    running.said = Instant::now();
                    self.say(&running.prefix, &amount(done, total, unit));
                }
            }
            Event::Output { id, stream, bytes } => {
                if let Some(running) = all.get_mut(&id) {
                    let lines = running.lines.push(stream, bytes);
                    self.say_lines(running, &lines);
                }
            }
            Event::Refused { id, what, executable, command_line } => {
                if let Some(running) = all.get_mut(&id) {
                    running.refusals += 1;
                    if running.refusals <= REFUSALS || self.shows_all() {
                        let text = refusal(what, executable, self.shows_all().then_some(command_line));
                        self.say(&running.prefix, &text);
                    }
                }
            }
            Event::Affected { member, reason } => self.say_whole(&affected(member, reason)),
            Event::Member { member, number, of } => self.say_whole(&heading(member, number, of, self.terminal)),
            Event::Warning { message } => (self.write)(&warning(message, self.terminal)),
            Event::Finished { id, ending, took } => {
                if let Some(running) = all.remove(&id) {
                    self.finished(running, ending, took);
                }
            }
        }
    }
}

/// Says how far something is.
pub(crate) fn amount(done: u64, total: Option<u64>, unit: &str) -> String {
    let number = |n| if unit == "bytes" { bytes(n) } else { format!("{n} {}", neutral::line(unit)) };
    match total {
        Some(total) if unit == "bytes" => format!("{} of {}", bytes(done), bytes(total)),
        Some(total) => format!("{done} of {}", number(total)),
        None => number(done),
    }
}

/// Says what was refused to whom.
pub(crate) fn refusal(what: &str, executable: &str, command_line: Option<&str>) -> String {
    let by = neutral::line(command_line.filter(|text| !text.is_empty()).unwrap_or(executable));
    format!("refused: {} (asked by {by})", neutral::line(what))
}

/// Renders why a member is affected.
pub(crate) fn affected(member: &str, reason: &str) -> String {
    neutral::line(&format!("{member}: {reason}")).into_owned()
}

/// Renders which member comes now.
pub(crate) fn heading(member: &str, number: usize, of: usize, terminal: Terminal) -> String {
    let text = neutral::line(&format!("=== {member} ({number} of {of})")).into_owned();
    terminal.paint(Ink::Strong, &text)
}

/// Renders a warning as whole lines.
pub(crate) fn warning(message: &str, terminal: Terminal) -> String {
    let text = neutral::lines(message).trim_end().replace('\n', "\n         ");
    format!("{} {text}\n", terminal.paint(Ink::Warning, "warning:"))
}

#[cfg(test)]
mod tests {
    use bulla_build::event::Stream;

    use super::*;

    fn shown(verbosity: Verbosity, events: &[Event<'_>]) -> String {
        let out = Mutex::new(String::new());
        let plain = Plain::new(verbosity, Terminal { color: false, live: false }, |text: &str| {
            out.lock().expect("no panic").push_str(text);
        });
        for event in events {
            plain.event(event);
        }
        drop(plain);
        out.into_inner().expect("no panic")
    }

    fn a_build() -> Vec<Event<'static>> {
        let id = ActivityId(1);
        let refused =
            Event::Refused { id, what: "connect 192.0.2.1:443", executable: "/usr/bin/npm", command_line: "npm ci" };
        let mut events = vec![
            Event::Started { id, activity: Activity::Step, title: "build 2/5: make\nmake install" },
            Event::Output { id, stream: Stream::Stdout, bytes: b"gcc a.c\n::set-output name=x::y\n\x1b[31mred" },
            Event::Progress { id, done: 1, total: None, unit: "files" },
            Event::Affected { member: "services/shop", reason: "a\n::stop is new since main" },
            Event::Member { member: "services/shop", number: 1, of: 2 },
            Event::Warning { message: "the disk is slow\n::stop" },
        ];
        events.extend(std::iter::repeat_n(refused, 12));
        events.push(Event::Finished { id, ending: Ending::Failed, took: Duration::from_millis(1234) });
        events
    }

    #[test]
    fn a_build_is_told_in_lines() {
        insta::assert_snapshot!(shown(Verbosity::Normal, &a_build()));
    }

    #[test]
    fn quiet_leaves_the_warnings() {
        assert_eq!(shown(Verbosity::Quiet, &a_build()), "warning: the disk is slow\n         : :stop\n");
    }

    #[test]
    fn verbose_shows_each_refusal_with_its_command_line() {
        assert_eq!(shown(Verbosity::Verbose, &a_build()).matches("(asked by npm ci)").count(), 12);
    }

    #[test]
    fn amounts_are_written_for_people() {
        assert_eq!(amount(1_500_000, Some(3_000_000), "bytes"), "1.5 MB of 3.0 MB");
        assert_eq!(amount(3, Some(10), "packages"), "3 of 10 packages");
        assert_eq!(amount(3, None, "files"), "3 files");
    }
}
