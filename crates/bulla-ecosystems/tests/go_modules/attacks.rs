//! Archives that are not the module that they are said to be, each beside one that is.

use std::io::Cursor;

use bulla_ecosystems::dependencies::{Hash, Native as _};

use crate::{h1, read, served::Held, zip};

type File<'a> = (&'a str, &'a [u8]);

fn matches(bytes: &[u8], sum: &str) -> bool {
    Hash::from_go(sum, false).expect("a sum").matches(&mut Cursor::new(bytes)).expect("it is read")
}

/// Makes the repository of one module with these files, whose sum is in the lock.
fn serve(files: &[File<'_>]) -> Result<(), String> {
    let go = read(&format!("a.b/c v1.0.0 {}\n", h1(files))).expect("good sums");
    let bytes = zip(files);
    assert!(
        go.locked().artifacts[0].hashes[0].matches(&mut Cursor::new(&bytes)).expect("it is read"),
        "the lock means it"
    );
    go.repository(&Held(vec![bytes]), "http://127.0.0.1:1").map(|_| ()).map_err(|error| error.to_string())
}

#[test]
fn an_archive_is_told_from_others() {
    let files: [File<'_>; 3] =
        [("a.b/c@v1.0.0/z.go", b"package c"), ("a.b/c@v1.0.0/go.mod", b"module a.b/c\n"), ("a.b/c@v1.0.0/e", b"")];
    let (bytes, sum) = (zip(&files), h1(&files));
    assert!(matches(&bytes, &sum));
    // The order of an archive does not matter, its names and bytes do.
    assert!(matches(&zip(&[files[2], files[0], files[1]]), &sum));
    assert!(!matches(&zip(&files[..2]), &sum));
    assert!(!matches(&zip(&[files[0], files[1], ("a.b/c@v1.0.0/f", b"")]), &sum));
    assert!(!matches(&zip(&[files[0], files[1], ("a.b/c@v1.0.0/e", b"x")]), &sum));
    // What is no archive is no failure of the disk.
    for damaged in [&b""[..], b"PK", &bytes[..bytes.len() / 2], &bytes[1..], &[b'x'; 100]] {
        assert!(!matches(damaged, &sum));
    }
    for at in (0..bytes.len()).step_by(3) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        // A time, or a field that nobody reads: the files are the same then.
        let _ = matches(&bytes, &sum);
    }
    let go_mod = Hash::from_go(&h1(&[("go.mod", b"module a.b/c\n")]), true).expect("a sum");
    assert!(go_mod.matches(&mut Cursor::new(b"module a.b/c\n")).expect("it is read"));
    assert!(!go_mod.matches(&mut Cursor::new(b"module a.b/d\n")).expect("it is read"));
    assert!(!go_mod.matches(&mut Cursor::new(&bytes)).expect("it is read"));
}

#[test]
fn another_module_under_the_name_is_refused_though_the_lock_means_its_bytes() {
    serve(&[("a.b/c@v1.0.0/go.mod", b"module a.b/c\n"), ("a.b/c@v1.0.0/x/y.go", b"")]).expect("it is the module");
    for (files, what) in [
        (vec![("a.b/d@v1.0.0/go.mod", &b""[..])], "it is another module"),
        (vec![("a.b/c@v1.0.1/go.mod", b"")], "it is another module"),
        (vec![("a.b/c@v1.0.0/go.mod", b""), ("etc/passwd", b"x")], "`etc/passwd` is not beneath `a.b/c@v1.0.0/`"),
        (vec![("a.b/c@v1.0.0/../x", b"")], "is no clean name"),
        (vec![("a.b/c@v1.0.0//x", b"")], "is no clean name"),
        (vec![("a.b/c@v1.0.0/GO.mod", b"")], "is a go.mod that is not at the top"),
        (vec![("a.b/c@v1.0.0/x/go.mod", b"")], "is a go.mod that is not at the top"),
    ] {
        let error = serve(&files).expect_err(what);
        assert!(error.contains(what) && error.contains("a.b/c v1.0.0.zip"), "{error}");
    }
}

#[test]
fn what_unfolds_to_more_than_go_takes_is_not_unfolded() {
    let zeros = vec![0; 110 << 20];
    let names: Vec<String> = (0..5).map(|at| format!("a.b/c@v1.0.0/{at}")).collect();
    let files: Vec<File<'_>> = names.iter().map(|name| (name.as_str(), zeros.as_slice())).collect();
    let (fine, bomb) = (zip(&files[..1]), zip(&files));
    assert!(bomb.len() < 4 << 20, "it is small as it comes");
    assert!(matches(&fine, &h1(&files[..1])));
    assert!(!matches(&bomb, &h1(&files)), "though it is what the lock means");
    // An end that promises more files than there could be takes no memory.
    let mut many = fine.clone();
    let end = many.len() - 22;
    many[end + 8..end + 12].fill(0xFF);
    assert!(!matches(&many, &h1(&files[..1])));
}

#[test]
fn a_file_that_is_longer_or_shorter_than_it_says_is_refused() {
    let files: [File<'_>; 1] = [("a.b/c@v1.0.0/go.mod", b"module a.b/c\n\n\n\n")];
    let (bytes, sum) = (zip(&files), h1(&files));
    assert!(matches(&bytes, &sum));
    let directory = bytes.windows(4).rposition(|four| four == b"PK\x01\x02").expect("a directory");
    for size in [1u32, 12, 17, u32::MAX] {
        let mut lies = bytes.clone();
        // The size in the directory (APPNOTE 4.3.12), and in the head of the file (4.3.7).
        lies[directory + 24..directory + 28].copy_from_slice(&size.to_le_bytes());
        assert!(!matches(&lies, &sum), "{size}");
        lies[22..26].copy_from_slice(&size.to_le_bytes());
        assert!(!matches(&lies, &sum), "{size}");
    }
}
