//! Remote stores: what one machine built, another uses; and what becomes of results and inputs that somebody changed on the way.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use bulla_testkit::{Mirror, Project, Ran, TestEnvironment};

use crate::world::{GOOD, World, files, project, project_with};

/// A world whose remote store is a folder, which a first machine has filled.
struct Filled {
    world: World,
    /// The public key of the first machine.
    key: String,
    digest: String,
    /// The project with its lock.
    project: Project,
    folder: tempfile::TempDir,
}

/// Adds keys of `[store]` to the configuration of an environment.
pub(crate) fn configure(environment: &TestEnvironment, keys: &str) {
    let file = environment.config();
    let before = fs_err::read_to_string(&file).expect("a configuration");
    let before = before.split("[store]").next().expect("its beginning").to_owned();
    environment.write_config(&format!("{before}[store]\n{keys}"));
}

/// Makes a signing key, and gives its public part.
pub(crate) fn new_key(environment: &TestEnvironment) -> String {
    environment.run(&Project::new(), &["store", "key", "--new"]).success().stdout.trim_end().to_owned()
}

impl Filled {
    fn new(test: &str) -> Option<Self> {
        let world = World::new(test)?;
        let folder = tempfile::Builder::new().prefix("bulla-remote-").tempdir().expect("a folder");
        let key = new_key(&world.environment);
        configure(&world.environment, &format!("{}write-from = [\"*\"]\n", remote(folder.path())));
        let project = project(&GOOD);
        let digest = world.digest(&project);
        Some(Self { world, key, digest, project, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Gives a second machine, which trusts a key, and whose mirror is another one with the same files.
    fn second(&self, keys: &[&str]) -> (TestEnvironment, Mirror) {
        let mirror = Mirror::serve(self.world.repo.root());
        let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &self.world.repo, &mirror);
        configure(&environment, &format!("{}trusted-keys = {keys:?}\n", remote(self.folder.path())));
        (environment, mirror)
    }

    /// Builds on a second machine with the lock of the first, and expects the same image whatever the remote store has.
    #[track_caller]
    fn build_elsewhere(&self, keys: &[&str], what: &str) -> (Ran, Mirror) {
        let (environment, mirror) = self.second(keys);
        let ran = environment.run(&self.project, &["build", "--locked"]);
        assert_eq!(ran.code, Some(0), "{what}: {}", ran.stderr);
        assert_eq!(ran.stdout.trim_end(), self.digest, "{what}: {}", ran.stderr);
        environment.run(&self.project, &["store", "verify", "--full"]).success();
        (ran, mirror)
    }

    fn results(&self) -> Vec<PathBuf> {
        let results: Vec<PathBuf> =
            files(&self.path("manifests")).into_iter().filter(|path| named(path, "result-")).collect();
        assert!(results.len() >= 5, "a root, two steps, an output and an image: {results:?}");
        results
    }

    fn restore(&self, saved: &[(PathBuf, Vec<u8>)]) {
        for (path, bytes) in saved {
            fs_err::write(path, bytes).expect("writing it back");
        }
    }

    fn saved(&self) -> Vec<(PathBuf, Vec<u8>)> {
        files(self.folder.path()).into_iter().map(|path| (path.clone(), fs_err::read(&path).expect("a file"))).collect()
    }
}

fn remote(folder: &Path) -> String {
    format!("remote = \"file://{}\"\n", folder.display())
}

fn named(path: &Path, start: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start))
}

fn ran_nothing(ran: &Ran) -> bool {
    ran.stderr.contains("0 of 3 steps run")
}

fn ran_all(ran: &Ran) -> bool {
    ran.stderr.contains("3 of 3 steps run")
}

#[test]
fn a_second_machine_runs_no_step_and_asks_no_mirror() {
    let Some(filled) = Filled::new("a second machine") else { return };
    let (ran, mirror) = filled.build_elsewhere(&[&filled.key], "the remote store is sound");
    assert!(ran_nothing(&ran) && !ran.stderr.contains("warning"), "{}", ran.stderr);
    assert!(mirror.requests().is_empty(), "{:?}", mirror.requests());
    // What is not needed is not brought: nothing is unpacked, so no package came.
    assert!(!ran.stderr.contains("[fetch]"), "{}", ran.stderr);
}

