//! From what a build asks for to pins, without a network: the caller fetches.
//!
//! A [`Resolver`] says what it [needs](Resolver::needs), is told what was [got](Resolver::got) or is
//! [absent](Resolver::absent), and when nothing is needed any more it [finishes](Resolver::finish). The order: the signed
//! index of each suite; then, by the digests in it, the list of packages of each component; then the choice for each root.

mod error;
mod fetched;
mod inquiry;
pub(crate) mod unpack;

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{Digest, Platform};

use self::fetched::{Fetched, Wanted};
pub use self::{
    error::ResolveError,
    inquiry::{Evidence, Inquiry, Need, Pin, Resolution, Root, SourcePin, SourceRoot, Suite},
    unpack::UnpackError,
};
use super::{
    packages::Package,
    pruned::{EXCUSED, PRUNED},
    relation::{is_name, is_suite},
    release::Dates,
    solve::{Choice, Question, Source, solve},
    version::Version,
};

/// The state of one resolution.
#[derive(Debug)]
pub struct Resolver {
    inquiry: Inquiry,
    fetched: Vec<Fetched>,
}

impl Resolver {
    /// Starts with nothing fetched.
    ///
    /// # Errors
    /// When a suite or component cannot be one, or a root names a suite that is not there.
    pub fn new(inquiry: Inquiry) -> Result<Self, ResolveError> {
        let refuse = |text: &str, what| Err(ResolveError::Inquiry { text: text.chars().take(100).collect(), what });
        for suite in &inquiry.suites {
            if !is_suite(&suite.suite) {
                return refuse(&suite.suite, "the name of a suite");
            }
            if let Some(bad) = suite.components.iter().find(|component| !is_name(component)) {
                return refuse(bad, "the name of a component");
            }
        }
        for root in &inquiry.sources {
            if root.suites.is_empty() || root.suites.iter().any(|suite| *suite >= inquiry.suites.len()) {
                return refuse(&root.name, "resolved: it names a suite that is not there");
            }
        }
        for root in &inquiry.roots {
            if root.suites.is_empty() || root.suites.iter().any(|suite| *suite >= inquiry.suites.len()) {
                return refuse(&root.name, "resolved: it names a suite that is not there");
            }
        }
        let fetched = inquiry.suites.iter().map(|_| Fetched::default()).collect();
        Ok(Self { inquiry, fetched })
    }

    /// Lists what is needed next, of all suites at once; nothing when the resolver can [finish](Self::finish).
    pub fn needs(&self) -> Vec<Need> {
        let suites = self.inquiry.suites.iter().zip(&self.fetched).enumerate();
        suites.flat_map(|(position, (suite, fetched))| fetched.needs(position, &suite.suite)).collect()
    }

    /// Takes the bytes of a file that was needed. After an error the file is needed still, so that the caller can try
    /// another mirror.
    ///
    /// # Errors
    /// When the bytes are not what is expected, or are refused.
    pub fn got(&mut self, need: &Need, bytes: Vec<u8>) -> Result<(), ResolveError> {
        let (suite, fetched) = self.turn(need)?;
        let key = suite.key();
        if bytes.len() as u64 > need.max_size {
            return Err(ResolveError::TooLong { suite: key, path: need.path.clone(), max_size: need.max_size });
        }
        if let Some(expected) = need.expected {
            let found = (Digest::of(&bytes), bytes.len() as u64);
            if found != expected {
                let (path, expected, found) = (need.path.clone(), Box::new(expected), Box::new(found));
                return Err(ResolveError::Mismatch { suite: key, path, expected, found });
            }
        }
        let now = self.inquiry.now;
        let remembered = self.inquiry.remembered.get(&key).filter(|_| !self.inquiry.allow_downgrade);
        let dates = remembered.map_or(Dates::first(now), |seen| Dates { now, seen });
        let suite = suite.clone();
        let wanted = self.wanted(need.suite);
        match self.fetched.get_mut(fetched) {
            Some(fetched) => fetched.got(&suite, &wanted, dates, &need.path, bytes),
            None => Err(ResolveError::OutOfTurn(need.path.clone())),
        }
    }

