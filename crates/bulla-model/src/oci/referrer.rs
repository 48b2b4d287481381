//! What refers to an image: manifests with a subject (`manifest.md`, `image-index.md`), and how they are listed.

use super::{Descriptor, INDEX, Index, MANIFEST, Manifest};
use crate::digest::Digest;

/// A manifest or index that refers to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// What it refers to.
    pub subject: Digest,
    /// How it is listed: with its kind, which is that of its configuration where it names none, and its annotations
    /// (distribution specification, "Listing Referrers").
    pub entry: Descriptor,
}

impl Referrer {
    /// Reads what a manifest or index refers to; `None` where it refers to nothing, or is neither.
    pub fn read(media_type: &str, bytes: &[u8]) -> Option<Self> {
        let (subject, kind, annotations) = match media_type {
            MANIFEST => {
                let read: Manifest = serde_json::from_slice(bytes).ok()?;
                (read.subject, read.artifact_type.or(Some(read.config.media_type)), read.annotations)
            }
            INDEX => {
                let read: Index = serde_json::from_slice(bytes).ok()?;
                (read.subject, read.artifact_type, read.annotations)
            }
            _ => return None,
        };
        let mut entry = Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64);
        (entry.artifact_type, entry.annotations) = (kind, annotations);
        Some(Self { subject: subject?.digest, entry })
    }
}
