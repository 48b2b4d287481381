//! What evidence is about, as it is typed, and what of an image it may be about.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use bulla_evidence::{
    policy::{Facts, PlatformFacts},
    statement,
    verify::require::Subjects,
};
use bulla_model::{
    Digest, Platform,
    oci::{self, Descriptor, ImageConfig, Index, Manifest},
};

use super::{EvidenceError, small};
use crate::{
    error::Result,
    ops::{
        lock::now,
        registries,
        transfer::{Graph, LayoutSource, Place, RegistrySource, Source},
    },
    session::Session,
};

/// Something that can be signed and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// An image of a layout, an archive or a registry.
    Image(Place),
    /// A file as it is: `file:PATH`.
    File(PathBuf),
}

impl FromStr for What {
    type Err = EvidenceError;

    /// A text that is the path of something is that; else it is a reference.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("file:") {
            return Ok(Self::File(path.into()));
        }
        let path = Path::new(text);
        if path.is_dir() {
            return Ok(Self::Image(Place::Layout(path.to_owned(), None)));
        }
        if path.is_file() {
            return Ok(Self::File(path.to_owned()));
        }
        Ok(Self::Image(text.parse()?))
    }
}

impl What {
    /// Gives the place of an image, where nothing but an image is meant: a file is an oci-archive then.
    pub(crate) fn image(&self) -> Place {
        match self {
            Self::Image(place) => place.clone(),
            Self::File(path) => Place::Archive(path.clone(), None),
        }
    }
}

/// An image with all its manifests.
pub(crate) struct Image {
    /// Where it is.
    pub(crate) source: Box<dyn Source>,
    /// The manifest or index that was named.
    pub(crate) root: Descriptor,
    /// All that it is made of.
    pub(crate) graph: Graph,
    /// The manifests of its platforms; none where the root itself is one.
    pub(crate) platforms: Vec<Descriptor>,
}

impl Image {
    /// Opens an image, and reads its manifests.
    ///
    /// # Errors
    /// When it is not there, or not sound.
    pub(crate) fn open(session: &Session, place: &Place) -> Result<Self> {
        let source: Box<dyn Source> = match place {
            Place::Layout(path, name) | Place::Archive(path, name) => {
                Box::new(LayoutSource::open(path, name.as_deref())?)
            }
            Place::Registry(reference) => {
                Box::new(RegistrySource::open(&registries::client(session)?, reference, None)?)
            }
        };
        let (root, bytes) = source.root()?;
        let graph = Graph::walk(&root, bytes, &*source, false)?;
        let is_other = |entry: &Descriptor| entry.digest != root.digest;
        let platforms = graph.manifests.iter().filter(|(entry, bytes)| is_other(entry) && is_image(entry, bytes));
        let platforms = platforms.map(|(entry, _)| entry.clone()).collect();
        Ok(Self { source, root, graph, platforms })
    }

    /// Gives all that evidence may be about: the image that was named, and the manifest of each platform.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.root).chain(&self.platforms)
    }

    /// Gives what a statement about the image is about: the image that was named, and its manifest where it is for one platform alone; or the manifest
    /// of one platform.
    ///
    /// # Errors
    /// When it is not for that platform.
    pub(crate) fn told(&self, platform: Option<Platform>) -> Result<Vec<&Descriptor>> {
        match (platform, self.platforms.as_slice()) {
            (Some(platform), _) => Ok(vec![self.platform(platform)?]),
            (None, [only]) => Ok(vec![&self.root, only]),
            (None, _) => Ok(vec![&self.root]),
        }
    }

    /// Gives the digests of these.
    pub(crate) fn digests(&self) -> Subjects {
        Subjects { root: self.root.digest, platforms: self.platforms.iter().map(|one| one.digest).collect() }
    }

    /// Reads what the configurations of the image say, as far as they are documents of an image.
    pub(crate) fn facts(&self) -> Facts {
        let mut platforms = Vec::new();
        for subject in self.subjects() {
            let manifest = self.graph.manifests.iter().find(|(entry, _)| entry.digest == subject.digest);
            let manifest = manifest.and_then(|(_, bytes)| serde_json::from_slice::<Manifest>(bytes).ok());
            let Some(manifest) = manifest else { continue };
            let bytes = small(&*self.source, &manifest.config);
            let config = bytes.and_then(|bytes| serde_json::from_slice::<ImageConfig>(&bytes).ok());
            let (user, created) = config.map(|config| (config.config.user, config.created)).unwrap_or_default();
            platforms.push(PlatformFacts { manifest: subject.digest, user, created });
        }
        Facts { image: self.root.digest, platforms, now: now() }
    }

    /// Finds the manifest for a platform.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn platform(&self, platform: Platform) -> Result<&Descriptor> {
        let digests: Vec<Digest> = self
            .graph
            .manifests
            .iter()
            .filter(|(entry, _)| entry.media_type == oci::INDEX || entry.media_type == oci::DOCKER_INDEX)
            .filter_map(|(_, bytes)| serde_json::from_slice::<Index>(bytes).ok())
            .flat_map(|index| index.manifests)
            .filter(|entry| {
                let fields = entry.platform.as_ref();
                fields.is_some_and(|one| one.os == platform.os() && one.architecture == platform.architecture())
            })
            .map(|entry| entry.digest)
            .collect();
        let found = self.platforms.iter().find(|one| digests.contains(&one.digest));
        Ok(found.ok_or(EvidenceError::NoPlatform(platform))?)
    }
}

/// Says whether a manifest is that of an image: BuildKit puts statements into such manifests too.
fn is_image(entry: &Descriptor, bytes: &[u8]) -> bool {
    if ![oci::MANIFEST, oci::DOCKER_MANIFEST].contains(&entry.media_type.as_str()) {
        return false;
    }
    let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) else { return false };
    [oci::CONFIG, oci::DOCKER_CONFIG].contains(&manifest.config.media_type.as_str())
        && manifest.layers.iter().all(|layer| layer.media_type != statement::MEDIA_TYPE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_lies_there_and_all_else_a_reference() {
        let read = |text: &str| text.parse::<What>().expect("something");
        assert_eq!(read("file:x"), What::File("x".into()));
        assert_eq!(read("/"), What::Image(Place::Layout("/".into(), None)));
        assert_eq!(read("Cargo.toml"), What::File("Cargo.toml".into()));
        assert_eq!(read("oci:a:b"), What::Image(Place::Layout("a".into(), Some("b".into()))));
        assert!(matches!(read("r.example/shop:1"), What::Image(Place::Registry(_))));
        assert!("nothing here".parse::<What>().is_err());
    }
}
