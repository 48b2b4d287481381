//! Databases of small packages.

use std::io::Read;

use bulla_model::{
    CleanPath, Digest, Epoch, Tree,
    tree::{Mode, Node, Owner},
};
use bulla_testkit::{Deb, archive::TarEntry};

use super::{Database, DatabaseError, database};
use crate::debian::deb::{self, Package, Sink, SinkError};

/// Makes a manifest; the content of each file is the file's own path.
#[derive(Default)]
struct Manifest(Tree);

impl Sink for Manifest {
    fn directory(&mut self, path: &CleanPath, mode: Mode, _: Owner) -> Result<(), SinkError> {
        self.0.insert(path.clone(), Node::directory(mode.bits()));
        Ok(())
    }

    fn file(
        &mut self,
        path: &CleanPath,
        mode: Mode,
        _: Owner,
        _: Epoch,
        content: &mut dyn Read,
    ) -> Result<(), SinkError> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        self.0.insert(path.clone(), Node::file(mode.bits(), Digest::of(&bytes), bytes.len() as u64));
        Ok(())
    }

    fn symlink(&mut self, path: &CleanPath, _: Owner, target: &[u8]) -> Result<(), SinkError> {
        self.0.insert(path.clone(), Node::symlink(target));
        Ok(())
    }

    fn hardlink(&mut self, path: &CleanPath, target: &CleanPath) -> Result<(), SinkError> {
        self.0.insert(path.clone(), Node::Hardlink { target: target.clone() });
        Ok(())
    }
}

fn of(debs: &[Deb]) -> Result<Database, DatabaseError> {
    let (packages, trees): (Vec<Package>, Vec<Tree>) = debs
        .iter()
        .map(|deb| {
            let mut manifest = Manifest::default();
            let package = deb::unpack(deb.build().as_slice(), deb::Limits::default(), 1, &mut manifest);
            (package.expect("it unpacks"), manifest.0)
        })
        .unzip();
    let read = |_: usize, path: &CleanPath| Some(path.to_string().into_bytes());
    database(&packages, &trees.iter().collect::<Vec<_>>(), &read)
}

fn text(database: &Database, name: &str) -> String {
    let path: CleanPath = format!("var/lib/dpkg/{name}").parse().expect("a clean path");
    let file = database.files.iter().find(|(candidate, ..)| *candidate == path);
    String::from_utf8(file.unwrap_or_else(|| panic!("{name} is missing")).2.clone()).expect("text")
}

fn hidden(debs: &[Deb]) -> Vec<(usize, String)> {
    of(debs).expect("a database").hidden.into_iter().map(|(index, path)| (index, path.to_string())).collect()
}

#[test]
fn the_database_is_what_unpacking_leaves() {
    let deb = Deb::new("libx", "1:2-3")
        .field("Multi-Arch", "same")
        .field("Status", "install ok installed")
        .file("lib/libx.so", 0o644, "so")
        .file("etc/x.conf", 0o644, "conf")
        .script("postinst", "#!/bin/sh\n")
        .control_file("conffiles", "/etc/x.conf\nremove-on-upgrade /etc/old\n/etc/not-there\n")
        .control_file("triggers", "# who\ninterest-noawait /usr/lib/x\ninterest ldconfig # more\nactivate-noawait y\n");
    let database = of(&[deb, Deb::new("b", "1").control_file("triggers", "interest-await ldconfig\n")]).expect("made");
    let status = text(&database, "status");
    // The MD5 of `etc/x.conf`, by md5sum.
    let conffiles = "Conffiles:\n /etc/x.conf 26a8bcaf205fca8da1bdd0c81ae9da85\n";
    let start = "Package: libx\nStatus: install ok unpacked\nVersion: 1:2-3\n";
    assert!(status.starts_with(start) && !status.contains("ok installed"), "{status}");
    assert!(status.contains(conffiles) && !status.contains("not-there"), "{status}");
    assert!(status.contains("\n\nPackage: b\nStatus: install ok unpacked\n"), "{status}");
    assert_eq!(text(&database, "info/libx:amd64.list"), "/.\n/lib\n/lib/libx.so\n/etc\n/etc/x.conf\n");
    assert_eq!(text(&database, "triggers/File"), "/usr/lib/x libx:amd64/noawait\n");
    assert_eq!(text(&database, "triggers/ldconfig"), "libx:amd64\nb\n");
    assert_eq!(text(&database, "info/format"), "1\n");
    let script = database.files.iter().find(|(path, ..)| path.to_string().ends_with("libx:amd64.postinst"));
    assert_eq!(script.map(|(_, mode, _)| *mode), Some(Mode::new(0o755)));
    assert!(database.directories.iter().any(|path| path.to_string() == "var/lib/dpkg/updates"));
}

#[test]
fn a_path_of_two_packages_is_a_conflict() {
    let debs = [Deb::new("a", "1").file("bin/x", 0o755, "a"), Deb::new("b", "1").file("usr/bin/x", 0o755, "a")];
    let error = of(&debs).expect_err("a conflict");
    assert_eq!(error.to_string(), "the packages a, b all ship `usr/bin/x`, and none of them replaces the others");
    let debs = [Deb::new("a", "1").file("usr/x", 0o755, "a"), Deb::new("b", "1").file("usr/x/y", 0o755, "a")];
    assert!(matches!(of(&debs), Err(DatabaseError::Conflict { .. })), "a file where another has a directory");
}

