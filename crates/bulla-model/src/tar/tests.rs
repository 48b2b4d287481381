use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

fn path(text: &str) -> CleanPath {
    text.parse().expect("clean")
}

fn time(seconds: u64) -> Epoch {
    Epoch::new(seconds).expect("an epoch")
}

fn text(content: &str) -> Node {
    Node::file(0o644, Digest::of(content), content.len() as u64)
}

/// The content of each file is its own name.
fn named(tree: &Tree) -> Result<Vec<u8>, TarError> {
    let mut bytes = Vec::new();
    write_part(&mut bytes, tree, &FileCapabilities::new(), time(1_700_000_000), &mut |path, _| {
        Ok(Box::new(io::Cursor::new(path.as_bytes().to_vec())))
    })?;
    bytes.extend_from_slice(&END);
    Ok(bytes)
}

fn sample() -> Tree {
    let long = format!("opt/{}/{}", "d".repeat(120), "f".repeat(200));
    let split = format!("srv/{}/name", "p".repeat(110));
    let mut owned = text("var/owned");
    owned.set_owner(Owner { uid: 70_000, gid: 4_000_000_000 });
    let mut tree: Tree = [
        (path("bin"), Node::symlink("usr/bin")),
        (path("etc/a-link"), Node::Hardlink { target: path("etc/hosts") }),
        (path("etc/hosts"), text("etc/hosts")),
        (path("etc/ünïcode"), text("etc/ünïcode")),
        (path("etc/long"), Node::symlink("../".repeat(60) + "x")),
        (path("tmp"), Node::directory(0o1777)),
        (path("var/owned"), owned),
        (path(&long), text(&long)),
        (path(&split), text(&split)),
    ]
    .into_iter()
    .collect();
    tree.complete();
    tree
}

#[test]
fn the_bytes_of_a_part_are_pinned() {
    let bytes = named(&sample()).expect("written");
    assert_eq!(bytes.len() % BLOCK, 0);
    let digest = Digest::of(&bytes).to_string();
    assert_eq!(digest, "sha256:c8562756585423f6af7a07be0aed6942ba9980c1a6c55fb926bfdccf0d77854f");
}

#[test]
fn hard_links_stand_behind_their_file() {
    let bytes = named(&sample()).expect("written");
    let place = |name: &[u8]| bytes.chunks(BLOCK).position(|block| block.starts_with(name)).expect("an entry");
    assert!(place(b"etc/hosts\0") < place(b"etc/a-link\0"));
}

#[test]
fn a_size_that_pax_must_hold_is_written_as_a_record() {
    let size = 9 << 30;
    let entry = Entry {
        name: "big",
        kind: EntryKind::File(size),
        mode: Mode::new(0o644),
        owner: Owner::ROOT,
        time: time(0),
        capabilities: None,
    };
    let blocks = entry.encode();
    assert_eq!(blocks.len(), 3 * BLOCK);
    assert!(blocks[BLOCK..].starts_with(b"19 size=9663676416\n"));
}

#[test]
fn content_that_is_not_what_the_tree_says_is_refused() {
    let write = |tree: &Tree, content: &'static [u8]| {
        write_part(&mut io::sink(), tree, &FileCapabilities::new(), time(0), &mut |_, _| Ok(Box::new(content)))
    };
    let tree: Tree = [(path("f"), text("four"))].into_iter().collect();
    assert!(write(&tree, b"four").is_ok());
    assert!(matches!(write(&tree, b"fou"), Err(TarError::Size { found: 3, .. })));
    assert!(matches!(write(&tree, b"fourscore"), Err(TarError::Size { found: 5, .. })));
    assert!(matches!(write(&tree, b"FOUR"), Err(TarError::Content { .. })));
}

#[test]
fn names_and_nodes_that_an_image_cannot_hold_are_refused() {
    let one = |name: &[u8], node| named(&[(CleanPath::parse(name).expect("clean"), node)].into_iter().collect());
    assert!(matches!(one(b"caf\xe9", Node::directory(0o755)), Err(TarError::NotUtf8 { .. })));
    assert!(matches!(one(b"link", Node::symlink(b"caf\xe9")), Err(TarError::NotUtf8 { .. })));
    assert!(matches!(one(b"gone", Node::Whiteout), Err(TarError::Delta { .. })));
    assert!(matches!(one(b"link", Node::Hardlink { target: path("gone") }), Err(TarError::DanglingLink { .. })));
}

