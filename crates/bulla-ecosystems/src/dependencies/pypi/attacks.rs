//! What registries, files and strangers' lock files could do, each beside the same with nothing wrong.

use std::io::Cursor;

use super::{
    tests::{Kept, Released, SPEEDUPS, Source, answered, artifacts, digits, packed, read, zipped},
    *,
};

const PURE: &str = "pure-1.0-py3-none-any.whl";

fn refused(result: Result<impl std::fmt::Debug, ArtifactError>) -> String {
    result.expect_err("it is refused").to_string()
}

#[test]
fn a_file_of_another_package_or_version_is_refused() {
    let good = Released::new("pure", "1.0", &[PURE, "pure-1.0.tar.gz"]);
    let lock = format!("--no-binary pure\n{}", good.required());
    for lock in [good.required(), lock] {
        let pypi = answered(&lock, &good).expect("an answer");
        pypi.repository(&good.kept(&pypi), "").expect("the control: a good file is served");
        let file = artifacts(&pypi)[0];
        for (name, version, expected) in [("evil", "1.0", "of the package `evil`"), ("pure", "1.1", "of version `1.1`")]
        {
            let told = refused(pypi.repository(&Kept(vec![packed(file, name, version)]), ""));
            assert!(told.contains(expected), "{told}");
        }
        let told = refused(pypi.repository(&Kept(vec![b"nothing".to_vec()]), ""));
        assert!(told.contains("pure 1.0"), "{told}");
    }
}

#[test]
fn bytes_with_another_hash_are_not_those_of_the_lock() {
    let released = Released::new("pure", "1.0", &[PURE]);
    let pypi = answered(&released.required(), &released).expect("an answer");
    let hash = pypi.locked().artifacts[0].hashes[0];
    assert!(hash.matches(&mut Cursor::new(&released.files[0].1)).expect("the control: it is read"));
    assert!(!hash.matches(&mut Cursor::new(packed(PURE, "pure", "1.0 "))).expect("it is read"));
}

#[test]
fn a_registry_that_adds_files_changes_nothing() {
    let released = Released::new("speedups", "1.0", &SPEEDUPS);
    let alone = answered(&released.required(), &released).expect("an answer");
    let mut more = Released::new("speedups", "1.0", &SPEEDUPS);
    for file in ["speedups-1.0-cp312-cp312-manylinux_2_17_x86_64.whl", "speedups-1.1-py3-none-any.whl", "evil-9.whl"] {
        more.files.push((file.to_owned(), packed(file, "evil", "9")));
    }
    let with_more = answered(&released.required(), &more).expect("an answer");
    assert_eq!(alone.locked(), with_more.locked());
}

#[test]
fn a_registry_that_hides_wheels_has_no_source_built() {
    let all = Released::new("speedups", "1.0", &SPEEDUPS);
    let control = answered(&all.required(), &all).expect("an answer");
    assert!(artifacts(&control).contains(&SPEEDUPS[6]), "the control: with nothing hidden, the source is there");
    let hiding = |kept: &[&str]| {
        let mut released = Released::new("speedups", "1.0", &SPEEDUPS);
        released.files.retain(|(file, _)| kept.contains(&file.as_str()));
        released
    };
    let one = answered(&all.required(), &hiding(&[SPEEDUPS[1], SPEEDUPS[6]])).expect("an answer");
    assert_eq!(artifacts(&one), [SPEEDUPS[1]]);
    let told = refused(answered(&all.required(), &hiding(&[SPEEDUPS[6]])));
    assert!(told.contains("does not list 6 of the 7 files") && told.contains("hides or has lost them"), "{told}");
    assert!(refused(answered(&all.required(), &hiding(&[]))).contains("the SHA-256 of none"));
    let mut pypi = read("requirements.txt", &all.required()).expect("a lock file");
    let question = pypi.questions().remove(0);
    assert!(refused(pypi.answer(&question, None)).contains("does not have the package"));
}

#[test]
fn a_yanked_release_is_still_what_is_locked_and_clients_are_told_nothing_of_it() {
    let released = Released::new("pure", "1.0", &[PURE]);
    let digits = digits(&released.files[0].1);
    for yanked in ["false", "true", "\"broken\""] {
        let mut pypi = read("requirements.txt", &released.required()).expect("a lock file");
        let question = pypi.questions().remove(0);
        let page = format!(
            r#"{{"meta":{{"api-version":"1.0"}},"files":[{{"filename":"{PURE}","url":"{PURE}","hashes":{{"sha256":"{digits}"}},"yanked":{yanked}}}]}}"#
        );
        pypi.answer(&question, Some(page.as_bytes())).expect("an answer");
        let repository = pypi.repository(&released.kept(&pypi), "").expect("a repository");
        let said = |route: &super::super::Route| matches!(&route.answer.body, super::super::Body::Bytes(bytes) if String::from_utf8_lossy(bytes).contains("yanked"));
        assert!(repository.routes.len() > 2 && !repository.routes.iter().any(said));
        // Debian 12 has a pip that fails at the older name of metadata in JSON.
        let old = |route: &super::super::Route| matches!(&route.answer.body, super::super::Body::Bytes(bytes) if bytes.starts_with(b"{") && String::from_utf8_lossy(bytes).contains("dist-info-metadata"));
        assert!(!repository.routes.iter().any(old));
    }
}

