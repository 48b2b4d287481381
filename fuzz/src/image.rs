//! What packages bring that stands in for their scripts in final images.

use std::collections::BTreeMap;

use bulla_ecosystems::debian::{
    deb::Package,
    image::{Request, equivalents},
};
use bulla_model::{
    CleanPath, Digest, Tree,
    tree::{Mode, Node, Owner},
};

use crate::{package, text};

/// A `postinst`, and after lines `%% PATH` the files of the package: certificates, users, services, links (`%% PATH -> TARGET`).
pub(crate) fn scripts(bytes: &[u8]) {
    let mut sections = text(bytes).split("%% ");
    let script = sections.next().unwrap_or_default();
    let mut world = World::default();
    for (head, content) in sections.take(64).filter_map(|section| section.split_once('\n')) {
        match head.split_once(" -> ") {
            Some((path, target)) => world.link(path, target),
            None => world.file(head, content.as_bytes()),
        }
    }
    world.make(script);
}

/// A shared library.
pub(crate) fn library(bytes: &[u8]) {
    let mut world = World::default();
    world.file("usr/lib/x86_64-linux-gnu/libx.so.1.2", bytes);
    world.make("");
}

#[derive(Default)]
struct World {
    tree: Tree,
    files: BTreeMap<CleanPath, Vec<u8>>,
}

impl World {
    fn file(&mut self, path: &str, content: &[u8]) {
        let Ok(path) = CleanPath::parse(path) else { return };
        let node = Node::File {
            mode: Mode::new(0o644),
            owner: Owner::ROOT,
            digest: Digest::of(content),
            size: content.len() as u64,
        };
        self.tree.insert(path.clone(), node);
        self.files.insert(path, content.to_owned());
    }

    fn link(&mut self, path: &str, target: &str) {
        if let Ok(path) = CleanPath::parse(path) {
            self.tree.insert(path, Node::symlink(target));
        }
    }

    fn make(mut self, script: &str) {
        self.tree.complete();
        let control = b"Package: x\nVersion: 1\nArchitecture: amd64\n";
        let mut packages: Vec<Package> = package::read(&package::around(control, &[0; 1024])).into_iter().collect();
        if let Some(package) = packages.first_mut().filter(|_| !script.is_empty()) {
            package.members.insert("postinst".to_owned(), script.as_bytes().to_owned());
        }
        let request = Request {
            platform: bulla_model::Platform::LinuxAmd64,
            tree: &self.tree,
            read: &|path| self.files.get(path).cloned(),
            packages: &packages,
            users: &[],
            codename: "trixie",
            keep_set_id: &[CleanPath::parse("usr/bin/kept").expect("clean")].into(),
        };
        match equivalents(&request) {
            Ok(made) => assert_eq!(equivalents(&request).expect("it was made before"), made, "it is pure"),
            Err(error) => crate::shown(&error),
        }
    }
}
