//! Finds the `go.sum` files that count together: those of the modules of a workspace (go.dev/ref/mod, "Workspaces").

use std::io;

use bulla_model::CleanPath;

use super::super::{Files, LockFileError};

/// The most bytes of a `go.work`.
const MAX_WORK: u64 = 1 << 20;
/// The most modules of a workspace.
const MAX_MODULES: usize = 10_000;

/// Gives the files whose sums count beside those of `lock`, which is not among them: where a `go.work` in its folder or above uses its
/// module, `go.work.sum` and the `go.sum` of each module.
pub(super) fn beside(lock: &CleanPath, files: &dyn Files) -> Result<Vec<CleanPath>, LockFileError> {
    let own = lock.parent();
    let mut folder = own.clone();
    loop {
        let work = within(folder.as_ref(), "go.work");
        if let Some(bytes) = read(files, &work)? {
            let used = uses(&work, folder.as_ref(), &bytes)?;
            // Go refuses to work in a module that its workspace does not use, unless the workspace is left aside.
            let of_workspace = matches!(lock.name(), b"go.work" | b"go.work.sum") && own == folder;
            if !of_workspace && !used.contains(&own) {
                return Ok(Vec::new());
            }
            let sums = used.iter().map(|module| within(module.as_ref(), "go.sum"));
            let mut found: Vec<CleanPath> =
                std::iter::once(within(folder.as_ref(), "go.work.sum")).chain(sums).collect();
            found.retain(|file| file != lock);
            return Ok(found);
        }
        match folder {
            Some(inner) => folder = inner.parent(),
            None => return Ok(Vec::new()),
        }
    }
}

fn read(files: &dyn Files, path: &CleanPath) -> Result<Option<Vec<u8>>, LockFileError> {
    files.read(path, MAX_WORK).map_err(|error| unreadable(path, &error))
}

/// An error of reading a file.
pub(super) fn unreadable(path: &CleanPath, error: &io::Error) -> LockFileError {
    LockFileError { file: path.to_string(), line: None, what: format!("it cannot be read: {error}"), hints: Vec::new() }
}

/// The folders of the modules that a `go.work` uses; `None` is the top of the source. What leads out of the source is not among them.
fn uses(file: &CleanPath, folder: Option<&CleanPath>, bytes: &[u8]) -> Result<Vec<Option<CleanPath>>, LockFileError> {
    let text = String::from_utf8_lossy(bytes);
    let (mut found, mut inside) = (Vec::new(), false);
    for (line, number) in text.lines().zip(1u32..) {
        let line = line.split("//").next().unwrap_or_default().trim();
        let word = match line.strip_prefix("use") {
            Some(rest) if !inside && rest.starts_with([' ', '\t', '(']) => match rest.trim() {
                "(" => {
                    inside = true;
                    continue;
                }
                word => word,
            },
            _ if inside && line == ")" => {
                inside = false;
                continue;
            }
            _ if inside && !line.is_empty() => line,
            _ => continue,
        };
        found.extend(beneath(folder, word.trim_matches(['"', '`'])));
        if found.len() > MAX_MODULES {
            let what = format!("it uses more than {MAX_MODULES} modules");
            return Err(LockFileError { file: file.to_string(), line: Some(number), what, hints: Vec::new() });
        }
    }
    Ok(found)
}

/// Follows a relative path from a folder of the source; nothing where it leads out.
fn beneath(folder: Option<&CleanPath>, path: &str) -> Option<Option<CleanPath>> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&[u8]> = folder.map(|folder| folder.components().collect()).unwrap_or_default();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part.as_bytes()),
        }
    }
    if parts.is_empty() { Some(None) } else { CleanPath::parse(parts.join(&b'/')).ok().map(Some) }
}

fn within(folder: Option<&CleanPath>, name: &str) -> CleanPath {
    let name = CleanPath::parse(name).expect("a name without a slash is clean");
    folder.map_or_else(|| name.clone(), |folder| folder.join(&name).unwrap_or_else(|_| name.clone()))
}
