//! The search for secrets in what a step left, and the masking of what it prints.

use bulla_build::secret::Secrets;
use bulla_model::SecretBytes;

const VALUE: &[u8] = b"s3cr3t+Value&of=test";

fn secrets() -> Secrets {
    let name = "token".parse().expect("a name");
    Secrets::new([(name, SecretBytes::new(VALUE.to_vec()))].into())
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A file that a step left; its first bytes say where the value is put into it, and in which pieces it is printed.
pub(crate) fn secret(bytes: &[u8]) {
    let secrets = secrets();
    let before = secrets.find(bytes);
    assert!(before.len() <= 50 && before.iter().all(|hit| hit.secret.as_str() == "token"));
    let [at, step, rest @ ..] = bytes else { return };
    let at = usize::from(*at) * rest.len() / 256;
    let planted = [&rest[..at], VALUE, &rest[at..]].concat();
    let hits = secrets.find(&planted);
    assert!(!hits.is_empty(), "what was planted is found");
    assert!(hits.iter().all(|hit| !has(hit.place.as_bytes(), VALUE)), "no place shows it");
    let mut masker = secrets.masker().expect("there are secrets");
    let pieces = planted.chunks(usize::from(*step).max(1));
    let mut shown: Vec<u8> = pieces.flat_map(|piece| masker.push(piece)).collect();
    shown.extend(masker.finish());
    assert!(!has(&shown, VALUE), "what was planted is hidden");
}
