//! What a script sees: what stands at a path, in the packages and of what the script itself made; and `test`.

use bulla_model::CleanPath;

use super::super::run::{Shell, Step, refuse};
use crate::debian::image::overlay::{Overlay, Stands};

pub(super) fn place(shell: &Shell<'_, '_>, path: &str) -> Step<CleanPath> {
    match shell.installation.overlay.place(path) {
        Some(place) => Ok(place),
        None => refuse(format!("it changes `{}`, which is no plain absolute path", path.escape_debug())),
    }
}

/// Says what a path leads to, with what the script itself made. What a path means that is not absolute, or goes up, is not
/// known here, and neither is what the script's own links lead to.
pub(super) fn stands(shell: &Shell<'_, '_>, path: &str, follow: bool) -> Step<Option<Stands>> {
    let overlay = shell.installation.overlay;
    match path {
        "" => return Ok(None),
        "/" => return Ok(Some(Stands::Directory)),
        _ => {}
    }
    let Some(place) = overlay.place(path) else {
        return refuse(format!("it looks at `{}`, which is no plain absolute path", path.escape_debug()));
    };
    if let Some(link) = place.ancestors().find(|above| shell.made.get(above) == Some(&Stands::Link)) {
        return refuse(format!("it looks at `{}` through its own link `/{link}`", path.escape_debug()));
    }
    match shell.made.get(&place) {
        Some(Stands::Link) if follow => refuse(format!("it looks at where its own link `/{place}` leads")),
        Some(made) => Ok(Some(*made)),
        None if follow => Ok(overlay.leads_to(&place)),
        None => Ok(overlay.stands(&place)),
    }
}

/// Says whether the directory is there in which something is to be made.
pub(super) fn has_parent(shell: &Shell<'_, '_>, place: &CleanPath) -> Step<bool> {
    match place.parent() {
        None => Ok(true),
        Some(parent) => Ok(stands(shell, &format!("/{parent}"), true)? == Some(Stands::Directory)),
    }
}

/// The most words of a test.
const MAX_TEST: usize = 64;

pub(super) fn test(shell: &Shell<'_, '_>, arguments: &[String]) -> Step<bool> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let joins = |at: &usize| *at > 0 && (4..=MAX_TEST).contains(&words.len());
    if let Some(at) = words.iter().position(|word| *word == "-o").filter(joins) {
        return Ok(test(shell, &arguments[..at])? || test(shell, &arguments[at + 1..])?);
    }
    if let Some(at) = words.iter().position(|word| *word == "-a").filter(joins) {
        return Ok(test(shell, &arguments[..at])? && test(shell, &arguments[at + 1..])?);
    }
    match words.as_slice() {
        _ if words.len() > MAX_TEST => refuse("it has a test of more than 64 words"),
        [] => Ok(false),
        ["!", _, ..] => Ok(!test(shell, &arguments[1..])?),
        [one] => Ok(!one.is_empty()),
        ["-n", value] => Ok(!value.is_empty()),
        ["-z", value] => Ok(value.is_empty()),
        ["-x", path] => is_executable(shell, path),
        ["-s", path] => is_filled(shell, path),
        [operator @ ("-e" | "-f" | "-d" | "-r" | "-w"), path] => {
            let stands = stands(shell, path, true)?;
            Ok(match *operator {
                "-d" => stands == Some(Stands::Directory),
                "-f" => stands == Some(Stands::File),
                _ => stands.is_some(),
            })
        }
        ["-L" | "-h", path] => Ok(stands(shell, path, false)? == Some(Stands::Link)),
        ["-t" | "-p" | "-S" | "-b" | "-c", _] => Ok(false),
        // To others than bash it is a mistake.
        [_, "==", _] if !shell.is_bash() => refuse("it compares by `==`"),
        [a, "=" | "==", b] => Ok(a == b),
        [a, "!=", b] => Ok(a != b),
        [a, operator @ ("-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge"), b] => {
            match (a.parse::<i64>(), b.parse::<i64>()) {
                (Ok(a), Ok(b)) => Ok(match *operator {
                    "-eq" => a == b,
                    "-ne" => a != b,
                    "-lt" => a < b,
                    "-le" => a <= b,
                    "-gt" => a > b,
                    _ => a >= b,
                }),
                _ => refuse("it compares what is no number"),
            }
        }
        _ => refuse(format!("it tests `{}`", arguments.join(" ").escape_debug())),
    }
}

/// Says whether a path leads to what root may execute.
fn is_executable(shell: &Shell<'_, '_>, path: &str) -> Step<bool> {
    is_so(shell, path, "can be executed", |overlay, place| {
        let (mode, _) = overlay.follow(place, true).and_then(|place| overlay.attributes(&place))?;
        Some(mode.bits() & 0o111 != 0)
    })
}

/// Says whether a path leads to a file with something in it, or to a directory.
fn is_filled(shell: &Shell<'_, '_>, path: &str) -> Step<bool> {
    is_so(shell, path, "is empty", |overlay, place| Some(overlay.size(place)? > 0))
}

/// Asks something of a file of the packages; of what the script itself made it is not known.
fn is_so(
    shell: &Shell<'_, '_>,
    path: &str,
    what: &str,
    ask: impl Fn(&Overlay<'_>, &CleanPath) -> Option<bool>,
) -> Step<bool> {
    match stands(shell, path, true)? {
        None => Ok(false),
        Some(Stands::Directory) => Ok(true),
        Some(_) => {
            let overlay = shell.installation.overlay;
            let place = overlay.place(path).filter(|place| !shell.made.contains_key(place));
            match place.and_then(|place| ask(overlay, &place)) {
                Some(answer) => Ok(answer),
                None => refuse(format!("it looks whether its own file `{}` {what}", path.escape_debug())),
            }
        }
    }
}
