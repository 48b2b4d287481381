//! Views: some files of a source as a directory, to be a lower of an overlay.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bulla_model::{CleanPath, Digest, Tree, tree::Node};

use crate::{
    dir,
    error::{Error, Result},
    farm::{
        Check, Record,
        plant::{self, Job, Plan},
    },
    lease::Item,
    lock::{Lock, Name},
    parallel,
    source::{Source, SourceCache, object_key, table::Objects},
    stamp::Stamp,
    tree::physical_directory,
};

/// Some files of a source, as a directory in the store.
#[derive(Debug, Clone)]
pub struct SourceView {
    path: PathBuf,
    digest: Digest,
    manifest: Arc<Tree>,
}

impl SourceView {
    /// Gives the absolute path of the directory; the prefix is a path in it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the manifest, with the prefix.
    pub fn manifest(&self) -> &Arc<Tree> {
        &self.manifest
    }

    /// Gives the digest of the manifest.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// A file of a view: where it goes, its object, and the digest of its bytes.
struct Chosen {
    to: CleanPath,
    name: PathBuf,
    key: Digest,
    content: Digest,
}

impl SourceCache {
    /// Gives the manifest that a view has: the files that the filter keeps, with the directories above them, below the prefix.
    /// Directories are kept when something in them is, or when the filter keeps them.
    ///
    /// # Errors
    /// When the manifest cannot be read, or a path becomes too long.
    pub fn view_manifest(
        &self,
        source: &Source,
        filter: &dyn Fn(&CleanPath) -> bool,
        prefix: &CleanPath,
    ) -> Result<Tree> {
        let manifest = source.manifest()?;
        let kept = manifest.iter().filter(|(path, _)| filter(path));
        let mut tree: Tree = kept.map(|(path, node)| (path.clone(), node.clone())).collect();
        tree.complete();
        Ok(tree.beneath_prefix(prefix)?)
    }

    /// Reads one regular file of a source, verified; `None` where it has none at that path.
    ///
    /// # Errors
    /// When it is longer than `limit` bytes, is needed again and has changed, or cannot be read.
    pub fn content(&self, source: &Source, path: &CleanPath, limit: u64) -> Result<Option<Vec<u8>>> {
        let manifest = source.manifest()?;
        let Some(Node::File { mode, digest, .. }) = manifest.get(path) else { return Ok(None) };
        let name = object_key(path, mode.is_executable(), digest).hex();
        let too_long = || {
            let error =
                std::io::Error::new(std::io::ErrorKind::FileTooLarge, format!("it has more than {limit} bytes"));
            Error::io("reading", path.to_string(), error)
        };
        let read = |limit: u64| -> Result<Option<Vec<u8>>> {
            let Ok(Some(object)) = self.objects.read(&name) else { return Ok(None) };
            let mut bytes = Vec::new();
            let read = std::io::Read::read_to_end(&mut std::io::Read::take(object, limit + 1), &mut bytes);
            read.map_err(|e| Error::io("reading", self.objects.path().join(&name), e))?;
            Ok(Some(bytes))
        };
        for again in [false, true] {
            if again {
                // It is not what it was. The source is read again, if it still is what it was.
                self.inner.expel(&self.objects, &name)?;
                self.forget()?;
                let paths: Vec<CleanPath> = manifest.iter().map(|(path, _)| path.clone()).collect();
                if self.ingest(&source.folder, &paths)?.digest() != source.digest() {
                    break;
                }
            }
            match read(limit)? {
                Some(bytes) if bytes.len() as u64 > limit => return Err(too_long()),
                Some(bytes) if Digest::of(&bytes) == *digest => return Ok(Some(bytes)),
                _ => {}
            }
        }
        Err(Error::SourceChanged { dir: source.folder.clone(), path: path.clone() })
    }

    /// Gives a view as a directory: the one that is there when it verifies, else a new one.
    ///
    /// # Errors
    /// When the source is needed again and has changed, or a system call fails.
    pub fn view(&self, source: &Source, filter: &dyn Fn(&CleanPath) -> bool, prefix: &CleanPath) -> Result<SourceView> {
        let manifest = self.view_manifest(source, filter, prefix)?;
        let digest = manifest.digest();
        let name = Digest::of(format!("bulla-view 1\n{}\n{digest}\n", self.id));
        self.inner.lease(Item::Farm, &name)?;
        let path = self.inner.farms.path().join(name.hex()).join("root");
        let view = SourceView { path, digest, manifest: Arc::new(manifest) };
        if matches!(self.inner.check_farm(&name, || self.object_stamps().by_inode())?, Check::Good) {
            return Ok(view);
        }
        if self.make(&name, prefix, &view.manifest)? {
            return Ok(view);
        }
        // An object did not verify. The source is read again, if it still is what it was.
        self.forget()?;
        let paths: Vec<CleanPath> = source.manifest()?.iter().map(|(path, _)| path.clone()).collect();
        let again = self.ingest(&source.folder, &paths)?;
        if again.digest() != source.digest() || !self.make(&name, prefix, &view.manifest)? {
            return Err(Error::SourceChanged { dir: source.folder.clone(), path: prefix.clone() });
        }
        Ok(view)
    }

