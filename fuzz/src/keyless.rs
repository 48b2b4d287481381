//! Signatures by certificates: bundles, trusted roots, tokens, and the answers of services.

use bulla_evidence::{
    keyless::{
        Matcher, Signed, TrustedIdentity, TrustedRoot, claimed,
        request::{Token, certificate, log_entry},
    },
    verify::{Certificates, Content, Piece, Trust, Verdict, assess},
};
use bulla_model::{Digest, Epoch, SecretBytes};

/// An instance that is gone, which let somebody sign the file `file`, and nothing else.
const ROOT: &[u8] = include_bytes!("../seeds/keyless/trusted_root");
/// The end of 2030, after it was signed.
const NOW: u64 = 1_924_905_600;

/// All that a stranger may write. What the instance did not vouch for is never proven.
pub(crate) fn keyless(bytes: &[u8]) {
    let now = Epoch::new(NOW).expect("a time");
    let root = TrustedRoot::parse(ROOT).expect("a trusted root");
    let any = || Matcher::pattern(".*").expect("a pattern");
    let anybody = [TrustedIdentity { identity: any(), issuer: any() }];
    let verdict = |file: &[u8], identities: &[TrustedIdentity]| {
        let content = Content::FileBundle { bundle: bytes.to_vec(), file: file.into() };
        let certificates = Some(Certificates { root: &root, identities, now });
        assess(&Piece { subject: Digest::of(file), content }, Trust { keys: &[], certificates }).claim.verdict
    };
    let proven = verdict(b"file", &anybody) == Verdict::Proven;
    assert!(!proven || claimed(bytes).is_some(), "what is proven names somebody");
    assert_ne!(verdict(b"file", &[]), Verdict::Proven, "nobody may sign");
    assert_ne!(verdict(b"another", &anybody), Verdict::Proven, "nobody signed it");
    if let Err(error) = root.certified(bytes, Signed::Statement(&Digest::of("file")), now) {
        told(&error);
    }
    match TrustedRoot::parse(bytes) {
        Ok(other) => assert!(other.certified(bytes, Signed::File(b"file"), now).is_err(), "a root is no bundle"),
        Err(error) => told(&error),
    }
    if let Err(error) = Token::parse(SecretBytes::new(bytes.to_vec())) {
        let told = error.to_string();
        assert!(told.len() < 200, "nothing of a token is told: {told}");
    }
    for error in [certificate(bytes).err(), log_entry(bytes).err()].into_iter().flatten() {
        told(&error);
    }
}

/// An error says something, on one line and not without end.
fn told(error: &dyn std::error::Error) {
    let told = error.to_string();
    assert!(!told.is_empty() && told.len() < 1024 && !told.contains('\n'), "{told}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_are_good() {
        let root = TrustedRoot::parse(ROOT).expect("a trusted root");
        let now = Epoch::new(NOW).expect("a time");
        let file = root.certified(include_bytes!("../seeds/keyless/bundle"), Signed::File(b"file"), now);
        assert_eq!(file.expect("signed").certified.identity.as_deref(), Some("release@bulla.test"));
        let digest = Digest::of("file");
        let statement = root.certified(include_bytes!("../seeds/keyless/statement"), Signed::Statement(&digest), now);
        assert!(statement.expect("signed").payload.is_some());
    }
}
