//! Crates that `Cargo.lock` has from git repositories, by commit, for the distribution's own cargo in a step that has no network.

use std::process::Command;

use bulla_testkit::{
    Crate, CrateRegistry, GitRepo, GitServer, Project, TestEnvironment, git::has_git, language, process,
};

use super::{
    cargo::{registry_of, spec_of, world},
    modules::{Real, unpacked},
};

/// Repositories, a registry, and what reaches both.
struct Gits {
    world: &'static Real,
    folder: tempfile::TempDir,
    server: GitServer,
    registry: CrateRegistry,
    environment: TestEnvironment,
}

impl Gits {
    fn new(test: &str) -> Option<Self> {
        let world = world().filter(|_| has_git(test))?;
        if let Err(why) =
            bulla_testkit::clients().and_then(|()| process::output(Command::new("cargo").arg("--version")))
        {
            bulla_testkit::skipped(test, &why);
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let server = GitServer::serve(folder.path());
        let registry = CrateRegistry::serve(&[&Crate::new("word", "1.0.0")]);
        let environment = world.environment(&settings(&server, &registry));
        Some(Self { world, folder, server, registry, environment })
    }

    fn repo(&self, name: &str) -> GitRepo {
        GitRepo::init(self.folder.path().join(format!("{name}.git")))
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{name}.git", self.server.url())
    }

    /// A project that needs crates, which the machine's own cargo has locked.
    fn project(&self, needs: &str, main: &str, steps: &[&str]) -> Project {
        let project = Project::with_spec(&spec_of("[{cargo: Cargo.lock}]", steps));
        let manifest =
            format!("[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\n{needs}");
        project.write("app/Cargo.toml", manifest);
        project.write("app/src/main.rs", format!("fn main() {{ {main} }}\n"));
        self.lock(&project, &["generate-lockfile"]);
        project
    }

    fn lock(&self, project: &Project, arguments: &[&str]) {
        let home = tempfile::tempdir().expect("a folder");
        let git = "[net]\ngit-fetch-with-cli = true\n";
        fs_err::write(home.path().join("config.toml"), format!("{}{git}", self.registry.settings())).expect("settings");
        process::output(language::cargo(&project.path("app"), home.path()).args(arguments)).expect("cargo locks");
    }
}

fn settings(server: &GitServer, registry: &CrateRegistry) -> String {
    format!("[network]\nlocal-hosts = [\"{}\"]\n{}", server.address(), registry_of(registry))
}

/// A workspace: a macro-like crate that another needs by its path, what both take from the workspace, a text at the top that a link leads to, a crate that
/// cannot be read, and one beside that nobody needs.
fn workspace(repo: &GitRepo) {
    repo.write(
        "Cargo.toml",
        "[workspace]\nmembers = ['crates/*']\nresolver = '2'\n[workspace.package]\nversion = '1.2.0'\nedition = '2021'\n[workspace.dependencies]\nword = '1'\npart = { path = 'crates/part', version = '1' }\n[workspace.lints.rust]\nunused = 'warn'\n",
    );
    repo.write("TEXT", "text of the top\n");
    repo.write(
        "crates/left/Cargo.toml",
        "[package]\nname = 'left'\nversion.workspace = true\nedition.workspace = true\n[lints]\nworkspace = true\n[dependencies]\npart.workspace = true\nword.workspace = true\n",
    );
    repo.write(
        "crates/left/src/lib.rs",
        "pub fn word() -> String { format!(\"left {} of {}{}\", env!(\"CARGO_PKG_VERSION\"), part::word(), include_str!(\"../TEXT\")) + &word::word() }\n",
    );
    repo.link("crates/left/TEXT", "../../TEXT");
    repo.write(
        "crates/part/Cargo.toml",
        "[package]\nname = 'part'\nversion.workspace = true\nedition.workspace = true\n",
    );
    repo.write("crates/part/src/lib.rs", "pub fn word() -> String { \"part\".to_owned() + env!(\"MADE\") }\n");
    repo.write("crates/part/build.rs", "fn main() { println!(\"cargo:rustc-env=MADE= made\"); }\n");
    repo.write("tests/odd/Cargo.toml", "[package]\nname = 3\n");
    repo.write("crates/unneeded/Cargo.toml", "[package]\nname = 'unneeded'\nversion = '0.1.0'\nedition = '2077'\n");
    repo.write("crates/unneeded/src/lib.rs", "");
}

const RUN: &str = "cargo run --quiet --locked >out; rm -r target";

fn said(project: &Project) -> String {
    fs_err::read_to_string(unpacked(project).path().join("out")).expect("what the program said")
}

#[test]
fn crates_of_a_workspace_at_a_commit_are_found_in_a_folder() {
    let Some(gits) = Gits::new("cargo's crates of git repositories") else { return };
    let repo = gits.repo("many");
    workspace(&repo);
    let commit = repo.commit("first");
    // Both readings of the repository: cargo itself does not read the crate of an edition that is to come, and goes on.
    repo.git(&["branch", "some/thing"]);
    repo.write("later", "");
    let later = repo.commit("later");
    for asked in [format!("rev = \"{commit}\""), "branch = \"some/thing\"".to_owned()] {
        let needs = format!("left = {{ git = \"{}\", {asked} }}\n", gits.url("many"));
        let project = gits.project(&needs, "print!(\"{}\", left::word())", &[RUN]);
        let lock = project.read("app/Cargo.lock");
        let ran = gits.environment.run(&project, &["build"]).success();
        assert_eq!(said(&project), "left 1.2.0 of part madetext of the top\nword 1.0.0");
        let name = format!("{}/many", gits.server.address());
        assert_eq!(ran.stderr.matches(&format!("+ cargo {name} {commit}")).count(), 1, "{}", ran.stderr);
        let pins = project.read("bulla.lock");
        assert_eq!(pins.matches("[[loose]]").count(), 1, "one commit is one pin: {pins}");
        assert_eq!(project.read("app/Cargo.lock"), lock, "it is as it was");
        gits.server.forget();
        let again = gits.environment.run(&project, &["build", "--no-cache", "--locked", "--allow-dirty"]).success();
        assert_eq!(again.stdout, ran.stdout);
        assert!(gits.server.asked().is_empty());
    }
    // Another store has nothing but the lock, and comes to the same commit though the branch is elsewhere.
    let needs = format!("left = {{ git = \"{}\" }}\n", gits.url("many"));
    let project = gits.project(&needs, "print!(\"{}\", left::word())", &[RUN]);
    assert!(project.read("app/Cargo.lock").contains(&later));
    gits.environment.run(&project, &["lock"]).success();
    repo.write("crates/left/src/lib.rs", "pub fn word() -> String { \"evil\".to_owned() }\n");
    repo.commit("newest");
    let cold = gits.world.cold(&settings(&gits.server, &gits.registry));
    cold.run(&project, &["build", "--locked", "--allow-dirty"]).success();
    assert!(said(&project).starts_with("left 1.2.0"));
}

#[test]
fn two_commits_of_one_repository_are_two_crates_and_scripts_of_either_can_be_denied() {
    let Some(gits) = Gits::new("cargo's crates of two commits") else { return };
    let repo = gits.repo("one");
    let write = |version: &str| {
        repo.write("Cargo.toml", format!("[package]\nname = 'one'\nversion = '{version}'\nedition = '2021'\n"));
        repo.write("src/lib.rs", format!("pub fn word() -> &'static str {{ \"{version}\" }}\n"));
        repo.commit(version)
    };
    let (first, second) = (write("1.0.0"), write("2.0.0"));
    repo.git(&["tag", "v2"]);
    let needs = format!(
        "old = {{ package = \"one\", git = \"{0}\", rev = \"{first}\" }}\nnew = {{ package = \"one\", git = \"{0}\", tag = \"v2\" }}\n",
        gits.url("one")
    );
    let project = gits.project(&needs, "print!(\"{} {}\", old::word(), new::word())", &[RUN]);
    gits.environment.run(&project, &["build"]).success();
    assert_eq!(said(&project), "1.0.0 2.0.0");
    let pins = project.read("bulla.lock");
    assert!(pins.contains(&first) && pins.contains(&second), "{pins}");
    // Of a build script, the error says which crate has it.
    let repo = gits.repo("many");
    workspace(&repo);
    repo.commit("all");
    let needs = format!("left = {{ git = \"{}\" }}\n", gits.url("many"));
    let project = gits.project(&needs, "print!(\"{}\", left::word())", &[RUN]);
    let spec = project.read("bulla.yaml");
    project.write("bulla.yaml", spec.replace("{cargo: Cargo.lock}", "{cargo: Cargo.lock, scripts: deny}"));
    let ran = gits.environment.run(&project, &["build"]).failure(3);
    assert!(ran.stderr.contains("part 1.2.0 (build script)"), "{}", ran.stderr);
    project.write("bulla.yaml", spec.replace("{cargo: Cargo.lock}", "{cargo: Cargo.lock, scripts: {allow: [part]}}"));
    gits.environment.run(&project, &["build"]).success();
}

#[test]
fn what_no_commit_has_is_an_error_that_says_it() {
    let Some(gits) = Gits::new("hostile crates of git repositories") else { return };
    let repo = gits.repo("one");
    repo.write("Cargo.toml", "[package]\nname = 'one'\nversion = '1.0.0'\nedition = '2021'\n");
    repo.write("src/lib.rs", "pub fn word() {}\n");
    let commit = repo.commit("one");
    let needs = format!("one = {{ git = \"{}\" }}\n", gits.url("one"));
    let project = gits.project(&needs, "one::word()", &["cargo build --locked; rm -r target; echo >out"]);
    let lock = project.read("app/Cargo.lock");
    gits.environment.run(&project, &["build"]).success();
    let fails = |lock: &str, code: i32, says: &str| {
        project.write("app/Cargo.lock", lock);
        let ran = gits.environment.run(&project, &["build"]).failure(code);
        assert!(ran.stderr.contains(says), "{says}: {}", ran.stderr);
    };
    fails(
        &lock.replace("name = \"one\"", "name = \"two\"").replace(" \"one\"", " \"two\""),
        5,
        "has no crate of that name",
    );
    fails(
        &lock.replace("name = \"one\"\nversion = \"1.0.0\"", "name = \"one\"\nversion = \"1.0.1\""),
        5,
        "has it in version 1.0.0",
    );
    fails(&lock.replace(&format!("#{commit}"), "#main"), 3, "Cargo.lock:13: one 1.0.0: the git repository");
    fails(&lock.replace(&format!("#{commit}"), ""), 3, "no whole commit");
    let url = gits.url("one");
    fails(&lock.replace(&url, "https://me:word@git.example/x"), 3, "has a login in it");
    fails(&lock.replace(&url, "file:///etc"), 3, "no address of a git repository");
    fails(&lock.replace(&format!("#{commit}"), &format!("?branch=a\\\"b#{commit}")), 3, "nothing that can be asked");
    // A crate that is there twice, a link in a circle, and a submodule.
    let moved = |of: &dyn Fn() -> String| lock.replace(&commit, &of());
    repo.write("copy/Cargo.toml", "[package]\nname = 'one'\nversion = '1.0.0'\n");
    fails(&moved(&|| repo.commit("twice")), 5, "the repository has it twice, in its top and in copy");
    let circle = moved(&|| {
        repo.git(&["rm", "-q", "-r", "copy"]);
        repo.link("src/up", "..");
        repo.commit("a circle")
    });
    fails(&circle, 5, "is a link in a circle");
    let submodule = moved(&|| {
        repo.git(&["rm", "-q", "src/up"]);
        repo.write(".gitmodules", "[submodule \"sub\"]\n\tpath = sub\n\turl = https://git.example/sub\n");
        repo.commit_with_submodule("sub", &commit)
    });
    fails(&submodule, 5, "the commit has a submodule, `sub`, which clients would go for");
}
