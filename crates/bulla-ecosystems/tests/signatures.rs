//! Detached signatures over what is downloaded, with keys made on the spot: good ones, and all that must not count as such.

#[expect(dead_code, reason = "most of the repository is not needed here")]
mod mirror;

use std::io::{self, Read};

use bulla_ecosystems::{
    debian::keyring::SignatureError,
    signature::{VerifyError, verify},
};
use bulla_model::{Epoch, Fault, Kind};
use mirror::{NOW, detached, epoch, expiring, fingerprint, key, public, revoked};
use pgp::{composed::SignedPublicKey, ser::Serialize};

const TEXT: &str = "what is downloaded\n";
const DATA: &[u8] = TEXT.as_bytes();

fn check(keys: &[&SignedPublicKey], signature: &[u8], data: &[u8], now: Epoch) -> Result<Vec<String>, VerifyError> {
    let keys: Vec<u8> = keys.iter().flat_map(|key| key.to_bytes().expect("to memory")).collect();
    verify(&keys, signature, &mut || Ok(Box::new(data)), now)
}

fn refused(found: Result<Vec<String>, VerifyError>) -> SignatureError {
    let error = found.expect_err("no good signature");
    assert_eq!(error.kind(), Kind::Integrity);
    assert!(!error.hints().is_empty());
    match error {
        VerifyError::Signature(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_signature_is_good_by_its_primary_key() {
    let (one, other) = (key("one"), key("other"));
    let (first, second) = (public(&one), public(&other));
    let now = epoch(NOW);
    let by = |found: Result<Vec<String>, VerifyError>| found.expect("good");
    let primary = detached(TEXT, &one);
    assert_eq!(by(check(&[&second, &first], &primary, DATA, now)), [fingerprint(&first.primary_key)]);
}

#[test]
fn a_signature_over_other_bytes_or_by_another_key_is_refused() {
    let (one, other) = (key("one"), key("other"));
    let signature = detached(TEXT, &one);
    let now = epoch(NOW);
    let changed = refused(check(&[&public(&one)], &signature, b"what was downloaded\n", now));
    assert!(matches!(changed, SignatureError::Bad { .. }), "{changed:?}");
    let unknown = refused(check(&[&public(&other)], &signature, DATA, now));
    assert!(matches!(unknown, SignatureError::UnknownKeys { .. }), "{unknown:?}");
    // One that calls itself by the name of a key that it is not.
    let mut forged = public(&other);
    forged.primary_key = public(&one).primary_key;
    assert!(check(&[&forged], &signature, DATA, now).is_err());
}

#[test]
fn an_expired_or_revoked_key_and_a_signature_of_tomorrow_are_refused() {
    let one = key("one");
    let signature = detached(TEXT, &one);
    let at = |key: &SignedPublicKey, now| check(&[key], &signature, DATA, epoch(now));
    // Keys of the tests are two million seconds old.
    at(&expiring(&one, 2_000_001), NOW).expect("still good");
    assert!(matches!(refused(at(&expiring(&one, 1_999_999), NOW)), SignatureError::ExpiredKey { .. }));
    assert!(matches!(refused(at(&revoked(&one), NOW)), SignatureError::Revoked { .. }));
    assert!(matches!(refused(at(&public(&one), NOW - 1_000_000)), SignatureError::NotNow { .. }));
}

#[test]
fn what_is_no_key_or_no_signature_says_so() {
    let one = key("one");
    let keys = public(&one).to_bytes().expect("to memory");
    let signature = detached(TEXT, &one);
    let mut open = || -> io::Result<Box<dyn Read>> { Ok(Box::new(DATA)) };
    for bytes in [b"".as_slice(), b"hello", &keys[..40], &signature] {
        let error = verify(bytes, &signature, &mut open, epoch(NOW)).expect_err("no keys");
        assert_eq!(error.kind(), Kind::Spec, "{error:?}");
    }
    for bytes in [b"".as_slice(), b"hello", &signature[..100], &keys, b"<html>not found</html>"] {
        let error = verify(&keys, bytes, &mut open, epoch(NOW)).expect_err("no signature");
        assert_eq!(error.kind(), Kind::Integrity, "{error:?}");
    }
}

#[test]
fn bytes_that_cannot_be_read_are_no_bad_signature() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("a bad disk"))
        }
    }
    let one = key("one");
    let keys = public(&one).to_bytes().expect("to memory");
    let signature = detached(TEXT, &one);
    let found = verify(&keys, &signature, &mut || Ok(Box::new(Broken)), epoch(NOW));
    assert!(matches!(found, Err(VerifyError::Read(_))), "{found:?}");
    let found = verify(&keys, &signature, &mut || Err(io::ErrorKind::NotFound.into()), epoch(NOW));
    assert!(matches!(found, Err(VerifyError::Read(_))), "{found:?}");
}
