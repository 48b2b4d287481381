//! Writes an assembled image to where it was asked for: one file a sink.

mod archive;
mod draft;
mod layout;
mod load;

use std::{io, path::PathBuf};

use bulla_model::{Digest, Fault, Kind};

pub use self::{
    archive::{ArchiveKind, archive, archive_to, pack},
    draft::{Draft, Incoming},
    layout::layout,
    load::{Loaded, load},
};

/// Says why an image was not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file or folder cannot be read or written.
    #[error("{verb} {}", path.display())]
    Io {
        /// What was tried: `writing`.
        verb: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The folder has things in it that are no OCI layout.
    #[error("{} has other things in it than an OCI layout, and would be written over", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// The store cannot be read.
    #[error("reading the image out of the store")]
    Store(#[from] bulla_store::Error),
    /// A blob of the image is no longer in the store.
    #[error("{digest} of the image is not in the store any more, or was changed there")]
    Missing {
        /// The blob.
        digest: Digest,
    },
    /// An archive cannot be written.
    #[error("writing the archive")]
    Archive(#[source] bulla_model::tar::TarError),
    /// A name that an image cannot have.
    #[error("`{name}` is not a name for an image: {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Neither Docker nor Podman is there.
    #[error("neither `docker` nor `podman` is on the path, so there is nothing to load the image into")]
    NoEngine,
    /// The engine did not take the image.
    #[error("`{command}` failed: {message}")]
    Engine {
        /// The command.
        command: String,
        /// The end of what it wrote to its standard error.
        message: String,
    },
}

impl ExportError {
    fn io(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { verb, path, source }
    }
}

impl Fault for ExportError {
    fn kind(&self) -> Kind {
        match self {
            Self::Io { .. } | Self::NoEngine | Self::Engine { .. } => Kind::Environment,
            Self::Foreign { .. } | Self::Name { .. } => Kind::Spec,
            Self::Store(error) => error.kind(),
            Self::Missing { .. } => Kind::Integrity,
            Self::Archive(error) => error.kind(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Foreign { .. } => vec!["name another folder, or empty this one".into()],
            Self::Missing { .. } => vec!["build again: what is missing is made anew".into()],
            Self::NoEngine => vec!["`--output docker-archive:FILE` writes what `docker load` reads".into()],
            Self::Engine { .. } => {
                vec!["see that the engine runs and that you may use it: `docker info` or `podman info`".into()]
            }
            Self::Store(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}

/// The most bytes that a name may have.
const MAX_NAME: usize = 255;

/// Checks a name for an image, as it stands in archives and indexes: `shop`, `team/shop:1.4`. The sinks do so themselves;
/// who is asked before a long build wants to know earlier.
///
/// # Errors
/// When it is empty, too long, or has characters that mean something else somewhere.
pub fn check_name(name: &str) -> Result<(), ExportError> {
    let bad = |reason| Err(ExportError::Name { name: name.chars().take(300).collect(), reason });
    if name.is_empty() || name.len() > MAX_NAME {
        return bad("it is empty or longer than 255 bytes");
    }
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        return bad("it starts and ends with a letter or digit");
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || "-._:/".contains(c)) {
        return bad("it has other characters than letters, digits and `-._:/`");
    }
    Ok(())
}

/// Gives a name its tag: engines want one.
fn tagged(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains(':') { name.to_owned() } else { format!("{name}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_be_something_else_are_refused() {
        for good in ["shop", "team/shop:1.4", "mirror.example:5000/a/b:c"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-x", "a b", "../x", "a\n", "x:", "\u{e9}"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_without_a_tag_gets_latest() {
        assert_eq!(tagged("shop"), "shop:latest");
        assert_eq!(tagged("mirror.example:5000/shop"), "mirror.example:5000/shop:latest");
        assert_eq!(tagged("shop:1"), "shop:1");
    }
}
