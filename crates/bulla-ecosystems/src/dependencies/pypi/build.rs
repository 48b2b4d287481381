//! What builds packages from source: which packages that needs, no lock file of what is installed says, so it is found out by observing
//! ([`super::super::observe`]). A client that is observed is offered what the index lists of a name; what it takes is pinned by its SHA-256.

use std::collections::BTreeMap;

use bulla_model::{
    Digest,
    lock::{AnswerPin, Answers},
};

use super::{
    super::{
        Hash, Place, Question, escaped as purl_escaped,
        observe::{Asked, Check, MAX_PATH, Wanted},
    },
    index, name,
    package::{File, Formats, Package, Pins},
    pages::{escaped, html},
};

/// What an index lists of a package, by the names of files. What has no SHA-256 is not offered.
#[derive(Debug, Default)]
pub struct Offer {
    name: String,
    files: BTreeMap<String, Offered>,
}

#[derive(Debug)]
struct Offered {
    version: String,
    digest: Digest,
    place: Place,
    requires_python: Option<String>,
}

impl Offer {
    /// Gives the document of the index that has it.
    pub fn question(name: &str) -> Question {
        super::question(name)
    }

    /// Reads that document. What was withdrawn (PEP 592) is left out, and so is what is no wheel or source package.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(name: &str, bytes: &[u8]) -> Result<Self, String> {
        let page = index::read(bytes, name, &|hash| matches!(hash, Hash::Sha256(_)))?;
        let mut files = BTreeMap::new();
        for listed in page.files {
            let digest = listed.hashes.iter().find_map(|hash| match hash {
                Hash::Sha256(bytes) => Some(Digest::from_bytes(*bytes)),
                _ => None,
            });
            let (Some(digest), Some(version), false) = (digest, name::version_in(&listed.file, name), listed.yanked)
            else {
                continue;
            };
            let offered = Offered { version, digest, place: listed.place, requires_python: listed.requires_python };
            // Of two files of one name the first counts, here and when it is asked for.
            files.entry(listed.file).or_insert(offered);
        }
        Ok(Self { name: name.to_owned(), files })
    }

    /// Writes the page that a client finds (PEP 503), whose references lead to the loopback.
    pub fn page(&self) -> String {
        let links = self.files.iter().map(|(file, offered)| {
            let reference = format!("../../files/{}/{}/{file}", self.name, offered.version).replace('+', "%2B");
            let requires = offered.requires_python.as_ref();
            let requires =
                requires.map_or(String::new(), |text| format!(" data-requires-python=\"{}\"", escaped(text)));
            format!("<a href=\"{reference}#sha256={}\"{requires}>{file}</a><br>\n", offered.digest.hex())
        });
        html(&format!("Links for {}", self.name), &links.collect::<String>())
    }

    /// Says where a file is and what its bytes are, by the path that [`observe::asked`](super::super::observe::asked) gives.
    pub fn file(&self, path: &str) -> Option<(&Place, Digest)> {
        let [name, version, file] = parts(path)?;
        let offered = self.files.get(file)?;
        (self.name == name && offered.version == version).then_some((&offered.place, offered.digest))
    }
}

/// Says what a path of the loopback asks for: `/pypi/simple/NAME/` or `/pypi/files/NAME/VERSION/FILE`.
///
/// # Errors
/// With what is wrong with it.
pub(in crate::dependencies) fn asked(path: &str) -> Result<Asked, &'static str> {
    let path =
        path.strip_prefix("/pypi/").ok_or("nothing but an index of Python's packages is asked, beneath /pypi/")?;
    if path.len() > MAX_PATH {
        return Err("this path is too long for a package of Python");
    }
    let is_name = |text: &str| name::normalised(text).as_deref() == Some(text);
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["simple", of, ""] if is_name(of) => {
            Ok(Asked { path: path.to_owned(), package: (*of).to_owned(), purl: None, wanted: Wanted::Page })
        }
        ["files", of, version, file] if is_name(of) && name::version_in(file, of).as_deref() == Some(*version) => {
            Ok(Asked {
                path: format!("{of}/{version}/{file}"),
                package: (*of).to_owned(),
                purl: Some(format!("pkg:pypi/{of}@{}", purl_escaped(version))),
                wanted: Wanted::File(Check::Listed),
            })
        }
        _ => Err("this is no path of an index of Python's packages: simple/NAME/ or files/NAME/VERSION/FILE"),
    }
}

fn parts(path: &str) -> Option<[&str; 3]> {
    path.split('/').collect::<Vec<_>>().try_into().ok()
}

/// Makes packages of what was observed, which are a part of what a lock file names from then on. What is in no such place is not served.
pub(super) fn packages(answers: &Answers, may_build: &dyn Fn(&str) -> bool) -> Vec<Package> {
    let mut packages: BTreeMap<(&str, &str), Vec<File>> = BTreeMap::new();
    for (path, answer) in answers {
        let (AnswerPin::Given { digest, .. }, Some([name, version, file])) = (answer, parts(path)) else { continue };
        let Some(kind) = name::version(version).and_then(|meaning| name::file(file, name, &meaning)) else { continue };
        if name::normalised(name).as_deref() != Some(name) || kind == name::Kind::Source && !may_build(name) {
            continue;
        }
        let hashes = vec![Hash::Sha256(*digest.as_bytes())];
        let file = File { file: file.to_owned(), kind, hashes, places: Vec::new(), line: 0 };
        packages.entry((name, version)).or_default().push(file);
    }
    let package = |((name, version), files): ((&str, &str), Vec<File>)| {
        let meaning = name::version(version)?;
        let (name, version) = (name.to_owned(), version.to_owned());
        Some(Package { name, version, meaning, line: 0, formats: Formats::default(), pins: Pins::Observed(files) })
    };
    packages.into_iter().filter_map(package).collect()
}

