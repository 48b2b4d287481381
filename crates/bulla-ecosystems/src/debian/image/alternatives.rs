//! `update-alternatives`: of several packages' programs for one name, the one of the highest priority.

use std::collections::BTreeMap;

use super::overlay::{Overlay, Stands, clean};
use bulla_model::CleanPath;

/// The most calls that are taken.
const MAX_CALLS: usize = 10_000;

/// A link and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    /// The generic name: `/usr/bin/editor`.
    pub(super) link: String,
    /// Its name in `/etc/alternatives`.
    pub(super) name: String,
    /// The file: `/usr/bin/vim.basic`.
    pub(super) path: String,
}

/// A call of `update-alternatives --install`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alternative {
    pub(super) master: Link,
    pub(super) priority: i32,
    pub(super) slaves: Vec<Link>,
}

impl Alternative {
    /// Reads the arguments of a call: `--install LINK NAME PATH PRIORITY [--slave LINK NAME PATH]…`; `None` when they are not
    /// that, or a call that changes nothing on a first installation.
    pub(super) fn parse(arguments: &[String]) -> Option<Self> {
        let mut arguments = arguments.iter().map(String::as_str).filter(|word| !matches!(*word, "--quiet" | "--force"));
        if arguments.next()? != "--install" {
            return None;
        }
        let link = |arguments: &mut dyn Iterator<Item = &str>| {
            let mut next = || arguments.next().map(str::to_owned);
            let (link, name, path) = (next()?, next()?, next()?);
            let good = link.starts_with('/') && path.starts_with('/') && !name.is_empty() && !name.contains('/');
            good.then_some(Link { link, name, path })
        };
        let master = link(&mut arguments)?;
        let priority = arguments.next()?.parse().ok()?;
        let mut slaves = Vec::new();
        while let Some(word) = arguments.next() {
            if word != "--slave" {
                return None;
            }
            slaves.push(link(&mut arguments)?);
        }
        Some(Self { master, priority, slaves })
    }
}

/// Makes the links of the best alternative of each name whose file is there; of equal ones, the first in order of its path.
pub(super) fn lay(overlay: &mut Overlay<'_>, calls: &[Alternative]) {
    let mut best: BTreeMap<&str, &Alternative> = BTreeMap::new();
    for call in calls.iter().take(MAX_CALLS) {
        if !leads_somewhere(overlay, &call.master.path) {
            continue;
        }
        let key = |call: &Alternative| (std::cmp::Reverse(call.priority), call.master.path.clone());
        let chosen = best.entry(&call.master.name).or_insert(call);
        if key(call) < key(chosen) {
            *chosen = call;
        }
    }
    for call in best.into_values() {
        put(overlay, &call.master);
        for slave in call.slaves.iter().filter(|slave| leads_somewhere(overlay, &slave.path)).collect::<Vec<_>>() {
            put(overlay, slave);
        }
    }
}

fn leads_somewhere(overlay: &Overlay<'_>, path: &str) -> bool {
    overlay.place(path).is_some_and(|path| overlay.leads_to(&path).is_some())
}

fn put(overlay: &mut Overlay<'_>, link: &Link) {
    let Some(place) = overlay.place(&link.link) else { return };
    let Some(middle) = CleanPath::parse(&link.name).and_then(|name| clean("etc/alternatives").join(&name)).ok() else {
        return;
    };
    // A file that a package ships under the generic name stays, as update-alternatives leaves it.
    if matches!(overlay.stands(&place), None | Some(Stands::Link)) {
        overlay.symlink(&middle, link.path.as_bytes());
        overlay.symlink(&place, format!("/etc/alternatives/{}", link.name));
    }
}
