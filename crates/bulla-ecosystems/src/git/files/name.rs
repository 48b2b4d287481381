//! Which names a tree may have. Git's own checks (`verify_path` in its index, and those of `git fsck`) with all their switches on:
//! a name that means `.git` on some file system is refused on every one.

/// Says what is wrong with a name.
pub(super) fn check_name(name: &[u8]) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("has no name");
    }
    if name == b"." || name == b".." {
        return Err("has a name that leads elsewhere");
    }
    if name.iter().any(|b| matches!(b, b'/' | b'\\' | 0)) {
        return Err("has a name with a slash, a backslash or a NUL byte in it");
    }
    if means(name, ".git") || is_short_name(name) {
        return Err("has a name that means `.git`, where settings and hooks of a repository are");
    }
    Ok(())
}

/// Says whether a name means another on some file system: with capitals, with characters that HFS+ leaves out, or with what
/// NTFS takes off the end (dots, spaces, and the name of a stream).
pub(super) fn means(name: &[u8], other: &str) -> bool {
    let text = String::from_utf8_lossy(name);
    let plain: String = text.chars().filter(|c| !is_left_out(*c)).flat_map(char::to_lowercase).collect();
    let base = plain.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    base == other
}

/// The name that NTFS gives `.git` beside its own.
fn is_short_name(name: &[u8]) -> bool {
    means(name, "git~1")
}

/// The characters that HFS+ leaves out when it compares names.
fn is_left_out(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_something_else_are_refused() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "/",
            "a\\b",
            "a\0",
            ".git",
            ".GIT",
            ".Git",
            ".git ",
            ".git.",
            ".git. .",
            ".git::$INDEX_ALLOCATION",
            "git~1",
            "GIT~1",
            ".g\u{200c}it",
            "\u{feff}.git",
            ".gi\u{202e}T ",
        ] {
            assert!(check_name(bad.as_bytes()).is_err(), "{bad:?}");
        }
        for good in [".gitignore", ".gitmodules", "git", "..a", "a..", " .git", ".github", "git~2", "ä", "x.git"] {
            assert!(check_name(good.as_bytes()).is_ok(), "{good:?}");
        }
        assert!(check_name(b"\xff\xfe").is_ok(), "that it is no text is said by who needs one");
        assert!(means(b".GITMODULES ", ".gitmodules") && !means(b"gitmodules", ".gitmodules"));
    }
}
