//! Says what one piece of evidence proves of what it lies beside.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulla_model::Digest;

use super::{About, Assessed, Claim, Form, SignedBy, Trust, TrustedKey, Verdict, certificate};
use crate::{
    bundle::{self, Bundle, MAX_BUNDLE, Material},
    dsse::Envelope,
    image::{ImageSignatureError, SIGNS, shown, signs},
    json,
    key::{PublicKey, SignatureError},
    simple,
    statement::{MEDIA_TYPE, Statement},
};

/// Something that lies beside an image or file, and may be evidence of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// What it lies beside: that has to be what it is about.
    pub subject: Digest,
    /// What it is.
    pub content: Content,
}

/// What a piece of evidence is, with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A bundle of Sigstore.
    Bundle(Vec<u8>),
    /// A bundle of Sigstore beside a file, with the file's bytes.
    FileBundle {
        /// The bundle.
        bundle: Vec<u8>,
        /// The bytes of the file.
        file: Arc<[u8]>,
    },
    /// A document in cosign's older form.
    Document {
        /// The document.
        payload: Vec<u8>,
        /// Its signature in base64.
        signature: String,
        /// Whether there is a certificate with it.
        keyless: bool,
    },
    /// A statement in an envelope, cosign's older form.
    Envelope {
        /// The envelope.
        bytes: Vec<u8>,
        /// Whether there is a certificate with it.
        keyless: bool,
    },
    /// A statement that nobody signed.
    Statement(Vec<u8>),
    /// Something that was not read.
    Unread(String),
}

impl Content {
    /// Gives the digest of its bytes, as a summary names what it stands on; `None` of what was not read.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Bundle(bytes) | Self::Statement(bytes) => Some(Digest::of(bytes)),
            Self::FileBundle { bundle, .. } => Some(Digest::of(bundle)),
            Self::Document { payload, .. } => Some(Digest::of(payload)),
            Self::Envelope { bytes, .. } => Some(Digest::of(bytes)),
            Self::Unread(_) => None,
        }
    }
}

pub(super) const SIGN_IT: &str = "sign it: `bulla build --sign FILE`, or `bulla attest`";
const NAME_KEY: &str = "if you trust whoever signed it, name their key by `--key FILE`";
pub(super) const OTHER: &str = "its statement is about something else";
pub(super) const FORGED: &str = "do not use it before you know who put this evidence there";
const KEYLESS: &str =
    "signatures by certificates are verified in bundles; ask for one, or for a signature by a key (`--key FILE`)";

/// Says what a piece proves, by the keys and people that are named.
pub fn assess<'a>(piece: &Piece, trust: impl Into<Trust<'a>>) -> Assessed {
    let trust = trust.into();
    let keys = trust.keys;
    match &piece.content {
        Content::Bundle(bytes) => of_bundle(piece, bytes, None, trust),
        Content::FileBundle { bundle, file } => of_bundle(piece, bundle, Some(file), trust),
        Content::Document { keyless: true, .. } => keyless(piece, About::Signature, Form::Legacy),
        Content::Document { payload, signature, .. } => of_document(piece, payload, signature, keys),
        Content::Envelope { keyless: true, .. } => keyless(piece, About::Unknown, Form::Legacy),
        Content::Envelope { bytes, .. } => of_envelope(piece, bytes, keys),
        Content::Statement(bytes) => unsigned(piece, bytes),
        Content::Unread(why) => Claims(piece, None).not_checked(About::Unknown, why, FORGED),
    }
}