#[test]
fn a_package_that_is_replaced_loses_the_path() {
    let old = Deb::new("old", "2").file("usr/bin/x", 0o755, "old").file("usr/bin/y", 0o755, "y");
    let new = |replaces| Deb::new("new", "1").field("Replaces", replaces).file("bin/x", 0o755, "new");
    let lost = "usr/bin/x".to_owned();
    assert_eq!(hidden(&[old.clone(), new("other, old (<< 3)")]), [(0, lost.clone())]);
    assert_eq!(hidden(&[new("old"), old.clone()]), [(1, lost)]);
    assert!(of(&[old.clone(), new("old (<< 2)")]).is_err(), "the version is not in the bound");
    let database = of(&[old, new("old")]).expect("made");
    assert_eq!(text(&database, "info/old.list"), "/.\n/usr\n/usr/bin\n/usr/bin/y\n");
}

#[test]
fn what_moves_the_file_of_another_away_is_left_to_the_package_manager() {
    let old = || Deb::new("old", "1").file("usr/bin/x", 0o755, "old").file("usr/bin/y", 0o755, "y");
    let new = |script: &str| Deb::new("new", "1").file("bin/x", 0o755, "new").script("preinst", script);
    let divert = "#!/bin/sh\nset -e\ndpkg-divert --package new --rename --add /usr/bin/x\n";
    for debs in [[old(), new(divert)], [new(divert), old()]] {
        let place = debs.iter().position(|deb| deb.file_name().starts_with("new")).expect("it is there");
        let database = of(&debs).expect("made");
        assert_eq!(database.late, [place].into());
        assert_eq!(hidden(&debs), [(place, "usr/bin/x".to_owned())], "all of it, and nothing of the other");
        assert!(!text(&database, "status").contains("Package: new\n"));
        assert!(!database.files.iter().any(|(path, ..)| path.to_string().contains("info/new.")));
        assert_eq!(text(&database, "info/old.list"), "/.\n/usr\n/usr/bin\n/usr/bin/x\n/usr/bin/y\n");
    }
    assert!(of(&[old(), new("#!/bin/sh\nexit 0\n")]).is_err(), "it moves nothing");
    assert!(of(&[old(), new(divert).field("Essential", "yes")]).is_err(), "it has to be there before");
    let third = Deb::new("third", "1").file("usr/bin/x", 0o755, "third");
    assert!(of(&[old(), new(divert), third.clone()]).is_err(), "two that stay");
    let third = third.field("Replaces", "old");
    assert_eq!(of(&[old(), new(divert), third]).expect("made").hidden.len(), 2);
}

#[test]
fn the_same_link_in_two_packages_is_no_conflict() {
    let deb = |name, target: &str| Deb::new(name, "1").entry(TarEntry::symlink("./etc/x", target));
    assert_eq!(hidden(&[deb("a", "/y"), deb("b", "/y")]), [(1, "etc/x".to_owned())]);
    assert!(of(&[deb("a", "/y"), deb("b", "/z")]).is_err());
}

#[test]
fn names_that_would_forge_the_database_are_refused() {
    let line = Deb::new("a", "1").entry(TarEntry::file("./x\n/etc/shadow", 0o644, ""));
    assert!(matches!(of(&[line]), Err(DatabaseError::Name { .. })));
    for trigger in ["../../../etc/passwd", "File", "Unincorp"] {
        let deb = Deb::new("a", "1").control_file("triggers", &format!("interest {trigger}\n"));
        assert!(of(&[deb]).is_err(), "{trigger}");
    }
    let twice = [Deb::new("a", "1"), Deb::new("a", "2")];
    assert!(matches!(of(&twice), Err(DatabaseError::Twice { .. })));
    let forged = [Deb::new("a.b", "1"), Deb::new("a", "1").control_file("b.list", "/etc/shadow\n")];
    assert!(matches!(of(&forged), Err(DatabaseError::Twice { .. })));
}

#[test]
fn copies_for_two_architectures_share_what_is_the_same_in_both() {
    let lib = |architecture: &str, readme: &str| {
        Deb::new("lib", "1")
            .architecture(architecture)
            .field("Multi-Arch", "same")
            .file(&format!("usr/lib/{architecture}/lib.so"), 0o644, architecture)
            .file("usr/share/doc/lib/readme", 0o644, readme)
    };
    let base = Deb::new("base", "1").field("Essential", "yes");
    let made = of(&[base.clone(), lib("amd64", "x"), lib("arm64", "x")]).expect("a database");
    assert_eq!(text(&made, "arch"), "amd64\narm64\n");
    assert_eq!(made.hidden, [(2, "usr/share/doc/lib/readme".parse().expect("clean"))]);
    assert!(text(&made, "info/lib:arm64.list").contains("/usr/lib/arm64/lib.so\n"));
    assert!(matches!(of(&[base.clone(), lib("amd64", "x"), lib("arm64", "y")]), Err(DatabaseError::Conflict { .. })));
    let alone = of(&[base, lib("amd64", "x")]).expect("a database");
    assert!(!alone.files.iter().any(|(path, ..)| path.to_string().ends_with("/arch")), "as before");
}
