//! What the store takes, and removing what has not been used for long.
//!
//! What a living process has leased stays. The rest goes by when it was last used. Farms go before the trees they are made of
//! and with them; what is left of the trees gets new receipts, for removing a farm moves change times.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bulla_model::{Digest, tree::Node};
use rustix::fs::Stat;

use crate::{
    dir::{self, Dir},
    error::{Error, Result},
    lease::Item,
    lock::{Lock, Name},
    source,
    store::{Inner, Store, receipt_name},
    tree::{StoredTree, stored_tree, survey},
};

/// What garbage collection removes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcPolicy {
    /// Whatever was not used for longer.
    pub max_age: Option<Duration>,
    /// What was not used for longest, until no more than this is left, in bytes.
    pub max_bytes: Option<u64>,
}

/// How much there is of something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Section {
    /// How many.
    pub count: u64,
    /// How many bytes they take, about.
    pub bytes: u64,
}

impl Section {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// What the store takes, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// Artifacts, layers, documents.
    pub blobs: Section,
    /// Downloads that are not complete.
    pub partial: Section,
    /// Package trees and what steps changed.
    pub trees: Section,
    /// Merged roots and source views; their files are counted with the trees and sources.
    pub farms: Section,
    /// Copies of local sources.
    pub sources: Section,
    /// Results of actions.
    pub actions: Section,
    /// Caches of compilers.
    pub caches: Section,
}

impl Usage {
    /// Adds up the bytes.
    pub fn bytes(&self) -> u64 {
        let all = [self.blobs, self.partial, self.trees, self.farms, self.sources, self.actions, self.caches];
        all.iter().map(|section| section.bytes).sum()
    }
}

/// What garbage collection did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Freed {
    /// What was removed.
    pub removed: Section,
    /// What would have been removed, but living builds use it.
    pub in_use: Section,
    /// What is left.
    pub left: Usage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sort {
    Farm,
    Tree,
    Source,
    Action,
    Blob,
    Partial,
    Cache,
}

struct Thing {
    sort: Sort,
    digest: Digest,
    bytes: u64,
    used: SystemTime,
}

impl Store {
    /// Adds up what the store takes.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn du(&self) -> Result<Usage> {
        Ok(usage(&things(&self.0)?))
    }

    /// Removes what the policy says and no living build uses, and what dead builds left.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn gc(&self, policy: GcPolicy) -> Result<Freed> {
        let inner = &self.0;
        let gc = Lock::exclusive(&inner.root, Name::Gc)?;
        let leased = inner.leased(&gc)?;
        let (doomed, in_use) = choose(things(inner)?, &leased, policy, (inner.clock)());
        let farms: Vec<Digest> = doomed.iter().filter(|t| t.sort == Sort::Farm).map(|t| t.digest).collect();
        let doomed_parts: HashSet<Digest> =
            doomed.iter().filter(|t| matches!(t.sort, Sort::Tree | Sort::Source)).map(|t| t.digest).collect();
        remove_farms(inner, &farms, &doomed_parts)?;
        let mut trash = Vec::new();
        for thing in &doomed {
            trash.extend(take_out(inner, thing)?);
        }
        prune_sources(inner, &leased)?;
        prune_receipts(inner)?;
        drop(gc);
        trash.iter().for_each(|name| inner.discard(name));
        let mut freed = Freed { in_use, left: self.du()?, ..Freed::default() };
        doomed.iter().for_each(|thing| freed.removed.add(thing.bytes));
        Ok(freed)
    }
}

fn usage(things: &[Thing]) -> Usage {
    let mut usage = Usage::default();
    for thing in things {
        match thing.sort {
            Sort::Farm => usage.farms.add(thing.bytes),
            Sort::Tree => usage.trees.add(thing.bytes),
            Sort::Source => usage.sources.add(thing.bytes),
            Sort::Action => usage.actions.add(thing.bytes),
            Sort::Blob => usage.blobs.add(thing.bytes),
            Sort::Partial => usage.partial.add(thing.bytes),
            Sort::Cache => usage.caches.add(thing.bytes),
        }
    }
    usage
}

/// Lists all things with their sizes and when they were last used.
fn things(inner: &Inner) -> Result<Vec<Thing>> {
    let mut things = Vec::new();
    let places = [
        (Sort::Blob, &inner.blobs),
        (Sort::Partial, &inner.partial),
        (Sort::Tree, &inner.trees),
        (Sort::Farm, &inner.farms),
        (Sort::Source, &inner.sources),
        (Sort::Action, &inner.actions),
        (Sort::Cache, &inner.caches),
    ];
    for (sort, place) in places {
        for name in place.names()? {
            let digest = std::str::from_utf8(&name).ok().and_then(|hex| Digest::from_hex(hex).ok());
            let (Some(digest), Ok(stat)) = (digest, dir::stat_at(place, dir::name(&name))) else { continue };
            let bytes = match sort {
                Sort::Tree => tree_bytes(place, &digest),
                Sort::Farm => inner
                    .farm_record(&digest)
                    .map_or(0, |record| 4096 * record.rows.iter().filter(|row| !row.linked).count() as u64),
                Sort::Source => source::object_stamps(inner, &digest).0.values().map(|stamp| on_disk(stamp.size)).sum(),
                Sort::Cache => inner.cache_bytes(&digest),
                Sort::Blob | Sort::Partial | Sort::Action => on_disk(u64::try_from(stat.st_size).unwrap_or(0)),
            };
            things.push(Thing { sort, digest, bytes, used: used(inner, sort, &digest, &stat) });
        }
    }
    Ok(things)
}

