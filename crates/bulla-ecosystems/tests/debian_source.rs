//! Real source packages, put together as `dpkg-source -x` does.

use std::{
    collections::BTreeMap,
    io::Read,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
};

use bulla_ecosystems::{
    archive::{Rules, Sink, SinkError},
    debian::source::{Package, unpack},
};
use bulla_model::{CleanPath, Digest};

/// What is at each path: the digest of a file and whether it is a program, or the target of a link.
#[derive(Default)]
struct Tree(BTreeMap<Vec<u8>, String>);

fn described(executable: bool, bytes: &[u8]) -> String {
    format!("{} {}", if executable { "program" } else { "file" }, Digest::of(bytes))
}

impl Sink for Tree {
    fn directory(&mut self, _: &CleanPath) -> Result<(), SinkError> {
        Ok(())
    }

    fn file(&mut self, path: &CleanPath, executable: bool, content: &mut dyn Read) -> Result<(), SinkError> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        self.0.insert(path.as_bytes().to_vec(), described(executable, &bytes));
        Ok(())
    }

    fn symlink(&mut self, path: &CleanPath, target: &[u8]) -> Result<(), SinkError> {
        self.0.insert(path.as_bytes().to_vec(), format!("link {}", String::from_utf8_lossy(target)));
        Ok(())
    }

    fn hardlink(&mut self, path: &CleanPath, target: &CleanPath) -> Result<(), SinkError> {
        let found = self.0.get(target.as_bytes()).cloned().ok_or("no such file")?;
        self.0.insert(path.as_bytes().to_vec(), found);
        Ok(())
    }
}

/// Walks what dpkg-source made, without quilt's own folder.
fn walk(top: &Path, folder: &Path, tree: &mut Tree) {
    for entry in fs_err::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let path = entry.path();
        let name = path.strip_prefix(top).expect("beneath it").as_os_str().as_bytes().to_vec();
        let kind = entry.file_type().expect("a kind");
        if name == b".pc" {
        } else if kind.is_dir() {
            walk(top, &path, tree);
        } else if kind.is_symlink() {
            let target = fs_err::read_link(&path).expect("a link");
            tree.0.insert(name, format!("link {}", target.display()));
        } else {
            let executable = entry.metadata().expect("metadata").permissions().mode() & 0o100 != 0;
            tree.0.insert(name, described(executable, &fs_err::read(&path).expect("a file")));
        }
    }
}

#[test]
fn real_source_packages_are_unpacked_as_dpkg_source_does() {
    let mut patched = 0;
    for name in ["redis", "hello", "zlib"] {
        let Some(tree) = bulla_testkit::debian::real_source(name) else { return };
        let folder = tree.parent().expect("a folder");
        let mut files = BTreeMap::new();
        let mut version = String::new();
        for entry in fs_err::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
            let file = entry.file_name().into_string().expect("UTF-8");
            if file.contains(".dsc") || file.contains(".tar.") || file.contains(".diff.") {
                let bytes = fs_err::read(entry.path()).expect("a file");
                if file.ends_with(".dsc") {
                    let text = String::from_utf8_lossy(&bytes);
                    version =
                        text.lines().find_map(|line| line.strip_prefix("Version: ")).expect("a version").to_owned();
                }
                files.insert(file, (Digest::of(&bytes), std::io::Cursor::new(bytes)));
            }
        }
        let (mut found, mut expected) = (Tree::default(), Tree::default());
        unpack(Package { name: &format!("{name}={version}"), files }, &Rules::default(), &mut found)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        walk(&tree, &tree, &mut expected);
        let differ: Vec<String> = (expected.0.keys().chain(found.0.keys()))
            .filter(|path| expected.0.get(*path) != found.0.get(*path))
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect();
        assert!(differ.is_empty(), "{name} {version}: {differ:?}");
        assert!(found.0.len() > 50, "{name} has {} files", found.0.len());
        patched += usize::from(tree.join("debian/patches/series").exists());
    }
    assert!(patched > 0, "none of them has patches");
}
