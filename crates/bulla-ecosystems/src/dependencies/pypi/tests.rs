//! Lock files as they are written, and what is made of them.

use std::{
    collections::BTreeMap,
    io::{self, Cursor, Write},
};

use bulla_model::CleanPath;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::dependencies::{self as deps, Body};

/// Files of a source.
#[derive(Debug, Default)]
pub(super) struct Source(pub(super) BTreeMap<String, String>);

impl Source {
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }
}

impl Files for Source {
    fn read(&self, path: &CleanPath, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let bytes = self.0.get(&path.to_string()).map(|text| text.clone().into_bytes());
        match bytes.as_ref().is_some_and(|bytes| bytes.len() as u64 > limit) {
            true => Err(io::Error::other("it is too long")),
            false => Ok(bytes),
        }
    }
}

pub(super) fn read(file: &str, text: &str) -> Result<Pypi, LockFileError> {
    Pypi::read(&Source::of(&[(file, text)]), &CleanPath::parse(file).expect("a path"), &Stage::default())
}

pub(super) fn artifacts(pypi: &Pypi) -> Vec<&str> {
    pypi.locked().artifacts.iter().map(|artifact| artifact.file.as_str()).collect()
}

/// A wheel or source package that is of a package as its metadata say.
pub(super) fn packed(file: &str, name: &str, version: &str) -> Vec<u8> {
    let metadata =
        format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: >=3.8\n\nName: {file}\n");
    let folder = format!("{}-{version}", name.replace('-', "_"));
    if file.ends_with(".tar.gz") {
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let mut head = tar::Header::new_ustar();
        head.set_size(metadata.len() as u64);
        head.set_mode(0o644);
        tar.append_data(&mut head, format!("{folder}/PKG-INFO"), metadata.as_bytes()).expect("an entry");
        return tar.into_inner().expect("a tar").finish().expect("a gz");
    }
    zipped(&[(&format!("{folder}.dist-info/METADATA"), metadata.as_bytes())])
}

pub(super) fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).expect("an entry");
        zip.write_all(bytes).expect("its bytes");
    }
    zip.finish().expect("a zip").into_inner()
}

pub(super) fn digits(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Verified bytes, as the store has them.
pub(super) struct Kept(pub(super) Vec<Vec<u8>>);

impl Bodies for Kept {
    fn open(&self, artifact: usize) -> io::Result<Box<dyn ReadSeek + '_>> {
        Ok(Box::new(Cursor::new(self.0.get(artifact).ok_or(io::ErrorKind::NotFound)?.as_slice())))
    }
}

/// A release of one package: its files by name.
pub(super) struct Released {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) files: Vec<(String, Vec<u8>)>,
}

impl Released {
    pub(super) fn new(name: &'static str, version: &'static str, files: &[&str]) -> Self {
        let files = files.iter().map(|file| ((*file).to_owned(), packed(file, name, version))).collect();
        Self { name, version, files }
    }

    /// The entry of it in `requirements.txt`.
    pub(super) fn required(&self) -> String {
        let hashes = self.files.iter().map(|(_, bytes)| format!(" \\\n    --hash=sha256:{}", digits(bytes)));
        format!("{}=={}{}\n", self.name, self.version, hashes.collect::<String>())
    }

    /// The page of it, as the registry has it.
    pub(super) fn page(&self) -> Vec<u8> {
        let files = self.files.iter().map(|(file, bytes)| {
            serde_json::json!({ "filename": file, "url": format!("../../packages/{file}"), "hashes": { "sha256": digits(bytes) } })
        });
        serde_json::json!({ "meta": { "api-version": "1.1" }, "files": files.collect::<Vec<_>>() })
            .to_string()
            .into_bytes()
    }

    /// What the store has of artifacts.
    pub(super) fn kept(&self, pypi: &Pypi) -> Kept {
        let body = |file: &str| self.files.iter().find(|(name, _)| name == file).expect("a file").1.clone();
        Kept(artifacts(pypi).into_iter().map(body).collect())
    }
}

