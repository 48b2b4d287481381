//! Why a build ended without an image.

use std::collections::BTreeSet;

use bulla_ecosystems::{
    archive::ArchiveError,
    debian::{deb::DebError, source::SourceError as DebianSourceError},
};
use bulla_model::{
    CleanPath, Digest, Fault, Kind, Platform,
    spec::{ArchiveFormat, Name, StepRef},
};

use crate::{assemble::AssembleError, secret::Hit, source::SourceError};

use super::record::Refused;

/// A step that failed, to be looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedStep {
    /// Which one.
    pub at: StepRef,
    /// The platform that it was run for, where there are several and it is not the machine's own.
    pub platform: Option<Platform>,
    /// What it had changed when it failed, as a delta tree; `None` where that could not be kept.
    pub left: Option<Digest>,
}

/// Says why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The store.
    #[error(transparent)]
    Store(#[from] bulla_store::Error),
    /// A local source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The sandbox.
    #[error("{title}")]
    Sandbox {
        /// What was to run.
        title: String,
        /// What went wrong.
        #[source]
        source: bulla_sandbox::Error,
    },
    /// A lock file.
    #[error(transparent)]
    LockFile(#[from] bulla_ecosystems::dependencies::LockFileError),
    /// Something that a lock file names.
    #[error(transparent)]
    Artifact(#[from] bulla_ecosystems::dependencies::ArtifactError),
    /// What a lock file names cannot be served to a step.
    #[error("{title}")]
    Serve {
        /// What was to run.
        title: String,
        /// What went wrong.
        #[source]
        source: bulla_serve::Error,
    },
    /// Layers and manifests.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// A package cannot be unpacked.
    #[error("unpacking {package}")]
    Unpack {
        /// The package, `name=version`.
        package: String,
        /// What went wrong.
        #[source]
        source: DebError,
    },
    /// A source cannot be unpacked.
    #[error("unpacking the source `{source_name}`")]
    UnpackSource {
        /// The source.
        source_name: Name,
        /// What went wrong.
        #[source]
        source: ArchiveError,
    },
    /// A source package cannot be unpacked.
    #[error("unpacking the source `{source_name}`")]
    UnpackDebianSource {
        /// The source.
        source_name: Name,
        /// What went wrong.
        #[source]
        source: DebianSourceError,
    },
    /// A package is another one than the lock says.
    #[error("the lock says {expected}, but the package says {found}")]
    OtherPackage {
        /// What the lock says.
        expected: String,
        /// What the package says.
        found: String,
    },
    /// A locked package is not in the store.
    #[error("{package} ({digest}) is not in the store")]
    NotFetched {
        /// The package, `name=version`.
        package: String,
        /// Its digest.
        digest: Digest,
    },
    /// An image of a registry cannot be read.
    #[error("reading the image {reference}")]
    BaseImage {
        /// Its reference.
        reference: String,
        /// What went wrong.
        #[source]
        source: crate::inspect::InspectError,
    },
    /// An image of a registry has something in it that is not unpacked.
    #[error("the image {reference} has `{}` in its layer {layer}, which {problem}", bulla_model::path::printable(path.as_bytes()))]
    BaseEntry {
        /// Its reference.
        reference: String,
        /// The layer's digest.
        layer: Digest,
        /// The path.
        path: CleanPath,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An image of a registry is for another machine, or no image.
    #[error("the image {reference} {problem}")]
    BaseKind {
        /// Its reference.
        reference: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A copy would put a directory where the image below has a link.
    #[error("copying to {to} would put `{}` where the image below has a link or a file", bulla_model::path::printable(path.as_bytes()))]
    OverLink {
        /// Where the copy goes.
        to: String,
        /// The path.
        path: CleanPath,
    },
    /// The package manager's database cannot be made.
    #[error("putting the packages of {root} together")]
    Database {
        /// The set of packages.
        root: String,
        /// What went wrong.
        #[source]
        source: bulla_ecosystems::debian::dpkg::DatabaseError,
    },
    /// What stands in for maintainer scripts cannot be made.
    #[error("making the image without maintainer scripts")]
    Equivalents(#[from] bulla_ecosystems::debian::image::Error),
    /// Inputs of the lock cannot be had.
    #[error(transparent)]
    Unsupplied(#[from] super::Unsupplied),
    /// A step, or the maintainer scripts of a root, failed.
    #[error("{title} {how}")]
    Step {
        /// Which one: `stage build, step 2/5: make`.
        title: String,
        /// How it ended: `ended with exit code 2`.
        how: String,
        /// Its last lines.
        tail: String,
        /// What it tried and was not given.
        refusals: Vec<Refused>,
        /// What its lock files say to that, where the client said no more than that something is not there.
        advice: Box<[String]>,
        /// The step, where it is one of a stage.
        step: Option<Box<FailedStep>>,
    },
    /// A step was refused something, and the spec says that this fails the build.
    #[error("{title} was refused {} {}, and the stage says `on-refusal: {word}`", .refusals.len(), if .refusals.len() == 1 { "thing" } else { "things" })]
    Refused {
        /// Which one.
        title: String,
        /// What it tried.
        refusals: Vec<Refused>,
        /// `fail` or `stop`.
        word: &'static str,
    },
    /// A step asks for a secret that is not there.
    #[error("the step {at} asks for the secret `{secret}`, which was not given")]
    NoSecret {
        /// The step.
        at: StepRef,
        /// The secret.
        secret: Name,
    },
    /// A secret cannot be a variable.
    #[error("the value of the secret `{secret}` has a zero byte in it, and cannot be in the variable `{variable}`")]
    SecretWithZero {
        /// The secret.
        secret: Name,
        /// The variable.
        variable: String,
    },
    /// What a step printed cannot be searched.
    #[error("reading what {title} printed")]
    Log {
        /// Which one.
        title: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The value of a secret is where it would stay.
    #[error("the value of {} would stay behind {title}: {}", secrets_of(.hits), .hits.first().map(ToString::to_string).unwrap_or_default())]
    SecretFound {
        /// What left it.
        title: String,
        /// Where it was found; at least one.
        hits: Vec<Hit>,
    },
    /// The certificate that was made for a step is in what it left.
    #[error("the certificate of the build's own proxy would stay behind {title}: {}", .places.first().map(String::as_str).unwrap_or_default())]
    CertificateFound {
        /// What left it.
        title: String,
        /// Where it was found; at least one.
        places: Vec<String>,
    },
    /// An output is not there.
    #[error("stage {stage} has no {path} when it has ended, which its output `{output}` names{}", .why.as_deref().map(|why| format!(": {why}")).unwrap_or_default())]
    NoOutput {
        /// The stage.
        stage: Name,
        /// The output.
        output: Name,
        /// Its path.
        path: CleanPath,
        /// What is in the way.
        why: Option<String>,
    },
    /// What is to be written anew is not what the spec says.
    #[error("stage {stage} cannot write /{path} anew as {format}: {why}")]
    NotNormalised {
        /// The stage.
        stage: Name,
        /// The path.
        path: CleanPath,
        /// What it is said to be.
        format: ArchiveFormat,
        /// What is in the way.
        why: String,
    },
    /// What is written anew could not be read or written.
    #[error("writing /{path} anew")]
    Anew {
        /// The path.
        path: CleanPath,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A cache cannot be where the spec has it.
    #[error("stage {stage} cannot have a cache at /{path}: {why}")]
    NoCache {
        /// The stage.
        stage: Name,
        /// The path.
        path: CleanPath,
        /// What is in the way.
        why: String,
    },
    /// A path of a source that the image copies is not there.
    #[error("source {source_name} has no {path}, which the image copies")]
    NoSourcePath {
        /// The source.
        source_name: Name,
        /// The path in it.
        path: CleanPath,
    },
    /// A path that became too long.
    #[error("a path that the spec puts together is not possible")]
    Path(#[from] bulla_model::path::CleanPathError),
    /// The package of the emulator has not the program that it is there for.
    #[error("the package {package} has no emulator for {machine}")]
    NoEmulator {
        /// The package.
        package: String,
        /// The machine, as the kernel calls it.
        machine: &'static str,
    },
    /// The image has a compiler in it.
    #[error("the image would ship {package}, which is a toolchain")]
    Toolchain {
        /// The package.
        package: String,
    },
    /// A user of the image's configuration is not one of its accounts.
    #[error("the image runs as `{user}`, which is no account of it")]
    NoAccount {
        /// The user.
        user: String,
    },
    /// Something that the store had is gone; the build is tried again without it.
    #[error("{what} is gone from the store")]
    Gone {
        /// What.
        what: String,
    },
    /// A mistake of Bulla itself.
    #[error("this is a mistake in Bulla: {what}")]
    Internal {
        /// What should not have been.
        what: String,
    },
    /// The user stopped it.
    #[error("the build was stopped")]
    Stopped,
}

/// Gives what is to be done about refusals, each once.
fn advice(refusals: &[Refused]) -> Vec<String> {
    const MOST: usize = 5;
    let mut advice: Vec<String> = Vec::new();
    for told in refusals.iter().filter_map(|refused| refused.advice.as_ref()) {
        if advice.len() < MOST && !advice.contains(told) {
            advice.push(told.clone());
        }
    }
    advice
}

/// Names the secrets of hits.
fn secrets_of(hits: &[Hit]) -> String {
    let names: BTreeSet<&Name> = hits.iter().map(|hit| &hit.secret).collect();
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("{} {}", if names.len() == 1 { "the secret" } else { "the secrets" }, names.join(", "))
}

impl BuildError {
    /// Says whether a second try that trusts no earlier result may succeed.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(
            self,
            Self::Gone { .. }
                | Self::Store(bulla_store::Error::TreesMissing { .. } | bulla_store::Error::Damaged { .. })
        )
    }
}

impl Fault for BuildError {
    fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Source(error) => error.kind(),
            Self::Sandbox { source, .. } => source.kind(),
            Self::LockFile(error) => error.kind(),
            Self::Artifact(error) => error.kind(),
            Self::Serve { source, .. } => source.kind(),
            Self::Assemble(error) => error.kind(),
            Self::Unsupplied(error) => error.kind(),
            Self::Unpack { source, .. } => source.kind(),
            Self::UnpackSource { source, .. } => source.kind(),
            Self::UnpackDebianSource { source, .. } => source.kind(),
            Self::Database { source, .. } => source.kind(),
            Self::Equivalents(error) => error.kind(),
            Self::BaseImage { source, .. } => source.kind(),
            Self::OtherPackage { .. } | Self::BaseEntry { .. } => Kind::Integrity,
            Self::BaseKind { .. } | Self::OverLink { .. } => Kind::Spec,
            Self::NotFetched { .. } | Self::Gone { .. } | Self::NoEmulator { .. } => Kind::Environment,
            Self::Step { .. } => Kind::Step,
            Self::Refused { .. } => Kind::Policy,
            Self::NoCache { .. } | Self::NotNormalised { .. } => Kind::Spec,
            Self::NoOutput { .. } | Self::NoSourcePath { .. } | Self::Path(_) | Self::NoAccount { .. } => Kind::Spec,
            Self::Toolchain { .. } => Kind::Policy,
            Self::NoSecret { .. } | Self::SecretWithZero { .. } => Kind::Spec,
            Self::Log { .. } | Self::Anew { .. } => Kind::Environment,
            Self::SecretFound { .. } | Self::CertificateFound { .. } => Kind::Hermeticity,
            Self::Internal { .. } => Kind::Internal,
            Self::Stopped => Kind::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Store(error) => error.hints(),
            Self::Source(error) => error.hints(),
            Self::Sandbox { source, .. } => source.hints(),
            Self::LockFile(error) => error.hints(),
            Self::Assemble(error) => error.hints(),
            Self::Unsupplied(error) => error.hints(),
            Self::Unpack { source, .. } => source.hints(),
            Self::UnpackSource { source, .. } => source.hints(),
            Self::UnpackDebianSource { source, .. } => source.hints(),
            Self::Database { source, .. } => source.hints(),
            Self::Equivalents(error) => error.hints(),
            Self::Step { refusals, step, advice: said, .. } => {
                let mut advice = advice(refusals);
                advice.extend(said.iter().filter(|said| !advice.contains(said)).cloned().collect::<Vec<_>>());
                // What the lock file explains is not said once more.
                let refusals: Vec<&Refused> = refusals.iter().filter(|refused| refused.advice.is_none()).collect();
                let refused = (!refusals.is_empty()).then(|| {
                    format!(
                        "a step has no network; it tried to {}: bring what it needs in as a package or a source",
                        refusals.iter().take(3).map(ToString::to_string).collect::<Vec<_>>().join(", ")
                    )
                });
                let shell = step.as_ref().map(|step| {
                    let FailedStep { at, platform, left } = &**step;
                    let at = match platform {
                        Some(platform) => format!("{at} --platform {platform}"),
                        None => at.to_string(),
                    };
                    let how = if left.is_some() { "as the step left it" } else { "as the step found it" };
                    format!("`bulla shell {at}` opens the file system {how}")
                });
                advice.into_iter().chain(refused).chain(shell).collect()
            }
            Self::Refused { refusals, .. } => {
                let tried = refusals.iter().take(10);
                let tried =
                    tried.map(|refused| format!("{} tried to {refused}: {}", refused.executable, refused.command_line));
                advice(refusals).into_iter().chain(tried).collect()
            }
            Self::NoSecret { secret, .. } => vec![format!(
                "give it to `bulla build`: `--secret id={secret},env=VARIABLE`, or with `file=PATH` or `exec=COMMAND`; a shell has no secrets"
            )],
            Self::SecretFound { hits, .. } => {
                let more = hits.iter().skip(1).map(ToString::to_string);
                let hint = "nothing of it was kept; let the step use the value and write it nowhere, and if it got out before, revoke it";
                more.chain([hint.to_owned()]).collect()
            }
            Self::CertificateFound { places, .. } => {
                let hint = "it is another one in each build, and nobody else must believe it: the step must not copy /run/bulla/ca.pem, nor what it imports it into";
                places.iter().skip(1).cloned().chain([hint.to_owned()]).collect()
            }
            Self::OverLink { .. } => vec!["copy to the place that the link leads to".into()],
            Self::BaseEntry { .. } => vec!["Bulla unpacks no such image: take another one".into()],
            Self::NotNormalised { path, .. } => {
                vec![format!("`normalise` has to name `/{path}` as what it is, or the line goes")]
            }
            Self::NoOutput { .. } => {
                vec!["an output names what the steps leave: a file, or a folder with all in it".into()]
            }
            Self::Toolchain { .. } => {
                vec![
                    "compile in a stage and copy its output, or write `allow: {toolchain: REASON}` in the image".into(),
                ]
            }
            Self::NoAccount { .. } => vec!["write a number, or add the account under `users` of the image".into()],
            _ => Vec::new(),
        }
    }
}
