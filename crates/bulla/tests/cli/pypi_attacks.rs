//! What a hostile index, lock file or project tries when packages of Python are fetched, and where logins go; each with a control.

use bulla_testkit::{
    Fault, Project, PythonIndex, PythonPackage, Ran, TestEnvironment, contains,
    python::{Pages, requirements},
};

use super::{online, world::files};

/// A project whose stage names a lock file. Nothing is run.
pub(super) fn project(file: &str, lock: &str) -> Project {
    let spec = format!(
        "bulla: 1
name: shop
sources:
  app: {{path: .}}
stages:
  build:
    from: {{debian: trixie, suites: [trixie], packages: [make]}}
    dependencies: [{{pypi: {file}}}]
    steps:
      - pip install --require-hashes -r {file}
image:
  from: {{debian: trixie, suites: [trixie], packages: [libshop]}}
  user: 65532
"
    );
    Project::with_spec(&spec).file(file, lock)
}

/// Gives an environment whose configuration of Python's packages is this, beside that of Debian's mirror.
pub(super) fn with_pypi(environment: &TestEnvironment, text: &str) {
    let before = fs_err::read_to_string(environment.config()).expect("a configuration");
    let before = before.split("[registry.pypi]").next().unwrap_or_default();
    environment.write_config(&format!("{before}[registry.pypi]\n{text}"));
}

pub(super) fn index_of(index: &PythonIndex) -> String {
    format!("client-settings = false\nindex = \"{}\"\n", index.url())
}

fn fetch(environment: &TestEnvironment, project: &Project) -> Ran {
    environment.run(project, &["fetch"])
}

/// Lets no settings of this machine's pip and uv count.
fn without_machine(environment: TestEnvironment) -> TestEnvironment {
    environment.set("PIP_CONFIG_FILE", "/dev/null").set("UV_CONFIG_FILE", "/dev/null")
}

fn netrc(environment: &TestEnvironment, text: &str) {
    fs_err::write(environment.folder().join("home/.netrc"), text).expect("writing the logins");
}

fn has_login(index: &PythonIndex) -> bool {
    let requests = index.mirror.requests();
    assert!(!requests.is_empty(), "it was asked");
    requests.iter().any(|request| request.header("authorization").is_some())
}

