//! What differs between two locks, for people.

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::lock::{Evidence, GitEvidence, Lock, SourcePin, Stale};

use crate::{neutral, terminal};

/// The most packages that are listed one by one.
const LISTED: usize = 40;

/// Says how much a lock pins.
pub(super) fn summary(lock: &Lock) -> String {
    let bytes = lock.packages.values().map(|pin| pin.size).sum();
    let (packages, roots) = (lock.packages.len(), lock.roots.len());
    let images = match lock.images.len() {
        0 => String::new(),
        1 => ", and one base image".to_owned(),
        count => format!(", and {count} base images"),
    };
    format!("{packages} packages for {roots} roots, {}{images}", terminal::bytes(bytes))
}

/// Lists the sources that came, went or are others now, each with what vouches for it.
pub(super) fn sources(old: &Lock, new: &Lock) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, pin) in &new.sources {
        let sign = match old.sources.get(name) {
            Some(before) if before == pin => continue,
            Some(_) => '~',
            None => '+',
        };
        lines.push(format!("  {sign} source {name} {}", described(pin)));
    }
    let gone = old.sources.keys().filter(|name| !new.sources.contains_key(*name));
    lines.extend(gone.map(|name| format!("  - source {name}")));
    lines.iter().map(|line| neutral::lines(line)).collect()
}

/// Says what a source is pinned to, and what vouches for it.
pub(in crate::ops) fn described(pin: &SourcePin) -> String {
    match pin {
        SourcePin::Debian(pin) => format!("{}, by the signed index of {}", pin.package, pin.suite),
        SourcePin::Git(pin) => {
            let commit = format!("commit {} ({})", pin.commit, pin.asked);
            match &pin.evidence {
                GitEvidence::Commit => format!("commit {}, as the spec says", pin.commit),
                GitEvidence::Signature(signature) => {
                    format!("{commit}, signed by {}: {}", signature.signed_by.join(", "), signature.signer)
                }
                GitEvidence::FirstUse => {
                    format!("{commit}, seen for the first time and believed: nothing vouches for it")
                }
            }
        }
        SourcePin::Url(pin) => match &pin.evidence {
            Evidence::Digest => format!("{}, as the spec says", pin.digest),
            Evidence::Signature { signed_by, .. } => format!("{}, signed by {}", pin.digest, signed_by.join(", ")),
            Evidence::FirstUse => {
                format!("{}, seen for the first time and believed: nothing vouches for it", pin.digest)
            }
        },
    }
}

/// Lists what differs: why the lock was amended, then the packages that came, went and moved.
pub(super) fn between(old: &Lock, new: &Lock, why: &[Stale]) -> String {
    let mut lines: Vec<String> = why.iter().map(|stale| format!("  {stale}")).collect();
    lines.extend(sources(old, new));
    let (before, after) = (versions(old), versions(new));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut packages = Vec::new();
    for name in names {
        let (from, to) = (before.get(name), after.get(name));
        match (from.map(|v| v.join(", ")), to.map(|v| v.join(", "))) {
            (None, Some(to)) => packages.push(format!("  + {name} {to}")),
            (Some(from), None) => packages.push(format!("  - {name} {from}")),
            (Some(from), Some(to)) if from != to => packages.push(format!("  ~ {name} {from} → {to}")),
            _ => {}
        }
    }
    let more = packages.len().saturating_sub(LISTED);
    packages.truncate(LISTED);
    lines.extend(packages);
    if more > 0 {
        lines.push(format!("  … and {more} packages more"));
    }
    for (reference, pin) in &new.images {
        match old.images.get(reference) {
            None => lines.push(format!("  + {reference} {}", pin.digest.short())),
            Some(before) if before != pin => {
                lines.push(format!("  ~ {reference} {} → {}", before.digest.short(), pin.digest.short()));
            }
            Some(_) => {}
        }
    }
    for reference in old.images.keys().filter(|reference| !new.images.contains_key(reference)) {
        lines.push(format!("  - {reference}"));
    }
    if lines.is_empty() {
        lines.push("  the indexes are newer, the packages are the same".into());
    }
    neutral::lines(&lines.join("\n"))
}

fn versions(lock: &Lock) -> BTreeMap<String, Vec<&str>> {
    let mut versions: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for key in lock.packages.keys() {
        versions.entry(key.label()).or_default().push(&key.version);
    }
    versions
}

#[cfg(test)]
mod tests {
    use bulla_model::{
        Digest,
        lock::{PackageKey, PackagePin},
    };

    use super::*;

    fn lock(packages: &[(&str, &str)]) -> Lock {
        let pin = PackagePin {
            architecture: "all".into(),
            registry: "debian".into(),
            suite: "bookworm".into(),
            component: "main".into(),
            path: "pool/x.deb".into(),
            size: 1000,
            digest: Digest::of(""),
            source: "x".into(),
            source_version: "1".into(),
        };
        let key = |&(name, version): &(&str, &str)| match name.split_once(':') {
            Some((name, architecture)) => PackageKey::new(name, version, architecture),
            None => PackageKey::new(name, version, "all"),
        };
        Lock { packages: packages.iter().map(|package| (key(package), pin.clone())).collect(), ..Lock::default() }
    }

    #[test]
    fn packages_that_came_went_and_moved_are_listed() {
        let old = lock(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let new = lock(&[("b", "2"), ("c", "1"), ("d", "1"), ("d", "2")]);
        assert_eq!(between(&old, &new, &[]), "  - a 1\n  ~ b 1 → 2\n  + d 1, 2");
        let both = lock(&[("a", "1"), ("b", "1"), ("c", "1"), ("c:arm64", "1")]);
        assert_eq!(between(&old, &both, &[]), "  + c:arm64 1");
        assert_eq!(between(&new, &new, &[]), "  the indexes are newer, the packages are the same");
        assert_eq!(summary(&new), "4 packages for 0 roots, 4.0 kB");
    }
}
