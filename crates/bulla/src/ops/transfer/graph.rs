//! What an image leads to, and what refers to it. Both may be a stranger's: counts, sizes and depth are bounded.

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{
    Digest,
    oci::{self, Descriptor, Index, Manifest, Referrer},
};

use super::{Source, TransferError};
use crate::error::Result;

/// The most manifests and indexes of an image.
const MAX_MANIFESTS: usize = 256;
/// The most layers of one manifest.
const MAX_LAYERS: usize = 512;
/// How deep indexes may lie in each other.
const MAX_DEPTH: usize = 4;
/// The most manifests that refer to an image, with those that refer to these.
const MAX_REFERRERS: usize = 512;
/// How many manifests may refer to one another in a row: a signature of a list of packages of an image is two.
const MAX_ROW: usize = 4;
/// The most bytes of the manifests of all referrers together.
const MAX_DOCUMENTS: usize = 64 << 20;
/// The most bytes of the blobs of all referrers together.
const MAX_EVIDENCE: usize = 4 << 30;

/// All that an image is made of.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// The manifests and indexes; what leads to others comes after them, so the root is the last.
    pub(crate) manifests: Vec<(Descriptor, Vec<u8>)>,
    /// What refers to them, and the manifests that these lead to, in an order in which they can be put.
    pub(super) referrers: Vec<(Descriptor, Vec<u8>)>,
    /// The configurations and layers, each once, the largest first.
    pub(crate) blobs: Vec<Descriptor>,
    /// What was listed as a referrer and is none, for people.
    pub(super) left: Vec<String>,
}

impl Graph {
    /// Reads all manifests of an image, and of what refers to it where that is wished.
    pub(crate) fn walk(root: &Descriptor, bytes: Vec<u8>, source: &dyn Source, referrers: bool) -> Result<Self> {
        let mut walk = Walk {
            source,
            most: MAX_MANIFESTS,
            seen: BTreeSet::from([root.digest]),
            blobs: BTreeMap::new(),
            found: Vec::new(),
        };
        walk.reach(root, bytes, 0)?;
        let mut graph = Self { manifests: std::mem::take(&mut walk.found), ..Self::default() };
        if referrers {
            graph.referred(&mut walk).map_err(|mut error| {
                error.hints.push("`--no-referrers` takes the image alone".to_owned());
                error
            })?;
        }
        graph.blobs = walk.blobs.into_values().collect();
        graph.blobs.sort_by_key(|blob| (std::cmp::Reverse(blob.size), blob.digest));
        Ok(graph)
    }

    /// Gives the bytes of the root.
    pub(super) fn root(&self) -> &[u8] {
        self.manifests.last().map(|(_, bytes)| bytes.as_slice()).unwrap_or_default()
    }

    /// Finds what refers to the image's manifests, what refers to that, and so on.
    fn referred(&mut self, walk: &mut Walk<'_>) -> Result<()> {
        let sum = |walk: &Walk<'_>| walk.blobs.values().fold(0, |sum: u64, blob| sum.saturating_add(blob.size));
        let (of_image, mut listed) = (sum(walk), 0);
        walk.most = MAX_MANIFESTS + MAX_REFERRERS;
        let mut subjects: Vec<Digest> = self.manifests.iter().map(|(entry, _)| entry.digest).collect();
        for row in 0.. {
            let before = walk.found.len();
            for subject in &subjects {
                for entry in walk.source.referrers(subject)? {
                    if !walk.seen.insert(entry.digest) {
                        continue;
                    }
                    listed += 1;
                    limit("manifests that refer to it", listed, MAX_REFERRERS)?;
                    match referrer(walk.source, subject, &entry)? {
                        Ok((entry, bytes)) => walk.reach(&entry, bytes, 0)?,
                        Err(why) => {
                            // It may be something else's referrer, or a part of one.
                            walk.seen.remove(&entry.digest);
                            self.left
                                .push(format!("{}, which is listed as a referrer of {subject}, {why}", entry.digest));
                        }
                    }
                    let documents = walk.found.iter().map(|(_, bytes)| bytes.len()).sum();
                    limit("bytes in the manifests that refer to it", documents, MAX_DOCUMENTS)?;
                }
            }
            if walk.found.len() == before {
                break;
            }
            limit("manifests in a row that refer to one another", row + 1, MAX_ROW)?;
            subjects = walk.found.iter().skip(before).map(|(entry, _)| entry.digest).collect();
        }
        let evidence = usize::try_from(sum(walk) - of_image).unwrap_or(usize::MAX);
        limit("bytes in what refers to it", evidence, MAX_EVIDENCE)?;
        self.referrers = std::mem::take(&mut walk.found);
        Ok(())
    }
}