pub(super) const SPEEDUPS: [&str; 7] = [
    "speedups-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "speedups-1.0-cp313-cp313-manylinux_2_28_x86_64.whl",
    "speedups-1.0-cp313-cp313-musllinux_1_2_x86_64.whl",
    "speedups-1.0-cp313-cp313-win_amd64.whl",
    "speedups-1.0-cp313-cp313t-manylinux_2_28_x86_64.whl",
    "speedups-1.0-pp310-pypy310_pp73-manylinux_2_17_x86_64.whl",
    "speedups-1.0.tar.gz",
];

pub(super) fn answered(lock: &str, released: &Released) -> Result<Pypi, ArtifactError> {
    let mut pypi = read("requirements.txt", lock).expect("a lock file");
    let question = pypi.questions().remove(0);
    pypi.answer(&question, Some(&released.page()))?;
    Ok(pypi)
}

#[test]
fn requirements_are_hashes_until_the_registry_says_which_files_they_are() {
    let released = Released::new("speedups", "1.0", &SPEEDUPS);
    let lock = format!("# made by hand\n{} # via -r x.in\n", released.required());
    let mut pypi = read("requirements.txt", &lock).expect("a lock file");
    assert_eq!(pypi.locked().artifacts.len(), 7);
    assert!(pypi.locked().artifacts.iter().all(|artifact| artifact.places.is_empty() && artifact.line == 2));
    let questions = pypi.questions();
    assert_eq!(questions.iter().map(|question| question.name.as_str()).collect::<Vec<_>>(), ["speedups"]);
    pypi.answer(&questions[0], Some(&released.page())).expect("an answer");
    assert!(pypi.questions().is_empty());
    assert_eq!(artifacts(&pypi), [SPEEDUPS[0], SPEEDUPS[1], SPEEDUPS[6]]);
    let place = Place::Registry(format!("../packages/{}", SPEEDUPS[0]));
    assert_eq!(pypi.locked().artifacts[0].places, [place]);
    let kept = pypi.kept(&questions[0]).expect("what was used");
    let mut again = read("requirements.txt", &lock).expect("a lock file");
    again.answer(&questions[0], Some(&kept)).expect("an answer");
    assert_eq!(again.locked(), pypi.locked(), "what is kept answers the same");
}

#[test]
fn a_wheel_for_every_python_leaves_the_source_out() {
    let pure = Released::new("pure", "1.0", &["pure-1.0-py3-none-any.whl", "pure-1.0.tar.gz"]);
    assert_eq!(artifacts(&answered(&pure.required(), &pure).expect("an answer")), ["pure-1.0-py3-none-any.whl"]);
    let stable = Released::new("stable", "1", &["stable-1-cp38-abi3-manylinux_2_28_x86_64.whl", "stable-1.tar.gz"]);
    assert_eq!(artifacts(&answered(&stable.required(), &stable).expect("an answer")).len(), 1);
    let forced = format!("--no-binary pure\n{}", pure.required());
    assert_eq!(artifacts(&answered(&forced, &pure).expect("an answer")), ["pure-1.0.tar.gz"]);
    let speedups = Released::new("speedups", "1.0", &SPEEDUPS);
    let never = format!("--only-binary :all:\n{}", speedups.required());
    assert_eq!(artifacts(&answered(&never, &speedups).expect("an answer")), [SPEEDUPS[0], SPEEDUPS[1]]);
}

#[test]
fn a_python_that_is_known_needs_its_own_wheel_alone() {
    let released = Released::new("speedups", "1.0", &SPEEDUPS);
    let source = Source::of(&[("requirements.txt", &released.required())]);
    let stage = Stage { pythons: Pythons::exactly(13), ..Stage::default() };
    let mut pypi = Pypi::read(&source, &CleanPath::parse("requirements.txt").expect("a path"), &stage).expect("a lock");
    let question = pypi.questions().remove(0);
    pypi.answer(&question, Some(&released.page())).expect("an answer");
    assert_eq!(artifacts(&pypi), [SPEEDUPS[1]]);
}

