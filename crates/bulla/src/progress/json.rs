//! Progress as lines of JSON. Each line is one [`Event`], with the event's own fields. Texts are as the build gave them:
//! JSON escapes the control characters, and a line starts with `{`, so that no CI system takes it for a command.

use bulla_build::event::{Event, Observer};

use super::Verbosity;
use crate::{report, terminal};

/// Writes each event as a line of JSON.
pub(crate) struct Json {
    verbosity: Verbosity,
}

impl Json {
    /// Makes one that writes to standard error.
    pub(crate) fn new(verbosity: Verbosity) -> Self {
        Self { verbosity }
    }
}

impl Observer for Json {
    fn event(&self, event: &Event<'_>) {
        if self.verbosity > Verbosity::Quiet || matches!(event, Event::Warning { .. }) {
            terminal::to_stderr(&report::json_line(event));
        }
    }
}
