//! The `info` folder with what each package brought, and the `triggers` that packages are interested in (deb-triggers(5)).

use std::collections::BTreeMap;

use bulla_model::{CleanPath, path::printable};

use super::{DatabaseError, Files, stem};
use crate::debian::deb::{self, Package};

/// The control files that are run.
const SCRIPTS: [&str; 5] = ["config", "postinst", "postrm", "preinst", "prerm"];
/// The control files that the database has elsewhere or makes itself.
const ELSEWHERE: [&str; 2] = ["control", "list"];

/// Writes the control files and the list of a package.
pub(super) fn write(
    files: &mut Files,
    package: &Package,
    is_hidden: impl Fn(&CleanPath) -> bool,
) -> Result<(), DatabaseError> {
    let (name, stem) = (package.control.name(), stem(package));
    for (member, bytes) in package.members.iter().filter(|(member, _)| !ELSEWHERE.contains(&member.as_str())) {
        let mode = if SCRIPTS.contains(&member.as_str()) { 0o755 } else { 0o644 };
        files.add(name, &format!("info/{stem}.{member}"), mode, bytes.clone())?;
    }
    files.add(name, &format!("info/{stem}.list"), 0o644, list(package, is_hidden)?)
}

fn list(package: &Package, is_hidden: impl Fn(&CleanPath) -> bool) -> Result<Vec<u8>, DatabaseError> {
    let name = package.control.name();
    let mut list = b"/.\n".to_vec();
    for path in &package.paths {
        let merged = deb::merged(path).map_err(|source| DatabaseError::Path { package: name.to_owned(), source })?;
        if merged.is_some_and(|merged| is_hidden(&merged)) {
            continue;
        }
        if path.as_bytes().contains(&b'\n') {
            return Err(DatabaseError::Name { package: name.to_owned(), name: printable(path.as_bytes()) });
        }
        list.push(b'/');
        list.extend_from_slice(path.as_bytes());
        list.push(b'\n');
    }
    Ok(list)
}

/// Writes who waits for which trigger: `triggers/File` for paths, and a file of its own for each other name.
pub(super) fn triggers<'a>(
    files: &mut Files,
    packages: impl Iterator<Item = &'a Package>,
) -> Result<(), DatabaseError> {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut paths = String::new();
    for package in packages {
        let text = package.member("triggers").unwrap_or_default();
        let waits = format!("{}\n", stem(package));
        let does_not = format!("{}/noawait\n", stem(package));
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let (Some(directive), Some(trigger)) = (words.next(), words.next()) else { continue };
            let interested = match directive {
                "interest" | "interest-await" => &waits,
                "interest-noawait" => &does_not,
                _ => continue,
            };
            if trigger.starts_with('/') {
                paths.push_str(&format!("{trigger} {interested}"));
            } else if trigger.contains('/') || ["File", "Unincorp", "Lock"].contains(&trigger) {
                let (package, name) = (package.control.name().to_owned(), printable(trigger.as_bytes()));
                return Err(DatabaseError::Name { package, name });
            } else {
                names.entry(trigger.to_owned()).or_default().push_str(interested);
            }
        }
    }
    files.add("", "triggers/File", 0o644, paths.into_bytes())?;
    names.into_iter().try_for_each(|(name, text)| files.add("", &format!("triggers/{name}"), 0o644, text.into_bytes()))
}
