//! The lock: what is written is read back, and nothing else is taken for it.

#![expect(clippy::disallowed_methods, reason = "the pinned lock is a file")]

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{
    Digest, Ecosystem, Epoch, Fault, Kind, Lock, Platform, Spec,
    lock::{
        AnswerPin, Change, ImageKey, ImagePin, ImageSignature, IndexKey, IndexPin, LockError, LooseEvidence, LooseKey,
        LoosePin, ObservedKey, PackageKey, PackagePin, RootPin, Signed, Verified,
    },
    oci::BaseReference,
    spec::RootKind,
};
use proptest::prelude::*;

const SPEC: &str = "\
bulla: 1
name: hello
stages:
  build:
    from: {debian: trixie, packages: [gcc, libc6-dev]}
    workdir: /build
    steps:
      - cc -o hello hello.c
    outputs: {hello: /build/hello}
image:
  from: {debian: trixie, packages: [libc6]}
  copy:
    - {output: build.hello, to: /hello}
  user: 65532
";

fn key(name: &str, version: &str) -> PackageKey {
    PackageKey::new(name, version, "")
}

fn pin(name: &str, source: &str) -> PackagePin {
    PackagePin {
        architecture: "amd64".to_owned(),
        registry: "debian".to_owned(),
        suite: "trixie".to_owned(),
        component: "main".to_owned(),
        path: format!("pool/main/{name}.deb"),
        size: 12_345,
        digest: Digest::of(name),
        source: source.to_owned(),
        source_version: "1:2.3-4".to_owned(),
    }
}

fn sample() -> Lock {
    let spec = Spec::parse("bulla.yaml", SPEC).expect("a spec");
    let (gcc, libc, dev) = (key("gcc", "4:14.2.0-1"), key("libc6", "2.41-12"), key("libc6-dev", "2.41-12"));
    let index = |date| IndexPin {
        digest: Digest::of("InRelease"),
        date: Epoch::new(date).expect("a time"),
        valid_until: Epoch::new(date + 604_800),
        signed_by: vec!["0123456789ABCDEF0123456789ABCDEF01234567".to_owned()],
    };
    let index_key = |suite: &str| IndexKey { registry: "debian".to_owned(), suite: suite.to_owned() };
    let sets: BTreeMap<&str, Vec<PackageKey>> =
        [("stage.build", vec![gcc.clone(), libc.clone(), dev.clone()]), ("image", vec![libc.clone()])].into();
    let mut lock = Lock {
        epoch: Epoch::default(),
        indexes: [
            (index_key("trixie"), index(1_760_000_000)),
            (index_key("trixie-security"), index(1_760_100_000)),
            (index_key("trixie-updates"), IndexPin { valid_until: None, ..index(1_750_000_000) }),
        ]
        .into(),
        roots: spec
            .roots()
            .iter()
            .map(|(name, root)| {
                (name.clone(), RootPin::new(root, "debian", sets[name.as_str()].iter().cloned().collect()))
            })
            .collect(),
        packages: [(gcc, pin("gcc", "gcc-defaults")), (libc, pin("libc6", "glibc")), (dev, pin("libc6-dev", "glibc"))]
            .into(),
        images: BTreeMap::new(),
        observed: BTreeMap::new(),
        loose: BTreeMap::new(),
        sources: BTreeMap::new(),
    };
    lock.settle();
    lock
}

#[test]
fn the_text_of_a_lock_is_pinned() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/lock/hello.lock");
    let text = sample().render();
    if std::env::var_os("BULLA_REGENERATE").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/lock")).expect("a folder");
        std::fs::write(path, &text).expect("written");
    }
    assert_eq!(std::fs::read_to_string(path).expect("the fixture"), text);
    assert_eq!(Lock::parse(&text), Ok(sample()));
}

