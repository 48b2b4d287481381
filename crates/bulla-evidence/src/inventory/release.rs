//! Which distribution an image is (os-release(5)).

use std::collections::BTreeMap;

use bulla_model::CleanPath;

use super::{Says, Unread, word};

/// What is kept of the file.
const KEPT: [&str; 4] = ["ID", "VERSION_ID", "NAME", "PRETTY_NAME"];

pub(super) fn is(path: &[u8]) -> bool {
    path == b"etc/os-release" || path == b"usr/lib/os-release"
}

pub(super) fn read(_: &CleanPath, bytes: &[u8]) -> Result<Vec<Says>, Unread> {
    let text = String::from_utf8_lossy(bytes);
    let field = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let value = word(value.trim().trim_matches(['"', '\'']))?;
        KEPT.contains(&name).then(|| (name.to_owned(), value.to_owned()))
    };
    let fields: BTreeMap<String, String> = text.lines().filter_map(field).collect();
    Ok(if fields.is_empty() { Vec::new() } else { vec![Says::Release(fields)] })
}
