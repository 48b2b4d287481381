//! Packages that lock files of Python have from git repositories, by commit: locked by the clients with a network, cloned and built by them
//! in a step without one.

use std::process::Command;

use bulla_testkit::{
    GitRepo, GitServer, Project, PythonIndex, PythonPackage,
    git::has_git,
    npm::git_deb,
    poetry::{self, poetry},
    process,
    python::{PIP, debian_python, requirements, uv},
};

use super::{
    modules::unpacked,
    poetry::poetry_world,
    proxy::uv_deb,
    pypi::{project, python_world, tree, use_index},
    world::World,
};

/// A repository with two packages, one in a folder of it, of which one is built by a package of an index.
struct Gits {
    world: World,
    _index: PythonIndex,
    server: GitServer,
    repo: GitRepo,
    commit: String,
    folder: tempfile::TempDir,
}

fn part() -> PythonPackage {
    PythonPackage::source("part", "0.3", &[])
}

impl Gits {
    fn new(test: &str, mut world: World, needs: &[&str]) -> Option<Self> {
        if !has_git(test) {
            return None;
        }
        world.publish(&git_deb(test, "python3")?);
        let index = PythonIndex::serve(&[&maker()]);
        use_index(&world.environment, &index);
        let folder = tempfile::tempdir().expect("a folder");
        let server = GitServer::serve(folder.path());
        let before = fs_err::read_to_string(world.environment.config()).expect("a configuration");
        world.environment.write_config(&format!("[network]\nlocal-hosts = [\"{}\"]\n{before}", server.address()));
        let repo = GitRepo::init(folder.path().join("made.git"));
        repo.write("README", "the first");
        repo.commit("first");
        for (below, package) in [("", PythonPackage::source("made", "1.0", needs)), ("sub/", part())] {
            package.checkout().into_iter().for_each(|(path, bytes)| repo.write(&format!("{below}{path}"), bytes));
        }
        let commit = repo.commit("second");
        Some(Self { world, _index: index, server, repo, commit, folder })
    }

    fn url(&self) -> String {
        format!("{}/made.git", self.server.url())
    }
}

fn maker() -> PythonPackage {
    PythonPackage::new("maker", "1.0")
}

const IMPORTS: &str = "-c 'import made, part; print(made.SAYS, part.SAYS)' >out; cat out";

/// Locks by the machine's own uv.
fn uv_locked(test: &str, manifest: &str) -> Option<String> {
    let (uv, (python, _)) = (uv(test)?, debian_python().ok()?);
    let folder = tempfile::tempdir().expect("a folder");
    fs_err::write(folder.path().join("pyproject.toml"), manifest).expect("a project");
    let mut command = Command::new(uv);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", folder.path()).current_dir(folder.path());
    process::output(command.args(["lock", "--no-config", "--python"]).arg(python)).expect("uv locks");
    Some(fs_err::read_to_string(folder.path().join("uv.lock")).expect("a lock file"))
}

