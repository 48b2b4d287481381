//! What the lock knows of a package, and why it is there.

use std::collections::{BTreeMap, VecDeque};

use bulla_build::run::unpacked;
use bulla_ecosystems::debian::relation;
use bulla_model::{
    lock::{IndexKey, Lock, PackageKey, PackagePin, RootPin},
    spec::asked_name,
};
use bulla_store::Store;

use super::{Ground, Link, Pinned, SignedIndex, Wanted};

impl Ground<'_> {
    /// Gives the chain of every locked package of a name, and of what the image has of it.
    pub(crate) fn package(&self, name: &str) -> Vec<Vec<Link>> {
        let mut keys: Vec<PackageKey> = self.lock.iter().flat_map(|lock| lock.packages.keys()).cloned().collect();
        keys.retain(|key| key.name == name);
        for origin in self.image.layers.iter().flat_map(|layer| &layer.origins) {
            if let Some((found, version)) = origin.split_once('=')
                && found == name
                && keys.iter().all(|key| key.version != version)
            {
                keys.push(self.key(name, version));
            }
        }
        let chain = |key: &PackageKey| self.layers_of(key).into_iter().chain(self.pinned(key)).collect();
        keys.iter().map(chain).collect()
    }

    fn layers_of(&self, key: &PackageKey) -> Vec<Link> {
        // A layer names its packages without the architecture, which is the image's.
        let origin = format!("{}={}", key.name, key.version);
        let is_own = self.key(&key.name, &key.version) == *key;
        let has = |number: &usize| self.image.layers.get(*number).is_some_and(|layer| layer.origins.contains(&origin));
        (0..self.image.layers.len()).filter(|_| is_own).filter(has).filter_map(|number| self.layer(number)).collect()
    }

    /// Gives what the lock says of a package.
    pub(super) fn pinned(&self, key: &PackageKey) -> Vec<Link> {
        let Some(lock) = self.lock else {
            return vec![Link::Unknown { why: format!("there is no lock that would say where {key} comes from") }];
        };
        match lock.packages.get(key) {
            Some(pin) => vec![Link::Package(Box::new(pinned(self.store, lock, key, pin)))],
            None => {
                vec![Link::Unknown { why: format!("the lock does not have {key}: the image was built with another") }]
            }
        }
    }
}

/// Gives the index of a suite that the lock has.
pub(super) fn signed_index(lock: &Lock, registry: &str, suite: &str) -> Option<SignedIndex> {
    let key = IndexKey { registry: registry.to_owned(), suite: suite.to_owned() };
    lock.indexes.get(&key).map(|index| SignedIndex {
        digest: index.digest,
        date: index.date.rfc3339(),
        signed_by: index.signed_by.clone(),
    })
}

fn pinned(store: &Store, lock: &Lock, key: &PackageKey, pin: &PackagePin) -> Pinned {
    let roots = lock.roots.iter().filter(|(_, root)| root.packages.contains(key));
    Pinned {
        package: key.name.clone(),
        version: key.version.clone(),
        architecture: pin.architecture.clone(),
        source: format!("{}={}", pin.source, pin.source_version),
        digest: pin.digest,
        path: pin.path.clone(),
        registry: pin.registry.clone(),
        suite: pin.suite.clone(),
        component: pin.component.clone(),
        index: signed_index(lock, &pin.registry, &pin.suite),
        roots: roots.map(|(name, root)| (name.clone(), wanted(store, lock, root, &key.name))).collect(),
    }
}

/// Says why a package is in a root: by the shortest way from one that is asked for, or Essential.
fn wanted(store: &Store, lock: &Lock, root: &RootPin, name: &str) -> Wanted {
    if let Some(request) = root.asked.iter().find(|request| asked_name(request, root.native, root.target) == name) {
        return Wanted::Asked { request: request.clone() };
    }
    let mut needs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut provided: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut open: VecDeque<String> =
        root.asked.iter().map(|request| asked_name(request, root.native, root.target)).collect();
    for (key, pin) in lock.packages_of(root) {
        let Some((_, package)) = unpacked(store, &pin.digest) else { return Wanted::Unknown };
        let control = &package.control;
        let names = |field: &str| -> Vec<String> {
            let groups = relation::parse(control.get(field).unwrap_or_default(), &pin.architecture);
            groups.unwrap_or_default().into_iter().flatten().map(|relation| relation.name.to_owned()).collect()
        };
        if control.is_essential() {
            if key.name == name {
                return Wanted::Essential;
            }
            open.push_back(key.name.clone());
        }
        for virtual_name in names("Provides").into_iter().chain([key.name.clone()]) {
            provided.entry(virtual_name).or_default().push(key.name.clone());
        }
        needs.insert(key.name.clone(), [names("Pre-Depends"), names("Depends")].concat());
    }
    let mut from: BTreeMap<String, Option<String>> = open.iter().map(|name| (name.clone(), None)).collect();
    while let Some(next) = open.pop_front() {
        if next == name {
            return Wanted::Needed { by: way(&from, name) };
        }
        for need in needs.get(&next).into_iter().flatten().flat_map(|need| provided.get(need)).flatten() {
            if !from.contains_key(need) {
                from.insert(need.clone(), Some(next.clone()));
                open.push_back(need.clone());
            }
        }
    }
    Wanted::Unknown
}

fn way(from: &BTreeMap<String, Option<String>>, name: &str) -> Vec<String> {
    let mut way = vec![name.to_owned()];
    while let Some(Some(previous)) = way.last().and_then(|last| from.get(last)) {
        way.push(previous.clone());
    }
    way.reverse();
    way
}