#[test]
fn what_was_observed_is_read_back_and_bounded() {
    let spec = SPEC.replace("    steps:\n", "    dependencies: [{maven: /src/app/pom.xml}]\n    steps:\n");
    let spec = spec.replace("stages:\n", "sources: {app: {path: .}}\nstages:\n");
    let spec = Spec::parse("bulla.yaml", &spec).expect("a spec");
    let key = ObservedKey { stage: "build".parse().expect("a name"), ecosystem: Ecosystem::Maven };
    let given = AnswerPin::Given {
        size: 3,
        digest: Digest::of("jar"),
        purl: Some("pkg:maven/a/b@1?type=jar".to_owned()),
        verified: Verified::Checksum,
    };
    let document = AnswerPin::Given { size: 3, digest: Digest::of("xml"), purl: None, verified: Verified::Nothing };
    let answers: BTreeMap<String, AnswerPin> = [
        ("a/b/1/b-1.jar".to_owned(), given),
        ("a/b/maven-metadata.xml".to_owned(), document),
        ("a/c/1/c-1.pom".to_owned(), AnswerPin::Absent),
    ]
    .into();
    let mut lock = Lock { observed: [(key, answers)].into(), ..sample() };
    let text = lock.render();
    assert_eq!(Lock::parse(&text), Ok(lock.clone()));
    assert_eq!(lock.check(&spec), []);
    // What a spec has no longer is gone, and does no harm until then.
    let without = Spec::parse("bulla.yaml", SPEC).expect("a spec");
    assert_eq!(lock.check(&without).first().map(|stale| stale.changes.clone()), Some(vec![Change::Gone]));
    lock.drop_gone(&without);
    assert_eq!(lock, sample());
    let wrong = |from: &str, to: &str| {
        let (head, rest) = text.split_once("checksum = ").expect("a checksum");
        let body = rest.split_once('\n').expect("a line").1.replace(from, to);
        assert_ne!(body, rest.split_once('\n').expect("a line").1, "{from}");
        Lock::parse(&format!("{head}checksum = \"{}\"\n{body}", Digest::of(&body))).expect_err(to).to_string()
    };
    for path in ["/a", "a/../b", "https://a.example/b", "a?b", "a b", "", &"a".repeat(2000)] {
        assert!(wrong("a/b/1/b-1.jar\"", &format!("{path}\"")).contains("this is not a clean relative path"), "{path}");
    }
    for (from, to, words) in [
        ("registry = \"maven\"", "registry = \"npm\"", "there is no such registry"),
        ("stage = \"build\"", "stage = \"no stage\"", "no such name of a stage"),
        ("status = 404", "status = 500", "its status is not 404"),
        ("status = 404", "status = 200", "its status is not 404"),
        ("pkg:maven", "evil:maven", "its package URL is none"),
        ("\"nothing\"", "\"a friend\"", "verified in no known way"),
        ("a/b/maven-metadata.xml", "a/b/1/b-1.jar", "it is there twice"),
        ("a/c/1/c-1.pom", "a/a/1/a-1.pom", "not written as Bulla writes it"),
    ] {
        let told = wrong(from, to);
        assert!(told.contains(words), "{told}");
    }
}

/// A spec whose stage and image are from images of registries.
const ON_IMAGES: &str = "\
bulla: 1
name: hello
stages:
  build:
    from: {image: registry.example/team/builder:2}
    workdir: /build
    steps:
      - make
    outputs: {hello: /build/hello}
image:
  from: {image: registry.example/team/base}
  copy:
    - {output: build.hello, to: /hello}
  user: 65532
";

fn on_images() -> Lock {
    images_of(ON_IMAGES)
}

fn images_of(spec: &str) -> Lock {
    let spec = Spec::parse("bulla.yaml", spec).expect("a spec");
    let image = |(reference, platform): (&BaseReference, Platform)| {
        let key = ImageKey::new(reference, platform);
        let manifest = Digest::of(format!("manifest of {key}"));
        (key, ImagePin { digest: Digest::of(reference.to_string()), manifest, size: 500, signature: None })
    };
    Lock { images: spec.base_images().into_iter().map(image).collect(), ..Lock::default() }
}

/// Puts the checksum of a lock right.
fn resealed(text: &str) -> String {
    let (head, tail) = text.split_once("\nchecksum = ").expect("a checksum");
    let (_, body) = tail.split_once('\n').expect("a line");
    format!("{head}\nchecksum = \"{}\"\n{body}", Digest::of(body))
}

#[test]
fn an_image_of_a_layout_is_pinned_and_read_back() {
    let spec = ON_IMAGES.replace("registry.example/team/base", "oci:vendor/base:1.2");
    let lock = images_of(&spec);
    let text = lock.render();
    assert!(text.contains("reference = \"oci:vendor/base:1.2\"\n"), "{text}");
    assert_eq!(Lock::parse(&text), Ok(lock));
    for forged in ["oci:/vendor/base", "oci:../base", "oci-archive:vendor/base"] {
        let changed = resealed(&text.replace("oci:vendor/base:1.2", forged));
        assert!(matches!(Lock::parse(&changed), Err(LockError::Invalid { .. })), "{forged}");
    }
}

#[test]
fn images_of_registries_are_pinned_and_read_back() {
    let lock = on_images();
    let text = lock.render();
    assert!(text.contains("reference = \"registry.example/team/base:latest\""), "in its full form: {text}");
    assert_eq!(Lock::parse(&text), Ok(lock));
}

/// A spec for two platforms.
fn for_two() -> String {
    let cross = "from: {debian: trixie, packages: ['gcc:cross', 'libc6-dev:target']}\n    platform: cross";
    SPEC.replace("name: hello\n", "name: hello\nplatforms: [linux/arm64, linux/amd64]\n")
        .replace("from: {debian: trixie, packages: [gcc, libc6-dev]}", cross)
}