#[test]
fn uv_sync_clones_and_builds_the_commit_of_its_lock_file() {
    let test = "uv and git";
    let Some(uv) = uv_deb(test) else { return };
    let Some(mut world) = python_world(test) else { return };
    world.publish(&uv);
    let Some(gits) = Gits::new(test, world, &["maker"]) else { return };
    let (url, commit) = (gits.url(), &gits.commit);
    let manifest = format!(
        "[project]\nname = \"app\"\nversion = \"1.0\"\nrequires-python = \">=3.9\"\ndependencies = [\"made\", \"part\"]\n[tool.uv.sources]\nmade = {{ git = \"{url}\", rev = \"{commit}\" }}\npart = {{ git = \"{url}\", rev = \"{commit}\", subdirectory = \"sub\" }}\n"
    );
    let Some(lock) = uv_locked(test, &manifest) else { return };
    let of = |keys: &str, lock: &str, step: &str| {
        let files = [
            ("uv.lock", lock.to_owned()),
            ("pyproject.toml", manifest.clone()),
            ("build-requirements.txt", requirements(&[&maker()])),
        ];
        let dependencies = format!("{{pypi: uv.lock{keys}}}, {{pypi: build-requirements.txt{keys}}}");
        let project = project(&dependencies, &[step], &files);
        let spec =
            project.read("bulla.yaml").replace("packages: [tools, python3]", "packages: [tools, python3, uv, git]");
        project.file("bulla.yaml", spec)
    };
    let step = format!(
        "mkdir -p /tmp; cp uv.lock before; uv sync --locked; busybox cmp uv.lock before; .venv/bin/python {IMPORTS}; rm -r .venv"
    );
    let good = of("", &lock, &step);
    let ran = gits.world.build(&good, &[]).success();
    assert_eq!(fs_err::read_to_string(unpacked(&good).path().join("out")).expect("words"), "made 1.0 part 0.3\n");
    let name = format!("{}/made", gits.server.address());
    assert_eq!(ran.stderr.matches(&format!("+ pypi {name} {commit}")).count(), 1, "{}", ran.stderr);
    assert_eq!(good.read("bulla.lock").matches("[[loose]]").count(), 1);
    gits.server.forget();
    let again = gits.world.build(&good, &["--no-cache", "--locked", "--allow-dirty"]).success();
    assert_eq!(again.stdout, ran.stdout);
    assert!(gits.server.asked().is_empty());
    // What is denied runs nothing; what is allowed by name does.
    let ran = gits.world.build(&of(", scripts: deny", &lock, &step), &[]).failure(3);
    assert!(ran.stderr.contains("(built from a git repository)") && ran.stderr.contains("part"), "{}", ran.stderr);
    gits.world.build(&of(", scripts: {allow: [made, part, maker]}", &lock, &step), &[]).success();
    // Two commits of one repository; no commit; a login; a submodule.
    let fails = |lock: &str, code: i32, says: &str| {
        let ran = gits.world.build(&of("", lock, &step), &[]).failure(code);
        assert!(ran.stderr.contains(says), "{says}: {}", ran.stderr);
    };
    gits.repo.write(".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = https://git.example/x\n");
    let submodule = gits.repo.commit_with_submodule("x", commit);
    fails(
        &lock.replacen(&format!("#{commit}"), &format!("#{submodule}"), 1),
        3,
        "another commit of the git repository",
    );
    fails(&lock.replace(&format!("#{commit}"), &format!("#{submodule}")), 5, "the commit has a submodule, `x`");
    fails(&lock.replace(&format!("#{commit}"), ""), 3, "no whole commit");
    fails(&lock.replace(&url, "https://me:word@git.example/x"), 3, "has a login in it");
    fails(&lock.replace("subdirectory=sub", "lfs=true&subdirectory=sub"), 3, "Git LFS");
}

/// pip refuses commits in a file with hashes, for it has none of them; so a file of its own names them. uv takes both in one.
#[test]
fn pip_and_uv_clone_and_build_the_commit_of_a_requirements_file() {
    let test = "pip and git";
    let Some(uv) = uv_deb(test) else { return };
    let Some(mut world) = python_world(test) else { return };
    world.publish(&uv);
    let Some(gits) = Gits::new(test, world, &["maker"]) else { return };
    let (url, commit) = (gits.url(), &gits.commit);
    let commits = format!("made @ git+{url}@{commit}\ngit+{url}@{commit}#egg=part&subdirectory=sub\n");
    let pylock = format!(
        "lock-version = \"1.0\"\ncreated-by = \"a hand\"\n[[packages]]\nname = \"made\"\nvcs = {{ type = \"git\", url = \"{url}\", commit-id = \"{commit}\" }}\n\
         [[packages]]\nname = \"part\"\nvcs = {{ type = \"git\", url = \"{url}\", commit-id = \"{commit}\", subdirectory = \"sub\" }}\n"
    );
    let pip = format!(
        "python3 {PIP} install -q --no-compile --target /tmp/site -r commits.txt; PYTHONPATH=/tmp/site python3 {IMPORTS}"
    );
    let uv = |arguments: &str| {
        format!("uv venv -q /tmp/venv; VIRTUAL_ENV=/tmp/venv uv pip {arguments}; /tmp/venv/bin/python {IMPORTS}")
    };
    for (file, text, install) in [
        ("commits.txt", commits.clone(), pip),
        ("commits.txt", format!("{commits}{}", requirements(&[&maker()])), uv("install -r commits.txt")),
        ("pylock.toml", pylock, uv("sync pylock.toml")),
    ] {
        let files = [(file, text), ("build-requirements.txt", requirements(&[&maker()]))];
        let dependencies = match file {
            "commits.txt" if install.starts_with("uv") => format!("{{pypi: {file}}}"),
            _ => format!("{{pypi: {file}}}, {{pypi: build-requirements.txt}}"),
        };
        let project = project(&dependencies, &[&format!("mkdir -p /tmp; {install}")], &files);
        let packages = "packages: [tools, python3, uv, git]";
        let spec = project.read("bulla.yaml").replace("packages: [tools, python3]", packages);
        let project = project.file("bulla.yaml", spec);
        let ran = gits.world.build(&project, &[]).success();
        assert_eq!(
            fs_err::read_to_string(unpacked(&project).path().join("out")).expect("words"),
            "made 1.0 part 0.3\n"
        );
        gits.server.forget();
        let again = gits.world.build(&project, &["--no-cache", "--locked", "--allow-dirty"]).success();
        assert_eq!(again.stdout, ran.stdout);
        assert!(gits.server.asked().is_empty(), "{install}");
    }
}

