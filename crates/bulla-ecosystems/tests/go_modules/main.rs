//! `go.sum`: read, verified, and served to the real `go`.

#[path = "../served/mod.rs"]
mod served;

mod attacks;
mod real;

use std::io::{Cursor, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulla_ecosystems::dependencies::{LockFileError, Native as _, Place, Request, go::Go};
use served::{Held, Source, document, path, refused};
use sha2::{Digest as _, Sha256};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// Any sum.
const SUM: &str = "h1:ungWe8M4G15irX2mv1wRkYg4gGNzYKWQp+l2UfIh6Zk=";
const OTHER: &str = "h1:7mTAgkunk3fr4GAloyyCasadO6h9zSsQZbwvcaIciV4=";

fn read(sums: &str) -> Result<Go, LockFileError> {
    Go::read(&Source::of(&[("go.sum", sums)]), &path("go.sum"))
}

/// Writes a zip archive.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        writer.start_file(*name, options).expect("to memory");
        writer.write_all(bytes).expect("to memory");
    }
    writer.finish().expect("to memory").into_inner()
}

/// The sum of files, as golang.org/x/mod/sumdb/dirhash says.
fn h1(files: &[(&str, &[u8])]) -> String {
    let hex = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut lines: Vec<(&str, String)> =
        files.iter().map(|(name, bytes)| (*name, format!("{}  {name}\n", hex(bytes)))).collect();
    lines.sort();
    let list: String = lines.into_iter().map(|(_, line)| line).collect();
    format!("h1:{}", STANDARD.encode(Sha256::digest(list)))
}

#[test]
fn sums_have_their_places_in_a_module_proxy() {
    let go = read(&format!(
        "github.com/Azure/x v1.0.0-RC1 {SUM}\r\ngithub.com/Azure/x v1.0.0-RC1/go.mod {OTHER}\n\n\
         a.b/c v2.0.0+incompatible/go.mod {SUM}\na.b/c v2.0.0+incompatible/go.mod {SUM}\n\
         golang.org/toolchain v0.0.1-go1.26.8.linux-amd64 {SUM}\n\
         a.b/d v1.0.0/go.mod h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY=\n"
    ))
    .expect("good sums");
    let found: Vec<String> = go
        .locked()
        .artifacts
        .iter()
        .map(|one| format!("{} {} {:?} {}", one.name, one.file, one.places, one.line))
        .collect();
    let place = |text: &str| format!("{:?}", [Place::Registry(text.to_owned())]);
    assert_eq!(
        found,
        [
            format!("a.b/c v2.0.0+incompatible.mod {} 4", place("a.b/c/@v/v2.0.0+incompatible.mod")),
            format!("github.com/Azure/x v1.0.0-RC1.zip {} 1", place("github.com/!azure/x/@v/v1.0.0-!r!c1.zip")),
            format!("github.com/Azure/x v1.0.0-RC1.mod {} 2", place("github.com/!azure/x/@v/v1.0.0-!r!c1.mod")),
        ]
    );
    assert!(go.questions().is_empty());
}

#[test]
fn mistakes_are_named_with_their_line() {
    let good = format!("a.b/c v1.0.0 {SUM}\n");
    for (line, text) in [
        ("a.b/c v1.0.0", "`a.b/c v1.0.0` is not a module, a version and a sum"),
        ("a.b/c v1.0.0 h1:x y", "is not a module, a version and a sum"),
        ("<<<<<<< HEAD", "`<<<<<<< HEAD` is left of a merge"),
        ("fmt v1.0.0 h1:x", "`fmt` is no name of a module: its first part has no dot"),
        ("a.b/../../c v1.0.0 h1:x", "is no name of a module"),
        ("a.b/c v1 h1:x", "`v1` is no version"),
        ("a.b/c v1.0.0/../../x h1:x", "`v1.0.0/../../x` is no version"),
        ("a.b/c v1.0.1 h2:x", "sums of the kind `h2` are not known"),
        ("a.b/c v1.0.1 h1:x", "`h1:x` is no sum"),
        ("a.b/c v1.0.1 x", "`x` is no sum"),
    ] {
        refused(read(&format!("{good}{line}\n")), Some(2), text);
    }
    refused(
        read(&format!("{good}a.b/c v1.0.0 {OTHER}\n")),
        Some(2),
        &format!("a.b/c v1.0.0 has the sum {OTHER} here and {SUM} in go.sum:1"),
    );
    let not_text = Source([(path("go.sum"), [good.as_bytes(), b"\xff\n"].concat())].into());
    refused(Go::read(&not_text, &path("go.sum")), Some(2), "is not UTF-8");
    refused(Go::read(&Source::of(&[]), &path("go.sum")), None, "go.sum: it is not in the source");
    let long: String = (0..100_001).map(|at| format!("a.b/c v1.0.{at} {SUM}\n")).collect();
    refused(read(&long), Some(100_001), "more than 100000 sums");
}

