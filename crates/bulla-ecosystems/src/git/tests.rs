//! Objects, ids and conversations: well formed, and otherwise.

use bulla_model::{Fault, GitId};

use super::{
    Bare, Commit, GitError, Kind, Pack, Tag,
    files::{Checkout, Limits},
    hash::{IdHasher, id_of},
    lfs::{self, Pointer},
    object::entries,
    pack::tests::{pack, whole},
    talk::{self, Advert, PackReply, References},
};

const ID: GitId = GitId::from_bytes([7; 20]);

/// The first 320 bytes of one of the two documents that were the first known to have the same SHA-1 (Stevens, Bursztein, Karpman,
/// Albertini, Markov: "The first collision for full SHA-1", 2017).
const FORGED: &str = concat!(
    "255044462d312e330a25e2e3cfd30a0a0a312030206f626a0a3c3c2f57696474682032203020522f4865696768742033203020522f547970652034203020522f",
    "537562747970652035203020522f46696c7465722036203020522f436f6c6f7253706163652037203020522f4c656e6774682038203020522f42697473506572",
    "436f6d706f6e656e7420383e3e0a73747265616d0affd8fffe00245348412d3120697320646561642121212121852fec092339759c39b1a1c63c4c97e1fffe01",
    "7346dc9166b67e118f029ab621b2560ff9ca67cca8c7f85ba84c79030c2b3de218f86db3a90901d5df45c14f26fedfb3dc38e96ac22fe7bd728f0e45bce046d2",
    "3c570feb141398bb552ef5a0a82be331fea48037b8b5d71f0e332edf93ac3500eb4ddc0decc1a864790c782c76215660dd309791d06bd0af3f98cda4bc4629b1",
);

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("digits")).collect()
}

#[test]
fn forged_sha1_is_noticed() {
    let forged = bytes(FORGED);
    let hashed = |bytes: &[u8]| {
        let mut hasher = IdHasher::plain();
        hasher.update(bytes);
        hasher.finish()
    };
    assert_eq!(hashed(&forged), Err(GitError::Collision));
    // The control: the same bytes but one, and the digest that both documents have by a hasher that does not look.
    let mut other = forged.clone();
    other[200] ^= 1;
    assert!(hashed(&other).is_ok());
    let plain = |bytes: &[u8]| <sha1::Sha1 as sha1::Digest>::digest(bytes).to_vec();
    let mut twin = forged.clone();
    for (at, change) in TWIN {
        twin[at] ^= change;
    }
    assert_ne!(forged, twin);
    assert_eq!(plain(&forged), plain(&twin), "they are a collision");
    assert_eq!(hashed(&twin), Err(GitError::Collision));
}

/// Where the other document differs.
const TWIN: [(usize, u8); 62] = [
    (192, 12),
    (195, 2),
    (196, 192),
    (199, 16),
    (200, 180),
    (203, 28),
    (204, 60),
    (207, 4),
    (208, 188),
    (211, 26),
    (212, 32),
    (215, 16),
    (216, 36),
    (219, 28),
    (220, 236),
    (223, 20),
    (224, 12),
    (227, 2),
    (228, 192),
    (231, 16),
    (232, 180),
    (235, 28),
    (236, 44),
    (239, 4),
    (240, 188),
    (243, 24),
    (244, 176),
    (247, 16),
    (251, 12),
    (252, 184),
    (255, 16),
    (256, 12),
    (259, 2),
    (260, 192),
    (263, 16),
    (264, 180),
    (267, 28),
    (268, 60),
    (271, 4),
    (272, 188),
    (275, 26),
    (276, 32),
    (279, 16),
    (280, 36),
    (283, 28),
    (284, 236),
    (287, 20),
    (288, 12),
    (291, 2),
    (292, 192),
    (295, 16),
    (296, 180),
    (299, 28),
    (300, 44),
    (303, 4),
    (304, 188),
    (307, 24),
    (308, 176),
    (311, 16),
    (315, 12),
    (316, 184),
    (319, 16),
];

