//! The cases of Sigstore's conformance suite, each with what comes of it here.
//!
//! They are those of `sigstore-conformance` (Apache-2.0), of the folder `test/assets/bundle-verify`, as they are but for their notes. A case whose
//! name ends in `_fail` proves nothing; any other is proven. Those without a trusted root are held against that of the public instance, as it is
//! in Sigstore's own library.
#![expect(clippy::disallowed_methods, reason = "cases lie in files")]

use std::{collections::BTreeSet, error::Error as _, fs, path::Path};

use bulla_evidence::{
    bundle::{self, Bundle, MAX_BUNDLE},
    key::PublicKey,
    keyless::{Matcher, TrustedIdentity, TrustedRoot},
    verify::{Certificates, Claim, Content, Piece, Trust, TrustedKey, Verdict, assess},
};
use bulla_model::{Digest, Epoch};

const IDENTITY: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";
/// 2026-11-28, which is after all that is in them.
const NOW: u64 = 1_795_824_000;
/// A bundle, a trusted root or a key is refused before anything is verified.
const REFUSED: Option<Verdict> = None;
const FAILED: Option<Verdict> = Some(Verdict::Failed);
const NOT_CHECKED: Option<Verdict> = Some(Verdict::NotChecked);
const PROVEN: Option<Verdict> = Some(Verdict::Proven);

