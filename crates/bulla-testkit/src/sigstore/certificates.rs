//! Fulcio: certificates for keys, with the word of a log of certificates in them (RFC 6962).

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
    SigningKey as _,
};
use time::{Duration, OffsetDateTime};

use super::{der, sha256};

/// The extensions in which certificates say who vouches for the identity: as it is, and as a text of DER (Fulcio, `docs/oid-info.md`).
const ISSUER: [&[u64]; 2] = [&[1, 3, 6, 1, 4, 1, 57264, 1, 1], &[1, 3, 6, 1, 4, 1, 57264, 1, 8]];
/// The extension with signed certificate timestamps.
const TIMESTAMPS: &[u64] = &[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// An authority: a root, and what it vouches for.
#[derive(Debug)]
pub(super) struct Authority {
    pub(super) root: Issuer,
    pub(super) intermediate: Issuer,
    /// The log of certificates.
    pub(super) log: KeyPair,
}

/// A key of P-256 that somebody else has, by its SubjectPublicKeyInfo.
struct Foreign(Vec<u8>);

impl PublicKeyData for Foreign {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// Makes the parameters of an authority's certificate, for ten years around now.
pub(super) fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "bulla.test");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = OffsetDateTime::now_utc() - Duration::days(5 * 365);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(5 * 365);
    params
}

/// Makes a fresh key of P-256.
pub(super) fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key")
}

impl Authority {
    pub(super) fn new() -> Self {
        let root = Issuer::self_signed(authority("fulcio root"), key()).expect("a root");
        let mut params = authority("fulcio intermediate");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        let intermediate = Issuer::signed_by(params, key(), &root).expect("an intermediate");
        Self { root, intermediate, log: key() }
    }

    /// Makes a certificate for a key, from a time on for ten minutes.
    pub(super) fn certify(&self, spki: &[u8], identity: &str, issuer: &str, from: OffsetDateTime) -> Vec<u8> {
        // A SubjectPublicKeyInfo of P-256 ends in its point.
        let key = Foreign(spki[spki.len() - 65..].to_vec());
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.serial_number = Some(SerialNumber::from(sha256(spki)[..16].to_vec()));
        let name = identity.try_into().expect("ASCII");
        params.subject_alt_names =
            vec![if identity.contains("://") { SanType::URI(name) } else { SanType::Rfc822Name(name) }];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        params.use_authority_key_identifier_extension = true;
        params.not_before = from;
        params.not_after = from + Duration::minutes(10);
        let contents = [issuer.as_bytes().to_vec(), der::tagged(0x0c, issuer.as_bytes())];
        params.custom_extensions =
            ISSUER.iter().zip(contents).map(|(oid, content)| CustomExtension::from_oid_content(oid, content)).collect();
        let precertificate = self.sign(&params, &key);
        let (tbs, _) = der::first(der::content(precertificate.der()));
        let list = self.timestamp(tbs, from);
        params.custom_extensions.push(CustomExtension::from_oid_content(TIMESTAMPS, der::octets(&list)));
        self.sign(&params, &key).der().to_vec()
    }

    fn sign(&self, params: &CertificateParams, key: &Foreign) -> Certificate {
        params.signed_by(key, &self.intermediate).expect("a certificate")
    }

    /// Gives the list with the one timestamp of the log over a certificate that has none yet (RFC 6962, sections 3.2 and 3.3).
    fn timestamp(&self, tbs: &[u8], at: OffsetDateTime) -> Vec<u8> {
        let milliseconds = (at.unix_timestamp() * 1000).to_be_bytes();
        let length = (tbs.len() as u32).to_be_bytes();
        let issuer = sha256(&self.intermediate.key().subject_public_key_info());
        let signed = [&[0, 0][..], &milliseconds, &[0, 1], &issuer, &length[1..], tbs, &[0, 0]].concat();
        let signature = self.log.sign(&signed).expect("signed");
        let log = sha256(&self.log.subject_public_key_info());
        let short = |bytes: &[u8]| (bytes.len() as u16).to_be_bytes();
        let one = [&[0][..], &log, &milliseconds, &[0, 0], &[4, 3], &short(&signature), &signature].concat();
        let with_length = [&short(&one)[..], &one].concat();
        [&short(&with_length)[..], &with_length].concat()
    }
}
