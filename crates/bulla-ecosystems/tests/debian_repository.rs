//! A whole resolution against repositories that are signed on the spot: good ones, and each way in which one can be bad.

mod mirror;

use bulla_ecosystems::debian::{
    keyring::SignatureError,
    release::ReleaseError,
    resolve::{Inquiry, ResolveError, Resolver, UnpackError},
};
use bulla_model::{Digest, Fault, Kind};
use mirror::{
    Mirror, NOW, clearsign, clearsign_with_all, detached, epoch, expiring, fingerprint, inquiry, key, keyring,
    mirror as good, public, resolve, revoked, rsa_key, stanza,
};
use pgp::{composed::SignedPublicKey, crypto::hash::HashAlgorithm};

fn refusal(inquiry: Inquiry, mirror: &Mirror) -> ReleaseError {
    match resolve(inquiry, mirror) {
        Err(ResolveError::Release { source, .. }) => *source,
        other => panic!("the index should be refused: {other:?}"),
    }
}

fn signature_refusal(inquiry: Inquiry, mirror: &Mirror) -> SignatureError {
    match refusal(inquiry, mirror) {
        ReleaseError::Signature(error) => error,
        other => panic!("the signature should be refused: {other:?}"),
    }
}

#[test]
fn a_good_repository_is_resolved_to_pins_with_their_evidence() {
    let key = key("archive");
    let found = resolve(inquiry(keyring(&[&public(&key)])), &good().signed(&key)).expect("a resolution");
    let names: Vec<&str> = found.packages.iter().map(|pin| pin.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "dash"]);
    assert_eq!((&found.roots["build"], &found.roots["image"]), (&vec![0, 1, 2], &vec![0, 1]));
    let pin = &found.packages[0];
    assert_eq!((pin.path.as_str(), pin.source.as_str(), pin.source_version.as_str()), ("pool/a_1.deb", "src", "0.9"));
    assert_eq!((pin.sha256, pin.suite.as_str(), pin.component.as_str()), (Digest::of("a 1"), "trixie", "main"));
    let evidence = &found.indexes[0];
    assert_eq!((evidence.codename.as_str(), &evidence.keys), ("trixie", &vec![fingerprint(&key.primary_key)]));
    assert_eq!(found.epoch.rfc3339(), "2027-01-14T08:00:00Z");
}

#[test]
fn a_subkey_signs_and_one_good_signature_among_several_is_enough() {
    let (ours, theirs) = (key("ours"), key("theirs"));
    let by_subkey = clearsign(&good().release, &ours.secret_subkeys[0].key, HashAlgorithm::Sha256, NOW);
    let found = resolve(inquiry(keyring(&[&public(&ours)])), &good().with("InRelease", by_subkey)).expect("good");
    assert_eq!(found.indexes[0].keys, [fingerprint(&ours.secret_subkeys[0].key)]);
    let by_both = clearsign_with_all(&good().release, &[&theirs, &ours]);
    let found = resolve(inquiry(keyring(&[&public(&ours)])), &good().with("InRelease", by_both)).expect("good");
    assert_eq!(found.indexes[0].keys, [fingerprint(&ours.primary_key)]);
}

#[test]
fn lines_may_end_as_on_windows() {
    let key = key("archive");
    let text = clearsign(&good().release, &key.primary_key, HashAlgorithm::Sha512, NOW).replace('\n', "\r\n");
    assert!(resolve(inquiry(keyring(&[&public(&key)])), &good().with("InRelease", text)).is_ok());
}

#[test]
fn an_old_mirror_has_a_detached_signature() {
    let key = key("archive");
    let keys = || keyring(&[&public(&key)]);
    let mirror = good().with("Release", good().release).with("Release.gpg", detached(&good().release, &key));
    assert!(resolve(inquiry(keys()), &mirror).is_ok());
    let changed = mirror.clone().with("Release", good().release.replace("stable", "stale"));
    assert!(matches!(signature_refusal(inquiry(keys()), &changed), SignatureError::Bad { .. }));
    let unsigned = mirror.without("Release.gpg");
    assert!(matches!(signature_refusal(inquiry(keys()), &unsigned), SignatureError::None));
    assert!(matches!(resolve(inquiry(keys()), &good()), Err(ResolveError::NoSuite { .. })));
}