#[test]
fn modules_of_a_workspace_are_read_together() {
    let sums = |name: &str| format!("{name} v1.0.0 {SUM}\n");
    let files = |work: &str| {
        Source::of(&[
            ("src/go.work", work),
            ("src/go.work.sum", &sums("a.b/work")),
            ("src/one/go.sum", &sums("a.b/one")),
            ("src/two/go.sum", &sums("a.b/two")),
            ("src/three/go.sum", &sums("a.b/three")),
            ("go.sum", &sums("a.b/out")),
        ])
    };
    let names = |work: &str, lock: &str| -> Vec<String> {
        let go = Go::read(&files(work), &path(lock)).expect("good sums");
        go.locked().artifacts.iter().map(|artifact| artifact.name.clone()).collect()
    };
    let work =
        "go 1.26\n\nuse (\n\t./one // the first\n\t\"two\"\n)\nuse ../../../etc\nuse /etc\nreplace x => ./three\n";
    let together = ["a.b/one", "a.b/two", "a.b/work"];
    for lock in ["src/one/go.sum", "src/go.work", "src/go.work.sum"] {
        assert_eq!(names(work, lock), together, "{lock}");
    }
    // Not of the workspace, and outside of it.
    assert_eq!(names(work, "src/three/go.sum"), ["a.b/three"]);
    assert_eq!(names(work, "go.sum"), ["a.b/out"]);
    assert_eq!(names("use .\nuse ..\n", "src/go.work"), ["a.b/out", "a.b/work"]);
    let other = Source::of(&[
        ("go.work", "use ./one\nuse ./two\n"),
        ("one/go.sum", &sums("a.b/c")),
        ("two/go.sum", &format!("a.b/c v1.0.0 {OTHER}\n")),
    ]);
    refused(Go::read(&other, &path("one/go.sum")), Some(1), "two/go.sum:1: a.b/c v1.0.0 has the sum");
}

#[test]
fn fifty_thousand_lines_are_read() {
    let text: String = (0..25_000)
        .map(|at| {
            format!(
                "example.com/m{}/x v1.{at}.0 {SUM}\nexample.com/m{}/x v1.{at}.0/go.mod {OTHER}\n",
                at % 500,
                at % 500
            )
        })
        .collect();
    let go = read(&text).expect("good sums");
    assert_eq!(go.locked().artifacts.len(), 50_000);
}