/// All cases, with what is found and a part of what is said of it.
const CASES: &[(&str, Option<Verdict>, &str)] = &[
    ("bundle-empty-certificate-chain_fail", FAILED, "it has no certificate"),
    ("bundle-from-wrong-instance_fail", NOT_CHECKED, "none of the authorities"),
    ("bundle-invalid-base64-signature_fail", FAILED, "its signature is not base64"),
    ("bundle-malformed-json_fail", FAILED, "no bundle of Sigstore"),
    ("bundle-negative-log-index_fail", FAILED, "negative log index"),
    ("bundle-unknown-version_fail", NOT_CHECKED, "another version"),
    ("bundle-with-root-cert_fail", FAILED, "no checkpoint"),
    ("bundle-with-sct-with-extensions", PROVEN, "its bytes are signed, at 2026-01-15T22:49:26Z"),
    ("checkpoint-bad-keyhint_fail", FAILED, "No matching Rekor key"),
    ("checkpoint-wrong-roothash_fail", FAILED, "root hash does not match"),
    ("dsse-invalid-sig_fail", FAILED, "DSSE signature verification failed"),
    ("dsse-mismatch-envelope_fail", FAILED, "DSSE payload hash mismatch"),
    ("dsse-mismatch-sig_fail", FAILED, "does not match any signature in Rekor entry"),
    ("happy-path-intoto-in-dsse-v3", PROVEN, "its statement is signed, and about this digest, at 2024-12-16T18:42:56Z"),
    ("happy-path-v0.1", PROVEN, "its bytes are signed, at 2023-07-12T15:56:36Z"),
    ("happy-path-v0.2", PROVEN, "its bytes are signed, at 2023-07-12T15:56:36Z"),
    ("happy-path-v0.3", PROVEN, "its bytes are signed, at 2024-03-19T17:26:26Z"),
    ("happy-path-v0.3-new-mediaType", PROVEN, "its bytes are signed, at 2024-03-19T17:26:26Z"),
    ("inclusion-proof-corrupted-hash_fail", FAILED, "inclusion proof verification failed"),
    ("incorrect-public-key_fail", FAILED, "invalid inclusion promise"),
    ("integrated-time-in-future_fail", FAILED, "CertExpired"),
    ("intoto-expired-certificate_fail", FAILED, "CertNotValidYet"),
    ("intoto-log-entry-mismatch_fail", FAILED, "malformed log entry"),
    ("intoto-missing-inclusion-proof_fail", FAILED, "must have an inclusion proof"),
    ("intoto-set-outside-signing-cert-validity_fail", FAILED, "CertExpired"),
    ("intoto-tsa-timestamp-outside-cert-validity_fail", FAILED, "CertExpired"),
    (
        "intoto-with-custom-trust-root",
        PROVEN,
        "its statement is signed, and about this digest, at 2023-02-01T00:00:00Z",
    ),
    ("invalid-checkpoint-signature_fail", FAILED, "No valid Rekor signature"),
    ("invalid-ct-key_fail", FAILED, "invalid signed certificate timestamp"),
    ("invalid-inclusion-proof_fail", FAILED, "no checkpoint"),
    ("managed-key-and-trusted-root", PROVEN, "its bytes are signed, at 2026-01-07T18:36:05Z"),
    ("managed-key-happy-path", PROVEN, "its bytes are signed, at 2025-12-18T17:04:39Z"),
    ("managed-key-no-key_fail", NOT_CHECKED, "no key was named"),
    ("managed-key-wrong-key_fail", REFUSED, "not a public key of P-256 or Ed25519"),
    ("message-digest-mismatch_fail", FAILED, "signature of other bytes"),
    ("rekor2-checkpoint-cosigned", PROVEN, "its bytes are signed, at 2025-06-12T12:02:20Z"),
    ("rekor2-checkpoint-missing-log-signature_fail", FAILED, "no signatures found"),
    ("rekor2-checkpoint-missing-origin_fail", FAILED, "invalid tree size"),
    ("rekor2-checkpoint-missing-root-hash_fail", FAILED, "missing root hash"),
    ("rekor2-checkpoint-missing-size_fail", FAILED, "invalid tree size"),
    ("rekor2-checkpoint-multiple-cosigs", PROVEN, "its bytes are signed, at 2025-06-12T12:02:20Z"),
    ("rekor2-checkpoint-no-matching-signature_fail", FAILED, "No valid Rekor signature"),
    ("rekor2-checkpoint-origin-not-first", PROVEN, "its bytes are signed, at 2025-06-12T12:02:20Z"),
    ("rekor2-checkpoint-two-sigs-cosigned", PROVEN, "its bytes are signed, at 2025-06-12T12:02:20Z"),
    ("rekor2-checkpoint-two-sigs-from-origin", PROVEN, "its bytes are signed, at 2025-06-12T12:02:20Z"),
    ("rekor2-dsse-happy-path", PROVEN, "its statement is signed, and about this digest, at 2026-05-13T19:23:33Z"),
    ("rekor2-dsse-invalid-sig_fail", FAILED, "DSSE signature verification failed"),
    ("rekor2-dsse-mismatch-envelope_fail", FAILED, "hash mismatch for hashedrekord entry"),
    ("rekor2-dsse-mismatch-sig_fail", FAILED, "does not match signature in Rekor entry"),
    ("rekor2-happy-path", PROVEN, "its bytes are signed, at 2025-06-12T12:02:20Z"),
    ("rekor2-no-inclusion-proof_fail", FAILED, "must have an inclusion proof"),
    ("rekor2-no-timestamp_fail", FAILED, "requires RFC3161 timestamp"),
    ("rekor2-timestamp-outside-trust-root-tsa-validity_fail", FAILED, "outside the validity period of the authority"),
    ("rekor2-timestamp-outside-tsa-cert-validity_fail", FAILED, "CertExpired"),
    ("rekor2-timestamp-payload-mismatch_fail", FAILED, "Timestamp message hash mismatch"),
    ("rekor2-timestamp-untrusted-tsa-with-embedded-cert_fail", FAILED, "does not match any trusted TSA"),
    ("rekor2-timestamp-untrusted-tsa-without-embedded-cert_fail", FAILED, "does not match any trusted TSA"),
    ("rekor2-timestamp-with-embedded-cert", PROVEN, "its bytes are signed, at 2025-08-06T18:51:36Z"),
    ("rekor2-timestamp-with-expired-cert-chain", PROVEN, "its bytes are signed, at 2025-08-07T15:32:26Z"),
    ("rekor2-timestamp-with-incorrect-time_fail", FAILED, "invalid base64"),
    ("rekor2-timestamp-without-embedded-cert", PROVEN, "its bytes are signed, at 2025-08-06T19:03:51Z"),
    ("set-invalid-signature_fail", FAILED, "SET verification failed"),
    ("signature-mismatch_fail", FAILED, "invalid signature"),
    ("trust-root-tlog-missing-validity-start_fail", REFUSED, "missing field `start`"),
    ("trust-root-tlog-validity-end-inclusive", PROVEN, "its bytes are signed, at 2023-07-12T15:56:36Z"),
    ("trust-root-tsa-validity-end-inclusive", PROVEN, "its bytes are signed, at 2025-06-12T12:02:20Z"),
    ("wrong-hashedrekord-artifact_fail", FAILED, "hash mismatch for hashedrekord entry"),
    ("wrong-hashedrekord-cert-and-sig_fail", FAILED, "does not match certificate in Rekor entry"),
    ("wrong-hashedrekord-entry_fail", FAILED, "hash mismatch for hashedrekord entry"),
    ("wrong-material_fail", FAILED, "signature of other bytes"),
];

