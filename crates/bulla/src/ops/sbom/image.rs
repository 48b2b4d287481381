//! Finds the image for one platform: its manifest and configuration.

use std::io::Read as _;

use bulla_evidence::sbom::{Party, Subject};
use bulla_model::{
    Digest, Epoch, Fault, Kind, Platform,
    oci::{self, Descriptor, ImageConfig, Index, Manifest},
};
use bulla_store::Store;
use serde::de::DeserializeOwned;

use super::Source;
use crate::error::Result;

/// The most bytes of a configuration.
const MAX_CONFIG: u64 = 4 << 20;
/// The most layers of an image.
const MAX_LAYERS: usize = 512;
/// How deep indexes may lie in each other.
const MAX_DEPTH: usize = 4;
/// Docker's name for an index.
const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Says why no list was made of an image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SbomError {
    /// A document is none.
    #[error("{digest} is not a document of the OCI image specification")]
    Document {
        /// The document.
        digest: Digest,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// Which platform is meant was not said.
    #[error("the image is for {}, and it was not said which one is meant", platforms.join(", "))]
    Which {
        /// The platforms that there are.
        platforms: Vec<String>,
    },
    /// It has nothing for a platform.
    #[error("the image has nothing {}", wanted.map(|platform| format!("for {platform}")).unwrap_or_else(|| "that is an image".to_owned()))]
    Nothing {
        /// The platform.
        wanted: Option<Platform>,
    },
    /// Manifest and configuration speak of different layers, or of too many.
    #[error("the manifest has {manifest} layers and the configuration {config}; at most {MAX_LAYERS} are read")]
    Layers {
        /// The layers of the manifest.
        manifest: usize,
        /// The layers of the configuration.
        config: usize,
    },
    /// A blob is not there.
    #[error("the blob {digest} is missing")]
    Missing {
        /// The blob.
        digest: Digest,
    },
    /// A configuration cannot be read, or is too large.
    #[error("reading the configuration {digest}")]
    Read {
        /// The configuration.
        digest: Digest,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Files have no owner, and all were to have one.
    #[error("{unowned} files of the image have no owner")]
    Unowned {
        /// How many.
        unowned: u64,
        /// Some of them.
        examples: Vec<String>,
    },
}

impl Fault for SbomError {
    fn kind(&self) -> Kind {
        match self {
            Self::Which { .. } | Self::Nothing { .. } => Kind::Spec,
            Self::Unowned { .. } => Kind::Policy,
            Self::Read { .. } => Kind::Environment,
            _ => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Which { platforms } => {
                platforms.first().map(|one| format!("name it: --platform {one}")).into_iter().collect()
            }
            Self::Unowned { examples, .. } => vec![format!("among them: {}", examples.join(", "))],
            _ => Vec::new(),
        }
    }
}

/// An image for one platform.
pub(super) struct Found {
    pub(super) descriptor: Descriptor,
    pub(super) manifest: Manifest,
    pub(super) config: ImageConfig,
}

impl Found {
    /// Reads an image of the store.
    pub(super) fn of_store(store: &Store, descriptor: &Descriptor) -> Result<Self> {
        let read = |blob: &Descriptor, most: u64| -> Result<Vec<u8>> {
            Ok(store.read_blob(&blob.digest, most)?.ok_or(SbomError::Missing { digest: blob.digest })?)
        };
        let bytes = read(descriptor, oci::MAX_MANIFEST)?;
        Self::of(descriptor.clone(), &bytes, &|config| read(config, MAX_CONFIG))
    }

    /// Finds the one image for a platform; without one, the only one that there is.
    pub(super) fn of_source(source: &dyn Source, platform: Option<Platform>) -> Result<Self> {
        let (root, bytes) = source.root()?;
        let mut images = Vec::new();
        reach(source, root, bytes, 0, &mut images)?;
        let shown = |one: &Self| format!("{}/{}", one.config.os, one.config.architecture);
        if let Some(wanted) = platform {
            images.retain(|one| one.config.os == wanted.os() && one.config.architecture == wanted.architecture());
        }
        match images.len() {
            0 => Err(SbomError::Nothing { wanted: platform }.into()),
            1 => Ok(images.remove(0)),
            _ => Err(SbomError::Which { platforms: images.iter().map(shown).collect() }.into()),
        }
    }

    /// Reads an image by its manifest.
    pub(super) fn of_manifest(source: &dyn Source, (descriptor, bytes): (&Descriptor, &[u8])) -> Result<Self> {
        Self::of(descriptor.clone(), bytes, &|config| config_of(source, config))
    }

    fn of(descriptor: Descriptor, bytes: &[u8], config: &dyn Fn(&Descriptor) -> Result<Vec<u8>>) -> Result<Self> {
        let manifest: Manifest = parse(descriptor.digest, bytes)?;
        let config: ImageConfig = parse(manifest.config.digest, &config(&manifest.config)?)?;
        let (layers, ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != ids || layers > MAX_LAYERS {
            return Err(SbomError::Layers { manifest: layers, config: ids }.into());
        }
        Ok(Self { descriptor, manifest, config })
    }

    /// Says what the list is of. Its name is of the image and not of where it lies, so that the list is the same wherever that is.
    pub(super) fn subject(&self, built: bool) -> Subject {
        let digest = self.descriptor.digest;
        let said = |key: &str| {
            let value = self.manifest.annotations.get(key).or_else(|| self.config.config.labels.get(key));
            value
                .filter(|value| !value.trim().is_empty() && value.len() <= 300 && !value.contains(char::is_control))
                .cloned()
        };
        let title = said("org.opencontainers.image.title");
        let vendor = said("org.opencontainers.image.vendor").and_then(|vendor| Party::read(&vendor));
        let own = || title.clone().filter(|_| built).map(|name| Party { name, email: None });
        Subject {
            name: title.clone().unwrap_or_else(|| format!("image-{}", digest.short())),
            manifest: digest,
            os: self.config.os.clone(),
            architecture: self.config.architecture.clone(),
            created: self.config.created.as_deref().and_then(time).unwrap_or_default(),
            supplier: vendor.or_else(own),
            layers: self.manifest.layers.iter().map(|layer| layer.digest).collect(),
            built,
        }
    }
}

/// Follows indexes to images. What is no image is left out: evidence, for one.
fn reach(source: &dyn Source, entry: Descriptor, bytes: Vec<u8>, depth: usize, images: &mut Vec<Found>) -> Result<()> {
    match entry.media_type.as_str() {
        oci::INDEX | LIST if depth < MAX_DEPTH => {
            let index: Index = parse(entry.digest, &bytes)?;
            for inner in index.manifests {
                let is_known = |found: &Found| found.descriptor.digest == inner.digest;
                let is_index = [oci::INDEX, LIST].contains(&inner.media_type.as_str());
                let is_unknown = inner.platform.as_ref().is_some_and(|platform| platform.os == "unknown");
                if images.len() < MAX_LAYERS
                    && !images.iter().any(is_known)
                    && !is_unknown
                    && (is_index || is_manifest(&inner))
                {
                    let bytes = source.manifest(&inner)?;
                    reach(source, inner, bytes, depth + 1, images)?;
                }
            }
            Ok(())
        }
        _ if is_manifest(&entry) => {
            let manifest: Manifest = parse(entry.digest, &bytes)?;
            let is_image = [oci::CONFIG, "application/vnd.docker.container.image.v1+json"]
                .contains(&manifest.config.media_type.as_str());
            if is_image {
                images.push(Found::of(entry, &bytes, &|config| config_of(source, config))?);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn is_manifest(entry: &Descriptor) -> bool {
    [oci::MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"].contains(&entry.media_type.as_str())
}

fn config_of(source: &dyn Source, config: &Descriptor) -> Result<Vec<u8>> {
    let fail = |source| SbomError::Read { digest: config.digest, source };
    let mut bytes = Vec::new();
    if config.size > MAX_CONFIG {
        return Err(fail(std::io::ErrorKind::FileTooLarge.into()).into());
    }
    source.open(config)?.take(MAX_CONFIG).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

fn parse<T: DeserializeOwned>(digest: Digest, bytes: &[u8]) -> Result<T, SbomError> {
    serde_json::from_slice(bytes).map_err(|source| SbomError::Document { digest, source })
}

/// Reads a time of RFC 3339 in UTC, without its fraction.
fn time(text: &str) -> Option<Epoch> {
    let (date, rest) = text.split_once('T')?;
    let clock = rest.strip_suffix('Z')?.split('.').next()?;
    let numbers = |text: &str, between: char| {
        let all: Option<Vec<u64>> = text.split(between).map(|part| part.parse().ok()).collect();
        all.and_then(|all| <[u64; 3]>::try_from(all).ok())
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(date, '-')?, numbers(clock, ':')?);
    let within = hour < 24 && minute < 60 && second < 60;
    Epoch::from_civil(year, month, day, hour * 3600 + minute * 60 + second).filter(|_| within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_all_builders_are_read_and_others_are_none() {
        let read = |text: &str| time(text).map(Epoch::rfc3339);
        assert_eq!(read("2023-11-14T22:13:20Z").as_deref(), Some("2023-11-14T22:13:20Z"));
        assert_eq!(read("2023-11-14T22:13:20.123456789Z").as_deref(), Some("2023-11-14T22:13:20Z"));
        for text in ["", "2023", "2023-11-14T25:13:20Z", "2023-11-14T22:13:20+01:00", "2023-99-14T22:13:20Z"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
