//! Signed Debian repositories, of packages made for a test or of real ones.

mod deb;
mod key;
mod publish;
mod real;
mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use bulla_model::Digest;

pub use deb::{Compression, Deb};
pub use key::TestKey;
pub use publish::{Release, Signing};
pub use real::{closure, codename, file_of, machine_architecture, real_debs, real_debs_of_two};
pub use source::real_source;

/// The file of the public key.
const KEYRING: &str = "test-key.asc";

/// A repository in a folder, to be served by a [`crate::Mirror`].
#[derive(Debug)]
pub struct DebianRepo {
    root: PathBuf,
    _temporary: Option<tempfile::TempDir>,
    suite: String,
    component: String,
    architecture: String,
    /// Further architectures, with lists of their own.
    foreign: BTreeSet<String>,
    key: TestKey,
    stanzas: BTreeMap<String, String>,
    sources: BTreeMap<String, String>,
}

impl DebianRepo {
    /// Makes an empty repository in a temporary folder, for a suite (`trixie`) and component `main` of `amd64`.
    pub fn new(suite: &str) -> Self {
        let temporary = tempfile::Builder::new().prefix("bulla-repo-").tempdir().expect("a temporary folder");
        let root = temporary.path().to_owned();
        crate::process::make_readable(&root);
        Self { _temporary: Some(temporary), ..Self::at(&root, suite) }
    }

    /// Makes an empty repository in a folder that stays.
    pub fn at(root: &Path, suite: &str) -> Self {
        fs_err::create_dir_all(root).expect("the folder of the repository");
        let key = TestKey::new();
        // Once: others may read it at any time.
        fs_err::write(root.join(KEYRING), key.public()).expect("writing the public key");
        Self {
            root: root.to_owned(),
            _temporary: None,
            suite: suite.to_owned(),
            component: "main".to_owned(),
            architecture: "amd64".to_owned(),
            foreign: BTreeSet::new(),
            key,
            stanzas: BTreeMap::new(),
            sources: BTreeMap::new(),
        }
    }

    /// Makes a published repository of real packages of this machine's own release: those that are named, all that they
    /// need, and the essential ones; its suites for updates and security are empty. The packages are downloaded by apt, once,
    /// into the cache. `None`, after it was said why, where there is no apt or no network.
    pub fn real(packages: &[&str]) -> Option<Self> {
        let suite = real::codename()?;
        let mut repo = Self::new(&suite);
        repo.architecture = real::machine_architecture()?;
        repo.add_real(packages)?;
        repo.publish_release(&Release::default());
        Some(repo)
    }

    /// Gives the repository lists of a further architecture.
    pub fn add_architecture(&mut self, architecture: &str) -> &mut Self {
        self.foreign.insert(architecture.to_owned());
        self
    }

    /// Makes a published repository of real packages as [`DebianRepo::real`] does, of the machine's architecture and of another.
    pub fn real_of_two(own: &[&str], architecture: &str, foreign: &[&str], essential: bool) -> Option<Self> {
        let mut repo = Self::new(&real::codename()?);
        repo.architecture = real::machine_architecture()?;
        real::real_debs_of_two(own, architecture, foreign, essential)?.iter().for_each(|deb| repo.add_file(deb));
        repo.add_architecture(architecture).publish_release(&Release::default());
        Some(repo)
    }

    /// Adds real packages, as [`DebianRepo::real`] does; the repository is not published anew.
    pub fn add_real(&mut self, packages: &[&str]) -> Option<()> {
        real::real_debs(packages)?.iter().for_each(|deb| self.add_file(deb));
        Some(())
    }

