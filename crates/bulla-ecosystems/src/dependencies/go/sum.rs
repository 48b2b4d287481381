//! Reads `go.sum` and `go.work.sum`: a line for each module and version, and another for its `go.mod`.

use std::collections::{BTreeMap, btree_map::Entry};

use bulla_model::{CleanPath, path::printable};

use super::{
    super::{Hash, LockFileError, MAX_ARTIFACTS, ParseHashError},
    module,
};

/// The sum of an empty `go.mod`, which old versions of Go wrote by mistake; Go passes over it.
const EMPTY: &str = "h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY=";

/// What a sum is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// The module's name.
    pub(super) path: String,
    /// Its version.
    pub(super) version: String,
    /// Whether it is of its `go.mod` alone.
    pub(super) go_mod: bool,
}

/// A sum, and the line that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) hash: Hash,
    pub(super) file: String,
    pub(super) line: u32,
}

/// The sums of all files that belong together.
pub(super) type Sums = BTreeMap<Key, Sum>;

/// Reads a file and adds its sums.
pub(super) fn read(file: &CleanPath, bytes: &[u8], sums: &mut Sums) -> Result<(), LockFileError> {
    let at = |line: u32, what: String| LockFileError {
        file: file.to_string(),
        line: Some(line),
        what,
        hints: vec![format!("run `go mod tidy`, commit {}, and build again", name_of(file))],
    };
    for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1u32..) {
        let short = || printable(&line[..line.len().min(200)]);
        let text = std::str::from_utf8(line).map_err(|_| at(number, format!("`{}` is not UTF-8", short())))?;
        if ["<<<<<<<", "=======", ">>>>>>>", "|||||||"].iter().any(|mark| text.starts_with(mark)) {
            let mut error = at(number, format!("`{}` is left of a merge that was not finished", short()));
            error.hints.insert(0, "keep the lines of both sides, and take out the marks".to_owned());
            return Err(error);
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let [path, version, sum] = words[..] else {
            if words.is_empty() {
                continue;
            }
            return Err(at(number, format!("`{}` is not a module, a version and a sum", short())));
        };
        if sum == EMPTY {
            continue;
        }
        let (version, go_mod) = match version.strip_suffix("/go.mod") {
            Some(version) => (version, true),
            None => (version, false),
        };
        if let Some(problem) = module::problem_of_path(path) {
            return Err(at(number, format!("`{}` is no name of a module: {problem}", printable(path.as_bytes()))));
        }
        if module::version(version).is_none() {
            return Err(at(number, format!("`{}` is no version of a module", printable(version.as_bytes()))));
        }
        let hash = Hash::from_go(sum, go_mod).map_err(|error| at(number, problem_of(&error)))?;
        let key = Key { path: path.to_owned(), version: version.to_owned(), go_mod };
        match sums.entry(key) {
            Entry::Vacant(place) => {
                place.insert(Sum { hash, file: file.to_string(), line: number });
            }
            Entry::Occupied(known) if known.get().hash != hash => {
                let (known, first) = (known.key(), known.get());
                let what = format!(
                    "{} {}{} has the sum {hash} here and {} in {}:{}",
                    known.path,
                    known.version,
                    if go_mod { "/go.mod" } else { "" },
                    first.hash,
                    first.file,
                    first.line
                );
                let mut error = at(number, what);
                error.hints = vec![
                    "one of the two is of other bytes: find out who published the module twice, or who changed the line".into(),
                    format!("take out the wrong line, run `go mod verify`, commit {}, and build again", name_of(file)),
                ];
                return Err(error);
            }
            Entry::Occupied(_) => {}
        }
        if sums.len() > MAX_ARTIFACTS {
            return Err(at(number, format!("it has more than {MAX_ARTIFACTS} sums")));
        }
    }
    Ok(())
}

/// The name of a file without its folder.
pub(super) fn name_of(file: &CleanPath) -> String {
    printable(file.name())
}

fn problem_of(error: &ParseHashError) -> String {
    match error {
        ParseHashError::Algorithm(name) => {
            format!("sums of the kind `{}` are not known; Go has `h1:`", printable(name.as_bytes()))
        }
        ParseHashError::Malformed(text) => format!("`{}` is no sum", printable(text.as_bytes())),
    }
}
