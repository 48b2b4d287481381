//! What the services of an instance are asked when something is signed, and what they answer. Sending it is for the caller.
//!
//! Fulcio, `fulcio.proto` (`CreateSigningCertificate`); Rekor 2, `rekor_service.proto` (`CreateEntry`); RFC 3161, section 2.4.1.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bulla_model::{Digest, Epoch, SecretBytes};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    image::shown,
    json::{self, JsonError},
    key::PublicKey,
};

/// The most bytes of a token.
pub const MAX_TOKEN: usize = 16 << 10;
/// The most bytes of an answer.
pub const MAX_ANSWER: usize = 1 << 20;
/// What a request for a timestamp is.
pub const TIMESTAMP_QUERY: &str = "application/timestamp-query";
/// Asks for a timestamp over a SHA-256, with the certificate of the authority: all but the digest (RFC 3161, section 2.4.1). There is no number
/// that must come back: an answer is verified, and an older one over the same signature is as true.
const QUERY: [&[u8]; 2] = [
    b"\x30\x39\x02\x01\x01\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
    b"\x01\x01\xff",
];
/// What a certificate is called in PEM.
const CERTIFICATE: &str = "CERTIFICATE";

/// A token of an identity provider, by which somebody signs: never shown, and wiped.
#[derive(Debug, Clone)]
pub struct Token {
    text: SecretBytes,
    /// Whom it is about: what the authority wants to be signed, as proof that the key is theirs.
    pub subject: String,
    /// Who vouches for it.
    pub issuer: String,
    /// When it ends.
    pub expires: Epoch,
}

/// Says why something is no token, or no answer. No token's text is in it.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It is not of three parts, or they are not what they must be.
    #[error("it is no OIDC token: {reason}")]
    Token {
        /// Why.
        reason: &'static str,
    },
    /// The answer is not JSON.
    #[error("the answer is not what was asked for")]
    Json(#[from] JsonError),
    /// The answer is something else.
    #[error("the answer is not what was asked for: {reason}")]
    Answer {
        /// Why.
        reason: &'static str,
    },
}

/// The claims of a token that are read. Nothing of it is verified here: that is for the authority.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    email_verified: Value,
    exp: u64,
}

impl Token {
    /// Reads a token (RFC 7519) as far as signing by it takes.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: SecretBytes) -> Result<Self, RequestError> {
        let bad = |reason| RequestError::Token { reason };
        let token = std::str::from_utf8(text.expose()).map_err(|_| bad("it is no text"))?;
        let parts: Vec<&str> = token.split('.').collect();
        let plain =
            |part: &&str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c));
        let &[_, claims, _] = parts.as_slice() else { return Err(bad("it has not three parts between dots")) };
        if token.len() > MAX_TOKEN || !parts.iter().all(plain) {
            return Err(bad("its parts are not base64url, or too long"));
        }
        let claims = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims).map_err(|_| bad("its claims are not base64url"))?);
        // What is wrong with them is not told: their text is not for a log.
        let claims: Claims =
            json::read_as(&claims, MAX_TOKEN).map_err(|_| bad("its claims are not those of a token"))?;
        let expires = Epoch::new(claims.exp).ok_or(bad("it ends at a time that is none"))?;
        // As Sigstore's own clients have it: an address of mail counts where the provider has verified it.
        let verified = claims.email_verified == true || claims.email_verified == "true";
        let subject = match (claims.email.is_empty(), verified) {
            (true, _) => claims.sub,
            (false, true) => claims.email,
            (false, false) => return Err(bad("the provider has not verified its address of mail")),
        };
        if subject.is_empty() {
            return Err(bad("it is about nobody"));
        }
        Ok(Self { text, subject, issuer: shown(&claims.iss), expires })
    }

    /// Gives its text. Whoever copies it sees to it that the copy is wiped too.
    pub fn expose(&self) -> &SecretBytes {
        &self.text
    }
}

/// Asks for a certificate for a key, whose signature over the token's subject is the proof that it is the asker's. The request has the token in it.
///
/// # Panics
/// Never: a token is ASCII.
pub fn certificate_request(token: &Token, key: &PublicKey, proof: &[u8]) -> SecretBytes {
    let rest = json!({
        "publicKey": {"algorithm": "ECDSA", "content": key.to_pem()},
        "proofOfPossession": STANDARD.encode(proof),
    })
    .to_string();
    let token = std::str::from_utf8(token.text.expose()).expect("it was read as one");
    // Written by hand, so that no copy of the token stays behind in a buffer that grew; it has no character that JSON escapes.
    let parts = ["{\"credentials\":{\"oidcIdentityToken\":\"", token, "\"},\"publicKeyRequest\":", &rest, "}"];
    let mut body = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| body.extend_from_slice(part.as_bytes()));
    SecretBytes::new(body)
}