#[test]
fn requirements_are_read_as_pip_reads_them() {
    let a = "a".repeat(64);
    let b = "b".repeat(64);
    let text = format!(
        "\u{feff}--index-url https://me:secret@registry.example/simple\r\n\
         -r more/dev.txt\r\n\
         -c constraints.txt\n\
         Zope.Interface[test,x] == 5.0 ; python_version >= '3.8' --hash=sha256:{a} --hash=sha256:{b}   # a comment\n\
         colorama==0.4.6 ; sys_platform == 'win32' \\\n  --hash=sha256:{a}\n\
         six===1.16.0 \\\n\
         # not the end\n\
         \n\
         -e .\n./vendor/local-1.0-py3-none-any.whl\nlocal @ file:///src/app/local\n\
         numpy==1.26.4 ; python_version < '3.12' \\\n    --hash=sha256:{a}\n\
         numpy==2.0.0 ; python_version >= '3.12' \\\n    --hash=sha256:{b}\n"
    );
    let text =
        text.replace("six===1.16.0 \\\n# not the end\n", &format!("six===1.16.0 --hash sha256:{a} \\\n# the end\n"));
    let source = Source::of(&[
        ("app/requirements.txt", &text),
        ("app/more/dev.txt", &format!("-r ../../base.txt\npytest==8.0 --hash=sha256:{a}\n")),
        ("base.txt", &format!("pytest==8.0 --hash=sha256:{a}\n")),
        ("app/constraints.txt", "pytest<9\ngit+https://git.example/x\n"),
    ]);
    let path = CleanPath::parse("app/requirements.txt").expect("a path");
    let pypi = Pypi::read(&source, &path, &Stage::default()).expect("a lock file");
    let found: Vec<_> = pypi.reading.packages.iter().map(package::Package::shown).collect();
    assert_eq!(found, ["pytest 8.0", "zope-interface 5.0", "six 1.16.0", "numpy 1.26.4", "numpy 2.0.0"]);
    let remarks = pypi.remarks().join("\n");
    assert!(remarks.contains("app/requirements.txt:1: `--index-url` is not followed"), "{remarks}");
    assert!(!remarks.contains("secret"), "{remarks}");
    assert_eq!(pypi.mirrored(), []);
}

#[test]
fn indexes_that_a_lock_file_names_are_answered_for() {
    let a = "a".repeat(64);
    let read = |lines: String| {
        let text = format!("{lines}six==1.16.0 --hash=sha256:{a}\n");
        let source = Source::of(&[("requirements.txt", &text)]);
        Pypi::read(&source, &CleanPath::parse("requirements.txt").expect("a path"), &Stage::default())
    };
    let text = "-i https://one.example/root/simple\n--extra-index-url https://one.example/root/simple/\n--extra-index-url http://two.example\n";
    let pypi = read(text.to_owned()).expect("a lock file");
    assert_eq!(pypi.remarks(), Vec::<String>::new());
    let mirrored: Vec<String> = pypi.mirrored().iter().map(|(address, below)| format!("{address} {below}")).collect();
    assert_eq!(
        mirrored,
        [
            "https://one.example/root/simple/ /pypi/simple/",
            "https://one.example/root/files/ /pypi/files/",
            "http://two.example/ /pypi/simple/",
            "http://two.example/files/ /pypi/files/",
        ]
    );
    let many = |count: usize| (0..count).map(|at| format!("--extra-index-url https://{at}.example/simple\n")).collect();
    read(many(package::MAX_INDEXES)).expect("as many as may be");
    let error = read(many(package::MAX_INDEXES + 1)).expect_err("more");
    assert_eq!((error.line, error.what.as_str()), (Some(9), "more than 8 indexes are named"));
}

