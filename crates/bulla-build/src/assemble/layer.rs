//! Writes one layer: skeleton, parts and end, through the pipe into a blob.

use std::{
    fs::File,
    io::{self, Read, Write},
    sync::Mutex,
};

use bulla_model::{
    DiffId, Digest, Epoch, Hasher, Tree,
    image::{ImagePlan, Origin},
    layers::{Layer, Part},
    tar::{self, FileCapabilities},
};
use bulla_store::{BlobWriter, Store};

use super::{
    AssembleError, Contents, LayerInfo,
    cache::{self, LayerRecord, PartRecord},
    pipe::{self, Chunker, Feeder, Item, Mark},
};

/// Gives a layer of the store, or writes it.
pub(super) fn write(
    store: &Store,
    plan: &ImagePlan,
    layer: &Layer,
    contents: &dyn Contents,
    threads: usize,
) -> Result<LayerInfo, AssembleError> {
    let key = cache::layer_key(plan.compression, layer);
    let known = match cache::find::<LayerRecord>(store, &key)? {
        Some(record) if store.has_blob(&record.digest)? => Some(record),
        _ => None,
    };
    let cached = known.is_some();
    let record = match known {
        Some(record) => record,
        None => {
            let record = make(store, plan, layer, contents, threads)?;
            cache::keep(store, &key, &record)?;
            record
        }
    };
    let origin = |part: &Part| plan.inputs.get(part.input).map(|input| input.origin.to_string());
    Ok(LayerInfo {
        digest: record.digest,
        diff_id: record.diff_id,
        media_type: plan.compression.media_type().to_owned(),
        size: record.size,
        plain_size: record.plain_size,
        title: layer.title.clone(),
        origins: layer.parts.iter().filter_map(origin).collect(),
        cached,
    })
}

/// An error inside the pipe, before it is known which layer it belongs to.
enum Stop {
    Io(io::Error),
    Whole(AssembleError),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<AssembleError> for Stop {
    fn from(error: AssembleError) -> Self {
        Self::Whole(error)
    }
}

impl From<bulla_store::Error> for Stop {
    fn from(error: bulla_store::Error) -> Self {
        Self::Whole(error.into())
    }
}

fn make(
    store: &Store,
    plan: &ImagePlan,
    layer: &Layer,
    contents: &dyn Contents,
    threads: usize,
) -> Result<LayerRecord, AssembleError> {
    let source = Source { store, plan, layer, contents };
    let taker = Mutex::new(Taker {
        store,
        keys: layer.parts.iter().map(|part| cache::part_key(plan.compression, part)).collect(),
        blob: store.blob_writer()?,
        plain: Hasher::new(),
        kept: None,
    });
    pipe::run::<Stop>(
        plan.compression,
        threads,
        |feeder| source.feed(feeder),
        |item| taker.lock().expect("the taker alone locks it").take(item),
    )
    .map_err(|stop| match stop {
        Stop::Io(source) => AssembleError::Layer { title: layer.title.clone(), source },
        Stop::Whole(error) => error,
    })?;
    let Taker { blob, plain, .. } = taker.into_inner().expect("the taker did not panic");
    let (size, plain_size) = (blob.length(), plain.length());
    Ok(LayerRecord { digest: blob.finish(None)?, size, diff_id: DiffId(plain.finish()), plain_size })
}

/// Feeds a layer's chunks.
struct Source<'a> {
    store: &'a Store,
    plan: &'a ImagePlan,
    layer: &'a Layer,
    contents: &'a dyn Contents,
}

