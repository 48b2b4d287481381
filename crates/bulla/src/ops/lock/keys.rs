//! Reads files of the project with public keys.

use bulla_model::CleanPath;

use crate::{
    error::{CommandError, Result},
    ops::project::{self, Project},
};

/// Reads one of at most so many bytes. No link is followed out of the project. `fail` makes an error of what is wrong with it.
///
/// # Errors
/// When it is not there, or elsewhere.
pub(crate) fn read<E: Into<CommandError>>(
    project: &Project,
    key: &CleanPath,
    most: u64,
    fail: impl Fn(&'static str) -> E,
) -> Result<Vec<u8>> {
    let path = project.folder.join(key);
    let real = fs_err::canonicalize(path).map_err(|_| fail("are not there").into())?;
    if !real.starts_with(&project.folder) {
        return Err(fail("are outside of the project").into());
    }
    project::read(&real, most)?.ok_or_else(|| fail("are not there").into())
}
