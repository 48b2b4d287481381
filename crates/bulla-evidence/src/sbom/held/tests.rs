use serde_json::{Value, json};

use super::*;
use crate::sbom::{
    Format, compose,
    tests::{built, debian, layer, of, status, subject},
};

/// Reads a list as the predicate of a statement has it.
fn stated(bom: &Bom, format: Format) -> Value {
    serde_json::from_slice(&bom.write(format)).expect("JSON")
}

fn held(list: &Value, image: &Bom) -> Held {
    Held::of(&Stated::read(list).expect("a list"), image)
}

/// Removes what has a text in it from the lists of a document.
fn without(list: &mut Value, names: &[&str], text: &str) {
    for name in names {
        if let Some(all) = list[*name].as_array_mut() {
            all.retain(|one| !one.to_string().contains(text));
        }
    }
}

#[test]
fn every_list_of_an_image_is_consistent_with_it() {
    let (layers, ownership) = built();
    let own = compose(subject(1, true), &layers, Some(&ownership));
    let above = layer(&[("var/lib/dpkg/status", &status(&["a", "libc6", "b"])), ("usr/bin/b", "b")], &[]);
    for (list, image) in [(&own, &of(&layers)), (&of(&[debian(), above.clone()]), &of(&[debian(), above]))] {
        for format in Format::ALL {
            let held = held(&stated(list, format), image);
            assert!(held.is_consistent(), "{format}: {}", held.told());
            assert!(held.packages > 0 && held.files > 0, "{format}: {held:?}");
        }
    }
    // `a` is of the lock and `c` could be read; nothing in the image tells of either.
    let held = held(&stated(&own, Format::CycloneDx16), &of(&layers));
    assert_eq!(held.unseen, 2);
    assert!(held.told().contains("of 2 further packages the image tells nothing"), "{}", held.told());
}

#[test]
fn what_was_taken_out_of_a_list_is_missed() {
    let image = of(&[debian()]);
    for format in Format::ALL {
        let mut list = stated(&image, format);
        without(&mut list, &["packages", "components", "@graph"], "pkg:deb/debian/a@");
        let told = held(&list, &image).told();
        assert_eq!(told, "1 packages of the image that the list lacks (a 1-1)", "{format}");
    }
    for (format, names) in [(Format::Spdx23, ["files"]), (Format::Spdx30, ["@graph"])] {
        let mut list = stated(&image, format);
        without(&mut list, &names, "/usr/bin/a\"");
        assert_eq!(held(&list, &image).told(), "1 files of the image that the list lacks (/usr/bin/a)", "{format}");
    }
}

#[test]
fn a_list_of_another_image_differs_and_says_in_what() {
    let image = of(&[debian()]);
    let other = of(&[layer(
        &[
            ("var/lib/dpkg/status", &status(&["a", "libc6", "z"]).replacen("1-1", "1-2", 1)),
            ("usr/bin/a", "another"),
            ("usr/bin/z", "z"),
        ],
        &[],
    )]);
    let told = held(&stated(&other, Format::Spdx23), &image).told();
    for says in [
        "1 packages in another version than the list has (a 1-1, and not 1-2)",
        "1 packages of the list that the image has not (z 1-1)",
        "files of the image that the list lacks",
        "2 files that are not what the list says (/usr/bin/a, /var/lib/dpkg/status)",
        "1 files of the list that the image has not (/usr/bin/z)",
    ] {
        assert!(told.contains(says), "{says}: {told}");
    }
}

#[test]
fn a_database_that_was_removed_hides_nothing() {
    // By a layer above: what it told of is still there.
    let image = of(&[debian(), layer(&[], &["var/lib/dpkg"])]);
    let nothing = json!({"spdxVersion": "SPDX-2.3", "packages": [], "files": []});
    assert_eq!(held(&nothing, &image).told(), "1 packages of the image that the list lacks (a 1-1)");
    // Without a trace: the list that was made before says what is gone, and one that was made after cannot be complete.
    let files = [("etc/os-release", "ID=debian\n"), ("usr/bin/a", "a")];
    let image = of(&[layer(&files, &[])]);
    let before = held(&stated(&of(&[debian()]), Format::CycloneDx16), &image);
    assert!(
        before.told().contains("2 packages of the list that the image has not (a 1-1, libc6 1-1)"),
        "{}",
        before.told()
    );
    let after = held(&stated(&image, Format::Spdx23), &image);
    assert_eq!((after.is_consistent(), after.without_database.as_deref()), (true, Some("debian")));
    assert_eq!(held(&nothing, &of(&[debian()])).without_database, None);
}

