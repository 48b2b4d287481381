//! Inputs whose contents lie in memory, and a store in a temporary folder.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use bulla_build::assemble::{Assembled, Contents, assemble};
use bulla_model::{
    CleanPath, Digest, Epoch, Platform,
    image::{ImagePlan, Input, Origin},
    tree::Node,
};
use bulla_store::{Options, Store};

pub(crate) fn path(text: &str) -> CleanPath {
    text.parse().expect("clean")
}

pub(crate) fn epoch(seconds: u64) -> Epoch {
    Epoch::new(seconds).expect("an epoch")
}

/// Contents by their digest, with a count of how many were opened.
#[derive(Default)]
pub(crate) struct Memory {
    bytes: BTreeMap<Digest, Vec<u8>>,
    pub(crate) opened: AtomicUsize,
}

impl Memory {
    pub(crate) fn file(&mut self, mode: u32, bytes: impl Into<Vec<u8>>) -> Node {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        let node = Node::file(mode, digest, bytes.len() as u64);
        self.bytes.insert(digest, bytes);
        node
    }

    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

impl Contents for Memory {
    fn open(&self, _: usize, _: &CleanPath, node: &Node) -> io::Result<Box<dyn Read>> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        let Node::File { digest, .. } = node else { return Err(io::ErrorKind::InvalidInput.into()) };
        let bytes = self.bytes.get(digest).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(io::Cursor::new(bytes.clone())))
    }
}

pub(crate) fn package(name: &str, time: u64, entries: &[(&str, Node)]) -> Input {
    let origin = Origin::Package { name: name.into(), version: "1.0-1".into(), source: name.into() };
    Input { origin, tree: entries.iter().map(|(name, node)| (path(name), node.clone())).collect(), time: epoch(time) }
}

pub(crate) fn copy(name: &str, entries: &[(&str, Node)]) -> Input {
    let tree = entries.iter().map(|(name, node)| (path(name), node.clone())).collect();
    Input { origin: Origin::Copy { name: name.into(), layer: None }, tree, time: epoch(1_700_000_000) }
}

pub(crate) fn plan(inputs: Vec<Input>) -> ImagePlan {
    ImagePlan { inputs, ..ImagePlan::new(Platform::LinuxAmd64, epoch(1_700_000_000)) }
}

/// Bytes that look random and compress a little.
pub(crate) fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 26) as u8
        })
        .collect()
}

/// Two large packages, one small, and an application.
pub(crate) fn sample(memory: &mut Memory) -> ImagePlan {
    plan(vec![
        package(
            "base",
            100,
            &[
                ("bin", Node::symlink("usr/bin")),
                ("etc/hosts", memory.file(0o644, "127.0.0.1 localhost\n")),
                ("etc/hosts-too", Node::Hardlink { target: path("etc/hosts") }),
                ("tmp", Node::directory(0o1777)),
                ("var/lib/private", Node::directory(0o700)),
            ],
        ),
        package("large", 300, &[("usr/lib/large.so", memory.file(0o644, noise(1, 9 << 20)))]),
        package("other", 200, &[("usr/bin/other", memory.file(0o755, noise(2, 5 << 20)))]),
        copy(
            "build.dist",
            &[("app/main", memory.file(0o755, "#!/bin/sh\n")), ("var/lib/private/data", memory.file(0o600, "x"))],
        ),
    ])
}

pub(crate) fn store(folder: &Path) -> Store {
    let clock = || std::time::SystemTime::UNIX_EPOCH;
    Store::open(Options::new(folder.join("store"), folder.join("key/store.key"), clock)).expect("a store")
}

pub(crate) fn assembled(folder: &Path) -> (Store, Assembled) {
    let store = store(folder);
    let mut memory = Memory::default();
    let plan = sample(&mut memory);
    let image = assemble(&store, &plan, &memory, 2).expect("assembled");
    (store, image)
}
