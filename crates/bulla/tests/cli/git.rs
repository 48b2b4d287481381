//! Sources that are commits of git repositories, from the real `git http-backend`: pinned, fetched, checked out as git does it,
//! and built from.

use bulla_testkit::{
    GitRepo, GitServer, Project, Ran, TestAuthority, TestEnvironment,
    git::{GitSaid, git_command, has_git},
    process,
};

/// A server of repositories, and an environment whose configuration lets it be reached.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) server: GitServer,
    pub(crate) environment: TestEnvironment,
}

impl World {
    /// `None`, after it was said, where there is no git.
    pub(crate) fn new(what: &str) -> Option<Self> {
        if !has_git(what) {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let server = GitServer::serve(folder.path());
        let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
        environment.write_config(&format!(
            "[registry.debian]\napt = false\n[network]\nlocal-hosts = [\"{}\"]\n",
            server.address()
        ));
        Some(Self { folder, server, environment })
    }

    pub(crate) fn repo(&self, name: &str) -> GitRepo {
        GitRepo::init(self.folder.path().join(name))
    }

    /// A project whose image is what its source has.
    pub(crate) fn project(&self, keys: &str) -> Project {
        project(&format!("git: '{}/shop', {keys}", self.server.url()))
    }

    pub(crate) fn lock(&self, project: &Project) -> Ran {
        self.environment.run(project, &["lock"])
    }

    pub(crate) fn build(&self, project: &Project, arguments: &[&str]) -> Ran {
        self.environment.run(project, &[&["build", "--progress", "plain"], arguments].concat())
    }

    /// Forgets what was fetched and built.
    pub(crate) fn forget(&self) {
        let _ = fs_err::remove_dir_all(self.environment.store());
    }

    pub(crate) fn fails(&self, project: &Project, code: i32, says: &str) {
        let ran = self.lock(project).failure(code);
        assert!(ran.stderr.contains(says), "{says} is not in {}", ran.stderr);
        assert!(!project.path("bulla.lock").exists(), "a lock was written");
    }

    /// The files of the image's `/shop`, by `path mode content` of each, as tar has them.
    pub(crate) fn files(&self, project: &Project) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        unpack(&project.path("bulla-out"), folder.path());
        listing(&folder.path().join("shop"))
    }
}

pub(crate) fn project(source: &str) -> Project {
    Project::with_spec(&format!(
        "bulla: 1\nname: shop\nsources:\n  shop: {{{source}}}\nimage:\n  from: {{scratch: {{}}}}\n  copy:\n    - {{source: shop, to: /shop}}\n  user: 65532\n"
    ))
}

/// Unpacks all layers of a layout.
pub(crate) fn unpack(layout: &std::path::Path, to: &std::path::Path) {
    let read = |digest: &str| fs_err::read(layout.join("blobs/sha256").join(digest)).expect("a blob");
    let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).expect("JSON");
    let digest = |value: &serde_json::Value| value["digest"].as_str().expect("a digest")[7..].to_owned();
    let mut document = json(&fs_err::read(layout.join("index.json")).expect("an index"));
    while document["layers"].is_null() {
        document = json(&read(&digest(&document["manifests"][0])));
    }
    for layer in document["layers"].as_array().expect("layers") {
        let file = layout.join("blobs/sha256").join(digest(layer));
        let mut tar = std::process::Command::new("tar");
        tar.args(["--no-same-owner", "-xf"]).arg(file).arg("-C").arg(to);
        process::output(&mut tar).expect("a layer is unpacked");
    }
}

