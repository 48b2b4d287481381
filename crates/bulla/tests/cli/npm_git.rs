//! Packages that lock files of npm, pnpm and yarn have from git repositories, by commit, for the unmodified clients in steps without a network;
//! and what hostile lock files and servers try with that.

use std::process::Command;

use bulla_testkit::{
    GitRepo, GitServer, NpmRegistry, Project, Ran, TestEnvironment,
    git::has_git,
    javascript::{client, client_deb, unpacked_client},
    npm::git_deb,
    process,
};
use serde_json::json;

use super::{
    npm::{node_world, unpacked},
    online,
    world::{World, spec},
};

/// A server of repositories, a registry without packages, and a world with Node, npm and git.
struct Gits {
    world: World,
    folder: tempfile::TempDir,
    server: GitServer,
    registry: NpmRegistry,
}

impl Gits {
    fn new(test: &str) -> Option<Self> {
        if !has_git(test) {
            return None;
        }
        let mut world = node_world(test)?;
        world.publish(&git_deb(test, "node")?);
        let folder = tempfile::tempdir().expect("a folder");
        let (server, registry) = (GitServer::serve(folder.path()), NpmRegistry::serve(&[]));
        let gits = Self { world, folder, server, registry };
        gits.configure(&gits.world.environment);
        Some(gits)
    }

    /// Lets an environment reach the servers, which are of this machine.
    fn configure(&self, environment: &TestEnvironment) {
        let before = fs_err::read_to_string(environment.config()).expect("a configuration");
        let (registry, git) = (self.registry.url(), self.server.address());
        environment.write_config(&format!(
            "{before}[network]\nlocal-hosts = [\"{git}\"]\n[registry.npm]\nnpmrc = false\nregistry = \"{registry}\"\n"
        ));
    }

    /// A repository of a package, whose commit has another one before it.
    fn package(&self, name: &str, more: serde_json::Value) -> String {
        let repo = GitRepo::init(self.folder.path().join(format!("{name}.git")));
        repo.write("README", "the first\n");
        repo.commit("first");
        let mut manifest = json!({ "name": name, "version": "1.0.0", "main": "index.js" });
        manifest.as_object_mut().expect("a map").extend(more.as_object().cloned().unwrap_or_default());
        repo.write("package.json", manifest.to_string());
        repo.write("index.js", format!("module.exports = '{name} of git';\n"));
        repo.program("bin/run", "#!/bin/sh\n");
        repo.commit("second")
    }

    fn address(&self, name: &str, commit: &str) -> String {
        format!("git+{}/{name}.git#{commit}", self.server.url())
    }
}

fn project(dependency: &str, tools: &str, steps: &[&str], lock: (&str, &str)) -> Project {
    let stage = format!("    dependencies: [{dependency}]\n");
    let spec = spec(&stage, steps, "/src/app/out").replace("packages: [tools]", &format!("packages: [tools, {tools}]"));
    Project::with_spec(&spec).file(&format!("app/{}", lock.0), lock.1)
}

fn said(project: &Project) -> String {
    let (root, _folder) = unpacked(project);
    fs_err::read_to_string(root.join("out")).expect("what the step said")
}

fn manifest(address: &str) -> String {
    json!({ "name": "app", "version": "1.0.0", "dependencies": { "left": address } }).to_string()
}

/// A lock file of npm that has one package from a repository.
fn npm_lock(wanted: &str, resolved: &str, more: serde_json::Value) -> String {
    let mut entry = json!({ "version": "1.0.0", "resolved": resolved });
    entry.as_object_mut().expect("a map").extend(more.as_object().cloned().unwrap_or_default());
    let root = json!({ "name": "app", "version": "1.0.0", "dependencies": { "left": wanted } });
    json!({ "name": "app", "version": "1.0.0", "lockfileVersion": 3, "requires": true,
        "packages": { "": root, "node_modules/left": entry } })
    .to_string()
}

const NPM: &str = "{npm: package-lock.json}";

