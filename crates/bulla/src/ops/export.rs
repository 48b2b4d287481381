//! Writes an image to where it was asked for.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Instant,
};

use bulla_build::{
    assemble::Joined,
    event::{Activity, ActivityId, Ending, Event, Observer},
    export::{self, ArchiveKind, ExportError},
    source::OUTPUT_FOLDER,
};
use bulla_store::Store;

use crate::{error::Result, session::Session};

/// A place that an image is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// A folder with an OCI layout.
    Layout(PathBuf),
    /// A file.
    Archive(ArchiveKind, PathBuf),
}

impl Output {
    /// Says whether evidence goes with the image there: archives for Docker have no place for it.
    pub(crate) const fn holds_evidence(&self) -> bool {
        !matches!(self, Self::Archive(ArchiveKind::Docker, _))
    }

    /// Gives the folder or file.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Layout(path) | Self::Archive(_, path) => path,
        }
    }
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected `oci:DIR`, `oci-archive:FILE` or `docker-archive:FILE`";
        let (kind, path) = text.split_once(':').ok_or(expected)?;
        if path.is_empty() {
            return Err("there is no path after the colon".to_owned());
        }
        match kind {
            "oci" => Ok(Self::Layout(path.into())),
            "oci-archive" => Ok(Self::Archive(ArchiveKind::Oci, path.into())),
            "docker-archive" => Ok(Self::Archive(ArchiveKind::Docker, path.into())),
            _ => Err(expected.to_owned()),
        }
    }
}

/// Writes the image to all places, and loads it into an engine when that is wished.
///
/// # Errors
/// When a place cannot be written; those before it are complete.
pub(crate) fn all(
    session: &Session,
    store: &Store,
    image: &Joined,
    outputs: &[Output],
    names: &[String],
    load: bool,
) -> Result<()> {
    let observer = session.observer();
    for output in outputs {
        session.interrupt.check()?;
        told(&*observer, &title(output), || write(store, image, output, names))?;
    }
    if load {
        session.interrupt.check()?;
        let loaded = told(&*observer, "load: into Docker or Podman", || {
            export::load(store, image, names, &["docker", "podman"])
        })?;
        session.say(&crate::neutral::lines(&format!("{}: {}", loaded.engine, loaded.message.trim())));
    }
    Ok(())
}

/// Gives the place where an image is written when none is named: `bulla-out` in the project's folder.
pub(crate) fn default_output(project: &Path) -> Output {
    Output::Layout(project.join(OUTPUT_FOLDER))
}

fn write(store: &Store, image: &Joined, output: &Output, names: &[String]) -> Result<(), ExportError> {
    match output {
        Output::Layout(folder) => export::layout(store, image, folder, names),
        Output::Archive(kind, file) => export::archive(store, image, *kind, file, names),
    }
}

fn title(output: &Output) -> String {
    match output {
        Output::Layout(folder) => format!("export: OCI layout {}", folder.display()),
        Output::Archive(ArchiveKind::Oci, file) => format!("export: oci-archive {}", file.display()),
        Output::Archive(ArchiveKind::Docker, file) => format!("export: docker-archive {}", file.display()),
    }
}

fn told<T>(
    observer: &dyn Observer,
    title: &str,
    work: impl FnOnce() -> Result<T, ExportError>,
) -> Result<T, ExportError> {
    let (id, start) = (ActivityId::fresh(), Instant::now());
    observer.event(&Event::Started { id, activity: Activity::Export, title });
    let done = work();
    let ending = if done.is_ok() { Ending::Done } else { Ending::Failed };
    observer.event(&Event::Finished { id, ending, took: start.elapsed() });
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_name_their_kind() {
        assert_eq!("oci:out".parse(), Ok(Output::Layout("out".into())));
        assert_eq!("oci-archive:a:b.tar".parse(), Ok(Output::Archive(ArchiveKind::Oci, "a:b.tar".into())));
        assert_eq!("docker-archive:x".parse(), Ok(Output::Archive(ArchiveKind::Docker, "x".into())));
        for bad in ["out", "oci:", "tar:x", ""] {
            assert!(bad.parse::<Output>().is_err(), "{bad}");
        }
    }
}
