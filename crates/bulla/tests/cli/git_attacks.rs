//! Hostile repositories and servers: what they hold or say never becomes a source.

use bulla_testkit::git::{GitSaid, has_git};

use crate::git::{World, shop};

const LINE: &str = "100644";

/// Trees that may not be checked out, each with what is said of it.
fn hostile_trees(repo: &bulla_testkit::GitRepo) -> Vec<(&'static str, String, &'static str)> {
    let blob = repo.object("blob", b"#!/bin/sh\nid\n");
    let link = repo.object("blob", b"/etc/passwd");
    let inner = repo.tree(&[("100755", b"post-checkout", &blob)]);
    let named = |name: &[u8]| repo.tree(&[("100644", name, &blob)]);
    let name = "has a name";
    let mut trees = vec![
        ("a name that leads out", repo.tree(&[("40000", b"..", &inner)]), name),
        ("a name that stays", repo.tree(&[("40000", b".", &inner)]), name),
        ("an absolute path", named(b"/etc/passwd"), name),
        ("a path", named(b"../../owned"), name),
        ("no name", named(b""), "has no name"),
        ("a backslash", named(b"a\\..\\b"), name),
        ("a name twice", repo.tree(&[(LINE, b"a", &blob), (LINE, b"a", &blob)]), "not in order"),
        ("another order", repo.tree(&[(LINE, b"b", &blob), (LINE, b"a", &blob)]), "not in order"),
        (
            "a file and a directory of one name",
            repo.tree(&[(LINE, b"a", &blob), (LINE, b"a-b", &blob), ("40000", b"a", &inner)]),
            "comes twice",
        ),
        ("a device", repo.tree(&[("20000", b"a", &blob)]), "mode that git does not write"),
        ("a set-user-id program", repo.tree(&[("104755", b"a", &blob)]), "mode that git does not write"),
        ("a link to nothing", repo.tree(&[("120000", b"a", &repo.object("blob", b""))]), "link to what is no name"),
        ("a list of submodules that is a link", repo.tree(&[("120000", b".gitmodules", &link)]), "symbolic link"),
        ("a name that is too long", named(&[b'a'; 256]), "too long"),
        ("a name that is no text", named(b"\xff\xfe"), "is not UTF-8"),
    ];
    for git in [".git", ".GIT", ".git ", ".git.", ".git::$INDEX_ALLOCATION", "git~1", ".g\u{200c}it"] {
        trees.push(("settings of a repository", repo.tree(&[("40000", git.as_bytes(), &inner)]), "means `.git`"));
    }
    trees
}

#[test]
fn no_hostile_tree_becomes_a_source() {
    let Some(world) = World::new("hostile trees") else { return };
    let repo = world.repo("shop");
    let mut given = 0;
    for (what, tree, says) in hostile_trees(&repo) {
        let commit = repo.commit_tree(&tree);
        let project = world.project(&format!("commit: {commit}"));
        let ran = world.lock(&project);
        // Some are so wrong that git itself gives them to nobody; those are in packs made by hand in `git::tests`.
        if !ran.stderr.contains("possible repository corruption") {
            assert!(matches!(ran.code, Some(3 | 5)), "{what}: {:?} {}", ran.code, ran.stderr);
            assert!(ran.stderr.contains(says), "{what}: {}", ran.stderr);
            given += 1;
        }
        assert!(!project.path("bulla.lock").exists(), "{what}");
        // Without the defence the server would have given it: the pack with that tree came.
        let asked = world.server.asked();
        assert!(asked.iter().any(|asked| asked.method == "POST"), "{what}");
        world.server.forget();
    }
    assert!(given > 15, "only {given} were given");
    // Links that lead out are kept out of a source as for archives, and are never followed.
    let link = repo.object("blob", b"../../etc/passwd");
    let commit = repo.commit_tree(&repo.tree(&[("120000", b"out", &link)]));
    let ran = world.build(&world.project(&format!("commit: {commit}")), &[]).failure(5);
    assert!(ran.stderr.contains("`out` is a link to `../../etc/passwd`"), "{}", ran.stderr);
    let commit = repo.commit_tree(&repo.tree(&[(LINE, b"in", &link), ("120000", b"out", &link)]));
    world.build(&world.project(&format!("commit: {commit}, ignore: [out]")), &[]).success();
}

