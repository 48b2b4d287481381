//! `poetry.lock` as Poetry writes it, what is made of it, and what is wrong with one.

use super::{
    tests::{Kept, Released, SPEEDUPS, Source, artifacts, digits, packed, read},
    *,
};
use crate::dependencies::{self as deps, Body, Place};

/// An entry as Poetry 2 writes it.
fn entry(released: &Released, more: &str) -> String {
    let files = released
        .files
        .iter()
        .map(|(file, bytes)| format!("    {{file = \"{file}\", hash = \"sha256:{}\"}},\n", digits(bytes)));
    let (name, version, files) = (released.name, released.version, files.collect::<String>());
    format!(
        "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\ndescription = \"\"\noptional = false\npython-versions = \">=3.8\"\n{more}files = [\n{files}]\n\n"
    )
}

fn whole(entries: &[String], version: &str) -> String {
    format!(
        "{}[extras]\nfast = [\"speedups\"]\n\n[metadata]\nlock-version = \"{version}\"\npython-versions = \"^3.11\"\ncontent-hash = \"00\"\n",
        entries.concat()
    )
}

fn pure(name: &'static str, version: &'static str) -> Released {
    Released::new(name, version, &[&format!("{name}-{version}-py3-none-any.whl"), &format!("{name}-{version}.tar.gz")])
}

#[test]
fn what_may_be_needed_here_is_had_whichever_group_or_extra_it_is_of() {
    let speedups = Released::new("speedups", "1.0", &SPEEDUPS);
    let lock = whole(
        &[
            entry(&pure("pure", "1.0"), "groups = [\"main\", \"dev\"]\n"),
            entry(&speedups, "groups = [\"main\"]\nmarkers = \"extra == \\\"fast\\\"\"\n"),
            entry(&pure("windows", "1"), "groups = [\"main\"]\nmarkers = \"sys_platform == \\\"win32\\\"\"\n"),
            entry(
                &pure("some", "1"),
                "groups = [\"main\", \"dev\"]\nmarkers = {main = \"sys_platform == \\\"win32\\\"\"}\n",
            ),
            entry(
                &pure("none", "1"),
                "groups = [\"main\", \"dev\"]\nmarkers = {main = \"sys_platform == \\\"win32\\\"\", dev = \"python_version < \\\"3.11\\\"\"}\n",
            ),
            entry(&pure("old", "1"), "groups = [\"main\"]\n").replace("\">=3.8\"", "\">=2.7,<3.8 || ~3.9\""),
        ],
        "2.1",
    );
    let mut pypi = read("poetry.lock", &lock).expect("a lock file");
    let expected = ["pure-1.0-py3-none-any.whl", "some-1-py3-none-any.whl", SPEEDUPS[0], SPEEDUPS[1], SPEEDUPS[6]];
    assert_eq!(artifacts(&pypi), expected);
    assert!(pypi.knows_all(), "no page adds a file");
    assert!(pypi.mirrored().is_empty() && pypi.addresses().is_empty(), "nothing of it is an address");
    // The user's index says where they are, and what is locked stays the same.
    let names: Vec<String> = pypi.questions().into_iter().map(|question| question.name).collect();
    assert_eq!(names, ["pure", "some", "speedups"]);
    for question in pypi.questions() {
        let page = match question.name.as_str() {
            "speedups" => speedups.page(),
            "pure" => pure("pure", "1.0").page(),
            _ => pure("some", "1").page(),
        };
        pypi.answer(&question, Some(&page)).expect("an answer");
    }
    assert!(pypi.questions().is_empty());
    assert_eq!(artifacts(&pypi), expected);
    let place = Place::Registry(format!("../packages/{}", SPEEDUPS[0]));
    assert_eq!(pypi.locked().artifacts[2].places, [place]);
}

#[test]
fn a_page_that_has_another_file_under_a_locked_name_gives_no_place() {
    let locked = pure("pure", "1.0");
    let text = whole(&[entry(&locked, "groups = [\"main\"]\n")], "2.1");
    let answered = |page: &[u8]| {
        let mut pypi = read("poetry.lock", &text).expect("a lock file");
        let question = pypi.questions().remove(0);
        pypi.answer(&question, Some(page)).map(|()| pypi.locked().artifacts[0].places.clone())
    };
    let page = locked.page();
    // The control.
    assert_eq!(answered(&page).expect("an answer").len(), 1);
    let other = String::from_utf8(page).expect("text").replace(&digits(&locked.files[0].1), &"0".repeat(64));
    let error = answered(other.as_bytes()).expect_err("a file that is another one");
    assert!(error.to_string().contains("does not have all files that poetry.lock names"), "{error}");
}

