//! Compares a lock with a spec: is it of this spec, and if not, what has changed?

use std::{collections::BTreeSet, fmt};

use super::{ImageKey, Lock, RootPin};
use crate::{
    platform::Platform,
    spec::{Name, Root, RootKind, Source, Spec},
};

/// A root or source for which lock and spec differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// The root or source: `stage.build`, `image`, `source.redis`; or an image that is started from.
    pub root: String,
    /// What differs; at least one.
    pub changes: Vec<Change>,
}

/// One difference, seen from the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The spec has a root or source that the lock has not.
    New,
    /// The lock has a root or source that the spec has no longer. Such a lock is good for the spec all the same.
    Gone,
    /// The root is for something else now.
    Kind {
        /// What the lock has.
        from: RootKind,
        /// What the spec has.
        to: RootKind,
    },
    /// It runs on another platform.
    Platform {
        /// What the lock has.
        from: Platform,
        /// What the spec has.
        to: Platform,
    },
    /// Another release.
    Release {
        /// What the lock has.
        from: String,
        /// What the spec has.
        to: String,
    },
    /// Other suites.
    Suites {
        /// What the lock has.
        from: Vec<String>,
        /// What the spec has.
        to: Vec<String>,
    },
    /// Other components.
    Components {
        /// What the lock has.
        from: Vec<String>,
        /// What the spec has.
        to: Vec<String>,
    },
    /// The source is another one, or is trusted for another reason.
    Source,
    /// The image is to be signed by another key, or by none.
    Signer,
    /// A request that the lock does not know.
    Asked(String),
    /// A request that the spec has no longer.
    Dropped(String),
}

impl Lock {
    /// Compares the lock with a spec. Nothing comes out when it is of this spec.
    pub fn check(&self, spec: &Spec) -> Vec<Stale> {
        let roots = spec.roots();
        let mut stale = Vec::new();
        for (name, root) in &roots {
            let changes = self.roots.get(name).map_or_else(|| vec![Change::New], |pin| changes(pin, root));
            if !changes.is_empty() {
                stale.push(Stale { root: name.clone(), changes });
            }
        }
        for name in self.roots.keys().filter(|name| !roots.contains_key(*name)) {
            stale.push(Stale { root: name.clone(), changes: vec![Change::Gone] });
        }
        let images = image_keys(spec);
        for key in images.iter().filter(|key| !self.images.contains_key(key)) {
            stale.push(Stale { root: format!("{IMAGE}{key}"), changes: vec![Change::New] });
        }
        for (image, pin) in &self.images {
            let key = pin.signature.as_ref().map(|signature| &signature.key);
            if images.contains(image) && key != spec.image_keys.get(&image.reference) {
                stale.push(Stale { root: format!("{IMAGE}{image}"), changes: vec![Change::Signer] });
            }
        }
        for key in self.images.keys().filter(|key| !images.contains(key)) {
            stale.push(Stale { root: format!("{IMAGE}{key}"), changes: vec![Change::Gone] });
        }
        for key in self.observed.keys().filter(|key| !key.is_of(spec)) {
            stale.push(Stale { root: format!("observed.{}", key.stage), changes: vec![Change::Gone] });
        }
        for key in self.loose.keys().filter(|key| !key.is_of(spec)) {
            stale.push(Stale { root: format!("loose {key}"), changes: vec![Change::Gone] });
        }
        let outside = |source: &&Source| source.folder().is_none();
        for (name, source) in spec.sources.iter().filter(|(_, source)| outside(source)) {
            match self.sources.get(name) {
                None => stale.push(Stale::of_source(name, Change::New)),
                Some(pin) if !pin.is_of(source) => stale.push(Stale::of_source(name, Change::Source)),
                Some(_) => {}
            }
        }
        for name in self.sources.keys().filter(|name| !spec.sources.get(*name).as_ref().is_some_and(outside)) {
            stale.push(Stale::of_source(name, Change::Gone));
        }
        stale
    }

    /// Drops the sets of packages, sources and images of registries that a spec has no longer. To be followed by [`Lock::settle`].
    pub fn drop_gone(&mut self, spec: &Spec) {
        let roots = spec.roots();
        self.roots.retain(|name, _| roots.contains_key(name));
        self.sources.retain(|name, _| spec.sources.get(name).is_some_and(|source| source.folder().is_none()));
        let images = image_keys(spec);
        self.images.retain(|key, _| images.contains(key));
        self.observed.retain(|key, _| key.is_of(spec));
        self.loose.retain(|key, _| key.is_of(spec));
    }
}

fn image_keys(spec: &Spec) -> BTreeSet<ImageKey> {
    spec.base_images().into_iter().map(|(reference, platform)| ImageKey::new(reference, platform)).collect()
}

/// What the name of an image begins with, among the names of roots.
const IMAGE: &str = "base image ";

impl Stale {
    fn of_source(name: &Name, change: Change) -> Self {
        Self { root: format!("source.{name}"), changes: vec![change] }
    }

    /// Says whether it is about an image that is started from.
    pub fn is_of_image(&self) -> bool {
        self.root.starts_with(IMAGE)
    }

    /// Gives the name of the source that it is about.
    pub fn source(&self) -> Option<&str> {
        self.root.strip_prefix("source.")
    }
}

fn changes(pin: &RootPin, root: &Root) -> Vec<Change> {
    let now = RootPin::new(root, pin.registry.clone(), pin.packages.clone());
    let mut changes = Vec::new();
    if pin.kind != now.kind {
        changes.push(Change::Kind { from: pin.kind, to: now.kind });
    }
    if pin.native != now.native {
        changes.push(Change::Platform { from: pin.native, to: now.native });
    }
    if pin.target != now.target {
        changes.push(Change::Platform { from: pin.target, to: now.target });
    }
    if pin.release != now.release {
        changes.push(Change::Release { from: pin.release.clone(), to: now.release });
    }
    if pin.suites != now.suites {
        changes.push(Change::Suites { from: pin.suites.clone(), to: now.suites });
    }
    if pin.components != now.components {
        changes.push(Change::Components { from: pin.components.clone(), to: now.components });
    }
    changes.extend(now.asked.iter().filter(|asked| !pin.asked.contains(asked)).cloned().map(Change::Asked));
    changes.extend(pin.asked.iter().filter(|asked| !now.asked.contains(asked)).cloned().map(Change::Dropped));
    changes
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes: Vec<String> = self.changes.iter().map(ToString::to_string).collect();
        write!(f, "{}: {}", self.root, changes.join("; "))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("the lock does not have it yet"),
            Self::Gone => f.write_str("the spec has it no longer"),
            Self::Kind { from, to } => {
                write!(f, "it was locked as {} and is {} now", super::render::kind(*from), super::render::kind(*to))
            }
            Self::Platform { from, to } => write!(f, "the platform was {from} and is {to} now"),
            Self::Release { from, to } => write!(f, "the release was {from} and is {to} now"),
            Self::Suites { from, to } => write!(f, "the suites were {} and are {} now", from.join(", "), to.join(", ")),
            Self::Components { from, to } => {
                write!(f, "the components were {} and are {} now", from.join(", "), to.join(", "))
            }
            Self::Source => f.write_str("the spec asks for another source, or trusts it for another reason"),
            Self::Signer => f.write_str("the spec wants it signed by another key, or by none"),
            Self::Asked(request) => write!(f, "`{request}` is asked for now"),
            Self::Dropped(request) => write!(f, "`{request}` is not asked for any more"),
        }
    }
}
