//! Sources that are URLs: pinned by digest, signature or first sight, and fetched, unpacked and built from.

use bulla_model::Digest;
use bulla_testkit::{
    Fault, Mirror, Project, Ran, TestAuthority, TestEnvironment,
    archive::{TarEntry, gzip, tar},
    debian::TestKey,
};

/// A server of sources, and an environment whose configuration lets it be reached.
struct World {
    folder: Project,
    server: Mirror,
    environment: TestEnvironment,
}

const ARCHIVE: &str = "/shop-1.2.tar.gz";

impl World {
    fn new() -> Self {
        let folder = Project::new();
        folder.write(&ARCHIVE[1..], archive("hello\n"));
        let server = Mirror::serve(folder.root());
        let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
        environment.write_config(&format!(
            "[registry.debian]\napt = false\n[network]\nlocal-hosts = [\"{}\"]\n",
            server.address()
        ));
        Self { folder, server, environment }
    }

    /// A project whose image is what its source has.
    fn project(&self, keys: &str) -> Project {
        Project::with_spec(&spec(&format!("url: {}{ARCHIVE}, {keys}", self.server.url())))
    }

    fn lock(&self, project: &Project) -> Ran {
        self.environment.run(project, &["lock"])
    }

    fn build(&self, project: &Project, arguments: &[&str]) -> Ran {
        self.environment.run(project, &[&["build", "--progress", "plain"], arguments].concat())
    }

    /// Forgets what was fetched and built.
    fn forget(&self) {
        let _ = fs_err::remove_dir_all(self.environment.store());
    }

    fn fails(&self, project: &Project, code: i32, says: &str) {
        let ran = self.lock(project).failure(code);
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
        assert!(!project.path("bulla.lock").exists(), "a lock was written");
    }
}

fn spec(source: &str) -> String {
    format!(
        "bulla: 1\nname: shop\nsources:\n  shop: {{{source}}}\nimage:\n  from: {{scratch: {{}}}}\n  copy:\n    - {{source: shop, to: /shop}}\n  user: 65532\n"
    )
}

fn archive(text: &str) -> Vec<u8> {
    gzip(&tar(&[
        TarEntry::directory("shop-1.2/", 0o755),
        TarEntry::file("shop-1.2/hello", 0o644, text),
        TarEntry::file("shop-1.2/bin/run", 0o755, "#!/bin/sh\n"),
        TarEntry::symlink("shop-1.2/link", "bin/run"),
    ]))
}

fn sha256() -> String {
    Digest::of(archive("hello\n")).hex()
}

#[test]
fn a_source_by_its_digest_is_locked_fetched_unpacked_and_built() {
    let world = World::new();
    let project = world.project(&format!("sha256: {}, strip: 1", sha256()));
    let ran = world.lock(&project).success();
    assert!(ran.stderr.contains(&format!("+ source shop sha256:{}, as the spec says", sha256())), "{}", ran.stderr);
    let lock = project.read("bulla.lock");
    assert!(lock.contains("evidence = \"digest of the spec\"") && lock.contains(&sha256()), "{lock}");
    world.server.forget_requests();
    let digest = world.build(&project, &["--locked"]).success().stdout;
    assert!(world.server.requests().is_empty(), "locking brought it already");
    let files = world.environment.run(&project, &["inspect", "bulla-out"]).success().stdout;
    assert!(files.contains("shop"), "{files}");

    let why = world.environment.run(&project, &["why", "/shop/bin/run"]).success().stdout;
    let pin = format!("lock      sha256:{}", sha256());
    let url = format!("url       {}{ARCHIVE}", world.server.url());
    for part in ["source    shop, there bin/run", &url, &pin, "evidence  the spec has its SHA-256"] {
        assert!(why.contains(part), "{part} is not in {why}");
    }
    let link = world.environment.run(&project, &["why", "/shop/bin/run", "--json"]).success().stdout;
    assert!(link.contains("\"link\":\"download\"") && link.contains("\"by\":\"digest\""), "{link}");

    // From an empty store, by the lock alone, to the same image; and again with nothing to do.
    world.forget();
    world.server.fault(ARCHIVE, Fault::CutOff { after: 40, times: 1 });
    assert_eq!(world.build(&project, &["--locked"]).success().stdout, digest);
    assert_eq!(world.server.requests().len(), 2, "it went on where it was cut off");
    assert_eq!(world.build(&project, &["--locked"]).success().stdout, digest);
    assert_eq!(world.server.requests().len(), 2);
    // What is taken of it is in the spec, and needs no other lock.
    let part = world.project(&format!("sha256: {}, subfolder: shop-1.2/bin, ignore: ['*.md']", sha256()));
    part.write("bulla.lock", &lock);
    let other = world.build(&part, &["--locked"]).success().stdout;
    assert_ne!(other, digest);
    let ran = world.build(&world.project(&format!("sha256: {}, strip: 9", sha256())), &[]).failure(3);
    assert!(ran.stderr.contains("at its top it has shop-1.2") && ran.stderr.contains("`strip`"), "{}", ran.stderr);
}

