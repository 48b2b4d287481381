//! Commands of the package manager and its kin: versions, alternatives, questions, indexes of directories.

use super::super::run::{Shell, Step, refuse};
use crate::debian::image::{alternatives::Alternative, effect::Effect};

/// Answers a question as the script itself did, else as the package's `config` does, else with the default of the package's
/// templates, as an installation without questions does.
pub(super) fn answer(shell: &mut Shell<'_, '_>, arguments: &[String]) -> Step<bool> {
    let question = arguments.first().map_or("", String::as_str);
    let answer = match shell.answers.get(question) {
        Some(answer) => Some(answer.clone()),
        None => shell.configured(question)?,
    };
    if let Some(answer) = answer {
        shell.assign("RET", answer)?;
        return Ok(true);
    }
    let templates = shell.installation.package.member("templates").unwrap_or_default();
    let mut paragraph = templates.split("\n\n").map(|text| text.trim_start_matches('\n'));
    let found = paragraph.find(|text| text.lines().next() == Some(&format!("Template: {question}")));
    let Some(found) = found else {
        return refuse(format!("it asks `{}`, which has no answer", question.escape_debug()));
    };
    let default = found.lines().find_map(|line| line.strip_prefix("Default:")).unwrap_or_default().trim().to_owned();
    shell.assign("RET", default)?;
    Ok(true)
}

/// Takes a program that makes an index of a directory, where there is nothing to be in it.
pub(super) fn compile(shell: &mut Shell<'_, '_>, arguments: &[String]) -> Step<bool> {
    let folder = arguments.last().map_or("", String::as_str);
    shell.spend(100)?;
    let overlay = shell.installation.overlay;
    let files = overlay.place(folder).map(|folder| overlay.list(&folder)).unwrap_or_default();
    match files.first() {
        None => Ok(true),
        Some(file) => refuse(format!("it makes an index of `{}`, where `/{file}` is", folder.escape_debug())),
    }
}

/// Compares versions with none, which is what a first installation replaces: it is earlier than all (dpkg(1)).
pub(super) fn dpkg(arguments: &[String]) -> Step<bool> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--compare-versions", "", operator, version] if !version.is_empty() => {
            Ok(matches!(*operator, "lt" | "le" | "ne" | "<<" | "<=" | "<" | "ge-nl" | "gt-nl"))
        }
        // Without quotes an empty version is none at all: dpkg ends with an error, which is no yes.
        ["--compare-versions", operator, version] if !version.is_empty() && !operator.is_empty() => Ok(false),
        _ => refuse(format!("it calls `dpkg {}`", arguments.join(" ").escape_debug())),
    }
}

pub(super) fn alternatives(shell: &mut Shell<'_, '_>, arguments: &[String]) -> Step<bool> {
    if let Some(call) = Alternative::parse(arguments) {
        return shell.note(Effect::Alternative(call));
    }
    let first = arguments.iter().find(|word| !matches!(word.as_str(), "--quiet" | "--force"));
    match first.map(String::as_str) {
        Some("--remove" | "--remove-all" | "--auto") => Ok(true),
        _ => refuse(format!("it calls `update-alternatives {}`", arguments.join(" ").escape_debug())),
    }
}
