//! The remote stores that the user lets workspaces name.
//!
//! A workspace's file may be a stranger's. What is built would be read from a place that it names, and inputs, results and logins
//! would go there; so it counts only where the user's own configuration permits that very place.

use std::{borrow::Cow, fmt};

use bulla_model::spec::WorkspaceStore;

use super::{Others, Place};
use crate::{neutral, ops::project::Project, session::Session};

/// A place that a workspace may name, or all places beneath one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Permit {
    places: Places,
    /// The branches from which it may be written; none where it may only be read.
    pub(crate) write_from: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Places {
    One(Place),
    /// All whose text begins with this, which ends with a slash.
    Beneath(String),
}

impl Permit {
    /// Reads a place, or a place with `/*` at its end.
    ///
    /// # Errors
    /// When it is none: why.
    pub(crate) fn parse(text: &str, write_from: Vec<String>) -> Result<Self, String> {
        let places = match text.strip_suffix("/*") {
            // Every place is written in one way, so that what lies beneath is told by the beginning.
            Some(above) => match format!("{above}/x").parse::<Place>() {
                Ok(inner) if above != "file://" => Places::Beneath(inner.to_string().trim_end_matches('x').to_owned()),
                Ok(_) => return Err("`file:///*` is every folder".to_owned()),
                Err(error) => return Err(error.to_string()),
            },
            None => Places::One(text.parse::<Place>().map_err(|error| error.to_string())?),
        };
        Ok(Self { places, write_from })
    }

    fn covers(&self, place: &Place) -> bool {
        match &self.places {
            Places::One(one) => one == place,
            Places::Beneath(above) => place.to_string().starts_with(above.as_str()),
        }
    }
}

impl fmt::Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.places {
            Places::One(place) => place.fmt(f),
            Places::Beneath(above) => write!(f, "{above}*"),
        }
    }
}

/// What holds for one build: the configuration's own remote store, else that of the workspace where the user permits it.
pub(super) fn settle<'o>(session: &Session, others: &'o Others, project: &Project) -> Cow<'o, Others> {
    let membership = project.membership.as_ref().filter(|_| others.remote.is_none());
    let Some((membership, store)) = membership.and_then(|one| Some((one, one.store.as_ref()?))) else {
        return Cow::Borrowed(others);
    };
    match others.workspace.iter().find(|permit| permit.covers(&store.remote)) {
        Some(permit) => {
            let write_from = both(&permit.write_from, store);
            Cow::Owned(Others { remote: Some(store.remote.clone()), write_from, ..others.clone() })
        }
        None => {
            let file = session.environment.config_files().pop().unwrap_or_default();
            let entry = format!("{{remote = {}}}", toml::Value::String(store.remote.to_string()));
            let line = match others.workspace.is_empty() {
                true => format!("write `workspace = [{entry}]` under `[store]`"),
                false => format!("add `{entry}` to `workspace` under `[store]`"),
            };
            session.warn_once(&neutral::line(&format!(
                "{}:{} names the remote store {}, which your configuration does not permit, so it is not asked: to use it, {line} in {}",
                membership.shown,
                store.at.line,
                store.remote,
                file.display()
            )));
            Cow::Borrowed(others)
        }
    }
}

/// Gives the branches that both the user and the workspace let write.
fn both(permitted: &[String], store: &WorkspaceStore) -> Vec<String> {
    let Some(asked) = &store.write_from else { return permitted.to_vec() };
    let any = |names: &[String]| names.iter().any(|name| name == "*");
    match (any(permitted), any(asked)) {
        (true, _) => asked.clone(),
        (false, true) => permitted.to_vec(),
        (false, false) => permitted.iter().filter(|name| asked.contains(name)).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use bulla_model::spec::Position;

    use super::*;

    fn permits(pattern: &str, place: &str) -> bool {
        let permit = Permit::parse(pattern, Vec::new()).expect("a permit");
        assert_eq!(permit.to_string(), pattern);
        permit.covers(&place.parse().expect("a place"))
    }

    #[test]
    fn a_place_is_permitted_by_its_whole_name_or_by_what_it_lies_beneath() {
        assert!(permits("oci://r.example/team/bulla", "oci://r.example/team/bulla"));
        assert!(permits("oci://r.example/team/*", "oci://r.example/team/a/b"));
        assert!(permits("oci://r.example/*", "oci://r.example/x") && permits("file:///srv/*", "file:///srv/a/b"));
        for (pattern, place) in [
            ("oci://r.example/team/bulla", "oci://r.example/team/bulla2"),
            ("oci://r.example/team/bulla", "oci://r.example/team/bulla/x"),
            ("oci://r.example/team/*", "oci://r.example/team"),
            ("oci://r.example/team/*", "oci://r.example/teams/x"),
            ("oci://r.example/*", "oci://r.example:5000/x"),
            ("oci://r.example/*", "oci://r.example.evil.example/x"),
            ("oci://r.example/*", "oci://evil.example/r.example/x"),
            ("file:///srv/*", "file:///srv"),
            ("file:///srv/*", "file:///srv2/x"),
            ("file:///r.example/*", "oci://r.example/x"),
        ] {
            assert!(!permits(pattern, place), "{pattern} {place}");
        }
        for bad in ["", "*", "oci://*", "oci://*/x", "oci://*.example/*", "oci://r.example/te*", "file:///*", "/srv/*"]
        {
            assert!(Permit::parse(bad, Vec::new()).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_branches_that_user_and_workspace_name_write() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let remote: Place = "oci://r.example/x".parse().expect("a place");
        let found = |permitted: &[&str], asked: Option<&[&str]>| {
            let (write_from, at) = (asked.map(names), Position { line: 1, column: 1 });
            both(&names(permitted), &WorkspaceStore { remote: remote.clone(), write_from, at })
        };
        assert_eq!(found(&[], Some(&["*"])), [""; 0], "the workspace alone lets nobody write");
        assert_eq!(found(&["main"], None), ["main"]);
        assert_eq!(found(&["main", "next"], Some(&["main", "evil"])), ["main"]);
        assert_eq!(found(&["*"], Some(&["main"])), ["main"]);
        assert_eq!(found(&["main"], Some(&["*"])), ["main"]);
    }
}