#[test]
fn a_proxy_has_what_the_lock_has_and_knows_what_is_not_there() {
    let name = |version: &str| format!("a.b/C/d@{version}/go.mod");
    let texts = ["v1.0.0", "v1.1.0", "v1.2.0-rc.1", "v1.1.1-0.20191109021931-daa7c04131f5"];
    let names: Vec<String> = texts.iter().map(|version| name(version)).collect();
    let files: Vec<[(&str, &[u8]); 1]> =
        names.iter().map(|name| [(name.as_str(), b"module a.b/C/d\n".as_slice())]).collect();
    let mut sums: String =
        texts.iter().zip(&files).map(|(version, files)| format!("a.b/C/d {version} {}\n", h1(files))).collect();
    sums.push_str(&format!("a.b/only v1.0.0/go.mod {SUM}\n"));
    let go = read(&sums).expect("good sums");
    let bodies: Vec<Vec<u8>> = go
        .locked()
        .artifacts
        .iter()
        .map(|artifact| {
            texts.iter().position(|text| *text == artifact.version).map_or_else(Vec::new, |at| zip(&files[at]))
        })
        .map(|bytes| if bytes.is_empty() { b"module a.b/only\n".to_vec() } else { bytes })
        .collect();
    let only = go.locked().artifacts.iter().position(|artifact| artifact.name == "a.b/only");
    let bodies = Held(bodies);
    let repository = go.repository(&bodies, "http://127.0.0.1:1").expect("good artifacts");
    let text = |path: &str| document(&repository, path);
    assert_eq!(text("/go/a.b/!c/d/@v/list").as_deref(), Some("v1.0.0\nv1.1.0\nv1.2.0-rc.1\n"));
    assert_eq!(text("/go/a.b/!c/d/@latest").as_deref(), Some("{\"Version\":\"v1.1.0\"}"));
    assert_eq!(
        text("/go/a.b/!c/d/@v/v1.1.1-0.20191109021931-daa7c04131f5.info").as_deref(),
        Some("{\"Version\":\"v1.1.1-0.20191109021931-daa7c04131f5\",\"Time\":\"2019-11-09T02:19:31Z\"}")
    );
    // Out of the archive, since go.sum has no sum of it.
    assert_eq!(text("/go/a.b/!c/d/@v/v1.0.0.mod").as_deref(), Some("module a.b/C/d\n"));
    let only = only.map(|at| format!("artifact {at}"));
    assert_eq!(text("/go/a.b/only/@v/v1.0.0.mod"), only);
    for none in ["/go/a.b/only/@v/v1.0.0.zip", "/go/a.b/only/@v/list", "/go/a.b/only/@latest", "/go/a.b/C/d/@v/list"] {
        assert_eq!(text(none), None, "{none}");
    }
    let negative: Vec<&str> =
        repository.routes.iter().filter(|route| route.answer.status == 404).map(|route| route.path.as_str()).collect();
    for asked in ["/go/a.b/!c/@v/list", "/go/a.b/@latest", "/go/a.b/!c/@v/v1.0.0.info"] {
        assert!(negative.contains(&asked), "{asked}: {negative:?}");
    }
    let mut paths: Vec<&str> = repository.routes.iter().map(|route| route.path.as_str()).collect();
    paths.sort_unstable();
    assert!(paths.windows(2).all(|pair| pair[0] != pair[1]), "each path is there once");
    assert_eq!(repository, go.repository(&bodies, "http://127.0.0.1:1").expect("good artifacts"));
}

#[test]
fn the_client_has_no_other_way() {
    let client = read("").expect("no sums").client("http://127.0.0.1:8123");
    let value = |name: &str| client.env.get(name).map(String::as_str);
    assert_eq!(value("GOPROXY"), Some("http://127.0.0.1:8123/go"));
    assert_eq!((value("GOSUMDB"), value("GONOPROXY"), value("GOVCS")), (Some("off"), Some("none"), Some("*:off")));
    assert_eq!((value("GOTOOLCHAIN"), value("GOTELEMETRY"), value("GOFLAGS")), (Some("local"), Some("off"), None));
    assert!(client.files.is_empty());
}

#[test]
fn the_last_words_of_go_are_answered() {
    let go = read(&format!("a.b/c v1.0.0 {SUM}\na.b/c/d v1.1.0/go.mod {SUM}\n")).expect("good sums");
    let said = |words: &str| go.answer_to(words).map(|told| told.split(". Run").next().expect("a part").to_owned());
    let missing = |package: &str| {
        said(&format!(
            "main.go:3:8: missing go.sum entry for module providing package {package} (imported by x); to add:"
        ))
    };
    assert_eq!(missing("a.b/c/e").as_deref(), Some("go has no sum of what has a.b/c/e; go.sum has a.b/c v1.0.0"));
    assert_eq!(missing("a.b/c/d/e").as_deref(), Some("go has no sum of what has a.b/c/d/e; go.sum has a.b/c/d v1.1.0"));
    assert_eq!(missing("x.y/z").as_deref(), Some("go has no sum of what has x.y/z; go.sum has no version of it"));
    assert!(said("go: a.b/c@v1.0.0: missing go.sum entry for go.mod file; to add it:").is_some());
    assert!(said("go: updates to go.mod needed; to update it:").is_some());
    assert_eq!(said("main.go:3:8: undefined: x"), None);
}