#[test]
fn versions_one_have_their_files_at_the_end() {
    let (one, two) = (pure("pure", "1.0"), pure("pure", "2.0"));
    let listed = |released: &Released| {
        let files = released.files.iter();
        files
            .map(|(file, bytes)| format!("    {{file = \"{file}\", hash = \"sha256:{}\"}},\n", digits(bytes)))
            .collect::<String>()
    };
    let plain = |version: &str| {
        format!(
            "[[package]]\nname = \"pure\"\nversion = \"{version}\"\ndescription = \"\"\ncategory = \"main\"\noptional = false\npython-versions = \">=3.8\"\n\n"
        )
    };
    let lock = format!(
        "{}{}[metadata]\nlock-version = \"1.1\"\npython-versions = \"^3.11\"\ncontent-hash = \"00\"\n\n[metadata.files]\npure = [\n{}{}]\n",
        plain("1.0"),
        plain("2.0"),
        listed(&one),
        listed(&two)
    );
    let pypi = read("poetry.lock", &lock).expect("a lock file");
    assert_eq!(artifacts(&pypi), ["pure-1.0-py3-none-any.whl", "pure-2.0-py3-none-any.whl"]);
    let error = read("poetry.lock", &lock.replace("pure = [", "other = [")).expect_err("nothing pins it");
    assert!(error.to_string().contains("poetry.lock:1: pure 1.0 has no files"), "{error}");
}

#[test]
fn sources_are_answered_where_the_lock_file_has_them() {
    let kind = |kind: &str, url: &str| {
        format!("\n[package.source]\ntype = \"{kind}\"\nurl = \"{url}\"\nreference = \"own\"\n\n")
    };
    let whl = "by_url-1.0-py3-none-any.whl";
    let by_url = Released::new("by-url", "1.0", &[whl]);
    let entries = [
        entry(&pure("own", "1"), "") + &kind("legacy", "https://index.example/root/simple"),
        entry(&by_url, "") + &kind("url", &format!("https://files.example/{whl}")),
        entry(&Released::new("local", "1", &[]), "") + &kind("directory", "lib/local"),
        entry(&pure("filed", "1"), "") + &kind("file", "vendor/filed-1-py3-none-any.whl"),
    ];
    let pypi = read("poetry.lock", &whole(&entries, "2.0")).expect("a lock file");
    assert_eq!(artifacts(&pypi), [whl, "own-1-py3-none-any.whl"], "what lies in the source is left to Poetry");
    let questions: Vec<String> = pypi.questions().into_iter().map(|question| question.name).collect();
    assert_eq!(questions, ["own"], "the user's index is asked, and no source of the lock file");
    let mirrored: Vec<String> =
        pypi.mirrored().into_iter().map(|(address, below)| format!("{address} {below}")).collect();
    assert_eq!(
        mirrored,
        ["https://index.example/root/simple/ /pypi/simple/", "https://index.example/root/files/ /pypi/files/"]
    );
    let addresses: Vec<String> = pypi.addresses().into_iter().map(|(address, at)| format!("{address} {at}")).collect();
    assert_eq!(addresses, [format!("https://files.example/{whl} 0")]);
    for (entry, expected) in [
        (
            entry(&pure("x", "1"), "") + &kind("git", "https://git.example/x"),
            "poetry.lock:1: x: the git repository `https://git.example/x` is named with `",
        ),
        (entry(&pure("x", "1"), "") + &kind("svn", "https://svn.example/x"), "is of a source of the type `svn`"),
        (
            entry(&pure("x", "1"), "") + &kind("url", "https://files.example/x.zip"),
            "poetry.lock:1: x 1 is had from an address, and nothing says what `x.zip` is",
        ),
        (
            entry(&by_url, "") + &kind("url", &format!("https://me:secret@files.example/{whl}")),
            "has a login in it; logins belong to the configuration",
        ),
    ] {
        let error = read("poetry.lock", &whole(&[entry], "2.1")).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.to_string().contains("secret") && !error.hints.is_empty(), "{error}");
    }
    let many = (0..10).map(|at| {
        let released =
            Released { name: "x", version: "1", files: vec![(format!("x{at}-1-py3-none-any.whl"), Vec::new())] };
        entry(&released, "").replace("name = \"x\"", &format!("name = \"x{at}\""))
            + &kind("legacy", &format!("https://i{at}.example/"))
    });
    let error = read("poetry.lock", &whole(&many.collect::<Vec<_>>(), "2.1")).expect_err("too many");
    assert!(error.to_string().contains("more than 8 sources"), "{error}");
}