#[test]
fn poetry_install_clones_and_builds_the_commit_of_its_lock_file() {
    let test = "Poetry and git";
    let Some(world) = poetry_world(test) else { return };
    let Some(gits) = Gits::new(test, world, &[]) else { return };
    let (url, commit) = (gits.url(), &gits.commit);
    let manifest = format!(
        "[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\npython = \"^3.9\"\nmade = {{ git = \"{url}\", rev = \"{commit}\" }}\npart = {{ git = \"{url}\", branch = \"main\", subdirectory = \"sub\" }}\n"
    );
    // Locked by the same Poetry, with a network.
    let locking = gits.folder.path().join("locking");
    fs_err::create_dir_all(&locking).expect("a folder");
    fs_err::write(locking.join("pyproject.toml"), &manifest).expect("a project");
    let folder = poetry(test).expect("it was there");
    let mut command = poetry::command(&folder, &locking, &locking.join("venv")).expect("an environment");
    process::output(command.current_dir(&locking).arg("lock")).expect("Poetry locks");
    let lock = fs_err::read_to_string(locking.join("poetry.lock")).expect("a lock file");
    assert!(lock.contains(&format!("resolved_reference = \"{commit}\"")), "{lock}");
    let step = "mkdir -p /tmp && python3 -m venv --without-pip /tmp/venv && VIRTUAL_ENV=/tmp/venv poetry install --no-root && cp -r /tmp/venv/lib/python3*/site-packages out";
    let files = [("poetry.lock", lock.clone()), ("pyproject.toml", manifest.clone())];
    let project = project("{pypi: poetry.lock}", &[step], &files);
    let spec =
        project.read("bulla.yaml").replace("packages: [tools, python3]", "packages: [tools, python3, poetry, git]");
    let project: Project = project.file("bulla.yaml", spec);
    let ran = gits.world.build(&project, &[]).success();
    let installed = tree(&unpacked(&project).path().join("out"));
    assert!(installed.contains_key("made.py") && installed.contains_key("part.py"), "{:?}", installed.keys());
    let name = format!("{}/made", gits.server.address());
    assert!(ran.stderr.contains(&format!("+ pypi {name} {commit}")), "{}", ran.stderr);
    gits.server.forget();
    gits.world.build(&project, &["--no-cache", "--locked", "--allow-dirty"]).success();
    assert!(gits.server.asked().is_empty());
    // No commit, and another address.
    for (lock, says) in [
        (lock.replace(commit.as_str(), "main"), "is named with `main`, which is no whole commit"),
        (lock.replace(&url, "file:///etc"), "no address of a git repository"),
    ] {
        project.write("app/poetry.lock", lock);
        let ran = gits.world.build(&project, &[]).failure(3);
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
    }
}
