//! Why a resolution fails.

use bulla_model::{Fault, Kind};

use super::unpack::UnpackError;
use crate::debian::{
    packages::PackagesError,
    release::{FileSum, ReleaseError},
    solve::SolveError,
};

/// Says why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The inquiry names something that cannot be.
    #[error("`{text}` cannot be {what}")]
    Inquiry {
        /// What was written.
        text: String,
        /// What it should have been.
        what: &'static str,
    },
    /// A mirror does not have the index.
    #[error("the repository has no suite `{suite}`: neither `InRelease` nor `Release` is there")]
    NoSuite {
        /// The key of the suite.
        suite: String,
    },
    /// The signed index is refused.
    #[error("refusing the index of `{suite}`")]
    Release {
        /// The key of the suite.
        suite: String,
        /// Why.
        #[source]
        source: Box<ReleaseError>,
    },
    /// The index is that of another suite, though its signature is good.
    #[error("the index of `{suite}` is that of another suite: it calls itself `{found}`")]
    OtherSuite {
        /// The key of the suite.
        suite: String,
        /// The names that the index gives itself.
        found: String,
    },
    /// The suite has no such component for the architecture.
    #[error("`{suite}` has no component `{component}` for {architecture}; it has {}", components.join(", "))]
    NoComponent {
        /// The key of the suite.
        suite: String,
        /// What was asked for.
        component: String,
        /// Debian's name of the architecture.
        architecture: &'static str,
        /// What there is.
        components: Vec<String>,
    },
    /// A mirror does not have a file that the signed index names.
    #[error("`{path}` of `{suite}` is named by the index, but the mirror does not have it")]
    Absent {
        /// The key of the suite.
        suite: String,
        /// The path beneath the base of the repository.
        path: String,
    },
    /// The bytes are not those that the signed index names.
    #[error("`{path}` of `{suite}` is not what the index says: expected {} ({} bytes), got {} ({} bytes)", expected.0, expected.1, found.0, found.1)]
    Mismatch {
        /// The key of the suite.
        suite: String,
        /// The path beneath the base of the repository.
        path: String,
        /// The digest and size in the index.
        expected: Box<FileSum>,
        /// Those of the bytes.
        found: Box<FileSum>,
    },
    /// A file is longer than it may be.
    #[error("`{path}` of `{suite}` is longer than {max_size} bytes")]
    TooLong {
        /// The key of the suite.
        suite: String,
        /// The path beneath the base of the repository.
        path: String,
        /// The limit.
        max_size: u64,
    },
    /// A list of packages cannot be unpacked.
    #[error("unpacking `{path}` of `{suite}`")]
    Unpack {
        /// The key of the suite.
        suite: String,
        /// The path beneath the base of the repository.
        path: String,
        /// Why.
        #[source]
        source: Box<UnpackError>,
    },
    /// A list of packages cannot be read.
    #[error("reading `{path}` of `{suite}`")]
    Packages {
        /// The key of the suite.
        suite: String,
        /// The path beneath the base of the repository.
        path: String,
        /// Why.
        #[source]
        source: Box<PackagesError>,
    },
    /// No source package fits.
    #[error(
        "there is no source package `{request}` in {}{}", suites.join(", "),
        if versions.is_empty() { String::new() } else { format!("; there is {}", versions.join(", ")) }
    )]
    NoSource {
        /// What was asked for.
        request: String,
        /// Where it was looked for.
        suites: Vec<String>,
        /// The versions that there are.
        versions: Vec<String>,
    },
    /// No choice of packages fits.
    #[error("choosing the packages of `{root}`")]
    Solve {
        /// The name of the root.
        root: String,
        /// Why.
        #[source]
        source: Box<SolveError>,
    },
    /// The caller finished, or told of a file, out of turn.
    #[error("`{0}` was not expected at this time")]
    OutOfTurn(String),
}

impl Fault for ResolveError {
    fn kind(&self) -> Kind {
        match self {
            Self::Inquiry { .. } | Self::NoSuite { .. } | Self::NoComponent { .. } | Self::NoSource { .. } => {
                Kind::Spec
            }
            Self::Absent { .. } => Kind::Environment,
            Self::Release { source, .. } => source.kind(),
            Self::Solve { source, .. } => source.kind(),
            Self::OutOfTurn(_) => Kind::Internal,
            _ => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Release { source, .. } => source.hints(),
            Self::Solve { source, .. } => source.hints(),
            Self::NoSource { versions, .. } if versions.is_empty() => {
                vec!["a source package has a name of its own: `apt-cache showsrc PACKAGE` gives it".to_owned()]
            }
            Self::Absent { .. } | Self::Mismatch { .. } => {
                vec![
                    "the mirror may be in the middle of an update; try again in some minutes, or another mirror"
                        .to_owned(),
                ]
            }
            _ => Vec::new(),
        }
    }
}
