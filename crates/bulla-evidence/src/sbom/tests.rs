use bulla_model::{
    CleanPath, Platform,
    ownership::{Owner, Owners},
};

use super::*;
use crate::inventory::{self, LayerContents, Scanner, What};

const RELEASE: &str = "ID=debian\nVERSION_ID=\"12\"\nNAME=Debian\n";

fn path(text: &str) -> CleanPath {
    text.parse().expect("clean")
}

pub(super) fn layer(files: &[(&str, &str)], gone: &[&str]) -> LayerContents {
    let mut scanner = Scanner::new(inventory::Limits::default());
    for (at, text) in files {
        scanner.file(path(at), text.len() as u64, &mut text.as_bytes()).expect("memory");
    }
    gone.iter().for_each(|at| scanner.entry(path(at), What::Whiteout));
    scanner.finish()
}

pub(super) fn status(names: &[&str]) -> String {
    let one = |name: &&str| {
        format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1-1\nMaintainer: M <m@example.org>\nDepends: libc6, a\n\n"
        )
    };
    names.iter().map(one).collect()
}

pub(super) fn subject(layers: usize, built: bool) -> Subject {
    Subject {
        name: "shop".into(),
        manifest: Digest::of("manifest"),
        os: "linux".into(),
        architecture: "amd64".into(),
        created: Epoch::new(1_700_000_000).expect("a time"),
        supplier: built.then(|| Party { name: "shop".into(), email: None }),
        layers: (0..layers).map(|at| Digest::of(at.to_string())).collect(),
        built,
    }
}

pub(super) fn of(layers: &[LayerContents]) -> Bom {
    compose(subject(layers.len(), false), layers, None)
}

fn named<'a>(bom: &'a Bom, name: &str) -> &'a Component {
    bom.components.iter().find(|one| one.name == name).unwrap_or_else(|| panic!("{name} in {:#?}", bom.components))
}

fn unowned(bom: &Bom) -> Vec<&str> {
    bom.files.iter().filter(|file| file.owner == Ownership::Unowned).map(|file| file.path.as_str()).collect()
}

pub(super) fn debian() -> LayerContents {
    layer(
        &[
            ("etc/os-release", RELEASE),
            ("var/lib/dpkg/status", &status(&["a", "libc6"])),
            ("var/lib/dpkg/info/a.list", "/.\n/etc\n/etc/os-release\n/usr/bin/a\n"),
            ("var/lib/dpkg/info/a.md5sums", "x  usr/bin/a\n"),
            ("usr/bin/a", "a"),
            ("usr/share/doc/a/copyright", "see /usr/share/common-licenses/GPL-2"),
        ],
        &[],
    )
}

#[test]
fn a_package_has_its_files_licence_needs_and_layer() {
    let above = layer(
        &[
            ("var/lib/dpkg/status", &status(&["a", "b", "libc6"])),
            ("var/lib/dpkg/info/b.list", "/usr/bin/b\n"),
            ("usr/bin/b", "b"),
            ("opt/x", "x"),
        ],
        &[],
    );
    let bom = of(&[debian(), above]);
    let (a, b) = (named(&bom, "a"), named(&bom, "b"));
    assert_eq!((a.layer, b.layer), (Some(0), Some(1)), "each in the layer that brought it");
    assert_eq!(
        a.purl.as_ref().map(ToString::to_string).as_deref(),
        Some("pkg:deb/debian/a@1-1?arch=amd64&distro=debian-12")
    );
    assert_eq!(a.licence.expression, "GPL-2.0-only");
    assert_eq!(b.needs.len(), 2);
    assert_eq!(unowned(&bom), ["opt/x", "usr/share/doc/a/copyright"], "what no list has is nobody's");
    assert!(bom.notes.is_empty(), "{:?}", bom.notes);
}

#[test]
fn packages_whose_database_was_removed_are_listed_and_said() {
    let bom = of(&[debian(), layer(&[], &["var/lib/dpkg"])]);
    assert_eq!(named(&bom, "a").removed, Some(1));
    assert!(
        bom.notes.iter().any(|note| note.contains("layer 2 removes packages from /var/lib/dpkg/status")),
        "{:?}",
        bom.notes
    );
    assert!(!bom.components.iter().any(|one| one.name == "libc6"), "nothing of it is there");
    assert_eq!(unowned(&bom), ["usr/share/doc/a/copyright"]);
    // The same by writing the package out of the database, which is how one package hides.
    let bom = of(&[debian(), layer(&[("var/lib/dpkg/status", &status(&["libc6"]))], &["var/lib/dpkg/info/a.list"])]);
    assert_eq!(named(&bom, "a").removed, Some(1));
    // What was really removed is not there any more.
    let gone = ["var/lib/dpkg/info/a.list", "usr/bin/a", "etc/os-release"];
    let bom = of(&[debian(), layer(&[("var/lib/dpkg/status", &status(&["libc6"]))], &gone)]);
    assert!(!bom.components.iter().any(|one| one.name == "a"));
}

