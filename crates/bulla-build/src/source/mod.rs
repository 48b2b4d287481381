//! Which files a local source is made of.
//!
//! In a git checkout they are the tracked files and those that are untracked but not ignored; elsewhere, all. A checkout of
//! somebody who is not believed is none. The
//! project's own spec, lock and output folder are never part of a source: a change to them must not run steps again.

mod changes;
mod checkout;
mod origin;
mod owner;

use std::path::{Path, PathBuf};

use bulla_model::{
    CleanPath, Fault, Kind,
    spec::{Folder, WORKSPACE_FILE},
};

pub use changes::{Changes, ChangesError, FileChange, changes};
pub use checkout::{Checkout, CheckoutState, branch_of};
pub use owner::{Foreign, believed_top, checkout_top, is_trusted, owner_of};

/// The folder of a project that images are written to when no other place is named.
pub const OUTPUT_FOLDER: &str = "bulla-out";

/// The files at the top of a project that steer Bulla itself.
const OWN_FILES: [&str; 4] = ["bulla.yaml", "bulla.lock", WORKSPACE_FILE, OUTPUT_FOLDER];

/// How deep the folders of a source may be nested.
const MAX_DEPTH: usize = 200;

/// The files of a source, relative to its folder.
#[derive(Debug)]
pub struct Listing {
    /// The folder, absolute and without symbolic links.
    pub folder: PathBuf,
    /// The files and symbolic links, in order.
    pub files: Vec<CleanPath>,
    /// What is known of the git checkout that the folder lies in.
    pub checkout: Option<Checkout>,
    /// The checkout of somebody who is not believed, so that it counts as none.
    pub foreign: Option<Foreign>,
}

/// Says why the files of a source could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A folder cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The source lies outside the project.
    #[error("source `{name}` is at {path}, which is outside the project {project}")]
    Outside {
        /// The source's name in the spec.
        name: String,
        /// Where it lies.
        path: String,
        /// The folder of the spec.
        project: String,
    },
    /// The source is not a folder.
    #[error("source `{name}` is at {path}, which is not a folder")]
    NotAFolder {
        /// The source's name in the spec.
        name: String,
        /// Where it lies.
        path: String,
    },
    /// A name that no tree can hold.
    #[error("source `{name}` has a file that cannot be used")]
    Path {
        /// The source's name in the spec.
        name: String,
        /// Why not.
        #[source]
        source: bulla_model::path::CleanPathError,
    },
    /// Folders are nested without end.
    #[error("source `{name}` has folders nested more than {MAX_DEPTH} deep at {path}")]
    TooDeep {
        /// The source's name in the spec.
        name: String,
        /// Where.
        path: String,
    },
    /// The source is to be as it was committed, and is not.
    #[error(
        "the git tree of the source `{name}` has changes that are not committed, and `--locked` forbids to build it"
    )]
    Dirty {
        /// The source's name in the spec.
        name: String,
    },
    /// The git checkout cannot be read.
    #[error("reading the git checkout at {path}")]
    Git {
        /// The folder with `.git` in it.
        path: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Fault for SourceError {
    fn kind(&self) -> Kind {
        match self {
            Self::Io(_) | Self::Git { .. } => Kind::Environment,
            Self::Dirty { .. } => Kind::Policy,
            _ => Kind::Spec,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Outside { .. } => {
                vec!["a source lies in the folder of bulla.yaml or below it; move bulla.yaml up".into()]
            }
            Self::Dirty { .. } => vec!["commit them, or say `--allow-dirty`".into()],
            Self::NotAFolder { .. } => vec!["`path` names a folder, relative to bulla.yaml".into()],
            _ => Vec::new(),
        }
    }
}

/// Finds the folder of a source, absolute and without symbolic links. The source's path is relative to the project's folder.
///
/// # Errors
/// When the source is not a folder of the project.
pub fn folder(name: &str, project: &Path, source: &Folder) -> Result<PathBuf, SourceError> {
    let project = fs_err::canonicalize(project)?;
    let folder = match &source.path {
        Some(path) => {
            let path = project.join(path);
            fs_err::canonicalize(&path).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                    SourceError::NotAFolder { name: name.into(), path: path.display().to_string() }
                }
                _ => error.into(),
            })?
        }
        None => project.clone(),
    };
    if !folder.starts_with(&project) {
        return Err(SourceError::Outside {
            name: name.into(),
            path: folder.display().to_string(),
            project: project.display().to_string(),
        });
    }
    if !folder.is_dir() {
        return Err(SourceError::NotAFolder { name: name.into(), path: folder.display().to_string() });
    }
    Ok(folder)
}

/// Says whether a file of a source, relative to its folder, is a part of it, as far as git does not decide: it is none where the
/// spec ignores it, or where it steers Bulla itself (`at_top` is whether the source is the project's own folder).
pub fn is_part(source: &Folder, at_top: bool, file: &CleanPath) -> bool {
    !(at_top && is_own(file) || source.ignore.iter().any(|glob| glob.matches(file)))
}

/// Lists the files of a source.
///
/// # Errors
/// When the source is not a folder of the project, or cannot be read.
pub fn list(name: &str, project: &Path, source: &Folder) -> Result<Listing, SourceError> {
    let folder = folder(name, project, source)?;
    let project = fs_err::canonicalize(project)?;
    let (top, foreign) = match believed_top(&project, &folder) {
        Ok(top) => (top, None),
        Err(foreign) => (None, Some(foreign)),
    };
    let (mut files, checkout) = match top {
        Some(top) => {
            let (checkout, files) = Checkout::open(name, &top, &folder)?;
            (files, Some(checkout))
        }
        None => {
            let mut files = Vec::new();
            walk(name, &folder, &mut Vec::new(), &mut files)?;
            (files, None)
        }
    };
    let at_top = folder == project;
    files.retain(|file| is_part(source, at_top, file));
    files.sort();
    files.dedup();
    Ok(Listing { folder, files, checkout, foreign })
}

fn is_own(file: &CleanPath) -> bool {
    file.components().next().is_some_and(|first| OWN_FILES.iter().any(|own| own.as_bytes() == first))
}

fn walk(name: &str, folder: &Path, at: &mut Vec<u8>, files: &mut Vec<CleanPath>) -> Result<(), SourceError> {
    if at.iter().filter(|b| **b == b'/').count() > MAX_DEPTH {
        return Err(SourceError::TooDeep { name: name.into(), path: folder.display().to_string() });
    }
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let file_name = entry.file_name();
        let bytes = std::os::unix::ffi::OsStrExt::as_bytes(file_name.as_os_str());
        if bytes == b".git" {
            continue;
        }
        let length = at.len();
        if length > 0 {
            at.push(b'/');
        }
        at.extend_from_slice(bytes);
        if entry.file_type()?.is_dir() {
            walk(name, &entry.path(), at, files)?;
        } else {
            files.push(CleanPath::parse(&*at).map_err(|source| SourceError::Path { name: name.into(), source })?);
        }
        at.truncate(length);
    }
    Ok(())
}