#[test]
fn every_case_comes_out_as_the_suite_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sigstore");
    let entries = fs::read_dir(&folder).expect("the cases").map(|entry| entry.expect("a case"));
    let there: BTreeSet<String> = entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().expect("a name"))
        .collect();
    let known: BTreeSet<String> = CASES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(there, known, "each case is in the table");
    for (name, expected, says) in CASES {
        let (verdict, detail) = match outcome(&folder, name, |_| ()) {
            Ok(claim) => (Some(claim.verdict), claim.detail),
            Err(refusal) => (REFUSED, refusal),
        };
        assert_eq!(verdict, *expected, "{name}: {detail}");
        assert!(detail.contains(says), "{name}: {detail}");
        assert_eq!(verdict == PROVEN, !name.ends_with("_fail"), "{name}");
    }
}

/// The case has its timestamp in base64 of several lines, for which alone it is refused.
#[test]
fn a_timestamp_outside_of_the_certificate_fails_however_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sigstore");
    let time = outcome(&folder, "rekor2-timestamp-with-incorrect-time_fail", |case| {
        case.bundle = String::from_utf8_lossy(&case.bundle).replace("\\n", "").into_bytes();
        // The checkpoint has lines of its own.
        let whole = fs::read(folder.join("rekor2-happy-path/bundle.sigstore.json")).expect("the same, but good");
        let good: serde_json::Value = serde_json::from_slice(&whole).expect("JSON");
        let mut bad: serde_json::Value = serde_json::from_slice(&case.bundle).expect("JSON");
        bad["verificationMaterial"]["tlogEntries"] = good["verificationMaterial"]["tlogEntries"].clone();
        case.bundle = bad.to_string().into_bytes();
    });
    let time = time.expect("a verdict");
    assert_eq!(time.verdict, Verdict::Failed);
    assert!(time.detail.contains("imestamp") || time.detail.contains("CertExpired"), "{}", time.detail);
    assert!(!time.detail.contains("base64"), "{}", time.detail);
}

/// A case as it is verified.
struct Case {
    bundle: Vec<u8>,
    subject: Digest,
}

/// Says what comes of a case after a change; an error where its trusted root or key is refused.
fn outcome(folder: &Path, name: &str, change: impl Fn(&mut Case)) -> Result<Claim, String> {
    let folder_of_case = folder.join(name);
    let read = |name: &str| fs::read(folder_of_case.join(name)).ok();
    let text = |name: &str| read(name).map(|bytes| String::from_utf8(bytes).expect("a text").trim().to_owned());
    let file = read("artifact").unwrap_or_else(|| fs::read(folder.join("a.txt")).expect("the usual artifact"));
    let bundle = read("bundle.sigstore.json").expect("a bundle");
    let public = sigstore_verify::trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes().to_vec();
    let root = TrustedRoot::parse(&read("trusted_root.json").unwrap_or(public))
        .map_err(|error| error.source().map_or_else(|| error.to_string(), ToString::to_string))?;
    let exact = |name: &str, usual: &str| Matcher::Exact(text(name).unwrap_or_else(|| usual.to_owned()));
    let identities = [TrustedIdentity { identity: exact("identity", IDENTITY), issuer: exact("issuer", ISSUER) }];
    let key = read("key.pub").map(|pem| PublicKey::parse(&pem)).transpose().map_err(|error| error.to_string())?;
    let keys: Vec<TrustedKey> = key.map(|key| TrustedKey { name: "key.pub".into(), key }).into_iter().collect();
    let certificates =
        Some(Certificates { root: &root, identities: &identities, now: Epoch::new(NOW).expect("a time") });
    let mut case = Case { subject: Digest::of(&file), bundle };
    change(&mut case);
    let Case { bundle, subject } = case;
    let is_file =
        Bundle::parse(&bundle, MAX_BUNDLE).is_ok_and(|one| matches!(one.content, bundle::Content::File { .. }));
    let content = if is_file { Content::FileBundle { bundle, file: file.into() } } else { Content::Bundle(bundle) };
    Ok(assess(&Piece { subject, content }, Trust { keys: &keys, certificates }).claim)
}