#[test]
fn npm_ci_clones_the_commit_of_its_lock_file_out_of_a_folder() {
    let test = "npm's packages of git repositories";
    let Some(gits) = Gits::new(test) else { return };
    let commit = gits.package("left", json!({}));
    let address = gits.address("left", &commit);
    let lock = npm_lock(&address, &address, json!({}));
    let steps = ["npm ci", "node -p 'require(\"left\")' >out; test -x node_modules/left/bin/run && echo program >>out"];
    let project =
        project(NPM, "node, git", &steps, ("package-lock.json", &lock)).file("app/package.json", manifest(&address));
    let ran = gits.world.build(&project, &[]).success();
    assert_eq!(said(&project), "left of git\nprogram\n");
    let name = format!("{}/left", gits.server.address());
    assert!(ran.stderr.contains(&format!("+ npm {name} {commit}")), "{}", ran.stderr);
    let pins = project.read("bulla.lock");
    assert!(pins.contains(&format!("name = \"{name}\"\nversion = \"{commit}\"\nfile = \"git\"")), "{pins}");
    assert!(pins.contains("evidence = \"commit of the lock file\""), "{pins}");
    assert_eq!(project.read("app/package-lock.json"), lock, "it is as it was");
    // Another build asks nobody, and comes to the same.
    gits.server.forget();
    let again = gits.world.build(&project, &["--no-cache", "--locked", "--allow-dirty"]).success();
    assert_eq!(again.stdout, ran.stdout);
    assert!(gits.server.asked().is_empty());
    // Hosts of which npm takes archives, where they have some, and which it reaches by SSH else: it takes the same repository. The store has the
    // commit, by whatever address it came.
    let short = format!("git+ssh://git@github.com/acme/left.git#{commit}");
    let lock = npm_lock("github:acme/left", &short, json!({}));
    let hosted = self::project(NPM, "node, git", &steps, ("package-lock.json", &lock))
        .file("app/package.json", manifest("github:acme/left"));
    let ran = gits.world.build(&hosted, &[]).success();
    assert_eq!(said(&hosted), "left of git\nprogram\n");
    assert!(!ran.stderr.contains("refused"), "{}", ran.stderr);
    // A stage without git.
    let bare = self::project(NPM, "node", &["npm ci"], ("package-lock.json", &npm_lock(&address, &address, json!({}))))
        .file("app/package.json", manifest(&address));
    let ran = gits.world.build(&bare, &[]);
    assert!(ran.code != Some(0) && ran.stderr.contains("add `git` to its `packages`"), "{}", ran.stderr);
}

#[test]
fn a_commit_with_a_submodule_is_refused_where_npm_would_go_for_it() {
    let test = "submodules of npm's packages";
    let Some(gits) = Gits::new(test) else { return };
    let commit = gits.package("left", json!({}));
    let repo = GitRepo::at(gits.folder.path().join("left.git"));
    repo.write(".gitmodules", "[submodule \"sub\"]\n\tpath = sub\n\turl = https://git.example/sub\n");
    let with = repo.commit_with_submodule("sub", &commit);
    let attempt = |commit: &str| {
        let address = gits.address("left", commit);
        let lock = npm_lock(&address, &address, json!({}));
        let project = project(NPM, "node, git", &["npm ci; echo >out"], ("package-lock.json", &lock))
            .file("app/package.json", manifest(&address));
        gits.world.build(&project, &[])
    };
    let ran = attempt(&with).failure(5);
    assert!(ran.stderr.contains("the commit has a submodule, `sub`, which clients would go for"), "{}", ran.stderr);
    attempt(&commit).success();
}

#[test]
fn what_a_repository_has_run_before_it_is_packed_runs_as_the_spec_says() {
    let test = "scripts of packages of git repositories";
    let Some(gits) = Gits::new(test) else { return };
    let scripts = json!({ "scripts": { "prepare": "echo prepared >>/src/app/ran; echo made >made" } });
    let commit = gits.package("left", scripts);
    let address = gits.address("left", &commit);
    let attempt = |keys: &str| -> (String, Ran) {
        let steps = ["touch ran; npm ci", "cat ran >out; cat node_modules/left/made >>out || true"];
        let lock = npm_lock(&address, &address, json!({ "hasInstallScript": true }));
        let dependency = format!("{{npm: package-lock.json{keys}}}");
        let project = project(&dependency, "node, git", &steps, ("package-lock.json", &lock))
            .file("app/package.json", manifest(&address));
        let ran = gits.world.build(&project, &[]).success();
        (said(&project), ran)
    };
    let told = attempt("").0;
    assert!(told.starts_with("prepared\n") && told.ends_with("made\n"), "the control: without a word it runs: {told}");
    let (told, ran) = attempt(", scripts: deny");
    assert_eq!(told, "");
    assert!(ran.stderr.contains("refused: prepare of"), "{}", ran.stderr);
}