/// Reads the certificate out of an answer, in DER.
///
/// # Errors
/// When there is none.
pub fn certificate(answer: &[u8]) -> Result<Vec<u8>, RequestError> {
    let bad = |reason| RequestError::Answer { reason };
    let answer = json::read(answer, MAX_ANSWER)?;
    let chain = answer.pointer("/signedCertificateEmbeddedSct/chain/certificates");
    let chain = chain.ok_or(bad("it has no certificate with the word of a log in it"))?;
    let pem = chain.get(0).and_then(Value::as_str).ok_or(bad("its chain has no certificate"))?;
    match pem_rfc7468::decode_vec(pem.trim().as_bytes()) {
        Ok((CERTIFICATE, der)) => Ok(der),
        _ => Err(bad("its certificate is not PEM")),
    }
}

/// Asks the log to take an entry: what was signed, by its digest, the signature, and the certificate.
pub fn log_request(signed: &Digest, signature: &[u8], certificate: &[u8]) -> Vec<u8> {
    json::write(&json!({"hashedRekordRequestV002": {
        "digest": STANDARD.encode(signed.as_bytes()),
        "signature": {
            "content": STANDARD.encode(signature),
            "verifier": {
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "x509Certificate": {"rawBytes": STANDARD.encode(certificate)},
            },
        },
    }}))
}

/// Reads the entry of a log out of its answer, as it goes into a bundle.
///
/// # Errors
/// When it is none.
pub fn log_entry(answer: &[u8]) -> Result<Value, RequestError> {
    let entry = json::read(answer, MAX_ANSWER)?;
    let whole =
        ["logId", "kindVersion", "inclusionProof", "canonicalizedBody"].iter().all(|name| entry.get(name).is_some());
    if whole { Ok(entry) } else { Err(RequestError::Answer { reason: "it is no entry of a log with its proof" }) }
}

/// Asks a timestamp authority to say that a signature is there.
pub fn timestamp_request(signature: &[u8]) -> Vec<u8> {
    [QUERY[0], Digest::of(signature).as_bytes(), QUERY[1]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Signer as _, tests::keys};

    fn token(claims: &Value) -> Result<Token, RequestError> {
        let text = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()));
        Token::parse(SecretBytes::new(text.into_bytes()))
    }

    #[test]
    fn a_token_is_about_a_verified_address_or_its_subject() {
        let workflow = json!({"iss": "https://i.example", "sub": "https://forge.example/w", "exp": 1_800_000_000_u64});
        let read = token(&workflow).expect("a token");
        assert_eq!((read.subject.as_str(), read.issuer.as_str()), ("https://forge.example/w", "https://i.example"));
        let mut person = workflow.clone();
        person["email"] = "a@b.example".into();
        assert!(token(&person).is_err(), "an address that nobody verified");
        person["email_verified"] = true.into();
        assert_eq!(token(&person).expect("a token").subject, "a@b.example");
        for (name, value) in [("iss", json!(1)), ("exp", json!("soon")), ("exp", json!(u64::MAX)), ("sub", json!(""))] {
            let mut bad = workflow.clone();
            bad[name] = value;
            assert!(token(&bad).is_err(), "{name}");
        }
        for text in ["", "a.b", "a.b.c.d", "a.e30.c\"", "..", "a.!.c"] {
            let error = Token::parse(SecretBytes::new(text.as_bytes().to_vec())).expect_err(text).to_string();
            assert!(error.contains("no OIDC token"), "{error}");
        }
    }

    #[test]
    fn requests_have_the_form_of_the_services() {
        let [key, _] = keys();
        let token = token(&json!({"iss": "i", "sub": "s", "exp": 1})).expect("a token");
        let body = certificate_request(&token, key.public(), b"proof");
        let body: Value = serde_json::from_slice(body.expose()).expect("JSON");
        assert_eq!(body["credentials"]["oidcIdentityToken"].as_str().map(str::as_bytes), Some(token.expose().expose()));
        assert_eq!(body["publicKeyRequest"]["publicKey"]["content"], key.public().to_pem());
        assert!(!format!("{token:?}").contains("e30"), "a token is not shown");
        let query = timestamp_request(b"signature");
        assert_eq!(query.len(), usize::from(query[1]) + 2);
        let entry: Value = serde_json::from_slice(&log_request(&Digest::of("x"), b"s", b"c")).expect("JSON");
        assert_eq!(entry["hashedRekordRequestV002"]["signature"]["content"], "cw==");
    }

    #[test]
    fn answers_that_are_something_else_are_refused() {
        let pem = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let good = json!({"signedCertificateEmbeddedSct": {"chain": {"certificates": [pem]}}}).to_string();
        assert_eq!(certificate(good.as_bytes()).expect("a certificate"), b"\x30\x00");
        for bad in ["{}", "[", &good.replace("CERTIFICATE", "PUBLIC KEY"), &good.replace("EmbeddedSct", "DetachedSct")]
        {
            assert!(certificate(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(log_entry(b"{}").is_err());
        assert!(log_entry(br#"{"logId":1,"logId":2}"#).is_err());
    }
}
