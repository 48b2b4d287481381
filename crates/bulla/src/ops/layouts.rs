//! Images of OCI layouts that lie in the project, which specs start from.

use std::path::{Path, PathBuf};

use bulla_model::{
    Digest, Fault, Kind,
    lock::Lock,
    oci::{BaseReference, LayoutReference},
};

use super::{project::Project, transfer::LayoutSource};
use crate::error::{CliError, Result};

/// Why nothing can start from a layout of the project.
#[derive(Debug, thiserror::Error)]
enum LayoutError {
    #[error("the folder {} of `{reference}` {problem}", reference.folder())]
    Folder { reference: LayoutReference, problem: &'static str },
    #[error("`{reference}` was {expected} when it was locked, and is {actual} now")]
    Changed { reference: LayoutReference, expected: Digest, actual: Digest },
}

impl Fault for LayoutError {
    fn kind(&self) -> Kind {
        match self {
            Self::Folder { .. } => Kind::Spec,
            Self::Changed { .. } => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Folder { .. } => vec!["`oci:` names a folder of the project, relative to the spec".into()],
            Self::Changed { reference, .. } => {
                let name = BaseReference::Layout(reference.clone()).name();
                vec![format!(
                    "if you want what is there now, run `bulla lock --update '{name}'`; else put back what was locked"
                )]
            }
        }
    }
}

/// Finds the folder of a layout; `None` where there is none. A link may lead to it, but not out of the project.
fn folder(project: &Path, layout: &LayoutReference) -> Result<Option<PathBuf>> {
    let fail = |problem| LayoutError::Folder { reference: layout.clone(), problem };
    let real = match fs_err::canonicalize(project.join(layout.folder())) {
        Ok(real) => real,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CliError::file(error)),
    };
    if !real.starts_with(project) || real == project {
        return Err(fail("is outside of the project").into());
    }
    match fs_err::metadata(&real).map_err(CliError::file)?.is_dir() {
        true => Ok(Some(real)),
        false => Err(fail("is not a folder").into()),
    }
}

/// Opens the image that a layout has under a name now, and compares it with what it is to be.
///
/// # Errors
/// When it is not there, or another.
pub(super) fn open(
    project: &Path,
    layout: &LayoutReference,
    expected: Option<Digest>,
) -> Result<(PathBuf, LayoutSource)> {
    let missing = || LayoutError::Folder { reference: layout.clone(), problem: "is not there" };
    let path = folder(project, layout)?.ok_or_else(missing)?;
    let source = LayoutSource::open_as(&path, layout.name(), layout.digest())?;
    expected.map_or(Ok(()), |expected| compare(layout, &source, expected))?;
    Ok((path, source))
}

fn compare(layout: &LayoutReference, source: &LayoutSource, expected: Digest) -> Result<()> {
    let actual = source.digest();
    match actual == expected {
        true => Ok(()),
        false => Err(LayoutError::Changed { reference: layout.clone(), expected, actual }.into()),
    }
}

/// Compares the layouts of the project that a build starts from with the lock, as far as they are there: what is not may be in
/// the store.
///
/// # Errors
/// When one has another image now.
pub(super) fn check(project: &Project, lock: &Lock) -> Result<()> {
    for (key, pin) in &lock.images {
        let Some(layout) = key.reference.layout() else { continue };
        let Some(path) = folder(&project.folder, layout)? else { continue };
        let source = LayoutSource::open_as(&path, layout.name(), layout.digest())?;
        compare(layout, &source, pin.digest)?;
    }
    Ok(())
}
