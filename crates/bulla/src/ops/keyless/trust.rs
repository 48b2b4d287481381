//! Who may sign, by keys and by certificates, and whose certificates and times are trusted: of the command's options, else of a policy, else of the
//! configuration.

use std::path::{Path, PathBuf};

use bulla_evidence::{
    keyless::{MAX_ROOT, Matcher, PatternError, RootError, TrustedIdentity, TrustedRoot},
    policy::Policy,
    verify::{Certificates, Trust, TrustedKey},
};
use bulla_model::{Epoch, Fault, Kind};
use clap::Args;

use crate::{
    error::{CliError, Result},
    ops::{self, keys},
    session::Session,
};

/// Who may sign; the names are cosign's.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SignerOptions {
    /// The file of a public key that may sign; several times for several keys
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,

    /// Who may sign by a certificate (keyless): an address of mail, or the URI of a workflow
    #[arg(long, value_name = "ID", conflicts_with = "certificate_identity_regexp")]
    certificate_identity: Option<String>,

    /// The same as a regular expression that has to say all of the identity
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    certificate_identity_regexp: Option<Matcher>,

    /// By whose word: the URL of the OIDC issuer that the certificate names
    #[arg(long, value_name = "URL", conflicts_with = "certificate_oidc_issuer_regexp")]
    certificate_oidc_issuer: Option<String>,

    /// The same as a regular expression that has to say all of the URL
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    certificate_oidc_issuer_regexp: Option<Matcher>,

    /// The authorities and logs that are trusted, Sigstore's `trusted_root.json` [default: the policy's, else the configuration's]
    #[arg(long, value_name = "FILE")]
    trusted_root: Option<PathBuf>,
}

fn pattern(text: &str) -> Result<Matcher, PatternError> {
    Matcher::pattern(text)
}

/// What can go wrong with what is trusted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    /// Half of who may sign.
    #[error("who may sign by a certificate takes two: `--certificate-identity` and `--certificate-oidc-issuer`")]
    Half,
    /// Nothing to hold certificates against.
    #[error("who may sign by a certificate is named, and no trusted root to verify certificates by")]
    NoRoot,
    /// The policy says who may sign.
    #[error("the policy says who may sign; `{0}` names somebody where it does not")]
    Twice(&'static str),
    /// The file is no trusted root.
    #[error("reading the trusted root {}", path.display())]
    Root { path: PathBuf, source: RootError },
}

impl Fault for TrustError {
    fn kind(&self) -> Kind {
        Kind::Spec
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Half => "an issuer alone vouches for anybody, and an identity alone is vouched for by anybody",
            Self::NoRoot | Self::Root { .. } => {
                "name the `trusted_root.json` of the instance by `--trusted-root FILE`, in the policy (`trusted-root`) or in the \
                 configuration (`[evidence.keyless] trusted-root`); `cosign trusted-root create` and `gh attestation trusted-root` write one"
            }
            Self::Twice(_) => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

/// Who may sign, with the trusted root where there is one.
#[derive(Debug)]
pub(crate) struct Authorities {
    keys: Vec<TrustedKey>,
    root: Option<TrustedRoot>,
    identities: Vec<TrustedIdentity>,
    now: Epoch,
}

impl Authorities {
    /// Reads what the options, the policy beside its folder, and the configuration say.
    ///
    /// # Errors
    /// When a key or the trusted root cannot be read, or somebody is named in part, twice, or without one.
    pub(crate) fn read(session: &Session, options: &SignerOptions, policy: Option<(&Policy, &Path)>) -> Result<Self> {
        let keys = keys_of(&options.keys, policy)?;
        let of_policy = policy.map(|(policy, _)| policy.identities.clone()).unwrap_or_default();
        let identities = match (options.identity()?, of_policy) {
            (Some(_), known) if !known.is_empty() => return Err(TrustError::Twice("--certificate-identity").into()),
            (Some(one), _) => vec![one],
            (None, known) => known,
        };
        let of_policy = policy.and_then(|(policy, folder)| Some(folder.join(policy.trusted_root.as_ref()?)));
        let path = match options.trusted_root.clone().or(of_policy) {
            Some(path) => Some(path),
            None => session.config()?.evidence.keyless.trusted_root.clone(),
        };
        let root = path.as_deref().map(read_root).transpose()?;
        if root.is_none() && !identities.is_empty() {
            return Err(TrustError::NoRoot.into());
        }
        Ok(Self { keys, root, identities, now: ops::lock::now() })
    }

    /// Gives what is trusted.
    pub(crate) fn trust(&self) -> Trust<'_> {
        let certificates =
            self.root.as_ref().map(|root| Certificates { root, identities: &self.identities, now: self.now });
        Trust { keys: &self.keys, certificates }
    }

    /// Says whether anybody was named who may sign.
    pub(crate) const fn names_somebody(&self) -> bool {
        !self.keys.is_empty() || !self.identities.is_empty()
    }
}

/// Reads the keys that may sign: those of a policy, whose paths are relative to its folder, else those that are named.
///
/// # Errors
/// When both name some, or one cannot be read.
pub(crate) fn keys_of(named: &[PathBuf], policy: Option<(&Policy, &Path)>) -> Result<Vec<TrustedKey>> {
    let (of_policy, folder) = policy.map_or((&[][..], Path::new("")), |(policy, folder)| (&policy.keys[..], folder));
    if !of_policy.is_empty() && !named.is_empty() {
        return Err(TrustError::Twice("--key").into());
    }
    keys::trusted(of_policy.iter().map(|key| folder.join(key)).chain(named.iter().cloned()))
}

impl SignerOptions {
    fn identity(&self) -> Result<Option<TrustedIdentity>> {
        let one = |exact: &Option<String>, pattern: &Option<Matcher>| {
            exact.clone().map(Matcher::Exact).or_else(|| pattern.clone())
        };
        let identity = one(&self.certificate_identity, &self.certificate_identity_regexp);
        let issuer = one(&self.certificate_oidc_issuer, &self.certificate_oidc_issuer_regexp);
        match (identity, issuer) {
            (Some(identity), Some(issuer)) => Ok(Some(TrustedIdentity { identity, issuer })),
            (None, None) => Ok(None),
            _ => Err(TrustError::Half.into()),
        }
    }
}

/// Reads the file of a trusted root.
///
/// # Errors
/// When it cannot be read, or is none.
pub(super) fn read_root(path: &Path) -> Result<TrustedRoot> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = fs_err::File::open(path).map_err(CliError::file)?;
    file.take(MAX_ROOT as u64 + 1).read_to_end(&mut bytes).map_err(CliError::file)?;
    Ok(TrustedRoot::parse(&bytes).map_err(|source| TrustError::Root { path: path.to_owned(), source })?)
}
