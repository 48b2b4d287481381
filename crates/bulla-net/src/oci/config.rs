//! What the client is told of registries by those who read configurations.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bulla_model::oci::Reference;

use crate::{config::Secret, download::SinkError};

/// What proves to a registry who one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// A name and a password.
    Password {
        /// The name.
        name: String,
        /// The password or token.
        password: Secret,
    },
    /// A refresh token of the registry's token service (Docker's "identity token").
    Identity(Secret),
}

/// Gives the logins of registries: out of the files that Docker and Podman keep, or what helpers answer.
pub trait Logins: Send + Sync {
    /// Gives the login for a repository of a registry; the registry is named by its host and port as references name it.
    ///
    /// # Errors
    /// When there should be one and it cannot be had: a helper fails.
    fn login(&self, host: &str, repository: &str) -> Result<Option<Login>, SinkError>;
}

/// Knows no login.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLogins;

impl Logins for NoLogins {
    fn login(&self, _: &str, _: &str) -> Result<Option<Login>, SinkError> {
        Ok(None)
    }
}

/// What the user's configuration says of registries.
#[derive(Clone)]
pub struct RegistryConfig {
    /// The hosts, `HOST[:PORT]`, that may be asked without encryption. Loopback may be always.
    pub insecure: Vec<String>,
    /// The hosts that a spec or lock may name although they are of this machine or its link; the insecure ones are among them.
    pub local: Vec<String>,
    /// Where what a registry has is read instead: by its `HOST[:PORT]`, a mirror as `HOST[:PORT][/PREFIX]`. Pushes go to the
    /// registry itself.
    pub mirrors: BTreeMap<String, String>,
    /// Who knows the logins.
    pub logins: Arc<dyn Logins>,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self { insecure: Vec::new(), local: Vec::new(), mirrors: BTreeMap::new(), logins: Arc::new(NoLogins) }
    }
}

impl RegistryConfig {
    /// Gives where a reference is read, if that is a mirror.
    pub(crate) fn mirrored(&self, reference: &Reference) -> Option<Reference> {
        let mirror = self.mirrors.get(&reference.host().to_ascii_lowercase())?;
        Reference::parse(&format!("{mirror}/{}", reference.repository())).ok()
    }

    pub(crate) fn is_insecure(&self, host: &str) -> bool {
        self.insecure.iter().any(|known| known.eq_ignore_ascii_case(host))
    }

    pub(crate) fn is_named(&self, host: &str) -> bool {
        self.is_insecure(host) || self.local.iter().any(|known| known.eq_ignore_ascii_case(host))
    }
}

impl fmt::Debug for RegistryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryConfig")
            .field("insecure", &self.insecure)
            .field("local", &self.local)
            .field("mirrors", &self.mirrors)
            .finish_non_exhaustive()
    }
}