#[test]
fn a_poetry_lock_that_is_wrong_is_named_with_its_line() {
    let good = whole(&[entry(&pure("pure", "1.0"), "")], "2.1");
    read("poetry.lock", &good).expect("the control");
    let hash = format!("sha256:{}", digits(&pure("pure", "1.0").files[0].1));
    for (text, expected) in [
        (String::new(), "poetry.lock:1: it has no `lock-version`"),
        (good.replace("\"2.1\"", "\"3.0\""), "it is of `lock-version` 3.0; versions 1 and 2 are known"),
        (good.replace("lock-version", "lock-age"), "it has no `lock-version`"),
        (format!("{good}<<<<<<< HEAD\n"), "a merge left its marks"),
        (good.replace(&hash, "md5:00"), "poetry.lock:1: pure 1.0: `pure-1.0-py3-none-any.whl`: "),
        (good.replace(&hash, "00"), "poetry.lock:1: pure 1.0: `pure-1.0-py3-none-any.whl`: "),
        (good.replace("pure-1.0-py3", "evil-1.0-py3"), "`evil-1.0-py3-none-any.whl` is no file of it"),
        (good.replace("pure-1.0-py3", "../pure-1.0-py3"), "is no file of it"),
        (good.replace("version = \"1.0\"", "version = \"1/0\""), "`1/0` is no version"),
        (good.replace("name = \"pure\"", "name = \"../x\""), "`../x` is no name of a package"),
        (format!("{}{good}", entry(&pure("pure", "1.0"), "")), "of pure 1.0 is named twice"),
        (good.replace("optional", "markers = \"and\"\noptional"), "poetry.lock:1: "),
        (good.replace("[[package]]", "[[package]"), "poetry.lock:1: "),
        (good.replace("^3.11", "<3"), "it is for no Python that the stage may have"),
    ] {
        let error = read("poetry.lock", &text).expect_err(expected);
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert!(!error.hints.is_empty(), "{error}");
    }
}

#[test]
fn poetry_finds_single_versions_by_their_json() {
    let released = Released::new("pure", "1.01", &["pure-1.01-py3-none-any.whl"]);
    let text = whole(&[entry(&released, "")], "2.1");
    let pypi = read("poetry.lock", &text).expect("a lock file");
    let base = "http://127.0.0.1:1";
    let repository = pypi.repository(&released.kept(&pypi), base).expect("a repository");
    let find = |path: &str| {
        let route = repository.routes.iter().find(|route| route.path == path)?;
        let Body::Bytes(bytes) = &route.answer.body else { return None };
        serde_json::from_slice::<serde_json::Value>(bytes).ok()
    };
    let document = find("/pypi/pypi/pure/1.01/json").expect("a document");
    assert_eq!(find("/pypi/pypi/pure/1.1/json").as_ref(), Some(&document), "as the version means");
    let url = &document["urls"][0];
    assert_eq!(url["url"], "http://127.0.0.1:1/pypi/files/pure/1.01/pure-1.01-py3-none-any.whl");
    assert_eq!(url["digests"]["sha256"], digits(&released.files[0].1));
    assert_eq!((&url["packagetype"], &document["info"]["version"]), (&"bdist_wheel".into(), &"1.01".into()));
    // The plug-in lies where no project does, and says nothing but where the repository is.
    let client = pypi.client(base);
    let plugin = client.files.iter().find(|(path, _)| path.to_string().ends_with(".py")).expect("the plug-in");
    assert_eq!(plugin.0.to_string(), "run/bulla/poetry/bulla_poetry.py");
    assert!(String::from_utf8_lossy(plugin.1).contains("url=\"http://127.0.0.1:1/pypi/\""));
    assert_eq!(client.env["PYTHONPATH"], "/run/bulla/poetry");
    assert!(read("uv.lock", "version = 1\n").expect("a lock file").client(base).files.is_empty(), "the control");
    let told = |path: &str| {
        let request = deps::Request { method: "GET".to_owned(), path: path.to_owned() };
        pypi.diagnose(&request).unwrap_or_default()
    };
    let other = told("/pypi/pypi/pure/2.0/json");
    assert!(other.contains("asked for pure 2.0; poetry.lock has 1.01. Run `poetry lock`"), "{other}");
    assert!(told("/pypi/pypi/flask/3.0/json").contains("flask, which poetry.lock does not have"));
    assert!(told("/pypi/pypi/flask/json").contains("of which only single versions are there"));
}

#[test]
fn what_is_denied_is_no_source_of_poetrys() {
    let released = Released::new("speedups", "1.0", &SPEEDUPS);
    let source = Source::of(&[("poetry.lock", &whole(&[entry(&released, "")], "2.1"))]);
    let path = CleanPath::parse("poetry.lock").expect("a path");
    let read = |allow: &[&str]| {
        let allow = allow.iter().map(|&name| name.to_owned()).collect();
        let stage = Stage { scripts: InstallScripts::Deny { allow }, ..Stage::default() };
        Pypi::read(&source, &path, &stage).expect("a lock file")
    };
    assert_eq!(artifacts(&read(&[])), [SPEEDUPS[0], SPEEDUPS[1]]);
    assert_eq!(read(&[]).client("").env["POETRY_INSTALLER_ONLY_BINARY"], ":all:");
    // The control.
    assert_eq!(artifacts(&read(&["speedups"])), [SPEEDUPS[0], SPEEDUPS[1], SPEEDUPS[6]]);
    // What came is looked at, as of every lock file.
    let evil = packed(SPEEDUPS[0], "evil", "1.0");
    let pypi = read(&[]);
    let bodies = Kept(vec![evil, released.files[1].1.clone()]);
    let error = pypi.repository(&bodies, "").expect_err("another package");
    assert!(error.to_string().contains("it is of the package `evil`"), "{error}");
}
