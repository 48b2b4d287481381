//! Signed tags and commits, made by the real git with the real gpg and ssh-keygen; and forged ones.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use bulla_testkit::{GitRepo, process, skipped};

use crate::git::World;

/// A key that signs, of one of the two kinds.
enum Key {
    Gpg { home: PathBuf, fingerprint: String, program: String },
    Ssh { file: PathBuf },
}

impl Key {
    /// Makes an OpenPGP key; `None`, after it was said, without gpg.
    fn gpg(folder: &Path, name: &str) -> Option<Self> {
        Self::gpg_at(folder, name, None)
    }

    /// Makes one that was made at a time, for a day.
    fn gpg_at(folder: &Path, name: &str, time: Option<&str>) -> Option<Self> {
        if !process::exists("gpg") {
            skipped("signatures of OpenPGP", "gpg is not installed");
            return None;
        }
        let home = folder.join(name);
        fs_err::create_dir(&home).expect("a folder");
        fs_err::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("a mode");
        let fake = time.map(|time| format!("--faked-system-time={time}!"));
        let mut command = gpg_command(&home);
        command.args(fake.as_deref()).args(["--passphrase", "", "--quick-gen-key"]);
        command.arg(format!("{name} <{name}@shop.example>"));
        command.args(["ed25519", "sign", if time.is_some() { "1d" } else { "never" }]);
        process::output(&mut command).expect("a key is made");
        let listed = process::output(gpg_command(&home).args(["--with-colons", "-k"])).expect("listed");
        let line = listed.lines().find(|line| line.starts_with("fpr:")).expect("a fingerprint");
        let fingerprint = line.split(':').nth(9).expect("a fingerprint").to_owned();
        let program = match fake {
            None => "gpg".to_owned(),
            Some(fake) => {
                let script = home.join("gpg-then");
                fs_err::write(&script, format!("#!/bin/sh\nexec gpg '{fake}' \"$@\"\n")).expect("written");
                fs_err::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
                script.display().to_string()
            }
        };
        Some(Self::Gpg { home, fingerprint, program })
    }

    fn ssh(folder: &Path, name: &str, kind: &[&str]) -> Option<Self> {
        if !process::exists("ssh-keygen") {
            skipped("signatures of SSH", "ssh-keygen is not installed");
            return None;
        }
        let file = folder.join(name);
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-N", "", "-C", name, "-t"]).args(kind).arg("-f").arg(&file);
        process::output(&mut command).expect("a key is made");
        Some(Self::Ssh { file })
    }

    /// Runs git so that it signs with this key.
    fn git(&self, repo: &GitRepo, arguments: &[&str]) -> String {
        let (format, key, variables) = match self {
            Self::Gpg { home, fingerprint, program } => {
                let home = home.display().to_string();
                (format!("gpg.program={program}"), fingerprint.clone(), vec![("GNUPGHOME", home)])
            }
            Self::Ssh { file } => ("gpg.format=ssh".to_owned(), file.display().to_string(), Vec::new()),
        };
        let key = format!("user.signingKey={key}");
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        repo.git_with(&variables, &[&["-c", &format, "-c", &key], arguments].concat())
    }

    fn tag(&self, repo: &GitRepo, name: &str) {
        self.git(repo, &["tag", "-s", "-f", "-m", "a release", name]);
    }

    fn commit(&self, repo: &GitRepo) -> String {
        self.git(repo, &["commit", "-q", "-S", "--allow-empty", "-m", "signed"]);
        repo.head()
    }

    /// The file of keys for `signed-by`.
    fn public(&self) -> Vec<u8> {
        match self {
            Self::Gpg { home, .. } => {
                process::output(gpg_command(home).args(["--armor", "--export"])).expect("exported").into_bytes()
            }
            Self::Ssh { .. } => format!("tester@shop.example {}\n", self.line()).into_bytes(),
        }
    }

