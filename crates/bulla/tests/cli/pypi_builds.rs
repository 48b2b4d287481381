//! What packages of Python are built with, which no lock file of what is installed has: observed once, pinned, and served from then on.

use bulla_model::Digest;
use bulla_testkit::{Fault, Project, PythonIndex, PythonPackage, TestEnvironment, python::requirements};

use super::{
    maven::observe,
    modules::unpacked,
    proxy::uv_deb,
    pypi::{install, project, python_world, tree, use_index},
};

const OBSERVED: &str = "{pypi: requirements.txt, build-dependencies: observed}";

/// A package that is built from source by another one, which needs a third.
fn packages() -> [PythonPackage; 3] {
    [
        PythonPackage::source("made", "1.0", &["maker"]),
        PythonPackage::new("maker", "1.0").depends("helper>=2"),
        PythonPackage::new("helper", "2.0").and_source(),
    ]
}

fn of(dependency: &str, steps: &[&str], made: &PythonPackage) -> Project {
    project(dependency, steps, &[("requirements.txt", requirements(&[made]))])
}

#[test]
fn what_builds_a_package_is_observed_pinned_and_served() {
    let test = "build dependencies of Python";
    let Some(world) = python_world(test) else { return };
    let [made, maker, helper] = packages();
    let index = PythonIndex::serve(&[&made, &maker, &helper]);
    use_index(&world.environment, &index);
    let project = of(OBSERVED, &[&install("requirements.txt")], &made);
    let ran = world.build(&project, &[]).failure(3);
    assert!(
        ran.stderr.contains("they were never observed") && ran.stderr.contains("`bulla lock --observe build`"),
        "{}",
        ran.stderr
    );
    let ran = observe(&world.environment, &project, &[]).success();
    assert!(ran.stderr.contains("build: 2 files of pypi, 0 that are not there"), "{}", ran.stderr);
    let lock = project.read("bulla.lock");
    let line = |package: &PythonPackage| {
        let (file, bytes) = package.released().remove(0);
        let (name, version) = (&package.name, &package.version);
        format!(
            "    {{ path = \"{name}/{version}/{file}\", status = 200, size = {}, digest = \"{}\", purl = \"pkg:pypi/{name}@{version}\", verified = \"checksum of the registry\" }},\n",
            bytes.len(),
            Digest::of(&bytes)
        )
    };
    let pins = format!(
        "[[observed]]\nstage = \"build\"\nregistry = \"pypi\"\nanswers = [\n{}{}]\n",
        line(&helper),
        line(&maker)
    );
    assert!(lock.contains(&pins), "{lock}");
    assert!(!lock.contains("127.0.0.1"));
    // The build is given exactly these, though there are newer ones by now, and on another machine too.
    let newer = PythonPackage::new("maker", "1.1");
    let index = PythonIndex::serve(&[&made, &maker, &newer, &helper]);
    use_index(&world.environment, &index);
    let ran = world.build(&project, &[]).success();
    assert!(ran.stderr.contains("and by no lock file: build/1 (pypi)."), "{}", ran.stderr);
    assert!(tree(&unpacked(&project).path().join("out")).contains_key("made.py"));
    let cold = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &world.repo, &world.mirror);
    use_index(&cold, &index);
    assert_eq!(cold.run(&project, &["build"]).success().stdout, ran.stdout);
    let asked = index.asked();
    assert!(asked.iter().any(|path| path.ends_with("maker-1.0-py3-none-any.whl")), "{asked:?}");
    assert!(!asked.iter().any(|path| path.contains("maker-1.1") || path.ends_with("helper-2.0.tar.gz")), "{asked:?}");
    // A locked build wants a reason.
    let ran = world.build(&project, &["--locked"]).failure(7);
    assert!(ran.stderr.contains("`locked-observed: REASON`"), "{}", ran.stderr);
    // What is new is a refusal that says what to do, and comes by observing again.
    let other = PythonPackage::source("made", "1.0", &["maker", "plain"]);
    let index = PythonIndex::serve(&[&other, &maker, &helper, &PythonPackage::new("plain", "1.0")]);
    use_index(&world.environment, &index);
    project.write("app/requirements.txt", requirements(&[&other]));
    let ran = world.build(&project, &[]);
    assert_ne!(ran.code, Some(0));
    assert!(
        ran.stderr.contains("a client asked for plain") && ran.stderr.contains("`bulla lock --observe build`"),
        "{}",
        ran.stderr
    );
    let ran = observe(&world.environment, &project, &[]).success();
    assert!(ran.stderr.contains("; 1 new or changed, 0 gone"), "{}", ran.stderr);
    world.build(&project, &[]).success();
}

