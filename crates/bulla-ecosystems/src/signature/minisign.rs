//! Signatures of minisign: an Ed25519 signature over the BLAKE2b of the bytes, and one over that and a comment.

use std::io::{self, Read};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use minisign_verify::{Error, PublicKey, Signature};

use super::VerifyError;

/// How a file of minisign begins; the key alone is 56 characters of base64.
const COMMENT: &[u8] = b"untrusted comment:";
const KEY_LENGTH: usize = 56;
/// The size of a read.
const CHUNK: usize = 64 << 10;

/// Says whether a file of keys is one of minisign.
pub(super) fn is_key(keys: &[u8]) -> bool {
    let text = keys.trim_ascii();
    text.starts_with(COMMENT) || text.len() == KEY_LENGTH && text.starts_with(b"RW")
}

/// Verifies a signature, and gives the key in base64.
pub(super) fn verify<'d>(
    keys: &[u8],
    signature: &[u8],
    open: &mut dyn FnMut() -> io::Result<Box<dyn Read + 'd>>,
) -> Result<String, VerifyError> {
    let bad_key = |reason: &str| VerifyError::MinisignKey { reason: reason.to_owned() };
    let text = std::str::from_utf8(keys).map_err(|_| bad_key("it is not text"))?.trim();
    let mut lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.as_bytes().starts_with(COMMENT));
    let key_text = lines.next().ok_or_else(|| bad_key("it has no key"))?;
    if lines.next().is_some() {
        return Err(bad_key("it has more than one key"));
    }
    let key = PublicKey::from_base64(key_text).map_err(|error| bad_key(&error.to_string()))?;

    let bad = |reason: &str| VerifyError::Minisign { reason: reason.to_owned() };
    let text = std::str::from_utf8(signature).map_err(|_| bad("it is not text"))?;
    let decoded = Signature::decode(text).map_err(|error| bad(&error.to_string()))?;
    let mut verifier = key.verify_stream(&decoded).map_err(|error| match error {
        Error::UnexpectedKeyId => {
            let found = text.lines().nth(1).unwrap_or_default();
            VerifyError::OtherKey { expected: number(key_text), found: number(found) }
        }
        Error::UnsupportedLegacyMode => bad("it was made in the old way, without `minisign -H`"),
        error => bad(&error.to_string()),
    })?;
    let mut reader = open().map_err(VerifyError::Read)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => verifier.update(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(VerifyError::Read(error)),
        }
    }
    verifier.finalize().map_err(|_| VerifyError::Bad { key: number(key_text) })?;
    Ok(key_text.to_owned())
}

/// Gives the number of the key that a key or signature has, as minisign shows it.
fn number(text: &str) -> String {
    let bytes = STANDARD.decode(text.trim()).unwrap_or_default();
    let id = bytes.get(2..10).unwrap_or_default();
    id.iter().rev().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &[u8] = b"hello from a signed file\n";
    const KEY: &str = "RWS51v3ACzv27nhlcoMy4DpjtkQrQu+Y7rHUvv0enFAyuD1w9k5fVRpQ";
    const OTHER: &str = "RWSOCY8U2QUdtl/5v7c/jyyvumJt1ZvaDrSAO9Ji7fFA/27sY5c2kTIc";
    /// Another key under the number of the first.
    const FORGED: &str = "RWS51v3ACzv27l/5v7c/jyyvumJt1ZvaDrSAO9Ji7fFA/27sY5c2kTIc";
    const SIGNATURE: &str = "untrusted comment: signature of a test
RUS51v3ACzv27jmi/C+pOeAb+5BGn4vzF+vm+cpHFX/bj5Ku946v20XlNZPegijPZuEa+5OksVkCNLzVcnSs8+QbsHBWi+QHPQk=
trusted comment: file: hello
Mba5HLsbX5uy13Pe5iCRai9jOWvj/qcka6ZgC03EcIc3EOKYHAx9loaD7aTsmUe8yoysWNpLu6XBWP5cIz1ACg==
";
    const OLD: &str = "untrusted comment: signature of a test
RWS51v3ACzv27knOCrSnae2XdRmLRHcK5rcDh8B3Oga1P7Eso2Gd4g+RE6AKkbyX0MmTDWgkw1Gfm144R9tKG5KzfISQn/gPEwk=
trusted comment: file: hello
tAjBCwLAFl88ei1Uk6170u44oHX7lZxCFBg8qPurbvk4t+loHEuKGTM2Wk3Fxu4qhkTE9/VNlPoN5IJ1ds6BCw==
";

    fn check(keys: &str, signature: &str, data: &[u8]) -> Result<String, VerifyError> {
        assert!(is_key(keys.as_bytes()));
        verify(keys.as_bytes(), signature.as_bytes(), &mut || Ok(Box::new(data)))
    }

    #[test]
    fn a_good_signature_is_good_by_its_key() {
        let file = format!("untrusted comment: minisign public key EEF63B0BC0FDD6B9\n{KEY}\n");
        for keys in [KEY, &format!("{KEY}\n"), &file] {
            assert_eq!(check(keys, SIGNATURE, DATA).expect("good"), KEY);
        }
    }

    #[test]
    fn other_bytes_comments_and_keys_are_refused() {
        let changed = check(KEY, SIGNATURE, b"hello from a changed file\n").expect_err("other bytes");
        assert!(matches!(&changed, VerifyError::Bad { key } if key == "EEF63B0BC0FDD6B9"), "{changed:?}");
        let comment = SIGNATURE.replace("file: hello", "file: other");
        assert!(matches!(check(KEY, &comment, DATA), Err(VerifyError::Bad { .. })), "the trusted comment is signed");
        assert!(check(KEY, &SIGNATURE.replace("signature of a test", "x"), DATA).is_ok(), "the other one is not");
        assert!(matches!(check(FORGED, SIGNATURE, DATA), Err(VerifyError::Bad { .. })));
        let other = check(OTHER, SIGNATURE, DATA).expect_err("another key");
        assert!(matches!(&other, VerifyError::OtherKey { found, .. } if found == "EEF63B0BC0FDD6B9"), "{other:?}");
    }

    #[test]
    fn what_is_not_of_minisign_or_of_its_old_way_is_told() {
        assert!(matches!(check(KEY, OLD, DATA), Err(VerifyError::Minisign { reason }) if reason.contains("-H")));
        for signature in ["", "x\ny\nz\nw\n", &SIGNATURE[..80], "-----BEGIN PGP SIGNATURE-----\n"] {
            assert!(matches!(check(KEY, signature, DATA), Err(VerifyError::Minisign { .. })), "{signature}");
        }
        for keys in
            ["untrusted comment: none\n", &format!("untrusted comment: two\n{KEY}\n{OTHER}\n"), &KEY.replace('5', "!")]
        {
            assert!(matches!(check(keys, SIGNATURE, DATA), Err(VerifyError::MinisignKey { .. })), "{keys}");
        }
        assert!(!is_key(b"-----BEGIN PGP PUBLIC KEY BLOCK-----"));
    }
}
