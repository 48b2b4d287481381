//! Says in a person's words why packages cannot be had together.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    pool::{Group, Id, Pool, Slot},
    provider::{Outcome, run},
};

/// How many packages are looked at for an explanation.
const MAX_LOOKED_AT: usize = 50_000;
/// How many exclusions are listed.
const MAX_EXCLUSIONS: usize = 10;

/// Why there is no solution, from what was asked for down to where it breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What was asked for and cannot be had; no smaller part of the requests fails by itself.
    pub requests: Vec<String>,
    /// The reasons, one sentence each.
    pub reasons: Vec<String>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests: Vec<String> = self.requests.iter().map(|r| format!("`{r}`")).collect();
        match requests.as_slice() {
            [one] => write!(f, "{one} cannot be installed")?,
            several => write!(f, "{} cannot be installed together", several.join(" and "))?,
        }
        for reason in &self.reasons {
            write!(f, "\n  {reason}")?;
        }
        Ok(())
    }
}

/// Explains why groups cannot all hold.
pub(super) fn explain(pool: &Pool<'_>, roots: &[Group]) -> Explanation {
    let broken = find_broken(pool, roots);
    if let Some(root) = roots.iter().find(|root| root.options.iter().all(|id| broken.contains_key(id))) {
        return Explanation { requests: vec![root.text.clone()], reasons: chain(pool, root, &broken) };
    }
    let roots = shrink(pool, roots);
    let requests = roots.iter().map(|root| root.text.clone()).collect();
    let reasons = clash(pool, &roots).unwrap_or_else(|| exclusions(pool, &roots));
    Explanation { requests, reasons }
}

/// Finds all packages that groups could pull in.
fn reach(pool: &Pool<'_>, roots: &[Group]) -> BTreeSet<Id> {
    let mut reached: BTreeSet<Id> = roots.iter().flat_map(|root| root.options.iter().copied()).collect();
    let mut todo: Vec<Id> = reached.iter().copied().collect();
    while let Some(id) = todo.pop().filter(|_| reached.len() < MAX_LOOKED_AT) {
        for option in pool.relations(id).groups.iter().flat_map(|group| group.options.iter().copied()) {
            if reached.insert(option) {
                todo.push(option);
            }
        }
    }
    reached
}

/// Lists what excludes what among all that groups could pull in: for conflicts that no single pair of packages decides.
fn exclusions(pool: &Pool<'_>, roots: &[Group]) -> Vec<String> {
    let reached = reach(pool, roots);
    let mut reasons = BTreeSet::new();
    for id in &reached {
        for ban in pool.relations(*id).bans.iter().filter(|ban| ban.banned.iter().any(|other| reached.contains(other)))
        {
            reasons.insert(format!("{} {}", pool.label(*id), ban.text));
        }
    }
    let front = "no choice among their dependencies fits; of these, some exclude others:".to_owned();
    std::iter::once(front).chain(reasons.into_iter().take(MAX_EXCLUSIONS)).collect()
}

/// Finds the packages that can never be installed, because something they need can never be: each with the round in which
/// that was found (so that reasons do not go in circles) and the group that fails.
fn find_broken(pool: &Pool<'_>, roots: &[Group]) -> BTreeMap<Id, (usize, usize)> {
    let reached = reach(pool, roots);
    let mut broken: BTreeMap<Id, (usize, usize)> = BTreeMap::new();
    for round in 0..MAX_LOOKED_AT {
        let fresh: Vec<(Id, usize)> = reached
            .iter()
            .filter(|id| !broken.contains_key(id))
            .filter_map(|id| {
                let groups = &pool.relations(*id).groups;
                let failing = groups.iter().position(|g| g.options.iter().all(|option| broken.contains_key(option)))?;
                Some((*id, failing))
            })
            .collect();
        if fresh.is_empty() {
            break;
        }
        broken.extend(fresh.into_iter().map(|(id, group)| (id, (round, group))));
    }
    broken
}