impl Source<'_> {
    fn feed(&self, feeder: &Feeder<'_>) -> Result<(), Stop> {
        self.tar(feeder, None, (&self.layer.skeleton, &FileCapabilities::new()), self.layer.time)?;
        for (number, part) in self.layer.parts.iter().enumerate().filter(|(_, part)| !part.tree.is_empty()) {
            // Parts of packages come again in other images; what is copied or derived changes, and the layer is kept anyway.
            let is_package =
                matches!(self.plan.inputs.get(part.input).map(|i| &i.origin), Some(Origin::Package { .. }));
            let files = (&part.tree, &part.capabilities);
            if !is_package {
                self.tar(feeder, Some(part.input), files, part.time)?;
            } else if let Some((record, blob)) = self.kept(part)? {
                replay(feeder, &record, blob)?;
            } else {
                feeder.mark(Mark::Keep(number))?;
                self.tar(feeder, Some(part.input), files, part.time)?;
                feeder.mark(Mark::Kept)?;
            }
        }
        let mut end = Chunker::new(feeder);
        end.write_all(&tar::END)?;
        Ok(end.finish()?)
    }

    fn kept(&self, part: &Part) -> Result<Option<(PartRecord, File)>, AssembleError> {
        let key = cache::part_key(self.plan.compression, part);
        let Some(record) = cache::find::<PartRecord>(self.store, &key)? else { return Ok(None) };
        Ok(self.store.open_blob(&record.blob)?.map(|blob| (record, blob)))
    }

    fn tar(
        &self,
        feeder: &Feeder<'_>,
        input: Option<usize>,
        (tree, capabilities): (&Tree, &FileCapabilities),
        time: Epoch,
    ) -> Result<(), Stop> {
        let mut chunker = Chunker::new(feeder);
        let opened = tar::write_part(&mut chunker, tree, capabilities, time, &mut |path, node| match input {
            Some(input) => self.contents.open(input, path, node),
            None => Err(io::Error::other("a skeleton has no files")),
        });
        match opened {
            Ok(()) => Ok(chunker.finish()?),
            Err(tar::TarError::Write { source, .. }) => Err(source.into()),
            Err(source) => {
                let origin = input.and_then(|input| self.plan.inputs.get(input)).map(|i| i.origin.to_string());
                Err(AssembleError::Part { origin: origin.unwrap_or_else(|| "directories".into()), source }.into())
            }
        }
    }
}

/// Feeds a part that was compressed before.
fn replay(feeder: &Feeder<'_>, record: &PartRecord, mut blob: File) -> Result<(), Stop> {
    let bad = |source| AssembleError::Record { digest: record.blob, source };
    let too_long = || bad(io::Error::new(io::ErrorKind::InvalidData, "a member is too long"));
    for (plain, packed) in &record.members {
        let mut buffer = feeder.buffer();
        let room = usize::try_from(*packed).ok().and_then(|length| buffer.fill(length)).ok_or_else(too_long)?;
        blob.read_exact(room).map_err(bad)?;
        feeder.inflate(buffer, usize::try_from(*plain).map_err(|_| too_long())?)?;
    }
    if blob.read(&mut [0]).map_err(bad)? != 0 {
        return Err(bad(io::Error::new(io::ErrorKind::InvalidData, "it is longer than its members")).into());
    }
    Ok(())
}

/// A part that is being kept.
struct Kept {
    /// Its place in the layer.
    number: usize,
    writer: BlobWriter,
    members: Vec<(u32, u32)>,
}

/// Takes a layer's chunks in order: hashes and writes them, and keeps new parts beside.
struct Taker<'a> {
    store: &'a Store,
    keys: Vec<Digest>,
    blob: BlobWriter,
    plain: Hasher,
    kept: Option<Kept>,
}

impl Taker<'_> {
    fn take(&mut self, item: Item<'_>) -> Result<(), Stop> {
        match item {
            Item::Chunk(chunk) => {
                self.plain.update(chunk.plain());
                self.blob.write_all(chunk.packed())?;
                if let Some(Kept { writer, members, .. }) = &mut self.kept {
                    writer.write_all(chunk.packed())?;
                    let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other);
                    members.push((length(chunk.plain())?, length(chunk.packed())?));
                }
            }
            Item::Mark(Mark::Keep(number)) => {
                self.kept = Some(Kept { number, writer: self.store.blob_writer()?, members: Vec::new() });
            }
            Item::Mark(Mark::Kept) => {
                if let Some(Kept { number, writer, members }) = self.kept.take()
                    && let Some(key) = self.keys.get(number)
                {
                    let record = PartRecord { blob: writer.finish(None)?, members };
                    cache::keep(self.store, key, &record)?;
                }
            }
        }
        Ok(())
    }
}
