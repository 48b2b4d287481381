//! Names and versions of packages, as they may stand in paths of a registry.

/// The most bytes of a name (npm, `validate-npm-package-name`).
const MAX_NAME: usize = 214;

/// Says whether a text can be the name of a package: old packages have capitals and `!~*'()` in theirs.
pub(super) fn is_name(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!*'()".contains(&byte))
    };
    text.len() <= MAX_NAME
        && match text.strip_prefix('@').map(|scoped| scoped.split_once('/')) {
            None => part(text),
            Some(Some((scope, name))) => part(scope) && part(name),
            Some(None) => false,
        }
}

/// Gives the name without its scope, which names of files have.
pub(super) fn base(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Gives the path of an archive in a registry.
pub(super) fn archive_path(name: &str, version: &str) -> String {
    format!("{name}/-/{}-{version}.tgz", base(name))
}

/// Gives the name of the package that a place in `node_modules` has: `node_modules/a/node_modules/@b/c` is of `@b/c`.
pub(super) fn of_location(location: &str) -> Option<&str> {
    let (_, name) = location.rsplit_once("node_modules/")?;
    Some(name).filter(|name| is_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_elsewhere_is_no_name() {
        for name in ["left-pad", "@types/node", "JSONStream", "a", "@a/b.c_d~e"] {
            assert!(is_name(name), "{name}");
        }
        for name in
            ["", ".", "..", "../a", "a/b", "@a", "@a/", "@/a", "@a/../b", "@a/b/c", "a b", "a%2fb", "a\n", "é", ".bin"]
        {
            assert!(!is_name(name), "{name}");
        }
        assert!(!is_name(&"a".repeat(215)));
    }

    #[test]
    fn a_place_says_whose_it_is() {
        assert_eq!(of_location("node_modules/a"), Some("a"));
        assert_eq!(of_location("packages/x/node_modules/a/node_modules/@b/c"), Some("@b/c"));
        assert_eq!(of_location("packages/x"), None);
        assert_eq!(of_location("node_modules/../x"), None);
        assert_eq!(archive_path("@b/c", "1.0.0"), "@b/c/-/c-1.0.0.tgz");
    }
}