#[test]
fn ids_are_those_of_git() {
    for (kind, text, id) in [
        (Kind::Blob, "", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
        (Kind::Blob, "hello\n", "ce013625030ba8dba906f756967f9e9ca394464a"),
        (Kind::Tree, "", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"),
    ] {
        assert_eq!(id_of(kind, text.as_bytes()).expect("no attack").to_string(), id);
    }
}

const COMMIT: &str = "tree 0123456789abcdef0123456789abcdef01234567\nparent 1123456789abcdef0123456789abcdef01234567\n\
    author A <a@x.example> 1 +0000\ncommitter B <b@x.example> 1767323045 +0100\nencoding UTF-8\ngpgsig -----BEGIN SSH\n line\n \n end\n\
    mergetag x\n gpgsig no\n\nmessage\ngpgsig no\n";

#[test]
fn commits_are_read_and_what_they_sign_is_without_the_signature() {
    let commit = Commit::parse(ID, COMMIT.as_bytes()).expect("well formed");
    assert_eq!(commit.tree.to_string(), "0123456789abcdef0123456789abcdef01234567");
    assert_eq!((commit.committer.name.as_str(), commit.committer.seconds), ("B <b@x.example>", 1_767_323_045));
    assert_eq!(commit.signature.as_deref(), Some(b"-----BEGIN SSH\nline\n\nend\n".as_slice()));
    let without = COMMIT.replace("gpgsig -----BEGIN SSH\n line\n \n end\n", "");
    assert_eq!(String::from_utf8_lossy(&commit.payload), without);
    let plain = Commit::parse(ID, without.as_bytes()).expect("well formed");
    assert_eq!((plain.signature, plain.payload.as_slice()), (None, without.as_bytes()));
    for (from, to) in [
        ("tree ", "Tree "),
        ("tree 0123456789", "tree 012345678"),
        ("parent 1", "parent z"),
        ("author A", "writer A"),
        ("committer B", "author B"),
        ("1767323045", "soon"),
        ("<b@x.example>", "b"),
        ("encoding UTF-8", "gpgsig other"),
        ("encoding UTF-8", "tree 0123456789abcdef0123456789abcdef01234567"),
        ("encoding UTF-8", "parent 0123456789abcdef0123456789abcdef01234567"),
        ("encoding UTF-8", "committer C <c@x.example> 1 +0000"),
        ("message", "mess\0age"),
        ("\n\nmessage\ngpgsig no\n", "\nmessage"),
    ] {
        let bad = COMMIT.replacen(from, to, 1);
        assert!(Commit::parse(ID, bad.as_bytes()).is_err(), "{to:?}");
    }
}

const TAG: &str = "object 0123456789abcdef0123456789abcdef01234567\ntype commit\ntag v1\ntagger A <a@x.example> 5 +0000\n\n\
    the message\n-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n";

#[test]
fn tags_are_read_and_what_they_sign_is_what_stands_before_the_signature() {
    let tag = Tag::parse(ID, TAG.as_bytes()).expect("well formed");
    assert_eq!((tag.kind, tag.name.as_slice()), (Kind::Commit, b"v1".as_slice()));
    assert!(tag.payload.ends_with(b"the message\n"));
    assert!(tag.signature.is_some_and(|signature| signature.starts_with(b"-----BEGIN PGP")));
    // Of two, the last is the signature, as for git.
    let twice = TAG.replace("the message", "-----BEGIN SSH SIGNATURE-----\nx");
    assert!(Tag::parse(ID, twice.as_bytes()).expect("well formed").payload.ends_with(b"SIGNATURE-----\nx\n"));
    let within = TAG.replace("\n-----BEGIN", "\n> -----BEGIN");
    assert_eq!(Tag::parse(ID, within.as_bytes()).expect("well formed").signature, None);
    for (from, to) in [
        ("object 0", "object x"),
        ("type commit", "type thing"),
        ("tag v1", "name v1"),
        ("tagger A", "gpgsig A"),
        ("5 +0000", "five"),
        ("the message", "the\0message"),
    ] {
        assert!(Tag::parse(ID, TAG.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
    }
}

fn tree(list: &[(&str, &[u8])]) -> Vec<u8> {
    list.iter().flat_map(|(mode, name)| [mode.as_bytes(), b" ", name, b"\0", &[9; 20]].concat()).collect()
}

#[test]
fn trees_have_the_order_and_the_modes_of_git_alone() {
    let good: [(&str, &[u8]); 5] =
        [("100644", b"a"), ("100755", b"a-b"), ("40000", b"a.d"), ("120000", b"l"), ("160000", b"m")];
    assert_eq!(entries(ID, &tree(&good)).expect("well formed").len(), 5);
    // A directory is ordered as if there were a slash behind it.
    assert!(entries(ID, &tree(&[("100644", b"a-b"), ("40000", b"a")])).is_ok());
    for bad in [
        tree(&[("40000", b"a"), ("100644", b"a-b")]),
        tree(&[("100644", b"b"), ("100644", b"a")]),
        tree(&[("100644", b"a"), ("100644", b"a")]),
        tree(&[("100777", b"a")]),
        tree(&[("040000", b"a")]),
        tree(&[("20000", b"a")]),
        tree(&[("", b"a")]),
        b"100644 a\0short".to_vec(),
        b"100644".to_vec(),
        b"100644a\0".to_vec(),
    ] {
        assert!(entries(ID, &bad).is_err(), "{bad:?}");
    }
    assert!(entries(ID, b"").expect("an empty tree").is_empty());
}

#[test]
fn a_missing_object_is_named() {
    let pack = Pack::read(EMPTY_PACK.to_vec()).expect("an empty pack");
    let error = Checkout::new().add(pack, &ID, None).expect_err("nothing is there");
    assert_eq!(error, GitError::Missing { what: "tree", id: ID });
    assert!(!error.hints().is_empty());
}

/// Trees over one file, each written as it is; the last is checked out.
fn check_out(trees: &[&dyn Fn(GitId) -> Vec<u8>], limits: Limits) -> Result<Checkout, GitError> {
    let file = b"content".to_vec();
    let mut below = id_of(Kind::Blob, &file).expect("no attack");
    let mut made = Vec::new();
    for tree in trees {
        made.push(tree(below));
        below = id_of(Kind::Tree, made.last().expect("one")).expect("no attack");
    }
    let objects: Vec<_> = std::iter::once(whole(3, &file)).chain(made.iter().map(|tree| whole(2, tree))).collect();
    let mut checkout = Checkout::new();
    checkout.limits = limits;
    checkout.add(Pack::read(pack(&objects)).expect("a good pack"), &below, None)?;
    Ok(checkout)
}

fn named<'n>(mode: &'n str, names: &'n [&[u8]]) -> impl Fn(GitId) -> Vec<u8> + 'n {
    move |below| {
        let entry = |name: &&[u8]| [mode.as_bytes(), b" ", name, b"\0", below.as_bytes().as_slice()].concat();
        names.iter().flat_map(entry).collect()
    }
}

#[test]
fn names_that_lead_elsewhere_are_not_checked_out() {
    let long = [b'a'; 256];
    for name in
        [b"".as_slice(), b".", b"..", b"/", b"../x", b"a/b", b"a\\b", b".git", b".GiT", b".git ", b"git~1", &long]
    {
        for mode in ["100644", "120000", "160000"] {
            assert!(check_out(&[&named(mode, &[name])], Limits::default()).is_err(), "{name:?}");
        }
        let inside = check_out(&[&named("100644", &[b"a"]), &named("40000", &[name])], Limits::default());
        assert!(inside.is_err(), "{name:?}");
    }
    let good = check_out(&[&named("100755", &[b"a", b"b"]), &named("40000", &[b".github"])], Limits::default());
    let mut tar = Vec::new();
    good.expect("the control").write(&mut tar, &mut |_| Err(std::io::ErrorKind::NotFound.into())).expect("written");
    let paths = [b".github/".as_slice(), b".github/a\0", b".github/b\0"];
    assert!(paths.iter().all(|path| tar.windows(path.len()).any(|part| part == *path)));
}

#[test]
fn directories_that_multiply_end_at_a_limit() {
    let (file, folders) = (named("100644", &[b"a"]), named("40000", &[b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h"]));
    let mut trees: Vec<&dyn Fn(GitId) -> Vec<u8>> = vec![&file];
    trees.extend(std::iter::repeat_n(&folders as &dyn Fn(GitId) -> Vec<u8>, 20));
    // Twenty trees are a million million million files.
    for (limits, says) in [
        (Limits { entries: 1000, ..Limits::default() }, "more entries than 1000"),
        (Limits { bytes: 700, ..Limits::default() }, "more bytes of files than 700"),
        (Limits { names: 9000, ..Limits::default() }, "more bytes of names than 9000"),
    ] {
        let error = check_out(&trees, limits).expect_err(says);
        assert!(error.to_string().contains(says), "{error}");
    }
    assert!(check_out(&trees[..4], Limits::default()).is_ok(), "the control");
    let one = named("40000", &[b"a"]);
    let mut deep: Vec<&dyn Fn(GitId) -> Vec<u8>> = vec![&file];
    deep.extend(std::iter::repeat_n(&one as &dyn Fn(GitId) -> Vec<u8>, 300));
    let error = check_out(&deep, Limits::default()).expect_err("too deep");
    assert!(error.to_string().contains("too many directories"), "{error}");
    assert!(check_out(&deep[..200], Limits::default()).is_ok(), "the control");
}

/// `git pack-objects` of nothing.
const EMPTY_PACK: &[u8] =
    b"PACK\0\0\0\x02\0\0\0\0\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e";

fn packets(lines: &[&str]) -> Vec<u8> {
    let packet = |line: &&str| match *line {
        "flush" => "0000".to_owned(),
        "delim" => "0001".to_owned(),
        line => format!("{:04x}{line}", line.len() + 4),
    };
    lines.iter().map(packet).collect::<String>().into_bytes()
}

fn advert(lines: &[&str]) -> Result<Advert, GitError> {
    let mut advert = Advert::default();
    // A byte at a time, as slowly as a network can be.
    packets(lines).chunks(1).try_for_each(|byte| advert.take(byte))?;
    advert.check()?;
    Ok(advert)
}

const NEWEST: [&str; 8] = [
    "# service=git-upload-pack\n",
    "flush",
    "version 2\n",
    "agent=git/2\n",
    "ls-refs=unborn\n",
    "fetch=shallow wait-for-done\n",
    "object-format=sha1\n",
    "flush",
];
const HEAD: &str = "0123456789abcdef0123456789abcdef01234567";

fn oldest() -> Vec<String> {
    vec![
        format!("{HEAD} HEAD\0side-band-64k ofs-delta shallow agent=git/1 symref=HEAD:refs/heads/main\n"),
        format!("{HEAD} refs/heads/main\n"),
        "flush".to_owned(),
    ]
}

#[test]
fn servers_of_every_version_are_understood() {
    let newest = advert(&NEWEST).expect("well formed");
    assert!(newest.is_newest() && newest.is_shallow());
    assert!(
        !advert(&NEWEST.map(|line| if line.starts_with("fetch") { "fetch\n" } else { line }))
            .expect("good")
            .is_shallow()
    );
    let lines = oldest();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let one = [&["version 1\n"], lines.as_slice()].concat();
    let http = [&["# service=git-upload-pack\n", "flush"], lines.as_slice()].concat();
    for lines in [lines, one, http] {
        let old = advert(&lines).expect("well formed");
        assert!(!old.is_newest() && old.is_shallow());
        assert_eq!(old.reference("refs/heads/main").map(|found| found.object.to_string()).as_deref(), Some(HEAD));
        assert_eq!(old.reference("refs/heads/other"), None);
        let asked = String::from_utf8(talk::ask_pack(&old, &ID)).expect("a text");
        assert!(asked.contains("deepen 1\n0000") && asked.ends_with("done\n"), "{asked}");
    }
    assert!(matches!(
        advert(
            &NEWEST
                .map(|line| line.split("sha1").next().expect("a line"))
                .map(|line| { if line.starts_with("object-format") { "object-format=sha256\n" } else { line } })
        ),
        Err(GitError::ObjectFormat { .. })
    ));
    for bad in [
        &["ERR no such repository\n"][..],
        &["version 2\n"],
        &["version 3\n", "flush"],
        &["version 2\n", "agent=git/2\n", "flush"],
        &["flush", "flush", "delim"],
        &["0123 HEAD\n", "flush"],
        &[],
    ] {
        assert!(advert(bad).is_err(), "{bad:?}");
    }
    for bytes in [b"<html>".as_slice(), b"00", b"0002", b"0003", b"-001", b"zzzz"] {
        let mut advert = Advert::default();
        assert!(advert.take(bytes).and_then(|()| advert.check()).is_err(), "{bytes:?}");
    }
    assert!(Advert::default().take(&[b'f'; 10]).is_ok(), "a length of all that may come");
}

#[test]
fn references_are_found_by_their_whole_names() {
    let mut references = References::default();
    let peeled = format!("{HEAD} refs/tags/v1 peeled:{HEAD}\n");
    let longer = format!("{} refs/tags/v1.1\n", HEAD.replace('0', "1"));
    packets(&[&peeled, &longer, "flush"]).chunks(3).try_for_each(|part| references.take(part)).expect("well formed");
    assert_eq!(
        references.reference("refs/tags/v1").expect("whole").map(|found| found.object.to_string()).as_deref(),
        Some(HEAD)
    );
    assert_eq!(references.reference("refs/tags/v").expect("whole"), None);
    let mut cut = References::default();
    cut.take(&packets(&[&peeled])).expect("so far");
    assert!(cut.reference("refs/tags/v1").is_err());
}

fn reply(advert: &Advert, lines: &[&str]) -> Result<Vec<u8>, GitError> {
    let mut reply = PackReply::new(advert);
    packets(lines).chunks(5).try_for_each(|part| reply.take(part))?;
    reply.finish()
}

#[test]
fn packs_are_taken_out_of_their_packets() {
    let newest = advert(&NEWEST).expect("well formed");
    let lines = oldest();
    let old = advert(&lines.iter().map(String::as_str).collect::<Vec<_>>()).expect("well formed");
    let shallow = format!("shallow {HEAD}");
    let whole = ["shallow-info\n", &shallow, "delim", "packfile\n", "\x02working\n", "\x01PA", "\x01CK", "flush"];
    assert_eq!(reply(&newest, &whole).expect("well formed"), b"PACK");
    assert_eq!(reply(&old, &[&shallow, "flush", "NAK\n", "\x01PACK", "flush"]).expect("well formed"), b"PACK");
    for bad in [
        &["packfile\n", "\x01PACK"][..],
        &["packfile\n", "\x03not for you\n", "flush"],
        &["ERR not our ref\n"],
        &["packfile\n", "\x04x", "flush"],
        &["packfile-uris\n", "flush"],
        &["flush"],
        &["packfile\n", "flush", "\x01x"],
    ] {
        assert!(reply(&newest, bad).is_err(), "{bad:?}");
    }
    assert!(
        matches!(reply(&newest, &["ERR \x1b[31mred\n"]), Err(GitError::Refused { message }) if message == "\\x1b[31mred")
    );
}

#[test]
fn pointers_of_git_lfs_are_told_from_files() {
    let oid = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";
    let text = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 12345\n");
    let pointer = Pointer::parse(text.as_bytes()).expect("a pointer");
    assert_eq!((pointer.digest.hex().as_str(), pointer.size, pointer.extended), (oid, 12345, false));
    let extended = text.replace("oid sha256:4", "ext-0-foo sha256:44\noid sha256:4");
    assert!(Pointer::parse(extended.as_bytes()).expect("a pointer").extended);
    for bad in [
        "",
        "hello\n",
        text.trim_end(),
        &text.replace("v1\n", "v2\n"),
        &text.replace("size 12345\n", ""),
        &text.replace("size 12345", "size -1"),
        &text.replace("size 12345", "size +1"),
        &text.replace("sha256", "sha1"),
        &format!("{text}more\n"),
        &format!("{text}size 1\n"),
        &format!("{text}{}", " ".repeat(2000)),
    ] {
        assert_eq!(Pointer::parse(bad.as_bytes()), None, "{bad}");
    }
    let asked = [pointer];
    let question: serde_json::Value = serde_json::from_slice(&lfs::question(&asked)).expect("JSON");
    assert_eq!(question["objects"][0]["oid"], oid);
    let good = format!(
        r#"{{"objects":[{{"oid":"{oid}","size":12345,"actions":{{"download":{{"href":"https://x.example/o","header":{{"authorization":"Basic eA=="}}}}}}}}]}}"#
    );
    let places = lfs::answer(&asked, good.as_bytes()).expect("well formed");
    assert_eq!(
        (places[0].url.as_str(), places[0].authorization.as_deref()),
        ("https://x.example/o", Some("Basic eA=="))
    );
    for bad in [
        "",
        "{}",
        r#"{"objects":[]}"#,
        &good.replace("download", "upload"),
        &good.replace(r#"{"objects""#, r#"{"transfer":"own","objects""#),
        &format!(r#"{{"objects":[{{"oid":"{oid}","error":{{"code":404,"message":"gone"}}}}]}}"#),
    ] {
        assert!(lfs::answer(&asked, bad.as_bytes()).is_err(), "{bad}");
    }
}

/// A commit of one file, with the objects that it stands for.
fn committed(parent: &str) -> (GitId, [(u8, Vec<u8>); 3]) {
    let file = b"content".to_vec();
    let blob = id_of(Kind::Blob, &file).expect("no attack");
    let tree = named("100644", &[b"a"])(blob);
    let text = format!(
        "tree {}\n{parent}author A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nx\n",
        id_of(Kind::Tree, &tree).expect("no attack")
    );
    let commit = text.into_bytes();
    (id_of(Kind::Commit, &commit).expect("no attack"), [(1, commit), (2, tree), (3, file)])
}

#[test]
fn a_commit_alone_is_always_the_same_pack_and_nothing_else_is_taken_for_it() {
    let (id, objects) = committed("");
    let made = |objects: &[&(u8, Vec<u8>)]| {
        let all: Vec<_> = objects.iter().map(|(kind, bytes)| whole(*kind, bytes)).collect();
        pack(&all)
    };
    let [commit, tree, file] = &objects;
    let bare = |bytes: Vec<u8>| Pack::read(bytes).and_then(|pack| Bare::of(pack, id));
    let good = bare(made(&[commit, tree, file])).expect("a good commit").pack().to_vec();
    // Another order, and objects of other commits, make no difference.
    let more = (3, b"more".to_vec());
    assert_eq!(bare(made(&[&more, file, tree, commit])).expect("a good commit").pack(), good);
    let again = Bare::read(good.clone(), id).expect("what was made");
    let paths: Vec<String> = again.files().expect("files").into_iter().map(|(path, _)| path).collect();
    assert!(paths.contains(&"HEAD".to_owned()) && !paths.contains(&"shallow".to_owned()), "{paths:?}");
    // With one before it, which is not there, git is told so.
    let (later, objects) = committed(&format!("parent {id}\n"));
    let all: Vec<_> = objects.iter().map(|(kind, bytes)| whole(*kind, bytes)).collect();
    let later = Bare::of(Pack::read(pack(&all)).expect("a pack"), later).expect("a good commit");
    assert!(later.files().expect("files").iter().any(|(path, _)| path == "shallow"));
    for lacking in [[commit, tree], [commit, file], [tree, file]] {
        assert!(matches!(bare(made(&lacking)), Err(GitError::Missing { .. })));
    }
    // A pack that git would take as well, and that is another one: with more in it, or compressed.
    for other in [made(&[commit, tree, file]), made(&[commit, tree, file, &more]), good[..good.len() - 1].to_vec()] {
        assert!(Bare::read(other, id).is_err());
    }
    let mut changed = good;
    changed[40] ^= 1;
    assert!(Bare::read(changed, id).is_err());
}
