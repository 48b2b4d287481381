//! What makes a bundle of a signature: a key, alone or with the time; or a certificate for a key of the moment (keyless), with the entry of a log
//! and a timestamp.
//!
//! Keyless: a key is made in memory, Fulcio gives a certificate for it to whoever has the token, each signature gets a timestamp and an entry of
//! the log, and the bundle is verified by the trusted root before it goes anywhere. The key is wiped at the end of the command.

use std::{path::PathBuf, sync::Arc};

use bulla_evidence::{
    Statement,
    bundle::{Bundle, Draft, MAX_BUNDLE, Material},
    key::{Algorithm, PrivateKey, SignError, Signer, elsewhere::Again},
    keyless::{
        Matcher, TrustedIdentity, TrustedRoot, claimed,
        request::{MAX_TOKEN, RequestError, Token},
    },
    verify::{Certificates, Content, Piece, Trust, TrustedKey, Verdict, assess},
};
use bulla_model::{Digest, Epoch, Fault, Kind, SecretBytes};
use bulla_net::{NetError, Url};
use clap::Args;

use super::{read_root, service::Services};
use crate::{
    error::{CliError, Result},
    ops::{keys, lock::now},
    secret,
    session::Session,
};

/// The variable that has a token, as cosign's.
const VARIABLE: &str = "SIGSTORE_ID_TOKEN";
/// The variables by which a job of GitHub Actions gets one.
const JOB: [&str; 2] = ["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"];

/// How something is signed beside the key.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct KeylessOptions {
    /// Sign without a key: by a certificate of the configured instance, for whoever the token is about [token: $SIGSTORE_ID_TOKEN, else that of the job]
    #[arg(long)]
    keyless: bool,

    /// The same, by the OIDC token in a file
    #[arg(long, value_name = "FILE")]
    identity_token: Option<PathBuf>,
}

impl KeylessOptions {
    /// Says whether it is asked for.
    pub(crate) const fn is_asked_for(&self) -> bool {
        self.keyless || self.identity_token.is_some()
    }
}

