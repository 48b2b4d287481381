//! Real packs, and hostile ones.

use std::{collections::BTreeMap, io::Write as _};

use bulla_testkit::git::{GitRepo, has_git};

use super::*;

/// An entry of a pack that is being made.
pub(in crate::git) struct Made<'a> {
    kind: u8,
    size: Option<u64>,
    base: Vec<u8>,
    data: &'a [u8],
}

pub(in crate::git) fn whole(kind: u8, data: &[u8]) -> Made<'_> {
    Made { kind, size: None, base: Vec::new(), data }
}

fn from_id(id: GitId, data: &[u8]) -> Made<'_> {
    Made { kind: 7, size: None, base: id.as_bytes().to_vec(), data }
}

fn deflated(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).expect("into memory");
    encoder.finish().expect("into memory")
}

fn entry(made: &Made<'_>) -> Vec<u8> {
    let mut size = made.size.unwrap_or(made.data.len() as u64);
    let mut out = Vec::new();
    let mut byte = made.kind << 4 | u8::try_from(size & 15).expect("four bits");
    size >>= 4;
    while size > 0 {
        out.push(byte | 0x80);
        byte = u8::try_from(size & 0x7f).expect("seven bits");
        size >>= 7;
    }
    out.push(byte);
    out.extend(&made.base);
    out.extend(deflated(made.data));
    out
}

fn framed(count: u32, body: &[u8]) -> Vec<u8> {
    let mut pack = [b"PACK".as_slice(), &2_u32.to_be_bytes(), &count.to_be_bytes(), body].concat();
    let mut hasher = IdHasher::plain();
    hasher.update(&pack);
    pack.extend(hasher.finish().expect("no attack").as_bytes());
    pack
}

