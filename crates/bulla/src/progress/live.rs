//! Progress on a terminal: a line for each running activity, redrawn in place, above which finished ones are listed.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bulla_build::event::{ActivityId, Ending, Event, Observer};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    Verbosity,
    lines::{Lines, split_title},
    plain::{REFUSALS, affected, amount, heading, refusal, warning},
};
use crate::terminal::{Ink, Terminal, duration};

/// How often the terminal is redrawn, times a second.
const REDRAWS: u8 = 12;

/// Draws the running activities.
pub(crate) struct Live {
    verbosity: Verbosity,
    terminal: Terminal,
    bars: MultiProgress,
    running: Mutex<BTreeMap<ActivityId, Running>>,
}

struct Running {
    bar: ProgressBar,
    head: String,
    what: String,
    amount: String,
    lines: Lines,
    refusals: usize,
}

impl Live {
    /// Makes one that draws on standard error.
    pub(crate) fn new(verbosity: Verbosity, terminal: Terminal) -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(REDRAWS);
        Self { verbosity, terminal, bars: MultiProgress::with_draw_target(target), running: Mutex::default() }
    }

    fn start(&self, title: &str) -> Running {
        let (head, what) = split_title(title);
        let style = ProgressStyle::with_template("{spinner} {prefix} {wide_msg} {elapsed}")
            .expect("the template is a constant")
            .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ");
        let bar = self.bars.add(ProgressBar::new_spinner().with_style(style));
        bar.set_prefix(self.terminal.paint(Ink::Strong, &head));
        bar.set_message(what.clone());
        bar.enable_steady_tick(Duration::from_millis(1000 / u64::from(REDRAWS)));
        Running { bar, head, what, amount: String::new(), lines: Lines::default(), refusals: 0 }
    }

    fn print(&self, text: &str) {
        // A terminal that went away cannot be told so.
        let _ = self.bars.println(text.trim_end());
    }

    fn finish(&self, running: &Running, ending: Ending, took: Duration) {
        running.bar.finish_and_clear();
        self.bars.remove(&running.bar);
        if let Some(more) = running.refusals.checked_sub(REFUSALS).filter(|more| *more > 0) {
            self.print(&format!("       refused: {more} more; `--verbose` shows all"));
        }
        let word = match ending {
            Ending::Done => self.terminal.paint(Ink::Good, "  done"),
            Ending::Cached => self.terminal.paint(Ink::Faint, "cached"),
            Ending::Failed => self.terminal.paint(Ink::Error, "failed"),
        };
        let head = self.terminal.paint(Ink::Strong, &running.head);
        let amount = if running.amount.is_empty() { String::new() } else { format!("  {}", running.amount) };
        let time = if ending == Ending::Cached { String::new() } else { format!("  {}", duration(took)) };
        let tail = self.terminal.paint(Ink::Faint, &format!("{amount}{time}"));
        self.print(&format!("{word} {head} {}{tail}", running.what));
    }
}

impl Observer for Live {
    fn event(&self, event: &Event<'_>) {
        // A thread that panicked while it held the lock has left whole entries behind.
        let mut all = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match *event {
            Event::Started { id, title, .. } => {
                all.insert(id, self.start(title));
            }
            Event::Progress { id, done, total, unit } => {
                if let Some(running) = all.get_mut(&id) {
                    running.amount = amount(total.unwrap_or(done), None, unit);
                    let text = format!("{} {}", running.what, amount(done, total, unit));
                    running.bar.set_message(self.terminal.paint(Ink::Faint, text.trim()));
                }
            }
            Event::Output { id, stream, bytes } => {
                if let Some(running) = all.get_mut(&id) {
                    let lines = running.lines.push(stream, bytes);
                    if let Some(last) = lines.last() {
                        let text = format!("{}  {}", running.what, self.terminal.paint(Ink::Faint, last));
                        running.bar.set_message(text.replace('\t', " "));
                    }
                    if self.verbosity == Verbosity::Verbose {
                        let head = self.terminal.paint(Ink::Strong, &format!("[{}]", running.head));
                        lines.iter().for_each(|line| self.print(&format!("{head} {line}")));
                    }
                }
            }
            Event::Refused { id, what, executable, command_line } => {
                if let Some(running) = all.get_mut(&id) {
                    running.refusals += 1;
                    if running.refusals <= REFUSALS || self.verbosity == Verbosity::Verbose {
                        let text = refusal(what, executable, Some(command_line));
                        self.print(&format!("       {}", self.terminal.paint(Ink::Warning, &text)));
                    }
                }
            }
            Event::Affected { member, reason } => self.print(&affected(member, reason)),
            Event::Member { member, number, of } => self.print(&heading(member, number, of, self.terminal)),
            Event::Warning { message } => self.print(&warning(message, self.terminal)),
            Event::Finished { id, ending, took } => {
                if let Some(running) = all.remove(&id) {
                    self.finish(&running, ending, took);
                }
            }
        }
    }
}