#[test]
fn further_platforms_have_entries_of_their_own_and_those_of_the_machine_stay() {
    let amd64 = SPEC.replace("[gcc, libc6-dev]}", "['gcc:cross', 'libc6-dev:target']}\n    platform: cross");
    let one = Spec::parse("bulla.yaml", &amd64).expect("a spec");
    let both = Spec::parse("bulla.yaml", &for_two()).expect("a spec");
    assert_eq!(both.roots().keys().collect::<Vec<_>>(), ["image", "image.arm64", "stage.build", "stage.build.arm64"]);
    let mut lock = sample();
    for (name, root) in one.roots() {
        let packages = lock.roots[&name].packages.clone();
        lock.roots.insert(name, RootPin::new(&root, "debian", packages));
    }
    assert_eq!(lock.check(&one), []);
    let stale: Vec<String> = lock.check(&both).into_iter().map(|stale| stale.root).collect();
    assert_eq!(stale, ["image.arm64", "stage.build.arm64"], "the others are good still");
    let (name, foreign) = (
        PackageKey::new("libc6", "2.41-12", "arm64"),
        PackagePin { architecture: "arm64".to_owned(), ..pin("libc6-arm", "glibc") },
    );
    lock.packages.insert(name.clone(), foreign);
    for (root, packages) in
        [("image.arm64", vec![name.clone()]), ("stage.build.arm64", vec![name, key("libc6", "2.41-12")])]
    {
        let pin = RootPin::new(&both.roots()[root], "debian", packages.into_iter().collect());
        lock.roots.insert(root.to_owned(), pin);
    }
    assert_eq!(lock.check(&both), []);
    let text = lock.render();
    assert!(
        text.contains("\nname = \"image.arm64\"\nkind = \"image\"\nplatform = \"linux/arm64\"\nregistry"),
        "{text}"
    );
    assert!(
        text.contains("\nname = \"stage.build.arm64\"\nkind = \"stage\"\ntarget = \"linux/arm64\"\nregistry"),
        "{text}"
    );
    assert!(text.contains("\n    \"libc6:arm64=2.41-12\",\n"), "{text}");
    assert_eq!(Lock::parse(&text), Ok(lock.clone()));
    let other = for_two().replace("platform: cross", "platform: target").replace(":cross", "").replace(":target'", "'");
    let other = Spec::parse("bulla.yaml", &other).expect("a spec");
    let told: Vec<String> = lock.check(&other).iter().map(ToString::to_string).collect();
    assert!(
        told.iter().any(|line| line.contains("stage.build.arm64: the platform was linux/amd64 and is linux/arm64")),
        "{told:?}"
    );
    assert!(told.iter().any(|line| line.starts_with("emulation: ")), "{told:?}");
}

#[test]
fn an_image_of_a_registry_is_pinned_for_each_platform_under_one_digest() {
    let spec = ON_IMAGES.replace("name: hello\n", "name: hello\nplatforms: [linux/amd64, linux/arm64]\n");
    let lock = images_of(&spec);
    let keys: Vec<String> = lock.images.keys().map(ToString::to_string).collect();
    let base = "registry.example/team/base:latest";
    assert_eq!(keys, [base, &format!("{base} for linux/arm64"), "registry.example/team/builder:2"]);
    let text = lock.render();
    assert_eq!(Lock::parse(&text), Ok(lock.clone()));
    let mut moved = lock;
    let (_, last) = moved.images.iter_mut().find(|(key, _)| !key.platform.is_build()).expect("the base for arm64");
    last.digest = Digest::of("another");
    assert!(Lock::parse(&moved.render()).is_err(), "one reference led to two images");
}

#[test]
fn another_image_in_the_spec_makes_a_lock_stale() {
    let (lock, old) = (on_images(), Spec::parse("bulla.yaml", ON_IMAGES).expect("a spec"));
    assert_eq!(lock.check(&old), []);
    let new = Spec::parse("bulla.yaml", &ON_IMAGES.replace("builder:2", "builder:3")).expect("a spec");
    let stale = lock.check(&new);
    let told: Vec<String> = stale.iter().map(ToString::to_string).collect();
    assert!(told[0].contains("builder:3: the lock does not have it yet"), "{told:?}");
    assert!(told[1].contains("builder:2: the spec has it no longer"), "{told:?}");
    let mut kept = lock;
    kept.drop_gone(&new);
    assert_eq!(kept.images.len(), 1);
}

