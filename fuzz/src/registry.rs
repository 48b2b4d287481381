//! What registries and those who name them write: references, challenges and manifests.

use bulla_model::oci::{self, ImageConfig, Index, Manifest, Reference, Referrer};
use bulla_net::oci::challenges;
use serde::{Serialize, de::DeserializeOwned};

use crate::text;

/// A reference; its full form is read back as the same.
pub(crate) fn reference(bytes: &[u8]) {
    let text = text(bytes);
    let _ = oci::registry_host(text);
    let Ok(reference) = Reference::parse(text) else { return };
    let full = reference.to_string();
    assert_eq!(Reference::parse(&full).as_ref(), Ok(&reference), "a full reference is read back");
    assert!(reference.tag().is_some() || reference.digest().is_some(), "something is asked for");
    assert!(!reference.repository().contains("..") && !reference.wanted().contains('/'), "it stays in its repository");
    let host = reference.host();
    assert!(!host.contains(['@', '/', '?', '#', '\\', ' ']), "the host of {full} is one");
    let url = format!("https://{}/", reference.host());
    if let Ok(url) = bulla_net::Url::parse(&url) {
        let address = |host: &str| host.strip_prefix('[')?.split_once(']')?.0.parse::<std::net::Ipv6Addr>().ok();
        let of_url = address(url.host());
        let same = of_url.is_some() && of_url == address(host) || host.starts_with(url.host().trim_end_matches('.'));
        assert!(url.path() == "/" && same);
    }
}

/// A `WWW-Authenticate` header.
pub(crate) fn challenge(bytes: &[u8]) {
    let _ = challenges(text(bytes));
}

/// A manifest, an index or a configuration: what is read is written as it is read back.
pub(crate) fn manifest(bytes: &[u8]) {
    again::<Manifest>(bytes);
    again::<Index>(bytes);
    again::<ImageConfig>(bytes);
    for media_type in [oci::MANIFEST, oci::INDEX] {
        let Some(found) = Referrer::read(media_type, bytes) else { continue };
        let entry = oci::encode(&found.entry);
        assert_eq!(serde_json::from_slice(&entry).ok(), Some(found.entry), "how it is listed is read back");
    }
}

fn again<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(document) = serde_json::from_slice::<T>(bytes) else { return };
    let written = oci::encode(&document);
    assert_eq!(serde_json::from_slice::<T>(&written).ok().as_ref(), Some(&document), "what is written is read back");
}
