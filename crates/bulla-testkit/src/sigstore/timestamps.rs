//! The timestamp authority (RFC 3161, in CMS as RFC 5652 has it).

use rcgen::{CertificateParams, CertifiedIssuer, CustomExtension, IsCa, KeyPair, KeyUsagePurpose, SigningKey as _};
use time::OffsetDateTime;

use super::{
    certificates::{authority, key},
    der::{self, number, octets, sequence, set, tagged},
    sha256,
};

// Object identifiers in DER.
const SHA256: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01";
const ECDSA_SHA256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
const SIGNED_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
const TST_INFO: &[u8] = b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x04";
const CONTENT_TYPE: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03";
const MESSAGE_DIGEST: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04";
const SIGNING_CERTIFICATE: &[u8] = b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x02\x2f";
const POLICY: &[u8] = b"\x06\x03\x2a\x03\x04";
/// id-kp-timeStamping, which has to be critical (RFC 3161, section 2.3).
const TIME_STAMPING: &[u8] = b"\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x08";

/// An authority that says when it was.
#[derive(Debug)]
pub(super) struct Timestamps {
    pub(super) root: CertifiedIssuer<'static, KeyPair>,
    pub(super) leaf: Vec<u8>,
    key: KeyPair,
}

impl Timestamps {
    pub(super) fn new() -> Self {
        let root = CertifiedIssuer::self_signed(authority("timestamp root"), key()).expect("a root");
        let mut params: CertificateParams = authority("timestamps");
        params.is_ca = IsCa::NoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let mut usage = CustomExtension::from_oid_content(&[2, 5, 29, 37], sequence(&[TIME_STAMPING]));
        usage.set_criticality(true);
        params.custom_extensions = vec![usage];
        let key = key();
        let leaf = params.signed_by(&key, &root).expect("a certificate").der().to_vec();
        Self { root, leaf, key }
    }

    /// Answers a request: its imprint is said to have been there at a time.
    pub(super) fn answer(&self, request: &[u8], at: OffsetDateTime) -> Option<Vec<u8>> {
        let (version, rest) = der::first(der::content(request));
        let (imprint, _) = der::first(rest);
        (version == number(1) && imprint.len() > 32).then(|| self.over(imprint, at))
    }

    /// Gives the answer over something whose digest is to have been there at a time.
    pub(super) fn of(&self, signed: &[u8], at: OffsetDateTime) -> Vec<u8> {
        self.over(&sequence(&[&sequence(&[SHA256]), &octets(&sha256(signed))]), at)
    }

    fn over(&self, imprint: &[u8], at: OffsetDateTime) -> Vec<u8> {
        let (date, clock) = (at.date(), at.time());
        let time = format!(
            "{:04}{:02}{:02}{:02}{:02}{:02}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            clock.hour(),
            clock.minute(),
            clock.second()
        );
        let info = sequence(&[&number(1), POLICY, imprint, &number(7), &tagged(0x18, time.as_bytes())]);
        let algorithm = sequence(&[SHA256]);
        let attribute = |kind: &[u8], value: Vec<u8>| sequence(&[kind, &set(vec![value])]);
        let certificate = sequence(&[&sequence(&[&sequence(&[&octets(&sha256(&self.leaf))])])]);
        let attributes = set(vec![
            attribute(CONTENT_TYPE, TST_INFO.to_vec()),
            attribute(MESSAGE_DIGEST, octets(&sha256(&info))),
            attribute(SIGNING_CERTIFICATE, certificate),
        ]);
        let signature = self.key.sign(&attributes).expect("signed");
        let signer = sequence(&[
            &number(1),
            &self.name(),
            &algorithm,
            &tagged(0xa0, der::content(&attributes)),
            &sequence(&[ECDSA_SHA256]),
            &octets(&signature),
        ]);
        let data = sequence(&[
            &number(3),
            &set(vec![algorithm]),
            &sequence(&[TST_INFO, &tagged(0xa0, &octets(&info))]),
            &tagged(0xa0, &self.leaf),
            &set(vec![signer]),
        ]);
        let token = sequence(&[SIGNED_DATA, &tagged(0xa0, &data)]);
        sequence(&[&sequence(&[&number(0)]), &token])
    }

    /// Gives the issuer and the number of the certificate (RFC 5652, section 10.2.4).
    fn name(&self) -> Vec<u8> {
        let (tbs, _) = der::first(der::content(&self.leaf));
        let (_version, rest) = der::first(der::content(tbs));
        let (serial, rest) = der::first(rest);
        let (_algorithm, rest) = der::first(rest);
        let (issuer, _) = der::first(rest);
        sequence(&[issuer, serial])
    }
}
