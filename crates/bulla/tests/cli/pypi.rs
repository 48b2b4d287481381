//! Packages of Python that lock files name: fetched, and found by the unmodified pip of Debian in a step that has no network.

use std::{collections::BTreeMap, path::Path};

use bulla_testkit::{
    Project, PythonIndex, PythonPackage, TestEnvironment, process,
    python::{PIP, pip, python_deb, requirements, uv},
};

use super::{
    modules::unpacked,
    world::{World, files, spec},
};

/// Packages of which one needs another.
pub(super) fn packages() -> [PythonPackage; 3] {
    [
        PythonPackage::new("greeting", "1.2").depends("wording>=2").depends("on-windows; sys_platform == 'win32'"),
        PythonPackage::new("wording", "2.0").and_source(),
        PythonPackage::new("unneeded", "0.1"),
    ]
}

/// A world that has Python and pip too.
pub(super) fn python_world(test: &str) -> Option<World> {
    let mut world = World::new(test)?;
    world.publish(&python_deb(test)?);
    Some(world)
}

/// Lets an environment find an index, and nothing of the machine's.
pub(super) fn use_index(environment: &TestEnvironment, index: &PythonIndex) {
    let before = fs_err::read_to_string(environment.config()).expect("a configuration");
    let before = before.split("[registry.pypi]").next().unwrap_or_default();
    environment
        .write_config(&format!("{before}[registry.pypi]\nclient-settings = false\nindex = \"{}\"\n", index.url()));
}

/// The step that installs what a file of requirements has.
pub(super) fn install(file: &str) -> String {
    format!("python3 {PIP} install -q --no-compile --target out --require-hashes -r {file}")
}

/// A project whose stage names these lock files.
pub(super) fn project(dependencies: &str, steps: &[&str], files: &[(&str, String)]) -> Project {
    let stage = format!("    dependencies: [{dependencies}]\n");
    let spec = spec(&stage, steps, "/src/app/out").replace("packages: [tools]", "packages: [tools, python3]");
    files.iter().fold(Project::with_spec(&spec), |project, (file, text)| project.file(&format!("app/{file}"), text))
}

const ONE: &str = "{pypi: requirements.txt}";

fn one(steps: &[&str], lock: String) -> Project {
    project(ONE, steps, &[("requirements.txt", lock)])
}

/// Gives all files beneath a folder with their content.
pub(super) fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |path: std::path::PathBuf| {
        (path.strip_prefix(folder).expect("beneath it").display().to_string(), fs_err::read(&path).expect("a file"))
    };
    files(folder).into_iter().map(read).collect()
}

#[test]
fn pip_install_in_a_step_gives_what_it_gives_with_a_network() {
    let test = "pip install in a step";
    let Some(world) = python_world(test) else { return };
    let packages = packages();
    let index = PythonIndex::serve(&packages.iter().collect::<Vec<_>>());
    use_index(&world.environment, &index);
    let lock = requirements(&[&packages[0], &packages[1]]);
    let project = one(&[&install("requirements.txt")], lock.clone());
    let digest = world.digest(&project);
    let wanted = [
        "/packages/greeting/greeting-1.2-py3-none-any.whl",
        "/packages/wording/wording-2.0-py3-none-any.whl",
        "/simple/greeting/",
        "/simple/wording/",
    ];
    assert_eq!(index.asked(), wanted, "the source package is not needed where there is a wheel");
    assert_eq!(project.read("app/requirements.txt"), lock, "the lock file is as it was");
    let inside = unpacked(&project);
    // The same by the machine's own pip, which has the index.
    let online = tempfile::tempdir().expect("a folder");
    fs_err::write(online.path().join("requirements.txt"), &lock).expect("a lock file");
    let mut command = pip(online.path()).expect("pip");
    command.current_dir(online.path()).env("PIP_INDEX_URL", index.url());
    command.args(["install", "-q", "--no-compile", "--target", "out", "--require-hashes", "-r", "requirements.txt"]);
    process::output(&mut command).expect("pip install with a network");
    assert!(!index.asked().is_empty(), "the control: with a network the index is asked");
    let tree_inside = tree(&inside.path().join("out"));
    assert!(tree_inside.contains_key("greeting.py"), "{:?}", tree_inside.keys());
    assert_eq!(tree_inside, tree(&online.path().join("out")));
    // What is there is not asked for again, also when the step runs again.
    let again = world.build(&project, &["--no-cache"]).success();
    assert_eq!(again.stdout.trim_end(), digest);
    assert_eq!(index.asked(), [""; 0]);
}

