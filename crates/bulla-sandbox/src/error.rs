//! Why a sandbox could not be had. A command that ran and failed is not an error: see [`crate::Exit`].

use std::{io, path::PathBuf};

use bulla_model::{Fault, Kind};

use crate::{
    doctor::{self, Finding},
    launcher::Options,
    request::{Request, Root},
    stage::Stage,
};

/// Why a command was not run, or was lost while it ran.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request asks for what cannot be.
    #[error("asking the sandbox to run: {what}")]
    BadRequest {
        /// What is wrong with it.
        what: String,
    },
    /// The helper process could not be started.
    #[error("starting the sandbox helper: {doing}")]
    Helper {
        /// What failed.
        doing: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The helper process ended, so no sandbox can be started any more.
    #[error("the sandbox helper has ended")]
    HelperGone,
    /// The helper could not prepare the directories of a run.
    #[error("preparing the sandbox: {said}")]
    Prepare {
        /// What failed, with the path.
        said: String,
    },
    /// The sandbox could not be set up.
    #[error("setting up the sandbox: {stage}")]
    Setup {
        /// What failed.
        stage: Stage,
        /// What the kernel said.
        #[source]
        source: io::Error,
        /// What the diagnosis of this host found, when it was made.
        findings: Vec<Finding>,
    },
    /// A process that answers foreign code could not give up what it must not have.
    #[error("shutting a process of this program in: {stage}")]
    Cell {
        /// What failed.
        stage: Stage,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The command does not exist inside, or cannot be executed.
    #[error("executing `{program}` in the sandbox")]
    Execute {
        /// The first word of the command.
        program: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Something failed while the command ran; it was ended.
    #[error("supervising the sandbox: {doing}")]
    Supervise {
        /// What failed.
        doing: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file of the host could not be read or written.
    #[error("{verb} {}", path.display())]
    File {
        /// What was done.
        verb: &'static str,
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Says why this host mounts no overlay, when that is what failed: then the same can be run on a copy
    /// ([`Root::Copy`]). `None` for all else, also when a layer of the overlay is not there.
    pub fn overlay_refused(&self) -> Option<String> {
        let Self::Setup { stage: Stage::Overlay, source, findings } = self else { return None };
        let refused = [
            libc::EPERM,      // before Linux 5.11, or by a security module
            libc::ENODEV,     // the kernel has none
            libc::EINVAL,     // an upper on an overlay or on a network file system
            libc::ENOSYS,     // a filter around us
            libc::EOPNOTSUPP, // a file system without attributes
        ];
        refused.contains(&source.raw_os_error()?).then(|| {
            let mut found = findings.iter().filter(|finding| finding.what == doctor::OVERLAY);
            let finding = found.find(|finding| finding.state != doctor::State::Ok);
            finding.map_or_else(|| source.to_string(), |finding| finding.why.clone())
        })
    }

    /// Adds the diagnosis of this host to the first failed set-up.
    pub(crate) fn examined(self, request: &Request, options: &Options) -> Self {
        let Self::Setup { stage, source, findings } = self else { return self };
        if stage == Stage::WorkingDirectory {
            return Self::Setup { stage, source, findings };
        }
        let place = match &request.root {
            Root::Overlay { scratch, .. } => scratch,
            Root::Copy { dir } => dir,
        };
        Self::Setup { stage, source, findings: doctor::diagnose_once(place, options) }
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::BadRequest { .. } => Kind::Internal,
            Self::Execute { .. } => Kind::Step,
            Self::Setup { stage: Stage::WorkingDirectory, .. } => Kind::Spec,
            Self::Setup { stage, .. } if stage.isolates() => Kind::Hermeticity,
            Self::Cell { .. } => Kind::Hermeticity,
            Self::Helper { .. }
            | Self::HelperGone
            | Self::Prepare { .. }
            | Self::Setup { .. }
            | Self::Supervise { .. }
            | Self::File { .. } => Kind::Environment,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Setup { stage, findings, source } => {
                let mut hints: Vec<String> = findings.iter().filter_map(Finding::hint).collect();
                hints.extend(stage.hint(source.raw_os_error().unwrap_or(0)).map(str::to_owned));
                hints
            }
            Self::Cell { stage, source } => {
                stage.hint(source.raw_os_error().unwrap_or(0)).map(str::to_owned).into_iter().collect()
            }
            Self::Execute { program, source } if source.raw_os_error() == Some(libc::ENOENT) => vec![format!(
                "no `{program}` was found in the stage's root: add the package that has it to `packages`, or write its path"
            )],
            Self::Prepare { .. } if rustix::process::geteuid().is_root() => vec![
                "run by root, sandboxes have the service uid: the store must belong to it, and it must be able to reach it"
                    .to_owned(),
            ],
            _ => Vec::new(),
        }
    }
}