pub(in crate::git) fn pack(entries: &[Made<'_>]) -> Vec<u8> {
    let body: Vec<u8> = entries.iter().flat_map(entry).collect();
    framed(u32::try_from(entries.len()).expect("few"), &body)
}

/// A difference that takes some bytes of its base and adds others.
fn delta(base: usize, take: std::ops::Range<u8>, add: &[u8]) -> Vec<u8> {
    let size = usize::from(take.end - take.start) + add.len();
    let byte = |number: usize| u8::try_from(number).expect("a small number");
    let mut out = vec![byte(base), byte(size)];
    if !take.is_empty() {
        out.extend([0x91, take.start, take.end - take.start]);
    }
    if !add.is_empty() {
        out.push(byte(add.len()));
        out.extend(add);
    }
    out
}

fn refused(bytes: Vec<u8>, says: &str) {
    let error = Pack::read(bytes).expect_err(says);
    assert!(error.to_string().contains(says), "{error}: {says}");
}

#[test]
fn objects_and_differences_from_them_are_made() {
    let base = id_of(Kind::Blob, b"hello world").expect("no attack");
    let next = id_of(Kind::Blob, b"hello you").expect("no attack");
    let (one, other) = (delta(11, 0..6, b"you"), delta(9, 0..6, b"me"));
    // The difference from a difference stands before both.
    let pack = Pack::read(pack(&[from_id(next, &other), from_id(base, &one), whole(3, b"hello world")])).expect("good");
    assert_eq!(pack.len(), 3);
    for text in ["hello world", "hello you", "hello me"] {
        let id = id_of(Kind::Blob, text.as_bytes()).expect("no attack");
        assert_eq!(pack.get(Kind::Blob, &id).expect(text), text.as_bytes());
        assert!(pack.get(Kind::Tree, &id).is_err(), "it is no tree");
    }
}

#[test]
fn real_packs_are_read_as_git_reads_them() {
    if !has_git("packs of git") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let repo = GitRepo::init(folder.path());
    let mut text = String::new();
    for round in 0..40 {
        text.push_str(&format!("line {round} of a file that grows, so that there is something to tell apart\n"));
        repo.write("grows.txt", &text);
        repo.write(&format!("folder/{round}"), format!("{round}\n").repeat(round * 50));
        repo.commit("more");
    }
    for form in [&["--delta-base-offset"][..], &[]] {
        let kinds = repo.git(&["cat-file", "--batch-check=%(objectname) %(objecttype)", "--batch-all-objects"]);
        let kinds: BTreeMap<&str, &str> = kinds.lines().filter_map(|line| line.split_once(' ')).collect();
        let all = repo.git(&["rev-list", "--objects", "--all"]);
        let ids: Vec<&str> = all.lines().filter_map(|line| line.split(' ').next()).collect();
        let mut command = bulla_testkit::git::git_command(repo.folder());
        command.args(["pack-objects", "--stdout", "-q", "--window=20", "--depth=50"]).args(form);
        let mut child = command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("git can be run");
        child.stdin.take().expect("a pipe").write_all(ids.join("\n").as_bytes()).expect("git reads");
        let bytes = child.wait_with_output().expect("git ends").stdout;
        let pack = Pack::read(bytes).expect("a good pack");
        assert_eq!(pack.len(), ids.len());
        assert!(pack.entries.iter().filter(|entry| entry.base.is_some()).count() > 20, "there are differences");
        for id in &ids {
            let said = kinds[id];
            let id: GitId = id.parse().expect("an id");
            let kind = pack.kind(&id).expect("it is there");
            // What git says is hashed, ours has that id: they are the same.
            assert_eq!(id_of(kind, &pack.get(kind, &id).expect("it is made")).expect("no attack"), id);
            assert_eq!(kind.word(), said);
        }
    }
}

#[test]
fn differences_in_a_circle_or_without_a_base_are_refused() {
    let (one, other) = (GitId::from_bytes([1; 20]), GitId::from_bytes([2; 20]));
    let piece = delta(0, 0..0, b"x");
    refused(pack(&[from_id(one, &piece), from_id(other, &piece)]), "no base");
    refused(pack(&[from_id(one, &piece), whole(3, b"x")]), "no base");
    // By distance nothing can lead to itself, or forward.
    for back in [0, 1, 200] {
        let made = Made { kind: 6, size: None, base: vec![back & 0x7f], data: &piece };
        refused(pack(&[whole(3, b""), made]), "from what is no object");
    }
    let endless = Made { kind: 6, size: None, base: vec![0xff; 30], data: b"" };
    refused(pack(&[endless]), "from what is no object");
}

#[test]
fn differences_that_do_not_fit_are_refused() {
    let base = id_of(Kind::Blob, b"hello").expect("no attack");
    let good = delta(5, 0..5, b"!");
    Pack::read(pack(&[whole(3, b"hello"), from_id(base, &good)])).expect("the control");
    for bad in [
        delta(4, 0..4, b"!"),
        [&good[..1], &[9], &good[2..]].concat(),
        [&good[..1], &[5], &good[2..]].concat(),
        vec![5, 6, 0x91, 0, 6],
        vec![5, 6, 0x91, 250, 6],
        vec![5, 1, 0],
        vec![5, 3, 3, b'x'],
        vec![5, 5, 0x91, 0],
        vec![5],
        vec![],
    ] {
        assert!(Pack::read(pack(&[whole(3, b"hello"), from_id(base, &bad)])).is_err(), "{bad:?}");
    }
    refused(
        pack(&[whole(3, b"hello"), from_id(base, &[5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])]),
        "larger objects",
    );
}

#[test]
fn sizes_are_believed_only_as_the_bytes_bear_them_out() {
    for size in [0, 4, 6, 1 << 20] {
        refused(pack(&[Made { size: Some(size), ..whole(3, b"hello") }]), "another size");
    }
    refused(pack(&[Made { size: Some(1 << 40), ..whole(3, b"hello") }]), "larger objects");
    refused(pack(&[Made { size: Some(u64::MAX), ..whole(3, b"hello") }]), "larger objects");
    // A bomb ends at what its header says.
    let bomb = vec![0; 4 << 20];
    refused(pack(&[Made { size: Some(10), ..whole(3, &bomb) }]), "another size");
    // Few bytes that are made into many, again and again, end at the limit for all.
    let large = vec![0; 1 << 20];
    let id = id_of(Kind::Blob, &large).expect("no attack");
    let copies = MAX_OBJECT >> 20;
    let mut order = vec![0x80, 0x80, 0x40];
    order.extend([0x80, 0x80, 0x80, 0x80, 0x02]);
    for _ in 0..copies {
        order.extend([0xb0 | 0x40, 0, 0, 0x10]);
    }
    assert!(delta::apply(&large, &order).is_ok_and(|made| made.len() as u64 == MAX_OBJECT), "the control");
    let mut entries = vec![whole(3, &large)];
    entries.extend((0..MAX_TOTAL / MAX_OBJECT + 1).map(|_| from_id(id, &order)));
    let mut reader = Reader { total: MAX_TOTAL - MAX_OBJECT, ..Reader::default() };
    let bytes = pack(&entries[..2]);
    let end = bytes.len() - SUM;
    let at = reader.first(&bytes[..end], HEAD).expect("the base");
    reader.first(&bytes[..end], at).expect("the difference");
    let error = reader.apply(&bytes).expect_err("too much");
    assert!(error.to_string().contains("more bytes of objects"), "{error}");
}

#[test]
fn chains_of_differences_have_an_end() {
    let mut texts = vec![b"0".to_vec()];
    let mut deltas = Vec::new();
    for round in 1..MAX_DEPTH + 3 {
        let text = format!("{round:04}").into_bytes();
        deltas.push((
            id_of(Kind::Blob, &texts[round - 1]).expect("no attack"),
            delta(texts[round - 1].len(), 0..0, &text),
        ));
        texts.push(text);
    }
    let made = |count: usize| {
        let mut entries = vec![whole(3, b"0")];
        entries.extend(deltas[..count].iter().map(|(id, data)| from_id(*id, data)));
        pack(&entries)
    };
    Pack::read(made(MAX_DEPTH)).expect("the control");
    refused(made(MAX_DEPTH + 1), "longer chains");
}

#[test]
fn what_is_no_pack_is_refused() {
    let good = pack(&[whole(3, b"hello"), whole(1, b"tree")]);
    Pack::read(good.clone()).expect("the control");
    for end in 0..good.len() {
        assert!(Pack::read(good[..end].to_vec()).is_err(), "cut at {end}");
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert!(Pack::read(bad).is_err(), "changed at {at}");
    }
    let body: Vec<u8> = entry(&whole(3, b"hello"));
    refused(framed(1, &[body.as_slice(), b"more"].concat()), "behind its last object");
    refused(framed(2, &body), "cut off");
    refused(framed(u32::MAX, &body), "more objects");
    for kind in [0, 5] {
        refused(pack(&[whole(kind, b"x")]), "no known kind");
    }
    assert!(Pack::read(framed(0, b"")).expect("an empty pack").is_empty());
}
