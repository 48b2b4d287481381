//! What may be asked of the archive of one suite while apt is observed: its signed index, what that names, and what the lists that it names
//! name. Nothing else is ever asked for, so that a path says nothing to anybody but which packages a step wants.

use std::{collections::BTreeMap, io::Read};

use bulla_model::{
    Digest, Epoch, Fault, Kind,
    lock::{IndexSignature, Verified},
};

use super::place;
use crate::debian::{
    keyring::Keyring,
    packages::{Index, MAX_PACKAGES, PackagesError},
    release::{Dates, FileSum, MAX_RELEASE, Release, ReleaseError, verify_inrelease},
    resolve::unpack::{Compression, UnpackError, unpack},
};

/// The forms of a list of packages that are read.
const FORMS: [(&str, Compression); 3] =
    [("Packages", Compression::None), ("Packages.gz", Compression::Gzip), ("Packages.xz", Compression::Xz)];

/// How far the archive of a suite is known.
#[derive(Debug)]
pub struct Archive {
    suite: String,
    keyring: Keyring,
    now: Epoch,
    /// The newest date that was seen of the suite, by the key that signed it.
    seen: BTreeMap<String, Epoch>,
    known: Option<Known>,
}

/// What is known once its index came.
#[derive(Debug)]
struct Known {
    release: Release,
    /// The packages of the lists that came, by their paths in the archive.
    packages: BTreeMap<String, (FileSum, String)>,
}

/// A list of packages, as the index knows it.
struct List {
    compression: Compression,
    plain: Option<FileSum>,
}

/// What is expected at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// The signed index.
    Index,
    /// A file that something signed names; its package URL, where it is a package.
    File(FileSum, Option<String>),
}

impl Expected {
    /// Gives the most bytes that may come.
    pub const fn most(&self) -> u64 {
        match self {
            Self::Index => MAX_RELEASE,
            Self::File((_, size), _) => *size,
        }
    }
}

/// What came is not what the archive signed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The index is not one that is good now.
    #[error("the index of {suite} is refused")]
    Release {
        /// The suite.
        suite: String,
        /// What is wrong with it.
        #[source]
        source: Box<ReleaseError>,
    },
    /// It is another suite's.
    #[error("what came as the index of {suite} is that of {found}")]
    OtherSuite {
        /// The suite.
        suite: String,
        /// Whose index it is.
        found: String,
    },
    /// Other bytes.
    #[error("{path} has the SHA-256 {found}, and what is signed says {expected}")]
    OtherBytes {
        /// Where.
        path: String,
        /// What it has.
        found: Digest,
        /// What it should have.
        expected: Digest,
    },
    /// What came cannot be read.
    #[error("reading {path}")]
    Unreadable {
        /// Where.
        path: String,
        /// What is wrong.
        #[source]
        source: std::io::Error,
    },
    /// A list cannot be unpacked.
    #[error("unpacking {path}")]
    Packed {
        /// Where.
        path: String,
        /// What is wrong with it.
        #[source]
        source: UnpackError,
    },
    /// A list cannot be read.
    #[error("reading {path}")]
    List {
        /// Where.
        path: String,
        /// What is wrong with it.
        #[source]
        source: PackagesError,
    },
}

impl Fault for ArchiveError {
    fn kind(&self) -> Kind {
        match self {
            Self::Release { source, .. } => source.kind(),
            _ => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Release { source, .. } => source.hints(),
            _ => Vec::new(),
        }
    }
}

impl Archive {
    /// Nothing is known of a suite but who may sign its index, what time it is, and the newest date that was seen of it.
    pub fn new(suite: &str, keyring: Keyring, now: Epoch, seen: BTreeMap<String, Epoch>) -> Self {
        Self { suite: suite.to_owned(), keyring, now, seen, known: None }
    }

