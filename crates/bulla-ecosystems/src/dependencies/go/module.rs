//! The names and versions of modules, and how paths of the registry have them (golang.org/x/mod/module).

use semver::Version;

/// The longest name that is read; Go itself has no limit.
const MAX_NAME: usize = 1024;

/// Says what is wrong with a module's name (`module.CheckPath`).
pub(super) fn problem_of_path(path: &str) -> Option<&'static str> {
    let first = path.split('/').next().unwrap_or_default();
    let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
    if path.len() > MAX_NAME {
        return Some("it is too long");
    }
    if path.split('/').any(str::is_empty) {
        return Some("a part of it is empty");
    }
    if !first.contains('.') {
        return Some("its first part has no dot, as the name of a host has");
    }
    if path.starts_with('-') || first.contains(|c: char| !ok(c) || c.is_ascii_uppercase() || matches!(c, '_' | '~')) {
        return Some("its first part is no name of a host");
    }
    if path.split('/').any(|part| part.starts_with('.') || part.ends_with('.')) {
        return Some("a part of it begins or ends with a dot");
    }
    match path.contains(|c: char| c != '/' && !ok(c)) {
        true => Some("it has a letter that names of modules do not have"),
        false => None,
    }
}

/// Reads a version, as `go.sum` has it: `v1.2.3`, with `+incompatible` at most behind it.
pub(super) fn version(text: &str) -> Option<Version> {
    let version = Version::parse(text.strip_prefix('v').filter(|_| text.len() <= 255)?).ok()?;
    matches!(version.build.as_str(), "" | "incompatible").then_some(version)
}

/// Gives the time of a pseudo-version (`v0.0.0-20191109021931-daa7c04131f5`), as RFC 3339 has it; `None` where it is none.
pub(super) fn pseudo_time(version: &Version) -> Option<String> {
    let (before, revision) = version.pre.as_str().rsplit_once('-').unwrap_or(("", version.pre.as_str()));
    // The date is all of it, or stands behind `0.` or `pre.0.`.
    let date = before
        .rsplit_once('.')
        .map_or(Some(before), |(front, date)| (front == "0" || front.ends_with(".0")).then_some(date))?;
    let pseudo = date.len() == 14
        && date.bytes().all(|b| b.is_ascii_digit())
        && revision.bytes().all(|b| b.is_ascii_alphanumeric());
    let part = |from: usize, to: usize| &date[from..to];
    pseudo.then(|| {
        let day = format!("{}-{}-{}", part(0, 4), part(4, 6), part(6, 8));
        format!("{day}T{}:{}:{}Z", part(8, 10), part(10, 12), part(12, 14))
    })
}

/// Writes capitals as `!` and the small letter, since not every file system tells them apart.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_uppercase() {
            out.push('!');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Undoes [`escaped`].
pub(super) fn unescaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '!' => out.push(chars.next().filter(char::is_ascii_lowercase)?.to_ascii_uppercase()),
            c if c.is_ascii_uppercase() => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_those_that_go_takes() {
        for good in ["github.com/Azure/go-autorest", "gopkg.in/yaml.v3", "a.b", "example.com/a~b/v2", "k8s.io/api"] {
            assert_eq!(problem_of_path(good), None, "{good}");
        }
        for bad in [
            "", "fmt", "/a.b", "a.b/", "a.b//c", "a.b/../c", "a.b/.git", "a.b/c.", "A.b", "-a.b", "a.b/c d", "a.b/é",
            "a.b/c@v", "a.b/!x", "a.b/x:y", "a_b.c/d",
        ] {
            assert!(problem_of_path(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn versions_are_canonical() {
        for good in ["v0.0.0", "v2.0.0+incompatible", "v1.0.0-rc.1", "v0.0.0-20191109021931-daa7c04131f5"] {
            assert!(version(good).is_some(), "{good}");
        }
        for bad in ["", "v1", "v1.2", "1.2.3", "v1.2.3+meta", "v01.2.3", "v1.2.3/x", "latest", "v1.2.3-", "v1.2.3-a/b"]
        {
            assert!(version(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn pseudo_versions_have_a_time() {
        let time = |text: &str| pseudo_time(&version(text).expect("a version"));
        for pseudo in [
            "v0.0.0-20191109021931-daa7c04131f5",
            "v1.2.4-0.20191109021931-daa7c04131f5",
            "v1.2.3-pre.0.20191109021931-daa7c04131f5",
            "v2.0.1-0.20191109021931-daa7c04131f5+incompatible",
        ] {
            assert_eq!(time(pseudo).as_deref(), Some("2019-11-09T02:19:31Z"), "{pseudo}");
        }
        for other in ["v1.2.3", "v1.2.3-20191109021931", "v1.2.3-rc.20191109021931-x", "v1.2.3-2019-x"] {
            assert_eq!(time(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_escaped_is_read_back(text in "[a-zA-Z0-9./~-]{0,20}") {
            let escaped = escaped(&text);
            prop_assert!(!escaped.contains(|c: char| c.is_ascii_uppercase()));
            prop_assert_eq!(unescaped(&escaped), Some(text));
        }
    }
}
