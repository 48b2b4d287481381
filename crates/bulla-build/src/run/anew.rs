//! Archives of an output that are written anew where the spec says so.

use std::{collections::BTreeMap, fs::File, io::Seek as _};

use bulla_model::{
    CleanPath, Digest, Tree,
    path::CleanPathError,
    plan::PlannedStage,
    spec::{AbsolutePath, ArchiveFormat},
    tree::Node,
};

use super::{BuildError, context::Context};
use crate::normalise::{self, Failure};

/// The bytes of what was written anew, by the paths in the output.
pub(super) struct Anew(BTreeMap<CleanPath, File>);

impl Anew {
    /// Writes anew what the spec names of an output, and puts what it is then into its manifest.
    ///
    /// # Errors
    /// When a file that is named is not what the spec says, something cannot be written anew, or reading or writing fails.
    pub(super) fn write(
        context: &Context<'_>,
        stage: &PlannedStage,
        output: &mut Tree,
        inside: &dyn Fn(&CleanPath) -> Result<CleanPath, CleanPathError>,
        open: &dyn Fn(&CleanPath, &Digest) -> Result<File, BuildError>,
    ) -> Result<Self, BuildError> {
        let mut anew = Self(BTreeMap::new());
        if stage.normalise.is_empty() {
            return Ok(anew);
        }
        let scratch = context.store.scratch("normalise")?;
        for (short, mut node) in std::mem::take(output) {
            let at = inside(&short)?;
            let place = AbsolutePath::from(at.clone());
            if let (Some((named, format)), Node::File { digest, size, .. }) = (longest(stage, &place), &mut node) {
                let failed = |failure: Failure| match failure {
                    Failure::Unfit(why) => {
                        let (stage, path) = (stage.name.clone(), at.clone());
                        BuildError::NotNormalised { stage, path, format, why }
                    }
                    Failure::Io(source) => BuildError::Anew { path: at.clone(), source },
                };
                let mut from = open(&short, digest)?;
                if normalise::is(format, &mut from).map_err(|error| failed(error.into()))? {
                    let mut to = tempfile::tempfile_in(scratch.path()).map_err(|error| failed(error.into()))?;
                    normalise::write(format, from, &to).map_err(failed)?;
                    (*digest, *size) = normalise::measure(&mut to).map_err(|error| failed(error.into()))?;
                    anew.0.insert(short.clone(), to);
                } else if *named == place {
                    return Err(failed(Failure::Unfit(format!("it is no {format} file"))));
                }
            }
            output.insert(short, node);
        }
        Ok(anew)
    }

    /// Gives the bytes of a file, where it was written anew.
    pub(super) fn open(&self, path: &CleanPath) -> Option<Result<File, BuildError>> {
        let file = self.0.get(path)?;
        let again = file.try_clone().and_then(|mut file| file.rewind().map(|()| file));
        Some(again.map_err(|source| BuildError::Anew { path: path.clone(), source }))
    }
}

/// Gives what is said of a path by the longest one that it lies beneath.
fn longest<'a>(stage: &'a PlannedStage, path: &AbsolutePath) -> Option<(&'a AbsolutePath, ArchiveFormat)> {
    let beneath = stage.normalise.iter().filter(|(named, _)| path.starts_with(named));
    beneath.max_by_key(|(named, _)| named.to_string().len()).map(|(named, format)| (named, *format))
}