    /// Says what is expected at a path (`SUITE/dists/…`, as [`super::super::observe::asked`] gives it).
    ///
    /// # Errors
    /// When nothing signed names it.
    pub fn expects(&self, path: &str) -> Result<Expected, &'static str> {
        let inside = path.strip_prefix(&self.suite).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
        let of_suite = inside.strip_prefix("dists/").and_then(|rest| rest.strip_prefix(&self.suite)?.strip_prefix('/'));
        if of_suite == Some("InRelease") {
            return Ok(Expected::Index);
        }
        let known = self.known.as_ref().ok_or("the signed index, InRelease, comes first")?;
        let Some(file) = of_suite else {
            let found = known.packages.get(inside).ok_or("no list of packages that came names this")?;
            return Ok(Expected::File(found.0, Some(found.1.clone())));
        };
        let found = match file.split_once("/by-hash/SHA256/") {
            Some((folder, hex)) => known.release.files_of(folder).find(|(_, (digest, _))| digest.hex() == hex),
            None => known.release.file(file).map(|sum| (file, sum)),
        };
        found.map(|(_, sum)| Expected::File(sum, None)).ok_or("the signed index names no such file")
    }

    /// Takes what came for a path, whose digest is `found`, verifies it, and learns from it what may be asked for next. Gives by what it was
    /// found to be right.
    ///
    /// # Errors
    /// When it is not what was signed. Nothing was learned then.
    pub fn got(
        &mut self,
        path: &str,
        expected: &Expected,
        (found, body): (Digest, &mut dyn Read),
    ) -> Result<Verified, ArchiveError> {
        let mut read = || -> Result<Vec<u8>, ArchiveError> {
            let mut bytes = Vec::new();
            let done = body.take(expected.most().saturating_add(1)).read_to_end(&mut bytes);
            done.map_err(|source| ArchiveError::Unreadable { path: path.to_owned(), source })?;
            Ok(bytes)
        };
        match expected {
            Expected::Index => self.index(&read()?),
            Expected::File((digest, _), purl) => {
                if found != *digest {
                    return Err(ArchiveError::OtherBytes { path: path.to_owned(), found, expected: *digest });
                }
                if let (None, Some(list)) = (purl, self.list(path, digest)) {
                    self.learn(path, &list, read()?)?;
                }
                Ok(Verified::SignedDigest)
            }
        }
    }

    /// Gives the keys that signed the index, and its date; `None` while there is none.
    pub fn dated(&self) -> Option<(impl Iterator<Item = &str>, Epoch)> {
        let release = &self.known.as_ref()?.release;
        Some((release.signed_with.iter().map(|key| key.primary.as_str()), release.date))
    }

    fn index(&mut self, bytes: &[u8]) -> Result<Verified, ArchiveError> {
        let suite = || self.suite.clone();
        let refuse = |source| ArchiveError::Release { suite: suite(), source: Box::new(source) };
        let dates = Dates { now: self.now, seen: &self.seen };
        let release = verify_inrelease(bytes, &self.keyring, dates).map_err(refuse)?;
        if self.suite != release.suite && self.suite != release.codename {
            let found = format!("{} {}", release.suite, release.codename).trim().to_owned();
            return Err(ArchiveError::OtherSuite { suite: suite(), found });
        }
        let mut signed_by: Vec<String> = release.signed_with.iter().map(|key| key.fingerprint.clone()).collect();
        signed_by.sort();
        signed_by.dedup();
        let signature = IndexSignature { date: release.date, valid_until: release.valid_until, signed_by };
        self.known = Some(Known { release, packages: BTreeMap::new() });
        Ok(Verified::Signature(signature))
    }

    /// Says how a file is packed, where it is a list of packages, and what the index says of it unpacked, where it does.
    fn list(&self, path: &str, digest: &Digest) -> Option<List> {
        let release = &self.known.as_ref()?.release;
        let inside = path.strip_prefix(&format!("{0}/dists/{0}/", self.suite))?;
        let (folder, _) = inside.split_once("/by-hash/").or_else(|| inside.rsplit_once('/'))?;
        let names: Vec<&str> =
            release.files_of(folder).filter(|(_, sum)| sum.0 == *digest).map(|(name, _)| name).collect();
        let (_, compression) = FORMS.into_iter().find(|(name, _)| names.contains(name))?;
        Some(List { compression, plain: release.file(&format!("{folder}/Packages")) })
    }

    /// Reads a list of packages.
    fn learn(&mut self, path: &str, list: &List, bytes: Vec<u8>) -> Result<(), ArchiveError> {
        let Some(known) = &mut self.known else { return Ok(()) };
        let text = unpack(bytes, list.compression, list.plain, MAX_PACKAGES)
            .map_err(|source| ArchiveError::Packed { path: path.to_owned(), source })?;
        let index = Index::parse(text).map_err(|source| ArchiveError::List { path: path.to_owned(), source })?;
        for position in 0..u32::try_from(index.len()).unwrap_or(u32::MAX) {
            // One that cannot be read is not given.
            let Ok(package) = index.package(position) else { continue };
            let purl = place::of_package(package.name, &package.version.to_string(), package.architecture);
            known.packages.insert(package.filename.to_owned(), ((package.sha256, package.size), purl));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bulla_testkit::{Deb, DebianRepo, Release as Published, debian::Signing};

    use super::*;

    const INDEX: &str = "trixie/dists/trixie/InRelease";
    const LIST: &str = "trixie/dists/trixie/main/binary-amd64/Packages.xz";
    const DEB: &str = "trixie/pool/main/seal_1+b1_amd64.deb";
    const DAY: u64 = 24 * 3600;

    fn repository() -> DebianRepo {
        let mut repo = DebianRepo::new("trixie");
        repo.add(&Deb::new("seal", "2:1+b1"));
        let now = Published::default();
        repo.publish(&Published { valid_until: Some(now.date + 7 * DAY), ..now });
        repo
    }

    /// Gives a file of the repository, by the path that it has on the loopback.
    fn file(repo: &DebianRepo, path: &str) -> Vec<u8> {
        fs_err::read(repo.root().join(&path["trixie/".len()..])).expect("a file of the repository")
    }

    /// Gives an archive of which nothing is known, so many days after the index was made.
    fn archive(repo: &DebianRepo, days: i64, seen: &[(&str, u64)]) -> Archive {
        let keyring = Keyring::parse(repo.key().public().as_bytes()).expect("a key");
        let now = Published::default().date + 3600;
        let epoch = |seconds| Epoch::new(seconds).expect("a time");
        let seen = seen.iter().map(|(key, at)| ((*key).to_owned(), epoch(*at))).collect();
        Archive::new("trixie", keyring, epoch(now.saturating_add_signed(days * DAY.cast_signed())), seen)
    }

    fn got(archive: &mut Archive, path: &str, bytes: &[u8]) -> Result<Verified, String> {
        let expected = archive.expects(path)?;
        archive.got(path, &expected, (Digest::of(bytes), &mut &*bytes)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_signed_says_what_may_be_asked_for_next() {
        let repo = repository();
        let mut archive = archive(&repo, 0, &[]);
        for early in [LIST, DEB] {
            assert!(archive.expects(early).is_err(), "{early}");
        }
        assert!(archive.dated().is_none());
        let Ok(Verified::Signature(signature)) = got(&mut archive, INDEX, &file(&repo, INDEX)) else {
            panic!("the index is good")
        };
        assert_eq!(signature.signed_by, [repo.key().fingerprint().to_uppercase()]);
        assert!(signature.valid_until.is_some_and(|until| until > signature.date));
        assert!(archive.expects(DEB).is_err(), "no list names it yet");
        let list = file(&repo, LIST);
        let by_hash = format!("trixie/dists/trixie/main/binary-amd64/by-hash/SHA256/{}", Digest::of(&list).hex());
        assert_eq!(archive.expects(LIST), archive.expects(&by_hash));
        assert_eq!(got(&mut archive, &by_hash, &list), Ok(Verified::SignedDigest));
        let deb = file(&repo, DEB);
        let purl = Some("pkg:deb/debian/seal@2:1%2Bb1?arch=amd64".to_owned());
        assert_eq!(archive.expects(DEB), Ok(Expected::File((Digest::of(&deb), deb.len() as u64), purl)));
        assert_eq!(got(&mut archive, DEB, &deb), Ok(Verified::SignedDigest));
        for other in [
            "trixie/dists/trixie/Release",
            "trixie/dists/trixie/main/binary-arm64/Packages",
            "trixie/pool/main/other_1_amd64.deb",
            "trixie/main/binary-amd64/Packages",
            "bookworm/dists/bookworm/InRelease",
            "",
        ] {
            assert!(archive.expects(other).is_err(), "{other}");
        }
        assert_eq!(archive.dated().map(|(keys, date)| (keys.count(), date)), Some((1, signature.date)));
    }

    #[test]
    fn what_is_not_signed_is_refused_and_teaches_nothing() {
        let (repo, mut other) = (repository(), repository());
        let good = file(&repo, INDEX);
        let fingerprint = repo.key().fingerprint().to_uppercase();
        let later = Published::default().date + DAY;
        other.publish(&Published { signing: Signing::Changed, ..Published::default() });
        let refused = |repo: &DebianRepo, days: i64, seen: &[(&str, u64)], bytes: &[u8]| {
            let mut archive = archive(repo, days, seen);
            assert!(got(&mut archive, INDEX, bytes).is_err());
            assert!(archive.expects(LIST).is_err());
        };
        refused(&repo, 0, &[], &file(&other, INDEX));
        refused(&other, 0, &[], &file(&other, INDEX));
        refused(&repo, 0, &[], b"nothing");
        refused(&repo, 30, &[], &good);
        refused(&repo, -30, &[], &good);
        refused(&repo, 0, &[(&fingerprint, later)], &good);
        other.publish_empty("bookworm", &Published::default());
        refused(&other, 0, &[], &file(&other, "trixie/dists/bookworm/InRelease"));
        // The controls: of another key's date nothing follows.
        let mut archive = archive(&repo, 0, &[("F00", later)]);
        got(&mut archive, INDEX, &good).expect("the index is good");
        let told = got(&mut archive, LIST, b"evil").expect_err("another list");
        assert!(told.contains("what is signed says"), "{told}");
        assert!(archive.expects(DEB).is_err());
        got(&mut archive, LIST, &file(&repo, LIST)).expect("the list is good");
        assert!(got(&mut archive, DEB, b"evil").is_err());
        got(&mut archive, DEB, &file(&repo, DEB)).expect("the package is good");
    }
}