    /// Says which lists of a suite are wanted.
    fn wanted(&self, suite: usize) -> Wanted {
        Wanted {
            packages: (self.inquiry.roots.iter())
                .filter(|root| root.suites.contains(&suite))
                .flat_map(|root| [Some(root.platform), root.foreign])
                .flatten()
                .collect(),
            sources: self.inquiry.sources.iter().any(|root| root.suites.contains(&suite)),
        }
    }

    /// Notes that the mirror does not have a file. Where there is another way to the same bytes, that is needed next.
    ///
    /// # Errors
    /// When there is no other way.
    pub fn absent(&mut self, need: &Need) -> Result<(), ResolveError> {
        let (suite, fetched) = self.turn(need)?;
        let key = suite.key();
        match self.fetched.get_mut(fetched) {
            Some(fetched) => fetched.absent(&key, &need.path),
            None => Err(ResolveError::OutOfTurn(need.path.clone())),
        }
    }

    fn turn(&self, need: &Need) -> Result<(&Suite, usize), ResolveError> {
        let suite = self.inquiry.suites.get(need.suite).filter(|_| self.needs().contains(need));
        suite.map(|suite| (suite, need.suite)).ok_or_else(|| ResolveError::OutOfTurn(need.path.clone()))
    }

    /// Chooses the packages of all roots.
    ///
    /// # Errors
    /// When something is needed still, or a root has no solution.
    pub fn finish(&self) -> Result<Resolution, ResolveError> {
        if let Some(need) = self.needs().first() {
            return Err(ResolveError::OutOfTurn(need.path.clone()));
        }
        let mut chosen = BTreeMap::new();
        for root in &self.inquiry.roots {
            chosen.insert(root.name.clone(), self.choose(root)?);
        }
        let mut sources = BTreeMap::new();
        for root in &self.inquiry.sources {
            sources.insert(root.name.clone(), self.choose_source(root)?);
        }
        let packages: Vec<Pin> = chosen.values().flatten().cloned().collect::<BTreeSet<Pin>>().into_iter().collect();
        let place = |pin: &Pin| packages.binary_search(pin).ok();
        let roots = chosen.iter().map(|(name, pins)| (name.clone(), pins.iter().filter_map(place).collect())).collect();
        let indexes: Vec<Evidence> = self.evidence().collect();
        let epoch = indexes.iter().map(|index| index.date).max().unwrap_or_default();
        Ok(Resolution { indexes, packages, roots, sources, epoch })
    }

    fn evidence(&self) -> impl Iterator<Item = Evidence> {
        self.inquiry.suites.iter().zip(&self.fetched).filter_map(|(suite, fetched)| {
            let release = fetched.release()?;
            Some(Evidence {
                repository: suite.repository.clone(),
                suite: suite.suite.clone(),
                codename: release.codename.clone(),
                digest: release.digest,
                date: release.date,
                valid_until: release.valid_until,
                keys: release.signed_with.iter().map(|key| key.fingerprint.clone()).collect(),
                primary_keys: release.signed_with.iter().map(|key| key.primary.clone()).collect(),
            })
        })
    }

    fn choose(&self, root: &Root) -> Result<Vec<Pin>, ResolveError> {
        let names: Vec<Vec<String>> = root.suites.iter().map(|position| self.names_of(*position)).collect();
        let (mut sources, mut origins) = (Vec::new(), Vec::new());
        for (position, suites) in root.suites.iter().zip(&names) {
            let (Some(suite), Some(fetched)) = (self.inquiry.suites.get(*position), self.fetched.get(*position)) else {
                continue;
            };
            let not_automatic = fetched.release().is_some_and(|release| release.not_automatic);
            let wanted = [Some(root.platform), root.foreign];
            for (component, _, index) in
                fetched.lists().filter(|(_, platform, _)| platform.is_none() || wanted.contains(platform))
            {
                sources.push(Source { index, suites, not_automatic });
                origins.push((suite, component));
            }
        }
        let question = Question {
            sources: &sources,
            architecture: root.platform.debian(),
            foreign: root.foreign.map(Platform::debian),
            requests: &root.requests,
            essential: root.scripts,
            provided: if root.scripts { &[] } else { &PRUNED },
            excused: if root.scripts { &[] } else { &EXCUSED },
            locked: &root.locked,
        };
        let choices = solve(&question)
            .map_err(|source| ResolveError::Solve { root: root.name.clone(), source: Box::new(source) })?;
        let pin =
            |choice: Choice<'_>| origins.get(choice.source).map(|(s, component)| pin(&choice.package, s, component));
        Ok(choices.into_iter().filter_map(pin).collect())
    }