#[test]
fn a_registry_cannot_give_a_pinned_file_another_name() {
    let good = Released::new("pure", "1.0", &[PURE]);
    answered(&good.required(), &good).expect("the control");
    for file in [
        "evil-1.0-py3-none-any.whl",
        "pure-1.1-py3-none-any.whl",
        "../../pure-1.0-py3-none-any.whl",
        "pure-1.0-py3-none-any.whl/x.whl",
    ] {
        let mut renamed = Released::new("pure", "1.0", &[PURE]);
        renamed.files[0].0 = file.to_owned();
        let told = refused(answered(&good.required(), &renamed));
        assert!(told.contains("under the name"), "{file}: {told}");
    }
    let mut twice = Released::new("pure", "1.0", &[PURE]);
    let bytes = twice.files[0].1.clone();
    twice.files.push(("pure-1.0-py2.py3-none-any.whl".to_owned(), bytes));
    assert!(refused(answered(&good.required(), &twice)).contains("one file under the names"));
    // A wheel that is said to be a source package is looked into as one.
    let mut other = Released::new("pure", "1.0", &[PURE]);
    other.files[0].0 = "pure-1.0.tar.gz".to_owned();
    let pypi = answered(&good.required(), &other).expect("the name is one of it");
    let told = refused(pypi.repository(&other.kept(&pypi), ""));
    assert!(told.contains("not a tar.gz archive"), "{told}");
}

#[test]
fn hostile_archives_are_refused_in_no_time() {
    let artifact = |file: &str| Artifact {
        name: "pure".to_owned(),
        version: "1.0".to_owned(),
        file: file.to_owned(),
        hashes: Vec::new(),
        places: Vec::new(),
        line: 1,
    };
    let wheel = |bytes: &[u8]| check(&artifact(PURE), &mut Cursor::new(bytes));
    let head = b"Name: pure\nVersion: 1.0\n\n".as_slice();
    let metadata = "pure-1.0.dist-info/METADATA";
    wheel(&zipped(&[("pure/__init__.py", b""), (metadata, head)])).expect("the control");
    let bomb = [head, &vec![b' '; 17 << 20]].concat();
    for (bytes, expected) in [
        (zipped(&[(metadata, &bomb)]), "larger than 16 MiB"),
        (zipped(&[("METADATA", head)]), "has no `….dist-info/METADATA`"),
        (zipped(&[("x/pure-1.0.dist-info/METADATA", head)]), "has no `….dist-info/METADATA`"),
        (zipped(&[(metadata, head), ("other-1.0.dist-info/METADATA", head)]), "more than one"),
        (zipped(&[(metadata, b"Name: pure\nName: evil\nVersion: 1.0\n\n")]), "`Name` twice"),
        (zipped(&[(metadata, b"\nName: pure\nVersion: 1.0\n\n")]), "no name or version"),
        (zipped(&[(metadata, b"\xff\xfe")]), "no name or version"),
        (b"PK\x05\x06".to_vec(), "it is no zip archive"),
    ] {
        let told = refused(wheel(&bytes));
        assert!(told.contains(expected), "{told}");
    }
    // Two entries of one name: which of them counts depends on who reads.
    let mut twice = zipped(&[(metadata, head), ("pure-1.0.dist-info/METADATB", b"Name: evil\nVersion: 1.0\n\n")]);
    while let Some(at) = twice.windows(8).position(|part| part == b"METADATB") {
        twice[at + 7] = b'A';
    }
    refused(wheel(&twice));
    let source = |bytes: &[u8]| check(&artifact("pure-1.0.tar.gz"), &mut Cursor::new(bytes));
    source(&packed("pure-1.0.tar.gz", "pure", "1.0")).expect("the control");
    let packed = |bytes: &[u8]| {
        let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut member, bytes).expect("memory");
        member.finish().expect("memory")
    };
    let mut head = tar::Header::new_ustar();
    head.set_path("pure-1.0/zeros").expect("a path");
    head.set_size(1 << 30);
    head.set_mode(0o644);
    head.set_cksum();
    let bomb = [packed(head.as_bytes()), packed(&vec![0; 1 << 20]).repeat(400)].concat();
    let told = refused(source(&bomb));
    assert!(told.contains("unfolds to more"), "{told}");
}

