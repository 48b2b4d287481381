//! A git checkout: its files, its commit, and whether it is dirty, without running git or anything that it names.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use bulla_model::CleanPath;
use bulla_store::FileLook;
use gix::{
    bstr::{BStr, BString, ByteSlice as _},
    dir::entry::Status,
    filter::plumbing::pipeline::convert::ToGitOutcome,
    index::{
        Entry,
        entry::{Flags, Mode, Stage},
    },
};

use super::{OUTPUT_FOLDER, SourceError, origin};

/// The most files that are read to find out whether they differ; where more look otherwise, all are compared.
const MOST_READ: usize = 256;

/// Gives the branch that is checked out in the git checkout around a project; `None` where there is none that is believed, or no
/// branch.
pub fn branch_of(folder: &Path) -> Option<String> {
    let folder = fs_err::canonicalize(folder).ok()?;
    let top = super::believed_top(&folder, &folder).ok()??;
    let head = open_repository(&top).ok()?.head_name().ok()??;
    head.as_bstr().strip_prefix(b"refs/heads/")?.to_str().ok().map(str::to_owned)
}

/// An open git checkout that a source lies in.
#[derive(Debug)]
pub struct Checkout {
    top: PathBuf,
    repo: gix::Repository,
    index: gix::worktree::Index,
    /// Where the source lies in it; empty where it is the whole.
    prefix: Vec<u8>,
    /// Whether the source has files that git does not track.
    untracked: bool,
}

/// The state of a git checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckoutState {
    /// The commit that is checked out, in hexadecimal; `None` before the first one.
    pub commit: Option<String>,
    /// Whether files differ from that commit, or are untracked.
    pub dirty: bool,
    /// The repository that it was cloned from, as its own settings say, without a login; `None` where that is a folder.
    pub origin: Option<String>,
    /// The folder of the source in it; empty where that is the whole.
    pub folder: String,
}

impl Checkout {
    /// Opens a checkout, and lists what is tracked, or untracked and not ignored, below a folder of it.
    pub(super) fn open(name: &str, top: &Path, folder: &Path) -> Result<(Self, Vec<CleanPath>), SourceError> {
        let git = |source: Box<dyn std::error::Error + Send + Sync>| failed(top, source);
        let repo = open_repository(top).map_err(|e| git(e.into()))?;
        let index = repo.index_or_empty().map_err(|e| git(e.into()))?;
        let prefix = folder.strip_prefix(top).unwrap_or(Path::new(""));
        let prefix = std::os::unix::ffi::OsStrExt::as_bytes(prefix.as_os_str()).to_vec();
        let mut checkout = Self { top: top.to_owned(), repo, index, prefix, untracked: false };
        let files = checkout.walk(name)?;
        Ok((checkout, files))
    }

    fn walk(&mut self, name: &str) -> Result<Vec<CleanPath>, SourceError> {
        let git = |source: Box<dyn std::error::Error + Send + Sync>| failed(&self.top, source);
        let options = self
            .repo
            .dirwalk_options()
            .map_err(|e| git(e.into()))?
            .emit_tracked(true)
            .emit_untracked(gix::dir::walk::EmissionMode::Matching)
            .emit_ignored(None)
            .recurse_repositories(true);
        let prefix = self.prefix.as_slice();
        let pattern: Vec<BString> =
            if prefix.is_empty() { Vec::new() } else { vec![[b":(top,literal)", prefix].concat().into()] };
        let index = gix::worktree::IndexPersistedOrInMemory::Persisted(self.index.clone());
        let walk = self.repo.dirwalk_iter(index, pattern, Default::default(), options).map_err(|e| git(e.into()))?;
        let (mut files, mut untracked) = (Vec::new(), false);
        for item in walk {
            let entry = item.map_err(|e| git(e.into()))?.entry;
            let Some(rest) = beneath(prefix, entry.rela_path.as_bstr()) else { continue };
            untracked |= entry.status == Status::Untracked && !is_output(rest);
            let is_folder = matches!(entry.disk_kind, Some(kind) if kind.is_dir());
            if !is_folder && entry.disk_kind.is_some() {
                files.push(CleanPath::parse(rest).map_err(|source| SourceError::Path { name: name.into(), source })?);
            }
        }
        self.untracked = untracked;
        Ok(files)
    }