    /// Adds a source package made for a test, of files whose names begin as its own; its description is written for it.
    pub fn add_source(&mut self, name: &str, version: &str, format: &str, files: &[(&str, Vec<u8>)]) -> &mut Self {
        let sum = |name: &str, bytes: &[u8]| format!(" {} {} {name}\n", Digest::of(bytes).hex(), bytes.len());
        let sums: String = files.iter().map(|(name, bytes)| sum(name, bytes)).collect();
        let text = format!("Format: {format}\nSource: {name}\nVersion: {version}\nChecksums-Sha256:\n{sums}");
        let description = format!("{name}_{version}.dsc");
        let all: Vec<(String, Vec<u8>)> = (files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())))
            .chain([(description, text.into_bytes())])
            .collect();
        self.index_source(name, version, &all)
    }

    /// Adds a real source package of this machine's own release, downloaded by apt, once, into the cache. `None`, after it was
    /// said why, where there is no apt or no network. The repository is not published anew.
    pub fn add_real_source(&mut self, package: &str) -> Option<()> {
        let (version, files) = source::real_source_files(package)?;
        self.index_source(package, &version, &files);
        Some(())
    }

    fn index_source(&mut self, name: &str, version: &str, files: &[(String, Vec<u8>)]) -> &mut Self {
        let directory = format!("pool/main/source-{name}");
        let mut sums = String::new();
        for (file, bytes) in files {
            let path = self.root.join(&directory).join(file);
            fs_err::create_dir_all(path.parent().expect("a pool")).expect("making the pool");
            fs_err::write(&path, bytes).expect("writing a file of a source package");
            sums.push_str(&format!(" {} {} {file}\n", Digest::of(bytes).hex(), bytes.len()));
        }
        let stanza = format!("Package: {name}\nVersion: {version}\nDirectory: {directory}\nChecksums-Sha256:\n{sums}");
        self.sources.insert(format!("{name} {version}"), stanza);
        self
    }

    /// Gives the folder to serve.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Gives the suite.
    pub fn suite(&self) -> &str {
        &self.suite
    }

    /// Gives the architecture.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Gives the key that signs.
    pub fn key(&self) -> &TestKey {
        &self.key
    }

    /// Gives the file of the public key, which lies beside the suites.
    pub fn keyring(&self) -> PathBuf {
        self.root.join(KEYRING)
    }

    /// Adds a package made for a test.
    pub fn add(&mut self, deb: &Deb) -> &mut Self {
        let bytes = deb.build();
        self.add_bytes(&deb.file_name(), &deb.control(), &bytes)
    }

    /// Adds any bytes as a package: the index says what `control` says, then size and digest of the bytes.
    pub fn add_bytes(&mut self, file_name: &str, control: &str, bytes: &[u8]) -> &mut Self {
        let path = format!("pool/main/{file_name}");
        let file = self.root.join(&path);
        fs_err::create_dir_all(file.parent().expect("a pool")).expect("making the pool");
        fs_err::write(&file, bytes).expect("writing a package");
        self.index(control, &path, bytes.len() as u64, Digest::of(bytes))
    }

    /// Adds a real package by its file, which is linked, not copied, where it can be.
    fn add_file(&mut self, deb: &Path) {
        let name = deb.file_name().and_then(|name| name.to_str()).expect("a package's file name");
        // As in Debian's own pool, the name has no epoch, which apt writes into its cache as `1%3a`.
        let plain = match name.split_once("%3a") {
            Some((before, after)) => {
                format!("{}_{after}", before.rsplit_once('_').map_or(before, |(package, _)| package))
            }
            None => name.to_owned(),
        };
        let path = format!("pool/main/{plain}");
        let file = self.root.join(&path);
        fs_err::create_dir_all(file.parent().expect("a pool")).expect("making the pool");
        if !file.exists() && fs_err::hard_link(deb, &file).is_err() {
            fs_err::copy(deb, &file).expect("copying a package");
        }
        let bytes = fs_err::read(deb).expect("reading a package");
        let control = real::control_of(deb);
        self.index(&control, &path, bytes.len() as u64, Digest::of(&bytes));
    }

    fn index(&mut self, control: &str, path: &str, size: u64, digest: Digest) -> &mut Self {
        let control = control.trim_end();
        let stanza = format!("{control}\nFilename: {path}\nSize: {size}\nSHA256: {}\n", digest.hex());
        self.stanzas.insert(path.to_owned(), stanza);
        self
    }

    /// Changes the index after the fact: in every stanza that a closure picks by its text.
    pub fn edit_stanzas(&mut self, edit: impl Fn(&str) -> Option<String>) -> &mut Self {
        self.stanzas.values_mut().for_each(|stanza| {
            if let Some(other) = edit(stanza) {
                *stanza = other;
            }
        });
        self
    }
}
