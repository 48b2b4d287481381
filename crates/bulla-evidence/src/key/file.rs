//! The file of a private key as cosign writes it: PEM around a document of JSON, in it the key (PKCS#8) under nacl's secretbox, with a
//! key that scrypt makes of the passphrase (cosign has no specification of it: it is what
//! the package `encrypted` of go-securesystemslib does).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulla_model::SecretBytes;
use crypto_secretbox::{KeyInit as _, Nonce, XSalsa20Poly1305, aead::Aead as _};
use pem_rfc7468::LineEnding;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{KeyError, MAX_KEY, PrivateKey};
use crate::json;

/// The label that is written; cosign's older one is read too.
const LABELS: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];
/// How much work scrypt is that is accepted, as log₂ of N. What is less protects nothing, and what is more would let a file decide how
/// much memory it takes to look at it: the largest takes 128 MiB.
const WORK: [u8; 3] = [15, 16, 17];
/// What is written.
const WRITTEN: u8 = 16;
/// The other parameters of scrypt.
const BLOCK: u32 = 8;
const PARALLEL: u32 = 1;
/// The bytes of salt that are written, and of which not more are read.
const SALT: usize = 32;
const NONCE: usize = 24;
const SCRYPT: &str = "scrypt";
const SECRETBOX: &str = "nacl/secretbox";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kdf {
    name: String,
    params: Parameters,
    salt: String,
}

#[derive(Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Parameters {
    #[serde(rename = "N")]
    work: u64,
    r: u32,
    p: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cipher {
    name: String,
    nonce: String,
}

/// Says whether a file has a private key under a passphrase.
pub fn is_protected(pem: &[u8]) -> bool {
    let label = pem_rfc7468::decode_label(pem.trim_ascii());
    label.is_ok_and(|label| LABELS.contains(&label))
}

/// Opens the file of a private key.
///
/// # Errors
/// When it is none, is protected in another way or with other work, or the passphrase is another one.
pub fn open(pem: &[u8], passphrase: &SecretBytes) -> Result<PrivateKey, KeyError> {
    Protected::parse(pem)?.open(passphrase)
}

/// Writes the file of a private key. `random` fills a slice with random bytes.
///
/// # Panics
/// Never: what is written has a form and lengths that are known.
pub fn protect(key: &PrivateKey, passphrase: &SecretBytes, random: &mut dyn FnMut(&mut [u8])) -> String {
    let (mut salt, mut nonce) = ([0; SALT], [0; NONCE]);
    random(&mut salt);
    random(&mut nonce);
    let secret = derived(passphrase, WRITTEN, &salt).expect("the parameters are good");
    let cipher = XSalsa20Poly1305::new((&*secret).into());
    let ciphertext = cipher.encrypt(Nonce::from_slice(&nonce), key.to_pkcs8().as_bytes()).expect("a key is short");
    let document = Document {
        kdf: Kdf {
            name: SCRYPT.to_owned(),
            params: Parameters { work: 1 << WRITTEN, r: BLOCK, p: PARALLEL },
            salt: STANDARD.encode(salt),
        },
        cipher: Cipher { name: SECRETBOX.to_owned(), nonce: STANDARD.encode(nonce) },
        ciphertext: STANDARD.encode(ciphertext),
    };
    let pem = pem_rfc7468::encode_string(LABELS[0], LineEnding::LF, &json::write(&document));
    pem.expect("the label is one, and the document is short")
}

/// A private key under a passphrase, as it was read: its parameters are good, and nothing is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    work: u8,
    salt: Vec<u8>,
    nonce: [u8; NONCE],
    ciphertext: Vec<u8>,
}

impl Protected {
    /// Reads the file of a private key.
    ///
    /// # Errors
    /// When it is none, or is protected in another way or with other work.
    pub fn parse(pem: &[u8]) -> Result<Self, KeyError> {
        let wrong = |reason: &str| KeyError::NoPrivateKey { reason: reason.to_owned() };
        let pem = pem.trim_ascii();
        if !pem.starts_with(b"-----BEGIN ") {
            return Err(wrong("it does not begin as PEM does"));
        }
        let (label, bytes) = pem_rfc7468::decode_vec(pem).map_err(|_| wrong("its PEM cannot be read"))?;
        if !LABELS.contains(&label) {
            return Err(wrong("it is not protected by a passphrase as cosign does it"));
        }
        let document: Document = json::read_as(&bytes, usize::try_from(MAX_KEY).unwrap_or(usize::MAX))
            .map_err(|error| KeyError::Protection { reason: error.to_string() })?;
        Self::of(&document)
    }

    /// Opens it.
    ///
    /// # Errors
    /// When the passphrase is another one, or what is in it is no key.
    pub fn open(&self, passphrase: &SecretBytes) -> Result<PrivateKey, KeyError> {
        let secret = derived(passphrase, self.work, &self.salt)?;
        let cipher = XSalsa20Poly1305::new((&*secret).into());
        let opened = cipher.decrypt(Nonce::from_slice(&self.nonce), self.ciphertext.as_slice());
        let der = opened.map(Zeroizing::new).map_err(|_| KeyError::Passphrase)?;
        PrivateKey::from_pkcs8(&der)
    }