#[test]
fn a_forged_image_pin_with_a_good_checksum_cannot_hold_what_cannot_be() {
    let good = on_images().render();
    let forge = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        let (head, tail) = good.split_once("\nchecksum = ").expect("a checksum");
        let body = tail.split_once('\n').expect("a body").1.replacen(from, to, 1);
        Lock::parse(&format!("{head}\nchecksum = \"{}\"\n{body}", Digest::of(&body)))
    };
    assert!(forge("size = 500", "size = 501").is_ok(), "the control");
    let base = "registry.example/team/base:latest";
    let pinned = format!("{base}@{}", Digest::of("other"));
    for (from, to) in [
        (base, "registry.example/team/base"),
        (base, "https://registry.example/team/base:latest"),
        (base, "registry.example/team/../base:latest"),
        (base, "registry.example/team/builder:2"),
        (base, pinned.as_str()),
        ("size = 500", "size = 0"),
        ("size = 500", "size = 4194305"),
    ] {
        let error = forge(from, to).expect_err(to);
        assert!(matches!(error, LockError::Invalid { .. }), "{to}: {error}");
    }
}

#[test]
fn every_cut_is_noticed() {
    let text = sample().render();
    for end in 0..text.len() {
        let error = Lock::parse(&text[..end]).expect_err("cut off");
        assert!(matches!(error, LockError::Truncated { .. }), "{end}: {error}");
    }
}

#[test]
fn an_edit_by_hand_is_noticed_and_named() {
    let text = sample().render();
    let digest = Digest::of("gcc").hex();
    for (from, to) in [
        (digest.as_str(), Digest::of("evil").hex().as_str()),
        ("size = 12345", "size = 12346"),
        ("\"gcc\"", "\"gcx\""),
        ("    \"libc6=2.41-12\",\n", ""),
    ] {
        assert!(text.contains(from), "{from}");
        let error = Lock::parse(&text.replacen(from, to, 1)).expect_err("edited");
        assert!(matches!(error, LockError::Edited { .. }), "{from}: {error}");
        assert_eq!(error.kind(), Kind::Integrity);
    }
}

/// Edits a lock and puts a checksum on it that fits, as somebody who means harm would.
fn forged(from: &str, to: &str) -> LockError {
    let text = sample().render();
    assert!(text.contains(from), "{from}");
    let text = text.replace(from, to);
    let (head, tail) = text.split_once("checksum = ").expect("a checksum");
    let (_, body) = tail.split_once('\n').expect("a line");
    let text = format!("{head}checksum = \"{}\"\n{body}", Digest::of(body));
    Lock::parse(&text).expect_err("forged")
}

#[test]
fn a_forged_lock_with_a_good_checksum_cannot_hold_what_cannot_be() {
    for (from, to, says) in [
        ("pool/main/gcc.deb", "../../etc/shadow", "clean relative path"),
        ("pool/main/gcc.deb", "/etc/shadow", "clean relative path"),
        ("pool/main/gcc.deb", "https://mirror.example/x", "clean relative path"),
        ("registry = \"debian\"", "registry = \"../x\"", "registry"),
        ("architecture = \"amd64\"", "architecture = \"a\\u001Bb\"", "architecture"),
        ("name = \"gcc\"\n", "name = \"-gcc\"\n", "not a package"),
        ("epoch = \"2025-10-10", "epoch = \"2025-10-11", "epoch"),
        ("suite = \"trixie\"\ncomponent", "suite = \"sid\"\ncomponent", "no index"),
        ("\"gcc=4:14.2.0-1\"", "\"gcc=4:14.2.0-2\"", "has no entry"),
        ("kind = \"image\"", "kind = \"stag\"", "kind"),
        ("\"0123456789ABCDEF", "\"x123456789ABCDEF", "fingerprints"),
        (
            "component = \"main\"\npath = \"pool/main/gcc.deb\"",
            "path = \"pool/main/gcc.deb\"\ncomponent = \"main\"",
            "not written",
        ),
    ] {
        let error = forged(from, to).to_string();
        assert!(error.contains(says), "{from} → {to}: {error}");
    }
}

#[test]
fn marks_of_a_merge_other_versions_and_bad_toml_are_named_with_their_place() {
    let text = sample().render();
    let conflict = text.replacen("[[root]]", "<<<<<<< HEAD\n[[root]]\n=======\n>>>>>>> x", 1);
    assert!(matches!(Lock::parse(&conflict), Err(LockError::Conflict { line }) if line > 5));
    assert_eq!(Lock::parse(&text.replace("version = 1\n", "version = 2\n")), Err(LockError::Version { found: 2 }));
    let error = Lock::parse(&text.replace("size = 12345", "size = 12z45")).expect_err("bad TOML");
    assert!(matches!(&error, LockError::Syntax { line: 6.., column: 2.., .. }), "{error}");
    let error = Lock::parse(&text.replace("size = 12345", "size = 12345\nhost = \"x\"")).expect_err("an unknown key");
    assert!(error.to_string().contains("host"), "{error}");
    assert!(matches!(Lock::parse_bytes(&vec![b'#'; 17 << 20]), Err(LockError::TooLarge(_))));
    assert_eq!(Lock::parse_bytes(b"version = \xff"), Err(LockError::NotUtf8(10)));
}