    /// Makes the view; false when an object did not verify and was removed.
    fn make(&self, name: &Digest, prefix: &CleanPath, manifest: &Tree) -> Result<bool> {
        let inner = &self.inner;
        let lock = Lock::exclusive(&inner.root, Name::Receipts)?;
        let mut objects = self.object_stamps();
        if matches!(inner.check_farm(name, || objects.by_inode())?, Check::Good) {
            return Ok(true);
        }
        let chosen = choose(prefix, manifest);
        let good = self.verify(&lock, &chosen, &mut objects)?;
        match inner.check_farm(name, || objects.by_inode())? {
            Check::Good => return Ok(true),
            Check::Missing | Check::Mounted => {}
            Check::Edited(what) => {
                inner.warn(format!("a view of the source was changed in the store ({what}) and is made anew"));
            }
        }
        if !good {
            return Ok(false);
        }
        let mut plan = Plan { time: self.epoch, ..Plan::default() };
        for (path, node) in manifest.iter() {
            match node {
                Node::Directory { mode, .. } => plan.directories.push((path.clone(), physical_directory(*mode))),
                Node::Symlink { target, .. } => plan.symlinks.push((path, target)),
                _ => {}
            }
        }
        plan.jobs = chosen
            .iter()
            .filter_map(|file| {
                let stamp = objects.0.get(&file.key).copied()?;
                Some(Job { from: &self.objects, name: &file.name, to: &file.to, stamp })
            })
            .collect();
        let planted = inner.expel_farm(name).and_then(|()| plant::plant(inner, &plan));
        self.restamp(&chosen, &mut objects)?;
        self.write_objects(&lock, &objects)?;
        let (draft, rows) = planted?;
        inner.place_farm(name, &draft, &Record { parts: vec![self.id], rows })?;
        Ok(true)
    }

    /// Checks that the stamps of the objects are those of the receipt; what differs is hashed again, and removed when its bytes
    /// are others. False when something was removed.
    fn verify(&self, lock: &Lock, chosen: &[Chosen], objects: &mut Objects) -> Result<bool> {
        let (mut changed, mut good) = (false, true);
        for (file, now) in chosen.iter().zip(self.stamps(chosen)?) {
            if now.is_some() && now.as_ref() == objects.0.get(&file.key) {
                continue;
            }
            changed = true;
            match self.rehash(&file.key, &file.content)? {
                Some(stamp) => {
                    objects.0.insert(file.key, stamp);
                }
                None => {
                    let path = &file.to;
                    self.inner.warn(format!("a file of the source was changed in the store and is read again: {path}"));
                    self.inner.expel(&self.objects, &file.key.hex())?;
                    objects.0.remove(&file.key);
                    good = false;
                }
            }
        }
        if changed {
            self.write_objects(lock, objects)?;
        }
        Ok(good)
    }

    fn restamp(&self, chosen: &[Chosen], objects: &mut Objects) -> Result<()> {
        for (file, now) in chosen.iter().zip(self.stamps(chosen)?) {
            if let Some(now) = now {
                objects.0.insert(file.key, now);
            }
        }
        Ok(())
    }

    fn stamps(&self, chosen: &[Chosen]) -> Result<Vec<Option<Stamp>>> {
        parallel::map(chosen, |file| match dir::stat_at(&self.objects, &file.name) {
            Ok(stat) => Ok(dir::kind_of(&stat).is_file().then(|| Stamp::of(&stat))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(Error::io("examining", self.objects.path().join(&file.name), error)),
        })
    }
}

fn choose(prefix: &CleanPath, manifest: &Tree) -> Vec<Chosen> {
    let files = manifest.iter().filter_map(|(path, node)| match node {
        Node::File { mode, digest, .. } => Some((path, mode.is_executable(), *digest)),
        _ => None,
    });
    files
        .filter_map(|(path, executable, content)| {
            let key = object_key(&path.strip_prefix(prefix)?, executable, &content);
            Some(Chosen { to: path.clone(), name: key.hex().into(), key, content })
        })
        .collect()
}