#[test]
fn capabilities_are_an_attribute_of_their_file_alone() {
    let tree = sample();
    let capable = |paths: &[&str]| {
        let all = paths.iter().map(|name| (path(name), Capabilities::parse("cap_net_raw+ep").expect("capabilities")));
        let mut bytes = Vec::new();
        write_part(&mut bytes, &tree, &all.collect(), time(0), &mut |path, _| {
            Ok(Box::new(io::Cursor::new(path.as_bytes().to_vec())))
        })
        .expect("written");
        bytes.extend_from_slice(&END);
        bytes
    };
    let bytes = capable(&["etc/hosts", "etc/ünïcode", "etc/a-link", "tmp", "bin"]);
    let mut archive = ::tar::Archive::new(bytes.as_slice());
    let mut found = Vec::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let name = String::from_utf8(entry.path_bytes().into_owned()).expect("UTF-8");
        for record in entry.pax_extensions().expect("records").into_iter().flatten() {
            let record = record.expect("a record");
            if record.key().expect("UTF-8").starts_with(ATTRIBUTES) {
                found.push((name.clone(), record.key().expect("UTF-8").to_owned(), record.value_bytes().to_vec()));
            }
        }
    }
    let value = Capabilities::parse("cap_net_raw+ep").expect("capabilities").encode();
    let wanted = ["etc/hosts", "etc/ünïcode"];
    assert_eq!(
        found,
        wanted.map(|name| (name.to_owned(), "SCHILY.xattr.security.capability".to_owned(), value.clone()))
    );
    assert_eq!(
        Digest::of(capable(&["etc/hosts"])).to_string(),
        "sha256:9674f17fa8bee041f0af1929c1095c0d61cca464ecdcee7aff9f678b6b668399"
    );
}

/// Feeds an archive to a reader that lists it; `None` where the reader is not installed.
#[expect(
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "other readers are programs; a skipped test says so"
)]
fn list(program: &str, arguments: &[&str], bytes: &[u8]) -> Option<String> {
    let Ok(mut child) = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .env("LC_ALL", "C.UTF-8")
        .spawn()
    else {
        eprintln!("skipped: {program} is not installed");
        return None;
    };
    child.stdin.take().expect("a pipe").write_all(bytes).expect("fed");
    let output = child.wait_with_output().expect("ended");
    assert!(output.status.success(), "{program} refused the archive");
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

const PYTHON: &str = "
import sys, tarfile
for m in tarfile.open(fileobj=sys.stdin.buffer, mode='r|'):
    print(m.name, m.type.decode(), m.mode, m.uid, m.gid, m.size, int(m.mtime), m.linkname, sep='|')
";

#[test]
fn other_readers_find_every_entry_with_its_attributes() {
    let tree = sample();
    let bytes = named(&tree).expect("written");
    for (program, arguments) in [("tar", vec!["-tf", "-"]), ("bsdtar", vec!["-tf", "-"])] {
        let Some(listed) = list(program, &arguments, &bytes) else { continue };
        let mut names: Vec<&str> = listed.lines().map(|line| line.trim_end_matches('/')).collect();
        names.sort_unstable();
        let mut expected: Vec<&str> = tree.iter().filter_map(|(path, _)| path.as_str()).collect();
        expected.sort_unstable();
        if program == "tar" {
            // GNU tar writes what is not ASCII as octal escapes unless told otherwise.
            names.retain(|name| !name.contains("code"));
            expected.retain(|name| !name.contains("code"));
        }
        assert_eq!(names, expected, "{program}");
    }
    let Some(listed) = list("python3", &["-c", PYTHON], &bytes) else { return };
    assert_eq!(listed.lines().count(), tree.len());
    for line in [
        "bin|2|511|0|0|0|1700000000|usr/bin",
        "tmp|5|1023|0|0|0|1700000000|",
        "etc/a-link|1|420|0|0|0|1700000000|etc/hosts",
        "var/owned|0|420|70000|4000000000|9|1700000000|",
        "etc/ünïcode|0|420|0|0|13|1700000000|",
    ] {
        assert!(listed.lines().any(|listed| listed == line), "{line} is not in\n{listed}");
    }
}

proptest! {
    #[test]
    fn every_name_is_read_back_by_an_independent_reader(names in proptest::collection::btree_set("[a-zé]{1,120}(/[b-y]{1,90}){0,4}", 1..4)) {
        let tree: Tree = names
            .iter()
            .filter(|name| !names.iter().any(|other| other.starts_with(&format!("{name}/"))))
            .filter_map(|name| name.parse::<CleanPath>().ok())
            .map(|path| { let node = Node::file(0o600, Digest::of(path.as_bytes()), path.as_bytes().len() as u64); (path, node) })
            .collect();
        let bytes = named(&tree).expect("written");
        let mut archive = ::tar::Archive::new(bytes.as_slice());
        let mut found = Tree::new();
        for entry in archive.entries().expect("an archive") {
            let mut entry = entry.expect("an entry");
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("content");
            let name = CleanPath::parse(&*entry.path_bytes()).expect("clean");
            found.insert(name, Node::file(entry.header().mode().expect("mode"), Digest::of(&content), content.len() as u64));
        }
        prop_assert_eq!(found, tree);
    }
}
