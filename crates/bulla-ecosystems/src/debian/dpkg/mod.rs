//! The package manager's own database, as `dpkg --unpack` would have left it: every package *unpacked*, none configured.
//!
//! [`settle`] says which package a path belongs to that two packages ship. [`database`] writes `var/lib/dpkg`: the status, and
//! beneath `info` the control files, lists and triggers' interests.

mod info;
mod ownership;
mod status;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use ownership::{Settled, settle};

use bulla_model::{CleanPath, Fault, Kind, Tree, path::CleanPathError, tree::Mode};

use super::{configure::closure::native, deb::Package, relation::ParseRelationError};

/// Where the database stands in a root.
const HOME: &str = "var/lib/dpkg";
/// The directories that the package manager wants to find.
const DIRECTORIES: [&str; 6] = ["", "/alternatives", "/info", "/parts", "/triggers", "/updates"];
/// The files that are there, and empty, from the start.
const EMPTY: [&str; 4] = ["available", "diversions", "statoverride", "triggers/Unincorp"];

/// The database of a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Its files with their modes and bytes, in the order of the paths.
    pub files: Vec<(CleanPath, Mode, Vec<u8>)>,
    /// Its directories, also those that are empty.
    pub directories: Vec<CleanPath>,
    /// The paths that a package ships and does not own: the package's place in the list, and the path with `/usr` merged.
    /// All of a package's that is not unpacked yet are among them.
    pub hidden: Vec<(usize, CleanPath)>,
    /// The places of the packages that the package manager has to unpack itself, since they move files of others away. The
    /// database does not know them.
    pub late: BTreeSet<usize>,
}

/// Says why packages cannot stand in one root.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Several packages ship a path, and none of them replaces the others.
    #[error("the packages {} all ship `{path}`, and none of them replaces the others", packages.join(", "))]
    Conflict {
        /// The path, with `/usr` merged.
        path: CleanPath,
        /// The names of the packages.
        packages: Vec<String>,
    },
    /// A package was given twice, or its control files have the names of another's.
    #[error("the package {package} would write `{path}` of the package database a second time")]
    Twice {
        /// The package.
        package: String,
        /// The file of the database.
        path: CleanPath,
    },
    /// A relation cannot be read.
    #[error("reading the field {field} of the package {package}")]
    Relation {
        /// The package.
        package: String,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: ParseRelationError,
    },
    /// A name cannot be written in the database, whose files have one name a line.
    #[error("the package {package} has the name `{name}`, which the package database cannot hold")]
    Name {
        /// The package.
        package: String,
        /// The name, made printable.
        name: String,
    },
    /// A control file's name is too long.
    #[error("naming a control file of the package {package}")]
    Path {
        /// The package.
        package: String,
        /// What is wrong with it.
        #[source]
        source: CleanPathError,
    },
    /// A configuration file is in the manifest, but its bytes cannot be had.
    #[error("the configuration file `{path}` of the package {package} cannot be read")]
    Unreadable {
        /// The package.
        package: String,
        /// The path.
        path: CleanPath,
    },
}

impl Fault for DatabaseError {
    fn kind(&self) -> Kind {
        match self {
            Self::Conflict { .. } => Kind::Spec,
            Self::Twice { .. } => Kind::Internal,
            Self::Unreadable { .. } => Kind::Environment,
            Self::Relation { .. } | Self::Name { .. } | Self::Path { .. } => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Conflict { packages, .. } => {
                vec![format!("leave out all but one of {}, or put them in different stages", packages.join(", "))]
            }
            _ => Vec::new(),
        }
    }
}

/// Writes the database of some packages, of which each is unpacked and none is configured.
///
/// `manifests` has the tree of each package, with `/usr` merged; `read` gives the bytes of a file of one of them, from which
/// the MD5 digests of the configuration files are taken.
///
/// # Errors
/// When two packages ship one path and neither replaces the other, or a package says what cannot be written down.
pub fn database(
    packages: &[Package],
    manifests: &[&Tree],
    read: &dyn Fn(usize, &CleanPath) -> Option<Vec<u8>>,
) -> Result<Database, DatabaseError> {
    let Settled { mut hidden, late } = settle(packages, manifests)?;
    for (index, tree) in manifests.iter().enumerate().filter(|(index, _)| late.contains_key(index)) {
        let files = tree.iter().filter(|(_, node)| !node.is_directory());
        hidden.extend(files.map(|(path, _)| (index, path.clone())));
    }
    let unpacked = || packages.iter().enumerate().filter(|(index, _)| !late.contains_key(index));
    let mut files = Files::default();
    for name in EMPTY {
        files.add("", name, 0o644, Vec::new())?;
    }
    files.add("", "info/format", 0o644, b"1\n".to_vec())?;
    let mut status = String::new();
    for (index, package) in unpacked() {
        let is_hidden = |path: &CleanPath| hidden.contains(&(index, path.clone()));
        let conffiles = status::conffiles(package, |path| {
            let (stored, _) = manifests.get(index).filter(|_| !is_hidden(path)).and_then(|tree| tree.file(path))?;
            Some(read(index, stored))
        })?;
        status::paragraph(&mut status, package, &conffiles);
        info::write(&mut files, package, is_hidden)?;
    }
    files.add("", "status", 0o644, status.into_bytes())?;
    if let Some(architectures) = architectures(packages) {
        files.add("", "arch", 0o644, architectures.into_bytes())?;
    }
    info::triggers(&mut files, unpacked().map(|(_, package)| package))?;
    let directories = DIRECTORIES.iter().map(|name| format!("{HOME}{name}").parse().expect("a clean path")).collect();
    let files = files.0.into_iter().map(|(path, (mode, bytes))| (path, mode, bytes)).collect();
    Ok(Database { files, directories, hidden: hidden.into_iter().collect(), late: late.into_keys().collect() })
}

/// Gives the list of architectures, the own one first, where packages of another stand in the root (`dpkg
/// --add-architecture`).
fn architectures(packages: &[Package]) -> Option<String> {
    let native = native(packages)?;
    let all = packages.iter().map(|package| package.control.architecture());
    let others: BTreeSet<&str> = all.filter(|architecture| !["all", native].contains(architecture)).collect();
    let lines: String = std::iter::once(native).chain(others.iter().copied()).map(|name| format!("{name}\n")).collect();
    (!others.is_empty()).then_some(lines)
}

/// The files of the database so far.
#[derive(Default)]
struct Files(BTreeMap<CleanPath, (Mode, Vec<u8>)>);

impl Files {
    /// Adds a file, which must be new.
    fn add(&mut self, package: &str, name: &str, mode: u32, bytes: Vec<u8>) -> Result<(), DatabaseError> {
        let path = CleanPath::parse(format!("{HOME}/{name}"))
            .map_err(|source| DatabaseError::Path { package: package.to_owned(), source })?;
        match self.0.insert(path.clone(), (Mode::new(mode), bytes)) {
            None => Ok(()),
            Some(_) => Err(DatabaseError::Twice { package: package.to_owned(), path }),
        }
    }
}

/// Gives the name that the package's files have in the database: with the architecture where copies for several may stand
/// beside each other.
pub(super) fn stem(package: &Package) -> String {
    let control = &package.control;
    if control.is_multi_arch_same() {
        format!("{}:{}", control.name(), control.architecture())
    } else {
        control.name().to_owned()
    }
}
