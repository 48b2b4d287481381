//! Keys of Vault's transit engine, which signs and never gives a private key away.
//!
//! The variables are cosign's and Vault's own: `VAULT_ADDR`, `VAULT_TOKEN` or `~/.vault-token`, `VAULT_NAMESPACE`, and
//! `TRANSIT_SECRET_ENGINE_PATH` where the engine is not at `transit`. What is signed is known before: of P-256 only the SHA-256 goes there.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulla_evidence::{
    json::{self, JsonError},
    key::{Algorithm, PublicKey, SignError, Signer, elsewhere::checked},
};
use bulla_model::{Digest, Fault, Kind};
use bulla_net::{Ask, Client, NetError, Reach, Secret, Url, UrlError};
use serde::Deserialize;

use crate::{
    environment::{self, Environment},
    error::{CliError, Result},
    ops::network,
    registry::Apt,
    secret,
    session::Session,
};

/// The scheme of names.
pub(super) const SCHEME: &str = "hashivault://";
/// The most bytes of an answer.
const MAX_ANSWER: u64 = 256 << 10;
/// The most bytes of a token, and of a name.
const MAX_TOKEN: usize = 8 << 10;
const MAX_NAME: usize = 256;
/// Where the engine is, where nothing else is said.
const ENGINE: &str = "transit";

/// A key of a Vault.
pub(super) struct Vault {
    access: Access,
    name: String,
    /// The newest version of the key when it was opened: it signs, whatever happens to the key meanwhile.
    version: u64,
    public: PublicKey,
}

