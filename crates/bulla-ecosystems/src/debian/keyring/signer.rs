//! One key, what its owner says of it, and whether a signature by it is good.

use std::io::Read;

use bulla_model::Epoch;
use pgp::{
    composed::{SignedPublicKey, SignedPublicSubKey},
    crypto::hash::HashAlgorithm,
    packet::{PublicKey, PublicSubkey, Signature, SignatureType, SignatureVersion, SubpacketData},
    ser::Serialize,
    types::{KeyDetails, PublicParams, Tag},
};

use super::SignatureError;

/// RSA keys shorter than this can be factored, or soon.
const MIN_RSA_BITS: u16 = 2048;

/// One primary key or subkey, with what its self-signatures say of it.
#[derive(Debug, Clone)]
pub(super) struct Signer {
    key: Material,
    pub(super) fingerprint: String,
    key_id: String,
    pub(super) primary: String,
    pub(super) flaw: Option<Flaw>,
    created: u64,
    pub(super) expires: Option<u64>,
}

#[derive(Debug, Clone)]
enum Material {
    Primary(Box<PublicKey>),
    Sub(Box<PublicSubkey>),
}

/// Why a key cannot be used at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flaw {
    Revoked,
    Weak,
    Unbound,
}

/// Names a digest that can be forged.
fn weak_digest(signature: &Signature) -> Option<String> {
    match signature.hash_alg() {
        Some(
            HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512,
        ) => None,
        Some(other) => Some(format!("the digest {other}")),
        None => Some("a digest that is not known".to_owned()),
    }
}

fn is_weak_key(parameters: &PublicParams) -> bool {
    match parameters {
        // The first number is the modulus, and in front of it stands its length in bits (RFC 9580, 3.2).
        PublicParams::RSA(rsa) => !matches!(
            rsa.to_bytes().as_deref(),
            Ok([high, low, ..]) if u16::from_be_bytes([*high, *low]) >= MIN_RSA_BITS
        ),
        PublicParams::ECDSA(_) | PublicParams::EdDSALegacy(_) | PublicParams::Ed25519(_) | PublicParams::Ed448(_) => {
            false
        }
        _ => true,
    }
}

impl Signer {
    /// Says whether it is a primary key.
    pub(super) fn is_primary(&self) -> bool {
        matches!(self.key, Material::Primary(_))
    }

    pub(super) fn primary(cert: &SignedPublicKey) -> Self {
        let key = &cert.primary_key;
        let fingerprint = format!("{:X}", key.fingerprint());
        let flags = newest_self_signature(cert, |data| matches!(data, SubpacketData::KeyFlags(_)));
        let revoked = cert.details.revocation_signatures.iter().any(|s| s.verify_key(key).is_ok());
        let flaw = if revoked {
            Some(Flaw::Revoked)
        } else if is_weak_key(key.public_params()) {
            Some(Flaw::Weak)
        } else if flags.is_none_or(|s| !s.key_flags().sign()) {
            Some(Flaw::Unbound)
        } else {
            None
        };
        let created = u64::from(key.created_at().as_secs());
        Self {
            flaw,
            created,
            expires: newest_self_signature(cert, is_about_use).and_then(|s| expiry(created, s)),
            key_id: format!("{}", key.legacy_key_id()).to_uppercase(),
            primary: fingerprint.clone(),
            fingerprint,
            key: Material::Primary(Box::new(key.clone())),
        }
    }

    pub(super) fn sub(cert: &SignedPublicKey, sub: &SignedPublicSubKey, primary: &Self) -> Self {
        let (key, owner) = (&sub.key, &cert.primary_key);
        let bindings = || sub.signatures.iter().filter(|s| s.typ() == Some(SignatureType::SubkeyBinding));
        let binding = bindings()
            .filter(|s| weak_digest(s).is_none() && s.verify_subkey_binding(owner, key).is_ok())
            .max_by_key(|s| s.created().map(pgp::types::Timestamp::as_secs));
        let signs = binding.is_some_and(|s| {
            s.key_flags().sign()
                && s.embedded_signature()
                    .is_some_and(|b| weak_digest(b).is_none() && b.verify_primary_key_binding(key, owner).is_ok())
        });
        let revoked = sub
            .signatures
            .iter()
            .any(|s| s.typ() == Some(SignatureType::SubkeyRevocation) && s.verify_subkey_binding(owner, key).is_ok());
        let flaw = if revoked || primary.flaw == Some(Flaw::Revoked) {
            Some(Flaw::Revoked)
        } else if is_weak_key(key.public_params()) || primary.flaw == Some(Flaw::Weak) {
            Some(Flaw::Weak)
        } else if !signs || newest_self_signature(cert, is_about_use).is_none() {
            Some(Flaw::Unbound)
        } else {
            None
        };
        let created = u64::from(key.created_at().as_secs());
        let own = binding.and_then(|s| expiry(created, s));
        Self {
            flaw,
            created,
            // A subkey ends with its primary key at the latest.
            expires: own.into_iter().chain(primary.expires).min(),
            fingerprint: format!("{:X}", key.fingerprint()),
            key_id: format!("{}", key.legacy_key_id()).to_uppercase(),
            primary: primary.fingerprint.clone(),
            key: Material::Sub(Box::new(key.clone())),
        }
    }