#[cfg(test)]
mod tests {
    use bulla_model::lock::Verified;

    use super::*;

    fn page() -> String {
        let sum = Digest::of("wheel").hex();
        format!(
            "<a href=\"../../packages/maker-1.0-py3-none-any.whl#sha256={sum}\" data-requires-python=\"&gt;=3.8\">x</a>
<a href=\"../../packages/maker-2.0.tar.gz#sha256={sum}\">x</a>
<a href=\"../../packages/maker-3.0-py3-none-any.whl#sha256={sum}\" data-yanked=\"broken\">x</a>
<a href=\"../../packages/maker-4.0-py3-none-any.whl#md5=00\">x</a>
<a href=\"../../packages/evil-5.0-py3-none-any.whl#sha256={sum}\">x</a>
<a href=\"../../packages/maker-6.0.exe#sha256={sum}\">x</a>"
        )
    }

    #[test]
    fn what_an_index_lists_is_offered_on_the_loopback() {
        let offer = Offer::read("maker", page().as_bytes()).expect("a page");
        let sum = Digest::of("wheel");
        let links = offer.page();
        let links: Vec<&str> = links.lines().filter(|line| line.starts_with("<a ")).collect();
        assert_eq!(
            links,
            [
                &format!(
                    "<a href=\"../../files/maker/1.0/maker-1.0-py3-none-any.whl#sha256={}\" data-requires-python=\"&gt;=3.8\">maker-1.0-py3-none-any.whl</a><br>",
                    sum.hex()
                ),
                &format!(
                    "<a href=\"../../files/maker/2.0/maker-2.0.tar.gz#sha256={}\">maker-2.0.tar.gz</a><br>",
                    sum.hex()
                ),
            ]
        );
        let place = Place::Registry("../packages/maker-2.0.tar.gz".to_owned());
        assert_eq!(offer.file("maker/2.0/maker-2.0.tar.gz"), Some((&place, sum)));
        for other in
            ["maker/1.0/maker-2.0.tar.gz", "maker/3.0/maker-3.0-py3-none-any.whl", "evil/2.0/maker-2.0.tar.gz", "maker"]
        {
            assert_eq!(offer.file(other), None, "{other}");
        }
        assert!(Offer::read("maker", b"nothing").is_err());
    }

    #[test]
    fn only_paths_of_an_index_are_asked_for() {
        let page = asked("/pypi/simple/maker-of-things/").expect("a page");
        assert_eq!((page.package.as_str(), page.wanted), ("maker-of-things", Wanted::Page));
        let file = asked("/pypi/files/maker/1.0+x/maker-1.0+x-py3-none-any.whl").expect("a file");
        assert_eq!(file.path, "maker/1.0+x/maker-1.0+x-py3-none-any.whl");
        assert_eq!(file.purl.as_deref(), Some("pkg:pypi/maker@1.0%2Bx"));
        let long = format!("/pypi/simple/{}/", "a".repeat(MAX_PATH));
        for bad in [
            "/pypi/simple/",
            "/pypi/simple/maker",
            "/pypi/simple/Maker/",
            "/pypi/simple/maker/x",
            "/pypi/simple/../x/",
            "/pypi/simple/a?b/",
            "/pypi/files/maker/1.0/maker-2.0.tar.gz",
            "/pypi/files/maker/1.0/evil-1.0.tar.gz",
            "/pypi/files/maker/1.0/maker-1.0.tar.gz.metadata",
            "/pypi/files/maker/1.0/../maker-1.0.tar.gz",
            "/pypi/files/maker/maker-1.0.tar.gz",
            "/pypi/maker/json",
            "/npm/maker",
            &long,
        ] {
            assert!(asked(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_was_observed_are_packages_of_the_lock_file() {
        let given =
            || AnswerPin::Given { size: 5, digest: Digest::of("wheel"), purl: None, verified: Verified::Checksum };
        let answers: Answers = [
            ("maker/1.0/maker-1.0-py3-none-any.whl", given()),
            ("maker/1.0/maker-1.0.tar.gz", given()),
            ("other/1.0/maker-1.0.tar.gz", given()),
            ("other", given()),
            ("maker/2.0/maker-2.0.tar.gz", AnswerPin::Absent),
        ]
        .map(|(path, answer)| (path.to_owned(), answer))
        .into();
        let files = |may: bool| {
            let packages = packages(&answers, &|_| may);
            let of = |package: &Package| match &package.pins {
                Pins::Observed(files) => files.len(),
                _ => 0,
            };
            packages.iter().map(|package| (package.shown(), of(package))).collect::<Vec<_>>()
        };
        assert_eq!(files(true), [("maker 1.0".to_owned(), 2)]);
        assert_eq!(files(false), [("maker 1.0".to_owned(), 1)], "no source package where building is denied");
    }
}