/// Has the machine's own Node run another client in the project's folder, where it finds the server.
fn lock_by(tool: [&str; 3], project: &Project, registry: &NpmRegistry, arguments: &[&str]) -> Option<()> {
    let (folder, home) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let main = unpacked_client(tool[0], tool[1], folder.path(), tool[2])?;
    let mut client: Command = client(&main, &project.path("app"), home.path(), &registry.url());
    client.env("YARN_NPM_REGISTRY_SERVER", registry.url().trim_end_matches('/')).env("YARN_ENABLE_TELEMETRY", "0");
    client.env("YARN_UNSAFE_HTTP_WHITELIST", "127.0.0.1").env("YARN_ENABLE_GLOBAL_CACHE", "false");
    if tool[1].starts_with("4.1") {
        client.env("YARN_NPM_MINIMAL_AGE_GATE", "0");
    }
    process::output(client.args(arguments)).expect("a client with a network");
    Some(())
}

/// What another client locks, a step installs, twice the same.
fn other_client(test: &str, tool: [&str; 3], (program, file): (&str, &str), lock: &[&str], install: &str) {
    if let Err(why) = bulla_testkit::clients() {
        return bulla_testkit::skipped(test, &why);
    }
    let Some(mut gits) = Gits::new(test) else { return };
    let Some(deb) = client_deb(tool[0], tool[1], program, tool[2]) else { return };
    gits.world.publish(&deb);
    let commit = gits.package("left", json!({}));
    let address = gits.address("left", &commit);
    let steps = [install, "node -p 'require(\"left\")' >out"];
    // A setting that yarn 3 does not know, and newer ones want.
    let approved = if tool[1].starts_with('3') { "" } else { "approvedGitRepositories: ['**']\n" };
    let project = project(&format!("{{npm: {file}}}"), &format!("node, git, {program}"), &steps, (file, ""))
        .file("app/package.json", manifest(&address))
        .file("app/.yarnrc.yml", format!("nodeLinker: node-modules\ncompressionLevel: 0\n{approved}"));
    // An empty one is none to these.
    if file != "yarn.lock" {
        fs_err::remove_file(project.path(&format!("app/{file}"))).expect("removing it");
    }
    if lock_by(tool, &project, &gits.registry, lock).is_none() {
        return;
    }
    let before = project.read(&format!("app/{file}"));
    assert!(before.contains(&commit), "{before}");
    let ran = gits.world.build(&project, &[]).success();
    assert_eq!(said(&project), "left of git\n");
    assert!(project.read("bulla.lock").contains(&format!("version = \"{commit}\"")));
    assert_eq!(project.read(&format!("app/{file}")), before, "it is as it was");
    let again = gits.world.build(&project, &["--no-cache"]).success();
    assert_eq!(again.stdout, ran.stdout);
    // By SSH, which a step has not: git finds the same repository. The store has the commit, by whatever address it came.
    let (plain, secure) = (format!("{}/left.git", gits.server.url()), "ssh://git@host.example/acme/left.git");
    for path in ["app/package.json".to_owned(), format!("app/{file}")] {
        project.write(&path, project.read(&path).replace(&plain, secure));
    }
    let other = gits.world.build(&project, &[]).success();
    assert!(other.stderr.contains(&format!("+ npm host.example/acme/left {commit}")), "{}", other.stderr);
    assert_eq!(other.stdout, ran.stdout);
}

#[test]
fn pnpm_clones_the_commit_of_its_lock_file_out_of_a_folder() {
    let tool = ["pnpm", "9.15.9", "bin/pnpm.cjs"];
    let lock = ["install", "--lockfile-only", "--ignore-scripts"];
    other_client("pnpm and git", tool, ("pnpm", "pnpm-lock.yaml"), &lock, "pnpm install --frozen-lockfile");
}

#[test]
fn yarn_1_clones_the_commit_of_its_lock_file_out_of_a_folder() {
    let tool = ["yarn", "1.22.22", "bin/yarn.js"];
    other_client("yarn 1 and git", tool, ("yarn", "yarn.lock"), &["install"], "yarn install --frozen-lockfile");
}

