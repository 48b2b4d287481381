//! The file of the project that has the keys which may sign a source.

use bulla_ecosystems::signature::MAX_KEYS;
use bulla_model::{CleanPath, Fault, Kind, spec::Name};

use crate::{
    error::Result,
    ops::{self, project::Project},
};

/// A file of keys that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the keys of the source `{name}`, {key}, {problem}")]
struct KeysError {
    name: Name,
    key: CleanPath,
    problem: &'static str,
}

impl Fault for KeysError {
    fn kind(&self) -> Kind {
        Kind::Spec
    }

    fn hints(&self) -> Vec<String> {
        vec!["`signed-by` names a file of the project, relative to the spec".into()]
    }
}

/// Reads the project's file of keys. No link is followed out of the project.
///
/// # Errors
/// When it is not there, or outside of the project.
pub(crate) fn read_keys(project: &Project, name: &Name, key: &CleanPath) -> Result<Vec<u8>> {
    let fail = |problem| KeysError { name: name.clone(), key: key.clone(), problem };
    ops::lock::keys::read(project, key, MAX_KEYS, fail)
}
