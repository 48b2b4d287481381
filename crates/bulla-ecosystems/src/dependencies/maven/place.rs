//! Paths of a Maven repository (maven.apache.org/repository/layout.html), and nothing beside them.

use super::super::observe::{Asked, Check, MAX_PATH, Wanted};

/// The longest part of a path.
const MAX_PART: usize = 128;
/// The document that lists versions or plugins.
const METADATA: &str = "maven-metadata.xml";
/// Checksums that clients ask for when there is no SHA-1.
const OTHERS: [&str; 3] = [".md5", ".sha256", ".sha512"];

/// What a path is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Coordinates<'a> {
    /// `org.slf4j`; of a document about a whole group, that.
    pub(super) group: String,
    /// `slf4j-api`; nothing for a document about a group.
    pub(super) artifact: &'a str,
    /// The version of the folder; nothing for a document about all versions.
    pub(super) version: &'a str,
    /// What stands between the version and the type.
    pub(super) classifier: &'a str,
    /// `jar`, `pom`; nothing for a document.
    pub(super) kind: &'a str,
}

impl<'a> Coordinates<'a> {
    /// Reads the path of a file, without that of a checksum.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub(super) fn parse(path: &'a str) -> Result<Self, &'static str> {
        let parts: Vec<&str> = path.split('/').collect();
        let plain = |part: &&str| {
            let letters = |b: u8| b.is_ascii_alphanumeric() || b"._-+~".contains(&b);
            !part.is_empty() && part.len() <= MAX_PART && !part.starts_with('.') && part.bytes().all(letters)
        };
        if path.len() > MAX_PATH || !parts.iter().all(plain) {
            return Err(
                "this is no path of a Maven repository: it is too long, or has a part that no coordinates have",
            );
        }
        match parts.as_slice() {
            [group @ .., METADATA] if !group.is_empty() => {
                Ok(Self { group: group.join("."), artifact: "", version: "", classifier: "", kind: "" })
            }
            [group @ .., artifact, version, file] if !group.is_empty() => {
                let group = group.join(".");
                let rest = file.strip_prefix(artifact).and_then(|rest| rest.strip_prefix('-'));
                let rest = rest.and_then(|rest| after_version(rest, version));
                let (classifier, kind) =
                    rest.ok_or("the file is not named for its folder: ARTIFACT/VERSION/ARTIFACT-VERSION.TYPE")?;
                Ok(Self { group, artifact, version, classifier, kind })
            }
            _ => Err("this is no path of a Maven repository: GROUP/ARTIFACT/VERSION/ARTIFACT-VERSION.TYPE"),
        }
    }

    /// Gives the name that the configuration and the lock know it by.
    pub(super) fn package(&self) -> String {
        if self.artifact.is_empty() { self.group.clone() } else { format!("{}/{}", self.group, self.artifact) }
    }

    /// Gives its package URL (the purl specification, "maven"); none for a document.
    pub(super) fn purl(&self) -> Option<String> {
        if self.kind.is_empty() {
            return None;
        }
        let escaped = |text: &str| text.replace('+', "%2B");
        let classifier = match self.classifier {
            "" => String::new(),
            classifier => format!("classifier={}&", escaped(classifier)),
        };
        let (version, kind) = (escaped(self.version), escaped(self.kind));
        Some(format!("pkg:maven/{}@{version}?{classifier}type={kind}", escaped(&self.package())))
    }
}

/// Splits what stands behind the name of an artifact, and its version, into classifier and type. The version of a snapshot is one with
/// a time in place of the word.
fn after_version<'a>(rest: &'a str, version: &str) -> Option<(&'a str, &'a str)> {
    let exact = rest.strip_prefix(version);
    let timed = || {
        let rest = rest.strip_prefix(version.strip_suffix("SNAPSHOT")?)?;
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(rest.len());
        // `20240131.120000-7` and what follows: the type begins behind a dot, a classifier behind a dash.
        let stamp = rest.get(..end)?.trim_end_matches(['.', '-']);
        rest.strip_prefix(stamp).filter(|_| !stamp.is_empty())
    };
    let behind = exact.or_else(timed)?;
    if let Some(kind) = behind.strip_prefix('.') {
        return Some(("", kind)).filter(|_| !kind.is_empty());
    }
    let (classifier, kind) = behind.strip_prefix('-')?.split_once('.')?;
    Some((classifier, kind)).filter(|_| !classifier.is_empty() && !kind.is_empty())
}

