//! The copyright files of Debian packages: machine-readable ones (DEP-5, "copyright-format 1.0"), and the texts that most others have.

use std::sync::LazyLock;

use super::Licence;

/// The most bytes of a copyright file that are looked at.
const MAX_COPYRIGHT: usize = 512 << 10;
/// Debian's names that are others in SPDX's list (copyright-format 1.0, "Short name"), in lower case.
const NAMES: [(&str, &str); 24] = [
    ("expat", "MIT"),
    ("mit", "MIT"),
    ("x11", "X11"),
    ("apache-2", "Apache-2.0"),
    ("apache-2.0", "Apache-2.0"),
    ("artistic", "Artistic-1.0-Perl"),
    ("artistic-2", "Artistic-2.0"),
    ("bsd-2-clause", "BSD-2-Clause"),
    ("bsd-3-clause", "BSD-3-Clause"),
    ("bsd-4-clause", "BSD-4-Clause"),
    ("bsd-4-clause-uc", "BSD-4-Clause-UC"),
    ("cc0", "CC0-1.0"),
    ("cc0-1.0", "CC0-1.0"),
    ("isc", "ISC"),
    ("zlib", "Zlib"),
    ("psf-2", "PSF-2.0"),
    ("python-2.0", "Python-2.0"),
    ("mpl-1.1", "MPL-1.1"),
    ("mpl-2.0", "MPL-2.0"),
    ("openssl", "OpenSSL"),
    ("curl", "curl"),
    ("fsful", "FSFUL"),
    ("fsfullr", "FSFULLR"),
    ("unicode", "Unicode-DFS-2016"),
];
/// Families whose names have a version, and `+` for later ones.
const GNU: [(&str, &str); 3] = [("gpl", "GPL"), ("lgpl", "LGPL"), ("agpl", "AGPL")];
/// The texts of licences that are known by what they say, in lower case with single blanks.
const SAYINGS: [(&str, &str, &str); 6] = [
    ("permission is hereby granted, free of charge, to any person obtaining a copy of this software", "", "MIT"),
    ("permission to use, copy, modify, and/or distribute this software for any purpose with or without fee", "", "ISC"),
    ("permission to use, copy, modify, and distribute this software for any purpose with or without fee", "", "ISC"),
    (
        "redistributions in binary form must reproduce",
        "names of its contributors may be used to endorse",
        "BSD-3-Clause",
    ),
    (
        "this software is provided 'as-is', without any express or implied warranty",
        "altered source versions must be plainly marked",
        "Zlib",
    ),
    ("licensed under the apache license, version 2.0", "", "Apache-2.0"),
];

/// Reads the copyright file of a package.
pub fn of_copyright(bytes: &[u8]) -> Licence {
    let text = String::from_utf8_lossy(bytes.get(..bytes.len().min(MAX_COPYRIGHT)).unwrap_or_default());
    let first = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let is_dep5 = first.to_ascii_lowercase().starts_with("format:") && first.contains("copyright-format")
        || first.to_ascii_lowercase().starts_with("format:") && first.contains("dep5");
    let named = if is_dep5 { machine_readable(&text) } else { Licence::default() };
    if named.is_unknown() { free(&text) } else { named }
}

/// Joins the short names of all stanzas.
fn machine_readable(text: &str) -> Licence {
    let fields = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.eq_ignore_ascii_case("license")).then(|| value.trim())
    });
    Licence::all(fields.filter(|value| !value.is_empty()).map(short))
}

/// Reads a short name or what joins several: `and` binds closer than `or`, and a comma before either makes it loose
/// ("Syntax").
fn short(text: &str) -> Licence {
    let text = text.trim();
    for (joint, all) in [(", and ", true), (", or ", false), (" or ", false), (" and ", true), (" / ", false)] {
        let parts: Vec<&str> = split(text, joint);
        if parts.len() > 1 && parts.len() <= 16 {
            let parts = parts.into_iter().map(short);
            return if all { Licence::all(parts) } else { Licence::any(parts) };
        }
    }
    single(text)
}

fn split<'a>(text: &'a str, joint: &str) -> Vec<&'a str> {
    let lower = text.to_ascii_lowercase();
    let (mut parts, mut from) = (Vec::new(), 0);
    while let Some(at) = lower.get(from..).and_then(|rest| rest.find(joint)) {
        parts.extend(text.get(from..from + at));
        from += at + joint.len();
    }
    parts.extend(text.get(from..));
    parts.into_iter().map(|part| part.trim().trim_end_matches(',')).filter(|part| !part.is_empty()).collect()
}

