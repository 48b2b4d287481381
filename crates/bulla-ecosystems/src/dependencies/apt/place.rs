//! Paths of an archive of Debian, one archive a suite: `SUITE/dists/SUITE/…` and `SUITE/pool/…`, and nothing beside them.

use bulla_model::purl::Purl;

use super::super::{
    escaped,
    observe::{Asked, Check, MAX_PATH, Wanted},
};

/// The longest part of a path.
const MAX_PART: usize = 256;

/// Says what a path of the loopback asks for. Whether there is such a thing, only what is signed says ([`super::Archive::expects`]).
///
/// # Errors
/// With what is wrong with it.
pub(in crate::dependencies) fn asked(path: &str) -> Result<Asked, &'static str> {
    let path = path.strip_prefix("/apt/").ok_or("nothing but archives of Debian is asked, beneath /apt/")?;
    let parts: Vec<&str> = path.split('/').collect();
    let plain = |part: &&str| {
        let letters = |b: u8| b.is_ascii_alphanumeric() || b"._-+~:%".contains(&b);
        !part.is_empty() && part.len() <= MAX_PART && !part.starts_with('.') && part.bytes().all(letters)
    };
    if path.len() > MAX_PATH || !parts.iter().all(plain) {
        return Err("this is no path of an archive of Debian: it is too long, or has a part that no file has");
    }
    let suite = match parts.as_slice() {
        [suite, "dists", same, _, ..] if suite == same => *suite,
        [suite, "pool", _, ..] => *suite,
        _ => return Err("this is no path of an archive of Debian: SUITE/dists/SUITE/… or SUITE/pool/…"),
    };
    let wanted = Wanted::File(Check::Signed);
    Ok(Asked { path: path.to_owned(), package: suite.to_owned(), purl: None, wanted })
}

/// Gives the package URL (the purl specification, "deb") of a package at a path; that of a file which is none, where it is an index.
pub(in crate::dependencies) fn purl(name: &str, version: &str, path: &str) -> String {
    match path.strip_suffix(".deb").and_then(|path| path.rsplit_once('_')) {
        Some((_, architecture)) => of_package(name, version, architecture),
        None => format!("pkg:generic/debian/{}", escaped(path)),
    }
}

/// Gives the package URL of a package.
pub(super) fn of_package(name: &str, version: &str, architecture: &str) -> String {
    Purl::new("deb", name, Some(version)).within("debian").with("arch", architecture).to_string()
}

/// Gives name and version of what lies at a path, as people and errors know it. A package's are those of its package URL.
pub(super) fn named(path: &str, purl: Option<&str>) -> (String, String) {
    let package = purl.and_then(|purl| purl.strip_prefix("pkg:deb/debian/")?.split('?').next()?.split_once('@'));
    if let Some((name, version)) = package {
        let plain = |text: &str| text.replace("%2B", "+").replace("%25", "%");
        return (plain(name), plain(version));
    }
    let suite = path.split('/').next().unwrap_or_default().to_owned();
    let what = if path.ends_with("/InRelease") { "the index of" } else { "a list of packages of" };
    (what.to_owned(), suite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_an_archive_are_read() {
        for (path, suite) in [
            ("trixie/dists/trixie/InRelease", "trixie"),
            ("trixie-security/dists/trixie-security/main/binary-amd64/by-hash/SHA256/00ff", "trixie-security"),
            ("sid/pool/main/libz/libzip/libzip-dev_1.7.3-1+b1~x_amd64.deb", "sid"),
        ] {
            let asked = asked(&format!("/apt/{path}")).expect(path);
            assert_eq!((asked.path.as_str(), asked.package.as_str()), (path, suite));
            assert_eq!(asked.wanted, Wanted::File(Check::Signed));
        }
    }

    #[test]
    fn what_is_no_path_of_an_archive_is_refused() {
        let long = format!("trixie/pool/{}", "b".repeat(MAX_PART + 1));
        let deep = format!("trixie/pool/{}b", "a/".repeat(MAX_PATH / 2));
        for bad in [
            "",
            "trixie",
            "trixie/InRelease",
            "trixie/dists/InRelease",
            "trixie/dists/trixie",
            "trixie/dists/bookworm/InRelease",
            "trixie/pool",
            "trixie/pool/",
            "trixie/pool//a.deb",
            "trixie/pool/../dists/a",
            "trixie/pool/.a/b",
            "trixie/pool/a?x=1",
            "trixie/pool/a#x",
            "trixie/pool/a b",
            "trixie/project/trace/x",
            "http://a/dists/a/InRelease",
            &long,
            &deep,
        ] {
            assert!(asked(&format!("/apt/{bad}")).is_err(), "{bad}");
        }
        assert!(asked("/maven/trixie/dists/trixie/InRelease").is_err());
        assert!(asked("/trixie/dists/trixie/InRelease").is_err());
    }
}