#[test]
fn what_pins_nothing_is_named_with_its_line_and_the_way_out() {
    let a = "a".repeat(64);
    for (text, line, expected) in [
        ("# x\nflask==3.0.0\n".to_owned(), 2, "`flask==3.0.0` has no hash"),
        (format!("flask>=3 --hash=sha256:{a}"), 1, "`flask>=3` is not pinned by `==`"),
        (format!("flask==3.* --hash=sha256:{a}"), 1, "is not pinned"),
        (format!("flask --hash=sha256:{a}"), 1, "is not pinned"),
        ("flask==3.0.0 --hash=md5:00".to_owned(), 1, "the algorithm `md5` cannot pin anything"),
        (format!("flask==3.0.0 --hash=sha256:{}", &a[1..]), 1, "is no hash of its algorithm"),
        ("flask==3.0.0 \\\n".to_owned(), 1, "has no hash"),
        ("\ngit+https://git.example/x@v1#egg=x\n".to_owned(), 2, "is named with `v1`, which is no whole commit"),
        ("x @ git+ssh://git@git.example/x".to_owned(), 1, "which is no whole commit"),
        ("-e git+https://git.example/x".to_owned(), 1, "does not say which package it is"),
        ("x @ hg+https://hg.example/x".to_owned(), 1, "version control that is not git"),
        (format!("x @ git+https://me:word@git.example/x@{}", &a[..40]), 1, "has a login in it"),
        (
            format!("x @ git+https://git.example/x@{}\ny @ git+https://git.example/x@{}", &a[..40], "b".repeat(40)),
            2,
            "another commit of the git repository",
        ),
        (format!("https://files.example/x-1.0.zip --hash=sha256:{a}"), 1, "had from an address"),
        (format!("x @ https://files.example/x-1.0.zip --hash=sha256:{a}"), 1, "had from an address"),
        ("-r ../outside.txt".to_owned(), 1, "`../outside.txt` is not in the source"),
        ("-r /etc/passwd".to_owned(), 1, "`/etc/passwd` is not in the source"),
        ("-r https://files.example/x.txt".to_owned(), 1, "is not in the source"),
        ("-r missing.txt".to_owned(), 1, "`missing.txt` is not in the source"),
        ("-r requirements.txt".to_owned(), 1, "includes itself"),
        ("--no-index".to_owned(), 1, "makes pip ask no registry"),
        ("--nonsense".to_owned(), 1, "the option `--nonsense` is not known"),
        ("${NAME}==1".to_owned(), 1, "has a variable of somebody's environment"),
        (format!("x==1 --hash=sha256:{a}\nX==2 --hash=sha256:{a}"), 2, "x 2 is here beside 1 of line 1"),
        (format!("x==1 ; foo --hash=sha256:{a}"), 1, "a marker has no comparison"),
        (format!("x==1$2 --hash=sha256:{a}"), 1, "is no version"),
        (format!("<<<<<<< HEAD\nx==1 --hash=sha256:{a}\n=======\n>>>>>>> other\n"), 1, "a merge left its marks"),
    ] {
        let error = read("requirements.txt", &text).expect_err(&text);
        assert_eq!(error.line, Some(line), "{text}: {error}");
        assert!(error.to_string().contains(expected), "{text}: {error}");
    }
    let error = read("requirements.txt", "flask==3.0.0").expect_err("no hash");
    assert!(error.hints.join(" ").contains("pip-compile --generate-hashes"), "{error:?}");
    let error = read("requirements.txt", "x @ git+https://me:secret@git.example/x").expect_err("a login");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

fn uv(more: &str) -> String {
    let a = "a".repeat(64);
    let dist = |file: &str| format!("{{ url = \"https://files.example/{file}\", hash = \"sha256:{a}\", size = 10 }}");
    format!(
        "version = 1\nrevision = 5\nrequires-python = \">=3.12\"\n\n\
         [[package]]\nname = \"app\"\nversion = \"0.1\"\nsource = {{ virtual = \".\" }}\n\
         dependencies = [{{ name = \"speedups\", extra = [\"more\"] }}, {{ name = \"colorama\", marker = \"sys_platform == 'win32'\" }}]\n\
         [package.dev-dependencies]\ndev = [{{ name = \"pytest\" }}]\n\n\
         [[package]]\nname = \"speedups\"\nversion = \"1.0\"\nsource = {{ registry = \"https://registry.example/simple\" }}\n\
         sdist = {}\nwheels = [{}, {}, {}]\n[package.optional-dependencies]\nmore = [{{ name = \"more\" }}]\nless = [{{ name = \"less\" }}]\n\n{}{}{}{}{more}",
        dist(SPEEDUPS[6]),
        dist(SPEEDUPS[0]),
        dist(SPEEDUPS[1]),
        dist(SPEEDUPS[3]),
        ["more", "less", "pytest"].map(|name| pure(name, "registry = \"https://registry.example/simple\"")).concat(),
        pure("colorama", "registry = \"https://registry.example/simple\""),
        "",
        "",
    )
}

fn pure(name: &str, source: &str) -> String {
    let a = "a".repeat(64);
    format!(
        "[[package]]\nname = \"{name}\"\nversion = \"1.0\"\nsource = {{ {source} }}\n\
         wheels = [{{ url = \"https://files.example/{name}-1.0-py3-none-any.whl\", hash = \"sha256:{a}\" }}]\n\n"
    )
}

#[test]
fn uv_lock_gives_what_linux_needs_with_its_addresses() {
    let mut pypi = read("uv.lock", &uv("")).expect("a lock file");
    assert_eq!(
        artifacts(&pypi),
        ["more-1.0-py3-none-any.whl", "pytest-1.0-py3-none-any.whl", SPEEDUPS[1], SPEEDUPS[6]]
    );
    assert_eq!(
        pypi.locked().artifacts[0].places,
        [Place::Url("https://files.example/more-1.0-py3-none-any.whl".to_owned())]
    );
    assert_eq!(pypi.locked().artifacts[2].line, 13);
    assert!(pypi.questions().is_empty());
    let addresses = pypi.addresses();
    let told: Vec<_> = addresses.iter().map(|(address, artifact)| (address.to_string(), *artifact)).take(2).collect();
    let expected = ["more-1.0-py3-none-any.whl", "pytest-1.0-py3-none-any.whl"];
    assert_eq!(told, [0, 1].map(|at| (format!("https://files.example/{}", expected[at]), at)));
    let offers = pypi.offers();
    assert_eq!(offers.iter().map(|offer| offer.name.as_str()).collect::<Vec<_>>(), ["more", "pytest", "speedups"]);
    let a = "a".repeat(64);
    let page = format!("<a href='../x/more-1.0-py3-none-any.whl#sha256={a}'>x</a>");
    pypi.answer(&offers[0], Some(page.as_bytes())).expect("an answer");
    pypi.answer(&offers[1], None).expect("no answer is no fault");
    assert_eq!(pypi.locked().artifacts[0].places.len(), 2);
    assert_eq!(pypi.locked().artifacts[0].places[0], Place::Registry("x/more-1.0-py3-none-any.whl".to_owned()));
    assert_eq!(pypi.locked().artifacts[1].places.len(), 1);
    assert_eq!(pypi.offers().len(), 1);
    assert_eq!(pypi.addresses(), addresses, "a step's key is made of them: no page changes them");
}

#[test]
fn what_is_wrong_with_uv_lock_is_named() {
    let a = "a".repeat(64);
    let git = "git = \"https://git.example/x?rev=v1#0123\"";
    let needed = |text: String| text.replace("{ name = \"speedups\"", "{ name = \"odd\" }, { name = \"speedups\"");
    let odd = |source: &str| needed(uv(&pure("odd", source)));
    let registry = "registry = \"https://registry.example/simple\"";
    for (text, expected) in [
        ("version = 2\npackage = 3\n".to_owned(), "it is of version 2; versions 1 are known"),
        ("x = 1".to_owned(), "it has no `version`"),
        ("version = 1\n[[package]]\nname = ".to_owned(), "uv.lock:3"),
        (odd(git), "odd: the git repository `https://git.example/x` is named with `0123`, which is no whole commit"),
        (odd("url = \"https://files.example/x.zip\""), "odd is had from an address"),
        (needed(uv("")), "app-missing"),
        (odd(registry).replace("odd-1.0-py3", "evil-1.0-py3"), "`evil-1.0-py3-none-any.whl` is no file of it"),
        (
            odd(registry)
                .replace(&format!("odd-1.0-py3-none-any.whl\", hash = \"sha256:{a}\""), "odd-1.0-py3-none-any.whl\""),
            "has no hash",
        ),
        (
            odd(registry).replace("https://files.example/odd", "https://me:secret@files.example/odd"),
            "has a login in it",
        ),
        (odd(registry).replace("https://files.example/odd", "file:///odd"), "is no http or https URL"),
        (uv("").replace(">=3.12", "about 3"), "is no list of versions"),
        (uv("").replace(">=3.12", "<3"), "it is for no Python"),
        (uv(&pure("more", registry)), "`more-1.0-py3-none-any.whl` of more 1.0 is named twice"),
        (uv("<<<<<<< HEAD\n"), "a merge left its marks"),
    ] {
        let error = read("uv.lock", &text).expect_err(expected);
        let expected = if expected == "app-missing" { "it needs odd, of which there is no entry" } else { expected };
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!format!("{error:?}").contains("secret"), "{error}");
    }
    // What nothing here needs may be had from anywhere.
    read("uv.lock", &uv(&pure("unneeded", git))).expect("a lock file");
    let elsewhere = pure("here", "editable = \"../here\"").replace("wheels", "#");
    assert_eq!(artifacts(&read("uv.lock", &uv(&elsewhere)).expect("a lock file")).len(), 4);
}

