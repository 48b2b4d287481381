//! Sources that do not lie in the project: unpacked once into a tree of the store, then read as a folder of the project is.

use std::{collections::BTreeMap, io::Read, path::Path};

use bulla_ecosystems::{
    archive::{self, Rules, Sink, SinkError},
    debian::source::{self as debian_source, Package},
};
use bulla_model::{
    CleanPath, Digest, Epoch,
    plan::{PlannedSource, SourceArtifact},
    spec::{Glob, Name, Packing, Portion, Unpack},
    tree::{Mode, Node, Owner},
};
use bulla_store::{Source, SourceCache, TreeBuilder};
use serde::{Deserialize, Serialize};

use super::{
    BuildError,
    context::Context,
    record::{Action, FORMAT, keep},
    supply::Need,
};

#[derive(Debug, Serialize, Deserialize)]
struct SourceResult {
    tree: Digest,
}

/// Gives a source as the stages see it, and whether an earlier result was used.
pub(super) fn read(
    context: &Context<'_>,
    name: &Name,
    planned: &PlannedSource,
    epoch: Epoch,
) -> Result<(SourceCache, Source, bool), BuildError> {
    let store = context.store;
    let action = Action::Source { format: FORMAT, source: planned }.digest();
    let earlier = match context.result::<SourceResult>(&action)? {
        Some(result) => store.tree(&result.tree)?,
        None => None,
    };
    let cached = earlier.is_some();
    let tree = match earlier {
        Some(tree) => tree,
        None => {
            context.need(Need::Sources)?;
            let mut sink = Writer(store.tree_builder()?, Epoch::default());
            unpack(context, name, planned, &mut sink)?;
            let tree = sink.0.finish(None)?;
            keep(store, &action, &SourceResult { tree: tree.digest() })?;
            tree
        }
    };
    // What is read from it is hashed again, or covered by the source's own receipt, only where a file looks changed.
    tree.check()?;
    let files: Vec<CleanPath> = tree.manifest().iter().map(|(path, _)| path.clone()).collect();
    let cache = SourceCache::open(store, Path::new("unpacked"), &tree.digest().hex(), epoch)?;
    let read = cache.ingest(tree.path(), &files)?;
    if !same(&*read.manifest()?, tree.manifest()) {
        let problem = "the source that was unpacked is not what it was".to_owned();
        return Err(bulla_store::Error::Damaged { digest: tree.digest(), problem }.into());
    }
    Ok((cache, read, cached))
}

/// Says whether what was read is what was unpacked. A further name of a file was read as a file.
fn same(read: &bulla_model::Tree, unpacked: &bulla_model::Tree) -> bool {
    read.len() == unpacked.len()
        && read.iter().all(|(path, node)| match unpacked.get(path) {
            Some(Node::Hardlink { .. }) => unpacked.file(path).is_some_and(|(_, file)| file == node),
            Some(other) => other == node,
            None => false,
        })
}

fn unpack(context: &Context<'_>, name: &Name, planned: &PlannedSource, sink: &mut Writer) -> Result<(), BuildError> {
    let open = |digest: &Digest| -> Result<std::fs::File, BuildError> {
        let missing = || BuildError::NotFetched { package: format!("source {name}"), digest: *digest };
        context.store.open_blob(digest)?.ok_or_else(missing)
    };
    match &planned.artifact {
        SourceArtifact::Url { digest, unpack: Unpack::No { file } } => {
            let ignored = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(file));
            if !ignored(&planned.portion.ignore) {
                sink.0.file(file, Mode::new(0o644), Owner::ROOT, Epoch::default(), &mut open(digest)?)?;
            }
            Ok(())
        }
        SourceArtifact::Url { digest, unpack: Unpack::Archive { packing, strip } } => {
            let rules = Rules { strip: *strip, ..rules(&planned.portion) };
            archive::unpack(&mut open(digest)?, *packing, &rules, sink)
                .map_err(|source| BuildError::UnpackSource { source_name: name.clone(), source })
        }
        SourceArtifact::Git { digest } => {
            archive::unpack(&mut open(digest)?, Packing::Tar, &rules(&planned.portion), sink)
                .map_err(|source| BuildError::UnpackSource { source_name: name.clone(), source })
        }
        SourceArtifact::Debian { package, files } => {
            let mut opened = BTreeMap::new();
            for (file, digest) in files {
                opened.insert(file.clone(), (*digest, open(digest)?));
            }
            let rules = rules(&planned.portion);
            debian_source::unpack(Package { name: package, files: opened }, &rules, sink)
                .map_err(|source| BuildError::UnpackDebianSource { source_name: name.clone(), source })
        }
    }
}

fn rules(portion: &Portion) -> Rules<'_> {
    Rules { subfolder: portion.subfolder.as_ref(), ignore: &portion.ignore, ..Rules::default() }
}

/// Writes the files of an archive into a tree of the store, with one time.
pub(super) struct Writer(pub(super) TreeBuilder, pub(super) Epoch);

impl Sink for Writer {
    fn directory(&mut self, path: &CleanPath) -> Result<(), SinkError> {
        Ok(self.0.directory(path, Mode::new(0o755), Owner::ROOT)?)
    }

    fn file(&mut self, path: &CleanPath, executable: bool, content: &mut dyn Read) -> Result<(), SinkError> {
        let mode = Mode::new(if executable { 0o755 } else { 0o644 });
        self.0.file(path, mode, Owner::ROOT, self.1, content)?;
        Ok(())
    }

    fn symlink(&mut self, path: &CleanPath, target: &[u8]) -> Result<(), SinkError> {
        Ok(self.0.symlink(path, Owner::ROOT, target)?)
    }

    fn hardlink(&mut self, path: &CleanPath, target: &CleanPath) -> Result<(), SinkError> {
        Ok(self.0.hardlink(path, target)?)
    }
}