#[test]
fn yarn_4_clones_the_commit_of_its_lock_file_out_of_a_folder() {
    let tool = ["@yarnpkg/cli-dist", "4.18.1", "bin/yarn.js"];
    let lock = ["install", "--mode=update-lockfile"];
    other_client("yarn 4 and git", tool, ("yarn", "yarn.lock"), &lock, "yarn install --immutable");
}

#[test]
fn older_and_newer_clients_clone_the_commit_of_their_lock_files() {
    let (npm, pnpm) = (["install", "--package-lock-only"], ["install", "--lockfile-only", "--ignore-scripts"]);
    for version in ["9.9.4", "10.9.4"] {
        let tool = ["npm", version, "bin/npm-cli.js"];
        other_client("other npms and git", tool, ("npm-other", "package-lock.json"), &npm, "npm-other ci");
    }
    for version in ["8.15.9", "10.18.3"] {
        let tool = ["pnpm", version, "bin/pnpm.cjs"];
        other_client("other pnpms and git", tool, ("pnpm", "pnpm-lock.yaml"), &pnpm, "pnpm install --frozen-lockfile");
    }
    let (tool, lock) = (["@yarnpkg/cli-dist", "3.8.7", "bin/yarn.js"], ["install", "--mode=update-lockfile"]);
    other_client("yarn 3 and git", tool, ("yarn", "yarn.lock"), &lock, "yarn install --immutable");
}

/// An environment that reaches a server of repositories, and needs no sandbox.
fn asking(server: &GitServer) -> (impl Sized, TestEnvironment) {
    let (repo, mirror, environment) = online();
    let before = fs_err::read_to_string(environment.config()).expect("a configuration");
    environment.write_config(&format!(
        "{before}[network]\nlocal-hosts = [\"{}\"]\n[registry.npm]\nnpmrc = false\nregistry = \"https://npm.example/\"\n",
        server.address()
    ));
    ((repo, mirror), environment)
}

fn plain(lock: &str) -> Project {
    let spec = "bulla: 1\nname: shop\nsources:\n  app: {path: app}\nstages:\n  build:\n    from: {debian: trixie, suites: [trixie], packages: [make]}\n    dependencies: [{npm: package-lock.json}]\n    steps:\n      - npm ci\nimage:\n  from: {debian: trixie, suites: [trixie], packages: [libshop]}\n  user: 65532\n";
    Project::with_spec(spec).file("app/package-lock.json", lock)
}