#[test]
fn an_index_that_gives_other_bytes_than_it_lists_pins_nothing() {
    let test = "a hostile index while it is observed";
    let Some(world) = python_world(test) else { return };
    let [made, maker, helper] = packages();
    let project = of(OBSERVED, &[&install("requirements.txt")], &made);
    for (path, fault, words) in [
        (maker.path(), Fault::Bytes(b"evil".to_vec()), "and the index lists"),
        ("/simple/maker/".to_owned(), Fault::Bytes(b"evil".to_vec()), "neither JSON nor HTML"),
        ("/simple/maker/".to_owned(), Fault::Redirect("http://169.254.169.254/latest/".to_owned()), "169.254.169.254"),
    ] {
        // One that has no page of the package but the wrong one.
        let all = [&made, &helper, &maker];
        let index = PythonIndex::serve(if path.starts_with("/simple/") { &all[..2] } else { &all });
        use_index(&world.environment, &index);
        index.mirror.fault(&path, fault);
        let ran = observe(&world.environment, &project, &[]);
        assert!(ran.code != Some(0) && ran.stderr.contains(words), "{words}: {}", ran.stderr);
        assert!(!project.read("bulla.lock").contains("[[observed]]"));
    }
    // The control, and what is pinned is not replaced later.
    let index = PythonIndex::serve(&[&made, &maker, &helper]);
    use_index(&world.environment, &index);
    observe(&world.environment, &project, &[]).success();
    let cold = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &world.repo, &world.mirror);
    let evil = PythonPackage::new("maker", "1.0").file("evil.py", "evil");
    let others = PythonIndex::serve(&[&made, &evil, &helper]);
    use_index(&cold, &others);
    let ran = cold.run(&project, &["build"]);
    assert!(ran.code != Some(0) && ran.stderr.contains("maker 1.0"), "{}", ran.stderr);
    use_index(&cold, &index);
    cold.run(&project, &["build"]).success();
}

#[test]
fn nothing_but_pages_of_names_and_files_that_they_list_is_asked_for() {
    let test = "what is asked of an index while it is observed";
    let Some(world) = python_world(test) else { return };
    let [made, maker, helper] = packages();
    let index = PythonIndex::serve(&[&made, &maker, &helper]);
    use_index(&world.environment, &index);
    let base = "b=http://127.0.0.1:8417/pypi; mkdir out; get() { busybox wget -q -O - \"$b/$1\" || true; }; ";
    let tries = |step: &str, budget: &[&str]| {
        let project = of(OBSERVED, &[&format!("{base}{step}")], &made);
        let ran = observe(&world.environment, &project, budget);
        let asked: Vec<String> = index.asked().into_iter().filter(|path| !path.contains("made")).collect();
        (ran, asked, project)
    };
    for step in [
        "get simple/Maker/",
        "get simple/../secret/",
        "get 'simple/maker/?q=secret'",
        "get files/maker/1.0/maker-1.0-py3-none-any.whl",
        "get files/maker/1.0/secret-1.0.tar.gz",
        "busybox wget -q -O - --post-data secret $b/simple/maker/ || true",
    ] {
        let (ran, asked, project) = tries(step, &[]);
        assert!(ran.stderr.contains("refused"), "{step}: {}", ran.stderr);
        assert_eq!(asked, Vec::<String>::new(), "{step}");
        assert!(!project.read("bulla.lock").contains("status = 200"), "{step}");
    }
    // Names that spell a message are cut short.
    let message = "for n in $(seq 12); do get simple/secret$n/; done";
    let (ran, asked, _) = tries(message, &["--absent", "5"]);
    ran.failure(7);
    assert_eq!(asked.len(), 6, "the one too many is asked for, and none after it");
    // The controls.
    assert_eq!(tries(message, &["--absent", "12"]).1.len(), 12);
    let (ran, asked, project) = tries("get simple/maker/; get files/maker/1.0/maker-1.0-py3-none-any.whl >out/x", &[]);
    assert!(!ran.stderr.contains("refused"), "{}", ran.stderr);
    assert_eq!(asked, [maker.path(), "/simple/maker/".to_owned()]);
    assert!(project.read("bulla.lock").contains("maker-1.0-py3-none-any.whl"));
}

#[test]
fn what_cannot_be_observed_is_said_with_what_to_do() {
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    let [made, ..] = packages();
    let ran = environment
        .run(&of("{npm: package-lock.json, build-dependencies: observed}", &["true"], &made), &["check"])
        .failure(3);
    assert!(ran.stderr.contains("only packages of Python have build dependencies of their own"), "{}", ran.stderr);
}

#[test]
fn an_index_that_requirements_name_is_answered_for_while_it_is_observed() {
    let test = "an index of requirements while it is observed";
    let Some(world) = python_world(test) else { return };
    let [made, maker, helper] = packages();
    let index = PythonIndex::serve(&[&made, &maker, &helper]);
    use_index(&world.environment, &index);
    let lock = format!("--index-url https://index.example/root/simple\n{}", requirements(&[&made]));
    let project = project(OBSERVED, &[&install("requirements.txt")], &[("requirements.txt", lock)]);
    let ran = observe(&world.environment, &project, &[]).success();
    assert!(ran.stderr.contains("build: 2 files of pypi, 0 that are not there"), "{}", ran.stderr);
    world.build(&project, &[]).success();
    assert!(tree(&unpacked(&project).path().join("out")).contains_key("made.py"));
}

