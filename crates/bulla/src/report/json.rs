//! Errors as programs read them: one JSON object on one line of standard error.

use serde::Serialize;

use super::causes;
use crate::{
    error::{CommandError, Excerpt},
    neutral,
};

#[derive(Serialize)]
struct Document<'a> {
    event: &'a str,
    kind: &'a str,
    exit_code: u8,
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
    places: Vec<Place>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    log: Vec<String>,
}

#[derive(Serialize)]
struct Place {
    file: String,
    line: usize,
    column: usize,
    message: String,
    help: Option<String>,
}

/// Renders an error as a JSON line: `{"event":"error","kind":…}`.
pub(crate) fn error(error: &CommandError) -> String {
    let document = Document {
        event: "error",
        kind: kind_name(error.kind),
        exit_code: error.kind.exit_code(),
        message: neutral::lines(&error.error.to_string()),
        causes: causes(error),
        hints: error.hints.iter().map(|hint| neutral::lines(hint)).collect(),
        places: error.excerpts.iter().flat_map(places).collect(),
        log: error.log.iter().flat_map(|log| log.lines()).map(|line| neutral::log_line(line.as_bytes())).collect(),
    };
    line(&document)
}

/// Writes a document as one line of JSON.
pub(crate) fn line(document: &impl Serialize) -> String {
    let text = serde_json::to_string(document).expect("documents of this program have string keys only");
    text + "\n"
}

fn places(excerpt: &Excerpt) -> impl Iterator<Item = Place> + '_ {
    excerpt.marks.iter().map(|mark| {
        let (line, column) = position(&excerpt.text, mark.span.start);
        Place {
            file: excerpt.file.clone(),
            line,
            column,
            message: neutral::lines(&mark.message),
            help: mark.help.as_deref().map(neutral::lines),
        }
    })
}

/// Gives the line and the column of an offset, in characters, both from 1.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = String::from_utf8_lossy(&text.as_bytes()[..offset.min(text.len())]);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// Names a kind as `docs/exit-codes.md` does.
pub(crate) fn kind_name(kind: bulla_model::Kind) -> &'static str {
    use bulla_model::Kind;
    match kind {
        Kind::Step => "step",
        Kind::Spec => "spec",
        Kind::Environment => "environment",
        Kind::Integrity => "integrity",
        Kind::Hermeticity => "hermeticity",
        Kind::Policy => "policy",
        Kind::Interrupted => "interrupted",
        Kind::Internal => "internal",
    }
}
