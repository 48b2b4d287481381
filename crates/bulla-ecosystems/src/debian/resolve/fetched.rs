//! How far one suite is fetched, and what it needs next.

use std::collections::BTreeSet;

use bulla_model::Platform;

use super::{
    Dates, Need, ResolveError, Suite,
    unpack::{Compression, unpack},
};
use crate::debian::{
    packages::{Index, MAX_PACKAGES, Sources},
    release::{FileSum, MAX_RELEASE, MAX_SIGNATURE, Release, ReleaseError, verify_detached, verify_inrelease},
};

/// What is there of one suite.
#[derive(Debug, Default)]
pub(super) enum Fetched {
    /// `InRelease` is needed.
    #[default]
    Nothing,
    /// There is no `InRelease`: `Release` is needed.
    NoInRelease,
    /// `Release` is there, unverified, and `Release.gpg` is needed.
    Unverified(Vec<u8>),
    /// The index is verified, and some lists may be needed.
    Verified(Box<Release>, Vec<List>),
}

/// The list of packages of one component.
#[derive(Debug)]
pub(super) struct List {
    component: String,
    /// The platform that it is for; `None` for what is the same on all.
    platform: Option<Platform>,
    /// The ways to it that were not tried yet, the best last.
    ways: Vec<Way>,
    /// What it must be when unpacked, where the index says so.
    unpacked: Option<FileSum>,
    kind: Kind,
    index: Option<Listed>,
}

/// What a list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Packages,
    Sources,
}

/// A list that was read.
#[derive(Debug)]
enum Listed {
    Packages(Index),
    Sources(Sources),
}

/// Which lists of a suite are wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// The platforms whose packages are wanted.
    pub(super) packages: BTreeSet<Platform>,
    pub(super) sources: bool,
}

#[derive(Debug, Clone)]
struct Way {
    path: String,
    sum: FileSum,
    compression: Compression,
}

impl Fetched {
    pub(super) fn release(&self) -> Option<&Release> {
        match self {
            Self::Verified(release, _) => Some(release),
            _ => None,
        }
    }

    pub(super) fn lists(&self) -> impl Iterator<Item = (&str, Option<Platform>, &Index)> {
        let lists = match self {
            Self::Verified(_, lists) => lists.as_slice(),
            _ => &[],
        };
        lists.iter().filter_map(|list| match &list.index {
            Some(Listed::Packages(index)) => Some((list.component.as_str(), list.platform, index)),
            _ => None,
        })
    }

    pub(super) fn sources(&self) -> impl Iterator<Item = (&str, &Sources)> {
        let lists = match self {
            Self::Verified(_, lists) => lists.as_slice(),
            _ => &[],
        };
        lists.iter().filter_map(|list| match &list.index {
            Some(Listed::Sources(sources)) => Some((list.component.as_str(), sources)),
            _ => None,
        })
    }

    pub(super) fn needs(&self, suite: usize, name: &str) -> Vec<Need> {
        let file =
            |file: &str, max_size| vec![Need { suite, path: format!("dists/{name}/{file}"), max_size, expected: None }];
        match self {
            Self::Nothing => file("InRelease", MAX_RELEASE),
            Self::NoInRelease => file("Release", MAX_RELEASE),
            Self::Unverified(_) => file("Release.gpg", MAX_SIGNATURE),
            Self::Verified(_, lists) => {
                let open = lists.iter().filter(|list| list.index.is_none()).filter_map(|list| list.ways.last());
                open.map(|way| Need { suite, path: way.path.clone(), max_size: way.sum.1, expected: Some(way.sum) })
                    .collect()
            }
        }
    }

    pub(super) fn absent(&mut self, key: &str, path: &str) -> Result<(), ResolveError> {
        match self {
            Self::Nothing => *self = Self::NoInRelease,
            Self::NoInRelease => return Err(ResolveError::NoSuite { suite: key.to_owned() }),
            Self::Unverified(_) => return Err(unsigned(key)),
            Self::Verified(_, lists) => {
                let list = lists.iter_mut().find(|list| list.is_next(path));
                // The last way stays, so that the file is needed still when the caller tries another mirror.
                match list.filter(|list| list.ways.len() > 1) {
                    Some(list) => drop(list.ways.pop()),
                    None => return Err(ResolveError::Absent { suite: key.to_owned(), path: path.to_owned() }),
                }
            }
        }
        Ok(())
    }