fn of_bundle(piece: &Piece, bytes: &[u8], file: Option<&[u8]>, trust: Trust<'_>) -> Assessed {
    let keys = trust.keys;
    let claims = Claims(piece, Some(Form::Bundle));
    let bundle = match Bundle::parse(bytes, MAX_BUNDLE) {
        Ok(bundle) => bundle,
        Err(error @ (bundle::BundleError::Version | bundle::BundleError::NoMaterial)) => {
            return claims.not_checked(About::Unknown, &format!("it is {error}"), "ask for a bundle of version 0.3");
        }
        Err(error) => return claims.failed(About::Unknown, &error.to_string(), FORGED),
    };
    let Material::Key { hint } = &bundle.material else {
        return certificate::assess(&claims, &bundle, bytes, file, trust.certificates);
    };
    let message = match &bundle.content {
        bundle::Content::Envelope(envelope) => {
            let signed = by(keys, |key| match envelope.payload_type() {
                MEDIA_TYPE => envelope.verify(key),
                _ => Err(SignatureError::Unreadable),
            });
            let key = signed.as_ref().map(|(known, _)| &known.key);
            let judged = judged(&claims, told(&bundle), hint.as_deref(), signed, keys);
            return certificate::timed(judged, &claims, key, bytes, None, trust.certificates);
        }
        bundle::Content::File { signature, .. } => signature,
    };
    let Some(file) = file else {
        let what = "it is the signature of a file, and signs no image";
        return claims.failed(About::Signature, what, FORGED);
    };
    match by(keys, |key| key.verify(file, message)) {
        Some((key, ())) => {
            let proven = claims.proven(About::Signature, key, "its bytes are signed".to_owned(), None);
            certificate::timed(proven, &claims, Some(&key.key), bytes, Some(file), trust.certificates)
        }
        None => stranger(&claims, About::Signature, hint.as_deref(), keys),
    }
}

fn of_envelope(piece: &Piece, bytes: &[u8], keys: &[TrustedKey]) -> Assessed {
    let claims = Claims(piece, Some(Form::Legacy));
    let envelope: Envelope = match json::read_as(bytes, MAX_BUNDLE) {
        Ok(envelope) => envelope,
        Err(error) => return claims.failed(About::Unknown, &format!("it is no envelope: {error}"), FORGED),
    };
    let about = about_of(envelope.payload().ok().as_deref());
    let signed = by(keys, |key| match envelope.payload_type() {
        MEDIA_TYPE => envelope.verify(key),
        _ => Err(SignatureError::Unreadable),
    });
    judged(&claims, about, None, signed, keys)
}

/// Says what a statement is worth that one of the keys signed, or none of them.
fn judged(
    claims: &Claims<'_>,
    about: About,
    hint: Option<&str>,
    signed: Option<(&TrustedKey, Vec<u8>)>,
    keys: &[TrustedKey],
) -> Assessed {
    match signed {
        Some((key, payload)) => stated(claims, about, &payload).by(key),
        None => stranger(claims, about, hint, keys),
    }
}

/// Says what a statement proves that somebody who may has signed: only such a one is read.
pub(super) fn stated(claims: &Claims<'_>, about: About, payload: &[u8]) -> Assessed {
    let statement = match Statement::parse(payload) {
        Ok(statement) => statement,
        Err(error) => return claims.failed(about, &error.to_string(), FORGED),
    };
    let subject = &claims.0.subject;
    let (about, detail) = if statement.predicate_type == SIGNS {
        match signs(&statement, subject) {
            Ok(()) => (About::Signature, "it is signed"),
            Err(error) => return claims.failed(About::Signature, &error.to_string(), FORGED),
        }
    } else {
        let about = About::Statement(shown(&statement.predicate_type));
        if !statement.is_about(subject) {
            return claims.failed(about, OTHER, FORGED);
        }
        (about, "its statement is signed, and about this digest")
    };
    Assessed { statement: Some(statement), ..claims.claim(about, Verdict::Proven, detail, "") }
}

fn of_document(piece: &Piece, payload: &[u8], signature: &str, keys: &[TrustedKey]) -> Assessed {
    let claims = Claims(piece, Some(Form::Legacy));
    let Ok(signature) = STANDARD.decode(signature.trim()) else {
        return claims.failed(About::Signature, "its signature cannot be read", FORGED);
    };
    let Some((key, ())) = by(keys, |key| key.verify(payload, &signature)) else {
        return stranger(&claims, About::Signature, None, keys);
    };
    let Some(document) = simple::read(payload) else {
        return claims.failed(About::Signature, &ImageSignatureError::Payload.to_string(), FORGED).by(key);
    };
    if document.image != piece.subject.to_string() {
        let found = ImageSignatureError::OtherImage { found: shown(&document.image) };
        return claims.failed(About::Signature, &found.to_string(), FORGED).by(key);
    }
    claims.proven(About::Signature, key, format!("it is signed, under the name {}", shown(&document.name)), None)
}

