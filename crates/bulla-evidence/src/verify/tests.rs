use bulla_model::Digest;
use serde_json::{Value, json};

use super::{
    require::{Requirement, Subjects},
    *,
};
use crate::{
    Subject, bundle,
    image::SIGNS,
    key::{PrivateKey, Signer as _, tests::keys},
    predicate::SLSA_PROVENANCE,
    simple,
};

fn trusted(key: &PrivateKey) -> [TrustedKey; 1] {
    [TrustedKey { name: "release.pub".to_owned(), key: key.public().clone() }]
}

fn statement(of: &str, kind: &str) -> Statement {
    Statement::new(vec![Subject::new(None, &Digest::of(of))], kind, json!({}))
}

fn bundle(of: &str, kind: &str, key: &PrivateKey) -> Content {
    Content::Bundle(bundle::sign(&statement(of, kind), key).expect("signed"))
}

/// What a thing beside the image `image` proves by the first key.
fn claim(content: Content) -> Claim {
    let piece = Piece { subject: Digest::of("image"), content };
    assess(&piece, &trusted(&keys()[0])).claim
}

fn document(of: &str, key: &PrivateKey) -> (Vec<u8>, String) {
    let (layer, payload) = simple::sign("r.example/shop", &Digest::of(of), key).expect("signed");
    (payload, layer.annotations[simple::SIGNATURE].clone())
}

#[test]
fn what_a_named_key_signed_of_the_image_is_proven_in_each_form() {
    let [one, _] = keys();
    let signature = claim(bundle("image", SIGNS, &one));
    assert_eq!(
        (signature.verdict, signature.about, signature.form),
        (Verdict::Proven, About::Signature, Some(Form::Bundle))
    );
    assert_eq!(signature.key.as_deref(), Some("release.pub"));
    let provenance = claim(bundle("image", SLSA_PROVENANCE, &one));
    assert_eq!((provenance.verdict, provenance.about), (Verdict::Proven, About::Statement(SLSA_PROVENANCE.to_owned())));
    let (payload, signature) = document("image", &one);
    let legacy = claim(Content::Document { payload, signature, keyless: false });
    assert_eq!((legacy.verdict, legacy.form), (Verdict::Proven, Some(Form::Legacy)));
    assert!(legacy.detail.contains("r.example/shop"), "{}", legacy.detail);
    let (_, bytes) = simple::attest(&statement("image", SLSA_PROVENANCE), &one).expect("signed");
    let envelope = claim(Content::Envelope { bytes, keyless: false });
    assert_eq!((envelope.verdict, envelope.form), (Verdict::Proven, Some(Form::Legacy)));
}

#[test]
fn evidence_of_another_image_fails_whoever_signed_it() {
    let [one, _] = keys();
    let (payload, signature) = document("other", &one);
    let (_, bytes) = simple::attest(&statement("other", SLSA_PROVENANCE), &one).expect("signed");
    for content in [
        bundle("other", SIGNS, &one),
        bundle("other", SLSA_PROVENANCE, &one),
        Content::Document { payload, signature, keyless: false },
        Content::Envelope { bytes, keyless: false },
        Content::Statement(statement("other", SLSA_PROVENANCE).to_bytes()),
    ] {
        let claim = claim(content);
        assert_eq!(claim.verdict, Verdict::Failed, "{claim:?}");
        assert!(claim.advice.is_some());
    }
}

/// Changes a bundle of the first key.
fn changed(change: impl Fn(&mut Value)) -> Claim {
    let Content::Bundle(bytes) = bundle("image", SIGNS, &keys()[0]) else { unreachable!("it is one") };
    let mut value: Value = serde_json::from_slice(&bytes).expect("JSON");
    change(&mut value);
    claim(Content::Bundle(value.to_string().into_bytes()))
}

#[test]
fn what_was_changed_fails_and_what_others_signed_is_not_checked() {
    let [_, two] = keys();
    assert_eq!(changed(|_| ()).verdict, Verdict::Proven, "the control");
    let other = bundle("image", SLSA_PROVENANCE, &two);
    let Content::Bundle(other) = other else { unreachable!("it is one") };
    let other: Value = serde_json::from_slice(&other).expect("JSON");
    let payload = changed(|bundle| bundle["dsseEnvelope"]["payload"] = other["dsseEnvelope"]["payload"].clone());
    let signature =
        changed(|bundle| bundle["dsseEnvelope"]["signatures"] = other["dsseEnvelope"]["signatures"].clone());
    let kind = changed(|bundle| bundle["dsseEnvelope"]["payloadType"] = json!("application/json"));
    for claim in [payload, signature, kind] {
        assert_eq!(claim.verdict, Verdict::Failed, "{claim:?}");
    }
    // With the hint of a key that was not named nothing can be told.
    let hint = json!({"hint": two.public().hint()});
    let stranger = changed(|bundle| {
        bundle["dsseEnvelope"]["payload"] = other["dsseEnvelope"]["payload"].clone();
        bundle["verificationMaterial"]["publicKey"] = hint.clone();
    });
    assert_eq!(stranger.verdict, Verdict::NotChecked);
    assert_eq!(claim(bundle("image", SIGNS, &two)).verdict, Verdict::NotChecked, "a key that is not named");
    let (payload, signature) = document("image", &two);
    assert_eq!(claim(Content::Document { payload, signature, keyless: false }).verdict, Verdict::NotChecked);
    let keyless = changed(|bundle| bundle["verificationMaterial"] = json!({"certificate": {"rawBytes": "AA=="}}));
    assert_eq!((keyless.verdict, keyless.about), (Verdict::NotChecked, About::Signature));
}