#[test]
fn what_the_mirror_lacks_is_had_another_way() {
    let key = key("archive");
    let keys = || keyring(&[&public(&key)]);
    assert!(resolve(inquiry(keys()), &good().signed(&key).without("by-hash")).is_ok());
    assert!(resolve(inquiry(keys()), &good().signed(&key).without("by-hash").without(".xz")).is_ok());
    let nothing = good().signed(&key).without("binary");
    let error = resolve(inquiry(keys()), &nothing).expect_err("nothing is there");
    assert!(matches!(error, ResolveError::Absent { .. }) && error.kind() == Kind::Environment, "{error}");
}

#[test]
fn an_unsigned_index_is_refused() {
    let key = key("archive");
    let error = refusal(inquiry(keyring(&[&public(&key)])), &good().with("InRelease", good().release));
    assert!(matches!(error, ReleaseError::Clearsign(_)), "{error:?}");
    assert!(!error.hints().is_empty());
}

#[test]
fn an_index_that_was_changed_is_refused_wherever_it_was_changed() {
    let key = key("archive");
    let good = good().signed(&key);
    let text = String::from_utf8(good.files["dists/trixie/InRelease"].clone()).expect("text");
    for (from, to) in
        [("stable", "stablf"), ("Suite: ", "Suite:"), ("\nCodename", "\n\nCodename"), ("SHA256:\n", "SHA256:\n \n")]
    {
        let changed = good.clone().with("InRelease", text.replacen(from, to, 1));
        let error = signature_refusal(inquiry(keyring(&[&public(&key)])), &changed);
        assert!(matches!(error, SignatureError::Bad { .. }), "{from}: {error:?}");
    }
    for outside in [format!("Suite: evil\n\n{text}"), format!("{text}\nSuite: evil\n"), format!("{text}{text}")] {
        let changed = good.clone().with("InRelease", outside);
        let error = refusal(inquiry(keyring(&[&public(&key)])), &changed);
        assert!(matches!(error, ReleaseError::Clearsign(_)), "{error:?}");
    }
}

#[test]
fn an_unknown_key_is_named_with_the_way_out() {
    let (ours, theirs) = (key("ours"), key("theirs"));
    let error = refusal(inquiry(keyring(&[&public(&ours)])), &good().signed(&theirs));
    let ReleaseError::Signature(SignatureError::UnknownKeys { keys }) = &error else { panic!("{error:?}") };
    assert_eq!(*keys, [fingerprint(&theirs.primary_key)]);
    assert!(error.hints()[0].contains("fingerprint"), "{:?}", error.hints());
}

#[test]
fn a_key_counts_only_while_it_is_valid() {
    let key = key("archive");
    let mirror = good().signed(&key);
    let with = |public: &SignedPublicKey| inquiry(keyring(&[public]));
    assert!(resolve(with(&expiring(&key, 2_000_001)), &mirror).is_ok());
    let error = signature_refusal(with(&expiring(&key, 1_999_999)), &mirror);
    assert!(matches!(error, SignatureError::ExpiredKey { expired, .. } if expired == epoch(NOW - 1)), "{error:?}");
    let error = signature_refusal(with(&revoked(&key)), &mirror);
    assert!(matches!(error, SignatureError::Revoked { .. }), "{error:?}");
    // The subkeys end with the primary key.
    let by_subkey = clearsign(&mirror.release, &key.secret_subkeys[0].key, HashAlgorithm::Sha256, NOW);
    let mirror = mirror.with("InRelease", by_subkey);
    assert!(matches!(signature_refusal(with(&expiring(&key, 5)), &mirror), SignatureError::ExpiredKey { .. }));
    assert!(matches!(signature_refusal(with(&revoked(&key)), &mirror), SignatureError::Revoked { .. }));
}