fn unsigned(piece: &Piece, bytes: &[u8]) -> Assessed {
    let claims = Claims(piece, Some(Form::Unsigned));
    match Statement::parse(bytes) {
        Err(error) => claims.failed(About::Unknown, &error.to_string(), FORGED),
        Ok(statement) => {
            let about = About::Statement(shown(&statement.predicate_type));
            if !statement.is_about(&piece.subject) {
                return claims.failed(about, OTHER, FORGED);
            }
            let found = "somebody says so, and nobody signed it";
            Assessed { statement: Some(statement), ..claims.claim(about, Verdict::Asserted, found, SIGN_IT) }
        }
    }
}

/// Says what something is worth that none of the keys signed. Where it names one of them as the one that did, it was changed.
fn stranger(claims: &Claims<'_>, about: About, hint: Option<&str>, keys: &[TrustedKey]) -> Assessed {
    match keys.iter().find(|known| hint.is_some_and(|hint| hint == known.key.hint())) {
        Some(known) => {
            claims.failed(about, "it says that this key signed it, which did not sign these bytes", FORGED).by(known)
        }
        None if keys.is_empty() => claims.not_checked(about, "no key was named", NAME_KEY),
        None => claims.not_checked(about, "none of the keys signed it, as it is", NAME_KEY),
    }
}

fn keyless(piece: &Piece, about: About, form: Form) -> Assessed {
    Claims(piece, Some(form)).not_checked(about, "it is signed with a certificate (keyless)", KEYLESS)
}

/// Finds the key that something is good by.
fn by<T>(keys: &[TrustedKey], verify: impl Fn(&PublicKey) -> Result<T, SignatureError>) -> Option<(&TrustedKey, T)> {
    keys.iter().find_map(|known| Some((known, verify(&known.key).ok()?)))
}

/// Gives what a bundle says that it is about, of which nothing is proven.
pub(super) fn told(bundle: &Bundle) -> About {
    match &bundle.content {
        bundle::Content::Envelope(envelope) => about_of(envelope.payload().ok().as_deref()),
        bundle::Content::File { .. } => About::Signature,
    }
}

fn about_of(payload: Option<&[u8]>) -> About {
    match payload.and_then(|payload| Statement::parse(payload).ok()) {
        Some(statement) if statement.predicate_type == SIGNS => About::Signature,
        Some(statement) => About::Statement(shown(&statement.predicate_type)),
        None => About::Unknown,
    }
}

/// What all claims of a piece have in common.
pub(super) struct Claims<'a>(&'a Piece, Option<Form>);

impl Claims<'_> {
    /// Gives what all of them are claimed of.
    pub(super) fn subject(&self) -> &Digest {
        &self.0.subject
    }

    pub(super) fn claim(&self, about: About, verdict: Verdict, detail: &str, advice: &str) -> Assessed {
        let (subject, form) = (self.0.subject, self.1);
        let (detail, advice) = (detail.to_owned(), Some(advice.to_owned()).filter(|advice| !advice.is_empty()));
        let claim = Claim { subject, about, verdict, form, key: None, signed: None, detail, advice };
        Assessed { claim, statement: None }
    }

    fn proven(&self, about: About, key: &TrustedKey, detail: String, statement: Option<Statement>) -> Assessed {
        Assessed { statement, ..self.claim(about, Verdict::Proven, &detail, "") }.by(key)
    }

    pub(super) fn not_checked(&self, about: About, detail: &str, advice: &str) -> Assessed {
        self.claim(about, Verdict::NotChecked, detail, advice)
    }

    pub(super) fn failed(&self, about: About, detail: &str, advice: &str) -> Assessed {
        self.claim(about, Verdict::Failed, detail, advice)
    }
}

impl Assessed {
    fn by(mut self, key: &TrustedKey) -> Self {
        self.claim.key = Some(key.name.clone());
        self
    }

    /// Says who signed it by a certificate, or when.
    pub(super) fn signed(mut self, signed: SignedBy) -> Self {
        self.claim.signed = Some(signed);
        self
    }
}