/// What can go wrong with a Vault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VaultError {
    /// The name is none.
    #[error("`{0}` is not followed by the name of a key: letters, digits, `-`, `_` and `.`", SCHEME)]
    Name,
    /// A variable is missing.
    #[error("{0}")]
    Missing(&'static str),
    /// A variable has what cannot be.
    #[error("`${0}` {1}")]
    Variable(&'static str, &'static str),
    /// The address is none.
    #[error("reading the address in `$VAULT_ADDR`")]
    Address(#[source] UrlError),
    /// It does not answer, or with an error.
    #[error("asking Vault to {what}")]
    Asked {
        /// What was asked.
        what: &'static str,
        /// What happened.
        source: NetError,
    },
    /// What it answered is none.
    #[error("what Vault answered to {what} cannot be read")]
    Answer {
        /// What was asked.
        what: &'static str,
        /// What is wrong with it.
        source: JsonError,
    },
    /// What it answered is not what was asked for.
    #[error("what Vault answered makes no sense: {0}")]
    Nonsense(&'static str),
    /// The key is of another algorithm.
    #[error("the key `{name}` of Vault is of the type `{kind}`, and neither `ecdsa-p256` nor `ed25519`")]
    Kind {
        /// The name of the key.
        name: String,
        /// Its type.
        kind: String,
    },
}

impl Fault for VaultError {
    fn kind(&self) -> Kind {
        match self {
            Self::Name | Self::Kind { .. } => Kind::Spec,
            Self::Missing(_) | Self::Variable(..) | Self::Address(_) => Kind::Environment,
            Self::Asked { source, .. } => source.kind(),
            Self::Answer { .. } | Self::Nonsense(_) => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Asked { source: NetError::Status { status: 403, .. }, .. } => {
                vec!["the token is wrong or has ended, or its policy does not allow `read` of the key and `update` of `sign/KEY`".into()]
            }
            Self::Asked { source: NetError::Status { status: 404, .. }, .. } => {
                vec![
                    "there is no key of the name, or the engine is elsewhere than `$TRANSIT_SECRET_ENGINE_PATH` says"
                        .into(),
                ]
            }
            Self::Asked { source, .. } => source.hints(),
            Self::Kind { .. } => vec!["`vault write -f transit/keys/NAME type=ecdsa-p256` makes one".into()],
            _ => Vec::new(),
        }
    }
}

/// How a Vault is asked.
struct Access {
    client: Client,
    /// The address of the engine.
    engine: Url,
    authorization: Secret,
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
struct KeyData {
    #[serde(rename = "type")]
    kind: String,
    latest_version: u64,
    keys: BTreeMap<String, KeyVersion>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum KeyVersion {
    Asymmetric {
        public_key: String,
    },
    /// Of keys that have no public half, the time.
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct SignatureData {
    signature: String,
}

impl Vault {
    /// Opens the key of a name, by what the environment says.
    ///
    /// # Errors
    /// When something is not set, or Vault has no such key for whoever asks.
    pub(super) fn open(session: &Session, name: &str) -> Result<Self> {
        secret::no_core_dumps();
        let name = name.strip_prefix(SCHEME).filter(|name| is_name(name)).ok_or(VaultError::Name)?;
        let access = Access::new(&session.environment.vault, token(&session.environment)?, || {
            network::client(session, &Apt::read(session)?)
        })?;
        Ok(Self::with(access, name)?)
    }

    fn with(access: Access, name: &str) -> Result<Self, VaultError> {
        const WHAT: &str = "show the key";
        let found: KeyData = access.ask(WHAT, &format!("keys/{name}"), None)?;
        let algorithm = match found.kind.as_str() {
            "ecdsa-p256" => Algorithm::P256,
            "ed25519" => Algorithm::Ed25519,
            kind => {
                return Err(VaultError::Kind { name: name.to_owned(), kind: crate::neutral::line(kind).to_string() });
            }
        };
        let Some(KeyVersion::Asymmetric { public_key }) = found.keys.get(&found.latest_version.to_string()) else {
            return Err(VaultError::Nonsense("the newest version of the key has no public key"));
        };
        let public = match algorithm {
            Algorithm::P256 => PublicKey::parse(public_key.as_bytes()).ok().filter(|key| key.algorithm() == algorithm),
            Algorithm::Ed25519 => {
                let bytes = STANDARD.decode(public_key).ok();
                bytes.and_then(|bytes| PublicKey::of_point(algorithm, &bytes).ok())
            }
        };
        let public = public.ok_or(VaultError::Nonsense("the public key is none of the key's type"))?;
        Ok(Self { access, name: name.to_owned(), version: found.latest_version, public })
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, VaultError> {
        const WHAT: &str = "sign";
        let (path, question) = match self.public.algorithm() {
            Algorithm::P256 => {
                let input = STANDARD.encode(Digest::of(message).as_bytes());
                let question = serde_json::json!({
                    "input": input, "prehashed": true, "marshaling_algorithm": "asn1", "key_version": self.version,
                });
                (format!("sign/{}/sha2-256", self.name), question)
            }
            Algorithm::Ed25519 => {
                let question = serde_json::json!({ "input": STANDARD.encode(message), "key_version": self.version });
                (format!("sign/{}", self.name), question)
            }
        };
        let answer: SignatureData = self.access.ask(WHAT, &path, Some(&json::write(&question)))?;
        let signature = answer.signature.strip_prefix(&format!("vault:v{}:", self.version));
        let signature = signature.ok_or(VaultError::Nonsense("the signature is of another version of the key"))?;
        STANDARD.decode(signature).map_err(|_| VaultError::Nonsense("the signature is not base64"))
    }
}

impl Signer for Vault {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.signature(message).map_err(|error| SignError::Refused(error.into()))?;
        checked(&self.public, message, signature)
    }

    fn repeats(&self) -> bool {
        self.public.algorithm() == Algorithm::Ed25519
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("public", &self.public.digest()).finish_non_exhaustive()
    }
}

impl Access {
    /// Says how Vault is asked, by what the environment says.
    fn new(vault: &environment::Vault, authorization: Secret, client: impl FnOnce() -> Result<Client>) -> Result<Self> {
        let address = vault.address.as_deref().ok_or(VaultError::Missing(
            "nothing says where Vault is: set `VAULT_ADDR` to its address, as `https://vault.example:8200`",
        ))?;
        let address = Url::parse(address.trim_end_matches('/')).map_err(VaultError::Address)?;
        let wrong = |variable, problem| VaultError::Variable(variable, problem);
        if !address.is_secure() && !address.is_loopback() {
            let problem = "is neither https nor on this machine: the token would be read on the way";
            return Err(wrong("VAULT_ADDR", problem).into());
        }
        let engine = vault.engine.as_deref().unwrap_or(ENGINE);
        if !engine.split('/').all(is_name) || engine.len() > MAX_NAME {
            return Err(wrong("TRANSIT_SECRET_ENGINE_PATH", "is no path of an engine, as `transit`").into());
        }
        let namespace = vault.namespace.clone();
        let is_plain = |name: &str| name.len() <= MAX_NAME && name.chars().all(|c| c.is_ascii_graphic());
        if !namespace.as_deref().is_none_or(is_plain) {
            return Err(wrong("VAULT_NAMESPACE", "is no name of a namespace").into());
        }
        let engine = address.beneath(&format!("v1/{engine}")).map_err(VaultError::Address)?;
        Ok(Self { client: client()?, engine, authorization, namespace })
    }

    fn ask<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        path: &str,
        question: Option<&[u8]>,
    ) -> Result<T, VaultError> {
        let url = self.engine.beneath(path).map_err(VaultError::Address)?;
        let mut headers = vec![("accept", "application/json")];
        headers.extend(self.namespace.as_deref().map(|namespace| ("x-vault-namespace", namespace)));
        headers.extend(question.map(|_| ("content-type", "application/json")));
        let ask = Ask {
            url: &url,
            reach: Reach::Configured,
            body: question,
            headers: &headers,
            logins: false,
            // Not in a header of Vault's own: this one is dropped where a redirect leads elsewhere.
            authorization: Some(&self.authorization),
            max_size: MAX_ANSWER,
        };
        let asked = self.client.ask(&ask, Vec::new, &|_| ());
        let (bytes, _) = asked.map_err(|source| VaultError::Asked { what, source })?;
        let most = usize::try_from(MAX_ANSWER).unwrap_or(usize::MAX);
        let answer = json::read_as::<Answer<T>>(&bytes, most);
        answer.map(|answer| answer.data).map_err(|source| VaultError::Answer { what, source })
    }
}

/// Finds the token: in its variable, else in the file that `vault login` writes.
fn token(environment: &Environment) -> Result<Secret> {
    use std::io::Read as _;
    let text = match environment.secret("VAULT_TOKEN").filter(|token| !token.is_empty()) {
        Some(token) => token,
        None => {
            let missing =
                VaultError::Missing("there is no token for Vault: set `VAULT_TOKEN`, or log in by `vault login`");
            let Some(path) = environment.home.as_ref().map(|home| home.join(".vault-token")) else {
                return Err(missing.into());
            };
            match fs_err::File::open(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing.into()),
                file => {
                    let mut bytes = Vec::with_capacity(MAX_TOKEN + 2);
                    file.and_then(|file| file.take(MAX_TOKEN as u64 + 1).read_to_end(&mut bytes))
                        .map_err(CliError::file)?;
                    bytes
                }
            }
        }
    };
    let text = text.trim_ascii();
    let is_one = !text.is_empty() && text.len() <= MAX_TOKEN && text.iter().all(u8::is_ascii_graphic);
    let text = std::str::from_utf8(text).ok().filter(|_| is_one);
    let text = text.ok_or(VaultError::Variable("VAULT_TOKEN", "or the file `.vault-token` has no token in it"))?;
    Ok(Secret::new(format!("Bearer {text}")))
}

/// Says whether a text is the name of a key, or a part of the engine's path.
fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let outer = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= MAX_NAME && text.chars().all(inner) && text.starts_with(outer) && text.ends_with(outer)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use bulla_net::{NetConfig, Timeouts};
    use bulla_testkit::{Vault as Real, VaultFault};

    use super::*;

    #[test]
    fn a_vault_that_is_slow_is_not_waited_for() {
        let Some(real) = Real::start() else { return };
        real.key("one", "ecdsa-p256", 1);
        let short = Duration::from_secs(2);
        let timeouts =
            Timeouts { response: short, stall: short, pause: Duration::from_millis(1), ..Timeouts::default() };
        let config = || NetConfig { timeouts: timeouts.clone(), retries: 0, ..NetConfig::default() };
        let vault =
            environment::Vault { address: Some(real.url()), engine: Some(Real::ENGINE.to_owned()), namespace: None };
        let open = || {
            let token = Secret::new(format!("Bearer {}", Real::TOKEN));
            let access = Access::new(&vault, token, || Ok(Client::new(config())?));
            Vault::with(access.expect("a good address"), "one")
        };
        let key = open().expect("it is quick");
        real.fault(Some(VaultFault::Slow));
        let began = Instant::now();
        assert!(matches!(open(), Err(VaultError::Asked { source: NetError::Stalled { .. }, .. })));
        assert!(matches!(key.sign(b"message"), Err(SignError::Refused(_))));
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        real.fault(None);
        assert!(key.sign(b"message").is_ok(), "the control");
    }

    #[test]
    fn names_are_of_letters_and_lead_nowhere_else() {
        for good in ["release", "a", "team_1.release-2", "_x"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "../x", "a/b", "a?b", "a#b", "-a", "a-", "a b", "ä", "a%2fb", &"a".repeat(257)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
