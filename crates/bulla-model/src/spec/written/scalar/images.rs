//! Images of registries.

use super::{Scalar, wrong};
use crate::oci::Reference;

/// A reference to an image, in its full form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::spec) struct ImageReference(pub(in crate::spec) Reference);

impl Scalar for ImageReference {
    const NAME: &'static str = "ImageReference";
    const ABOUT: &'static str = "An image of a registry: `registry.example/team/base:1.4`; bulla.lock pins its digest";

    fn read(text: &str) -> Result<Self, String> {
        match Reference::parse(text) {
            Ok(reference) => Ok(Self(reference)),
            Err(error) => wrong(error, "write `HOST/REPOSITORY:TAG`"),
        }
    }
}
