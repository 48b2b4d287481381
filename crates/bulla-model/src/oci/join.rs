//! Joins the indexes of an image's platforms into one (`image-index.md`).

use std::collections::BTreeMap;

use super::{Annotations, Descriptor, Index, MANIFEST, PlatformFields};
use crate::{
    digest::Digest,
    fault::{Fault, Kind},
};

/// What a manifest is that says something of an image beside it: BuildKit's word for attestations in an index.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// The image that it says something of.
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// Says why indexes cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Two images are for the same platform.
    #[error("two images are for {platform}: {first} and {second}")]
    Twice {
        /// The platform.
        platform: String,
        /// The digest of the first.
        first: Digest,
        /// The digest of the second.
        second: Digest,
    },
    /// A manifest does not say where it runs.
    #[error("{digest} does not say which platform it is for")]
    NoPlatform {
        /// The manifest.
        digest: Digest,
    },
    /// Something is no image of one platform.
    #[error("{digest} is {what}, and no image of one platform")]
    NoImage {
        /// What leads nowhere.
        digest: Digest,
        /// What it is.
        what: &'static str,
    },
    /// There is nothing to join.
    #[error("there is no image to make an index of")]
    Empty,
}

impl Fault for JoinError {
    fn kind(&self) -> Kind {
        Kind::Spec
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Twice { .. } => vec!["an index has one image for each platform: leave out one of the two".to_owned()],
            _ => Vec::new(),
        }
    }
}

/// Joins indexes, each of which has images of single platforms. What all of them are said to be, the whole is said to be too;
/// images stand in the order of their platforms, and what is said of them (attestations) after them all.
///
/// # Errors
/// When two images are for the same platform, or something is no image.
pub fn join(indexes: Vec<Index>) -> Result<Index, JoinError> {
    let mut images: BTreeMap<(String, String, String), Descriptor> = BTreeMap::new();
    let mut said: Vec<Descriptor> = Vec::new();
    let mut annotations: Option<Annotations> = None;
    for index in indexes {
        annotations = Some(match annotations {
            None => index.annotations,
            Some(mut common) => {
                common.retain(|key, value| index.annotations.get(key) == Some(value));
                common
            }
        });
        for entry in index.manifests {
            if entry.annotations.contains_key(REFERENCE_TYPE) {
                said.push(entry);
                continue;
            }
            let place = place(&entry)?;
            if let Some(first) = images.get(&place) {
                let platform = shown(&entry.platform);
                return Err(JoinError::Twice { platform, first: first.digest, second: entry.digest });
            }
            images.insert(place, entry);
        }
    }
    let position = |entry: &Descriptor| {
        let digest = entry.annotations.get(REFERENCE_DIGEST);
        images.values().position(|image| Some(&image.digest.to_string()) == digest)
    };
    if let Some(stray) = said.iter().find(|entry| position(entry).is_none()) {
        return Err(JoinError::NoImage { digest: stray.digest, what: "an attestation of something else" });
    }
    said.sort_by_key(position);
    if images.is_empty() {
        return Err(JoinError::Empty);
    }
    let manifests = images.values().cloned().chain(said).collect();
    Ok(Index { annotations: annotations.unwrap_or_default(), ..Index::new(manifests) })
}

fn place(entry: &Descriptor) -> Result<(String, String, String), JoinError> {
    let digest = entry.digest;
    if ![MANIFEST, super::DOCKER_MANIFEST].contains(&entry.media_type.as_str()) {
        return Err(JoinError::NoImage { digest, what: "an index or something unknown" });
    }
    if entry.artifact_type.is_some() {
        return Err(JoinError::NoImage { digest, what: "an artifact" });
    }
    match &entry.platform {
        Some(PlatformFields { os, architecture, variant }) if os != "unknown" && !os.is_empty() => {
            // Without a variant, 64-bit ARM is the eighth, as clients read it.
            let variant = variant.clone().filter(|variant| architecture != "arm64" || variant != "v8");
            Ok((os.clone(), architecture.clone(), variant.unwrap_or_default()))
        }
        _ => Err(JoinError::NoPlatform { digest }),
    }
}

fn shown(platform: &Option<PlatformFields>) -> String {
    let Some(PlatformFields { os, architecture, variant }) = platform else { return String::new() };
    let text = match variant {
        Some(variant) => format!("{os}/{architecture}/{variant}"),
        None => format!("{os}/{architecture}"),
    };
    text.chars().take(100).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Platform;

    fn image(name: &str, platform: Option<PlatformFields>) -> Descriptor {
        Descriptor { platform, ..Descriptor::new(MANIFEST, Digest::of(name), 7) }
    }

    fn index(manifests: Vec<Descriptor>, annotations: &[(&str, &str)]) -> Index {
        let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Index { annotations, ..Index::new(manifests) }
    }

    fn attestation(of: &Descriptor) -> Descriptor {
        let mut entry = image("attestation", None);
        entry.annotations.insert(REFERENCE_TYPE.to_owned(), "attestation-manifest".to_owned());
        entry.annotations.insert(REFERENCE_DIGEST.to_owned(), of.digest.to_string());
        entry
    }

    #[test]
    fn the_order_of_the_parts_makes_no_difference() {
        let amd64 = image("a", Some(Platform::LinuxAmd64.into()));
        let arm64 = image("b", Some(Platform::LinuxArm64.into()));
        let one = index(vec![amd64.clone()], &[("same", "x"), ("other", "1")]);
        let two = index(vec![arm64.clone(), attestation(&arm64)], &[("same", "x"), ("other", "2")]);
        let joined = join(vec![one.clone(), two.clone()]).expect("joined");
        assert_eq!(joined.manifests, [amd64, arm64.clone(), attestation(&arm64)]);
        assert_eq!(joined.annotations.keys().collect::<Vec<_>>(), ["same"]);
        assert_eq!(join(vec![two, one.clone()]), Ok(joined));
        assert_eq!(join(vec![one.clone()]), Ok(one));
    }

    #[test]
    fn what_is_no_image_of_a_platform_of_its_own_is_refused() {
        let arm64 = |name| image(name, Some(Platform::LinuxArm64.into()));
        let v8 = PlatformFields { variant: Some("v8".to_owned()), ..Platform::LinuxArm64.into() };
        let nested = Descriptor { media_type: super::super::INDEX.to_owned(), ..arm64("a") };
        let artifact = Descriptor { artifact_type: Some("x/y".to_owned()), ..arm64("a") };
        for bad in [
            vec![arm64("a"), arm64("b")],
            vec![arm64("a"), arm64("a")],
            vec![arm64("a"), image("b", Some(v8))],
            vec![image("a", None)],
            vec![nested],
            vec![artifact],
            vec![arm64("a"), attestation(&arm64("b"))],
            vec![],
        ] {
            assert!(join(vec![index(bad.clone(), &[])]).is_err(), "{bad:?}");
        }
    }
}
