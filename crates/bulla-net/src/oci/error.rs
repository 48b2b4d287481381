//! What can go wrong with a registry. Texts of a registry are made harmless where they come in.

use bulla_model::{Digest, Fault, Kind};

use crate::{download::SinkError, error::NetError};

/// Says why a registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The network, the server or its bytes, as for every download.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The login for a registry could not be had.
    #[error("looking for the login of {host}")]
    Login {
        /// The registry.
        host: String,
        /// What happened.
        #[source]
        source: SinkError,
    },
    /// The registry lets nobody in, or not this login.
    #[error("{host} does not allow to {what}{}{}", if *with_login { " with the login that it was given" } else { " without a login" }, said(message))]
    Denied {
        /// The registry.
        host: String,
        /// What was tried: `push to team/shop`.
        what: String,
        /// Whether a login was given.
        with_login: bool,
        /// What the registry said, made harmless.
        message: String,
    },
    /// The registry wants to be answered in a way that is not known, or not safe.
    #[error("{host} wants a login in a way that is not followed: {reason}")]
    Challenge {
        /// The registry.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The registry refused a request.
    #[error("{host} did not {what}: {status}{}", said(message))]
    Refused {
        /// The registry.
        host: String,
        /// What was tried: `give the manifest of team/shop:1`.
        what: String,
        /// The status.
        status: u16,
        /// What the registry said, made harmless.
        message: String,
    },
    /// The answer contradicts the question or the specification.
    #[error("{host} answered nonsense when it was to {what}: {reason}")]
    Nonsense {
        /// The registry.
        host: String,
        /// What was tried.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// What came is not what was asked for by its digest.
    #[error("{what} is not what it should be: expected {expected}, got {actual}")]
    WrongDigest {
        /// What came.
        what: String,
        /// The digest that it should have.
        expected: Digest,
        /// The digest that it has.
        actual: Digest,
    },
    /// What came is longer than is accepted.
    #[error("{what} is longer than {limit} bytes, the most that is accepted")]
    TooLarge {
        /// What came.
        what: String,
        /// The most bytes.
        limit: u64,
    },
    /// What is to be sent could not be read.
    #[error("reading what is to be sent to {host}")]
    Source {
        /// The registry.
        host: String,
        /// What happened.
        #[source]
        source: std::io::Error,
    },
    /// A spec or lock names a registry of this machine that the configuration does not know.
    #[error(
        "the registry {host} is an address of this machine or its link, and only the user's configuration may name such a place"
    )]
    Local {
        /// The registry.
        host: String,
    },
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl RegistryError {
    /// Says whether the registry has no such thing.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Net(error) => error.is_not_found(),
            Self::Refused { status, .. } => matches!(status, 404 | 410),
            _ => false,
        }
    }
}

impl Fault for RegistryError {
    fn kind(&self) -> Kind {
        match self {
            Self::Net(error) => error.kind(),
            Self::Login { .. } | Self::Denied { .. } | Self::Source { .. } | Self::Nonsense { .. } => Kind::Environment,
            Self::Refused { status: 404 | 410, .. } => Kind::Spec,
            Self::Refused { .. } => Kind::Environment,
            Self::Challenge { .. } | Self::Local { .. } => Kind::Policy,
            Self::WrongDigest { .. } | Self::TooLarge { .. } => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Net(NetError::Tls { .. }) => {
                "where the registry has no encryption, name it under `insecure` in `[registry.oci]` of the configuration; where its \
                 authority is a company's, name that under `ca-files`"
            }
            Self::Net(NetError::WrongDigest { .. } | NetError::WrongSize { .. }) => {
                "the registry, or something on the way to it, changed the blob: try again, or another copy of the image"
            }
            Self::Net(error) => return error.hints(),
            Self::Denied { with_login: false, .. } => {
                "log in first (`docker login HOST`, `podman login HOST`): Bulla reads the logins that these keep"
            }
            Self::Denied { .. } => "see that the login may do this in this repository, and has not run out",
            Self::Login { .. } => "see that the credential helper of your Docker or Podman configuration works",
            Self::Challenge { .. } => "ask who runs the registry to offer its token service over HTTPS",
            Self::Refused { status: 404, .. } => {
                "see that the name and the tag are right, and that the login may see it"
            }
            Self::WrongDigest { .. } | Self::TooLarge { .. } => {
                "the registry, or something on the way to it, is not to be trusted with this image"
            }
            Self::Local { host } => {
                return vec![format!(
                    "if you trust it, write `local = [\"{host}\"]` under `[registry.oci]` in Bulla's configuration"
                )];
            }
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}