#[test]
fn other_bytes_than_the_digest_says_are_refused_when_locking_and_when_locked() {
    let world = World::new();
    let wrong = Digest::of("other").hex();
    world.fails(&world.project(&format!("sha256: {wrong}")), 5, "is not what it should be");
    let project = world.project(&format!("sha256: {}", sha256()));
    world.lock(&project).success();
    world.forget();
    for bytes in [archive("owned\n"), archive("hello\n")[..100].to_vec(), b"<html>gone</html>".to_vec()] {
        world.server.heal();
        world.server.fault(ARCHIVE, Fault::Bytes(bytes));
        let ran = world.build(&project, &["--locked"]).failure(5);
        assert!(!project.path("bulla-out").exists(), "{}", ran.stderr);
    }
    world.server.heal();
    world.build(&project, &["--locked"]).success();
}

#[test]
fn a_server_that_gives_something_else_the_second_time_is_noticed() {
    // Nothing vouches for it: over an encrypted connection it is believed once, said so, and pinned.
    let authority = TestAuthority::new();
    let folder = Project::new();
    folder.write(&ARCHIVE[1..], archive("hello\n"));
    let server = Mirror::serve_tls(folder.root(), &authority);
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    let pem = environment.folder().join("authority.pem");
    fs_err::write(&pem, authority.pem()).expect("written");
    environment.write_config(&format!(
        "[registry.debian]\napt = false\n[network]\nlocal-hosts = [\"{}\"]\nca-files = [\"{}\"]\n",
        server.address(),
        pem.display()
    ));
    let reason = "'the project publishes neither digests nor signatures'";
    let project = Project::with_spec(&spec(&format!("url: {}{ARCHIVE}, unsigned: {reason}", server.url())));
    let ran = environment.run(&project, &["lock"]).success();
    assert!(ran.stderr.contains("seen for the first time and believed: nothing vouches for it"), "{}", ran.stderr);
    let lock = project.read("bulla.lock");
    assert!(lock.contains("evidence = \"first use\"") && lock.contains(&sha256()), "{lock}");
    let build = || environment.run(&project, &["build"]);
    let digest = build().success().stdout;

    server.fault(ARCHIVE, Fault::Bytes(archive("owned\n")));
    assert_eq!(build().success().stdout, digest, "it is in the store");
    fs_err::remove_dir_all(environment.store()).expect("removed");
    build().failure(5);
    environment.run(&project, &["lock"]).success();
    assert_eq!(project.read("bulla.lock"), lock, "only an update asks again");
    let moved = environment.run(&project, &["lock", "--update", "shop"]).success();
    assert!(moved.stderr.contains("~ source shop"), "{}", moved.stderr);
    assert!(!project.read("bulla.lock").contains(&sha256()));
    assert_ne!(build().success().stdout, digest);
}

#[test]
fn a_source_that_nothing_vouches_for_needs_a_word() {
    let world = World::new();
    world.fails(&world.project(""), 3, "nothing says which bytes this URL has to give");
    world.fails(&world.project("unsigned: yes"), 3, "is no reason");
    let plain = world.project("unsigned: 'upstream signs nothing'");
    world.fails(&plain, 3, "a connection that anybody can change");
    assert!(world.server.requests().is_empty());
}

