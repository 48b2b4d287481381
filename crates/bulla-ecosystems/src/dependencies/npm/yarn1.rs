//! `yarn.lock` of version 1 (yarn 1.x): under one or more patterns, `name@range`, what they stand for. The form is yarn's own, and no YAML.

use std::collections::BTreeMap;

use bulla_model::CleanPath;

use super::{
    collected::{Collected, Entry, Reading, Refused},
    lock::Read,
    words::{self, Unserved, shortened},
};
use crate::dependencies::{LockFileError, git::GitAddress};

const AGAIN: &str = "run `yarn install`, and commit the lock file";

/// An entry as it is written.
#[derive(Debug, Default)]
struct Block<'a> {
    patterns: Vec<&'a str>,
    line: u32,
    fields: BTreeMap<&'a str, (&'a str, u32)>,
}

/// Reads a lock file.
///
/// # Errors
/// When it is damaged, or names what cannot be served.
pub(super) fn read(file: &CleanPath, text: &str) -> Result<Read, LockFileError> {
    let reading = Reading {
        file,
        again: AGAIN,
        unpinned: "delete the entry, run `yarn install` with yarn 1.10 or newer, which writes `integrity`, and commit the lock file",
    };
    let wrong = |line, what, hint| reading.wrong(line, what, hint);
    if let Some(line) = words::conflict(text) {
        let hint = "run `yarn install`, which resolves conflicts in its lock file, and commit it";
        return Err(wrong(line, "here is a conflict of a merge that nobody resolved".to_owned(), hint));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        let last = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
        let hint = "take it from the repository again, or run `yarn install`";
        return Err(wrong(last, "it is cut off".to_owned(), hint));
    }
    let mut collected = Collected::default();
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for block in blocks(text).map_err(|(line, what)| wrong(line, what, AGAIN))? {
        for pattern in &block.patterns {
            if let Some(before) = seen.insert(pattern, block.line) {
                let what = format!("`{}` comes twice, in line {before} too", shortened(pattern));
                return Err(wrong(
                    block.line,
                    what,
                    "run `yarn install`, which puts it right, and commit the lock file",
                ));
            }
        }
        entry(&block, &mut collected).map_err(|(line, refused)| reading.refused(line, refused))?;
    }
    Ok(collected.finish())
}

/// Parts a lock file into its entries: what stands at the margin begins one, and of what is further in, the fields with two blanks count.
fn blocks(text: &str) -> Result<Vec<Block<'_>>, (u32, String)> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let bare = line.trim_start_matches(' ');
        if bare.is_empty() || bare.starts_with('#') {
            continue;
        }
        let odd = || (number, format!("`{}` is no line of a lock file of yarn 1", shortened(bare)));
        match line.len() - bare.len() {
            0 => {
                let patterns = bare.strip_suffix(':').ok_or_else(odd)?;
                let patterns = listed(patterns).ok_or_else(odd)?;
                blocks.push(Block { patterns, line: number, ..Block::default() });
            }
            2 => {
                let block = blocks.last_mut().ok_or_else(odd)?;
                if bare.ends_with(':') {
                    continue;
                }
                let (key, value) = bare.split_once(' ').ok_or_else(odd)?;
                let value = word(value).ok_or_else(odd)?;
                if block.fields.insert(key, (value, number)).is_some() {
                    return Err((number, format!("`{}` comes twice in one entry", shortened(key))));
                }
            }
            // What it needs, by patterns that are entries of their own.
            4 if !blocks.is_empty() => {}
            _ => return Err(odd()),
        }
    }
    Ok(blocks)
}

/// Reads a list of words. Those in quotes may have a comma.
fn listed(text: &str) -> Option<Vec<&str>> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        let end = match rest.strip_prefix('"') {
            Some(inside) => inside.find('"')? + 2,
            None => rest.find(',').unwrap_or(rest.len()),
        };
        words.push(word(&rest[..end])?);
        match rest[end..].strip_prefix(", ") {
            Some(further) => rest = further,
            None => return rest[end..].is_empty().then_some(words),
        }
    }
}

/// Takes the quotes off a word. Names, versions and addresses have nothing that yarn would escape.
fn word(text: &str) -> Option<&str> {
    let word = match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => text,
    };
    (!text.is_empty() && !word.contains(['"', '\\']) && !word.contains(char::is_control)).then_some(word)
}

fn entry(block: &Block<'_>, collected: &mut Collected) -> Result<(), (u32, Refused)> {
    let field = |key: &str| block.fields.get(key).copied();
    let (name, range) = block.patterns.first().map_or(("", ""), |pattern| parted(pattern));
    let line_of = |key: &str| field(key).map_or(block.line, |(_, line)| line);
    let resolved = field("resolved").map(|(address, _)| address.split('#').next().unwrap_or(address));
    let local = |text: &str| ["file:", "link:", "./", "../", "/"].iter().any(|start| text.starts_with(start));
    match resolved {
        Some(address) if local(address) => return Ok(()),
        None if local(range) => return Ok(()),
        _ => {}
    }
    if let Some(address) = field("resolved").and_then(|(address, _)| GitAddress::of(address)) {
        let added = address.map_err(Refused::from).and_then(|address| collected.add_commit(&address, block.line));
        return added.map_err(|refused| (line_of("resolved"), refused));
    }
    // Another name is one that the project gave to it.
    let name = range.strip_prefix("npm:").map_or(name, |real| parted(real).0);
    let version = field("version").map(|(version, _)| version).unwrap_or_default();
    let entry = Entry { name, version, resolved, line: block.line };
    let source = entry.source().map_err(|refused| {
        let key = if refused.address.is_some() { "resolved" } else { "version" };
        (line_of(key), refused)
    })?;
    let integrity = field("integrity").map(|(integrity, _)| integrity);
    let hashes = match (source, integrity) {
        // Of what is at an address yarn notes a SHA-1 at most: `bulla.lock` has more.
        (words::Source::Url(_), None) => Vec::new(),
        _ => words::hashes(name, version, integrity)
            .map_err(|what| (line_of("integrity"), Refused { what, address: Some(Unserved::Unpinned) }))?,
    };
    collected.add(&entry, hashes).map_err(|refused| (block.line, refused))
}

/// Parts a pattern, `@scope/name@^1.0.0`, at its first `@` that is not the first character.
fn parted(pattern: &str) -> (&str, &str) {
    match pattern.get(1..).and_then(|rest| rest.find('@')) {
        Some(at) => (&pattern[..at + 1], &pattern[at + 2..]),
        None => (pattern, ""),
    }
}