#[test]
fn what_was_read_from_a_cache_reaches_no_other_store() {
    let Some(filled) = Filled::new("caches and a remote store") else { return };
    let count = "echo run >>target/runs; mkdir out; cat target/runs hello >out/hello";
    let cached = project_with("    cache: [/src/app/target]\n", &[count]);
    filled.world.digest(&cached);
    let elsewhere = |expected: &str| {
        let (environment, _mirror) = filled.second(&[&filled.key]);
        let ran = environment.run(&cached, &["build"]).success();
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
        ran.stdout
    };
    // The control: nothing was in the cache yet, so that the result follows from its action alone.
    elsewhere("0 of 2 steps run");
    cached.write("app/hello", "another\n");
    let tainted = filled.world.build(&cached, &[]).success().stdout;
    assert_ne!(elsewhere("1 of 2 steps run"), tainted, "the second run of one cache, and the first of another");
}

#[test]
fn what_changed_is_run_on_what_others_built() {
    let Some(filled) = Filled::new("a changed step on another machine") else { return };
    let (environment, mirror) = filled.second(&[&filled.key]);
    let other = project(&[GOOD[0], "echo other >out/more; test \"$(cat out/hello)\" = hello"]);
    filled.world.environment.run(&other, &["lock"]).success();
    configure(&filled.world.environment, "");
    let expected = filled.world.digest(&other);
    let ran = environment.run(&other, &["build", "--locked"]).success();
    assert_eq!(ran.stdout.trim_end(), expected);
    assert!(ran.stderr.contains("1 of 3 steps run"), "{}", ran.stderr);
    assert!(mirror.requests().is_empty(), "the packages come from the remote store");
    // Again, and with what it brought gone: still the same.
    for folder in ["trees", "blobs", "farms"] {
        let _ = fs::remove_dir_all(environment.store().join(folder));
        let ran = environment.run(&other, &["build", "--locked"]).success();
        assert_eq!(ran.stdout.trim_end(), expected, "without {folder}");
    }
    environment.run(&other, &["store", "verify", "--full"]).success();
}

#[test]
fn what_others_ran_is_known_well_enough_to_say_what_changed() {
    let Some(filled) = Filled::new("explaining what others ran") else { return };
    let (environment, _mirror) = filled.second(&[&filled.key]);
    assert!(ran_nothing(&environment.run(&filled.project, &["build", "--locked"]).success()));
    filled.project.write("app/hello", "changed\n");
    environment.run(&filled.project, &["build", "--locked"]).success();
    let said = environment.run(&filled.project, &["explain", "build/1"]).success().stdout;
    assert!(said.contains("changed  hello (content)"), "{said}");
}

#[test]
fn results_without_a_configured_key_are_misses() {
    let Some(filled) = Filled::new("unsigned results") else { return };
    let (ran, _) = filled.build_elsewhere(&[], "no key is configured");
    assert!(ran_all(&ran) && !ran.stderr.contains("warning"), "{}", ran.stderr);
    let other = new_key(&TestEnvironment::new(env!("CARGO_BIN_EXE_bulla")));
    let (ran, mirror) = filled.build_elsewhere(&[&other], "another key is configured");
    assert!(ran_all(&ran) && ran.stderr.contains("is not signed by a key that is configured"), "{}", ran.stderr);
    assert!(mirror.requests().is_empty(), "inputs need no signature");
    let (ran, _) = filled.build_elsewhere(&[&other, &filled.key], "the control");
    assert!(ran_nothing(&ran), "{}", ran.stderr);
}

#[test]
fn results_of_a_key_that_was_removed_are_misses_though_they_were_taken_before() {
    let Some(filled) = Filled::new("a removed key") else { return };
    let (environment, _mirror) = filled.second(&[&filled.key]);
    let project = &filled.project;
    let build = || environment.run(project, &["build", "--locked"]).success();
    assert!(ran_nothing(&build()));
    fs_err::rename(filled.path("manifests"), filled.path("gone")).expect("the remote store has no results");
    assert!(ran_nothing(&build()), "the control: statements are kept while the key is configured");
    fs_err::rename(filled.path("gone"), filled.path("manifests")).expect("all is there again");
    configure(&environment, &remote(filled.folder.path()));
    let ran = build();
    assert!(ran_all(&ran), "{}", ran.stderr);
    assert_eq!(ran.stdout.trim_end(), filled.digest);
}

