//! The document that says which authorities and logs are trusted, and what a bundle proves by it.

use bulla_model::{Digest, Epoch};
use sigstore_verify::{
    CertificatePolicy, Error, PublicKeyVerificationPolicy, VerificationPolicy, VerificationResult, Verifier,
    crypto::parse_certificate_info,
    trust_root,
    types::{Artifact, Bundle, DerPublicKey, Sha256Hash, SignatureContent},
};
use x509_cert::{
    Certificate,
    der::Decode as _,
    ext::pkix::{AuthorityKeyIdentifier, SubjectKeyIdentifier},
};

use super::cryptography;
use crate::{
    image::shown,
    json::{self, JsonError},
    key::PublicKey,
    statement::Statement,
};

/// The most bytes of a trusted root.
pub const MAX_ROOT: usize = 4 << 20;
/// The most authorities and logs of each kind in one.
const MAX_AUTHORITIES: usize = 256;
/// What a trusted root says that it is, with its version after it.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.trustedroot";
/// How long after now something may have been signed: clocks differ.
const AHEAD: u64 = 600;

/// The authorities and logs that a reader trusts (`sigstore_trustroot.proto`, `TrustedRoot`).
pub struct TrustedRoot {
    verifier: Verifier,
    /// The names of the keys of its certificate authorities.
    authorities: Vec<Vec<u8>>,
    has_timestamps: bool,
    has_logs: bool,
}

/// Says why a document is no trusted root.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// It is not JSON of that shape.
    #[error("it is no trusted root of Sigstore")]
    Json(#[from] JsonError),
    /// It is something else.
    #[error("it is no trusted root of Sigstore: it says that it is `{found}`")]
    Kind {
        /// What it says that it is.
        found: String,
    },
    /// It has more than is read.
    #[error("it names more than {MAX_AUTHORITIES} authorities or logs of one kind")]
    TooMany,
    /// One of its authorities or logs cannot be used.
    #[error("what it trusts cannot be used: {reason}")]
    Unusable {
        /// Why.
        reason: String,
    },
}

/// What the certificate, the log and the timestamps of a bundle prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// Who signed: an address of mail, or the URI of a workflow. Nothing where it was a key.
    pub identity: Option<String>,
    /// Who says so. Nothing where it was a key.
    pub issuer: Option<String>,
    /// When it was signed at the latest, by logs and timestamp authorities.
    pub times: Vec<Epoch>,
    /// Whether a log has it.
    pub logged: bool,
}

/// What a bundle with a certificate proves, and of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Who signed it, and when.
    pub certified: Certified,
    /// The statement that is signed; nothing where it is a file.
    pub payload: Option<Vec<u8>>,
}

/// Says why a bundle proves nothing by a trusted root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeylessError {
    /// Its certificate is of an authority that is not in the trusted root.
    #[error("its certificate was issued by none of the authorities of the trusted root")]
    Stranger,
    /// It is good, and about something else.
    #[error("it is signed, and about something else")]
    OtherSubject,
    /// Something of it is not as it must be.
    #[error("{reason}")]
    Bad {
        /// What.
        reason: String,
    },
    /// It was signed after now.
    #[error("it says that it was signed at {time}, which is in the future")]
    Future {
        /// The time, RFC 3339.
        time: String,
    },
}

impl TrustedRoot {
    /// Reads a trusted root of at most [`MAX_ROOT`] bytes.
    ///
    /// # Errors
    /// When it is none, or one of its keys and certificates cannot be used: what is trusted must be all that is said.
    pub fn parse(bytes: &[u8]) -> Result<Self, RootError> {
        cryptography::install();
        let value = json::read(bytes, MAX_ROOT)?;
        let kind = value.get("mediaType").and_then(|kind| kind.as_str()).unwrap_or_default();
        if !kind.starts_with(MEDIA_TYPE) {
            return Err(RootError::Kind { found: shown(kind) });
        }
        let root: trust_root::TrustedRoot = serde_json::from_value(value).map_err(JsonError::from)?;
        let counts =
            [root.tlogs.len(), root.certificate_authorities.len(), root.ctlogs.len(), root.timestamp_authorities.len()];
        if counts.iter().any(|count| *count > MAX_AUTHORITIES) {
            return Err(RootError::TooMany);
        }
        let verifier = Verifier::new(&root).map_err(|error| RootError::Unusable { reason: told(&error) })?;
        let certificates = root.certificate_authorities.iter().flat_map(|authority| &authority.cert_chain.certificates);
        let authorities = certificates.filter_map(|entry| subject_key(entry.raw_bytes.as_bytes())).collect();
        let (has_timestamps, has_logs) = (!root.timestamp_authorities.is_empty(), !root.tlogs.is_empty());
        Ok(Self { verifier, authorities, has_timestamps, has_logs })
    }