/// A `uv.lock` of a package that there is as a source alone.
fn uv_lock(made: &PythonPackage) -> String {
    let (file, bytes) = made.released().remove(0);
    let (name, hash, size) = (&made.name, Digest::of(&bytes).hex(), bytes.len());
    format!(
        "version = 1\nrequires-python = \">=3.9\"\n\n[[package]]\nname = \"app\"\nversion = \"1.0\"\nsource = {{ virtual = \".\" }}\ndependencies = [\n    {{ name = \"{name}\" }},\n]\n\n\
         [package.metadata]\nrequires-dist = [{{ name = \"{name}\" }}]\n\n[[package]]\nname = \"{name}\"\nversion = \"1.0\"\nsource = {{ registry = \"https://registry.example/root/simple\" }}\n\
         sdist = {{ url = \"https://files.example/{file}\", hash = \"sha256:{hash}\", size = {size} }}\n"
    )
}

#[test]
fn what_uv_sync_builds_with_is_observed_through_the_addresses_of_its_lock_file() {
    let test = "build dependencies of uv sync";
    let Some(uv) = uv_deb(test) else { return };
    let Some(mut world) = python_world(test) else { return };
    world.publish(&uv);
    let [made, maker, helper] = packages();
    let index = PythonIndex::serve(&[&made, &maker, &helper]);
    use_index(&world.environment, &index);
    let of = |step: &str| {
        let manifest =
            "[project]\nname = \"app\"\nversion = \"1.0\"\nrequires-python = \">=3.9\"\ndependencies = [\"made\"]\n";
        let files = [("uv.lock", uv_lock(&made)), ("pyproject.toml", manifest.to_owned())];
        let project = project("{pypi: uv.lock, build-dependencies: observed}", &[step], &files);
        let spec = project.read("bulla.yaml").replace("packages: [tools, python3]", "packages: [tools, python3, uv]");
        project.file("bulla.yaml", spec)
    };
    let sync = "mkdir -p /tmp; uv sync --frozen; .venv/bin/python -c 'import made; print(made.SAYS)' >out; rm -r .venv";
    let project = of(sync);
    let ran = observe(&world.environment, &project, &[]).success();
    assert!(ran.stderr.contains("build: 2 files of pypi, 0 that are not there"), "{}", ran.stderr);
    let lock = project.read("bulla.lock");
    assert!(lock.contains("maker/1.0/maker-1.0-py3-none-any.whl") && !lock.contains("example"), "{lock}");
    // Builds are given these; only pages are asked for, which say where they are.
    index.asked();
    let ran = world.build(&project, &[]).success();
    assert_eq!(fs_err::read_to_string(unpacked(&project).path().join("out")).expect("words"), "made 1.0\n");
    assert!(!ran.stderr.contains("refused"), "{}", ran.stderr);
    assert!(index.asked().iter().all(|path| path.starts_with("/simple/")));
    assert_eq!(world.build(&project, &["--no-cache"]).success().stdout, ran.stdout);
    assert_eq!(index.asked(), [""; 0]);
    // A step reaches nothing by the hosts that are answered for, and no other one.
    let tried = |python: &str| {
        let step = format!(
            "python3 -c 'import ssl, urllib.request as u, os; c = ssl.create_default_context(cafile=os.environ[\"SSL_CERT_FILE\"]); {python}' || true; echo >out"
        );
        let ran = observe(&world.environment, &of(&step), &[]);
        (ran, index.asked())
    };
    for (python, asked) in [
        ("u.urlopen(\"https://registry.example/root/simple/maker/?secret\", context=c)", 0),
        ("u.urlopen(\"https://registry.example/other/simple/maker/\", context=c)", 0),
        ("u.urlopen(\"https://files.example/secret\", context=c)", 0),
        ("u.urlopen(\"https://other.example/root/simple/maker/\", context=c)", 0),
        (
            "u.urlopen(u.Request(\"https://registry.example/root/simple/maker/\", headers={\"Host\": \"other.example\"}), context=c)",
            0,
        ),
        ("u.urlopen(u.Request(\"https://registry.example/root/simple/maker/\", data=b\"secret\"), context=c)", 0),
    ] {
        let (ran, found) = tried(python);
        assert_eq!(found.iter().filter(|path| !path.contains("made")).count(), asked, "{python}: {found:?}");
        assert!(ran.stderr.contains("refused"), "{python}: {}", ran.stderr);
    }
    // A client that does not believe the certificate is told, and the control is answered.
    let (ran, _) = tried(
        "u.urlopen(\"https://registry.example/root/simple/maker/\", context=ssl.create_default_context(cafile=\"/dev/null\") if 0 else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))",
    );
    assert!(ran.stderr.contains("TLS"), "{}", ran.stderr);
    let (ran, found) = tried("u.urlopen(\"https://registry.example/root/simple/maker/\", context=c)");
    assert!(
        !ran.stderr.contains("refused") && found.contains(&"/simple/maker/".to_owned()),
        "{found:?}: {}",
        ran.stderr
    );
}