fn limit(what: &'static str, count: usize, limit: usize) -> Result<()> {
    if count > limit { Err(TransferError::Limit { what, limit }.into()) } else { Ok(()) }
}

/// Reads what is listed as a referrer; or says why it is not taken. A list says what its registry, or whoever may write a tag
/// there, wants it to say.
fn referrer(
    source: &dyn Source,
    subject: &Digest,
    listed: &Descriptor,
) -> Result<Result<(Descriptor, Vec<u8>), &'static str>> {
    if ![oci::INDEX, oci::MANIFEST].contains(&listed.media_type.as_str()) {
        return Ok(Err("is no manifest that is known"));
    }
    let Some((entry, bytes)) = source.listed(listed)? else { return Ok(Err("is not there")) };
    Ok(match Referrer::read(&entry.media_type, &bytes) {
        Some(found) if found.subject == *subject => Ok((entry, bytes)),
        _ => Err("does not refer to it"),
    })
}

/// What was reached so far.
struct Walk<'a> {
    source: &'a dyn Source,
    /// The most manifests that may be found.
    most: usize,
    seen: BTreeSet<Digest>,
    blobs: BTreeMap<Digest, Descriptor>,
    found: Vec<(Descriptor, Vec<u8>)>,
}

impl Walk<'_> {
    fn reach(&mut self, entry: &Descriptor, bytes: Vec<u8>, depth: usize) -> Result<()> {
        let read = |source| TransferError::Document { digest: entry.digest, source };
        match entry.media_type.as_str() {
            oci::INDEX | oci::DOCKER_INDEX => {
                let index: Index = serde_json::from_slice(&bytes).map_err(read)?;
                limit("indexes within indexes", depth + 1, MAX_DEPTH)?;
                for inner in &index.manifests {
                    if !self.seen.insert(inner.digest) {
                        continue;
                    }
                    limit("manifests", self.found.len() + 1, self.most)?;
                    known(inner)?;
                    let bytes = self.source.manifest(inner)?;
                    self.reach(inner, bytes, depth + 1)?;
                }
            }
            oci::MANIFEST | oci::DOCKER_MANIFEST => {
                let manifest: Manifest = serde_json::from_slice(&bytes).map_err(read)?;
                limit("layers", manifest.layers.len(), MAX_LAYERS)?;
                for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
                    let known = self.blobs.entry(blob.digest).or_insert_with(|| blob.clone());
                    if known.size != blob.size {
                        let (digest, first, second) = (blob.digest, known.size, blob.size);
                        return Err(TransferError::Sizes { digest, first, second }.into());
                    }
                }
            }
            _ => known(entry)?,
        }
        self.found.push((entry.clone(), bytes));
        Ok(())
    }
}

/// Refuses what is no manifest: nobody could say what it leads to.
fn known(entry: &Descriptor) -> Result<()> {
    if [oci::INDEX, oci::DOCKER_INDEX, oci::MANIFEST, oci::DOCKER_MANIFEST].contains(&entry.media_type.as_str()) {
        return Ok(());
    }
    let media_type = crate::neutral::line(&entry.media_type).into_owned();
    Err(TransferError::MediaType { digest: entry.digest, media_type }.into())
}