#[test]
fn documents_of_two_lock_files_become_one() {
    let joined = |one: &str, other: &str| {
        let both = bulla_ecosystems::dependencies::joined(
            bulla_model::Ecosystem::Go,
            "text/plain; charset=UTF-8",
            one.as_bytes(),
            other.as_bytes(),
        );
        both.map(|bytes| String::from_utf8(bytes).expect("UTF-8"))
    };
    assert_eq!(joined("v1.0.0\nv1.10.0\n", "v1.2.0\nv1.10.0\n").as_deref(), Some("v1.0.0\nv1.2.0\nv1.10.0\n"));
    assert_eq!(joined("", "v1.0.0\n").as_deref(), Some("v1.0.0\n"));
    let latest = |one: &str, other: &str| {
        let document = |version: &str| format!("{{\"Version\":\"{version}\"}}");
        joined(&document(one), &document(other)).expect("a document")
    };
    assert_eq!(latest("v1.0.0", "v2.0.0-rc.1"), "{\"Version\":\"v1.0.0\"}");
    assert_eq!(latest("v0.1.0-rc.1", "v2.0.1-0.20191109021931-daa7c04131f5"), "{\"Version\":\"v0.1.0-rc.1\"}");
    assert_eq!(latest("v1.9.0", "v1.10.0"), "{\"Version\":\"v1.10.0\"}");
    // Two `go.mod` that differ are of one module twice, and cannot be one.
    assert_eq!(joined("module a.b/c\n", "module a.b/c\n\ngo 1.19\n"), None);
}

#[test]
fn what_was_not_served_is_explained() {
    let go = read(&format!(
        "a.b/C v1.2.3 {SUM}\na.b/m v1.0.0/go.mod {SUM}\na.b/n v1.0.0 {SUM}\na.b/n v1.1.0 {SUM}\na.b/n v1.2.0 {SUM}\na.b/n v1.3.0 {SUM}\n"
    ))
    .expect("good sums");
    let tidy = "Run `go mod tidy`, commit go.mod and go.sum, build again.";
    for (asked, said) in [
        ("/go/a.b/!c/@v/v1.2.4.info", format!("go asked for a.b/C v1.2.4; go.sum has v1.2.3. {tidy}")),
        (
            "/go/a.b/m/@v/v1.0.0.zip",
            format!("go asked for a.b/m v1.0.0; go.sum has the sum of its go.mod, and none of its files. {tidy}"),
        ),
        ("/go/a.b/m/@latest", format!("go asked for a.b/m; go.sum has v1.0.0. {tidy}")),
        ("/go/a.b/n/@v/v2.0.0.mod", format!("go asked for a.b/n v2.0.0; go.sum has v1.3.0 and 3 others. {tidy}")),
        ("/go/x.y/z/@v/list", format!("go asked for x.y/z; go.sum has no version of it. {tidy}")),
    ] {
        let request = Request { method: "GET".to_owned(), path: asked.to_owned() };
        assert_eq!(go.diagnose(&request).as_deref(), Some(said.as_str()));
    }
    let said = |path: &str| go.diagnose(&Request { method: "GET".to_owned(), path: path.to_owned() });
    assert!(said("/go/golang.org/toolchain/@v/v0.0.1-go1.99.0.linux-amd64.zip").expect("known").contains("toolchain"));
    assert!(said("/go/sumdb/sum.golang.org/supported").expect("known").contains("GOSUMDB"));
    for other in ["/npm/x", "/go/", "/go/x", "/go/../etc/@v/list", "/go/a.b/!C/@v/list"] {
        assert_eq!(said(other), None, "{other}");
    }
}
