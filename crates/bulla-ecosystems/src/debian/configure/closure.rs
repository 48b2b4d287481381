//! The Essential packages and what they need.

use std::collections::{BTreeMap, BTreeSet};

use crate::debian::{deb::Package, relation};

/// Gives the places of the Essential packages and of all that they depend on, as far as it is among the packages.
///
/// A relation that cannot be read is passed over here: the solver has read them all before.
pub(super) fn essential(packages: &[Package]) -> BTreeSet<usize> {
    let providers = providers(packages);
    let mut open: Vec<usize> =
        packages.iter().enumerate().filter(|(_, p)| p.control.is_essential()).map(|(index, _)| index).collect();
    let mut closure = BTreeSet::new();
    while let Some(index) = open.pop() {
        let Some(package) = packages.get(index).filter(|_| closure.insert(index)) else { continue };
        for field in ["Pre-Depends", "Depends"].iter().filter_map(|field| package.control.get(field)) {
            let groups = relation::parse(field, package.control.architecture()).unwrap_or_default();
            for group in groups {
                // All that could meet the relation: which of them does is for the package manager to say.
                open.extend(group.iter().filter_map(|relation| providers.get(relation.name)).flatten());
            }
        }
    }
    closure
}

/// Gives the architecture that a root is of: that of its Essential packages.
pub(in crate::debian) fn native(packages: &[Package]) -> Option<&str> {
    let essential = packages.iter().filter(|package| package.control.is_essential());
    essential.map(|package| package.control.architecture()).find(|architecture| *architecture != "all")
}

fn providers(packages: &[Package]) -> BTreeMap<&str, Vec<usize>> {
    let mut providers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let native = native(packages);
    for (index, package) in packages.iter().enumerate() {
        let control = &package.control;
        // Copies of libraries for another architecture are nothing that the Essential packages need.
        if native.is_some_and(|native| !["all", native].contains(&control.architecture())) {
            continue;
        }
        providers.entry(control.name()).or_default().push(index);
        let provided = control.get("Provides").unwrap_or_default();
        for relation in relation::parse(provided, control.architecture()).unwrap_or_default().iter().flatten() {
            providers.entry(relation.name).or_default().push(index);
        }
    }
    providers
}
