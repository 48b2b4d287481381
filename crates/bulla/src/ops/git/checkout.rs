//! The files of a commit, with those of its submodules, as one archive in the store.

use std::{collections::BTreeMap, io};

use bulla_ecosystems::git::{Commit, GitError, Pack, files::Checkout, modules};
use bulla_model::{CleanPath, Digest, GitId, GitRevision, lock::ModulePin};

use super::{Git, Taken, read_commit, remote::Remote};
use crate::error::Result;

/// The most submodules of one source, those of submodules among them.
const MAX_MODULES: usize = 200;

/// Which submodules are checked out.
pub(super) enum Modules<'a> {
    /// None.
    None,
    /// All, where the repository says that they are.
    Found,
    /// Those of the lock.
    Pinned(&'a BTreeMap<CleanPath, ModulePin>),
}

/// The files of a source, and where in them each repository begins.
pub(super) struct Grown {
    pub(super) files: Checkout,
    /// The paths of the repositories, with their URLs; the source's own has none.
    pub(super) roots: Vec<(Option<CleanPath>, String)>,
    modules: BTreeMap<CleanPath, ModulePin>,
}

impl Grown {
    /// Gives the repository that a path is in: the innermost.
    pub(super) fn root_of(&self, path: &CleanPath) -> Option<&(Option<CleanPath>, String)> {
        let holds = |root: &Option<CleanPath>| root.as_ref().is_none_or(|root| path != root && path.starts_with(root));
        let length = |root: &Option<CleanPath>| root.as_ref().map_or(0, |root| root.as_bytes().len());
        self.roots.iter().filter(|(root, _)| holds(root)).max_by_key(|(root, _)| length(root))
    }
}

impl Git<'_> {
    /// Gives the files of a commit, and the submodules among them.
    pub(super) fn check_out(
        &self,
        taken: &Taken<'_>,
        pack: Pack,
        commit: &Commit,
        modules: &Modules<'_>,
        lfs: bool,
        progress: &dyn Fn(u64),
    ) -> Result<(Checkout, BTreeMap<CleanPath, ModulePin>)> {
        let mut files = Checkout::new();
        files.add(pack, &commit.tree, None).map_err(|error| taken.failed(error))?;
        let roots = vec![(None, taken.url.to_owned())];
        let mut grown = Grown { files, roots, modules: BTreeMap::new() };
        match modules {
            Modules::None => self.warn_of(taken, "submodules, which are left empty", grown.files.submodules().keys()),
            _ => self.add_modules(taken, &mut grown, modules, progress)?,
        }
        match lfs {
            false => {
                let what = "pointers of Git LFS, which stay in place of the files that they stand for";
                self.warn_of(taken, what, grown.files.pointers().keys());
            }
            true => self.add_large(taken, &mut grown, progress)?,
        }
        Ok((grown.files, grown.modules))
    }

    fn warn_of<'p>(&self, taken: &Taken<'_>, what: &str, paths: impl ExactSizeIterator<Item = &'p CleanPath>) {
        let count = paths.len();
        for first in paths.take(1) {
            self.session.warn(&format!("{} has {count} {what}, the first is {first}", taken.what.replace('`', "")));
        }
    }

    fn add_modules(
        &self,
        taken: &Taken<'_>,
        grown: &mut Grown,
        modules: &Modules<'_>,
        progress: &dyn Fn(u64),
    ) -> Result<()> {
        while let Some((path, commit)) = grown.files.submodules().iter().next() {
            let (path, commit) = (path.clone(), *commit);
            if grown.modules.len() >= MAX_MODULES {
                let limit = MAX_MODULES as u64;
                return Err(taken.failed(GitError::TooLarge { what: "more submodules", limit }).into());
            }
            let url = match modules {
                Modules::Pinned(pins) => pinned(pins, &path, &commit),
                _ => found(grown, &path),
            };
            let url = url.map_err(|error| taken.failed(error))?;
            let module = Taken { what: taken.what, url: &url };
            let mut remote = Remote::open(self, &module, &url)?;
            let wanted = remote.wanted(&commit, &GitRevision::Commit(commit));
            let pack = self.pack(&module, &mut remote, &wanted, progress)?;
            let tree = read_commit(&pack, &commit).map_err(|error| module.failed(error))?.tree;
            grown.files.add(pack, &tree, Some(&path)).map_err(|error| module.failed(error))?;
            grown.roots.push((Some(path.clone()), url.clone()));
            grown.modules.insert(path, ModulePin { url, commit });
        }
        Ok(())
    }

    /// Writes the archive into the store, and gives its digest and size.
    pub(super) fn keep(&self, files: &Checkout, expected: Option<&Digest>) -> Result<(Digest, u64)> {
        let mut writer = Counted { inner: self.store.blob_writer()?, size: 0 };
        let mut large = |digest: &Digest| -> io::Result<Box<dyn io::Read>> {
            let file = self.store.open_blob(digest).map_err(io::Error::other)?;
            Ok(Box::new(file.ok_or(io::ErrorKind::NotFound)?))
        };
        files.write(&mut writer, &mut large)?;
        Ok((writer.inner.finish(expected)?, writer.size))
    }
}

/// Gives the address of a submodule as the lock has it.
fn pinned(pins: &BTreeMap<CleanPath, ModulePin>, path: &CleanPath, commit: &GitId) -> Result<String, GitError> {
    let pin = pins.get(path).filter(|pin| pin.commit == *commit);
    let problem = || format!("is to have the commit {commit}, and the lock does not say so");
    pin.map(|pin| pin.url.clone()).ok_or_else(|| GitError::Module { path: path.to_string(), problem: problem() })
}

/// Gives the address of a submodule as the repository that it is in has it.
fn found(grown: &Grown, path: &CleanPath) -> Result<String, GitError> {
    let fail = |problem: &str| GitError::Module { path: path.to_string(), problem: problem.to_owned() };
    let (root, parent) = grown.root_of(path).ok_or_else(|| fail("is in no repository"))?;
    let list = CleanPath::parse(".gitmodules").expect("a name");
    let list = root.as_ref().map_or_else(|| Ok(list.clone()), |root| root.join(&list));
    let list = list.map_err(|_| fail("lies too deep"))?;
    let written = grown.files.read(&list)?.map(|bytes| modules::parse(&bytes)).transpose()?.unwrap_or_default();
    let within = root.as_ref().map_or_else(|| Some(path.clone()), |root| path.strip_prefix(root));
    let url = within.and_then(|within| written.get(&within).cloned());
    let url = url.ok_or_else(|| fail("has no address in `.gitmodules`"))?;
    modules::address(parent, path, &url)
}

/// Counts what is written.
struct Counted<W> {
    inner: W,
    size: u64,
}

impl<W: io::Write> io::Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
