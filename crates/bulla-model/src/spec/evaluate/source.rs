//! Sources: which of the four kinds it is, and whether its keys go together.

use std::ops::Range;

use super::Context;
use crate::{
    git::GitRevision,
    path::CleanPath,
    spec::{
        DebianSource, Folder, GitSource, GitTrust, Packing, Portion, Setting, Source, Trust, Unpack, UrlSource,
        written::{GitAddress, SourceKeys, UrlText},
    },
    yaml::At,
};

/// The most folders that can be taken off a name.
const MAX_STRIP: u32 = 20;

/// The kinds of sources, as the key that says which it is.
const PATH: &str = "path";
const URL: &str = "url";
const GIT: &str = "git";
const DEBIAN: &str = "debian";

/// A key, the kinds of sources that have it, and where it stands, if anywhere.
type Owned = (&'static str, &'static [&'static str], Option<Range<usize>>);

impl Context<'_> {
    /// Evaluates a source; `None` only when a mistake was noted.
    pub(super) fn source(&mut self, keys: &At<SourceKeys>) -> Option<Source> {
        let kinds = [
            (PATH, keys.path.as_ref().map(|value| &value.span)),
            (URL, keys.url.as_ref().map(|value| &value.span)),
            (GIT, keys.git.as_ref().map(|value| &value.span)),
            (DEBIAN, keys.debian.as_ref().map(|value| &value.span)),
        ];
        let mut found = kinds.into_iter().filter_map(|(kind, span)| Some((kind, span?)));
        let Some((kind, _)) = found.next() else {
            let help = "write `path: FOLDER` for a folder of the project, `url: https://…`, `git: https://…`, or `debian: \
                        CODENAME` with `source-package: NAME`";
            self.wrong(&keys.span, "the source does not say where it is", help);
            return None;
        };
        if let Some((other, span)) = found.next() {
            let span = span.clone();
            self.wrong(&span, format!("a source has either `{kind}` or `{other}`"), "make two sources of it");
            return None;
        }
        let fits = self.only_its_keys(kind, keys);
        if let Some(reason) = &keys.unsigned {
            self.forbidden(&reason.span, Setting::Unsigned);
        }
        let source = match kind {
            PATH => keys.path.as_ref().map(|path| {
                let ignore = keys.ignore.iter().map(|glob| glob.value.clone()).collect();
                Source::Folder(Folder { path: path.value.0.clone(), ignore })
            }),
            URL => keys.url.as_ref().and_then(|url| self.url_source(keys, url)).map(Source::Url),
            GIT => keys.git.as_ref().and_then(|url| self.git_source(keys, url)).map(Source::Git),
            _ => self.debian_source(keys).map(Source::Debian),
        };
        source.filter(|_| fits)
    }

    /// Notes the keys that another kind of source has.
    fn only_its_keys(&mut self, kind: &str, keys: &SourceKeys) -> bool {
        fn span<T>(value: Option<&At<T>>) -> Option<Range<usize>> {
            value.map(|value| value.span.clone())
        }
        let owned: [Owned; 17] = [
            ("sha256", &[URL], span(keys.sha256.as_ref())),
            ("signature", &[URL], span(keys.signature.as_ref())),
            ("signed-by", &[URL, GIT], span(keys.signed_by.as_ref())),
            ("unsigned", &[URL, GIT], span(keys.unsigned.as_ref())),
            ("unpack", &[URL], span(keys.unpack.as_ref())),
            ("file", &[URL], span(keys.file.as_ref())),
            ("strip", &[URL], span(keys.strip.as_ref())),
            ("tag", &[GIT], span(keys.tag.as_ref())),
            ("branch", &[GIT], span(keys.branch.as_ref())),
            ("commit", &[GIT], span(keys.commit.as_ref())),
            ("submodules", &[GIT], span(keys.submodules.as_ref())),
            ("lfs", &[GIT], span(keys.lfs.as_ref())),
            ("source-package", &[DEBIAN], span(keys.source_package.as_ref())),
            ("suites", &[DEBIAN], span(keys.suites.as_ref())),
            ("components", &[DEBIAN], span(keys.components.as_ref())),
            ("subfolder", &[URL, GIT, DEBIAN], span(keys.subfolder.as_ref())),
            ("debian", &[DEBIAN], span(keys.debian.as_ref())),
        ];
        let mut good = true;
        for (key, kinds, span) in owned {
            let Some(span) = span.filter(|_| !kinds.contains(&kind)) else { continue };
            good = false;
            let help = match key {
                "subfolder" => "write the folder itself as `path`".to_owned(),
                _ => format!("delete it, or write `{}` in place of `{kind}`", kinds.join("` or `")),
            };
            self.wrong(&span, format!("`{key}` does not go with `{kind}`"), help);
        }
        good
    }

    fn url_source(&mut self, keys: &SourceKeys, url: &At<UrlText>) -> Option<UrlSource> {
        let trust = self.trust(keys, url);
        let unpack = self.unpack(keys, url);
        let portion = portion(keys);
        let unpacked = matches!(unpack, Some(Unpack::Archive { .. }));
        if let Some(subfolder) = keys.subfolder.as_ref().filter(|_| unpack.is_some() && !unpacked) {
            self.wrong(&subfolder.span, "a file that is not unpacked has no folders", "delete `subfolder`");
            return None;
        }
        Some(UrlSource {
            url: url.value.0.clone(),
            sha256: keys.sha256.as_ref().map(|digest| digest.value.0),
            trust: trust?,
            unpack: unpack?,
            portion,
        })
    }

    /// Says why the bytes are the right ones.
    fn trust(&mut self, keys: &SourceKeys, url: &At<UrlText>) -> Option<Trust> {
        let signature = match (&keys.signature, &keys.signed_by) {
            (Some(signature), Some(key)) => Some((signature, key)),
            (None, None) => None,
            (Some(signature), None) => {
                let help = "add `signed-by: FILE`, a file of the project with the public key";
                self.wrong(&signature.span, "the signature says nothing without the key that made it", help);
                return None;
            }
            (None, Some(key)) => {
                let help = format!("add its URL: `signature: {}.asc`", url.value.0);
                self.wrong(&key.span, "the spec does not say where the signature is", help);
                return None;
            }
        };
        match (signature, &keys.sha256, &keys.unsigned) {
            (Some((signature, key)), _, None) => {
                Some(Trust::Signature { url: signature.value.0.clone(), key: key.value.0.clone() })
            }
            (None, Some(_), None) => Some(Trust::Digest),
            (None, None, Some(reason)) if url.value.0.starts_with("http://") => {
                let help = "write `https://`, or add `sha256`";
                let message = "what comes over a connection that anybody can change is not believed";
                self.note(
                    crate::yaml::Problem::new(self.first_line(&url.span), message, help)
                        .with(self.first_line(&reason.span), "this says to believe it"),
                );
                None
            }
            (None, None, Some(reason)) => Some(Trust::FirstUse { reason: reason.value.0.clone() }),
            (None, None, None) => {
                let help = "add `sha256: …` (`sha256sum FILE` gives it), or `signature` and `signed-by`; where there is neither, \
                            say why: `unsigned: REASON`";
                self.wrong(&url.span, "nothing says which bytes this URL has to give", help);
                None
            }
            (_, _, Some(reason)) => {
                let help = "delete `unsigned`";
                self.wrong(&reason.span, "the source has a digest or a signature", help);
                None
            }
        }
    }

    fn unpack(&mut self, keys: &SourceKeys, url: &At<UrlText>) -> Option<Unpack> {
        let path = url.value.0.split(['?', '#']).next().unwrap_or_default();
        let name = path.split_once("://").map_or("", |(_, rest)| rest).split('/').skip(1).last().unwrap_or_default();
        let packing = match &keys.unpack {
            Some(word) => word.value.0,
            None if keys.file.is_some() => None,
            None => Packing::of_name(name),
        };
        let strip = keys.strip.as_ref().map_or(0, |strip| strip.value);
        if let Some(written) = keys.strip.as_ref().filter(|_| strip > MAX_STRIP) {
            self.wrong(&written.span, format!("at most {MAX_STRIP} folders can be taken off, not {strip}"), "");
            return None;
        }
        match (packing, &keys.file, &keys.strip) {
            (Some(packing), None, _) => Some(Unpack::Archive { packing, strip }),
            (Some(_), Some(file), _) => {
                self.wrong(&file.span, "what is unpacked is not one file", "delete `file`, or write `unpack: no`");
                None
            }
            (None, _, Some(strip)) => {
                let help = "delete it, or say how it is packed: `unpack: tar.gz`";
                self.wrong(&strip.span, "a file that is not unpacked has no folders to take off", help);
                None
            }
            (None, Some(file), None) => Some(Unpack::No { file: file.value.0.clone() }),
            (None, None, None) => {
                let file = CleanPath::parse(name).ok().filter(|_| !name.contains('%'));
                if file.is_none() {
                    let help = "add `file: NAME`, or say how it is packed: `unpack: tar.gz`";
                    self.wrong(&url.span, "the end of this URL is no name for a file", help);
                }
                Some(Unpack::No { file: file? })
            }
        }
    }

    fn git_source(&mut self, keys: &SourceKeys, url: &At<GitAddress>) -> Option<GitSource> {
        let tag = keys.tag.as_ref().map(|name| (&name.span, GitRevision::Tag(name.value.0.clone())));
        let branch = keys.branch.as_ref().map(|name| (&name.span, GitRevision::Branch(name.value.0.clone())));
        let commit = keys.commit.as_ref().map(|id| (&id.span, GitRevision::Commit(id.value.0)));
        let mut found = [tag, branch, commit].into_iter().flatten();
        let Some((_, revision)) = found.next() else {
            self.wrong(
                &url.span,
                "which commit of the repository is it?",
                "add `tag: NAME`, `branch: NAME` or `commit: ID`",
            );
            return None;
        };
        if let Some((span, _)) = found.next() {
            let span = span.clone();
            self.wrong(&span, "one source is one commit", "write one of `tag`, `branch` and `commit`");
            return None;
        }
        let trust = self.git_trust(keys, url, &revision)?;
        Some(GitSource {
            url: url.value.0.clone(),
            revision,
            trust,
            submodules: keys.submodules.as_ref().is_some_and(|word| word.value),
            lfs: keys.lfs.as_ref().is_some_and(|word| word.value),
            portion: portion(keys),
        })
    }

    /// Says why a commit is the right one.
    fn git_trust(&mut self, keys: &SourceKeys, url: &At<GitAddress>, revision: &GitRevision) -> Option<GitTrust> {
        let named = matches!(revision, GitRevision::Commit(_));
        match (&keys.signed_by, &keys.unsigned) {
            (Some(key), None) => Some(GitTrust::Signature { key: key.value.0.clone() }),
            (None, None) if named => Some(GitTrust::Commit),
            (None, None) => {
                let help = "add `signed-by: FILE`, a file of the project with the keys that sign tags or commits; where nobody \
                            signs, write `commit: ID`, or say why: `unsigned: REASON`";
                self.wrong(&url.span, "nothing says which commit this repository has to give", help);
                None
            }
            (None, Some(reason)) if !named && url.value.0.starts_with("http://") => {
                let message = "what comes over a connection that anybody can change is not believed";
                let help = "write `https://`, or `commit: ID`";
                self.note(
                    crate::yaml::Problem::new(self.first_line(&url.span), message, help)
                        .with(self.first_line(&reason.span), "this says to believe it"),
                );
                None
            }
            (None, Some(reason)) if !named => Some(GitTrust::FirstUse { reason: reason.value.0.clone() }),
            (_, Some(reason)) => {
                self.wrong(&reason.span, "the source has a commit or a signature", "delete `unsigned`");
                None
            }
        }
    }

    fn debian_source(&mut self, keys: &SourceKeys) -> Option<DebianSource> {
        let codename = keys.debian.as_ref()?;
        let release = self.release(codename, keys.suites.as_ref(), keys.components.as_ref());
        let Some(package) = &keys.source_package else {
            self.wrong(&codename.span, "which source package of Debian is it?", "add `source-package: NAME`");
            return None;
        };
        if let Some(word) = package.side.word() {
            let message = format!("a source package has no `:{word}`: it is the same for all architectures");
            self.wrong(&package.span, message, "leave it out");
        }
        let package = crate::spec::PackageRequest { at: self.position(&package.span), ..package.value.clone() };
        Some(DebianSource { release, package, portion: portion(keys) })
    }
}

fn portion(keys: &SourceKeys) -> Portion {
    Portion {
        subfolder: keys.subfolder.as_ref().map(|path| path.value.0.clone()),
        ignore: keys.ignore.iter().map(|glob| glob.value.clone()).collect(),
    }
}