#[test]
fn a_server_that_gives_another_commit_is_noticed() {
    let Some(world) = World::new("servers that lie") else { return };
    let repo = world.repo("shop");
    let first = shop(&repo);
    repo.write("hello.txt", "owned\n");
    let second = repo.commit("owned");
    let project = world.project(&format!("commit: {first}"));
    world.lock(&project).success();
    let good = project.read("bulla.lock");

    // It gives the pack of another commit for the one that is asked for.
    let (from, to) = (first.clone(), second.clone());
    world.server.before(move |asked| {
        asked.body = String::from_utf8_lossy(&asked.body).replace(&from, &to).into_bytes();
        None
    });
    world.fails(&world.project(&format!("commit: {first}")), 5, "gave other objects than were asked for");
    world.forget();
    let ran = world.build(&project, &["--locked"]).failure(5);
    assert!(ran.stderr.contains(&first), "{}", ran.stderr);
    world.server.heal();

    // A lock that somebody forged to have another commit, but not its digest.
    project.write("bulla.yaml", project.read("bulla.yaml").replace(&first, &second));
    let forged = good.replace(&first, &second);
    let (head, tail) = forged.split_once("\nchecksum = ").expect("a checksum");
    let (_, body) = tail.split_once('\n').expect("a line");
    project.write("bulla.lock", format!("{head}\nchecksum = \"{}\"\n{body}", bulla_model::Digest::of(body)));
    let ran = world.build(&project, &["--locked"]).failure(5);
    assert!(!project.path("bulla-out").exists(), "{}", ran.stderr);
    // The control: the right lock is built.
    project.write("bulla.yaml", project.read("bulla.yaml").replace(&second, &first));
    project.write("bulla.lock", &good);
    world.build(&project, &["--locked"]).success();
}

#[test]
fn answers_that_are_none_are_refused() {
    let Some(world) = World::new("answers that are none") else { return };
    let repo = world.repo("shop");
    let first = shop(&repo);
    let fails = |code: i32, says: &str| world.fails(&world.project(&format!("commit: {first}")), code, says);
    let advert = "application/x-git-upload-pack-advertisement";
    let reply = "application/x-git-upload-pack-result";
    world.server.before(|_| Some(GitSaid::body("text/html", "<html>log in</html>")));
    fails(4, "does not speak git's protocol");
    world.server.before(move |_| Some(GitSaid::body(advert, "<html>log in</html>")));
    fails(4, "does not speak git's protocol");
    world.server.before(|_| Some(GitSaid::status(404)));
    fails(4, "answered 404");
    let cut = move |at: fn(usize) -> usize| {
        move |asked: &bulla_testkit::git::GitAsked, mut said: GitSaid| {
            if asked.method == "POST" {
                said.body.truncate(at(said.body.len()));
            }
            said
        }
    };
    for at in [|_| 0, |_| 3, |_| 40, |length| length / 2, |length| length - 4] {
        world.server.heal();
        world.server.after(cut(at));
        fails(4, "does not speak git's protocol");
    }
    // A bit of the pack is another.
    world.server.after(|asked, mut said| {
        if let (Some(at), "POST") = (said.body.len().checked_sub(60), asked.method.as_str()) {
            said.body[at] ^= 1;
        }
        said
    });
    fails(5, "the pack of objects is damaged");
    world.server.after(move |asked, said| match asked.method.as_str() {
        "POST" => GitSaid::body(reply, "0034ERR upload-pack: not our ref \u{1b}]0;owned\u{7} and more\n"),
        _ => said,
    });
    fails(4, "the git server refuses: upload-pack: not our ref \\x1b]0;owned");
    world.server.after(|_, mut said| {
        let text = String::from_utf8_lossy(&said.body).replace("object-format=sha1", "object-format=sha2");
        said.body = text.into_bytes();
        said
    });
    fails(3, "only those of SHA-1");
    world.server.heal();
    world.lock(&world.project(&format!("commit: {first}"))).success();
}

#[test]
fn a_spec_leads_git_to_no_place_of_this_machine() {
    if !has_git("places of this machine") {
        return;
    }
    let Some(world) = World::new("places of this machine") else { return };
    let first = shop(&world.repo("shop"));
    let other = bulla_testkit::GitServer::serve(world.folder.path());
    let port = other.address().port();
    for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), "169.254.169.254".to_owned()] {
        let project = crate::git::project(&format!("git: 'http://{host}/shop', commit: {first}"));
        world.fails(&project, 7, "local-hosts");
    }
    assert!(other.asked().is_empty());
    for url in ["file:///srv/shop", "ext::sh -c id", "/srv/shop", "git://127.0.0.1/shop", "--upload-pack=id"] {
        world.fails(&crate::git::project(&format!("git: '{url}', commit: {first}")), 3, "bulla.yaml");
    }
}