#[test]
fn pylock_is_read() {
    let a = "a".repeat(64);
    let text = format!(
        "lock-version = \"1.0\"\ncreated-by = \"uv\"\nrequires-python = \">=3.12\"\nenvironments = [\"sys_platform == 'linux'\"]\n\
         [[packages]]\nname = \"speedups\"\nversion = \"1.0\"\n\
         sdist = {{ url = \"https://files.example/{0}\", upload-time = 2024-11-08T17:25:47Z, size = 1, hashes = {{ sha256 = \"{a}\", md5 = \"0\" }} }}\n\
         wheels = [{{ name = \"{1}\", url = \"https://files.example/x\", hashes = {{ sha256 = \"{a}\" }} }}]\n\
         [[packages]]\nname = \"colorama\"\nversion = \"1.0\"\nmarker = \"sys_platform == 'win32'\"\n\
         wheels = [{{ url = \"https://files.example/colorama-1.0-py3-none-any.whl\", hashes = {{ md5 = \"0\" }} }}]\n\
         [[packages]]\nname = \"here\"\ndirectory = {{ path = \".\", editable = true }}\n\
         [[packages]]\nname = \"mirrored\"\nversion = \"1\"\nwheels = [{{ name = \"mirrored-1-py3-none-any.whl\", hashes = {{ sha256 = \"{a}\" }} }}]\n",
        SPEEDUPS[6], SPEEDUPS[1],
    );
    let pypi = read("pylock.toml", &text).expect("a lock file");
    assert_eq!(artifacts(&pypi), ["mirrored-1-py3-none-any.whl", SPEEDUPS[1], SPEEDUPS[6]]);
    assert_eq!(pypi.questions().len(), 1, "what has no address is asked for");
    let vcs =
        "[[packages]]\nname = \"x\"\nvcs = { type = \"git\", url = \"https://git.example/x\", commit-id = \"0\" }\n";
    for (text, expected) in [
        (text.replace("\"1.0\"\ncreated", "\"2.0\"\ncreated"), "it is of version 2.0"),
        ("x = 1".to_owned(), "it has no `lock-version`"),
        (text.replace("sys_platform == 'linux'", "sys_platform == 'darwin'"), "it is for other environments"),
        (text.replace("marker = \"sys_platform == 'win32'\"", ""), "has no hash that can pin it"),
        (format!("{text}{vcs}"), "is named with `0`, which is no whole commit"),
        (format!("{text}{}", vcs.replace("git\"", "hg\"")), "x is had from version control that is not git"),
    ] {
        let error = read("pylock.toml", &text).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
    }
    for file in ["Pipfile.lock", "pdm.lock"] {
        assert!(read(file, "").expect_err(file).hints[0].contains("name that file"));
    }
}