#[test]
fn results_that_were_swapped_or_replayed_are_misses() {
    let Some(filled) = Filled::new("swapped results") else { return };
    let saved = filled.saved();
    let results = filled.results();
    let texts: Vec<Vec<u8>> = results.iter().map(|path| fs_err::read(path).expect("a manifest")).collect();
    // Each has the manifest of the next: genuine, signed by the right key, for another action.
    for (path, text) in results.iter().zip(texts.iter().cycle().skip(1)) {
        fs_err::write(path, text).expect("swapping");
    }
    let (ran, _) = filled.build_elsewhere(&[&filled.key], "swapped results");
    assert!(ran_all(&ran) && ran.stderr.contains("it was signed for another action"), "{}", ran.stderr);
    filled.restore(&saved);
    let (ran, _) = filled.build_elsewhere(&[&filled.key], "the control");
    assert!(ran_nothing(&ran), "{}", ran.stderr);
}

/// Something that is done to every file of a remote store that is chosen.
type Attack = (&'static str, fn(&Path) -> bool, fn(&[u8]) -> Vec<u8>);

fn is_blob(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("sha256"))
}

#[test]
fn poisoned_and_truncated_artifacts_change_no_image() {
    let Some(filled) = Filled::new("poisoned artifacts") else { return };
    let saved = filled.saved();
    let flip = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
        bytes
    };
    let attacks: [Attack; 8] = [
        ("blobs with a flipped bit", is_blob, flip),
        ("truncated blobs", is_blob, |bytes| bytes[..bytes.len() / 2].to_vec()),
        ("empty blobs", is_blob, |_| Vec::new()),
        ("blobs that go on", is_blob, |bytes| [bytes, &[0; 4096]].concat()),
        ("manifests with a flipped bit", |path| named(path, "result-"), flip),
        ("truncated manifests", |path| named(path, "result-"), |bytes| bytes[..bytes.len() / 2].to_vec()),
        ("manifests of nothing", |path| named(path, "result-"), |_| b"{}".to_vec()),
        ("manifests without end", |path| named(path, "result-"), |_| vec![b' '; 5 << 20]),
    ];
    for (what, choose, change) in attacks {
        for (path, bytes) in saved.iter().filter(|(path, _)| choose(path)) {
            fs_err::write(path, change(bytes)).expect("attacking");
        }
        let (ran, _) = filled.build_elsewhere(&[&filled.key], what);
        assert!(ran.stderr.contains("of the remote store"), "{what}: {}", ran.stderr);
        assert!(!ran_nothing(&ran), "{what}: {}", ran.stderr);
        filled.restore(&saved);
    }
    let (ran, _) = filled.build_elsewhere(&[&filled.key], "the control");
    assert!(ran_nothing(&ran), "{}", ran.stderr);
}

#[test]
fn what_was_damaged_is_brought_anew_by_who_writes() {
    let Some(filled) = Filled::new("a damaged remote store") else { return };
    let saved = filled.saved();
    for (path, bytes) in saved.iter().filter(|(path, _)| is_blob(path)) {
        fs_err::write(path, bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>()).expect("poisoned");
    }
    let (writer, _mirror) = filled.second(&[&filled.key]);
    let key = filled.world.environment.config().with_file_name("signing.key");
    fs_err::copy(key, writer.config().with_file_name("signing.key")).expect("the same key");
    configure(&writer, &format!("{}write-from = [\"*\"]\n", remote(filled.folder.path())));
    let ran = writer.run(&filled.project, &["build", "--locked"]).success();
    assert!(ran_all(&ran) && ran.stdout.trim_end() == filled.digest, "{}", ran.stderr);
    let (ran, mirror) = filled.build_elsewhere(&[&filled.key], "it is whole again");
    assert!(ran_nothing(&ran) && mirror.requests().is_empty(), "{}", ran.stderr);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
}