#[test]
fn a_lock_of_another_spec_says_what_differs() {
    let lock = sample();
    let check = |text: &str| lock.check(&Spec::parse("bulla.yaml", text).expect("a spec"));
    assert_eq!(check(SPEC), []);
    let stale = check(&SPEC.replace("[gcc, libc6-dev]", "[gcc=4:14.*, libc6-dev, make]"));
    assert_eq!(stale.len(), 1);
    assert_eq!(stale[0].root, "stage.build");
    assert_eq!(
        stale[0].changes,
        [Change::Asked("gcc=4:14.*".into()), Change::Asked("make".into()), Change::Dropped("gcc".into())]
    );
    let stale = check(&SPEC.replace("packages: [libc6]", "packages: [libc6], suites: [trixie]"));
    assert!(matches!(stale[0].changes.as_slice(), [Change::Suites { .. }]), "{stale:?}");
    let stale = check(&SPEC.replace("{debian: trixie, packages: [libc6]}", "{scratch: {}}"));
    assert_eq!(stale.iter().map(ToString::to_string).collect::<Vec<_>>(), ["image: the spec has it no longer"]);
    let stale = check(&SPEC.replace("build", "make"));
    assert_eq!(
        stale.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["stage.make: the lock does not have it yet", "stage.build: the spec has it no longer"]
    );
    let comments = format!("# another comment\n{}", SPEC.replace("cc -o", "cc -O2 -o"));
    assert_eq!(check(&comments), [], "steps are no business of the lock");
}

#[test]
fn settling_keeps_nothing_that_is_not_used() {
    let mut lock = sample();
    lock.roots.remove("stage.build");
    lock.settle();
    assert_eq!(lock.packages.keys().map(ToString::to_string).collect::<Vec<_>>(), ["libc6=2.41-12"]);
    assert_eq!(Lock::parse(&lock.render()), Ok(lock));
}

prop_compose! {
    fn any_key()(name in "[a-z0-9][a-z0-9+.-]{1,8}", version in "([0-9]:)?[0-9][A-Za-z0-9.+~]{0,8}(-[0-9]+)?") -> PackageKey {
        PackageKey::new(name, version, "")
    }
}