    pub(super) fn got(
        &mut self,
        suite: &Suite,
        wanted: &Wanted,
        dates: Dates<'_>,
        path: &str,
        bytes: Vec<u8>,
    ) -> Result<(), ResolveError> {
        let refuse = |source| ResolveError::Release { suite: suite.key(), source: Box::new(source) };
        let release = match self {
            Self::Nothing => verify_inrelease(&bytes, &suite.keyring, dates).map_err(refuse)?,
            Self::NoInRelease => {
                *self = Self::Unverified(bytes);
                return Ok(());
            }
            Self::Unverified(text) => verify_detached(text, &bytes, &suite.keyring, dates).map_err(refuse)?,
            Self::Verified(_, lists) => {
                let list = lists.iter_mut().find(|list| list.is_next(path));
                return list.map_or(Ok(()), |list| list.got(&suite.key(), bytes));
            }
        };
        is_of(suite, &release)?;
        let lists = lists_of(suite, wanted, &release)?;
        *self = Self::Verified(Box::new(release), lists);
        Ok(())
    }
}

fn unsigned(key: &str) -> ResolveError {
    let source = ReleaseError::Signature(crate::debian::keyring::SignatureError::None);
    ResolveError::Release { suite: key.to_owned(), source: Box::new(source) }
}

/// Refuses a well-signed index that stands in for another: all suites of an archive are signed by the same keys.
fn is_of(suite: &Suite, release: &Release) -> Result<(), ResolveError> {
    if suite.suite == release.suite || suite.suite == release.codename {
        return Ok(());
    }
    let found = format!("{} {}", release.suite, release.codename).trim().to_owned();
    Err(ResolveError::OtherSuite { suite: suite.key(), found })
}

/// Finds the lists of packages that the index vouches for.
fn lists_of(suite: &Suite, wanted: &Wanted, release: &Release) -> Result<Vec<List>, ResolveError> {
    let mut lists = Vec::new();
    for component in &suite.components {
        let none = |architecture| ResolveError::NoComponent {
            suite: suite.key(),
            component: component.clone(),
            architecture,
            components: release.components.clone(),
        };
        for platform in &wanted.packages {
            let folder = format!("{component}/binary-{}", platform.debian());
            let list = List::find(suite, release, component, Kind::Packages, &folder);
            let list = list.ok_or_else(|| none(platform.debian()))?;
            lists.push(List { platform: Some(*platform), ..list });
        }
        if !wanted.packages.is_empty() && !release.all_is_included {
            lists.extend(List::find(suite, release, component, Kind::Packages, &format!("{component}/binary-all")));
        }
        if wanted.sources {
            let list = List::find(suite, release, component, Kind::Sources, &format!("{component}/source"));
            lists.push(list.ok_or_else(|| none("source"))?);
        }
    }
    Ok(lists)
}

impl List {
    fn find(suite: &Suite, release: &Release, component: &str, kind: Kind, directory: &str) -> Option<Self> {
        let file = match kind {
            Kind::Packages => "Packages",
            Kind::Sources => "Sources",
        };
        let unpacked = release.file(&format!("{directory}/{file}"));
        let component = component.to_owned();
        let mut list = Self { component, platform: None, ways: Vec::new(), unpacked, kind, index: None };
        if unpacked.is_some_and(|(_, size)| size == 0) {
            list.index = Some(match kind {
                Kind::Packages => Listed::Packages(Index::default()),
                Kind::Sources => Listed::Sources(Sources::default()),
            });
            return Some(list);
        }
        // The best way is pushed last: small before large, and by digest before by name, which can change under us.
        for compression in [Compression::None, Compression::Gzip, Compression::Xz] {
            let name = format!("{directory}/{file}{}", compression.ending());
            let Some(sum) = release.file(&name) else { continue };
            let base = format!("dists/{}", suite.suite);
            list.ways.push(Way { path: format!("{base}/{name}"), sum, compression });
            if release.by_hash {
                let path = format!("{base}/{directory}/by-hash/SHA256/{}", sum.0.hex());
                list.ways.push(Way { path, sum, compression });
            }
        }
        (!list.ways.is_empty()).then_some(list)
    }

    fn is_next(&self, path: &str) -> bool {
        self.index.is_none() && self.ways.last().is_some_and(|way| way.path == path)
    }

    fn got(&mut self, suite: &str, bytes: Vec<u8>) -> Result<(), ResolveError> {
        let Some(way) = self.ways.last() else { return Ok(()) };
        let (suite, path) = (|| suite.to_owned(), || way.path.clone());
        let text = unpack(bytes, way.compression, self.unpacked, MAX_PACKAGES)
            .map_err(|source| ResolveError::Unpack { suite: suite(), path: path(), source: Box::new(source) })?;
        let read = match self.kind {
            Kind::Packages => Index::parse(text).map(Listed::Packages),
            Kind::Sources => Sources::parse(text).map(Listed::Sources),
        };
        let refuse = |source| ResolveError::Packages { suite: suite(), path: path(), source: Box::new(source) };
        self.index = Some(read.map_err(refuse)?);
        Ok(())
    }
}