/// Lists a folder: each path with its kind, whether it is executable, and its content.
pub(crate) fn listing(folder: &std::path::Path) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt;
    let mut lines = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs_err::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(folder).expect("beneath").display().to_string();
            if name == ".git" {
                continue;
            }
            let metadata = fs_err::symlink_metadata(&path).expect("it is there");
            if metadata.is_symlink() {
                lines.push(format!("{name} -> {}", fs_err::read_link(&path).expect("a link").display()));
            } else if metadata.is_dir() {
                lines.push(format!("{name}/"));
                open.push(path);
            } else {
                let executable = metadata.permissions().mode() & 0o100 != 0;
                let content = bulla_model::Digest::of(fs_err::read(&path).expect("a file"));
                lines.push(format!("{name} {executable} {content}"));
            }
        }
    }
    lines.sort();
    lines
}

/// A repository with what git has: modes, links, line ends, names, attributes, hooks.
pub(crate) fn shop(repo: &GitRepo) -> String {
    repo.write("hello.txt", "hello\n");
    repo.write("windows.txt", "one\r\ntwo\r\n");
    repo.write(
        ".gitattributes",
        "*.txt text eol=crlf\nversion.txt export-subst\nsecret.txt export-ignore\n*.c filter=none\n",
    );
    repo.write("version.txt", "$Format:%H$ $Id$\n");
    repo.write("secret.txt", "not left out\n");
    repo.program("bin/run", "#!/bin/sh\necho run\n");
    repo.write("deep/er/ä ö.txt", "umlauts\n");
    repo.write("empty", "");
    repo.write("large.bin", "0123456789abcdef".repeat(40_000));
    fs_err::os::unix::fs::symlink("bin/run", repo.folder().join("link")).expect("a link");
    repo.git(&["config", "core.autocrlf", "false"]);
    // Added as it is: git would change the line ends.
    repo.git(&["-c", "core.attributesFile=/dev/null", "add", "-A"]);
    let blob = repo.object("blob", b"one\r\ntwo\r\n");
    repo.git(&["update-index", "--cacheinfo", &format!("100644,{blob},windows.txt")]);
    repo.git(&["commit", "-q", "-m", "first"]);
    repo.program(".git/hooks/post-checkout", "#!/bin/sh\ntouch ../owned\n");
    repo.head()
}

#[test]
fn a_commit_is_locked_fetched_checked_out_as_git_does_it_and_built() {
    let Some(world) = World::new("commits of git") else { return };
    let repo = world.repo("shop");
    let first = shop(&repo);
    let project = world.project(&format!("commit: {first}"));
    let ran = world.lock(&project).success();
    assert!(ran.stderr.contains(&format!("+ source shop commit {first}, as the spec says")), "{}", ran.stderr);
    let lock = project.read("bulla.lock");
    for part in
        [&format!("asked = \"commit {first}\""), &format!("commit = \"{first}\""), "evidence = \"commit of the spec\""]
    {
        assert!(lock.contains(part), "{part} is not in {lock}");
    }
    let asked = world.server.asked();
    let said = |word: &str| asked.iter().any(|asked| String::from_utf8_lossy(&asked.body).contains(word));
    assert!(said("deepen 1\n"), "its history came too");
    world.server.forget();
    let digest = world.build(&project, &["--locked"]).success().stdout;
    assert!(world.server.asked().is_empty(), "locking brought it already");

    // The same files as git itself checks out, when nothing changes what was committed.
    let clone = tempfile::tempdir().expect("a folder");
    let mut command = git_command(clone.path());
    command.args(["clone", "-q", "--no-checkout"]).arg(repo.folder()).arg("clone");
    process::output(&mut command).expect("cloned");
    let there = clone.path().join("clone");
    fs_err::write(there.join(".git/info/attributes"), "* -text -eol -ident -filter\n").expect("written");
    let mut command = git_command(&there);
    process::output(command.args(["checkout", "-q", "main"])).expect("checked out");
    assert_eq!(world.files(&project), listing(&there));
    assert!(world.files(&project).iter().any(|line| line.starts_with("deep/er/ä ö.txt")), "names are kept");
    assert!(!world.folder.path().join("owned").exists() && !repo.folder().join("owned").exists());

    let why = world.environment.run(&project, &["why", "/shop/bin/run"]).success().stdout;
    for part in ["source    shop, there bin/run", &format!("commit    {first}"), "evidence  the spec has the commit"] {
        assert!(why.contains(part), "{part} is not in {why}");
    }

    // From an empty store, by the lock alone, to the same image; then with no server at all.
    world.forget();
    assert_eq!(world.build(&project, &["--locked"]).success().stdout, digest);
    assert!(!world.server.asked().is_empty());
    world.server.before(|_| Some(GitSaid::status(500)));
    assert_eq!(world.build(&project, &["--locked"]).success().stdout, digest);
    world.server.heal();

    // A part of it needs no other lock.
    let part = world.project(&format!("commit: {first}, subfolder: deep, ignore: ['*.md']"));
    part.write("bulla.lock", &lock);
    assert_ne!(world.build(&part, &["--locked"]).success().stdout, digest);
    assert_eq!(world.files(&part), ["er/", &format!("er/ä ö.txt false {}", bulla_model::Digest::of("umlauts\n"))]);
    let ran = world.build(&world.project(&format!("commit: {first}, subfolder: nowhere")), &[]).failure(3);
    assert!(ran.stderr.contains("nothing of the archive is taken"), "{}", ran.stderr);
}