prop_compose! {
    fn any_pin()(path in "[a-z]{1,5}(/[A-Za-z0-9._+~%-]{1,6}x){0,3}", size: u32, seed: u64, source in any_key()) -> PackagePin {
        PackagePin {
            path, size: u64::from(size), digest: Digest::of(seed.to_le_bytes()),
            source: source.name, source_version: source.version, ..pin("x", "x")
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        packages in prop::collection::btree_map(any_key(), any_pin(), 0..20),
        asked in prop::collection::btree_set("[a-z]{2,6}(=[0-9.]{1,4}\\*)?", 0..5),
        date in 0..253_402_300_799_u64,
    ) {
        let keys: BTreeSet<PackageKey> = packages.keys().cloned().collect();
        let template = sample();
        let mut root = template.roots["image"].clone();
        root.kind = RootKind::Files;
        root.suites = vec!["trixie".to_owned()];
        root.asked = asked.into_iter().collect();
        root.packages = keys;
        let mut lock = Lock { packages, roots: [("image".to_owned(), root)].into(), ..template };
        for index in lock.indexes.values_mut() {
            index.date = Epoch::new(date).expect("a time");
        }
        lock.settle();
        let text = lock.render();
        prop_assert_eq!(Lock::parse(&text), Ok(lock));
    }

    #[test]
    fn no_text_makes_it_panic(text in "(?s).{0,300}") {
        let _ = Lock::parse(&text);
    }

    #[test]
    fn no_changed_byte_goes_unnoticed(at in 200_usize..1500, byte in b' '..b'~') {
        let text = sample().render();
        let mut bytes = text.clone().into_bytes();
        bytes[at] = byte;
        if bytes != text.as_bytes() {
            prop_assert!(Lock::parse_bytes(&bytes).is_err());
        }
    }
}

const OUTSIDE: &str = "\
bulla: 1
name: hello
sources:
  here: {path: .}
  file: {url: https://files.example/data.csv, sha256: 5981179706f8391f03be91d951acafaeda91af7fac56beffb2701963103e423d}
  first: {url: https://files.example/a.zip, unsigned: upstream signs nothing}
  signed:
    url: https://files.example/b.tar.xz
    signature: https://files.example/b.tar.xz.minisig
    signed-by: keys/b.pub
    strip: 1
  zlib: {debian: trixie, source-package: zlib=1:1.3*}
  tagged: {git: 'https://git.example/shop.git', tag: v1.2, signed-by: keys/shop, submodules: true, lfs: true}
  main: {git: 'git@git.example:shop', branch: main, unsigned: nobody signs there}
  commit: {git: 'https://git.example/shop.git', commit: 3f786850e387550fdab836ed7e6dc881de23001b}
image:
  from: {scratch: {}}
  copy:
    - {source: here, to: /here}
  user: 65532
";

/// A lock of [`OUTSIDE`].
fn outside() -> Lock {
    use bulla_model::lock::{DebianPin, Evidence, FilePin, SourcePin, UrlPin};
    let name = |text: &str| bulla_model::spec::Name::parse(text).expect("a name");
    let digest = "sha256:5981179706f8391f03be91d951acafaeda91af7fac56beffb2701963103e423d".parse().expect("a digest");
    let url = |file: &str, evidence| {
        SourcePin::Url(UrlPin { url: format!("https://files.example/{file}"), size: 7, digest, evidence })
    };
    let signature = Evidence::Signature {
        url: "https://files.example/b.tar.xz.minisig".to_owned(),
        digest,
        key: "keys/b.pub".parse().expect("a path"),
        signed_by: vec!["RWS51v3ACzv27nhlcoMy4DpjtkQrQu+Y7rHUvv0enFAyuD1w9k5fVRpQ".to_owned()],
    };
    let file = FilePin { size: 9, digest };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let zlib = DebianPin {
        registry: "debian".to_owned(),
        release: "trixie".to_owned(),
        suites: words(&["trixie", "trixie-updates", "trixie-security"]),
        components: words(&["main"]),
        asked: "zlib=1:1.3*".to_owned(),
        package: key("zlib", "1:1.3.dfsg-3"),
        suite: "trixie".to_owned(),
        component: "main".to_owned(),
        directory: "pool/main/z/zlib".to_owned(),
        files: [("zlib_1.3.dfsg-3.dsc".to_owned(), file), ("zlib_1.3.dfsg.orig.tar.xz".to_owned(), file)].into(),
    };
    let indexes = sample().indexes;
    let mut sources = commits();
    sources.extend([
        (name("file"), url("data.csv", Evidence::Digest)),
        (name("first"), url("a.zip", Evidence::FirstUse)),
        (name("signed"), url("b.tar.xz", signature)),
        (name("zlib"), SourcePin::Debian(zlib)),
    ]);
    let mut lock = Lock { indexes, sources, ..Lock::default() };
    lock.settle();
    lock
}

/// Commits of git repositories, pinned for each reason.
fn commits() -> std::collections::BTreeMap<bulla_model::spec::Name, bulla_model::lock::SourcePin> {
    use bulla_model::lock::{GitEvidence, GitPin, GitSignature, ModulePin, SourcePin};
    let name = |text: &str| bulla_model::spec::Name::parse(text).expect("a name");
    let commit = "3f786850e387550fdab836ed7e6dc881de23001b".parse().expect("an id");
    let pin = |url: &str, asked: &str, evidence| GitPin {
        url: url.to_owned(),
        asked: bulla_model::GitRevision::parse(asked).expect("a revision"),
        commit,
        size: 10_240,
        digest: bulla_model::Digest::of(asked),
        evidence,
        submodules: None,
        lfs: false,
    };
    let signature = GitSignature {
        object: commit,
        key: "keys/shop".parse().expect("a path"),
        signed_by: vec!["SHA256:ys0F9g6PArl4Td0LQfLvUbJrVfLYWbbjKR4bGXFvvPY".to_owned()],
        signer: "A Tester <ä@shop.example>".to_owned(),
        signed_at: "2026-01-02T03:04:05Z".parse().expect("a time"),
    };
    let module = ModulePin { url: "https://git.example/lib.git".to_owned(), commit };
    let path = |text: &str| bulla_model::CleanPath::parse(text).expect("a path");
    let https = "https://git.example/shop.git";
    let tagged = GitPin {
        submodules: Some([(path("lib"), module.clone()), (path("lib/ä b"), module)].into()),
        lfs: true,
        ..pin(https, "tag v1.2", GitEvidence::Signature(signature))
    };
    let by_commit = pin(https, "commit 3f786850e387550fdab836ed7e6dc881de23001b", GitEvidence::Commit);
    [
        (name("tagged"), SourcePin::Git(tagged)),
        (name("main"), SourcePin::Git(pin("git@git.example:shop", "branch main", GitEvidence::FirstUse))),
        (name("commit"), SourcePin::Git(by_commit)),
    ]
    .into()
}

#[test]
fn what_a_commit_of_a_lock_cannot_be_is_refused() {
    let good = outside().render();
    for (from, to) in [
        ("asked = \"tag v1.2\"", "asked = \"tag v1..2\""),
        ("asked = \"tag v1.2\"", "asked = \"head v1.2\""),
        ("asked = \"commit 3f", "asked = \"commit 4f"),
        ("git = \"git@git.example:shop\"", "git = \"file:///srv/shop\""),
        ("git = \"git@git.example:shop\"", "git = \"-oProxyCommand=id:shop\""),
        ("git = \"https://git.example/lib.git\"", "git = \"/srv/lib.git\""),
        ("path = \"lib\"", "path = \"../lib\""),
        ("commit = \"3f7868", "commit = \"3F7868"),
        (
            "evidence = \"first use\"\n\n[[source]]\nname = \"signed",
            "evidence = \"commit of the spec\"\n\n[[source]]\nname = \"signed",
        ),
        ("SHA256:ys0F9g6", "SHA256:ys0F9g"),
        ("SHA256:ys0F9g6", "MD5:ys0F9g6"),
        ("signer = \"A", "signer = \"\\u001B"),
        ("signed-at = \"2026", "signed-at = \"soon"),
        ("lfs = true", "lfs = false"),
        ("submodules = [", "modules = ["),
    ] {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good, "{from}");
        let (head, tail) = changed.split_once("\nchecksum = ").expect("a checksum");
        let (_, body) = tail.split_once('\n').expect("a line");
        let forged = format!("{head}\nchecksum = \"{}\"\n{body}", bulla_model::Digest::of(body));
        assert!(Lock::parse(&forged).is_err(), "{to}");
    }
}

#[test]
fn sources_are_read_back_and_their_indexes_stay() {
    let lock = outside();
    assert_eq!(lock.indexes.len(), 3, "those of the source package");
    assert_eq!(Lock::parse(&lock.render()).expect("its own text"), lock);
    assert_eq!(lock.check(&Spec::parse("bulla.yaml", OUTSIDE).expect("a spec")), []);
}

#[test]
fn a_source_that_is_another_one_now_is_told() {
    let lock = outside();
    for (from, to, source) in [
        ("data.csv", "other.csv", "file"),
        ("5981179706", "0981179706", "file"),
        (
            "unsigned: upstream signs nothing",
            "sha256: 5981179706f8391f03be91d951acafaeda91af7fac56beffb2701963103e423d",
            "first",
        ),
        ("b.tar.xz.minisig", "b.minisig", "signed"),
        ("keys/b.pub", "keys/c.pub", "signed"),
        ("zlib=1:1.3*", "zlib", "zlib"),
        ("debian: trixie", "debian: bookworm", "zlib"),
        ("tag: v1.2", "tag: v1.3", "tagged"),
        ("tag: v1.2", "branch: v1.2", "tagged"),
        ("keys/shop", "keys/other", "tagged"),
        ("submodules: true, ", "", "tagged"),
        (", lfs: true", "", "tagged"),
        ("signed-by: keys/shop", "unsigned: nobody signs", "tagged"),
        ("git@git.example:shop", "git@git.example:other", "main"),
        ("commit: 3f786850", "commit: 4f786850", "commit"),
        ("{debian: trixie, source-package: zlib=1:1.3*}", "{path: z}", "zlib"),
        ("here: {path: .}", "here: {debian: trixie, source-package: here}", "here"),
    ] {
        let spec = Spec::parse("bulla.yaml", &OUTSIDE.replacen(from, to, 1)).expect(to);
        let stale: Vec<String> = lock.check(&spec).into_iter().map(|stale| stale.root).collect();
        assert_eq!(stale, [format!("source.{source}")], "{to}");
    }
    for same in ["strip: 1", "signs nothing"] {
        let spec = Spec::parse(
            "bulla.yaml",
            &OUTSIDE.replacen(same, if same == "strip: 1" { "strip: 2" } else { "signs no file" }, 1),
        );
        assert_eq!(lock.check(&spec.expect("a spec")), [], "what is done with it is no matter of the lock");
    }
}

#[test]
fn forged_sources_are_refused_with_a_good_checksum() {
    let text = outside().render();
    let forged = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        Lock::parse(&resealed(&text.replacen(from, to, 1)))
    };
    for (from, to) in [
        ("url = \"https://files.example/data.csv\"", "url = \"file:///etc/passwd\""),
        ("url = \"https://files.example/data.csv\"", "url = \"https://files.example/a b\""),
        ("evidence = \"first use\"", "evidence = \"none\""),
        ("evidence = \"first use\"", "evidence = \"signature\""),
        ("evidence = \"first use\"", "evidence = \"first use\"\nkey = \"x\""),
        ("key = \"keys/b.pub\"", "key = \"../b.pub\""),
        ("RWS51v3ACzv27nhlcoMy4DpjtkQrQu+Y7rHUvv0enFAyuD1w9k5fVRpQ", "RWS5"),
        ("directory = \"pool/main/z/zlib\"", "directory = \"../z\""),
        ("name = \"zlib_1.3.dfsg-3.dsc\"", "name = \"../zlib_1.3.dfsg-3.dsc\""),
        ("name = \"zlib_1.3.dfsg-3.dsc\"", "name = \"zlib_1.3.dfsg.orig.tar.xz\""),
        ("package = \"zlib=1:1.3.dfsg-3\"", "package = \"zlib\""),
        ("suite = \"trixie\"\ncomponent", "suite = \"sid\"\ncomponent"),
        ("name = \"file\"", "name = \"first\""),
        ("name = \"file\"", "name = \"No Name\""),
    ] {
        assert!(matches!(forged(from, to), Err(LockError::Invalid { .. } | LockError::Syntax { .. })), "{to}");
    }
    forged("size = 7", "size = 8").expect("a change that can be, which who forges it answers for");
}

#[test]
fn the_signature_of_an_image_is_read_back_and_another_key_in_the_spec_makes_it_stale() {
    let text = ON_IMAGES
        .replace("{image: registry.example/team/base}", "{image: registry.example/team/base, signed-by: team.pub}");
    let spec = Spec::parse("bulla.yaml", &text).expect("a spec");
    let mut lock = on_images();
    let changes = |lock: &Lock, spec: &Spec| -> Vec<Change> {
        lock.check(spec).into_iter().flat_map(|stale| stale.changes).collect()
    };
    assert_eq!(changes(&lock, &spec), [Change::Signer], "it was not signed");
    let base = BaseReference::parse("registry.example/team/base").expect("a reference");
    let mut signed_in = |signed: Signed| {
        let pin = lock.images.get_mut(&ImageKey::new(&base, Platform::LinuxAmd64)).expect("an image");
        let key = "team.pub".parse().expect("clean");
        pin.signature = Some(ImageSignature { key, signed_by: Digest::of("key"), signed });
        assert_eq!(changes(&lock, &spec), []);
        assert_eq!(Lock::parse(&lock.render()), Ok(lock.clone()));
    };
    signed_in(Signed::Payload(Digest::of("document")));
    signed_in(Signed::Bundle(Digest::of("bundle")));
    let both =
        resealed(&lock.render().replacen("bundle = ", &format!("payload = \"{}\"\nbundle = ", Digest::of("x")), 1));
    assert!(matches!(Lock::parse(&both), Err(LockError::Invalid { .. })));
    let neither = lock
        .render()
        .lines()
        .filter(|line| !line.starts_with("bundle = "))
        .fold(String::new(), |text, line| text + line + "\n");
    assert!(matches!(Lock::parse(&resealed(&neither)), Err(LockError::Invalid { .. })));
    let other = Spec::parse("bulla.yaml", &text.replace("team.pub", "other.pub")).expect("a spec");
    assert_eq!(changes(&lock, &other), [Change::Signer]);
    let none = Spec::parse("bulla.yaml", ON_IMAGES).expect("a spec");
    assert_eq!(changes(&lock, &none), [Change::Signer]);
}

#[test]
fn what_lock_files_name_without_a_hash_is_read_back_and_bounded() {
    let spec = SPEC.replace("    steps:\n", "    dependencies: [{npm: /src/app/yarn.lock}]\n    steps:\n");
    let spec = spec.replace("stages:\n", "sources: {app: {path: .}}\nstages:\n");
    let spec = Spec::parse("bulla.yaml", &spec).expect("a spec");
    let key = |name: &str, version: &str, file: &str| LooseKey {
        ecosystem: Ecosystem::Npm,
        name: name.to_owned(),
        version: version.to_owned(),
        file: file.to_owned(),
    };
    let pin = |evidence| LoosePin { size: 3, digest: Digest::of("tgz"), evidence };
    let loose: BTreeMap<LooseKey, LoosePin> = [
        (key("@esbuild/linux-x64", "0.21.5", "linux-x64-0.21.5.tgz"), pin(LooseEvidence::FirstUse)),
        (key("host.example/a/b", &"0".repeat(40), "git"), pin(LooseEvidence::Commit)),
    ]
    .into();
    let mut lock = Lock { loose, ..sample() };
    let text = lock.render();
    assert_eq!(Lock::parse(&text), Ok(lock.clone()));
    assert_eq!(lock.check(&spec), []);
    let without = Spec::parse("bulla.yaml", SPEC).expect("a spec");
    assert_eq!(lock.check(&without).first().map(|stale| stale.changes.clone()), Some(vec![Change::Gone]));
    let wrong = |from: &str, to: &str| {
        let forged = text.replace(from, to);
        assert_ne!(forged, text, "{from}");
        Lock::parse(&resealed(&forged)).expect_err(to).to_string()
    };
    for (from, to, words) in [
        ("registry = \"npm\"", "registry = \"maven\"", "there is no such registry"),
        ("0.21.5\"", "0.21.5 \"", "its version is"),
        ("\"first use\"", "\"a friend\"", "trusted for no known reason"),
        ("host.example/a/b", "0.example/a", "not written as Bulla writes it"),
        ("size = 3\n", "", "missing field"),
    ] {
        let told = wrong(from, to);
        assert!(told.contains(words), "{told}");
    }
    lock.drop_gone(&without);
    assert_eq!(lock, sample());
}