/// Says what a path of the loopback asks for.
///
/// # Errors
/// With what is wrong with it.
pub(in crate::dependencies) fn asked(path: &str) -> Result<Asked, &'static str> {
    let path = path.strip_prefix("/maven/").ok_or("nothing but the repository of Maven is asked, beneath /maven/")?;
    let of = |file: &str, wanted: Wanted| {
        let found = Coordinates::parse(file)?;
        let (package, purl) = (found.package(), found.purl());
        Ok(Asked { path: path.to_owned(), package, purl, wanted })
    };
    if let Some(file) = path.strip_suffix(".sha1") {
        return of(file, Wanted::Sha1(file.to_owned()));
    }
    match OTHERS.iter().find_map(|end| path.strip_suffix(end)) {
        Some(file) => of(file, Wanted::Nothing),
        None => of(path, Wanted::File(Check::Sha1Beside)),
    }
}

/// The paths of the checksums of a file that clients ask for: that of its SHA-1, and those that are not there.
pub(super) fn checksums(path: &str) -> (String, impl Iterator<Item = String>) {
    (format!("{path}.sha1"), OTHERS.into_iter().map(move |end| format!("{path}{end}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> Result<(String, Option<String>), &'static str> {
        let asked = asked(&format!("/maven/{path}"))?;
        assert_eq!(asked.path, path);
        assert_eq!(asked.wanted, Wanted::File(Check::Sha1Beside));
        Ok((asked.package, asked.purl))
    }

    #[test]
    fn paths_of_a_repository_are_read() {
        let good = |path: &str, package: &str, purl: &str| {
            let purl = Some(purl.to_owned()).filter(|purl| !purl.is_empty());
            assert_eq!(file(path), Ok((package.to_owned(), purl)), "{path}");
        };
        good(
            "org/slf4j/slf4j-api/2.0.17/slf4j-api-2.0.17.pom",
            "org.slf4j/slf4j-api",
            "pkg:maven/org.slf4j/slf4j-api@2.0.17?type=pom",
        );
        good("a/b/1/b-1-sources.jar", "a/b", "pkg:maven/a/b@1?classifier=sources&type=jar");
        good("a/b/1/b-1.jar.asc", "a/b", "pkg:maven/a/b@1?type=jar.asc");
        good("a/b/1.0+x/b-1.0+x.tar.gz", "a/b", "pkg:maven/a/b@1.0%2Bx?type=tar.gz");
        good("a/b/1-SNAPSHOT/b-1-20240131.120000-7.jar", "a/b", "pkg:maven/a/b@1-SNAPSHOT?type=jar");
        good(
            "a/b/1-SNAPSHOT/b-1-20240131.120000-7-tests.jar",
            "a/b",
            "pkg:maven/a/b@1-SNAPSHOT?classifier=tests&type=jar",
        );
        good("org/apache/maven/plugins/maven-metadata.xml", "org.apache.maven.plugins", "");
        good("a/b/maven-metadata.xml", "a.b", "");
        assert_eq!(
            asked("/maven/a/b/1/b-1.jar.sha1").map(|one| one.wanted),
            Ok(Wanted::Sha1("a/b/1/b-1.jar".to_owned()))
        );
        assert_eq!(asked("/maven/a/b/1/b-1.jar.md5").map(|one| one.wanted), Ok(Wanted::Nothing));
    }

    #[test]
    fn what_is_no_path_of_a_repository_is_refused() {
        let long = format!("a/{}/1/b-1.jar", "b".repeat(MAX_PART + 1));
        let deep = format!("{}b/1/b-1.jar", "a/".repeat(MAX_PATH / 2));
        for bad in [
            "",
            "a",
            "a/b",
            "b/1/b-1.jar",
            "a/b/1/c-1.jar",
            "a/b/1/b-2.jar",
            "a/b/1/b-1",
            "a/b/1/b-1-",
            "a/b/1/b-1-x",
            "a/b/1/b-1.",
            "a/b/1/b-1.jar?x=1",
            "a/b/1/b-1.jar#x",
            "a//b/1/b-1.jar",
            "a/../b/1/b-1.jar",
            "a/.b/1/.b-1.jar",
            "a/b c/1/b c-1.jar",
            "a/%62/1/%62-1.jar",
            "a/b/1/b-1.jar/",
            "maven-metadata.xml",
            "http://a/b/1/b-1.jar",
            "a/b/1-SNAPSHOT/b-1-x.jar",
            &long,
            &deep,
        ] {
            assert!(file(bad).is_err(), "{bad}");
        }
        assert!(asked("/npm/a/b/1/b-1.jar").is_err());
        assert!(asked("/a/b/1/b-1.jar").is_err());
    }
}