#[test]
fn a_subkey_that_its_primary_key_did_not_bind_signs_nothing() {
    let (ours, theirs) = (key("ours"), key("theirs"));
    let mut mixed = public(&ours);
    mixed.public_subkeys = public(&theirs).public_subkeys;
    let text = clearsign(&good().release, &theirs.secret_subkeys[0].key, HashAlgorithm::Sha256, NOW);
    let error = signature_refusal(inquiry(keyring(&[&mixed])), &good().with("InRelease", text));
    assert!(matches!(error, SignatureError::NotASigningKey { .. }), "{error:?}");
}

#[test]
fn weak_digests_are_refused() {
    let key = rsa_key("archive");
    assert!(resolve(inquiry(keyring(&[&public(&key)])), &good().signed(&key)).is_ok());
    for hash in [HashAlgorithm::Sha1, HashAlgorithm::Md5, HashAlgorithm::Sha224] {
        let text = clearsign(&good().release, &key.primary_key, hash, NOW);
        let error = signature_refusal(inquiry(keyring(&[&public(&key)])), &good().with("InRelease", text));
        assert!(matches!(error, SignatureError::Weak { .. }), "{hash}: {error:?}");
    }
}

#[test]
fn a_signature_from_the_future_or_from_before_its_key_is_refused() {
    let key = key("archive");
    for made in [NOW + 100_000, NOW - 2_000_001] {
        let text = clearsign(&good().release, &key.primary_key, HashAlgorithm::Sha512, made);
        let error = signature_refusal(inquiry(keyring(&[&public(&key)])), &good().with("InRelease", text));
        assert!(matches!(error, SignatureError::NotNow { .. }), "{made}: {error:?}");
    }
}

#[test]
fn an_expired_index_is_refused() {
    let key = key("archive");
    let mirror = Mirror::of(&stanza("a", "1", ""), "Valid-Until: Fri, 15 Jan 2027 07:59:59 UTC\n").signed(&key);
    let error = refusal(inquiry(keyring(&[&public(&key)])), &mirror);
    assert!(matches!(error, ReleaseError::Expired { .. }), "{error:?}");
}

#[test]
fn an_index_that_was_rolled_back_is_refused_unless_that_is_allowed() {
    let key = key("archive");
    let mirror = good().signed(&key);
    let mut inquiry = inquiry(keyring(&[&public(&key)]));
    // Hexadecimal digits, as evidence has them.
    let signer = resolve(inquiry.clone(), &mirror).expect("the control").indexes[0].primary_keys[0].clone();
    let seen = |key: &str, seconds| [("debian trixie".to_owned(), [(key.to_owned(), epoch(seconds))].into())].into();
    inquiry.remembered = seen(&"0".repeat(40), NOW - 86_400 + 1);
    assert!(resolve(inquiry.clone(), &mirror).is_ok(), "another archive has its own time");
    inquiry.remembered = seen(&signer, NOW - 86_400 + 1);
    let error = refusal(inquiry.clone(), &mirror);
    assert!(matches!(error, ReleaseError::RolledBack { .. }), "{error:?}");
    assert!(error.hints()[0].contains("--allow-downgrade"));
    inquiry.allow_downgrade = true;
    assert!(resolve(inquiry.clone(), &mirror).is_ok());
    inquiry.allow_downgrade = false;
    inquiry.remembered = seen(&signer, NOW - 86_400);
    assert!(resolve(inquiry, &mirror).is_ok());
}

#[test]
fn the_index_of_another_suite_is_refused_though_it_is_signed() {
    let key = key("archive");
    let mut mirror = good();
    mirror.release = mirror.release.replace("trixie", "bookworm");
    let error = resolve(inquiry(keyring(&[&public(&key)])), &mirror.signed(&key)).expect_err("another suite");
    assert!(matches!(error, ResolveError::OtherSuite { .. }), "{error}");
}

#[test]
fn an_unknown_component_is_told_with_those_there_are() {
    let key = key("archive");
    let mut inquiry = inquiry(keyring(&[&public(&key)]));
    inquiry.suites[0].components = vec!["contrib".to_owned()];
    let error = resolve(inquiry, &good().signed(&key)).expect_err("no such component");
    assert_eq!(error.to_string(), "`debian trixie` has no component `contrib` for amd64; it has main");
}

