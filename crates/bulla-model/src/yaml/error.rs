//! What is wrong with a text, by the bytes that it is about.

use std::ops::Range;

/// One mistake. Rendering it needs the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The bytes that it is about.
    pub(crate) span: Range<usize>,
    /// What is wrong.
    pub(crate) message: String,
    /// What to write instead.
    pub(crate) help: Option<String>,
    /// A second place that has to do with it, and what it is.
    pub(crate) related: Option<(Range<usize>, String)>,
}

impl Problem {
    /// Makes a mistake with what to write instead; an empty `help` is none.
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Self {
        let help = Some(help.into()).filter(|help| !help.is_empty());
        Self { span, message: message.into(), help, related: None }
    }

    /// Adds a second place.
    pub(crate) fn with(mut self, span: Range<usize>, what: impl Into<String>) -> Self {
        self.related = Some((span, what.into()));
        self
    }
}