    fn of(document: &Document) -> Result<Self, KeyError> {
        let wrong = |reason: String| KeyError::Protection { reason };
        let decode =
            |what: &str, text: &str| STANDARD.decode(text).map_err(|_| wrong(format!("its {what} is not base64")));
        let Kdf { name, params, salt } = &document.kdf;
        if name != SCRYPT || document.cipher.name != SECRETBOX {
            return Err(wrong(format!("only {SCRYPT} and {SECRETBOX} are known")));
        }
        let work = WORK.into_iter().find(|log| 1 << log == params.work);
        let Some(work) = work.filter(|_| (params.r, params.p) == (BLOCK, PARALLEL)) else {
            let Parameters { work, r, p } = params;
            let reason =
                format!("scrypt with N={work}, r={r}, p={p} is not taken: N is 32768, 65536 or 131072, r is 8, p is 1");
            return Err(wrong(reason));
        };
        let salt = decode("salt", salt)?;
        if !(16..=64).contains(&salt.len()) {
            return Err(wrong(format!("its salt has {} bytes", salt.len())));
        }
        let nonce = decode("nonce", &document.cipher.nonce)?;
        let nonce = nonce.try_into().map_err(|_| wrong(format!("its nonce has other than {NONCE} bytes")))?;
        Ok(Self { work, salt, nonce, ciphertext: decode("ciphertext", &document.ciphertext)? })
    }
}

/// Makes the key of the box out of a passphrase (RFC 7914).
fn derived(passphrase: &SecretBytes, work: u8, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let wrong = |reason: String| KeyError::Protection { reason };
    let mut secret = Zeroizing::new([0; 32]);
    let parameters = scrypt::Params::new(work, BLOCK, PARALLEL, 32).map_err(|error| wrong(error.to_string()))?;
    scrypt::scrypt(passphrase.expose(), salt, &parameters, &mut *secret).map_err(|error| wrong(error.to_string()))?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::key::{Signer as _, tests::keys};

    fn secret(text: &str) -> SecretBytes {
        SecretBytes::new(text.as_bytes().to_vec())
    }

    fn count(bytes: &mut [u8]) {
        bytes.iter_mut().zip(0..).for_each(|(byte, number)| *byte = number);
    }

    #[test]
    fn a_key_comes_out_of_its_file_by_the_passphrase_alone() {
        for (key, passphrase) in keys().iter().zip(["correct horse", ""]) {
            let file = protect(key, &secret(passphrase), &mut count);
            assert!(file.starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"), "{file}");
            assert!(is_protected(file.as_bytes()));
            assert_eq!(open(file.as_bytes(), &secret(passphrase)).expect("opened").public(), key.public());
            let older = file.replace("SIGSTORE", "COSIGN");
            assert_eq!(open(older.as_bytes(), &secret(passphrase)).expect("opened").public(), key.public());
            assert!(matches!(open(file.as_bytes(), &secret("wrong")), Err(KeyError::Passphrase)));
        }
    }

    /// A file with another document in it.
    fn changed(file: &str, change: impl Fn(&mut Value)) -> String {
        let (label, bytes) = pem_rfc7468::decode_vec(file.as_bytes()).expect("a PEM");
        let mut document: Value = serde_json::from_slice(&bytes).expect("JSON");
        change(&mut document);
        pem_rfc7468::encode_string(label, LineEnding::LF, document.to_string().as_bytes()).expect("a PEM")
    }

    #[test]
    fn what_a_file_asks_for_beyond_what_cosign_writes_is_refused_before_it_is_done() {
        let file = protect(&keys()[0], &secret("x"), &mut count);
        assert!(open(changed(&file, |_| ()).as_bytes(), &secret("x")).is_ok(), "the control");
        let changes: [(&str, Value, &str); 17] = [
            ("/kdf/params/N", json!(1 << 30), "N=1073741824"),
            ("/kdf/params/N", json!(1 << 14), "N=16384"),
            ("/kdf/params/N", json!(65537), "N=65537"),
            ("/kdf/params/N", json!(-1), ""),
            ("/kdf/params/r", json!(1 << 20), "r=1048576"),
            ("/kdf/params/p", json!(1 << 20), "p=1048576"),
            ("/kdf/name", json!("pbkdf2"), "only scrypt"),
            ("/cipher/name", json!("none"), "only scrypt"),
            ("/kdf/salt", json!(""), "salt has 0"),
            ("/kdf/salt", json!("?"), "not base64"),
            ("/kdf/salt", json!("A".repeat(4096)), "salt has 3072"),
            ("/cipher/nonce", json!("AAAA"), "nonce"),
            ("/ciphertext", json!(""), "passphrase is wrong"),
            ("/ciphertext", json!("AAAA"), "passphrase is wrong"),
            ("/cipher/nonce", json!(STANDARD.encode([1; 24])), "passphrase is wrong"),
            ("/kdf/params", json!({"N": 65536, "r": 8, "p": 1, "m": 1}), "unknown field"),
            ("/kdf", json!(null), ""),
        ];
        for (place, value, says) in changes {
            let bad = changed(&file, |document| *document.pointer_mut(place).expect("a place") = value.clone());
            let error = open(bad.as_bytes(), &secret("x")).expect_err(place).to_string();
            assert!(error.contains(says), "{place}: {error}");
        }
        for (bad, says) in [
            (keys()[0].public().to_pem(), "not protected"),
            (String::new(), "does not begin"),
            (format!("{file}{file}"), "cannot be read"),
        ] {
            let error = open(bad.as_bytes(), &secret("x")).expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
        let twice = pem_rfc7468::encode_string(LABELS[0], LineEnding::LF, br#"{"kdf":{},"kdf":{}}"#).expect("a PEM");
        let error = open(twice.as_bytes(), &secret("x")).expect_err("a name twice").to_string();
        assert!(error.contains("twice"), "{error}");
    }
}
