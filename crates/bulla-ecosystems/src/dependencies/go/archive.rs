//! Checks that a zip archive is the module that it is said to be (golang.org/x/mod/zip, `CheckZip`).

use super::{
    super::ReadSeek,
    dirhash::{Files, MAX_GO_MOD, Problem, shown},
};

/// Checks the names of an archive's files; gives its `go.mod` where that is wanted: the one that `go` makes up where there is none.
pub(super) fn check(
    body: &mut dyn ReadSeek,
    path: &str,
    version: &str,
    wanted: bool,
) -> Result<Option<Vec<u8>>, Problem> {
    let mut files = Files::open(body)?;
    let prefix = format!("{path}@{version}/");
    for name in files.names() {
        let of = |what: &str| Err(Problem::Refused(format!("`{}` {what}", shown(name.as_bytes()))));
        let Some(inside) = name.strip_prefix(&prefix) else {
            return of(&format!("is not beneath `{prefix}`: it is another module"));
        };
        let inside = inside.strip_suffix('/').unwrap_or(inside);
        if !inside.is_empty() && inside.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return of("is no clean name");
        }
        let last = inside.rsplit('/').next().unwrap_or_default();
        if last.eq_ignore_ascii_case("go.mod") && inside != "go.mod" {
            return of("is a go.mod that is not at the top, or written otherwise");
        }
    }
    if !wanted {
        return Ok(None);
    }
    let found = files.read(&format!("{prefix}go.mod"), MAX_GO_MOD)?;
    Ok(Some(found.unwrap_or_else(|| format!("module {path}\n").into_bytes())))
}