    /// Says what is checked out, and whether anything differs from it.
    ///
    /// `looks` is what files of the source looked like a moment ago, relative to its folder; what is not among them is
    /// examined here.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub fn state<'a>(
        &self,
        looks: impl IntoIterator<Item = (&'a CleanPath, FileLook)>,
    ) -> Result<CheckoutState, SourceError> {
        let commit = self.repo.head_id().ok();
        let dirty = match self.untracked {
            true => true,
            false => match self.compare(looks)? {
                Some(dirty) => dirty,
                // The whole comparison does not know folders that are one entry. What is not found out is taken for changed.
                None if self.index.is_sparse() => true,
                None => self.repo.is_dirty().map_err(|e| failed(&self.top, e.into()))?,
            },
        };
        let origin = self.repo.config_snapshot().string("remote.origin.url");
        let origin = origin.and_then(|url| origin::shown(url.to_str().ok()?));
        let folder = String::from_utf8_lossy(&self.prefix).into_owned();
        Ok(CheckoutState { commit: commit.map(|id| id.to_string()), dirty, origin, folder })
    }

    /// Says whether anything differs, where that takes little: the index has the very tree of the commit, and only files that
    /// look otherwise than the index has them are read. `None` where it takes more.
    fn compare<'a>(
        &self,
        looks: impl IntoIterator<Item = (&'a CleanPath, FileLook)>,
    ) -> Result<Option<bool>, SourceError> {
        let head = self.repo.head_tree_id().ok().map(gix::Id::detach);
        let entries = self.index.entries();
        let sparse = self.index.is_sparse();
        // The index notes the tree that it was made from, and forgets it when something is staged.
        let whole = |tree: &gix::index::extension::Tree| tree.num_entries == u32::try_from(entries.len()).ok();
        let same_tree = match head {
            Some(head) if sparse => {
                super::changes::is_tree(&self.repo, &self.index, head).map_err(|e| failed(&self.top, e))?
            }
            head => self.index.tree().is_some_and(|tree| Some(tree.id) == head && whole(tree)),
        };
        if !same_tree || entries.iter().any(|entry| is_odd(entry) && !(sparse && self.is_left_out(entry))) {
            return Ok(None);
        }
        let most = if sparse { usize::MAX } else { MOST_READ };
        let mut looks: Vec<(&[u8], FileLook)> = looks.into_iter().map(|(path, look)| (path.as_bytes(), look)).collect();
        // As the index orders its entries; paths of a tree have nearly the same order.
        looks.sort_by_key(|(path, _)| *path);
        let mut looks = looks.into_iter().peekable();
        let mut known = |path: &[u8]| {
            while looks.next_if(|(other, _)| *other < path).is_some() {}
            looks.next_if(|(other, _)| *other == path).map(|(_, look)| look)
        };
        let written = self.index.timestamp();
        let written = (written.unix_seconds(), written.nanoseconds());
        let mut unsure = Vec::new();
        for entry in entries.iter().filter(|entry| !is_odd(entry)) {
            let path = entry.path(&self.index);
            let look = beneath(&self.prefix, path).and_then(&mut known).or_else(|| self.examine(path));
            if !look.is_some_and(|look| is_as_staged(entry, &look, written)) {
                unsure.push(entry);
                if unsure.len() > most {
                    return Ok(None);
                }
            }
        }
        self.differ(&unsure)
    }