#[test]
fn a_distribution_without_any_database_is_said() {
    let bom = of(&[layer(&[("etc/os-release", RELEASE), ("usr/bin/a", "a")], &[])]);
    assert!(bom.notes.iter().any(|note| note.contains("no layer has a database")), "{:?}", bom.notes);
    assert_eq!(unowned(&bom), ["usr/bin/a"]);
}

#[test]
fn packages_of_rpm_are_named_by_their_vendor_and_own_their_files() {
    const PACKED: &[u8] = include_bytes!("../inventory/rpm/testdata/Packages.db.gz");
    let mut database = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(PACKED), &mut database).expect("gzip");
    let with = |release: &str, gone: bool| {
        let mut scanner = Scanner::new(inventory::Limits::default());
        let mut file = |at: &str, bytes: &[u8]| {
            scanner.file(path(at), bytes.len() as u64, &mut &*bytes).expect("memory");
        };
        file("etc/os-release", release.as_bytes());
        for owned in ["usr/bin/alpha", "usr/share/beta-sub/x", "opt/stray"] {
            file(owned, owned.as_bytes());
        }
        if !gone {
            file("usr/lib/sysimage/rpm/Packages.db", &database);
            file("usr/lib/sysimage/rpm/Index.db", b"an index");
        }
        of(&[scanner.finish()])
    };
    for (release, begin, distro) in [
        ("ID=rhel\nVERSION_ID=9.4\n", "pkg:rpm/redhat/alpha@1.4.2-3.el9?", "rhel-9.4"),
        ("ID=opensuse-leap\nVERSION_ID=15.6\n", "pkg:rpm/opensuse/alpha@1.4.2-3.el9?", "opensuse-leap-15.6"),
        ("ID=fedora\nVERSION_ID=41\n", "pkg:rpm/fedora/alpha@1.4.2-3.el9?", "fedora-41"),
    ] {
        let bom = with(release, false);
        let purl = named(&bom, "alpha").purl.as_ref().expect("a purl");
        assert!(purl.to_string().starts_with(begin), "{purl}");
        assert_eq!(purl.qualifiers.get("distro").map(String::as_str), Some(distro));
        assert_eq!((unowned(&bom), bom.notes.len()), (vec!["opt/stray"], 0), "{:?}", bom.notes);
        let bare = with(release, true);
        assert!(bare.notes.iter().any(|note| note.contains("with rpm, and no layer")), "{:?}", bare.notes);
    }
}