/// Why nothing was signed, or what was signed is not good.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    /// There is no token.
    #[error("there is no token to sign by: neither a file is named, nor `${VARIABLE}` set, nor does a job give one")]
    NoToken,
    /// It is none.
    #[error("reading the token of {place}")]
    Token {
        /// Where it is from.
        place: String,
        /// Why.
        source: RequestError,
    },
    /// It is over.
    #[error("the token of {place} ended at {ended}")]
    Over {
        /// Where it is from.
        place: String,
        /// When.
        ended: String,
    },
    /// The provider gave something else.
    #[error("the provider of tokens gave none")]
    NoValue,
    /// The configuration does not say where.
    #[error("the configuration names no `{0}` in `[evidence.keyless]`, and no instance is used by itself")]
    NotConfigured(&'static str),
    /// An address is none.
    #[error("{0} is no address of a service")]
    Address(&'static str),
    /// A token would be readable on the way.
    #[error("a token is sent to {0} without encryption, where everybody on the way could sign by it")]
    Plain(String),
    /// A service does not answer as it should.
    #[error("asking {what}")]
    Service {
        /// Which.
        what: &'static str,
        /// Why.
        source: NetError,
    },
    /// A service answered something else.
    #[error("reading what {what} at {url} answered")]
    Answer {
        /// Which.
        what: &'static str,
        /// Where.
        url: String,
        /// Why.
        source: RequestError,
    },
    /// The key does not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The trusted root is not for what was made.
    #[error("the trusted root has no timestamp authority, so that no time could be verified by it")]
    NoTimestamps,
    /// What was made does not verify.
    #[error("what was signed does not verify by the trusted root, and is not handed out: {what}")]
    NotGood {
        /// Why.
        what: String,
    },
    /// The older form takes keys.
    #[error("the older form of signatures is for keys: without one, bundles are signed (`--form bundle`)")]
    Legacy,
}

impl Fault for SealError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoToken | Self::Over { .. } | Self::NoValue | Self::NotConfigured(_) => Kind::Environment,
            Self::Token { .. } | Self::Address(_) | Self::NoTimestamps | Self::Legacy => Kind::Spec,
            Self::Plain(_) => Kind::Policy,
            Self::Service { source, .. } => source.kind(),
            Self::Sign(error) => error.kind(),
            Self::Answer { .. } | Self::NotGood { .. } => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::NoToken | Self::Token { .. } => {
                "a job of GitHub Actions gets one with `permissions: id-token: write`; elsewhere the provider of identities gives one for the audience `sigstore`"
            }
            Self::Over { .. } => "tokens are good for minutes: get one just before it is used",
            Self::NotConfigured(_) => {
                "write `[evidence.keyless]` with `fulcio`, `rekor`, `timestamp` and `trusted-root`; see docs/evidence.md"
            }
            Self::Plain(_) => "write the address with `https://`",
            Self::Service { source: NetError::Status { status: 400 | 401 | 403, .. }, .. } => {
                "the token may be for another audience than `sigstore`, or of a provider that the instance does not know"
            }
            Self::NotGood { .. } => "the trusted root may be of another instance than the services are",
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

/// How what is built is signed, when it is.
#[derive(Debug, Clone)]
pub(crate) enum Signing {
    /// By a key.
    Key {
        /// The key.
        key: Arc<dyn Signer>,
        /// Whether the configured authority says when it signed.
        timestamp: bool,
    },
    /// By a certificate. It is asked for when there is something to sign: it is good for minutes, which a build may take.
    Keyless {
        /// How it is asked for.
        options: KeylessOptions,
        /// What all that is signed so is known by: the person, the issuer and the log.
        name: Digest,
    },
}

impl Signing {
    /// Signs by a key, if there is an authority where the time is wished: what is missing is said before a long build.
    ///
    /// # Errors
    /// When the time is wished, and no authority or trusted root is configured.
    pub(crate) fn key(session: &Session, key: Arc<dyn Signer>, timestamp: bool) -> Result<Self> {
        if timestamp {
            Timed::new(session)?;
        }
        Ok(Self::Key { key, timestamp })
    }

    /// Signs by a certificate, if there are an instance and a token: what is missing is said before a long build.
    ///
    /// # Errors
    /// When one of them is missing.
    pub(crate) fn keyless(session: &Session, options: &KeylessOptions) -> Result<Self> {
        let timed = Timed::new(session)?;
        let configured = &session.config()?.evidence.keyless;
        configured.fulcio.as_ref().ok_or(SealError::NotConfigured("fulcio"))?;
        let rekor = configured.rekor.as_ref().ok_or(SealError::NotConfigured("rekor"))?;
        let token = token(session, options, &timed.services)?;
        let name = Digest::of(format!("keyless\n{}\n{}\n{}", token.subject, token.issuer, rekor.shown()));
        Ok(Self::Keyless { options: options.clone(), name })
    }

    /// Gives what all that is signed so is known by: what was signed once by the same need not be again.
    pub(crate) fn name(&self) -> Digest {
        match self {
            Self::Key { key, timestamp: false } => key.public().digest(),
            Self::Key { key, timestamp: true } => Digest::of(format!("timestamp\n{}", key.public().digest())),
            Self::Keyless { name, .. } => *name,
        }
    }

    /// Makes what signs.
    ///
    /// # Errors
    /// When the instance gives no certificate.
    pub(crate) fn seal(&self, session: &Session) -> Result<Seal> {
        match self {
            Self::Key { key, timestamp } => Seal::of_key(session, Arc::clone(key), *timestamp),
            Self::Keyless { options, .. } => Seal::keyless(session, options),
        }
    }

    /// Gives the key, which signs in the older form too.
    pub(crate) fn as_key(&self) -> Option<&dyn Signer> {
        match self {
            Self::Key { key, .. } => Some(&**key),
            Self::Keyless { .. } => None,
        }
    }
}

/// What makes bundles.
pub(crate) struct Seal {
    signer: Arc<dyn Signer>,
    /// What was signed before, with the SHA-256 of what it is over.
    known: Vec<(Digest, Vec<u8>)>,
    keys: Vec<TrustedKey>,
    /// The certificate for the key, and where it is logged; nothing where a key signs that stays.
    certified: Option<(Vec<u8>, Url)>,
    identities: Vec<TrustedIdentity>,
    /// Who says when, and what that is verified by.
    timed: Option<Timed>,
}

struct Timed {
    services: Services,
    authority: Url,
    root: TrustedRoot,
    now: Epoch,
}

impl Seal {
    /// Signs by a key, with the time by the configured authority where it is wished.
    ///
    /// # Errors
    /// When the time is wished, and no authority or trusted root is configured.
    pub(crate) fn of_key(session: &Session, signer: Arc<dyn Signer>, timestamp: bool) -> Result<Self> {
        let timed = if timestamp { Some(Timed::new(session)?) } else { None };
        let keys = vec![TrustedKey { name: String::new(), key: signer.public().clone() }];
        Ok(Self { signer, known: Vec::new(), keys, certified: None, identities: Vec::new(), timed })
    }

    /// Makes a key of the moment, and gets a certificate for it.
    ///
    /// # Errors
    /// When there is no token, no instance, or it gives none.
    pub(crate) fn keyless(session: &Session, options: &KeylessOptions) -> Result<Self> {
        secret::no_core_dumps();
        let timed = Timed::new(session)?;
        let configured = &session.config()?.evidence.keyless;
        let fulcio = configured.fulcio.clone().ok_or(SealError::NotConfigured("fulcio"))?;
        let rekor = configured.rekor.clone().ok_or(SealError::NotConfigured("rekor"))?;
        let token = token(session, options, &timed.services)?;
        let key = PrivateKey::generate(Algorithm::P256, &mut keys::random()?);
        let proof = key.sign(token.subject.as_bytes()).map_err(SealError::Sign)?;
        let certificate = timed.services.certificate(&fulcio, &token, key.public(), &proof)?;
        let exact = |text: &str| Matcher::Exact(text.to_owned());
        let identities = vec![TrustedIdentity { identity: exact(&token.subject), issuer: exact(&token.issuer) }];
        Ok(Self {
            signer: Arc::new(key),
            known: Vec::new(),
            keys: Vec::new(),
            certified: Some((certificate, rekor)),
            identities,
            timed: Some(timed),
        })
    }

    /// Does not sign anew what was signed before, by a key that would sign it otherwise each time.
    pub(crate) fn knowing(mut self, signatures: Vec<(Digest, Vec<u8>)>) -> Self {
        self.known = signatures;
        self
    }

    /// Gives the key that signs.
    pub(crate) fn key(&self) -> &dyn Signer {
        self.signer.as_ref()
    }

    fn again(&self) -> Again<'_> {
        Again::new(self.key(), self.known.iter().cloned())
    }

    /// Signs a statement, and gives the bundle of it.
    ///
    /// # Errors
    /// When it is not signed, logged or timed, or does not verify afterwards.
    pub(crate) fn statement(&self, statement: &Statement, subject: &Digest) -> Result<Vec<u8>, SealError> {
        let bundle = self.bundle(Draft::statement(statement, &self.again())?)?;
        self.verified(Piece { subject: *subject, content: Content::Bundle(bundle.clone()) })?;
        Ok(bundle)
    }

    /// Signs a file, and gives the bundle of it.
    ///
    /// # Errors
    /// When it is not signed, logged or timed, or does not verify afterwards.
    pub(crate) fn file(&self, file: &Arc<[u8]>) -> Result<Vec<u8>, SealError> {
        let bundle = self.bundle(Draft::file(file, &self.again())?)?;
        let content = Content::FileBundle { bundle: bundle.clone(), file: file.clone() };
        self.verified(Piece { subject: Digest::of(file), content })?;
        Ok(bundle)
    }

    fn bundle(&self, draft: Draft) -> Result<Vec<u8>, SealError> {
        let Some(timed) = &self.timed else { return Ok(draft.with_key(self.signer.public(), None)) };
        let timestamp = timed.services.timestamp(&timed.authority, draft.signature())?;
        let Some((certificate, rekor)) = &self.certified else {
            return Ok(draft.with_key(self.signer.public(), Some(&timestamp)));
        };
        let entry = timed.services.entry(rekor, &draft, certificate)?;
        Ok(draft.with_certificate(certificate, entry, &timestamp))
    }

    /// Holds what was made against the trusted root: nothing is handed out that nobody would take.
    fn verified(&self, piece: Piece) -> Result<(), SealError> {
        let claim = assess(&piece, self.trust()).claim;
        let timed = self.timed.is_none() || claim.signed.is_some_and(|signed| !signed.times.is_empty());
        match claim.verdict {
            Verdict::Proven if timed => Ok(()),
            _ => Err(SealError::NotGood { what: claim.detail }),
        }
    }

    /// Gives what verifies that this signed.
    pub(crate) fn trust(&self) -> Trust<'_> {
        let certificates = self.timed.as_ref();
        let certificates =
            certificates.map(|Timed { root, now, .. }| Certificates { root, identities: &self.identities, now: *now });
        Trust { keys: &self.keys, certificates }
    }

    /// Gives the key that signs in the older form too.
    ///
    /// # Errors
    /// When there is none that stays.
    pub(crate) fn of_legacy(&self) -> Result<Again<'_>, SealError> {
        if self.is_keyless() { Err(SealError::Legacy) } else { Ok(self.again()) }
    }

    /// Says whether no key signs that stays.
    pub(crate) const fn is_keyless(&self) -> bool {
        self.certified.is_some()
    }

    /// Says whether a bundle says that the same key or person made it. What it signs may be something else.
    pub(crate) fn claims(&self, bundle: &[u8]) -> bool {
        if self.is_keyless() {
            let named = claimed(bundle);
            return named
                .is_some_and(|(identity, issuer)| self.identities.iter().any(|one| one.is(&identity, &issuer)));
        }
        let material = Bundle::parse(bundle, MAX_BUNDLE).map(|bundle| bundle.material);
        material.is_ok_and(|material| material == Material::Key { hint: Some(self.signer.public().hint()) })
    }
}

