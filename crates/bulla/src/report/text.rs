//! Errors as people read them.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::{
    error::{CommandError, Excerpt},
    neutral, report,
    terminal::{Ink, Terminal},
};

/// The most places of one file that are drawn.
const MAX_MARKS: usize = 20;

/// Renders an error with its causes, excerpts and hints; ends with a line end.
pub(crate) fn error(error: &CommandError, terminal: Terminal) -> String {
    let mut out = String::new();
    for excerpt in &error.excerpts {
        draw(&mut out, excerpt, terminal);
    }
    for line in error.log.iter().flat_map(|log| log.lines()) {
        out.push_str(&format!("{} {}\n", terminal.paint(Ink::Faint, "  |"), neutral::log_line(line.as_bytes())));
    }
    let message = neutral::lines(&error.error.to_string());
    out.push_str(&format!("{} {}\n", terminal.paint(Ink::Error, "error:"), indented(&message, 7)));
    for cause in report::causes(error) {
        out.push_str(&format!("  {} {}\n", terminal.paint(Ink::Faint, "because:"), indented(&cause, 11)));
    }
    for hint in &error.hints {
        let hint = neutral::lines(hint);
        out.push_str(&format!("{} {}\n", terminal.paint(Ink::Hint, "hint:"), indented(&hint, 6)));
    }
    out
}

/// Indents the lines after the first, so that they stand under the first and never at the left margin.
fn indented(text: &str, by: usize) -> String {
    text.trim_end().replace('\n', &format!("\n{:by$}", ""))
}

fn draw(out: &mut String, excerpt: &Excerpt, terminal: Terminal) {
    let renderer = if terminal.color { Renderer::styled() } else { Renderer::plain() };
    // The lines around a place are shown too, so the whole text is made harmless; spans are moved along.
    let file = neutral::line(&excerpt.file);
    for mark in excerpt.marks.iter().take(MAX_MARKS) {
        let snippet = |span| {
            let (source, first_line, span) = window(&excerpt.text, span);
            let place = AnnotationKind::Primary.span(span);
            Snippet::source(source).line_start(first_line).path(file.clone()).annotation(place)
        };
        let title = neutral::lines(&mark.message);
        let mut group = Level::ERROR.primary_title(title).element(snippet(&mark.span));
        if let Some(help) = &mark.help {
            group = group.element(Level::HELP.message(neutral::lines(help)));
        }
        let related = mark
            .related
            .as_ref()
            .map(|(span, what)| Level::NOTE.secondary_title(neutral::lines(what)).element(snippet(span)));
        let report: Vec<Group<'_>> = std::iter::once(group).chain(related).collect();
        out.push_str(&renderer.render(&report));
        out.push_str("\n\n");
    }
    if let Some(more) = excerpt.marks.len().checked_sub(MAX_MARKS).filter(|more| *more > 0) {
        out.push_str(&format!("… and {more} more in {file}\n\n"));
    }
}

/// How many lines before the place are shown.
const BEFORE: usize = 2;
/// The longest line of a source that is shown as it is; of longer ones only the part around the place is shown.
const WIDE: usize = 160;

/// Cuts the lines around a place out of a text. Gives them made harmless, the number of the first line, and where the
/// place is in them.
fn window(text: &str, place: &Range<usize>) -> (String, usize, Range<usize>) {
    let start = floor(text, place.start);
    let end = floor(text, place.end.max(place.start)).max(start);
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let end = end.min(line_end);

    let mut from = line_start;
    for _ in 0..BEFORE {
        let Some(previous) = text[..from.saturating_sub(1)].rfind('\n').map(|at| at + 1).or((from > 0).then_some(0))
        else {
            break;
        };
        if from - previous > WIDE {
            break;
        }
        from = previous;
    }
    let first_line = text[..from].matches('\n').count() + 1;
    let mut source = neutral::lines(&text[from..line_start]);
    let (cut_from, cut_to) = (
        floor(text, line_start.max(start.saturating_sub(WIDE / 2))),
        floor(text, line_end.min(end.max(start) + WIDE / 2)),
    );
    if cut_from > line_start {
        source.push('…');
    }
    source.push_str(&harmless(&text[cut_from..start]));
    let span_start = source.len();
    source.push_str(&harmless(&text[start..end.min(cut_to.max(start))]));
    let span_end = source.len();
    source.push_str(&harmless(&text[end.min(cut_to)..cut_to]));
    (source, first_line, span_start..span_end)
}

/// Makes a part of a line harmless without changing where it stands: CI commands cannot stand at the start of a drawn
/// line, since line numbers stand there.
fn harmless(part: &str) -> String {
    neutral::line(part).into_owned()
}

/// Gives the nearest character boundary at or before an offset.
fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use bulla_model::Kind;

    use super::*;
    use crate::error::{CliError, Mark};

    const PLAIN: Terminal = Terminal { color: false, live: false };

    fn mark(text: &str, what: &str, message: &str) -> Mark {
        let at = text.find(what).expect("the text has it");
        Mark {
            span: at..at + what.len(),
            message: message.into(),
            help: Some("write `name`".into()),
            related: Some((0..5, "the format is said here".into())),
        }
    }

    #[test]
    fn several_places_are_drawn_under_their_lines() {
        let text = "bulla: 1\nnaem: shop\nstages:\n  build: {}\n  tset: {}\n";
        let error = CommandError::from(CliError::Option("bulla.yaml has 2 mistakes".into())).with_excerpt(Excerpt {
            file: "bulla.yaml".into(),
            text: text.into(),
            marks: vec![mark(text, "naem", "unknown key `naem`"), mark(text, "tset", "unknown stage")],
        });
        insta::assert_snapshot!(super::error(&error, PLAIN));
    }

    #[test]
    fn hostile_messages_cannot_command_a_terminal_or_ci() {
        let error = CommandError {
            kind: Kind::Spec,
            error: "bad \x1b[2J name\n::set-output name=x::y\n##vso[x]".into(),
            hints: vec!["do\r\nthis".into()],
            excerpts: Vec::new(),
            log: Some("\x1b[31mred\n::warning::x\n".into()),
        };
        let shown = super::error(&error, PLAIN);
        assert!(!shown.contains('\x1b') && !shown.contains('\r') && !shown.contains("##vso["), "{shown}");
        assert!(shown.lines().all(|line| !line.trim_start().starts_with("::")), "{shown}");
    }

    #[test]
    fn any_span_of_any_text_can_be_drawn() {
        let wide = "é".repeat(5000);
        for text in ["", "\n", "a", "\n\n\nx", "é\u{202e}é\nü", &wide] {
            for start in 0..text.len().min(50) + 2 {
                for length in 0..4 {
                    let mark = Mark { span: start..start + length, message: "m".into(), help: None, related: None };
                    let mut out = String::new();
                    draw(&mut out, &Excerpt { file: "f".into(), text: text.into(), marks: vec![mark] }, PLAIN);
                    assert!(out.len() < 3000, "{out}");
                }
            }
        }
    }
}
