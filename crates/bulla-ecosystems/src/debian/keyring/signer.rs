//! One key, what its owner says of it, and whether a signature by it is good.

use std::{
    io::Read,
    sync::{Arc, OnceLock},
};

use bulla_model::Epoch;
use pgp::{
    composed::{SignedPublicKey, SignedPublicSubKey},
    crypto::hash::HashAlgorithm,
    packet::{Signature, SignatureType, SignatureVersion, SubpacketData},
    ser::Serialize,
    types::{KeyDetails, PublicParams, Tag, Timestamp},
};

use super::SignatureError;

/// RSA keys shorter than this can be factored, or soon.
const MIN_RSA_BITS: u16 = 2048;

/// One primary key or subkey. What its self-signatures say of it is found when something is signed with it: most keys of a
/// keyring never are asked about.
#[derive(Debug, Clone)]
pub(super) struct Signer {
    cert: Arc<SignedPublicKey>,
    /// Which of the subkeys it is; none is the primary key itself.
    sub: Option<usize>,
    pub(super) fingerprint: String,
    key_id: String,
    pub(super) primary: String,
    created: u64,
    standing: OnceLock<Standing>,
}

/// What self-signatures say of a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) flaw: Option<Flaw>,
    /// When it ends, in seconds since 1970.
    pub(super) expires: Option<u64>,
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

impl Standing {
    fn of_primary(cert: &SignedPublicKey) -> Self {
        let key = &cert.primary_key;
        let revoked = cert.details.revocation_signatures.iter().any(|s| s.verify_key(key).is_ok());
        let flags = || newest_self_signature(cert, |data| matches!(data, SubpacketData::KeyFlags(_)));
        let flaw = if revoked {
            Some(Flaw::Revoked)
        } else if is_weak_key(key.public_params()) {
            Some(Flaw::Weak)
        } else if flags().is_none_or(|s| !s.key_flags().sign()) {
            Some(Flaw::Unbound)
        } else {
            None
        };
        let expires = newest_self_signature(cert, is_about_use).and_then(|s| expiry(created(key), s));
        Self { flaw, expires }
    }

    fn of_sub(cert: &SignedPublicKey, sub: &SignedPublicSubKey) -> Self {
        let (key, owner, primary) = (&sub.key, &cert.primary_key, Self::of_primary(cert));
        let of = |kind| sub.signatures.iter().filter(move |s| s.typ() == Some(kind));
        let bindings = of(SignatureType::SubkeyBinding).filter(|s| weak_digest(s).is_none()).map(|s| (s, ()));
        let binding = newest(bindings, |s, ()| s.verify_subkey_binding(owner, key).is_ok());
        let signs = binding.is_some_and(|s| {
            s.key_flags().sign()
                && s.embedded_signature()
                    .is_some_and(|b| weak_digest(b).is_none() && b.verify_primary_key_binding(key, owner).is_ok())
        });
        let revoked = of(SignatureType::SubkeyRevocation).any(|s| s.verify_subkey_binding(owner, key).is_ok());
        let flaw = if revoked || primary.flaw == Some(Flaw::Revoked) {
            Some(Flaw::Revoked)
        } else if is_weak_key(key.public_params()) || primary.flaw == Some(Flaw::Weak) {
            Some(Flaw::Weak)
        } else if !signs || newest_self_signature(cert, is_about_use).is_none() {
            Some(Flaw::Unbound)
        } else {
            None
        };
        let own = binding.and_then(|s| expiry(created(key), s));
        // A subkey ends with its primary key at the latest.
        Self { flaw, expires: own.into_iter().chain(primary.expires).min() }
    }
}

impl Signer {
    /// Gives the primary key of a certificate, and its subkeys.
    pub(super) fn all(cert: SignedPublicKey) -> impl Iterator<Item = Self> {
        let cert = Arc::new(cert);
        let primary = format!("{:X}", cert.primary_key.fingerprint());
        (0..cert.public_subkeys.len()).map(Some).chain([None]).map(move |sub| match sub {
            Some(index) => Self::new(&cert, sub, &primary, &cert.public_subkeys[index].key),
            None => Self::new(&cert, sub, &primary, &cert.primary_key),
        })
    }

    fn new(cert: &Arc<SignedPublicKey>, sub: Option<usize>, primary: &str, key: &impl KeyDetails) -> Self {
        Self {
            cert: Arc::clone(cert),
            sub,
            fingerprint: format!("{:X}", key.fingerprint()),
            key_id: format!("{}", key.legacy_key_id()).to_uppercase(),
            primary: primary.to_owned(),
            created: created(key),
            standing: OnceLock::new(),
        }
    }

    /// Says whether it is a primary key.
    pub(super) fn is_primary(&self) -> bool {
        self.sub.is_none()
    }

    /// Says what its self-signatures say of it.
    pub(super) fn standing(&self) -> Standing {
        *self.standing.get_or_init(|| match self.sub {
            Some(index) => Standing::of_sub(&self.cert, &self.cert.public_subkeys[index]),
            None => Standing::of_primary(&self.cert),
        })
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
        let standing = self.standing();
        match standing.flaw {
            Some(Flaw::Revoked) => return Err(SignatureError::Revoked { key }),
            Some(Flaw::Weak) => return Err(SignatureError::Weak { key, what: "a weak kind of key".to_owned() }),
            Some(Flaw::Unbound) => return Err(SignatureError::NotASigningKey { key }),
            None => {}
        }
        // Signatures before version 4 do not protect what they say of themselves.
        let over_data = matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text))
            && matches!(signature.version(), SignatureVersion::V4 | SignatureVersion::V6);
        let verified = match self.sub {
            Some(index) => signature.verify(&self.cert.public_subkeys[index].key, data),
            None => signature.verify(&self.cert.primary_key, data),
        };
        if !over_data || verified.is_err() || has_critical_notation(signature) {
            return Err(SignatureError::Bad { key });
        }
        if let Some(expired) = standing.expires.filter(|expires| *expires <= at.seconds()) {
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
    let direct = cert.details.direct_signatures.iter().map(|signature| (signature, None));
    let named = cert.details.users.iter().flat_map(|user| user.signatures.iter().map(move |s| (s, Some(&user.id))));
    let named = named.filter(|(signature, _)| signature.typ() != Some(SignatureType::CertRevocation));
    let says = |signature: &Signature| {
        signature.config().is_some_and(|config| config.hashed_subpackets.iter().any(|packet| says(&packet.data)))
    };
    let candidates = direct.chain(named).filter(|(signature, _)| weak_digest(signature).is_none() && says(signature));
    newest(candidates, |signature, name| match name {
        Some(name) => signature.verify_certification(key, Tag::UserId, name).is_ok(),
        None => signature.verify_key(key).is_ok(),
    })
}

/// Finds the newest signature that verifies. To verify one takes far longer than all else about it.
fn newest<'s, T: Copy>(
    candidates: impl Iterator<Item = (&'s Signature, T)>,
    verifies: impl Fn(&Signature, T) -> bool,
) -> Option<&'s Signature> {
    let mut candidates: Vec<(&Signature, T)> = candidates.collect();
    candidates.sort_by_key(|(signature, _)| signature.created().map(Timestamp::as_secs));
    candidates.into_iter().rev().find(|(signature, over)| verifies(signature, *over)).map(|(signature, _)| signature)
}

fn created(key: &impl KeyDetails) -> u64 {
    u64::from(key.created_at().as_secs())
}

fn expiry(created: u64, signature: &Signature) -> Option<u64> {
    let lasts = u64::from(signature.key_expiration_time()?.as_secs());
    (lasts > 0).then_some(created + lasts)
}