    /// Chooses a source package: the locked version where there still is one that fits, else the newest. A suite that is not
    /// automatic is only looked in when no other has one.
    fn choose_source(&self, root: &SourceRoot) -> Result<SourcePin, ResolveError> {
        let mut best: Option<(bool, bool, SourcePin)> = None;
        let mut known = BTreeSet::new();
        for position in &root.suites {
            let (Some(suite), Some(fetched)) = (self.inquiry.suites.get(*position), self.fetched.get(*position)) else {
                continue;
            };
            let automatic = fetched.release().is_none_or(|release| !release.not_automatic);
            for (component, sources) in fetched.sources() {
                let refuse = |source| ResolveError::Packages {
                    suite: suite.key(),
                    path: format!("{component}/source/Sources"),
                    source: Box::new(source),
                };
                for package in sources.named(root.request.name()) {
                    let package = package.map_err(refuse)?;
                    let Ok(version) = Version::parse(&package.version) else { continue };
                    known.insert(package.version.clone());
                    if !root.request.accepts(version) {
                        continue;
                    }
                    let locked = root.locked.as_deref() == Some(package.version.as_str());
                    let better = best.as_ref().is_none_or(|(was_locked, was_automatic, pin)| {
                        let before = Version::parse(&pin.package.version).ok();
                        (locked, automatic, Some(version)) > (*was_locked, *was_automatic, before)
                    });
                    if better {
                        let pin = SourcePin {
                            package,
                            repository: suite.repository.clone(),
                            suite: suite.suite.clone(),
                            component: component.to_owned(),
                        };
                        best = Some((locked, automatic, pin));
                    }
                }
            }
        }
        best.map(|(_, _, pin)| pin).ok_or_else(|| ResolveError::NoSource {
            request: root.request.to_string(),
            suites: root.suites.iter().filter_map(|at| Some(self.inquiry.suites.get(*at)?.suite.clone())).collect(),
            versions: known.into_iter().collect(),
        })
    }

    /// Gives the names by which a request can ask for a suite.
    fn names_of(&self, position: usize) -> Vec<String> {
        let configured = self.inquiry.suites.get(position).map(|suite| suite.suite.clone());
        let release = self.fetched.get(position).and_then(Fetched::release);
        let own = release.into_iter().flat_map(|r| [r.codename.clone(), r.suite.clone()]);
        let mut names: Vec<String> = configured.into_iter().chain(own).filter(|name| !name.is_empty()).collect();
        names.dedup();
        names
    }
}

fn pin(package: &Package<'_>, suite: &Suite, component: &str) -> Pin {
    let (source, version) = match package.source.split_once('(') {
        Some((source, version)) => (source.trim(), version.trim_end_matches(')').trim()),
        None => (package.source.trim(), package.version.as_str()),
    };
    Pin {
        name: package.name.to_owned(),
        version: package.version.as_str().to_owned(),
        architecture: package.architecture.to_owned(),
        path: package.filename.to_owned(),
        size: package.size,
        sha256: package.sha256,
        source: if source.is_empty() { package.name } else { source }.to_owned(),
        source_version: version.to_owned(),
        repository: suite.repository.clone(),
        suite: suite.suite.clone(),
        component: component.to_owned(),
    }
}
