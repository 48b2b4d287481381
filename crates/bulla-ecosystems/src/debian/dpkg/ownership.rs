//! To which package a path belongs that several ship (Debian Policy 7.6.1).

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{CleanPath, Tree, tree::Node};

use super::DatabaseError;
use crate::debian::{deb::Package, relation, version::Version};

/// Who loses what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// The paths that packages ship and lose to another, with the places of those packages.
    pub hidden: BTreeSet<(usize, CleanPath)>,
    /// The packages whose pre-installation script moves another package's file away (dpkg-divert(1)) from where they have
    /// their own, each with the first such path: only the package manager itself can unpack them.
    pub late: BTreeMap<usize, CleanPath>,
}

/// Settles to which package each path belongs that several ship.
///
/// # Errors
/// When one is shipped by several packages of which none replaces the others, or moves their file away.
pub fn settle(packages: &[Package], manifests: &[&Tree]) -> Result<Settled, DatabaseError> {
    let mut settled = Settled::default();
    for (path, claims) in contested(manifests) {
        let mut staying = claims.clone();
        let mut owner = winner(packages, &staying)?;
        if owner.is_none() {
            let (moving, others): (Vec<_>, Vec<_>) =
                staying.into_iter().partition(|(index, _)| packages.get(*index).is_some_and(diverts));
            let is_settled = others.len() < 2;
            settled.late.extend(moving.into_iter().map(|(index, _)| (index, path.clone())));
            owner = if is_settled { others.first().map(|(index, _)| *index) } else { winner(packages, &others)? };
            if owner.is_none() && !is_settled {
                let names = claims.iter().filter_map(|(index, _)| packages.get(*index));
                let packages = names.map(|package| package.control.name().to_owned()).collect();
                return Err(DatabaseError::Conflict { path: path.clone(), packages });
            }
            staying = others;
        }
        let lost = staying.into_iter().map(|(index, _)| index).filter(|index| Some(*index) != owner);
        settled.hidden.extend(lost.map(|index| (index, path.clone())));
    }
    Ok(settled)
}

/// Says whether a package may move files of others away before it is unpacked. Whether it really does so, the package
/// manager finds. An Essential package has to be there before.
fn diverts(package: &Package) -> bool {
    !package.control.is_essential() && package.member("preinst").is_some_and(|text| text.contains("dpkg-divert"))
}

/// Gives the paths that several packages ship, but for those that are directories in all of them.
fn contested<'a>(manifests: &[&'a Tree]) -> BTreeMap<&'a CleanPath, Vec<(usize, &'a Node)>> {
    let mut claims: BTreeMap<&CleanPath, Vec<(usize, &Node)>> = BTreeMap::new();
    for (index, tree) in manifests.iter().enumerate() {
        for (path, node) in tree.iter() {
            claims.entry(path).or_default().push((index, node));
        }
    }
    claims.retain(|_, claims| claims.len() > 1 && !claims.iter().all(|(_, node)| node.is_directory()));
    claims
}

/// Gives the package that owns a path: the first that replaces each other one that does not ship the same link.
fn winner(packages: &[Package], claims: &[(usize, &Node)]) -> Result<Option<usize>, DatabaseError> {
    for (candidate, node) in claims {
        let mut wins = true;
        for (other, their) in claims.iter().filter(|(other, _)| other != candidate) {
            let (Some(new), Some(old)) = (packages.get(*candidate), packages.get(*other)) else { continue };
            wins &= same_link(node, their) || shared(new, old, node, their) || replaces(new, old)?;
        }
        if wins {
            return Ok(Some(*candidate));
        }
    }
    Ok(None)
}

/// Says whether copies of a package for two architectures have a file in common, as they may where it is the same in both
/// (`Multi-Arch: same`).
fn shared(one: &Package, other: &Package, node: &Node, their: &Node) -> bool {
    let (one, other) = (&one.control, &other.control);
    let are_copies = one.name() == other.name() && one.is_multi_arch_same() && other.is_multi_arch_same();
    let content = |node: &Node| match node {
        Node::File { digest, .. } => Some(*digest),
        _ => None,
    };
    are_copies && content(node).is_some() && content(node) == content(their)
}

fn same_link(one: &Node, other: &Node) -> bool {
    matches!((one, other), (Node::Symlink { target: a, .. }, Node::Symlink { target: b, .. }) if a == b)
}

fn replaces(new: &Package, old: &Package) -> Result<bool, DatabaseError> {
    let Some(field) = new.control.get("Replaces") else { return Ok(false) };
    let groups = relation::parse(field, new.control.architecture()).map_err(|source| DatabaseError::Relation {
        package: new.control.name().to_owned(),
        field: "Replaces",
        source,
    })?;
    let Ok(version) = Version::parse(old.control.version()) else { return Ok(false) };
    Ok(groups.iter().flatten().any(|relation| relation.name == old.control.name() && relation.accepts(version)))
}