#[test]
fn after_fetch_a_build_of_python_needs_no_network() {
    let test = "a build after bulla fetch, with pip";
    let Some(world) = python_world(test) else { return };
    let packages = packages();
    let index = PythonIndex::serve(&packages.iter().collect::<Vec<_>>());
    use_index(&world.environment, &index);
    let project = one(&[&install("requirements.txt")], requirements(&[&packages[0], &packages[1]]));
    world.environment.run(&project, &["fetch"]).success();
    assert_eq!(index.asked().len(), 4);
    // Nothing is there any more: neither a mirror nor an index.
    drop(index);
    let World { repo: _repo, mirror, environment } = world;
    drop(mirror);
    environment.run(&project, &["build"]).success();
}

#[test]
fn an_index_that_a_file_of_requirements_names_is_answered_with_what_is_locked() {
    let test = "pip with an index in its requirements";
    let Some(world) = python_world(test) else { return };
    let packages = packages();
    let index = PythonIndex::serve(&packages.iter().collect::<Vec<_>>());
    use_index(&world.environment, &index);
    let lock = requirements(&[&packages[0], &packages[1]]);
    let named =
        format!("--index-url https://index.example/root/simple\n--extra-index-url http://more.example/\n{lock}");
    let project = |step: &str, lock: &str| one(&[step], lock.to_owned());
    let ran = world.build(&project(&install("requirements.txt"), &named), &[]).success();
    assert!(!ran.stderr.contains("is not followed"), "{}", ran.stderr);
    // What is not locked is not there either, and told as it is elsewhere.
    let other = format!("python3 {PIP} install -q --target out --index-url https://index.example/root/simple requests");
    let ran = world.build(&project(&other, &named), &[]);
    assert_ne!(ran.code, Some(0));
    assert!(
        ran.stderr.contains("a client asked for requests, which requirements.txt does not have."),
        "{}",
        ran.stderr
    );
    // The control: of an index that no file names nothing is answered.
    let other = format!(
        "python3 {PIP} install -q --target out --index-url https://index.example/root/simple {}",
        packages[0].name
    );
    let ran = world.build(&project(&other, &lock), &[]);
    assert_ne!(ran.code, Some(0));
}

#[test]
fn what_is_not_in_a_lock_of_python_is_explained() {
    let test = "pip asks for what is not in the lock";
    let Some(world) = python_world(test) else { return };
    let (locked, other) = (PythonPackage::new("wording", "2.0"), PythonPackage::new("wording", "2.1"));
    let index = PythonIndex::serve(&[&locked, &other]);
    use_index(&world.environment, &index);
    let asks = |what: &str| {
        let step = format!("python3 {PIP} install -q --target out {what}");
        let ran = world.build(&one(&[&step], requirements(&[&locked])), &[]);
        assert_ne!(ran.code, Some(0), "{}", ran.stderr);
        ran.stderr
    };
    let told = asks("wording==2.1");
    assert!(told.contains("a client asked for wording 2.1; requirements.txt has 2.0."), "{told}");
    let told = asks("requests");
    assert!(told.contains("a client asked for requests, which requirements.txt does not have."), "{told}");
}

#[test]
fn several_lock_files_of_a_stage_are_served_together() {
    let test = "a source package and what builds it";
    let Some(world) = python_world(test) else { return };
    let (builder, app) =
        (PythonPackage::new("builder", "3.0"), PythonPackage::source("compiled", "1.0", &["builder==3.0"]));
    let plain = PythonPackage::new("plain", "1.0");
    let index = PythonIndex::serve(&[&builder, &app, &plain]);
    use_index(&world.environment, &index);
    let (lock, build) = (requirements(&[&app, &plain]), requirements(&[&builder, &plain]));
    // Without the second one the build says what is to be done.
    let ran = world.build(&one(&[&install("requirements.txt")], lock.clone()), &[]);
    assert_ne!(ran.code, Some(0));
    assert!(
        ran.stderr.contains("a client asked for builder, which requirements.txt does not have.")
            && ran.stderr.contains("compiled-1.0.tar.gz")
            && ran.stderr.contains("build-requirements.txt"),
        "{}",
        ran.stderr
    );
    let files = [("requirements.txt", lock), ("build-requirements.txt", build.clone())];
    let both = "{pypi: requirements.txt}, {pypi: build-requirements.txt}";
    let project = project(both, &[&install("requirements.txt")], &files);
    let digest = world.digest(&project);
    assert!(tree(&unpacked(&project).path().join("out")).contains_key("compiled.py"));
    // An update of either is one of the step; nothing of it is in bulla.lock.
    let before = project.read("bulla.lock");
    project.write("app/build-requirements.txt", format!("# made anew\n{build}"));
    let same = world.build(&project, &["--locked"]).success();
    assert_eq!(same.stdout.trim_end(), digest);
    assert_eq!(project.read("bulla.lock"), before);
}