fn single(text: &str) -> Licence {
    let (name, exception) = match text.to_ascii_lowercase().find(" with ") {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let lower = name.to_ascii_lowercase();
    let known = NAMES.iter().find(|(debian, _)| *debian == lower).map(|(_, spdx)| (*spdx).to_owned());
    let Some(id) = known.or_else(|| gnu(&lower)).or_else(|| spdx::license_id(name).map(|id| id.name.to_owned())) else {
        return Licence::read_name(text);
    };
    if exception.is_empty() {
        return Licence { expression: id, ..Licence::default() };
    }
    let exception = exception.to_ascii_lowercase();
    let known = EXCEPTIONS.iter().find(|(said, _)| exception.contains(said));
    match known {
        Some((_, exception)) => Licence { expression: format!("{id} WITH {exception}"), ..Licence::default() },
        None => Licence::read_name(text),
    }
}

/// Exceptions as Debian's files write them.
const EXCEPTIONS: [(&str, &str); 5] = [
    ("openssl", "openvpn-openssl-exception"),
    ("autoconf", "Autoconf-exception-3.0"),
    ("libtool", "Libtool-exception"),
    ("bison", "Bison-exception-2.2"),
    ("gcc runtime", "GCC-exception-3.1"),
];

impl Licence {
    /// Takes a name for what it is.
    fn read_name(text: &str) -> Self {
        if text.len() > super::MAX_TEXT { Self::default() } else { Self::other(text) }
    }
}

/// Reads `GPL-2`, `LGPL-2.1+`, `AGPL-3.0+`.
fn gnu(name: &str) -> Option<String> {
    let (family, rest) = GNU.iter().find_map(|(debian, spdx)| Some((*spdx, name.strip_prefix(debian)?)))?;
    let version = rest.strip_prefix('-')?;
    let (version, later) = match version.strip_suffix('+') {
        Some(version) => (version, true),
        None => (version, false),
    };
    let version = if version.contains('.') { version.to_owned() } else { format!("{version}.0") };
    let id = format!("{family}-{version}-{}", if later { "or-later" } else { "only" });
    spdx::license_id(&id).map(|id| id.name.to_owned())
}

/// Finds what a free text refers to, and the texts that most packages quote.
fn free(text: &str) -> Licence {
    static PLACE: LazyLock<&str> = LazyLock::new(|| "/usr/share/common-licenses/");
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let lower = flat.to_ascii_lowercase();
    let mut found = Vec::new();
    for (at, _) in flat.match_indices(*PLACE) {
        let rest = flat.get(at + PLACE.len()..).unwrap_or_default();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.').unwrap_or(rest.len());
        let name = rest.get(..end).unwrap_or_default().trim_end_matches('.');
        // A name without a version leads to whichever is newest, which is no licence.
        let later = lower.contains("any later version");
        let name = if later && name.contains('-') && gnu(&name.to_ascii_lowercase()).is_some() {
            format!("{name}+")
        } else {
            name.to_owned()
        };
        if name.contains('-') || NAMES.iter().any(|(debian, _)| name.eq_ignore_ascii_case(debian)) {
            found.push(single(&name));
        }
    }
    let said = SAYINGS.iter().filter(|(one, other, _)| lower.contains(one) && lower.contains(other));
    found.extend(said.map(|(_, _, id)| Licence { expression: (*id).to_owned(), ..Licence::default() }));
    Licence::all(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        of_copyright(text.as_bytes()).expression
    }

    const FORMAT: &str = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n";

    #[test]
    fn machine_readable_files_give_all_their_names() {
        let text = format!(
            "{FORMAT}\nFiles: *\nLicense: GPL-2+ or Artistic\n text\n\nFiles: x\nLicense: Expat\n\nFiles: y\nLicense: LGPL-2.1\n"
        );
        assert_eq!(of(&text), "(GPL-2.0-or-later OR Artistic-1.0-Perl) AND MIT AND LGPL-2.1-only");
        let text = format!("{FORMAT}Files: *\nLicense: GPL-2+ with OpenSSL exception\n");
        assert_eq!(of(&text), "GPL-2.0-or-later WITH openvpn-openssl-exception");
        let text = format!("{FORMAT}Files: *\nLicense: public-domain\n");
        assert_eq!(of(&text), "LicenseRef-public-domain");
    }

    #[test]
    fn free_texts_give_what_they_name_and_quote() {
        let gpl =
            "It is licensed under the GPL, version 2 or any later version.\nSee /usr/share/common-licenses/GPL-2.";
        assert_eq!(of(gpl), "GPL-2.0-or-later");
        assert_eq!(of("under `/usr/share/common-licenses/LGPL-2.1'"), "LGPL-2.1-only");
        assert_eq!(of("see /usr/share/common-licenses/GPL for more"), "", "the newest of all is no licence");
        let mit =
            "Permission is hereby granted, free of charge,\n to any person obtaining a copy of this software and so on";
        assert_eq!(of(mit), "MIT");
        assert_eq!(of("All rights reserved."), "");
    }

    #[test]
    fn hostile_files_end() {
        assert_eq!(of(&"License: a or b and ".repeat(100_000)), "");
        let names: String = (0..10_000).map(|n| format!("License: N{n}\n")).collect();
        assert!(of(&format!("{FORMAT}{names}")).matches(" AND ").count() < 64);
        assert_eq!(of_copyright(&[0xff; 1000]), Licence::default());
    }
}