#[test]
fn the_repository_has_the_locked_files_and_nothing_else() {
    let released = Released::new("speedups", "1.0", &SPEEDUPS);
    let pypi = answered(&released.required(), &released).expect("an answer");
    let repository = pypi.repository(&released.kept(&pypi), "").expect("a repository");
    let find = |path: &str, accept: Option<&str>| {
        let found = repository.routes.iter().find(|route| route.path == path && route.accept.as_deref() == accept);
        found.map(|route| match &route.answer.body {
            Body::Bytes(bytes) => String::from_utf8(bytes.clone()).expect("text"),
            Body::Artifact(at) => at.to_string(),
        })
    };
    let json = find("/pypi/simple/speedups/", Some("application/vnd.pypi.simple.v1+json")).expect("a page");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["versions"], serde_json::json!(["1.0"]));
    assert_eq!(json["files"].as_array().map(Vec::len), Some(3));
    assert_eq!(json["files"][0]["hashes"]["sha256"], digits(&released.files[0].1));
    assert_eq!(json["files"][0]["requires-python"], ">=3.8");
    let html = find("/pypi/simple/speedups/", None).expect("a page");
    let listed = index::read(html.as_bytes(), "speedups", &|_| true).expect("it is a page");
    let same = index::read(json.to_string().as_bytes(), "speedups", &|_| true).expect("it is a page");
    assert_eq!(listed, same, "both forms say the same");
    assert!(html.contains("data-requires-python=\"&gt;=3.8\""), "{html}");
    let path = format!("/pypi/files/speedups/1.0/{}", SPEEDUPS[0]);
    assert_eq!(find(&path, None).as_deref(), Some("0"));
    let metadata = find(&format!("{path}.metadata"), None).expect("metadata");
    assert_eq!(json["files"][0]["core-metadata"]["sha256"], digits(metadata.as_bytes()));
    assert_eq!(find(&format!("/pypi/files/speedups/1.0/{}.metadata", SPEEDUPS[6]), None), None);
    assert_eq!(find(&format!("/pypi/files/speedups/1.0/{}", SPEEDUPS[3]), None), None);
}