#[test]
fn the_innermost_package_owns_a_file() {
    let manifest =
        |name: &str| format!(r#"{{"name":"{name}","version":"1.0.0","license":"MIT","dependencies":{{"b":"1"}}}}"#);
    let (a, b) = (manifest("a"), manifest("b"));
    let files = [
        ("n/node_modules/a/package.json", a.as_str()),
        ("n/node_modules/a/x.js", "x"),
        ("n/node_modules/a/node_modules/b/package.json", &b),
        ("n/node_modules/a/node_modules/b/y.js", "y"),
    ];
    let bom = of(&[layer(&files, &[])]);
    let owner = |at: &str| match bom.files.iter().find(|file| file.path == at).map(|file| &file.owner) {
        Some(Ownership::Component(owner)) => bom.components[*owner].name.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(owner("n/node_modules/a/x.js"), "a");
    assert_eq!(owner("n/node_modules/a/node_modules/b/y.js"), "b");
    assert_eq!(named(&bom, "a").needs.len(), 1);
}

pub(super) fn built() -> (Vec<LayerContents>, bulla_model::ownership::Ownership) {
    let layers = vec![layer(
        &[
            ("usr/bin/a", "a"),
            ("app/main", "m"),
            ("app/node_modules/b/package.json", r#"{"name":"b","version":"2.0.0"}"#),
            ("etc/passwd", "p"),
        ],
        &[],
    )];
    let package = Owner::Package {
        name: "a".into(),
        version: "1-1".into(),
        architecture: "amd64".into(),
        source: "s".into(),
        digest: Digest::of("deb"),
    };
    let materials =
        [("pkg:npm/b@2.0.0", "b"), ("pkg:npm/c@3.0.0", "c")].map(|(purl, of)| (purl.to_owned(), Digest::of(of)));
    let step = Owner::Step {
        stage: "build".into(),
        step: Some(1),
        title: "npm ci".into(),
        materials: materials.into(),
        sources: ["app".to_owned()].into(),
    };
    let mut owners = Owners::default();
    let digest = |text: &str| Some(Digest::of(text));
    owners.own(path("usr/bin/a"), package, digest("a"));
    owners.own(path("app/main"), step.clone(), digest("m"));
    owners.own(path("app/node_modules/b/package.json"), step, digest(r#"{"name":"b","version":"2.0.0"}"#));
    owners.own(path("etc/passwd"), Owner::Native { what: "system files".into() }, digest("p"));
    (layers, owners.finish("shop", Platform::LinuxAmd64))
}

#[test]
fn an_image_of_ones_own_has_an_owner_for_every_file() {
    let (layers, ownership) = built();
    let bom = compose(subject(1, true), &layers, Some(&ownership));
    assert_eq!(bom.unowned(), 0, "{:#?}", bom.files);
    let step = named(&bom, "shop/build/1");
    let from: Vec<&str> = step.made_from.iter().map(|at| bom.components[*at].name.as_str()).collect();
    assert_eq!(from, ["b", "c"]);
    assert_eq!((named(&bom, "b").found_by.as_str(), named(&bom, "c").found_by.as_str()), ("npm", "input"));
    assert_eq!(named(&bom, "a").digests[&Algorithm::Sha256], Digest::of("deb").hex());
}

#[test]
fn a_file_that_the_build_did_not_put_there_is_nobodys() {
    let (mut layers, ownership) = built();
    layers.push(layer(&[("usr/bin/a", "another"), ("usr/bin/new", "n")], &[]));
    let bom = compose(subject(2, true), &layers, Some(&ownership));
    assert_eq!(unowned(&bom), ["usr/bin/a", "usr/bin/new"]);
    assert!(bom.notes.iter().any(|note| note.starts_with("2 files")), "{:?}", bom.notes);
}

#[test]
fn files_of_an_image_below_are_its_packages_or_its_own() {
    let own = layer(&[("app/x", "x")], &[]);
    let mut owners = Owners::default();
    let base = |layers| Owner::Base { reference: "registry.example/base:1".into(), digest: Digest::of("base"), layers };
    owners.note(base(vec![Digest::of("0")]));
    owners.own(path("app/x"), Owner::Scripts { reason: "it is so".into() }, Some(Digest::of("x")));
    let ownership = owners.finish("shop", Platform::LinuxAmd64);
    let bom = compose(subject(2, true), &[debian(), own], Some(&ownership));
    assert_eq!(bom.unowned(), 0, "{:#?}", bom.files);
    let owner = |at: &str| bom.files.iter().find(|file| file.path == at).map(|file| &file.owner);
    let named = |name: &str| bom.components.iter().position(|one| one.name == name).map(Ownership::Component);
    assert_eq!(owner("usr/bin/a"), named("a").as_ref());
    assert_eq!(owner("usr/share/doc/a/copyright"), named("registry.example/base:1").as_ref());
    assert!(matches!(owner("app/x"), Some(Ownership::Exception(why)) if why.contains("it is so")));
}

#[test]
fn documents_are_the_same_for_the_same_image_and_others_for_another() {
    let (layers, ownership) = built();
    let bom = compose(subject(1, true), &layers, Some(&ownership));
    for format in Format::ALL {
        let bytes = bom.write(format);
        assert_eq!(bytes, compose(subject(1, true), &layers, Some(&ownership)).write(format));
        let text = String::from_utf8(bytes).expect("a text");
        assert!(text.contains("pkg:npm/c@3.0.0") && text.contains("2023-11-14T22:13:20Z"), "{format}");
        let other = compose(subject(1, false), &layers, Some(&ownership)).write(format);
        assert_ne!(text.as_bytes(), other, "{format}: the number follows from the content");
        assert_eq!(format.name().parse(), Ok(format));
    }
    assert!("spdx".parse::<Format>().is_err());
}

#[test]
fn every_id_that_is_referred_to_is_there() {
    let (layers, ownership) = built();
    let bom = compose(subject(1, true), &layers, Some(&ownership));
    let spdx: serde_json::Value = serde_json::from_slice(&bom.write(Format::Spdx23)).expect("JSON");
    let list = |name: &str| spdx[name].as_array().cloned().unwrap_or_default();
    let ids: BTreeSet<String> = ["packages", "files"]
        .iter()
        .flat_map(|name| list(name))
        .map(|one| one["SPDXID"].to_string())
        .chain(["\"SPDXRef-DOCUMENT\"".to_owned()])
        .collect();
    for relation in list("relationships") {
        assert!(
            ids.contains(&relation["spdxElementId"].to_string())
                && ids.contains(&relation["relatedSpdxElement"].to_string()),
            "{relation}"
        );
    }
    assert_eq!(ids.len(), 1 + list("packages").len() + list("files").len(), "each once");
}