    /// The kind of an SSH key and the key.
    fn line(&self) -> String {
        let Self::Ssh { file } = self else { panic!("no key of SSH") };
        let text = fs_err::read_to_string(file.with_extension("pub")).expect("a public key");
        text.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    fn fingerprint(&self) -> String {
        match self {
            Self::Gpg { fingerprint, .. } => fingerprint.clone(),
            Self::Ssh { file } => {
                let listed = process::output(Command::new("ssh-keygen").arg("-lf").arg(file)).expect("listed");
                listed.split(' ').nth(1).expect("a fingerprint").to_owned()
            }
        }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        if let Self::Gpg { home, .. } = self {
            // The agent that gpg started for this folder.
            let _ = process::output(Command::new("gpgconf").arg("--homedir").arg(&*home).args(["--kill", "all"]));
        }
    }
}

fn gpg_command(home: &Path) -> Command {
    let mut command = Command::new("gpg");
    command.args(["--batch", "-q", "--pinentry-mode", "loopback", "--homedir"]).arg(home);
    command
}

/// A world, a repository in it, and a folder for keys.
fn scene(what: &str) -> Option<(World, GitRepo, tempfile::TempDir)> {
    let world = World::new(what)?;
    let repo = world.repo("shop");
    repo.write("hello", "hello\n");
    repo.commit("first");
    // Short, for the socket of gpg's agent lies in it.
    let keys = tempfile::Builder::new().prefix("k").tempdir().expect("a folder");
    Some((world, repo, keys))
}

fn project(world: &World, revision: &str, keys: &[u8]) -> bulla_testkit::Project {
    let project = world.project(&format!("{revision}, signed-by: keys/shop"));
    project.write("keys/shop", keys);
    project
}

#[test]
fn signed_tags_and_commits_are_verified_and_the_key_is_in_the_lock() {
    let Some((world, repo, folder)) = scene("signed tags") else { return };
    let kinds: [&[&str]; 5] =
        [&["ed25519"], &["ecdsa", "-b", "256"], &["ecdsa", "-b", "384"], &["rsa", "-b", "2048"], &[]];
    for (at, kind) in kinds.into_iter().enumerate() {
        let name = format!("key{at}");
        let key = match kind {
            [] => Key::gpg(folder.path(), &name),
            kind => Key::ssh(folder.path(), &name, kind),
        };
        let Some(key) = key else { continue };
        // The tag of an unsigned commit.
        repo.commit("unsigned");
        key.tag(&repo, "v1");
        let (commit, object) = (repo.head(), repo.git(&["rev-parse", "v1"]));
        let tagged = project(&world, "tag: v1", &key.public());
        let ran = world.lock(&tagged).success();
        let fingerprint = key.fingerprint();
        let says = format!("commit {commit} (tag v1), signed by {fingerprint}: A Tester <tester@shop.example>");
        assert!(ran.stderr.contains(&says), "{says} is not in {}", ran.stderr);
        let lock = tagged.read("bulla.lock");
        for part in ["evidence = \"signature\"", &object, &fingerprint, "signed-at = \"2026-01-02T03:04:05Z\""] {
            assert!(lock.contains(part), "{part} is not in {lock}");
        }
        let digest = world.build(&tagged, &["--locked"]).success().stdout;
        let why = world.environment.run(&tagged, &["why", "/shop/hello"]).success().stdout;
        for part in [
            &format!("evidence  the tag {object} is signed, by a key of keys/shop"),
            &format!("signed by {fingerprint}"),
        ] {
            assert!(why.contains(part.as_str()), "{part} is not in {why}");
        }
        world.forget();
        assert_eq!(world.build(&tagged, &["--locked"]).success().stdout, digest);
        // A signed commit that a tag which is none of its own, a branch, and its id lead to.
        let commit = key.commit(&repo);
        repo.git(&["tag", "-f", "light"]);
        repo.git(&["tag", "-f", "-a", "-m", "not signed", "plain"]);
        for revision in ["tag: light", "tag: plain", "branch: main", &format!("commit: {commit}")] {
            let project = project(&world, revision, &key.public());
            world.lock(&project).success();
            let lock = project.read("bulla.lock");
            assert!(lock.contains(&format!("signed-object = \"{commit}\"")), "{revision}: {lock}");
        }
    }
}

#[test]
fn a_step_that_ran_again_for_another_tag_is_explained_by_commit_and_key() {
    let Some((git, repo, folder)) = scene("why a new tag ran a step again") else { return };
    let Some(key) = Key::ssh(folder.path(), "key", &["ed25519"]) else { return };
    let Some(world) = crate::world::World::new("why a new tag ran a step again") else { return };
    let config = fs_err::read_to_string(world.environment.config()).expect("the configuration");
    let network = format!("[network]\nlocal-hosts = [\"{}\"]\n", git.server.address());
    world.environment.write_config(&format!("{config}{network}"));
    let spec = format!(
        "bulla: 1\nname: shop\nsources:\n  shop: {{git: '{}/shop', tag: v1, signed-by: keys/shop}}\nstages:\n  build:\n    \
         from: {{debian: trixie, suites: [trixie], packages: [tools]}}\n    steps:\n      - cp hello out\n    outputs: {{out: \
         /src/shop/out}}\nimage:\n  from: {{scratch: {{}}}}\n  copy:\n    - {{output: build.out, to: /out}}\n  user: 65532\n",
        git.server.url()
    );
    let project = bulla_testkit::Project::with_spec(&spec).file("keys/shop", key.public());
    key.tag(&repo, "v1");
    let first = repo.head();
    world.build(&project, &[]).success();
    repo.write("hello", "hello again\n");
    let second = repo.commit("second");
    key.tag(&repo, "v2");
    project.write("bulla.yaml", spec.replace("tag: v1", "tag: v2"));
    world.build(&project, &[]).success();
    let why = world.environment.run(&project, &["explain", "build/1"]).success().stdout;
    let signed = format!("signed by {}: A Tester <tester@shop.example>", key.fingerprint());
    for part in [
        "source /src/shop changed",
        &format!("before  commit {first} (tag v1), {signed}"),
        &format!("now     commit {second} (tag v2), {signed}"),
        "changed  hello (content)",
    ] {
        assert!(why.contains(part), "{part} is not in {why}");
    }
    let json = world.environment.run(&project, &["explain", "build/1", "--json"]).success().stdout;
    assert!(json.contains(&format!("\"sources\":{{\"shop\":\"commit {second}")), "{json}");
}

#[test]
fn what_nobody_known_signed_is_refused() {
    let Some((world, repo, folder)) = scene("forged signatures") else { return };
    let Some(key) = Key::ssh(folder.path(), "key", &["ed25519"]) else { return };
    let Some(other) = Key::ssh(folder.path(), "other", &["ed25519"]) else { return };
    let fails =
        |revision: &str, keys: &[u8], code: i32, says: &str| world.fails(&project(&world, revision, keys), code, says);
    let keys = key.public();
    repo.git(&["tag", "-a", "-m", "not signed", "plain"]);
    fails("tag: plain", &keys, 5, "neither the tag nor its commit is signed");
    key.tag(&repo, "v1");
    world.lock(&project(&world, "tag: v1", &keys)).success();
    fails("tag: v1", &other.public(), 5, "is not among the allowed signers");
    other.tag(&repo, "v2");
    fails("tag: v2", &keys, 5, "is not among the allowed signers");

    // An old tag under the name of a new one: what is signed is whole, and so git itself would say.
    repo.git(&["update-ref", "refs/tags/v9", &repo.git(&["rev-parse", "v1"])]);
    fails("tag: v9", &keys, 5, "the tag that the server gives as `v9` was made as `v1`");

    // The signature of one tag over another, and one whose text was changed.
    let tag = repo.git(&["cat-file", "tag", "v1"]);
    for (what, forged) in [
        ("message", tag.replace("a release", "another release")),
        ("object", tag.replace(&repo.git(&["rev-parse", "v1^{commit}"]), &repo.commit("owned"))),
        ("date", tag.replace("1767323045", "1767323046")),
    ] {
        assert_ne!(tag, forged, "{what}");
        let id = repo.object("tag", format!("{forged}\n").as_bytes());
        repo.git(&["update-ref", "refs/tags/v1", &id]);
        fails("tag: v1", &keys, 5, "does not match");
    }
    // A commit likewise.
    let commit = key.commit(&repo);
    let text = repo.git(&["cat-file", "commit", &commit]);
    repo.write("hello", "owned\n");
    repo.git(&["add", "-A"]);
    let tree = repo.git(&["write-tree"]);
    let own = text.lines().next().and_then(|line| line.strip_prefix("tree ")).expect("a tree").to_owned();
    for (from, to) in
        [(own.as_str(), tree.as_str()), ("tester@shop.example> 1767323045 +0000\ngpgsig", "x@y> 1 +0000\ngpgsig")]
    {
        let forged = text.replacen(from, to, 1);
        assert_ne!(text, forged);
        let id = repo.object("commit", format!("{forged}\n").as_bytes());
        repo.git(&["update-ref", "refs/heads/main", &id]);
        fails("branch: main", &keys, 5, "does not match");
    }
    repo.git(&["update-ref", "refs/heads/main", &commit]);
    world.lock(&project(&world, "branch: main", &keys)).success();
    // A tag that is signed by somebody else is not passed over for its commit, which is signed well.
    repo.git(&["reset", "-q", "--hard"]);
    other.tag(&repo, "v3");
    fails("tag: v3", &keys, 5, "is not among the allowed signers");
    // Tags on tags, as far as there is a use for them; the outermost is the one that counts.
    let mut inner = "v1".to_owned();
    key.tag(&repo, "v1");
    for at in 0..10 {
        let name = format!("on{at}");
        key.git(&repo, &["-c", "advice.nestedTag=false", "tag", "-s", "-m", "a tag", &name, &inner]);
        inner = name;
    }
    world.lock(&project(&world, "tag: on2", &keys)).success();
    fails("tag: on9", &keys, 5, "longer chains of tags than 8");
    // A tag on no commit.
    repo.git(&["tag", "-a", "-m", "a file", "file", "main:hello"]);
    fails("tag: file", &keys, 3, "leads to a blob");
}

#[test]
fn allowed_signers_say_for_what_and_when_a_key_may_sign() {
    let Some((world, repo, folder)) = scene("allowed signers") else { return };
    let Some(key) = Key::ssh(folder.path(), "key", &["ed25519"]) else { return };
    key.tag(&repo, "v1");
    let line = key.line();
    let with = |options: &str| format!("# who may sign\n*@shop.example {options} {line}\n").into_bytes();
    // The tag says that it was made on 2026-01-02.
    for options in
        ["namespaces=\"git\"", "valid-after=\"20260101Z\",valid-before=\"20260103\"", "namespaces=\"file,g*\""]
    {
        world.lock(&project(&world, "tag: v1", &with(options))).success();
    }
    for (options, code, says) in [
        ("namespaces=\"file\"", 5, "do not let the key"),
        ("valid-after=\"20260103Z\"", 5, "was not valid at 2026-01-02T03:04:05Z"),
        ("valid-before=\"20260102Z\"", 5, "was not valid at 2026-01-02T03:04:05Z"),
        ("cert-authority", 3, "authority of certificates"),
        ("unknown-option", 3, "is not known"),
        ("valid-before=\"soon\"", 3, "is no date"),
    ] {
        world.fails(&project(&world, "tag: v1", &with(options)), code, says);
    }
    world.fails(&project(&world, "tag: v1", b"not a line of keys\n"), 3, "line 1 of the allowed signers");
    // A signature that was made for something else, by the right key over the right bytes.
    let tag = repo.git(&["cat-file", "tag", "v1"]);
    let end = tag.find("-----BEGIN SSH").expect("a signature");
    let file = folder.path().join("payload");
    fs_err::write(&file, &tag[..end]).expect("written");
    let Key::Ssh { file: private } = &key else { return };
    for (namespace, good) in [("git", true), ("file", false)] {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(private).arg(&file);
        process::output(&mut command).expect("signed");
        let signature = fs_err::read_to_string(file.with_extension("sig")).expect("a signature");
        fs_err::remove_file(file.with_extension("sig")).expect("removed");
        let id = repo.object("tag", format!("{}{signature}", &tag[..end]).as_bytes());
        repo.git(&["update-ref", "refs/tags/v1", &id]);
        let project = project(&world, "tag: v1", &with(""));
        match good {
            true => _ = world.lock(&project).success(),
            false => world.fails(&project, 5, "it was made to sign something of `file`"),
        }
    }
    let Some(short) = Key::ssh(folder.path(), "short", &["rsa", "-b", "1024"]) else { return };
    short.tag(&repo, "v2");
    world.fails(&project(&world, "tag: v2", &short.public()), 5, "1024 bits of RSA");
}

#[test]
fn openpgp_keys_that_are_expired_or_revoked_sign_nothing() {
    let Some((world, repo, folder)) = scene("expired keys") else { return };
    let Some(expired) = Key::gpg_at(folder.path(), "old", Some("20200101T000000")) else { return };
    expired.tag(&repo, "v1");
    world.fails(&project(&world, "tag: v1", &expired.public()), 5, "expired at 2020-01-02");
    let Some(key) = Key::gpg(folder.path(), "good") else { return };
    key.tag(&repo, "v2");
    world.lock(&project(&world, "tag: v2", &key.public())).success();
    world.fails(&project(&world, "tag: v2", &expired.public()), 5, "not in the keyring");
    let Some(ssh) = Key::ssh(folder.path(), "key", &["ed25519"]) else { return };
    world.fails(&project(&world, "tag: v2", &ssh.public()), 3, "signed with OpenPGP, and the file of keys is for SSH");
    ssh.tag(&repo, "v3");
    world.fails(&project(&world, "tag: v3", &key.public()), 3, "signed with SSH, and the file of keys is for OpenPGP");
    // Its owner revokes it.
    let Key::Gpg { home, fingerprint, .. } = &key else { return };
    let file = home.join("openpgp-revocs.d").join(format!("{fingerprint}.rev"));
    let text = fs_err::read_to_string(&file).expect("a revocation").replace(":-----BEGIN", "-----BEGIN");
    fs_err::write(&file, text).expect("written");
    process::output(gpg_command(home).arg("--import").arg(&file)).expect("revoked");
    world.fails(&project(&world, "tag: v2", &key.public()), 5, "is revoked");
}
