//! What things are called inside of documents: names that follow from the content alone.

use bulla_model::Digest;

use super::{Bom, Component, Format};

/// Gives the UUID of a document: version 8, made of the SHA-256 of all that it says (RFC 9562, section 5.8).
pub(super) fn uuid(bom: &Bom, format: Format) -> String {
    // Debug output has every field, and this program's version is among what a document says.
    let mut hasher = bulla_model::Hasher::new();
    hasher.update(format.name().as_bytes());
    hasher.update(super::VERSION.as_bytes());
    hasher.update(format!("{:?}", bom.subject).as_bytes());
    for component in &bom.components {
        hasher.update(format!("{component:?}").as_bytes());
    }
    for file in &bom.files {
        hasher.update(format!("{file:?}").as_bytes());
    }
    hasher.update(format!("{:?}", bom.notes).as_bytes());
    of_digest(&hasher.finish())
}

fn of_digest(digest: &Digest) -> String {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// Names a component: readable, and unique by its place.
pub(super) fn component(at: usize, component: &Component) -> String {
    let kind = component.purl.as_ref().map_or("made", |purl| purl.kind.as_str());
    let name: String =
        component.name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).take(60).collect();
    format!("{kind}-{}-{at}", name.trim_matches('-'))
}

/// Names a file.
pub(super) fn file(at: usize) -> String {
    format!("File-{at}")
}