#[test]
fn what_was_asked_once_is_not_asked_again() {
    let (_repo, _mirror, environment) = online();
    let package = PythonPackage::new("pure", "1.0").and_source();
    for pages in [Pages::Json, Pages::Html] {
        let index = PythonIndex::serve_as(&[&package], pages);
        let (_repo, _mirror, environment) = online();
        with_pypi(&environment, &index_of(&index));
        let project = project("requirements.txt", &requirements(&[&package]));
        fetch(&environment, &project).success();
        assert_eq!(index.asked(), ["/packages/pure/pure-1.0-py3-none-any.whl", "/simple/pure/"]);
        let accept = |path: &str| path.starts_with("/simple/");
        fetch(&environment, &project).success();
        assert_eq!(index.asked().into_iter().filter(|path| accept(path)).collect::<Vec<_>>(), [""; 0]);
    }
    // Without any index the same is an error that says which line to write.
    let environment = without_machine(environment);
    let ran = fetch(&environment, &project("requirements.txt", &requirements(&[&package])));
    assert_ne!(ran.code, Some(0));
    for expected in ["nothing says where the index of Python's packages is", "[registry.pypi]", "index-url = https://"]
    {
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
}

#[test]
fn an_index_that_gives_other_bytes_or_hides_a_file_is_refused() {
    let (_repo, _mirror, environment) = online();
    let package = PythonPackage::new("pure", "1.0");
    let evil = PythonPackage::new("pure", "1.0").file("evil.py", "x");
    let index = PythonIndex::serve(&[&package]);
    with_pypi(&environment, &index_of(&index));
    let project = project("requirements.txt", &requirements(&[&package]));
    index.mirror.fault(&package.path(), Fault::Bytes(evil.released()[0].1.clone()));
    let ran = fetch(&environment, &project).failure(5);
    assert!(ran.stderr.contains("fetching pure 1.0, which requirements.txt:1 names"), "{}", ran.stderr);
    assert!(ran.stderr.contains("gives other bytes than the lock file says"), "{}", ran.stderr);
    // The page says the hash of what it gives: that is not the one of the lock.
    let other = PythonIndex::serve(&[&evil]);
    with_pypi(&environment, &index_of(&other));
    let (_repo, _mirror, fresh) = online();
    with_pypi(&fresh, &index_of(&other));
    let ran = fetch(&fresh, &project).failure(5);
    assert!(ran.stderr.contains("does not list 1 of the 1 files that requirements.txt pins"), "{}", ran.stderr);
    other.mirror.fault("/simple/pure/", Fault::Status { status: 404, times: 9, retry_after: None });
    let ran = fetch(&fresh, &project).failure(5);
    assert!(ran.stderr.contains("the registry does not have the package"), "{}", ran.stderr);
    // The control: it is what was given that was refused.
    let good = PythonIndex::serve(&[&package]);
    with_pypi(&fresh, &index_of(&good));
    fetch(&fresh, &project).success();
}

#[test]
fn a_page_or_file_without_end_ends() {
    let (_repo, _mirror, environment) = online();
    let package = PythonPackage::new("pure", "1.0");
    let index = PythonIndex::serve(&[&package]);
    with_pypi(&environment, &index_of(&index));
    let project = project("requirements.txt", &requirements(&[&package]));
    index.mirror.fault("/simple/pure/", Fault::Endless);
    let ran = fetch(&environment, &project);
    assert_ne!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn a_redirect_and_a_file_elsewhere_get_no_login() {
    let (_repo, _mirror, environment) = online();
    let package = PythonPackage::new("pure", "1.0");
    let (index, elsewhere) = (PythonIndex::serve(&[&package]), PythonIndex::serve(&[&package]));
    let environment = without_machine(environment).set("PIP_INDEX_URL", &index.url());
    netrc(&environment, "machine 127.0.0.1 login me password hidden-word\n");
    let project = project("requirements.txt", &requirements(&[&package]));
    index.mirror.fault(&package.path(), Fault::Redirect(format!("{}{}", elsewhere.mirror.url(), package.path())));
    fetch(&environment, &project).success();
    assert!(has_login(&index), "the control: who the login is for gets it");
    assert!(!has_login(&elsewhere), "nobody else does");
    for file in files(&environment.store()) {
        let bytes = fs_err::read(&file).unwrap_or_default();
        let hidden: [&[u8]; 2] = [b"hidden-word", b"bWU6aGlkZGVuLXdvcmQ"];
        assert!(!hidden.iter().any(|word| contains(&bytes, word)), "{}", file.display());
    }
}

#[test]
fn a_page_leads_to_no_place_of_this_machine_but_its_own() {
    let (_repo, _mirror, environment) = online();
    let package = PythonPackage::new("pure", "1.0");
    let (index, inside) = (PythonIndex::serve(&[]), PythonIndex::serve(&[&package]));
    with_pypi(&environment, &index_of(&index));
    let (file, bytes) = package.released().remove(0);
    let page = |origin: &str| {
        let digits = bulla_model::Digest::of(&bytes).hex();
        let page = format!("<a href=\"{origin}{}#sha256={digits}\">{file}</a>", package.path());
        index.mirror.heal();
        index.mirror.fault("/simple/pure/", Fault::Bytes(page.into_bytes()));
    };
    let project = project("requirements.txt", &requirements(&[&package]));
    page(&inside.mirror.url());
    let ran = fetch(&environment, &project);
    assert_ne!(ran.code, Some(0), "{}", ran.stderr);
    assert!(inside.mirror.requests().is_empty(), "it was asked: {}", ran.stderr);
    // The control: at its own origin a whole address is as good as a relative one.
    let (_repo, _mirror, fresh) = online();
    with_pypi(&fresh, &index_of(&index));
    page(&index.mirror.url());
    index.mirror.fault(&package.path(), Fault::Bytes(bytes.clone()));
    fetch(&fresh, &project).success();
}

#[test]
fn a_name_belongs_to_one_index() {
    let (_repo, _mirror, environment) = online();
    let (own, public) = (PythonPackage::new("acme-core", "1.0"), PythonPackage::new("pure", "1.0"));
    // Whoever publishes at the public index publishes under the team's name there too.
    let evil = PythonPackage::new("acme-core", "1.0").file("evil.py", "x");
    let (team, everybody) = (PythonIndex::serve(&[&own]), PythonIndex::serve(&[&public, &evil]));
    with_pypi(&environment, &format!("{}packages = {{\"Acme.*\" = \"{}\"}}\n", index_of(&everybody), team.url()));
    let project = project("requirements.txt", &requirements(&[&own, &public]));
    fetch(&environment, &project).success();
    assert_eq!(team.asked(), ["/packages/acme-core/acme_core-1.0-py3-none-any.whl", "/simple/acme-core/"]);
    assert_eq!(everybody.asked(), ["/packages/pure/pure-1.0-py3-none-any.whl", "/simple/pure/"]);
    // What pip would ask beside its index is not asked, and what to write is told.
    let (_repo, _mirror, fresh) = online();
    let fresh = without_machine(fresh).set("PIP_INDEX_URL", &everybody.url()).set("PIP_EXTRA_INDEX_URL", &team.url());
    let ran = fetch(&fresh, &project);
    assert_ne!(ran.code, Some(0));
    assert_eq!(team.asked(), [""; 0]);
    assert!(ran.stderr.contains("does not list 1 of the 1 files that requirements.txt pins"), "{}", ran.stderr);
}

#[test]
fn pips_own_settings_and_logins_are_used_and_those_of_the_project_are_not() {
    let (_repo, _mirror, environment) = online();
    let package = PythonPackage::new("pure", "1.0");
    let (index, evil) = (PythonIndex::serve(&[&package]), PythonIndex::serve(&[&package]));
    for name in ["/simple/pure/", &package.path()] {
        let (login, password) = ("me".to_owned(), "hidden-word".to_owned());
        index.mirror.fault(name, Fault::BasicAuth { login, password });
    }
    let lock = format!("--index-url {}\n--extra-index-url {}\n{}", evil.url(), evil.url(), requirements(&[&package]));
    let project = project("requirements.txt", &lock)
        .file("pip.conf", format!("[global]\nindex-url = {}\n", evil.url()))
        .file("uv.toml", format!("index-url = \"{}\"\n", evil.url()));
    let settings = environment.folder().join("pip.conf");
    let address = index.url().replace("http://", "http://me:hidden-word@");
    fs_err::write(&settings, format!("[global]\nindex-url = {address}\n")).expect("writing settings");
    let environment =
        environment.set("UV_CONFIG_FILE", "/dev/null").set("PIP_CONFIG_FILE", &settings.display().to_string());
    let ran = fetch(&environment, &project).success();
    assert!(evil.mirror.requests().is_empty(), "a project's settings were followed");
    assert!(!ran.stderr.contains("hidden-word") && has_login(&index), "{}", ran.stderr);
    // A wrong address is told with its line, and without its login.
    fs_err::write(&settings, "[global]\n# mine\nindex-url = ftp://me:hidden-word@x.example/\n")
        .expect("writing settings");
    let (_repo, _mirror, fresh) = online();
    let fresh = fresh.set("UV_CONFIG_FILE", "/dev/null").set("PIP_CONFIG_FILE", &settings.display().to_string());
    let ran = fetch(&fresh, &project);
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("pip.conf:3: ") && !ran.stderr.contains("hidden-word"), "{}", ran.stderr);
}

#[test]
fn addresses_of_uv_lock_are_asked_as_nobody_and_an_own_index_comes_first() {
    let (_repo, _mirror, environment) = online();
    let package = PythonPackage::new("pure", "1.0");
    let (named, own) = (PythonIndex::serve(&[&package]), PythonIndex::serve(&[&package]));
    let digits = bulla_model::Digest::of(&package.released()[0].1).hex();
    let lock = format!(
        "version = 1\nrequires-python = \">=3.9\"\n\n[[package]]\nname = \"pure\"\nversion = \"1.0\"\nsource = {{ registry = \"{}\" }}\n\
         wheels = [{{ url = \"{}{}\", hash = \"sha256:{digits}\" }}]\n",
        named.url(),
        named.mirror.url(),
        package.path()
    );
    let project = project("uv.lock", &lock);
    with_pypi(&environment, &index_of(&own));
    fetch(&environment, &project).success();
    assert_eq!(own.asked(), ["/packages/pure/pure-1.0-py3-none-any.whl", "/simple/pure/"]);
    assert_eq!(named.asked(), [""; 0]);
    // Without an index the address counts, which is one of this machine here.
    let (_repo, _mirror, fresh) = online();
    let fresh = without_machine(fresh);
    netrc(&fresh, "machine 127.0.0.1 login me password hidden-word\n");
    let ran = fetch(&fresh, &project);
    assert_ne!(ran.code, Some(0));
    assert!(named.mirror.requests().is_empty(), "it was asked: {}", ran.stderr);
    let before = fs_err::read_to_string(fresh.config()).expect("a configuration");
    fresh.write_config(&format!("{before}[network]\nlocal-hosts = [\"{}\"]\n", named.mirror.address()));
    fetch(&fresh, &project).success();
    assert!(!has_login(&named), "a lock file's address got a login");
}

#[test]
fn a_lock_file_that_is_wrong_is_named_with_its_line() {
    let (_repo, _mirror, environment) = online();
    let good = requirements(&[&PythonPackage::new("pure", "1.0")]);
    for (file, text, expected) in [
        ("requirements.txt", format!("{good}<<<<<<< HEAD\n"), "requirements.txt:3: a merge left its marks"),
        ("requirements.txt", "pure==1.0\n".to_owned(), "requirements.txt:1: `pure==1.0` has no hash"),
        ("requirements.txt", "pure==1.0 --hash=md5:ffff\n".to_owned(), "requirements.txt:1: `pure==1.0`: "),
        (
            "requirements.txt",
            format!("{good}pure==1.1 --hash=sha256:{}\n", "a".repeat(64)),
            "requirements.txt:3: pure 1.1 is here beside 1.0 of line 1",
        ),
        ("requirements.txt", good[..good.len() - 9].to_owned(), "requirements.txt:1: "),
        ("uv.lock", "version = 2\n".to_owned(), "uv.lock:1: it is of version 2; versions 1 are known"),
        ("uv.lock", "version = 1\n[[package]\n".to_owned(), "uv.lock:2: "),
        ("pylock.toml", "lock-version = \"2.0\"\n".to_owned(), "pylock.toml:1: it is of version 2.0"),
        ("Pipfile.lock", String::new(), "Pipfile.lock: it is of a kind that is not read yet"),
        ("poetry.lock", String::new(), "poetry.lock:1: it has no `lock-version`"),
    ] {
        let ran = fetch(&environment, &project(file, &text)).failure(3);
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
    }
}

#[test]
fn real_servers_are_asked() {
    let test = "a real index";
    if let Err(why) = bulla_testkit::clients() {
        return bulla_testkit::skipped(test, &why);
    }
    if !bulla_testkit::process::exists("pypi-server") {
        return bulla_testkit::skipped(test, "pypi-server is not on the path (pip install pypiserver)");
    }
    let (_repo, _mirror, environment) = online();
    let (folder, package) = (tempfile::tempdir().expect("a folder"), PythonPackage::new("pure-thing", "1.0"));
    for (file, bytes) in package.released() {
        fs_err::write(folder.path().join(file), bytes).expect("a package");
    }
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let mut server = std::process::Command::new("pypi-server");
    server.args(["run", "-i", "127.0.0.1", "-p", &free.port().to_string(), "-P", ".", "-a", "."]).arg(folder.path());
    server.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut server = server.spawn().expect("pypi-server runs");
    let begin = std::time::Instant::now();
    while std::net::TcpStream::connect(free).is_err() && begin.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    with_pypi(&environment, &format!("client-settings = false\nindex = \"http://{free}/simple\"\n"));
    let ran = fetch(&environment, &project("requirements.txt", &requirements(&[&package])));
    server.kill().and_then(|()| server.wait()).expect("it ends");
    ran.success();
}
