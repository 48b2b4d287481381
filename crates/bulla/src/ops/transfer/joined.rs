//! Images of single platforms, joined into one on their way.

use std::{collections::BTreeMap, io::Read as _};

use bulla_model::{
    Digest, Platform,
    oci::{self, Descriptor, Index, Manifest, PlatformFields},
};
use bulla_net::{DownloadSink, oci::BlobSource};
use serde::Deserialize;

use super::{Source, TransferError, graph::Graph};
use crate::error::{CliError, Result};

/// The most bytes of a configuration that is read for its platform.
const MAX_CONFIG: u64 = 4 << 20;

/// The part of a configuration that says where the image runs.
#[derive(Deserialize)]
struct Platformed {
    architecture: String,
    os: String,
    #[serde(default)]
    variant: Option<String>,
}

/// Several images, as one.
pub(crate) struct JoinedSource {
    parts: Vec<Box<dyn Source>>,
    /// Which part has a manifest or blob.
    places: BTreeMap<Digest, usize>,
    root: Descriptor,
    bytes: Vec<u8>,
}

impl JoinedSource {
    /// Reads all manifests of the images, and joins their indexes.
    pub(crate) fn new(parts: Vec<Box<dyn Source>>) -> Result<Self> {
        Self::of(parts, None)
    }

    /// Gives of an image what is for one platform. The same comes out as when it alone had been built.
    pub(crate) fn only(image: Box<dyn Source>, platform: Platform) -> Result<Self> {
        Self::of(vec![image], Some(platform))
    }

    fn of(parts: Vec<Box<dyn Source>>, only: Option<Platform>) -> Result<Self> {
        let mut places = BTreeMap::new();
        let mut indexes = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            let (root, bytes) = part.root()?;
            let graph = Graph::walk(&root, bytes.clone(), &**part, false)?;
            let all = graph.manifests.iter().map(|(entry, _)| entry).chain(&graph.blobs);
            for entry in all {
                places.entry(entry.digest).or_insert(number);
            }
            let mut index = index(&root, &bytes, &**part)?;
            only.map_or(Ok(()), |platform| narrow(&mut index, platform))?;
            indexes.push(index);
        }
        let (root, bytes) = oci::encode_described(oci::INDEX, &oci::join(indexes)?);
        Ok(Self { parts, places, root, bytes })
    }

    fn part(&self, digest: Digest) -> Result<&dyn Source> {
        // What refers to an image is of the only part where there is one, and is not carried along where there are more.
        let only = self.parts.first().filter(|_| self.parts.len() == 1);
        let place = self.places.get(&digest).map_or(only, |number| self.parts.get(*number));
        Ok(place.map(|part| &**part).ok_or(TransferError::Missing { digest })?)
    }
}

/// Leaves in an index what is for a platform, and what is attested of that.
fn narrow(index: &mut Index, platform: Platform) -> Result<(), TransferError> {
    let is_for = |entry: &Descriptor| {
        let fields = entry.platform.as_ref();
        fields.is_some_and(|found| found.os == platform.os() && found.architecture == platform.architecture())
    };
    let kept: Vec<String> =
        index.manifests.iter().filter(|entry| is_for(entry)).map(|one| one.digest.to_string()).collect();
    if kept.is_empty() {
        return Err(TransferError::NoPlatform { platform });
    }
    index.manifests.retain(|entry| is_for(entry) || entry.annotations.values().any(|value| kept.contains(value)));
    Ok(())
}

/// Gives the index of an image; that of a bare manifest is made, with the platform of its configuration.
fn index(root: &Descriptor, bytes: &[u8], part: &dyn Source) -> Result<Index> {
    let read = |source| TransferError::Document { digest: root.digest, source };
    if [oci::INDEX, oci::DOCKER_INDEX].contains(&root.media_type.as_str()) {
        return Ok(serde_json::from_slice(bytes).map_err(read)?);
    }
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(read)?;
    let mut config = Vec::new();
    part.open(&manifest.config)?.take(MAX_CONFIG).read_to_end(&mut config).map_err(CliError::file)?;
    let digest = manifest.config.digest;
    if Digest::of(&config) != digest {
        return Err(TransferError::Missing { digest }.into());
    }
    let Platformed { architecture, os, variant } =
        serde_json::from_slice(&config).map_err(|source| TransferError::Document { digest, source })?;
    let platform = Some(PlatformFields { architecture, os, variant });
    let entry = Descriptor { platform, ..Descriptor::new(&root.media_type, root.digest, root.size) };
    Ok(Index { annotations: manifest.annotations, ..Index::new(vec![entry]) })
}

impl Source for JoinedSource {
    fn root(&self) -> Result<(Descriptor, Vec<u8>)> {
        Ok((self.root.clone(), self.bytes.clone()))
    }

    fn manifest(&self, entry: &Descriptor) -> Result<Vec<u8>> {
        self.part(entry.digest)?.manifest(entry)
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        match self.parts.as_slice() {
            [only] => only.referrers(subject),
            _ => Ok(Vec::new()),
        }
    }

    fn listed(&self, entry: &Descriptor) -> Result<Option<(Descriptor, Vec<u8>)>> {
        self.part(entry.digest)?.listed(entry)
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn BlobSource + '_>> {
        self.part(blob.digest)?.open(blob)
    }

    fn save(&self, blob: &Descriptor, sink: &mut dyn DownloadSink, progress: &dyn Fn(u64)) -> Result<()> {
        self.part(blob.digest)?.save(blob, sink, progress)
    }
}