#[test]
fn a_commit_is_what_the_lock_file_names_or_nothing() {
    let test = "hostile servers of npm's git repositories";
    if !has_git(test) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let server = GitServer::serve(folder.path());
    let (_world, environment) = asking(&server);
    let repo = GitRepo::init(folder.path().join("left.git"));
    repo.write("package.json", "{\"name\": \"left\", \"version\": \"1.0.0\"}");
    let good = repo.commit("good");
    repo.write("index.js", "evil();\n");
    let evil = repo.commit("evil");
    let address = |commit: &str| format!("git+{}/left.git#{commit}", server.url());
    let of = |commit: &str| plain(&npm_lock(&address(commit), &address(commit), json!({})));
    // Another commit than was asked for.
    let (from, to) = (good.clone(), evil.clone());
    server.before(move |asked| {
        asked.body = String::from_utf8_lossy(&asked.body).replace(&from, &to).into_bytes();
        None
    });
    let ran = environment.run(&of(&good), &["fetch"]).failure(5);
    assert!(ran.stderr.contains("gave other objects than were asked for"), "{}", ran.stderr);
    assert!(ran.stderr.contains("which /src/app/package-lock.json:1 names"), "{}", ran.stderr);
    server.heal();
    // The control: the same server gives the right one. The lock has it from then on.
    let project = of(&good);
    environment.run(&project, &["lock"]).success();
    let lock = project.read("bulla.lock");
    assert!(lock.contains(&format!("version = \"{good}\"")), "{lock}");
    // Bytes of another SHA-256 than the lock has are refused, whatever SHA-1 says.
    let start = lock.find("[[loose]]").expect("a pin");
    let digest = lock[start..].split("digest = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a digest");
    let forged = lock.replace(digest, &bulla_model::Digest::of("other").to_string());
    let (head, rest) = forged.split_once("checksum = ").expect("a checksum");
    let rest = rest.split_once('\n').expect("a line").1;
    project.write("bulla.lock", format!("{head}checksum = \"{}\"\n{rest}", bulla_model::Digest::of(rest)));
    let ran = environment.run(&project, &["fetch", "--locked"]).failure(5);
    assert!(ran.stderr.contains("gives other bytes than the lock"), "{}", ran.stderr);
    project.write("bulla.lock", &lock);
    environment.run(&project, &["fetch", "--locked"]).success();
    // What no lock pins yet, a locked build does not take.
    let ran = environment.run(&of(&evil), &["fetch", "--locked"]).failure(7);
    assert!(ran.stderr.contains("there is no bulla.lock"), "{}", ran.stderr);
    // When another commit is named, the old pin goes.
    project.write("app/package-lock.json", npm_lock(&address(&evil), &address(&evil), json!({})));
    let ran = environment.run(&project, &["fetch", "--locked"]).failure(7);
    assert!(ran.stderr.contains("bulla.lock has no pin of it"), "{}", ran.stderr);
    let ran = environment.run(&project, &["lock"]).success();
    assert!(ran.stderr.contains(&format!("+ npm {}/left {evil}", server.address())), "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("- npm {}/left {good}", server.address())), "{}", ran.stderr);
    assert!(!project.read("bulla.lock").contains(&good));
}

#[test]
fn lock_files_lead_to_no_other_place_and_to_nothing_that_no_commit_is() {
    let test = "hostile lock files with git repositories";
    if !has_git(test) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (server, other) = (GitServer::serve(folder.path()), GitServer::serve(folder.path()));
    let (_world, environment) = asking(&server);
    let repo = GitRepo::init(folder.path().join("left.git"));
    repo.write("package.json", "{\"name\": \"left\", \"version\": \"1.0.0\"}");
    let commit = repo.commit("good");
    let fails = |resolved: &str, code: i32, says: &str| {
        let ran = environment.run(&plain(&npm_lock(resolved, resolved, json!({}))), &["fetch"]).failure(code);
        assert!(ran.stderr.contains(says), "{resolved}: {}", ran.stderr);
    };
    let at = |server: &GitServer, path: &str| format!("git+{}/{path}", server.url());
    // A server of this machine that nobody allowed, and one by SSH.
    fails(&at(&other, &format!("left.git#{commit}")), 7, "leads to an address of this machine");
    assert!(other.asked().is_empty());
    fails(&format!("git+ssh://git@127.0.0.1:22/left.git#{commit}"), 7, "ssh-hosts");
    fails(&at(&server, &format!("left.git#{}", "0".repeat(40))), 4, "");
    fails(&at(&server, "left.git#main"), 3, "which is no whole commit");
    fails(&at(&server, "left.git#0123"), 3, "which is no whole commit");
    fails(&format!("git+https://me:word@git.example/left.git#{commit}"), 3, "has a login in it");
    fails(&format!("git+https://git.example/../left.git#{commit}"), 3, "no address of a git repository");
    fails(&format!("git+https://git.example/a\"]\nb.git#{commit}"), 3, "no address of a git repository");
    fails(&format!("git+file:///etc/left.git#{commit}"), 3, "");
    // The control.
    let address = at(&server, &format!("left.git#{commit}"));
    let good = plain(&npm_lock(&address, &address, json!({})));
    environment.run(&good, &["fetch"]).success();
    // No login goes along, though there is one for this very server.
    let auth = environment.folder().join("home/.config/bulla/auth.conf");
    fs_err::write(&auth, format!("machine http://{} login me password word\n", server.address())).expect("a login");
    let _ = fs_err::remove_dir_all(environment.store());
    server.forget();
    environment.run(&good, &["fetch"]).success();
    let with_login = || server.asked().iter().filter(|asked| asked.header("authorization").is_some()).count();
    assert!(!server.asked().is_empty() && with_login() == 0);
    // The control: a source of the spec is asked with it.
    let spec = good.read("bulla.yaml");
    let source = format!("  other: {{git: '{}/left.git', commit: {commit}}}\nstages:", server.url());
    let spec = spec.replacen("stages:", &source, 1).replace("    steps:", "    workdir: /src/app\n    steps:");
    good.write("bulla.yaml", spec);
    environment.run(&good, &["lock"]).success();
    assert!(with_login() > 0);
}