/// Follows broken packages down to a need that nothing meets.
fn chain(pool: &Pool<'_>, root: &Group, broken: &BTreeMap<Id, (usize, usize)>) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut next = root.options.first().copied();
    while let Some(id) = next {
        let Some((_, group)) = broken.get(&id) else { break };
        let relations = pool.relations(id);
        let Some(group) = relations.groups.get(*group) else { break };
        next = group.options.first().copied();
        let missing = if next.is_none() { format!(", and {}", what_there_is(pool, group)) } else { String::new() };
        reasons.push(format!("{} needs {}{missing}", pool.label(id), group.text));
    }
    reasons
}

/// Says what versions there are of what a group names.
fn what_there_is(pool: &Pool<'_>, group: &Group) -> String {
    let mut found = Vec::new();
    for name in group.text.split(" | ").map(|relation| relation.split([' ', ':']).next().unwrap_or(relation)) {
        let places: Vec<String> = pool.places(name);
        if !places.is_empty() {
            found.push(format!("of {name} there is only {}", places.join(", ")));
        }
    }
    if found.is_empty() { "there is no such package".to_owned() } else { found.join("; ") }
}

/// Leaves out requests as long as the rest still fails.
fn shrink(pool: &Pool<'_>, roots: &[Group]) -> Vec<Group> {
    let mut needed = roots.to_vec();
    let mut place = 0;
    // A solution without one tells that it is needed; asking for some hundred takes seconds at most.
    while place < needed.len() && needed.len() > 1 {
        let without: Vec<Group> =
            needed.iter().enumerate().filter(|(i, _)| *i != place).map(|(_, group)| group.clone()).collect();
        if matches!(run(pool, &without), Outcome::Unsolvable) { needed = without } else { place += 1 }
    }
    needed
}

/// A package that must be there, by its name: which versions would do, and who says so.
#[derive(Debug, Clone, Default)]
struct Must<'a> {
    allowed: Vec<Id>,
    because: Vec<Why<'a>>,
}

/// One reason why a package must be there.
#[derive(Debug, Clone)]
struct Why<'a> {
    text: String,
    /// The name of the package that needs it; `None` where it is asked for.
    by: Option<Slot<'a>>,
}

type Musts<'a> = BTreeMap<Slot<'a>, Must<'a>>;

/// Tells why a package must be there, from what was asked for down to it.
fn story<'a>(musts: &Musts<'a>, name: Slot<'a>, told: &mut Vec<String>) {
    let mut chains = Vec::new();
    for why in musts.get(&name).into_iter().flat_map(|must| &must.because) {
        let mut chain = vec![why.text.clone()];
        let mut by = why.by;
        // A package stands in the map before what it needs, so the way up ends; the bound is for what was overlooked.
        while let Some(above) = by.filter(|_| chain.len() < 100).and_then(|by| musts.get(&by)?.because.first()) {
            chain.push(above.text.clone());
            by = above.by;
        }
        chains.extend(chain.into_iter().rev());
    }
    for text in chains {
        if !text.is_empty() && !told.contains(&text) {
            told.push(text);
        }
    }
}

/// Finds two packages that must both be there and exclude each other, or one that must be there in two versions.
fn clash(pool: &Pool<'_>, roots: &[Group]) -> Option<Vec<String>> {
    let mut musts: Musts<'_> = BTreeMap::new();
    let mut todo: Vec<Slot<'_>> = Vec::new();
    for root in roots {
        // A bare name needs no words: it is in the list of requests.
        let bare = root.options.first().is_some_and(|id| pool.package(*id).name == root.text);
        let text = if bare { String::new() } else { format!("{} is asked for", root.text) };
        demand(pool, &mut musts, &mut todo, root, Why { text, by: None });
    }
    while let Some(name) = todo.pop() {
        let Some(must) = musts.get(&name).cloned() else { continue };
        if must.allowed.is_empty() {
            let mut reasons = Vec::new();
            story(&musts, name, &mut reasons);
            reasons.push(format!(
                "no version of {} is all that; there is only {}",
                pool.name(name),
                pool.places(name.name).join(", ")
            ));
            return Some(reasons);
        }
        for (group, by) in needed_by_all(pool, &must.allowed) {
            let why = Why { text: format!("{by} needs {}", group.text), by: Some(name) };
            demand(pool, &mut musts, &mut todo, &group, why);
        }
    }
    musts.iter().find_map(|(name, must)| {
        let first = must.allowed.first()?;
        pool.relations(*first).bans.iter().find_map(|ban| {
            let (other_name, other) =
                musts.iter().find(|(_, other)| exclude_each_other(pool, must, other, &ban.banned))?;
            let mut reasons = Vec::new();
            story(&musts, *name, &mut reasons);
            story(&musts, *other_name, &mut reasons);
            // The same version can stand in several suites.
            let mut others: Vec<String> = other.allowed.iter().map(|id| pool.label(*id)).collect();
            others.dedup();
            reasons.push(format!("{} {}, which {} is", pool.label(*first), ban.text, others.join(" or ")));
            Some(reasons)
        })
    })
}