/// Rounds up to whole blocks of 4 KiB.
const fn on_disk(bytes: u64) -> u64 {
    bytes.div_ceil(4096).saturating_mul(4096)
}

/// Adds up the files of a manifest without decoding it.
fn tree_bytes(trees: &Dir, digest: &Digest) -> u64 {
    let text = trees.read_all(format!("{}/manifest", digest.hex()), 1 << 30).ok().flatten().unwrap_or_default();
    let size = |line: &[u8]| -> Option<u64> {
        let size = line.strip_prefix(b"f ")?.split(|b| *b == b' ').nth(3)?;
        std::str::from_utf8(size).ok()?.parse().ok()
    };
    text.split(|b| *b == b'\n').filter_map(size).fold(on_disk(text.len() as u64), |sum, size| sum + on_disk(size))
}

#[expect(clippy::unnecessary_cast, reason = "the field has another width on other architectures")]
fn used(inner: &Inner, sort: Sort, digest: &Digest, stat: &Stat) -> SystemTime {
    let receipt = match sort {
        Sort::Blob => Some('b'),
        Sort::Tree => Some('t'),
        Sort::Farm => Some('f'),
        Sort::Source | Sort::Action | Sort::Partial | Sort::Cache => None,
    };
    let receipt = receipt.and_then(|letter| dir::stat_at(&inner.receipts, receipt_name(letter, digest)).ok());
    let seconds = receipt.map_or(stat.st_mtime as i64, |receipt| receipt.st_mtime as i64);
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// Chooses what goes: the oldest first. Gives also what would have gone but is used.
fn choose(
    mut things: Vec<Thing>,
    leased: &HashSet<(char, Digest)>,
    policy: GcPolicy,
    now: SystemTime,
) -> (Vec<Thing>, Section) {
    let mut total: u64 = things.iter().map(|thing| thing.bytes).sum();
    things.sort_by_key(|thing| (thing.used, thing.sort, thing.digest));
    let (mut doomed, mut in_use) = (Vec::new(), Section::default());
    for thing in things {
        let age = now.duration_since(thing.used).unwrap_or_default();
        let too_old = policy.max_age.is_some_and(|most| age > most);
        let too_much = policy.max_bytes.is_some_and(|most| total > most);
        if !too_old && !too_much {
            continue;
        }
        if leased.contains(&(letter(thing.sort), thing.digest)) {
            in_use.add(thing.bytes);
            continue;
        }
        total = total.saturating_sub(thing.bytes);
        doomed.push(thing);
    }
    (doomed, in_use)
}

const fn letter(sort: Sort) -> char {
    match sort {
        Sort::Farm => Item::Farm.letter(),
        Sort::Tree => Item::Tree.letter(),
        Sort::Source => Item::Source.letter(),
        Sort::Action => Item::Action.letter(),
        // Nobody works on what is kept, so it is never in use.
        Sort::Cache => 'c',
        // A download belongs to the blob that it will be.
        Sort::Blob | Sort::Partial => Item::Blob.letter(),
    }
}

/// Removes farms, also those made of trees or sources that are about to go.
fn remove_farms(inner: &Arc<Inner>, farms: &[Digest], doomed_parts: &HashSet<Digest>) -> Result<()> {
    let lock = Lock::exclusive(&inner.root, Name::Receipts)?;
    let mut doomed: BTreeMap<Digest, Vec<Digest>> = BTreeMap::new();
    for name in inner.farms.names()? {
        let Some(farm) = std::str::from_utf8(&name).ok().and_then(|hex| Digest::from_hex(hex).ok()) else { continue };
        let parts = inner.farm_record(&farm).map(|record| record.parts).unwrap_or_default();
        if farms.contains(&farm) || parts.iter().any(|part| doomed_parts.contains(part)) {
            doomed.insert(farm, parts);
        }
    }
    expel_farms(inner, &lock, &doomed, doomed_parts)
}

/// Removes farms, each with the parts of its record, and makes the receipts of those parts anew that do not go with them: the links that vanish
/// move the change times of what they were links to.
pub(crate) fn expel_farms(
    inner: &Arc<Inner>,
    lock: &Lock,
    doomed: &BTreeMap<Digest, Vec<Digest>>,
    doomed_parts: &HashSet<Digest>,
) -> Result<()> {
    let survivors: BTreeSet<Digest> =
        doomed.values().flatten().filter(|part| !doomed_parts.contains(part)).copied().collect();
    let (mut trees, mut sources) = (Vec::new(), Vec::new());
    for part in survivors {
        match stored_tree(inner, &part)? {
            Some(tree) if is_covered(inner, &tree)? => trees.push(tree),
            Some(_) => {}
            None => sources.push((part, covered_objects(inner, &part))),
        }
    }
    for farm in doomed.keys() {
        inner.expel_farm(farm)?;
    }
    trees.iter().try_for_each(|tree| tree.restamp(lock))?;
    for (id, mut objects) in sources {
        let Ok(place) = inner.sources.sub(format!("{}/objects", id.hex())) else { continue };
        for (key, stamp) in &mut objects.0 {
            if let Ok(stat) = dir::stat_at(&place, key.hex()) {
                *stamp = crate::stamp::Stamp::of(&stat);
            }
        }
        source::write_object_stamps(inner, lock, &id, &objects)?;
    }
    Ok(())
}

fn is_covered(inner: &Inner, tree: &StoredTree) -> Result<bool> {
    let now = survey::stamps(tree.root(), tree.manifest())?;
    Ok(now.is_some() && now == inner.tree_receipt(&tree.digest()))
}

/// Gives the objects of a source that are as their receipt says.
fn covered_objects(inner: &Inner, id: &Digest) -> source::Objects {
    let mut objects = source::object_stamps(inner, id);
    match inner.sources.sub(format!("{}/objects", id.hex())) {
        Ok(place) => objects.0.retain(|key, stamp| {
            dir::stat_at(&place, key.hex()).is_ok_and(|stat| crate::stamp::Stamp::of(&stat) == *stamp)
        }),
        Err(_) => objects.0.clear(),
    }
    objects
}

/// Moves a thing to scratch, and gives its name there.
fn take_out(inner: &Inner, thing: &Thing) -> Result<Option<String>> {
    let place = match thing.sort {
        // They are gone already.
        Sort::Farm => return Ok(None),
        Sort::Tree => &inner.trees,
        Sort::Source => &inner.sources,
        Sort::Action => &inner.actions,
        Sort::Blob => &inner.blobs,
        Sort::Partial => &inner.partial,
        Sort::Cache => &inner.caches,
    };
    // A copy that is being made ends before.
    let _lock = (thing.sort == Sort::Cache).then(|| Lock::exclusive(&inner.root, Name::Caches)).transpose()?;
    let (name, trash) = (thing.digest.hex(), inner.fresh("trash"));
    match rustix::fs::renameat(place, &name, &inner.scratch, &trash) {
        Ok(()) => Ok(Some(trash)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(Error::io("removing", place.path().join(name), error)),
    }
}

/// Removes the objects of sources that no view has and that are not of the source as it was read last.
fn prune_sources(inner: &Inner, leased: &HashSet<(char, Digest)>) -> Result<()> {
    let lock = Lock::exclusive(&inner.root, Name::Receipts)?;
    for name in inner.sources.names()? {
        let Some(id) = std::str::from_utf8(&name).ok().and_then(|hex| Digest::from_hex(hex).ok()) else { continue };
        if leased.contains(&(Item::Source.letter(), id)) {
            continue;
        }
        let place = inner.sources.sub(id.hex())?;
        let (current, manifest) = source::current(inner, &id, &place);
        let needed: HashSet<Digest> = manifest
            .iter()
            .filter_map(|(path, node)| match node {
                Node::File { mode, digest, .. } => Some(source::object_key(path, mode.is_executable(), digest)),
                _ => None,
            })
            .collect();
        let objects = place.sub("objects")?;
        let mut stamps = source::object_stamps(inner, &id);
        for name in objects.names()? {
            let key = std::str::from_utf8(&name).ok().and_then(|hex| Digest::from_hex(hex).ok());
            let linked = dir::stat_at(&objects, dir::name(&name)).is_ok_and(|stat| stat.st_nlink > 1);
            if !linked && key.is_none_or(|key| !needed.contains(&key)) {
                let _ = dir::remove_all(&objects, dir::name(&name));
                key.map(|key| stamps.0.remove(&key));
            }
        }
        source::write_object_stamps(inner, &lock, &id, &stamps)?;
        for name in place.names()?.iter().filter(|name| name.starts_with(b"manifest-")) {
            if current.is_none_or(|digest| name.strip_prefix(b"manifest-") != Some(digest.hex().as_bytes())) {
                let _ = dir::remove_all(&place, dir::name(name));
            }
        }
    }
    Ok(())
}

/// Removes receipts of things that are not there.
fn prune_receipts(inner: &Inner) -> Result<()> {
    for name in inner.receipts.names()? {
        let place = match name.first() {
            Some(b'b') => &inner.blobs,
            Some(b't') => &inner.trees,
            Some(b'f') => &inner.farms,
            _ => continue,
        };
        let Some(hex) = name.get(2..).filter(|hex| hex.len() == 64) else { continue };
        if dir::stat_at(place, dir::name(hex)).is_err() {
            let _ = dir::remove_all(&inner.receipts, dir::name(&name));
        }
    }
    Ok(())
}