#[test]
fn each_blob_that_is_gone_or_poisoned_alone_changes_no_image() {
    let Some(filled) = Filled::new("one poisoned blob") else { return };
    let saved = filled.saved();
    // By turns, for each build takes a while.
    for (number, (path, bytes)) in saved.iter().filter(|(path, _)| is_blob(path)).enumerate() {
        let what = if number % 2 == 0 { "without" } else { "with a poisoned" };
        match number % 2 {
            0 => fs_err::remove_file(path).expect("removed"),
            _ => fs_err::write(path, bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>()).expect("poisoned"),
        }
        filled.build_elsewhere(&[&filled.key], &format!("{what} {}", path.display()));
        fs_err::write(path, bytes).expect("as it was");
    }
}

#[test]
fn artifacts_that_claim_any_size_are_not_fetched() {
    let Some(filled) = Filled::new("huge artifacts") else { return };
    let saved = filled.saved();
    for path in filled.results() {
        let text = fs_err::read_to_string(&path).expect("a manifest");
        let mut manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        manifest["layers"][0]["size"] = serde_json::json!(1_u64 << 50);
        fs_err::write(&path, manifest.to_string()).expect("written");
    }
    let (ran, _) = filled.build_elsewhere(&[&filled.key], "statements of a petabyte");
    assert!(ran_all(&ran), "{}", ran.stderr);
    filled.restore(&saved);
    // Another packed tree in place of the one that was signed: the manifest says so, the statement does not.
    for path in filled.results() {
        let text = fs_err::read_to_string(&path).expect("a manifest");
        let mut manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        for layer in manifest["layers"].as_array_mut().expect("layers").iter_mut().skip(1) {
            layer["digest"] = serde_json::json!(bulla_model::Digest::of("another").to_string());
            layer["size"] = serde_json::json!(1_u64 << 50);
        }
        fs_err::write(&path, manifest.to_string()).expect("written");
    }
    let (ran, _) = filled.build_elsewhere(&[&filled.key], "what is not signed does not count");
    assert!(ran_nothing(&ran), "{}", ran.stderr);
}

#[test]
fn folders_links_and_pipes_in_place_of_artifacts_are_not_read() {
    let Some(filled) = Filled::new("links in a remote store") else { return };
    for path in files(filled.folder.path()).iter().filter(|path| named(path, "result-") || is_blob(path)) {
        fs_err::remove_file(path).expect("removed");
        match path.to_string_lossy().bytes().map(usize::from).sum::<usize>() % 3 {
            0 => fs_err::create_dir(path).expect("a folder"),
            1 => fs_err::os::unix::fs::symlink("/dev/zero", path).expect("a link"),
            _ => drop(bulla_testkit::process::output(std::process::Command::new("mkfifo").arg(path)).expect("a pipe")),
        }
    }
    let (ran, _) = filled.build_elsewhere(&[&filled.key], "links and pipes");
    assert!(ran_all(&ran), "{}", ran.stderr);
}

#[test]
fn a_package_that_left_the_mirror_comes_from_the_remote_store_or_is_named() {
    let Some(filled) = Filled::new("a package that is gone") else { return };
    let mirror = filled.world.repo.root().to_owned();
    let deb =
        files(&mirror).into_iter().find(|path| path.extension().is_some_and(|end| end == "deb")).expect("a package");
    let (gone, aside) = (deb.clone(), filled.path("aside.deb"));
    fs_err::rename(&gone, &aside).expect("moved");
    let project = &filled.project;
    let (ran, asked) = filled.build_elsewhere(&[], "the package left the mirror");
    assert!(ran_all(&ran), "{}", ran.stderr);
    assert!(asked.requests().is_empty());
    fs_err::remove_dir_all(filled.path("blobs")).expect("removed");
    let (environment, _mirror) = filled.second(&[]);
    let failed = environment.run(project, &["build", "--locked"]).failure(4);
    for part in ["no mirror has it", "the remote store file://", "bulla lock --update tools"] {
        assert!(failed.stderr.contains(part), "{part}: {}", failed.stderr);
    }
    // Without a remote store, that one would help is said.
    configure(&environment, "");
    let failed = environment.run(project, &["build", "--locked"]).failure(4);
    assert!(failed.stderr.contains("a remote store keeps what mirrors drop"), "{}", failed.stderr);
    fs_err::rename(&aside, &gone).expect("moved back");
    environment.run(project, &["build", "--locked"]).success();
}

