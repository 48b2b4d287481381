//! Images of registries and layouts.

use super::{Scalar, wrong};
use crate::oci::BaseReference;

/// A reference to an image, in its full form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::spec) struct ImageReference(pub(in crate::spec) BaseReference);

impl Scalar for ImageReference {
    const NAME: &'static str = "ImageReference";
    const ABOUT: &'static str = "An image of a registry, `registry.example/team/base:1.4`, or of an OCI layout in the project, `oci:FOLDER:NAME`; bulla.lock pins its digest";

    fn read(text: &str) -> Result<Self, String> {
        match BaseReference::parse(text) {
            Ok(reference) => Ok(Self(reference)),
            Err(error) => wrong(
                error,
                "write `HOST/REPOSITORY:TAG`, or `oci:FOLDER:NAME` for an image of an OCI layout in the project",
            ),
        }
    }
}