#[test]
fn what_would_be_built_from_source_may_be_denied() {
    let test = "source packages denied";
    let Some(world) = python_world(test) else { return };
    let (own, plain) = (PythonPackage::source("compiled", "1.0", &[]), PythonPackage::new("plain", "1.0").and_source());
    let index = PythonIndex::serve(&[&own, &plain]);
    use_index(&world.environment, &index);
    let lock = requirements(&[&own, &plain]);
    let build = |scripts: &str| {
        let dependency = format!("{{pypi: requirements.txt{scripts}}}");
        let files = [("requirements.txt", lock.clone())];
        let project = project(&dependency, &[&install("requirements.txt")], &files);
        (world.build(&project, &[]), project)
    };
    let (ran, _) = build(", scripts: deny");
    assert_ne!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("compiled 1.0 of requirements.txt has no wheel")
            && ran.stderr.contains("`scripts: {allow: [compiled]}`"),
        "{}",
        ran.stderr
    );
    assert!(index.asked().iter().all(|path| !path.ends_with(".tar.gz")), "a source package was fetched");
    // The controls: with the word for it, and where nothing is denied.
    let (ran, project) = build(", scripts: {allow: [compiled]}");
    ran.success();
    assert!(tree(&unpacked(&project).path().join("out")).contains_key("compiled.py"));
    build("").0.success();
}

#[test]
fn twenty_updates_by_the_ordinary_client_build_with_the_lock_as_it_is() {
    let test = "twenty updates by uv";
    if let Err(why) = bulla_testkit::clients() {
        return bulla_testkit::skipped(test, &why);
    }
    let Some(client) = uv(test) else { return };
    let Some(world) = python_world(test) else { return };
    let mut packages = Vec::new();
    for minor in 0..5 {
        let version = format!("1.{minor}");
        packages.extend(["alpha", "beta", "delta"].map(|name| PythonPackage::new(name, &version).and_source()));
        packages.push(PythonPackage::new("gamma", &version).depends("delta>=1.1"));
    }
    let index = PythonIndex::serve(&packages.iter().collect::<Vec<_>>());
    use_index(&world.environment, &index);
    let project = one(&[&install("requirements.txt")], String::new());
    let mut before = None;
    for wanted in [
        "alpha==1.0",
        "alpha==1.1",
        "alpha==1.1 beta==1.0",
        "alpha==1.2 beta==1.0",
        "beta==1.0",
        "beta==1.1",
        "beta==1.1 gamma<1.1",
        "beta==1.1 gamma<1.1 delta<1.2",
        "beta==1.2 gamma==1.1 delta",
        "gamma==1.1",
        "gamma==1.2",
        "alpha==1.3 gamma==1.2",
        "alpha==1.3 beta==1.3 gamma==1.2",
        "alpha==1.3 beta==1.3",
        "alpha==1.4 beta==1.3",
        "alpha==1.4 beta==1.4",
        "alpha==1.4 beta==1.4 gamma==1.3",
        "alpha==1.0 beta==1.4 gamma==1.3",
        "gamma==1.3",
        "gamma==1.4 delta!=1.4",
    ] {
        project.write("app/requirements.in", wanted.replace(' ', "\n"));
        let mut uv = std::process::Command::new(&client);
        uv.args([
            "pip",
            "compile",
            "--quiet",
            "--generate-hashes",
            "--no-header",
            "--python-version",
            "3.11",
            "--no-cache",
        ]);
        uv.args([
            "--no-config",
            "--default-index",
            &index.url(),
            "requirements.in",
            "--output-file",
            "requirements.txt",
        ]);
        process::output(uv.current_dir(project.path("app"))).expect("uv locks");
        let arguments: &[&str] = if before.is_some() { &["--locked"] } else { &[] };
        world.build(&project, arguments).success();
        let now = project.read("bulla.lock");
        assert_eq!(*before.get_or_insert(now.clone()), now, "bulla.lock was touched for {wanted}");
        let installed = tree(&unpacked(&project).path().join("out"));
        let modules: Vec<&str> = installed.keys().filter_map(|path| path.strip_suffix(".py")).collect();
        let names = |text: &str| text.split(['=', '<', '!', '>']).next().unwrap_or_default().to_owned();
        let mut expected: Vec<String> = wanted.split(' ').map(names).collect();
        if wanted.contains("gamma") && !wanted.contains("delta") {
            expected.push("delta".to_owned());
        }
        expected.sort();
        assert_eq!(modules, expected, "{wanted}");
    }
}