    /// Says whether there is a timestamp authority in it.
    pub const fn has_timestamps(&self) -> bool {
        self.has_timestamps
    }

    /// Verifies a bundle with a certificate: that it was issued by an authority of this root and is in a log of certificates, that the signature
    /// is in a log, that it was made while the certificate was good, and that it signs this file or a statement about this digest.
    /// Whoever may sign is for the caller to say.
    ///
    /// # Errors
    /// When one of these is not so.
    pub fn certified(&self, bundle: &[u8], signed: Signed<'_>, now: Epoch) -> Result<Proof, KeylessError> {
        let bundle = read(bundle)?;
        let leaf = bundle.signing_certificate().ok_or_else(|| bad("it has no certificate"))?;
        if authority_key(leaf.as_bytes()).is_some_and(|key| !self.authorities.contains(&key)) {
            return Err(KeylessError::Stranger);
        }
        let policy = VerificationPolicy::any_identity();
        debug_assert!(matches!(policy.certificate(), CertificatePolicy::Verify { verify_sct: true, .. }));
        let result = self.verifier.verify(signed.artifact(), &bundle, &policy);
        let result = result.map_err(|error| failed(&error, &bundle, signed))?;
        if !(result.certificate_verified() && result.sct_verified() && result.tlog_verified()) {
            return Err(bad("its certificate was not verified as a whole"));
        }
        let times = times(&result, now)?;
        let identity = result.identity().map(|identity| identity.as_str().to_owned());
        let identity = identity.ok_or_else(|| bad("its certificate names nobody"))?;
        let issuer = result.issuer().ok_or_else(|| bad("its certificate does not say who vouches for the identity"))?;
        let certified = Certified { identity: Some(identity), issuer: Some(issuer.to_owned()), times, logged: true };
        let payload = match bundle.content {
            SignatureContent::DsseEnvelope(envelope) => Some(envelope.payload.as_bytes().to_vec()),
            _ => None,
        };
        Ok(Proof { certified, payload })
    }

    /// Verifies the entries of logs and the timestamps of a bundle that a key signed; nothing where it has none, or the root is for none.
    ///
    /// # Errors
    /// When one of them is not good.
    pub fn timed(
        &self,
        bundle: &[u8],
        signed: Signed<'_>,
        key: &PublicKey,
        now: Epoch,
    ) -> Result<Option<Certified>, KeylessError> {
        let bundle = read(bundle)?;
        let material = &bundle.verification_material;
        let stamped = !material.timestamp_verification_data.rfc3161_timestamps.is_empty();
        let logged = !material.tlog_entries.is_empty() && self.has_logs;
        if stamped && !self.has_timestamps || !stamped && !logged {
            return Ok(None);
        }
        let mut policy = PublicKeyVerificationPolicy::new(DerPublicKey::new(key.to_der().to_vec()));
        if !logged {
            policy = policy.skip_tlog_unsafe();
        }
        let result = self.verifier.verify(signed.artifact(), &bundle, &policy);
        let result = result.map_err(|error| failed(&error, &bundle, signed))?;
        let times = times(&result, now)?;
        Ok(Some(Certified { identity: None, issuer: None, times, logged: logged && result.tlog_verified() }))
    }
}