#[test]
fn a_tag_or_branch_moves_only_when_it_is_told_to() {
    if !has_git("tags of git") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let authority = TestAuthority::new();
    let server = GitServer::serve_tls(folder.path(), &authority);
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    let pem = environment.folder().join("authority.pem");
    fs_err::write(&pem, authority.pem()).expect("written");
    environment.write_config(&format!(
        "[registry.debian]\napt = false\n[network]\nlocal-hosts = [\"{}\"]\nca-files = [\"{}\"]\n",
        server.address(),
        pem.display()
    ));
    let repo = GitRepo::init(folder.path().join("shop"));
    repo.write("hello", "one\n");
    let first = repo.commit("first");
    repo.git(&["tag", "light"]);
    repo.git(&["tag", "-a", "-m", "a release", "v1"]);
    let reason = "'nobody signs there'";
    for (revision, moves) in [("tag: v1", "tag v1"), ("tag: light", "tag light"), ("branch: main", "branch main")] {
        let project = project(&format!("git: '{}/shop', {revision}, unsigned: {reason}", server.url()));
        repo.git(&["reset", "-q", "--hard", &first]);
        repo.git(&["tag", "-f", "-a", "-m", "a release", "v1", &first]);
        repo.git(&["tag", "-f", "light", &first]);
        let ran = environment.run(&project, &["lock"]).success();
        assert!(ran.stderr.contains(&format!("commit {first} ({moves}), seen for the first time")), "{}", ran.stderr);
        let lock = project.read("bulla.lock");
        let digest = environment.run(&project, &["build", "--locked"]).success().stdout;

        repo.write("hello", format!("two of {moves}\n"));
        let second = repo.commit("second");
        repo.git(&["tag", "-f", "-a", "-m", "a release", "v1"]);
        repo.git(&["tag", "-f", "light"]);
        let _ = fs_err::remove_dir_all(environment.store());
        environment.run(&project, &["lock"]).success();
        assert_eq!(project.read("bulla.lock"), lock, "only an update asks again");
        assert_eq!(environment.run(&project, &["build"]).success().stdout, digest, "the old commit is still given");
        let moved = environment.run(&project, &["lock", "--update", "shop"]).success();
        assert!(moved.stderr.contains("~ source shop") && moved.stderr.contains(&second), "{}", moved.stderr);
        assert_ne!(environment.run(&project, &["build"]).success().stdout, digest);
    }
    // What is not there is named; a branch is no tag, and the beginning of a name no name.
    for (revision, says) in [("tag: main", "no tag main"), ("branch: v1", "no branch v1"), ("tag: v", "no tag v")] {
        let project = project(&format!("git: '{}/shop', {revision}, unsigned: {reason}", server.url()));
        let ran = environment.run(&project, &["lock"]).failure(3);
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
    }
}