#[test]
fn a_signature_is_verified_when_the_lock_is_written_and_its_key_is_in_it() {
    let world = World::new();
    let (key, other) = (TestKey::new(), TestKey::new());
    let url = format!("{}{ARCHIVE}.asc", world.server.url());
    let signed = |key: &TestKey, text: &str| {
        world.folder.write(&format!("{}.asc", &ARCHIVE[1..]), key.detached(&archive(text)));
    };
    let project = || {
        let project = world.project(&format!("signature: {url}, signed-by: keys/shop.asc, strip: 1"));
        project.write("keys/shop.asc", key.public());
        project
    };
    signed(&key, "hello\n");
    let good = project();
    let ran = world.lock(&good).success();
    let fingerprint = key.fingerprint().to_uppercase();
    assert!(ran.stderr.contains(&format!("signed by {fingerprint}")), "{}", ran.stderr);
    let lock = good.read("bulla.lock");
    assert!(lock.contains("evidence = \"signature\"") && lock.contains(&fingerprint), "{lock}");
    world.build(&good, &["--locked"]).success();
    let why = world.environment.run(&good, &["why", "/shop/hello"]).success().stdout;
    assert!(why.contains(&format!("evidence  the signature {url}, sha256:")), "{why}");
    assert!(why.contains("by a key of keys/shop.asc") && why.contains(&format!("signed by {fingerprint}")), "{why}");
    // The build asks for no signature again: the digest is what counts.
    world.server.fault(&format!("{ARCHIVE}.asc"), Fault::Status { status: 404, times: 9, retry_after: None });
    world.forget();
    world.build(&good, &["--locked"]).success();
    world.server.heal();

    signed(&key, "something else\n");
    world.fails(&project(), 5, "does not match");
    signed(&other, "hello\n");
    world.fails(&project(), 5, "not in the keyring");
    world.folder.write(&format!("{}.asc", &ARCHIVE[1..]), "<html>not found</html>");
    world.fails(&project(), 5, "reading the signature");
    signed(&key, "hello\n");
    let bad_key = project();
    bad_key.write("keys/shop.asc", "no key at all\n");
    world.fails(&bad_key, 3, "reading the keys");
    let without = project();
    fs_err::remove_file(without.path("keys/shop.asc")).expect("removed");
    world.fails(&without, 3, "keys/shop.asc, are not there");
    let outside = Project::new().file("key.asc", key.public());
    let linked = project();
    fs_err::remove_dir_all(linked.path("keys")).expect("removed");
    let linked = linked.symlink("keys", &outside.root().display().to_string());
    linked.write("bulla.yaml", linked.read("bulla.yaml").replace("keys/shop.asc", "keys/key.asc"));
    world.fails(&linked, 3, "are outside of the project");
    // With a digest too, both must hold.
    let both = project();
    both.write("bulla.yaml", both.read("bulla.yaml").replace("strip: 1", &format!("sha256: {}", sha256())));
    world.lock(&both).success();
    both.write("bulla.yaml", both.read("bulla.yaml").replace(&sha256(), &Digest::of("x").hex()));
    fs_err::remove_file(both.path("bulla.lock")).expect("removed");
    world.fails(&both, 5, "is not what it should be");
}

#[test]
fn a_spec_reaches_no_place_of_this_machine_but_where_the_configuration_says() {
    let world = World::new();
    let forbidden = Mirror::serve(world.folder.root());
    let with_url = |url: &str| Project::with_spec(&spec(&format!("url: '{url}', sha256: {}", sha256())));
    let port = forbidden.address().port();
    for host in
        [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}"), "169.254.169.254".into()]
    {
        world.fails(&with_url(&format!("http://{host}{ARCHIVE}")), 7, "local-hosts");
    }
    world.server.fault(ARCHIVE, Fault::Redirect(format!("{}{ARCHIVE}", forbidden.url())));
    world.fails(&world.project(&format!("sha256: {}", sha256())), 7, "leads to an address of this machine");
    world.server.heal();
    world.lock(&world.project(&format!("sha256: {}", sha256()))).success();
    assert!(forbidden.requests().is_empty());
    for url in ["file:///etc/passwd", "ftp://files.example/x", "https://user:word@files.example/x", "-o.tar.gz"] {
        world.fails(&with_url(url), 3, "bulla.yaml");
    }
    // Nor does a lock that somebody forged lead there.
    let project = world.project(&format!("sha256: {}", sha256()));
    world.lock(&project).success();
    world.forget();
    for file in ["bulla.yaml", "bulla.lock"] {
        project.write(file, project.read(file).replace(&world.server.url(), &forbidden.url()));
    }
    let lock = project.read("bulla.lock");
    let (head, tail) = lock.split_once("\nchecksum = ").expect("a checksum");
    let (_, body) = tail.split_once('\n').expect("a line");
    project.write("bulla.lock", format!("{head}\nchecksum = \"{}\"\n{body}", Digest::of(body)));
    let ran = world.build(&project, &["--locked"]).failure(7);
    assert!(ran.stderr.contains("local-hosts") && forbidden.requests().is_empty(), "{}", ran.stderr);
}

