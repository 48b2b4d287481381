//! Names of packages and of the files that they are published as.

use std::str::FromStr;

use pep440_rs::Version;

/// The longest name of a package or file.
pub(super) const MAX_NAME: usize = 255;

/// What sources are packed as, newest first; the core metadata specification knows the first alone.
const PACKED: [&str; 6] = [".tar.gz", ".zip", ".tgz", ".tar.bz2", ".tar.xz", ".tar"];

/// Normalises a name: lower case, each row of `-`, `_` and `.` one `-` (PEP 503). `None` for what is no name.
pub fn normalised(name: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let (first, last) = (*name.as_bytes().first()?, *name.as_bytes().last()?);
    if name.len() > MAX_NAME || !plain(first) || !plain(last) {
        return None;
    }
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'-' | b'_' | b'.' if out.ends_with('-') => {}
            b'-' | b'_' | b'.' => out.push('-'),
            byte if plain(byte) => out.push(char::from(byte.to_ascii_lowercase())),
            _ => return None,
        }
    }
    Some(out)
}

/// Reads a version that may stand in a path (PEP 440): the text as it is, and what it means.
pub(super) fn version(text: &str) -> Option<Version> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".+!-_".contains(&byte);
    (!text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(plain)).then(|| Version::from_str(text).ok())?
}

/// A file of a package, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A wheel, with its three tags (binary distribution format, "File name convention").
    Wheel {
        /// Which Pythons.
        python: String,
        /// With which binary interface.
        abi: String,
        /// On which systems.
        platform: String,
    },
    /// A source package.
    Source,
}

/// Reads the name of a file; `None` when it is no wheel or source package, or not of this package and version.
pub(super) fn file(file: &str, name: &str, wanted: &Version) -> Option<Kind> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".+!-_".contains(&byte);
    if file.len() > MAX_NAME || file.starts_with('.') || !file.bytes().all(plain) {
        return None;
    }
    let is = |text: &str, number: &str| {
        normalised(text).as_deref() == Some(name) && version(&number.replace('_', "-")).as_ref() == Some(wanted)
    };
    if let Some(stem) = file.strip_suffix(".whl") {
        let parts: Vec<&str> = stem.split('-').collect();
        let [text, number, .., python, abi, platform] = parts.as_slice() else { return None };
        let built = parts.len() == 5 || parts.len() == 6 && parts[2].starts_with(|c: char| c.is_ascii_digit());
        return (built && is(text, number)).then(|| Kind::Wheel {
            python: (*python).to_owned(),
            abi: (*abi).to_owned(),
            platform: (*platform).to_owned(),
        });
    }
    let stem = PACKED.iter().find_map(|ending| file.strip_suffix(ending))?;
    let found = stem.match_indices('-').any(|(at, _)| is(&stem[..at], &stem[at + 1..]));
    found.then_some(Kind::Source)
}

/// Gives the version that the name of a file of a package has, as it is written there.
pub(super) fn version_in(text: &str, name: &str) -> Option<String> {
    let stem = text.strip_suffix(".whl").or_else(|| PACKED.iter().find_map(|ending| text.strip_suffix(ending)))?;
    let ends = stem.match_indices('-').filter(|(at, _)| normalised(&stem[..*at]).as_deref() == Some(name));
    let mut found = ends.filter_map(|(at, _)| {
        let rest = &stem[at + 1..];
        let number = if text.ends_with(".whl") { rest.split('-').next().unwrap_or_default() } else { rest };
        let meaning = version(&number.replace('_', "-"))?;
        file(text, name, &meaning).map(|_| number.to_owned())
    });
    found.next()
}

/// Says whether a file is of a kind that clients do not take: an egg, an installer, a package of a distribution.
pub(super) fn is_unused(file: &str) -> bool {
    !file.ends_with(".whl") && !PACKED.iter().any(|ending| file.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_and_what_is_none_is_refused() {
        for (name, expected) in
            [("Flask", "flask"), ("zope.interface", "zope-interface"), ("a__-.B", "a-b"), ("1", "1")]
        {
            assert_eq!(normalised(name).as_deref(), Some(expected));
        }
        for name in ["", "-a", "a-", "a/b", "é", "a b", "..", &"a".repeat(256)] {
            assert_eq!(normalised(name), None, "{name}");
        }
    }

    #[test]
    fn a_name_of_a_file_has_its_version() {
        for (text, name, number) in [
            ("MarkupSafe-3.0.2-1-cp311-cp311-manylinux_2_17_x86_64.whl", "markupsafe", Some("3.0.2")),
            ("zope.interface-5.0.tar.gz", "zope-interface", Some("5.0")),
            ("python-dateutil-2.8.2.zip", "python-dateutil", Some("2.8.2")),
            ("python-dateutil-2.8.2.zip", "python", None),
            ("torch-2.0.0+cpu-cp311-cp311-linux_x86_64.whl", "torch", Some("2.0.0+cpu")),
            ("flask-x-py3-none-any.whl", "flask", None),
            ("flask.tar.gz", "flask", None),
            ("flask-3.0.0.exe", "flask", None),
        ] {
            assert_eq!(version_in(text, name).as_deref(), number, "{text}");
        }
    }

    #[test]
    fn files_belong_to_a_package_and_a_version() {
        let of = |text: &str, name: &str, number: &str| file(text, name, &version(number).expect("a version"));
        let wheel = of("MarkupSafe-3.0.2-1-cp311-cp311-manylinux_2_17_x86_64.whl", "markupsafe", "3.0.2");
        assert!(matches!(wheel, Some(Kind::Wheel { python, .. }) if python == "cp311"));
        assert_eq!(of("zope.interface-5.0.tar.gz", "zope-interface", "5.0.0"), Some(Kind::Source));
        assert_eq!(of("python-dateutil-2.8.2.zip", "python-dateutil", "2.8.2"), Some(Kind::Source));
        assert!(of("torch-2.0.0+cpu-cp311-cp311-linux_x86_64.whl", "torch", "2.0.0+cpu").is_some());
        for text in [
            "flask-3.0.1-py3-none-any.whl",
            "flask-3.0.0-py3-none.whl",
            "flask-3.0.0-x-py3-none-any.whl",
            "evil-3.0.0-py3-none-any.whl",
            "../flask-3.0.0-py3-none-any.whl",
            "flask-3.0.0.exe",
            "flask-3.0.0-py3.11.egg",
            "",
        ] {
            assert_eq!(of(text, "flask", "3.0.0"), None, "{text}");
        }
    }
}