#[test]
fn fifty_thousand_entries_are_read_in_no_time() {
    use std::fmt::Write as _;
    const MANY: usize = 50_000;
    let (mut requirements, mut uv) = (String::new(), "version = 1\nrequires-python = \">=3.11\"\n".to_owned());
    for at in 0..MANY {
        let digits = digits(at.to_string().as_bytes());
        let _ = writeln!(requirements, "p{at}==1.0 ; python_version >= '3.8' \\\n    --hash=sha256:{digits}");
        let _ = write!(
            uv,
            "\n[[package]]\nname = \"p{at}\"\nversion = \"1.0\"\nsource = {{ registry = \"https://registry.example/simple\" }}\n\
             dependencies = [{{ name = \"p{}\", marker = \"sys_platform == 'linux'\" }}]\n\
             wheels = [{{ url = \"https://files.example/p{at}-1.0-py3-none-any.whl\", hash = \"sha256:{digits}\", size = 1 }}]\n",
            (at + 1) % MANY,
        );
    }
    let mut locked = read("requirements.txt", &requirements).expect("a lock file");
    let questions = locked.questions();
    assert_eq!(questions.len(), MANY);
    for question in &questions {
        let digits = digits(&question.name.as_bytes()[1..]);
        let page = format!("<a href=\"{0}-1.0-py3-none-any.whl#sha256={digits}\">x</a>", question.name);
        locked.answer(question, Some(page.as_bytes())).expect("an answer");
    }
    assert_eq!(locked.locked().artifacts.len(), MANY);
    assert!(locked.locked().artifacts.iter().all(|artifact| artifact.places.len() == 1));
    assert_eq!(read("uv.lock", &uv).expect("a lock file").locked().artifacts.len(), MANY);
    let too_many =
        (0..=crate::dependencies::MAX_ARTIFACTS).map(|at| format!("p{at}==1 --hash=sha256:{}\n", "a".repeat(64)));
    let error = read("requirements.txt", &too_many.collect::<String>()).expect_err("too many");
    assert!(error.to_string().contains("more than 100000 are not taken"), "{error}");
}

#[test]
fn files_that_include_one_another_come_to_an_end() {
    let deep: Vec<(String, String)> =
        (0..200).map(|at| (format!("r{at}.txt"), format!("-r r{}.txt\n", at + 1))).collect();
    let files: Vec<(&str, &str)> = deep.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let path = CleanPath::parse("r0.txt").expect("a path");
    let error = Pypi::read(&Source::of(&files), &path, &Stage::default()).expect_err("too many");
    assert!(error.to_string().contains("more than 100 files are included"), "{error}");
    let circle = Source::of(&[("r0.txt", "-r r1.txt"), ("r1.txt", "-r ./r0.txt")]);
    let error = Pypi::read(&circle, &path, &Stage::default()).expect_err("a circle");
    assert!(error.to_string().contains("r1.txt:1: `r0.txt` includes itself"), "{error}");
    let same = Source::of(&[("r0.txt", "-r r1.txt\n-r r1.txt"), ("r1.txt", "")]);
    Pypi::read(&same, &path, &Stage::default()).expect("the control: twice is no circle");
}

#[test]
fn denied_scripts_leave_source_packages_out_unless_they_are_allowed() {
    let all = Released::new("speedups", "1.0", &SPEEDUPS);
    let deny = |allow: &[&str], pythons: Pythons| {
        let allow = allow.iter().map(|&name| name.to_owned()).collect();
        let stage = Stage { pythons, scripts: InstallScripts::Deny { allow }, ..Stage::default() };
        let path = CleanPath::parse("requirements.txt").expect("a path");
        let mut pypi = Pypi::read(&Source::of(&[("requirements.txt", &all.required())]), &path, &stage)?;
        let question = pypi.questions().remove(0);
        pypi.answer(&question, Some(&all.page())).expect("an answer");
        Ok::<_, LockFileError>(pypi)
    };
    let sources = |pypi: &Pypi| artifacts(pypi).iter().filter(|file| file.ends_with(".tar.gz")).count();
    let ten = Pythons::exactly(63);
    let request = Request { method: "GET".to_owned(), path: "/pypi/simple/speedups/".to_owned() };
    // The control: nothing denied, and denied for others.
    for allow in [&["Speed_ups", "speedups"][..], &["Speedups"]] {
        assert_eq!(sources(&deny(allow, ten).expect("a lock file")), 1);
    }
    let denied = deny(&["other"], ten).expect("a lock file");
    assert_eq!(artifacts(&denied), [""; 0]);
    let told = denied.diagnose(&request).expect("a diagnosis");
    assert!(told.contains("speedups 1.0 of requirements.txt has no wheel that runs on CPython 3.63"), "{told}");
    assert!(told.contains("`scripts: {allow: [speedups]}`"), "{told}");
    let said = denied.answer_to("ERROR: No matching distribution found for speedups==1.0\nCould not find a version that satisfies the requirement speedups==1.0 (from x)");
    assert!(said.is_some_and(|said| said.contains("`scripts` denies")), "the same to pip's last words");
    assert_eq!(deny(&[], ten).expect("a lock file").client("http://x").env["PIP_ONLY_BINARY"], ":all:");
    assert!(!denied.client("http://x").env.contains_key("PIP_ONLY_BINARY"));
    assert!(
        !answered(&all.required(), &all).expect("an answer").client("http://x").env.contains_key("PIP_ONLY_BINARY")
    );
}