#[test]
fn a_login_in_a_spec_is_refused_and_not_shown() {
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    for url in ["https://me:hidden@files.example/x.tar.gz", "ftp://me:hidden@files.example/x.tar.gz"] {
        let project = Project::with_spec(&spec(&format!("url: '{url}', sha256: {}", sha256())));
        for arguments in [&["check"][..], &["--progress", "json", "check"]] {
            let ran = environment.run(&project, arguments).failure(3);
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(said.contains("bulla.yaml") && !said.contains("hidden") && !said.contains("me:"), "{said}");
        }
        let drawn = environment.run(&project, &["check"]).failure(3).stderr;
        assert!(drawn.contains("://*********@files.example/x.tar.gz"), "{drawn}");
    }
}

#[test]
fn no_hostile_archive_becomes_a_source() {
    let world = World::new();
    for (what, entries) in bulla_testkit::hostile::tar_entries() {
        let bytes = gzip(&tar(&entries));
        world.folder.write(&ARCHIVE[1..], &bytes);
        let project = world.project(&format!("sha256: {}", Digest::of(&bytes).hex()));
        let ran = world.build(&project, &[]).failure(5);
        assert!(ran.stderr.contains("unpacking the source `shop`"), "{what}: {}", ran.stderr);
        assert!(!project.path("bulla-out").exists(), "{what}");
    }
    let outward = gzip(&tar(&[TarEntry::symlink("out", "/etc/passwd"), TarEntry::file("in", 0o644, "x")]));
    world.folder.write(&ARCHIVE[1..], &outward);
    let keys = format!("sha256: {}", Digest::of(&outward).hex());
    let ran = world.build(&world.project(&keys), &[]).failure(5);
    assert!(ran.stderr.contains("`out` is a link to `/etc/passwd`") && ran.stderr.contains("ignore"), "{}", ran.stderr);
    world.build(&world.project(&format!("{keys}, ignore: [out]")), &[]).success();
}

#[test]
fn a_file_that_is_no_archive_is_taken_as_it_is() {
    let world = World::new();
    world.folder.write("data.csv", "a,b\n");
    let digest = Digest::of("a,b\n").hex();
    let url = format!("url: {}/data.csv, sha256: {digest}", world.server.url());
    let built = world.build(&Project::with_spec(&spec(&url)), &[]).success().stdout;
    let named = Project::with_spec(&spec(&format!("{url}, file: other.csv")));
    assert_ne!(world.build(&named, &[]).success().stdout, built);
    let ran = world.build(&Project::with_spec(&spec(&format!("{url}, unpack: zip"))), &[]).failure(3);
    assert!(ran.stderr.contains("it is not a zip archive") && ran.stderr.contains("unpack: no"), "{}", ran.stderr);
    let kept = world.project(&format!("sha256: {}, unpack: no", sha256()));
    world.build(&kept, &[]).success();
}

#[test]
fn only_what_changed_is_asked_for_again() {
    let world = World::new();
    let project = world.project(&format!("sha256: {}", sha256()));
    world.lock(&project).success();
    world.folder.write("more.txt", "more\n");
    let more =
        format!("  more: {{url: {}/more.txt, sha256: {}}}\nimage:", world.server.url(), Digest::of("more\n").hex());
    let before = project.read("bulla.yaml");
    project.write("bulla.yaml", before.replace("image:", &more));
    let ran = world.environment.run(&project, &["build", "--locked"]).failure(7);
    assert!(ran.stderr.contains("source.more: the lock does not have it yet"), "{}", ran.stderr);
    world.server.forget_requests();
    let ran = world.lock(&project).success();
    assert!(ran.stderr.contains("+ source more") && !ran.stderr.contains("source shop"), "{}", ran.stderr);
    assert_eq!(world.server.requests().len(), 1);
    project.write("bulla.yaml", before);
    let ran = world.lock(&project).success();
    assert!(ran.stderr.contains("- source more"), "{}", ran.stderr);
    let unknown = world.environment.run(&project, &["lock", "--update", "more"]).failure(3);
    assert!(unknown.stderr.contains("no package, source or image `more`"), "{}", unknown.stderr);
}
