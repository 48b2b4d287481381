//! What can be wrong with an image on its way.

use bulla_model::{Digest, Fault, Kind, Platform, oci::ReferenceError};

/// Says why an image was not brought over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    /// A text names no place of an image.
    #[error("`{text}` names no place of an image: {reason}")]
    Place {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A reference is wrong.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A layout has several images, and it was not said which.
    #[error("{place} has {count} images, and it is not said which one is meant")]
    Which {
        /// The layout.
        place: String,
        /// How many images it has.
        count: usize,
    },
    /// A layout has no such image.
    #[error("{place} has no image{}", name.as_ref().map(|name| format!(" of the name `{name}`")).unwrap_or_default())]
    NoImage {
        /// The layout.
        place: String,
        /// The name that was looked for.
        name: Option<String>,
    },
    /// A document is not what its media type says.
    #[error("{digest} is not a document of the OCI image specification")]
    Document {
        /// The document.
        digest: Digest,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// An image leads to something of a kind that is not known.
    #[error("{digest} is of the media type `{media_type}`, which is no manifest that is known")]
    MediaType {
        /// The document.
        digest: Digest,
        /// Its media type.
        media_type: String,
    },
    /// Two descriptors of one blob contradict each other.
    #[error("{digest} is said to have {first} bytes, and also {second}")]
    Sizes {
        /// The blob.
        digest: Digest,
        /// One size.
        first: u64,
        /// The other.
        second: u64,
    },
    /// An image has more than any has.
    #[error("the image has more than {limit} {what}")]
    Limit {
        /// Of what: `layers`.
        what: &'static str,
        /// The most.
        limit: usize,
    },
    /// What was read back is not what was sent.
    #[error("{place} gave back another manifest than it was given: expected {expected}, got {actual}")]
    ReadBack {
        /// The target.
        place: String,
        /// What was sent.
        expected: Digest,
        /// What came back.
        actual: Digest,
    },
    /// A tag does not lead to what was put there.
    #[error("the tag {tag} leads to {} and not to {expected}: somebody else moves it too", actual.map_or("nothing".to_owned(), |digest| digest.to_string()))]
    Moved {
        /// The reference.
        tag: String,
        /// What was put there.
        expected: Digest,
        /// What is there.
        actual: Option<Digest>,
    },
    /// The reference of a push names a digest.
    #[error("`{reference}` names a digest, and what is pushed has its own: {digest}")]
    OtherDigest {
        /// The reference.
        reference: String,
        /// The digest of the image.
        digest: Digest,
    },
    /// An image is not for a platform.
    #[error("the image is not for {platform}")]
    NoPlatform {
        /// The platform.
        platform: Platform,
    },
    /// A blob is no longer in the store.
    #[error("{digest} of the image is not in the store any more, or was changed there")]
    Missing {
        /// The blob.
        digest: Digest,
    },
}

impl Fault for TransferError {
    fn kind(&self) -> Kind {
        match self {
            Self::Place { .. }
            | Self::Reference(_)
            | Self::Which { .. }
            | Self::NoImage { .. }
            | Self::NoPlatform { .. }
            | Self::OtherDigest { .. } => Kind::Spec,
            Self::Document { .. }
            | Self::MediaType { .. }
            | Self::Sizes { .. }
            | Self::Limit { .. }
            | Self::ReadBack { .. }
            | Self::Missing { .. } => Kind::Integrity,
            Self::Moved { .. } => Kind::Environment,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Place { .. } => "write `oci:DIR`, `oci:DIR:NAME`, `oci-archive:FILE`, or `HOST/REPOSITORY:TAG`",
            Self::Reference(_) => "write `HOST/REPOSITORY:TAG`, for example `registry.example:5000/team/shop:1.4`",
            Self::Which { .. } => "name it: `oci:DIR:NAME`",
            Self::Missing { .. } => "build again: what is missing is made anew",
            Self::Moved { .. } => "use the digest; push again when nobody else does",
            Self::OtherDigest { .. } => "leave `@sha256:…` out",
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}