#[test]
fn lists_of_other_makers_are_read_by_their_package_urls() {
    let files = [
        ("app/node_modules/@s/b/package.json", r#"{"name":"@s/b","version":"2.0.0"}"#),
        ("usr/lib/python3/My_Pack-1.0.dist-info/METADATA", "Name: My_Pack\nVersion: 1.0\n"),
        ("x", "x"),
    ];
    let image = of(&[debian(), layer(&files, &[])]);
    let purls = [
        "pkg:deb/debian/a@1-1?arch=amd64&distro=debian-12&upstream=s",
        "pkg:deb/debian/libc6@1-1?arch=amd64",
        "pkg:npm/%40s/b@2.0.0",
        "pkg:pypi/my-pack@1.0",
    ];
    let cyclonedx = |purls: &[&str]| {
        json!({"bomFormat": "CycloneDX", "specVersion": "1.5", "components": [{
            "type": "application", "name": "x",
            "components": purls.iter().map(|purl| json!({"type": "library", "purl": purl})).collect::<Vec<_>>(),
        }]})
    };
    let spdx = |purls: &[&str]| {
        json!({"spdxVersion": "SPDX-2.3", "creationInfo": {"creators": ["Tool: other-1"]},
        "files": [{"fileName": "/usr/bin/a", "checksums": [{"algorithm": "SHA1", "checksumValue": "0".repeat(40)}]}],
        "packages": purls.iter().map(|purl| json!({"externalRefs": [
            {"referenceType": "purl", "referenceLocator": purl}]})).collect::<Vec<_>>()})
    };
    let more = [purls.as_slice(), &["pkg:npm/dev@1", "pkg:rpm/x@1", "pkg:oci/y@sha256:0", "no purl"]].concat();
    for list in [cyclonedx(&more), spdx(&more)] {
        let held = held(&list, &image);
        assert!(held.is_consistent(), "{}", held.told());
        assert_eq!((held.unseen, held.files), (1, 0));
    }
    assert!(!held(&cyclonedx(&purls[1..]), &image).is_consistent());
    // Of what a database decides, more is wrong too.
    let more = [purls.as_slice(), &["pkg:deb/debian/zlib1g@1"]].concat();
    assert_eq!(held(&spdx(&more), &image).told(), "1 packages of the list that the image has not (zlib1g 1)");
    // An epoch may stand beside the version, and Go's versions with a letter or without.
    let name = |purl: &str| Name::of(&purl.parse().expect("a purl"));
    assert_eq!(name("pkg:deb/debian/a@1-1?epoch=2"), name("pkg:deb/debian/a@2%3A1-1"));
    assert_eq!(name("pkg:golang/Example.com/x@v1.0.0"), name("pkg:golang/example.com/x@1.0.0"));
    // Syft's form of a module whose path ends with its major version.
    assert_eq!(name("pkg:golang/example.com/a/x@v2.0.0#v2"), name("pkg:golang/example.com/a/x/v2@v2.0.0"));
    assert_ne!(name("pkg:golang/example.com/a/x@v2.0.0#v2"), name("pkg:golang/example.com/a/x@v2.0.0"));
}

#[test]
fn files_are_found_by_their_names_of_any_script() {
    let image = of(&[layer(&[("usr/share/f\u{151}.crt", "x"), ("usr/share/a\\b", "y")], &[])]);
    for (format, name) in [(Format::Spdx23, "files"), (Format::Spdx30, "@graph")] {
        let own = held(&stated(&image, format), &image);
        assert!(own.is_consistent() && own.files == 2, "{format}, {name}: {}", own.told());
    }
    let file = |name: &str, text: &str| json!({"fileName": name, "checksums": [{"algorithm": "SHA256", "checksumValue": bulla_model::Digest::of(text).hex()}]});
    let list = |files: Vec<Value>| json!({"spdxVersion": "SPDX-2.3", "packages": [], "files": files});
    let others = list(vec![file("/usr/share/f\u{151}.crt", "x"), file("usr/share/a\\b", "y")]);
    assert!(held(&others, &image).is_consistent(), "{}", held(&others, &image).told());
    let missing = list(vec![file("/usr/share/f\u{150}.crt", "x")]);
    assert!(!held(&missing, &image).is_consistent(), "the control");
}

#[test]
fn what_was_called_by_a_guess_may_be_called_otherwise() {
    let nothing = json!({"spdxVersion": "SPDX-2.3", "packages": [], "files": []});
    let package = ("n/node_modules/b/package.json", r#"{"name":"b","version":"2"}"#);
    let mut image = of(&[layer(&[package], &[])]);
    assert!(!held(&nothing, &image).is_consistent(), "the control");
    for component in &mut image.components {
        component.facts.insert(GUESSED.to_owned(), "by its file".to_owned());
    }
    assert_eq!(held(&nothing, &image), Held::default());
    // A list that calls it the same is held against it as ever.
    let mut own = stated(&image, Format::CycloneDx16);
    assert!(held(&own, &image).is_consistent());
    without(&mut own, &["components"], "pkg:npm/b@");
    assert!(held(&own, &image).told().contains("that the list lacks (b 2)"), "the reader is the same");
}

#[test]
fn what_is_no_list_is_said_to_be_none_and_hostile_ones_end() {
    for bad in [
        json!({}),
        json!([]),
        json!("x"),
        json!({"bomFormat": "x"}),
        json!({"spdxVersion": "SPDX-9"}),
        json!({"@graph": {}}),
    ] {
        assert_eq!(Stated::read(&bad), Err(NoList), "{bad}");
    }
    let mut deep = json!({"type": "library", "purl": "pkg:npm/a@1"});
    for _ in 0..100 {
        deep = json!({"type": "library", "components": [deep, {"purl": 1, "hashes": "x", "name": []}]});
    }
    let list = json!({"bomFormat": "CycloneDX", "components": [deep, [], 3], "metadata": "x"});
    assert!(held(&list, &of(&[debian()])).told().contains("2 packages of the image that the list lacks"));
}