/// What a bundle is to sign.
#[derive(Debug, Clone, Copy)]
pub enum Signed<'a> {
    /// A statement about the thing with this digest.
    Statement(&'a Digest),
    /// A file.
    File(&'a [u8]),
}

impl<'a> Signed<'a> {
    fn artifact(self) -> Artifact<'a> {
        match self {
            Self::Statement(digest) => Artifact::from(Sha256Hash::new(*digest.as_bytes())),
            Self::File(bytes) => Artifact::from_blob(bytes),
        }
    }
}

/// Gives the identity and the issuer that the certificate of a bundle names, of which nothing is verified.
pub fn claimed(bundle: &[u8]) -> Option<(String, String)> {
    cryptography::install();
    let bundle = read(bundle).ok()?;
    let certificate = parse_certificate_info(bundle.signing_certificate()?).ok()?;
    Some((certificate.identity?.as_str().to_owned(), certificate.issuer?))
}

/// Reads a bundle, which was read strictly already.
fn read(bundle: &[u8]) -> Result<Bundle, KeylessError> {
    let text = std::str::from_utf8(bundle).map_err(|_| bad("it is no text"))?;
    Bundle::from_json(text).map_err(|error| bad(&shown(&format!("it is no bundle of Sigstore: {error}"))))
}

fn times(result: &VerificationResult, now: Epoch) -> Result<Vec<Epoch>, KeylessError> {
    let mut times = Vec::new();
    for time in result.verified_timestamps() {
        let epoch = u64::try_from(time.as_second()).ok().and_then(Epoch::new);
        let epoch = epoch.ok_or_else(|| bad("it was signed at a time that is none"))?;
        if epoch.seconds() > now.seconds().saturating_add(AHEAD) {
            return Err(KeylessError::Future { time: epoch.rfc3339() });
        }
        times.push(epoch);
    }
    times.sort_unstable_by_key(|time| time.seconds());
    times.dedup();
    Ok(times)
}

/// Says why a bundle is not good. The library says the same of a bundle that is about something else, and of one whose entry in a log is.
fn failed(error: &Error, bundle: &Bundle, signed: Signed<'_>) -> KeylessError {
    let is_about = match (&bundle.content, signed) {
        (SignatureContent::DsseEnvelope(envelope), Signed::Statement(digest)) => {
            Statement::parse(envelope.payload.as_bytes()).is_ok_and(|statement| statement.is_about(digest))
        }
        (SignatureContent::MessageSignature(signature), Signed::File(file)) => {
            let digest = signature.message_digest.as_ref().map(|digest| digest.digest.as_bytes());
            digest.is_none_or(|digest| digest == Digest::of(file).as_bytes())
        }
        _ => true,
    };
    match error {
        Error::ArtifactMismatch(_) if !is_about => KeylessError::OtherSubject,
        other => bad(&told(other)),
    }
}

/// Says what a library found, on one line and not too long: parts of it are a stranger's.
fn told(error: &Error) -> String {
    shown(&error.to_string())
}

fn bad(reason: &str) -> KeylessError {
    KeylessError::Bad { reason: reason.to_owned() }
}

fn extension<'a, T: x509_cert::der::Decode<'a>>(certificate: &'a Certificate, oid: &str) -> Option<T> {
    let extensions = certificate.tbs_certificate.extensions.as_ref()?;
    let found = extensions.iter().find(|one| one.extn_id.to_string() == oid)?;
    T::from_der(found.extn_value.as_bytes()).ok()
}

/// Gives the name of the key that signed a certificate, where it says one (RFC 5280, section 4.2.1.1).
fn authority_key(der: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(der).ok()?;
    let found: AuthorityKeyIdentifier = extension(&certificate, "2.5.29.35")?;
    Some(found.key_identifier?.as_bytes().to_vec())
}

/// Gives the name of the key of a certificate, where it says one (RFC 5280, section 4.2.1.2).
fn subject_key(der: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(der).ok()?;
    let found: SubjectKeyIdentifier = extension(&certificate, "2.5.29.14")?;
    Some(found.0.as_bytes().to_vec())
}

impl std::fmt::Debug for TrustedRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrustedRoot").field("authorities", &self.authorities.len()).finish_non_exhaustive()
    }
}
