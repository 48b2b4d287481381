//! What differs between two images. They are of files and packages alone, so that no sandbox is needed.

use bulla_testkit::{Deb, Project, Release};

use crate::{offline, online};

const SPEC: &str = "\
bulla: 1
name: site
epoch: 1700000000
sources:
  pages: {path: pages}
image:
  from: {scratch: {}}
  copy:
    - {source: pages, to: /www}
  entrypoint: [/www/serve]
  user: 65532
";

fn project() -> Project {
    let project = Project::with_spec(SPEC).file("pages/index.html", "<p>hello</p>").file("pages/old", "old");
    project.file("pages/same", "same").program("pages/serve", "#!/bin/true\n").symlink("pages/link", "same")
}

#[test]
fn files_and_configuration_that_differ_are_named_and_the_code_tells() {
    let (environment, project) = (offline(), project());
    environment.run(&project, &["build", "-o", "oci:a", "-o", "oci-archive:a.tar"]).success();
    let same = environment.run(&project, &["diff", "a", "a.tar"]).success();
    assert_eq!((same.stdout.as_str(), same.stderr.as_str()), ("", ""));

    project.write("pages/index.html", "<p>hello, all</p>");
    project.write("pages/new", "new");
    fs_err::remove_file(project.path("pages/old")).expect("removed");
    fs_err::remove_file(project.path("pages/link")).expect("removed");
    fs_err::os::unix::fs::symlink("new", project.path("pages/link")).expect("linked");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs_err::set_permissions(project.path("pages/serve"), mode).expect("a mode");
    project.write("bulla.yaml", SPEC.replace("65532", "1000"));
    environment.run(&project, &["build", "-o", "oci-archive:b.tar"]).success();
    let ran = environment.run(&project, &["diff", "a", "b.tar"]).failure(1);
    assert_eq!(ran.stderr, "", "that they differ is no error");
    for part in [
        r#"configuration  changed  config.User  "65532" → "1000""#,
        "file           changed  /www/index.html  (content, 12 bytes → 17 bytes, layer 2)",
        "file           added    /www/new  (file, 3 B, layer 2)",
        "file           removed  /www/old  (file, 3 B, layer 2)",
        "file           changed  /www/serve  (mode 0755 → 0644, layer 2)",
        "file           changed  /www/link  (target same → new, layer 2)",
        "layer          changed ",
    ] {
        assert!(ran.stdout.contains(part), "{part} is not in {}", ran.stdout);
    }
    assert_eq!(ran.stdout.matches("file  ").count(), 5, "{}", ran.stdout);
    let json = environment.run(&project, &["diff", "a", "b.tar", "--json"]).failure(1).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("one object");
    assert_eq!((json["same"].as_bool(), json["files"].as_array().map(Vec::len)), (Some(false), Some(5)), "{json:#}");
    assert_eq!(json["files"][0]["before"]["size"], 12, "{json:#}");
    let quiet = environment.run(&project, &["diff", "a", "b.tar", "--quiet"]).failure(1);
    assert_eq!(quiet.stdout, "");
    let json = environment.run(&project, &["diff", "a", "a", "--json"]).success().stdout;
    assert!(json.contains(r#""same":true"#), "{json}");
}

#[test]
fn packages_that_differ_are_named_with_their_versions() {
    let (mut repo, _mirror, environment) = online();
    let spec = "bulla: 1\nname: shop\nepoch: 1700000000\nimage:\n  from: {debian: trixie, suites: [trixie], packages: [extra]}\n  \
                entrypoint: [/x]\n  user: 65532\n";
    let project = Project::with_spec(spec);
    environment.run(&project, &["build", "-o", "oci:a"]).success();
    repo.add(&Deb::new("extra", "2").depends("libshop").file("usr/lib/extra", 0o644, "2"));
    repo.publish(&Release::default());
    environment.run(&project, &["lock", "--update"]).success();
    environment.run(&project, &["build", "-o", "oci:b"]).success();
    let ran = environment.run(&project, &["diff", "a", "b"]).failure(1);
    for part in [
        "package        changed  extra  1 → 2",
        "package        added    libshop  - → 2.0",
        "package        removed  libextra  1 → -",
        "file           added    /usr/lib/extra",
    ] {
        assert!(ran.stdout.contains(part), "{part} is not in {}", ran.stdout);
    }
    assert!(!ran.stdout.contains("configuration"), "{}", ran.stdout);
}

#[test]
fn what_is_no_image_or_was_changed_is_an_error_and_no_difference() {
    let (environment, project) = (offline(), project());
    environment.run(&project, &["build", "-o", "oci:a", "-o", "oci:b", "--evidence", "none"]).success();
    environment.run(&project, &["diff", "a"]).failure(2);
    environment.run(&project, &["diff", "a", "pages"]).failure(3);
    project.write("none/oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    let none = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    project.write("none/index.json", none);
    let ran = environment.run(&project, &["diff", "none", "a"]).failure(3);
    assert!(ran.stderr.contains("none holds 0 images"), "{}", ran.stderr);
    environment.run(&project, &["diff", "a", "gone"]).failure(4);
    // The largest blob is the layer.
    let blobs = fs_err::read_dir(project.path("b/blobs/sha256")).expect("blobs").filter_map(Result::ok);
    let layer = blobs.max_by_key(|blob| blob.metadata().map_or(0, |found| found.len())).expect("a blob").path();
    let mut bytes = fs_err::read(&layer).expect("the blob");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs_err::set_permissions(&layer, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("its mode");
    fs_err::write(&layer, bytes).expect("flipping a bit");
    environment.run(&project, &["diff", "a", "b"]).failure(5);
}
