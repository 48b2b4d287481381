//! What is signed already, so that a key that signs otherwise each time does not sign it once more.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulla_model::Digest;

use super::Content;
use crate::{
    bundle::{self, Bundle, MAX_BUNDLE},
    dsse::Envelope,
    json,
};

impl Content {
    /// Gives the signatures in a piece, each with the SHA-256 of what it is over. Whose they are is not looked at; of what cannot be read, or
    /// was signed by a certificate, there are none.
    pub fn signatures(&self) -> Vec<(Digest, Vec<u8>)> {
        match self {
            Self::Bundle(bytes) => of_bundle(bytes, &[]),
            Self::FileBundle { bundle, file } => of_bundle(bundle, file),
            Self::Document { payload, signature, keyless: false } => {
                let signature = STANDARD.decode(signature).ok();
                signature.map(|signature| (Digest::of(payload), signature)).into_iter().collect()
            }
            Self::Envelope { bytes, keyless: false } => {
                json::read_as::<Envelope>(bytes, MAX_BUNDLE).map(|envelope| envelope.signatures()).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }
}

fn of_bundle(bytes: &[u8], file: &[u8]) -> Vec<(Digest, Vec<u8>)> {
    match Bundle::parse(bytes, MAX_BUNDLE).map(|bundle| bundle.content) {
        Ok(bundle::Content::Envelope(envelope)) => envelope.signatures(),
        Ok(bundle::Content::File { signature, .. }) => vec![(Digest::of(file), signature)],
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Statement, Subject,
        key::{Signer as _, elsewhere::Again, tests::keys},
        simple,
    };

    #[test]
    fn signatures_are_found_in_each_form_and_those_of_the_key_are_used_again() {
        let [key, other] = keys();
        let image = Digest::of("image");
        let statement =
            Statement::new(vec![Subject::new(None, &image)], "https://example.org/x", serde_json::json!({}));
        let document = |(layer, payload): simple::Layer| Content::Document {
            payload,
            signature: layer.annotations[simple::SIGNATURE].clone(),
            keyless: false,
        };
        let file = b"file";
        let all = |key: &dyn crate::key::Signer| {
            [
                Content::Bundle(bundle::sign(&statement, key).expect("signed")),
                Content::FileBundle {
                    bundle: bundle::sign_file(file, key).expect("signed"),
                    file: file.as_slice().into(),
                },
                document(simple::sign("registry.example/x", &image, key).expect("signed")),
                Content::Envelope { bytes: simple::attest(&statement, key).expect("signed").1, keyless: false },
            ]
        };
        for content in all(&key) {
            let found = content.signatures();
            let [(_, signature)] = found.as_slice() else { panic!("{content:?}") };
            let known = Again::new(&other, found.clone());
            assert!(!all(&known).iter().any(|one| one.signatures()[0].1 == *signature), "it is another key's");
            let known = Again::new(&key, found.clone());
            assert!(all(&known).contains(&content));
        }
        for content in [
            Content::Bundle(b"{}".to_vec()),
            Content::Document { payload: Vec::new(), signature: "?".into(), keyless: false },
            Content::Document { payload: Vec::new(), signature: "AAAA".into(), keyless: true },
            Content::Envelope { bytes: b"{}".to_vec(), keyless: false },
            Content::Statement(statement.to_bytes()),
        ] {
            assert_eq!(content.signatures(), [], "{content:?}");
        }
        assert!(key.repeats());
    }
}
