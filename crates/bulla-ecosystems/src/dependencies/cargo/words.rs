//! Reads in what cargo said last which crate it did not find. The words are a stranger's, and what is made of them is only told.

use super::lock::is_name;

/// What cargo looked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted<'a> {
    /// The crate.
    pub(super) name: &'a str,
    /// What was asked of its version.
    pub(super) requirement: Option<&'a str>,
}

/// Gives the crate that cargo did not find, if that is what it says (cargo's `resolver/errors.rs` and `ops`, 1.63 to 1.95).
pub(super) fn wanted(words: &str) -> Option<Wanted<'_>> {
    let quoted = |before: &str| words.rsplit_once(before)?.1.split('`').next();
    // With versions of that name: the requirement is told, with or without the one of a lock file behind it.
    if let Some((name, requirement)) =
        quoted("failed to select a version for the requirement `").and_then(|text| text.split_once(" = "))
    {
        return is_name(name).then_some(Wanted { name, requirement: Some(requirement.trim_matches('"')) });
    }
    let alone =
        ["no matching package named `", "searched package name: `", "error: could not find `", "error: the crate `"];
    let name = alone.iter().find_map(|before| quoted(before))?;
    // `cargo install` and `cargo add` have an `@` before a version.
    let name = name.split('@').next().unwrap_or(name);
    is_name(name).then_some(Wanted { name, requirement: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &str) -> Option<(&str, Option<&str>)> {
        wanted(words).map(|wanted| (wanted.name, wanted.requirement))
    }

    #[test]
    fn words_of_several_cargos_name_what_is_missing() {
        let places = "location searched: directory source `/run/bulla/crates/crates-io` (which is replacing registry `crates-io`)\n";
        for (words, name, requirement) in [
            (format!("   Compiling a v1.0.0\nerror: no matching package named `other` found\n{places}"), "other", None),
            (
                format!(
                    "error: no matching package found\nsearched package name: `Word`\nperhaps you meant:      word\n{places}"
                ),
                "Word",
                None,
            ),
            (
                format!(
                    "error: failed to select a version for the requirement `word = \"^1.1.0\"`\ncandidate versions found which didn't match: 1.0.0\n{places}"
                ),
                "word",
                Some("^1.1.0"),
            ),
            (
                format!(
                    "error: failed to select a version for the requirement `word = \"^1\"` (locked to 1.1.0)\n{places}"
                ),
                "word",
                Some("^1"),
            ),
            ("error: could not find `nothing` in registry `crates-io` with version `*`\n".to_owned(), "nothing", None),
            ("error: the crate `foo@2` could not be found in registry index.\n".to_owned(), "foo", None),
        ] {
            assert_eq!(told(&words), Some((name, requirement)), "{words}");
        }
        for words in [
            "error[E0432]: could not find `x` in `y`",
            "error: failed to select a version for `word`.",
            "error: no matching package named `",
            "error: no matching package named `a b` found",
            "error: no matching package named `\u{1b}[31m` found",
        ] {
            assert_eq!(told(words), None, "{words}");
        }
    }
}