#[test]
fn only_the_named_branches_write() {
    let Some(world) = World::new("branches that write") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    new_key(&world.environment);
    configure(&world.environment, &format!("{}write-from = [\"main\"]\n", remote(folder.path())));
    let git = |project: &Project, words: &[&str]| {
        bulla_testkit::process::output(std::process::Command::new("git").args(words).current_dir(project.root()))
            .is_ok()
    };
    let count = || files(folder.path()).len();
    let checkout = |branch: &str| {
        let project = project(&GOOD);
        git(&project, &["init", "-q", "-b", branch]).then_some(project)
    };
    let Some(pull_request) = checkout("pull-request") else {
        return bulla_testkit::skipped("branches that write", "git is not installed");
    };
    world.digest(&pull_request);
    assert_eq!(count(), 0, "another branch does not write");
    world.digest(&project(&GOOD));
    assert_eq!(count(), 0, "a folder without git does not write");
    let detached = checkout("main").expect("git");
    let author = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
    assert!(git(&detached, &["add", "."]) && git(&detached, &[&author[..], &["commit", "-qm", "x"]].concat()));
    assert!(git(&detached, &["checkout", "-q", "--detach"]));
    world.digest(&detached);
    assert_eq!(count(), 0, "a commit that is no branch's does not write");
    let main = checkout("main").expect("git");
    world.digest(&main);
    assert!(count() > 0, "the control: main writes");
    // A service that checks out commits says which branch they are of.
    fs_err::remove_dir_all(folder.path()).expect("removed");
    let mut command = world.environment.command(detached.root());
    assert!(
        command.args(["build", "--no-cache"]).env("BULLA_BRANCH", "main").output().expect("it runs").status.success()
    );
    assert!(count() > 0);
}

#[test]
fn two_machines_fill_one_folder_at_once() {
    let Some(world) = World::new("two writers at once") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let keys = format!("{}write-from = [\"*\"]\n", remote(folder.path()));
    let second = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &world.repo, &world.mirror);
    let projects = [project(&GOOD), project(&GOOD)];
    let key = new_key(&world.environment);
    new_key(&second);
    let builds: Vec<_> = [&world.environment, &second]
        .into_iter()
        .zip(&projects)
        .map(|(environment, project)| {
            configure(environment, &keys);
            environment.own(project);
            let mut command = environment.command(project.root());
            command.args(["build", "--quiet"]).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().expect("bulla can be run")
        })
        .collect();
    let digests: Vec<String> = builds
        .into_iter()
        .map(|build| {
            let out = build.wait_with_output().expect("it ends");
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8_lossy(&out.stdout).into_owned()
        })
        .collect();
    assert_eq!(digests[0], digests[1]);
    let drafts: Vec<PathBuf> = files(folder.path()).into_iter().filter(|path| named(path, ".bulla-")).collect();
    assert!(drafts.is_empty(), "{drafts:?}");
    for blob in files(&folder.path().join("blobs")) {
        let digest = bulla_model::Digest::of(fs_err::read(&blob).expect("a blob"));
        assert!(named(&blob, &digest.hex()), "{} is not what its name says", blob.display());
    }
    // Whoever came last signed: a machine that trusts one of them uses what that one signed, and builds the rest.
    let third = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &world.repo, &world.mirror);
    configure(&third, &format!("{}trusted-keys = [{key:?}]\n", remote(folder.path())));
    let ran = third.run(&projects[0], &["build", "--locked"]).success();
    assert_eq!(ran.stdout, digests[0]);
}

#[test]
fn inputs_alone_are_brought_where_there_is_no_signing_key() {
    let Some(world) = World::new("no signing key") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    configure(&world.environment, &format!("{}write-from = [\"*\"]\n", remote(folder.path())));
    world.digest(&project(&GOOD));
    let manifests = files(&folder.path().join("manifests"));
    assert!(!manifests.is_empty() && manifests.iter().all(|path| named(path, "input-")), "{manifests:?}");
}

