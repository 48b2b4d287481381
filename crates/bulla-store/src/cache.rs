//! Caches of compilers: folders that a step reads and writes, and that the next run of the same step finds.
//!
//! `caches/HEX/` has `root/`, the folder; `seen`, what the step saw beside it; and `record`, sealed for this name, with what
//! the inodes beneath `root/` looked like when it was kept. A step never works on what is kept: [`Store::cache`] makes a
//! copy in scratch (by reflink where the file system can), and [`CacheCopy::keep`] puts the copy in the place of what was
//! there, by one rename. So a step that fails changes nothing, and two builds see each other's caches whole or not at all.
//! What does not look as the record says is removed, and is a miss; so removing a cache is always safe.

mod tidy;

use std::{io::Write as _, path::PathBuf, sync::Arc};

use bulla_model::{CleanPath, Digest, Epoch, Tree};
use rustix::io::Errno;

use crate::{
    dir::{self, Dir},
    error::{Error, Result},
    farm::{Record, check_row, copy},
    key::Domain,
    lock::{Lock, Name},
    parallel,
    store::{Inner, Scratch, Store, make_dir, make_file},
};

/// The most bytes that a record or manifest may have.
const MAX_RECORD: u64 = 1 << 30;

/// A copy of a cache that one step may change, which is removed when the value is dropped.
#[derive(Debug)]
pub struct CacheCopy {
    scratch: Scratch,
    key: Digest,
    inner: Arc<Inner>,
    seen: Option<Tree>,
}

impl Store {
    /// Gives a copy of a cache: of what was kept last under this key, else an empty folder.
    ///
    /// # Errors
    /// When the copy cannot be made.
    pub fn cache(&self, key: &Digest) -> Result<CacheCopy> {
        let inner = &self.0;
        let scratch = Scratch::new(inner, "cache")?;
        scratch.folder("root", 0o755)?;
        let mut made = CacheCopy { scratch, key: *key, inner: Arc::clone(inner), seen: None };
        let lock = Lock::shared(&inner.root, Name::Caches)?;
        match inner.kept_cache(key)? {
            Kept::Nothing => {}
            Kept::Good(from, record, seen) => {
                made.fill(&from, &record)?;
                made.seen = Some(seen);
                inner.touch(&inner.caches, &key.hex());
            }
            Kept::Damaged => {
                drop(lock);
                let _lock = Lock::exclusive(&inner.root, Name::Caches)?;
                inner.warn(format!("a cache was changed in the store ({key}) and was removed"));
                inner.expel(&inner.caches, &key.hex())?;
            }
        }
        Ok(made)
    }
}

impl CacheCopy {
    /// Gives the absolute path of the folder.
    pub fn path(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    /// Gives what the step that left the cache saw beside it; `None` when there was none, and the folder is empty.
    pub fn seen(&self) -> Option<&Tree> {
        self.seen.as_ref()
    }

    /// Keeps the folder as it is now in the place of what was kept, with all times set to one. Sockets and the like are removed.
    /// All that could change it must have ended. Gives the size in bytes; what is larger than `most` is not kept, and neither is
    /// what was kept before.
    ///
    /// # Errors
    /// When the folder cannot be read or put in its place.
    pub fn keep(self, seen: &Tree, time: Epoch, most: u64) -> Result<u64> {
        let inner = &self.inner;
        let own = inner.scratch.sub(self.scratch.name())?;
        let (rows, bytes) = tidy::tidy(&own.sub("root")?, time)?;
        let put = |name: &str, content: &[u8]| {
            let fail = |e: std::io::Error| {
                Error::io("writing", own.path().join(name), Errno::from_io_error(&e).unwrap_or(Errno::IO))
            };
            let mut file = make_file(&own, name, 0o600, inner.owner).map_err(|e| fail(e.into()))?;
            file.write_all(content).map_err(fail)
        };
        let record = Record { parts: vec![seen.digest()], rows };
        put("seen", seen.encode().as_bytes())?;
        put("record", &inner.key.seal(Domain::Cache, &self.key, &record.encode()))?;
        let _lock = Lock::exclusive(&inner.root, Name::Caches)?;
        let hex = self.key.hex();
        inner.expel(&inner.caches, &hex)?;
        if bytes <= most {
            inner.place(self.scratch.name(), &inner.caches, &hex)?;
            inner.touch(&inner.caches, &hex);
        }
        Ok(bytes)
    }

    fn fill(&self, from: &Dir, record: &Record) -> Result<()> {
        let inner = &self.inner;
        let to = inner.scratch.sub(self.scratch.name())?.sub("root")?;
        let failed = |path: &CleanPath, errno| Error::io("copying", to.path().join(path), errno);
        let (mut directories, mut others) = (Vec::new(), Vec::new());
        for path in record.rows.iter().filter_map(|row| row.path.as_ref()) {
            let stat = dir::stat_at(from, path).map_err(|e| failed(path, e))?;
            if dir::kind_of(&stat).is_dir() {
                make_dir(&to, path, 0o700, inner.owner).map_err(|e| failed(path, e))?;
                directories.push(path);
            } else {
                others.push(path);
            }
        }
        parallel::map(&others, |path| copy::copy(inner, from, &to, path).map_err(|e| failed(path, e)))?;
        for path in directories.into_iter().rev() {
            copy::finish_directory(from, &to, path).map_err(|e| failed(path, e))?;
        }
        Ok(())
    }
}

/// What is kept under a key.
pub(crate) enum Kept {
    Nothing,
    /// The folder, its record, and what its step saw.
    Good(Dir, Record, Tree),
    Damaged,
}

impl Inner {
    /// Looks at a cache, each entry once. The caller holds the lock.
    pub(crate) fn kept_cache(&self, key: &Digest) -> Result<Kept> {
        let hex = key.hex();
        match dir::stat_at(&self.caches, &hex) {
            Err(Errno::NOENT) => return Ok(Kept::Nothing),
            Err(error) => return Err(Error::io("examining", self.caches.path().join(hex), error)),
            Ok(_) => {}
        }
        let read = || {
            let own = self.caches.sub(&hex).ok()?;
            let record = self.cache_record(key)?;
            let text = String::from_utf8(own.read_all("seen", MAX_RECORD).ok()??).ok()?;
            let seen = Tree::decode(&text).ok().filter(|seen| record.parts.first() == Some(&seen.digest()))?;
            Some((own.sub("root").ok()?, record, seen))
        };
        let Some((root, record, seen)) = read() else { return Ok(Kept::Damaged) };
        if record.is_of_another_mount(&root) {
            return Ok(Kept::Nothing);
        }
        match parallel::map(&record.rows, |row| check_row(&root, row)) {
            Ok(_) => Ok(Kept::Good(root, record, seen)),
            Err(Some(error)) => Err(error),
            Err(None) => Ok(Kept::Damaged),
        }
    }

    fn cache_record(&self, key: &Digest) -> Option<Record> {
        let bytes = self.caches.sub(key.hex()).ok()?.read_all("record", MAX_RECORD).ok()??;
        Record::decode(self.key.unseal(Domain::Cache, key, &bytes)?)
    }

    /// Adds up what a cache takes, in bytes, as its record has it.
    pub(crate) fn cache_bytes(&self, key: &Digest) -> u64 {
        let rows = self.cache_record(key).map(|record| record.rows).unwrap_or_default();
        rows.iter().map(|row| row.stamp.size.div_ceil(4096).saturating_mul(4096)).sum()
    }
}
