//! What is no longer to be had anywhere, and what to update.

use bulla_model::{Fault, Kind};
use bulla_net::FetchErrors;

use super::Wanted;

/// Things of the lock that nobody has any more.
#[derive(Debug, thiserror::Error)]
#[error("{first}{} {} not to be had any more: no mirror has it{}", more(*.count), if *.count == 1 { "is" } else { "are" }, .elsewhere.as_ref().map(|place| format!(", nor {place}")).unwrap_or_default())]
pub(super) struct Nowhere {
    /// The first of them.
    first: String,
    count: usize,
    /// What `bulla lock --update` calls them.
    names: Vec<String>,
    /// Where they were looked for beside the mirrors.
    elsewhere: Option<String>,
    source: FetchErrorText,
}

/// What the mirrors said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct FetchErrorText(String);

fn more(count: usize) -> String {
    if count > 1 { format!(" and {} more", count - 1) } else { String::new() }
}

impl Nowhere {
    pub(super) fn of(error: &FetchErrors, missing: &[Wanted<'_>], elsewhere: Option<&str>) -> Option<Self> {
        if !error.errors.iter().all(bulla_net::NetError::is_not_found) {
            return None;
        }
        let gone: Vec<&Wanted<'_>> = error.places.iter().filter_map(|at| missing.get(*at)).collect();
        let mut names: Vec<String> = gone.iter().map(|wanted| wanted.name.clone()).collect();
        names.dedup();
        let source = FetchErrorText(error.to_string());
        let first = gone.first()?.title();
        Some(Self { first, count: gone.len(), names, elsewhere: elsewhere.map(str::to_owned), source })
    }
}

impl Fault for Nowhere {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hints(&self) -> Vec<String> {
        let names: Vec<String> = self.names.iter().take(10).map(|name| format!("--update {name}")).collect();
        let update = format!("`bulla lock {}` takes what there is now", names.join(" "));
        let keep = "a remote store keeps what mirrors drop: see `remote` under `[store]` in docs/configuration.md";
        let keep = self.elsewhere.is_none().then(|| keep.to_owned());
        [update].into_iter().chain(keep).collect()
    }
}