impl Timed {
    fn new(session: &Session) -> Result<Self> {
        let configured = &session.config()?.evidence.keyless;
        let authority = configured.timestamp.clone().ok_or(SealError::NotConfigured("timestamp"))?;
        let path = configured.trusted_root.as_ref().ok_or(SealError::NotConfigured("trusted-root"))?;
        let root = read_root(path)?;
        if !root.has_timestamps() {
            return Err(SealError::NoTimestamps.into());
        }
        Ok(Self { services: Services::new(session)?, authority, root, now: now() })
    }
}

/// Finds the token: in the file that is named, the variable, or by asking what a job may ask.
fn token(session: &Session, options: &KeylessOptions, services: &Services) -> Result<Token> {
    let environment = &session.environment;
    let (place, text) = match (&options.identity_token, environment.secret(VARIABLE)) {
        (Some(path), _) => {
            let file = fs_err::File::open(path).map_err(CliError::file)?;
            (path.display().to_string(), keys::bounded(file, MAX_TOKEN).map_err(CliError::file)?)
        }
        (None, Some(text)) if !text.is_empty() => (format!("`${VARIABLE}`"), SecretBytes::new(text)),
        (None, _) => match JOB.map(|name| environment.secret(name).filter(|value| !value.is_empty())) {
            [Some(url), Some(word)] => {
                let word = SecretBytes::new(word);
                let url = String::from_utf8(url).map_err(|_| SealError::Address(JOB[0]))?;
                ("this job".to_owned(), services.of_job(&url, word.expose())?)
            }
            _ => return Err(SealError::NoToken.into()),
        },
    };
    let text = match text.expose().trim_ascii() {
        plain if plain.len() == text.expose().len() => text,
        plain => SecretBytes::new(plain.to_vec()),
    };
    let token = Token::parse(text).map_err(|source| SealError::Token { place: place.clone(), source })?;
    if token.expires.seconds() <= now().seconds() {
        return Err(SealError::Over { place, ended: token.expires.rfc3339() }.into());
    }
    Ok(token)
}
