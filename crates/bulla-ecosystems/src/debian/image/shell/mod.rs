//! Rehearses a maintainer script: goes the way through it that a first installation takes, and notes what each command
//! would have changed. Nothing is run.
//!
//! It knows the part of the shell's language that such scripts are written in (POSIX.1-2017, XCU 2), and the commands in
//! [`commands`]. Where it meets anything else on the way, it refuses; what is not on the way does not matter. So a script
//! that only mends upgrades, or only starts services, turns out to do nothing.

mod commands;
mod expand;
mod parse;
mod pattern;
mod run;
#[cfg(test)]
mod tests;

use std::rc::Rc;

pub(super) use run::{Installation, rehearse};

/// A part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Text as it stands.
    Text { text: String, quoted: bool },
    /// `$NAME`, or `${NAME…}` with an operator and its word.
    Parameter { name: String, operation: Option<(String, Word)>, quoted: bool },
    /// `$(…)` or `` `…` ``.
    Substitution { list: Vec<Command>, quoted: bool },
    /// What is not understood, as `$((…))`.
    Foreign(String),
}

type Word = Vec<Part>;

/// Where a command's output or input goes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Redirect {
    /// The number in front of the operator, if there is one.
    descriptor: Option<u32>,
    operator: String,
    /// The file or number; the text of a here-document.
    target: Word,
}

/// A command of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Command {
    Simple {
        assignments: Vec<(String, Word)>,
        words: Vec<Word>,
        redirects: Vec<Redirect>,
    },
    Pipeline(Vec<Command>),
    And(Box<Command>, Box<Command>),
    Or(Box<Command>, Box<Command>),
    Not(Box<Command>),
    If {
        branches: Vec<(Vec<Command>, Vec<Command>)>,
        otherwise: Vec<Command>,
    },
    Case {
        word: Word,
        branches: Vec<(Vec<Word>, Vec<Command>)>,
    },
    For {
        name: String,
        words: Vec<Word>,
        body: Vec<Command>,
    },
    Function {
        name: String,
        body: Rc<Command>,
    },
    Group(Vec<Command>),
    Subshell(Vec<Command>),
    Redirected(Box<Command>, Vec<Redirect>),
    /// `while`, `until`, and what runs in the background.
    Foreign(&'static str),
}