#[test]
fn a_remote_store_that_is_not_there_is_said_once_and_ends_no_build() {
    let Some(world) = World::new("no remote store") else { return };
    new_key(&world.environment);
    let port = bulla_testkit::docker::free_port();
    configure(&world.environment, &format!("remote = \"oci://127.0.0.1:{port}/bulla\"\nwrite-from = [\"*\"]\n"));
    let ran = world.build(&project(&GOOD), &[]).success();
    assert_eq!(ran.stderr.matches("without the remote store").count(), 1, "{}", ran.stderr);
}

#[test]
fn a_spec_cannot_name_a_remote_store() {
    let Some(world) = World::new("a remote store in a spec") else { return };
    let project = project(&GOOD);
    let spec = project.read("bulla.yaml");
    project.write("bulla.yaml", format!("{spec}store: {{remote: 'file:///tmp/x'}}\n"));
    let refused = world.build(&project, &[]).failure(3);
    assert!(refused.stderr.contains("store"), "{}", refused.stderr);
}

/// Two machines of which the second reads the store of the first.
fn beside(test: &str) -> Option<(World, Project, String, String)> {
    let world = World::new(test)?;
    let key = new_key(&world.environment);
    configure(&world.environment, "write-from = [\"*\"]\n");
    let project = project(&GOOD);
    let digest = world.digest(&project);
    Some((world, project, digest, key))
}

/// Builds on the second machine, and expects the same image.
#[track_caller]
fn build_beside(world: &World, project: &Project, digest: &str, keys: &[&str]) -> (Ran, usize) {
    let mirror = Mirror::serve(world.repo.root());
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &world.repo, &mirror);
    let shared = world.environment.store().display().to_string();
    configure(&environment, &format!("shared = [{shared:?}]\ntrusted-keys = {keys:?}\n"));
    let ran = environment.run(project, &["build", "--locked"]).success();
    assert_eq!(ran.stdout.trim_end(), digest, "{}", ran.stderr);
    environment.run(project, &["store", "verify", "--full"]).success();
    (ran, mirror.requests().len())
}

#[test]
fn a_shared_store_is_read_and_its_results_need_a_signature() {
    let Some((world, project, digest, key)) = beside("a shared store") else { return };
    let before = files(&world.environment.store());
    let (ran, requests) = build_beside(&world, &project, &digest, &[&key]);
    assert!(ran_nothing(&ran) && requests == 0, "{}", ran.stderr);
    let (ran, requests) = build_beside(&world, &project, &digest, &[]);
    assert!(ran_all(&ran) && requests == 0, "inputs need no signature: {}", ran.stderr);
    assert_eq!(files(&world.environment.store()), before, "the shared store is not written");
}

#[test]
fn a_shared_store_that_was_tampered_with_changes_no_image() {
    let Some((world, project, digest, key)) = beside("a shared store that was tampered with") else { return };
    let store = world.environment.store();
    let overwrite = |path: &Path, bytes: &[u8]| {
        use std::os::unix::fs::PermissionsExt;
        fs_err::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("opened");
        fs_err::write(path, bytes).expect("written");
    };
    let results = files(&store.join("actions"));
    let saved: Vec<Vec<u8>> = results.iter().map(|path| fs_err::read(path).expect("a result")).collect();
    for (path, text) in results.iter().zip(saved.iter().cycle().skip(1)) {
        overwrite(path, text);
    }
    let (ran, _) = build_beside(&world, &project, &digest, &[&key]);
    assert!(ran_all(&ran), "swapped results: {}", ran.stderr);
    for (path, text) in results.iter().zip(&saved) {
        overwrite(path, text);
    }
    for path in files(&store.join("blobs")).iter().chain(&files(&store.join("trees"))) {
        if path.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0) {
            overwrite(path, b"poison");
        }
    }
    let (ran, requests) = build_beside(&world, &project, &digest, &[&key]);
    assert!(ran_all(&ran) && requests > 0, "poisoned blobs and trees: {}", ran.stderr);
}

#[test]
fn a_shared_store_that_is_none_is_a_warning() {
    let Some(world) = World::new("a shared store that is none") else { return };
    configure(&world.environment, "shared = [\"/nowhere/at/all\", \"/etc\"]\n");
    let ran = world.build(&project(&GOOD), &[]).success();
    assert_eq!(ran.stderr.matches("a shared store is not used").count(), 2, "{}", ran.stderr);
}