    /// Says whether one of the files is not what its entry is; `None` where that is left to a whole comparison.
    fn differ(&self, entries: &[&Entry]) -> Result<Option<bool>, SourceError> {
        let git = |source: Box<dyn std::error::Error + Send + Sync>| failed(&self.top, source);
        if entries.is_empty() {
            return Ok(Some(false));
        }
        // Line ends and such are as the repository has them; programs that a stranger's checkout names are not run.
        let (mut pipeline, index) = self.repo.filter_pipeline(None).map_err(|e| git(e.into()))?;
        for entry in entries {
            let Ok(relative) = entry.path(&self.index).to_path() else { return Ok(None) };
            let path = self.top.join(relative);
            let Ok(metadata) = path.symlink_metadata() else { return Ok(Some(true)) };
            let kind = self.repo.object_hash();
            let blob = |bytes: &[u8]| gix::objs::compute_hash(kind, gix::objs::Kind::Blob, bytes);
            let id = match entry.mode {
                Mode::SYMLINK if metadata.is_symlink() => {
                    blob(fs_err::read_link(&path)?.as_os_str().as_encoded_bytes())
                }
                Mode::FILE | Mode::FILE_EXECUTABLE if metadata.is_file() => {
                    if (metadata.mode() & 0o100 != 0) != (entry.mode == Mode::FILE_EXECUTABLE) {
                        return Ok(None);
                    }
                    let file = fs_err::File::open(&path)?;
                    match pipeline.convert_to_git(file, relative, &index).map_err(|e| git(e.into()))? {
                        // However large it is.
                        ToGitOutcome::Unchanged(mut file) => gix::objs::compute_stream_hash(
                            kind,
                            gix::objs::Kind::Blob,
                            &mut file,
                            metadata.len(),
                            &mut gix::progress::Discard,
                            &AtomicBool::new(false),
                        ),
                        ToGitOutcome::Buffer(bytes) => blob(bytes),
                        ToGitOutcome::Process(_) => return Ok(None),
                    }
                }
                _ => return Ok(Some(true)),
            };
            if id.map_err(|e| git(e.into()))? != entry.id {
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }

    /// Says whether an entry of a sparse checkout is a file or a whole folder that was left out, and is not there.
    fn is_left_out(&self, entry: &Entry) -> bool {
        let left = entry.mode == Mode::DIR || entry.flags.contains(Flags::SKIP_WORKTREE);
        let gone = |path: &Path| fs_err::symlink_metadata(self.top.join(path)).is_err();
        left && entry.stage() == Stage::Unconflicted && entry.path(&self.index).to_path().is_ok_and(gone)
    }

    fn examine(&self, path: &BStr) -> Option<FileLook> {
        let metadata = self.top.join(path.to_path().ok()?).symlink_metadata().ok()?;
        let ns = |ns: i64| u32::try_from(ns).unwrap_or(0);
        Some(FileLook {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mtime: (metadata.mtime(), ns(metadata.mtime_nsec())),
            ctime: (metadata.ctime(), ns(metadata.ctime_nsec())),
        })
    }
}

/// Opens a repository, which may be a stranger's: no configuration but its own is read, and nothing that it names is executed.
pub(super) fn open_repository(top: &Path) -> gix::Result<gix::Repository> {
    let options = gix::open::Options::isolated().with(gix::sec::Trust::Reduced).open_path_as_is(false);
    // As git does, the index is believed without its checksum, which says nothing against who can write it.
    let options = options.config_overrides(["index.skipHash=true"]);
    gix::open_opts(top, options)
}

/// Says whether an entry of the index is more than a file or link as it is in the commit.
fn is_odd(entry: &Entry) -> bool {
    let plain = matches!(entry.mode, Mode::FILE | Mode::FILE_EXECUTABLE | Mode::SYMLINK);
    let odd = Flags::ASSUME_VALID | Flags::SKIP_WORKTREE | Flags::INTENT_TO_ADD;
    !plain || entry.stage() != Stage::Unconflicted || entry.flags.intersects(odd)
}

/// Says whether a file looks as it did when it was staged, and was not written in the moment in which the index was (git's
/// documentation, `racy-git`).
fn is_as_staged(entry: &Entry, look: &FileLook, written: (i64, u32)) -> bool {
    // The index keeps 32 bits of each number; times of change tell of any other edit.
    let low = |number: u64| (number & u64::from(u32::MAX)) as u32;
    let time = |(seconds, ns): (i64, u32)| (low(seconds.cast_unsigned()), ns);
    let stat = &entry.stat;
    stat.size == low(look.size)
        && stat.ino == low(look.inode)
        && (stat.mtime.secs, stat.mtime.nsecs) == time(look.mtime)
        && (stat.ctime.secs, stat.ctime.nsecs) == time(look.ctime)
        && look.mtime < written
}

/// Gives what is left of a path below a folder; all of it where the folder is the top.
fn beneath<'a>(prefix: &[u8], path: &'a BStr) -> Option<&'a [u8]> {
    if prefix.is_empty() {
        return Some(path);
    }
    path.strip_prefix(prefix)?.strip_prefix(b"/")
}

fn is_output(path: &[u8]) -> bool {
    path.split(|b| *b == b'/').next() == Some(OUTPUT_FOLDER.as_bytes())
}

fn failed(top: &Path, source: Box<dyn std::error::Error + Send + Sync>) -> SourceError {
    SourceError::Git { path: top.display().to_string(), source }
}