    /// Says whether a signature names this key. A signature that names nobody is nobody's.
    pub(super) fn made(&self, signature: &Signature) -> bool {
        let fingerprints = signature.issuer_fingerprint();
        if fingerprints.is_empty() {
            signature.issuer_key_id().iter().any(|id| format!("{id}").eq_ignore_ascii_case(&self.key_id))
        } else {
            fingerprints.iter().any(|f| format!("{f:X}") == self.fingerprint)
        }
    }

    pub(super) fn check(&self, signature: &Signature, data: impl Read, at: Epoch) -> Result<(), SignatureError> {
        let key = self.fingerprint.clone();
        if let Some(what) = weak_digest(signature) {
            return Err(SignatureError::Weak { key, what });
        }
        match self.flaw {
            Some(Flaw::Revoked) => return Err(SignatureError::Revoked { key }),
            Some(Flaw::Weak) => return Err(SignatureError::Weak { key, what: "a weak kind of key".to_owned() }),
            Some(Flaw::Unbound) => return Err(SignatureError::NotASigningKey { key }),
            None => {}
        }
        // Signatures before version 4 do not protect what they say of themselves.
        let over_data = matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text))
            && matches!(signature.version(), SignatureVersion::V4 | SignatureVersion::V6);
        let verified = match &self.key {
            Material::Primary(public) => signature.verify(public.as_ref(), data),
            Material::Sub(public) => signature.verify(public.as_ref(), data),
        };
        if !over_data || verified.is_err() || has_critical_notation(signature) {
            return Err(SignatureError::Bad { key });
        }
        if let Some(expired) = self.expires.filter(|expires| *expires <= at.seconds()) {
            return Err(SignatureError::ExpiredKey { key, expired: Epoch::new(expired).unwrap_or(at) });
        }
        if !self.covers(signature, at) {
            return Err(SignatureError::NotNow { key, at });
        }
        Ok(())
    }

    /// Says whether a signature was made after its key, not (by more than a day, for clocks differ) after now, and has not
    /// run out.
    fn covers(&self, signature: &Signature, at: Epoch) -> bool {
        let Some(made) = signature.created().map(|t| u64::from(t.as_secs())) else { return false };
        let lasts = signature.signature_expiration_time().map_or(0, |d| u64::from(d.as_secs()));
        made >= self.created && made <= at.seconds() + CLOCK_SKEW && (lasts == 0 || made + lasts > at.seconds())
    }
}

/// How far clocks may differ, in seconds.
pub(crate) const CLOCK_SKEW: u64 = 86_400;

/// Nothing here knows any notation, and what is critical must be known (RFC 9580, 5.2.3.24).
fn has_critical_notation(signature: &Signature) -> bool {
    signature.config().is_none_or(|config| {
        config.hashed_subpackets.iter().any(|p| p.is_critical && matches!(p.data, SubpacketData::Notation(_)))
    })
}

/// What a self-signature must have to say something of how long and for what the key is good; others name who may revoke it.
fn is_about_use(data: &SubpacketData) -> bool {
    matches!(data, SubpacketData::KeyFlags(_) | SubpacketData::KeyExpirationTime(_))
}

/// Finds the newest self-signature over the primary key (direct) or one of its names that verifies and says such a thing.
fn newest_self_signature(cert: &SignedPublicKey, says: fn(&SubpacketData) -> bool) -> Option<&Signature> {
    let key = &cert.primary_key;
    let direct = cert.details.direct_signatures.iter().filter(|s| s.verify_key(key).is_ok());
    let named = cert.details.users.iter().flat_map(|user| {
        user.signatures.iter().filter(|s| {
            s.typ() != Some(SignatureType::CertRevocation) && s.verify_certification(key, Tag::UserId, &user.id).is_ok()
        })
    });
    direct
        .chain(named)
        .filter(|s| weak_digest(s).is_none())
        .filter(|s| s.config().is_some_and(|c| c.hashed_subpackets.iter().any(|p| says(&p.data))))
        .max_by_key(|s| s.created().map(pgp::types::Timestamp::as_secs))
}

fn expiry(created: u64, signature: &Signature) -> Option<u64> {
    let lasts = u64::from(signature.key_expiration_time()?.as_secs());
    (lasts > 0).then_some(created + lasts)
}