#[test]
fn what_is_huge_deep_twice_or_nothing_fails() {
    let Content::Bundle(bytes) = bundle("image", SIGNS, &keys()[0]) else { unreachable!("it is one") };
    let text = String::from_utf8(bytes).expect("a text");
    let twice = text.replacen("\"dsseEnvelope\":", "\"dsseEnvelope\":{},\"dsseEnvelope\":", 1);
    for bad in [twice, "[".repeat(1 << 20), String::new(), "{}".to_owned()] {
        for content in [
            Content::Bundle(bad.clone().into_bytes()),
            Content::Envelope { bytes: bad.clone().into_bytes(), keyless: false },
            Content::Statement(bad.clone().into_bytes()),
        ] {
            assert_eq!(claim(content).verdict, Verdict::Failed);
        }
    }
}

#[test]
fn a_statement_without_a_signature_is_asserted() {
    let claim = claim(Content::Statement(statement("image", SLSA_PROVENANCE).to_bytes()));
    assert_eq!((claim.verdict, claim.form), (Verdict::Asserted, Some(Form::Unsigned)));
    assert!(claim.advice.is_some_and(|advice| advice.contains("bulla attest")));
}

#[test]
fn a_file_is_signed_by_the_bundle_beside_it() {
    let [one, two] = keys();
    let check = |bundle: Vec<u8>, file: &[u8]| {
        let content = Content::FileBundle { bundle, file: file.into() };
        assess(&Piece { subject: Digest::of(file), content }, &trusted(&one)).claim
    };
    let good = bundle::sign_file(b"file", &one).expect("signed");
    assert_eq!(check(good.clone(), b"file").verdict, Verdict::Proven);
    assert_eq!(check(good.clone(), b"other").verdict, Verdict::Failed);
    assert_eq!(check(bundle::sign_file(b"file", &two).expect("signed"), b"file").verdict, Verdict::NotChecked);
    assert_eq!(claim(Content::Bundle(good)).verdict, Verdict::Failed, "it signs no image");
}

#[test]
fn only_what_is_proven_counts_for_what_is_asked_for() {
    let [one, two] = keys();
    let (root, left, right) = (Digest::of("image"), Digest::of("left"), Digest::of("right"));
    let subjects = Subjects { root, platforms: vec![left, right] };
    let beside = |of: &str, content: Content| assess(&Piece { subject: Digest::of(of), content }, &trusted(&one));
    let all = [Form::Bundle, Form::Legacy];
    let met = |word: &str, pieces: &[Assessed], forms: &[Form]| {
        word.parse::<Requirement>().expect("a word").met(&subjects, pieces, forms)
    };
    let signed = beside("image", bundle("image", SIGNS, &one));
    assert!(met("signature", std::slice::from_ref(&signed), &all).met);
    for (piece, says) in [
        (beside("image", bundle("image", SIGNS, &two)), "not checked"),
        (beside("image", bundle("left", SIGNS, &one)), "failed"),
        (beside("left", bundle("left", SIGNS, &one)), "there is none"),
        (beside("image", bundle("image", SLSA_PROVENANCE, &one)), "there is none"),
    ] {
        let found = met("signature", &[piece], &all);
        assert!(!found.met && found.reason.as_ref().is_some_and(|reason| reason.contains(says)), "{found:?}");
    }
    // The older form does not do where bundles are asked for.
    let (payload, signature) = document("image", &one);
    let legacy = [beside("image", Content::Document { payload, signature, keyless: false })];
    assert!(met("signature", &legacy, &all).met);
    let downgraded = met("signature", &legacy, &[Form::Bundle]);
    assert!(!downgraded.met && downgraded.reason.is_some_and(|reason| reason.contains("another form")));
    // A list of packages describes what it is about: the image, or each of its platforms.
    let (spdx, kind) = ("spdxjson", "https://spdx.dev/Document");
    let half = beside("left", bundle("left", kind, &one));
    let other = beside("right", bundle("right", kind, &one));
    assert!(!met(spdx, std::slice::from_ref(&half), &all).met);
    assert!(met(spdx, &[half.clone(), other.clone()], &all).met && met("sbom", &[half, other], &all).met);
    let asserted = beside("image", Content::Statement(statement("image", kind).to_bytes()));
    assert!(met(spdx, &[asserted], &all).reason.is_some_and(|reason| reason.contains("nobody signed")));
    assert!("nothing".parse::<Requirement>().is_err());
}