/// Finds what every version of a package needs, with one version that says so.
fn needed_by_all(pool: &Pool<'_>, versions: &[Id]) -> Vec<(Group, String)> {
    let Some((first, rest)) = versions.split_first() else { return Vec::new() };
    let has = |id: &Id, text: &str| pool.relations(*id).groups.iter().any(|group| group.text == text);
    let relations = pool.relations(*first);
    let common = relations.groups.iter().filter(|group| rest.iter().all(|id| has(id, &group.text)));
    common.map(|group| (group.clone(), pool.label(*first))).collect()
}

/// Says whether no version of one can be beside any of the other, of which some are in `banned`.
fn exclude_each_other(pool: &Pool<'_>, one: &Must<'_>, other: &Must<'_>, banned: &[Id]) -> bool {
    let bans = |a: &Id, b: &Id| pool.relations(*a).bans.iter().any(|ban| ban.banned.contains(b));
    let excluded = |a: &Id| other.allowed.iter().all(|b| bans(a, b) || bans(b, a));
    other.allowed.iter().any(|id| banned.contains(id)) && one.allowed.iter().all(excluded)
}

/// Notes that a group must hold, when only packages of one name can make it hold.
fn demand<'a>(pool: &Pool<'a>, musts: &mut Musts<'a>, todo: &mut Vec<Slot<'a>>, group: &Group, why: Why<'a>) {
    let names: BTreeSet<Slot<'a>> = group.options.iter().map(|id| pool.slot(*id)).collect();
    let mut names = names.into_iter();
    let (Some(name), None) = (names.next(), names.next()) else { return };
    let must = musts.entry(name).or_default();
    let before = must.allowed.len();
    if must.because.is_empty() {
        must.allowed.clone_from(&group.options);
    } else {
        must.allowed.retain(|id| group.options.contains(id));
        if must.allowed.len() == before {
            return;
        }
    }
    must.because.push(why);
    todo.push(name);
}

/// Finds up to three names that look like one that does not exist.
pub(super) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let limit = (name.len() / 4).max(1);
    let mut found: BTreeSet<(usize, &str)> = BTreeSet::new();
    for candidate in names {
        if candidate.len().abs_diff(name.len()) <= limit {
            let distance = distance(name.as_bytes(), candidate.as_bytes());
            if distance <= limit {
                found.insert((distance, candidate));
            }
        }
    }
    found.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

/// Counts the characters to insert, delete, replace or swap with their neighbour to make one word of another.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut rows = [vec![0; b.len() + 1], (0..=b.len()).collect::<Vec<usize>>(), vec![0; b.len() + 1]];
    for (i, x) in a.iter().enumerate() {
        let [before, last, row] = &mut rows;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = last[j] + usize::from(x != y);
            row[j + 1] = change.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *y && *x == b[j - 1] {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        rows.rotate_left(1);
    }
    rows[1][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_are_found() {
        let names = ["nodejs", "node-js-yaml", "gcc", "libssl-dev", "zlib1g", "zlib1g-dev"];
        let find = |name| nearest(name, names.iter().copied());
        assert_eq!(find("nodjes"), ["nodejs"]);
        assert_eq!(find("libsl-dev"), ["libssl-dev"]);
        assert_eq!(find("gc"), ["gcc"]);
        assert!(find("postgresql").is_empty());
        assert_eq!((distance(b"", b"abc"), distance(b"ab", b"ba"), distance(b"kitten", b"sitting")), (3, 1, 3));
    }
}