#[test]
fn a_refusal_is_told_as_what_the_lock_has_instead() {
    let released = Released::new("speedups", "1.0", &SPEEDUPS);
    let pypi = answered(&released.required(), &released).expect("an answer");
    let told = |method: &str, path: &str| {
        pypi.diagnose(&deps::Request { method: method.to_owned(), path: path.to_owned() }).unwrap_or_default()
    };
    let other = told("GET", "/pypi/files/speedups/1.1/speedups-1.1.tar.gz");
    assert!(other.contains("asked for speedups 1.1; requirements.txt has 1.0"), "{other}");
    let build = told("GET", "/pypi/simple/Setup_Tools/");
    assert!(build.contains("setup-tools") && build.contains("{pypi: build-requirements.txt}"), "{build}");
    assert!(build.contains("speedups-1.0.tar.gz"), "{build}");
    assert!(told("GET", &format!("/pypi/files/speedups/1.0/{}", SPEEDUPS[3])).contains("for this platform"));
    for words in [
        "ERROR: Could not find a version that satisfies the requirement Speedups==1.1 (from versions: 1.0)",
        "  cause: Because there is no version of speedups==1.1 and you require speedups==1.1, we can conclude",
    ] {
        let told = pypi.answer_to(words).expect("an answer");
        assert!(told.contains("asked for speedups 1.1; requirements.txt has 1.0. Add it"), "{told}");
    }
    for words in
        ["", "requirement x==1", "requirement speedups==1.0", "requirement speedups==$(x)", "requirement speedups"]
    {
        assert_eq!(pypi.answer_to(words), None, "{words}");
    }
    assert!(told("POST", "/pypi/legacy/").contains("not published"));
    assert!(told("GET", "/pypi/pypi/x/json").contains("JSON interface"));
    assert_eq!(told("GET", "/npm/x"), "");
    let wheels = Released::new("pure", "1.0", &["pure-1.0-py3-none-any.whl"]);
    let pypi = answered(&wheels.required(), &wheels).expect("an answer");
    let request = deps::Request { method: "GET".to_owned(), path: "/pypi/simple/flask/".to_owned() };
    let told = pypi.diagnose(&request).expect("a diagnosis");
    assert!(told.contains("requirements.txt does not have") && !told.contains("build-requirements"), "{told}");
}

#[test]
fn pages_of_two_lock_files_become_one() {
    let page = |version: &'static str, files: &[&str]| {
        let released = Released::new("pure", version, files);
        let pypi = answered(&released.required(), &released).expect("an answer");
        let repository = pypi.repository(&released.kept(&pypi), "").expect("a repository");
        let of_package = repository.routes.into_iter().filter(|route| route.path == "/pypi/simple/pure/");
        of_package.map(|route| (route.answer.content_type, route.answer.body)).collect::<Vec<_>>()
    };
    let (one, other) = (page("1.0", &["pure-1.0-py3-none-any.whl"]), page("2.0", &["pure-2.0-py3-none-any.whl"]));
    for ((content_type, one), (_, other)) in one.iter().zip(&other) {
        let (Body::Bytes(one), Body::Bytes(other)) = (one, other) else { panic!("pages are bytes") };
        let both = joined(content_type, one, other);
        let listed = index::read(&both, "pure", &|_| true).expect("a page");
        assert_eq!(listed.listed, 2, "{}", String::from_utf8_lossy(&both));
        assert_eq!(joined(content_type, &both, other), both, "nothing is there twice");
    }
}