#[test]
fn a_list_with_another_digest_or_size_is_refused_and_needed_still() {
    let key = key("archive");
    let mirror = good().signed(&key);
    let mut resolver = Resolver::new(inquiry(keyring(&[&public(&key)]))).expect("an inquiry");
    let need = resolver.needs().remove(0);
    resolver.got(&need, mirror.files[&need.path].clone()).expect("a good index");
    let need = resolver.needs().remove(0);
    assert!(need.path.contains("/by-hash/SHA256/"), "{need:?}");
    let right = mirror.files[&need.path].clone();
    let mut flipped = right.clone();
    flipped[20] ^= 1;
    assert!(matches!(resolver.got(&need, flipped), Err(ResolveError::Mismatch { .. })));
    assert!(matches!(resolver.got(&need, right[1..].to_vec()), Err(ResolveError::Mismatch { .. })));
    let endless = [right.clone(), vec![0; 1]].concat();
    assert!(matches!(resolver.got(&need, endless), Err(ResolveError::TooLong { .. })));
    assert!(resolver.finish().is_err(), "it cannot be finished yet");
    resolver.got(&need, right.clone()).expect("the right bytes");
    assert!(matches!(resolver.got(&need, right), Err(ResolveError::OutOfTurn(_))));
    assert!(resolver.finish().is_ok());
}

#[test]
fn an_endless_index_is_refused() {
    let key = key("archive");
    let mut resolver = Resolver::new(inquiry(keyring(&[&public(&key)]))).expect("an inquiry");
    let need = resolver.needs().remove(0);
    let endless = vec![b'x'; need.max_size as usize + 1];
    assert!(matches!(resolver.got(&need, endless), Err(ResolveError::TooLong { .. })));
}

#[test]
fn an_exploding_list_is_stopped_at_the_size_that_was_signed() {
    let key = key("archive");
    let bomb = mirror::xz(&vec![b'\n'; 32 << 20]);
    let mut mirror = good();
    let packed = &mirror.files["dists/trixie/main/binary-amd64/Packages.xz"];
    let (old, new) = (Digest::of(packed).hex(), Digest::of(&bomb).hex());
    let sizes = (format!(" {} main", packed.len()), format!(" {} main", bomb.len()));
    mirror.release = mirror.release.replace(&(old.clone() + &sizes.0), &(new.clone() + &sizes.1));
    let mirror = mirror.with(&format!("main/binary-amd64/by-hash/SHA256/{new}"), bomb).signed(&key);
    let error = resolve(inquiry(keyring(&[&public(&key)])), &mirror).expect_err("a bomb");
    let ResolveError::Unpack { source, .. } = error else { panic!("{error}") };
    assert!(matches!(*source, UnpackError::TooLarge { .. }), "{source}");
}

#[test]
fn a_name_that_leads_out_of_the_repository_is_refused() {
    let key = key("archive");
    for (suite, component) in
        [("../x", "main"), ("", "main"), ("trixie", "../main"), ("trixie", "a/b"), ("x?y", "main")]
    {
        let mut inquiry = inquiry(keyring(&[&public(&key)]));
        inquiry.suites[0].suite = suite.to_owned();
        inquiry.suites[0].components = vec![component.to_owned()];
        assert!(matches!(Resolver::new(inquiry), Err(ResolveError::Inquiry { .. })), "{suite} {component}");
    }
    let packages = stanza("a", "1", "").replace("pool/", "../../pool/");
    let mirror = Mirror::of(&packages, "").signed(&key);
    let error = resolve(inquiry(keyring(&[&public(&key)])), &mirror).expect_err("it leads out");
    assert_eq!(error.kind(), Kind::Integrity, "{error}");
}

#[test]
fn the_same_question_has_the_same_answer() {
    let key = key("archive");
    let mirror = good().signed(&key);
    let ask = || resolve(inquiry(keyring(&[&public(&key)])), &mirror).expect("a resolution");
    assert_eq!(ask(), ask());
}