#[test]
fn servers_that_speak_only_old_versions_are_understood() {
    let Some(world) = World::new("old versions of git's protocol") else { return };
    let repo = world.repo("shop");
    let first = shop(&repo);
    repo.git(&["tag", "-a", "-m", "a release", "v1"]);
    let newest = world.project(&format!("commit: {first}"));
    let digest = world.build(&newest, &[]).success().stdout;
    for version in ["", "version=1"] {
        world.forget();
        world.server.before(move |asked| {
            asked.headers.retain(|(name, _)| name != "git-protocol");
            asked.headers.push(("git-protocol".into(), version.into()));
            None
        });
        let project = world.project(&format!("commit: {first}"));
        assert_eq!(world.build(&project, &[]).success().stdout, digest, "{version}");
        world.forget();
        assert_eq!(world.build(&project, &["--locked"]).success().stdout, digest, "{version}");
    }
}

#[test]
fn logins_are_for_their_origin_and_a_redirect_drops_them() {
    let Some(world) = World::new("logins for git servers") else { return };
    let repo = world.repo("shop");
    let first = shop(&repo);
    let other = GitServer::serve(world.folder.path());
    let login = "Basic bWU6d29yZA==";
    let allow = |more: &str| {
        let auth = world.environment.folder().join("home/.config/bulla/auth.conf");
        fs_err::write(&auth, format!("machine http://{} login me password word\n", world.server.address()))
            .expect("written");
        world.environment.write_config(&format!(
            "[registry.debian]\napt = false\n[network]\nlocal-hosts = [\"{}\"{more}]\n",
            world.server.address()
        ));
    };
    allow("");
    world.server.before(move |asked| (asked.header("authorization") != Some(login)).then(|| GitSaid::status(401)));
    let project = world.project(&format!("commit: {first}"));
    let ran = world.lock(&project);
    let with_login = ran.code == Some(0);
    assert!(with_login, "{}", ran.stderr);
    // To another server of this machine nothing is sent, and it is not even asked until the user says so.
    let place = other.url();
    let redirect =
        move |asked: &mut bulla_testkit::git::GitAsked| Some(GitSaid::redirect(&format!("{place}{}", asked.path)));
    world.server.before(redirect);
    world.forget();
    let ran = world.build(&project, &["--locked"]).failure(7);
    assert!(ran.stderr.contains("leads to an address of this machine") && other.asked().is_empty(), "{}", ran.stderr);
    allow(&format!(", \"{}\"", other.address()));
    world.build(&project, &["--locked"]).success();
    assert!(other.asked().len() >= 2 && other.asked().iter().all(|asked| asked.header("authorization").is_none()));
}

#[test]
fn a_commit_that_its_server_has_no_longer_is_in_the_remote_store() {
    let Some(world) = World::new("commits in a remote store") else { return };
    let repo = world.repo("shop");
    let first = shop(&repo);
    let project = world.project(&format!("commit: {first}"));
    let remote = tempfile::tempdir().expect("a folder");
    world.environment.run(&project, &["store", "key", "--new"]).success();
    let before = fs_err::read_to_string(world.environment.config()).expect("a configuration");
    let place = format!("{before}[store]\nremote = \"file://{}\"\n", remote.path().display());
    world.environment.write_config(&format!("{place}write-from = [\"*\"]\n"));
    let digest = world.build(&project, &[]).success().stdout;
    fs_err::remove_dir_all(repo.folder()).expect("removed");
    let build = |configuration: &str| {
        let cold = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
        cold.write_config(configuration);
        cold.run(&project, &["build", "--locked"])
    };
    // The control: without the remote store nobody has it any more.
    build(&before).failure(4);
    assert_eq!(build(&place).success().stdout, digest);
}
