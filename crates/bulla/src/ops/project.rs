//! Reads what a project's folder says: the spec, and the lock beside it.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use bulla_model::{
    Ecosystem, Fault, Kind,
    login::without_logins,
    spec::{Name, Spec, SpecErrors, WORKSPACE_FILE},
};

use super::workspace::{self, Membership};
use crate::{
    error::{CliError, CommandError, Excerpt, Mark, Result},
    session::Session,
};

/// The most bytes that are read of a spec: one more than is accepted, so that the reader of specs says what is wrong.
const MAX_SPEC: u64 = 4 << 20;

/// Where a project's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The spec.
    pub spec: PathBuf,
    /// The lock, which need not exist.
    pub lock: PathBuf,
}

impl Place {
    /// Gives the place of the project that the command was called for.
    pub(crate) fn at_hand(session: &Session) -> Self {
        Self::of_spec(session.spec_path())
    }

    /// Gives the place of the project of a spec: its lock is beside it.
    pub(crate) fn of_spec(spec: PathBuf) -> Self {
        Self { lock: spec.with_extension("lock"), spec }
    }
}

/// A project whose spec is good.
#[derive(Debug)]
pub(crate) struct Project {
    /// The folder that sources are relative to: that of the spec.
    pub folder: PathBuf,
    /// The spec's file.
    pub spec_path: PathBuf,
    /// The lock's file, which need not exist.
    pub lock_path: PathBuf,
    /// The spec, with params put in, and what it has of its workspace.
    pub spec: Spec,
    /// The spec's text.
    pub spec_text: Vec<u8>,
    /// The params that were given a value for this run.
    pub set: BTreeMap<String, String>,
    /// What it has of its workspace, where it is a member of one.
    pub membership: Option<Membership>,
}

/// A spec with mistakes; the excerpt has them.
#[derive(Debug, thiserror::Error)]
#[error("{file} has {count} mistake{s}", s = if *.count == 1 { "" } else { "s" })]
struct SpecWrong {
    file: String,
    count: usize,
}

impl Fault for SpecWrong {
    fn kind(&self) -> Kind {
        Kind::Spec
    }
}

/// Reads and evaluates the spec of the project at hand, with values for some of its params.
///
/// # Errors
/// When there is none, or it has mistakes: then with the lines.
pub(crate) fn load(session: &Session, set: &BTreeMap<String, String>) -> Result<Project> {
    load_at(session, &Place::at_hand(session), set)
}

/// Does as [`load`] for any project.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_at(session: &Session, place: &Place, set: &BTreeMap<String, String>) -> Result<Project> {
    let Place { spec: spec_path, lock: lock_path } = place.clone();
    let bytes = read(&spec_path, MAX_SPEC)?.ok_or_else(|| no_spec(&spec_path))?;
    let name = shown(&spec_path);
    let folder = folder_of(&spec_path)?;
    let found = workspace::find(session, &folder)?;
    let member = found.as_ref().and_then(|found| Some((found, found.member(&folder)?)));
    let (spec, membership) = match member {
        None => (Spec::parse_bytes(&name, &bytes, set).map_err(|errors| wrong(&name, &bytes, &errors))?, None),
        Some((found, member)) => {
            let spec = Spec::parse_member(&name, &bytes, set, &found.inherited(&member));
            let (spec, own) = found.membership(member, spec.map_err(|errors| wrong(&name, &bytes, &errors))?);
            (spec, Some(own))
        }
    };
    let (spec_text, set) = (bytes, set.clone());
    Ok(Project { folder, spec_path, lock_path, spec, spec_text, set, membership })
}

fn no_spec(path: &Path) -> CommandError {
    let mut error = CommandError::from(CliError::NoSpec(path.to_owned()));
    if parent(path).join(WORKSPACE_FILE).exists() {
        error.hints = vec!["this is the folder of a workspace: `--project MEMBER` names a project of it".into()];
    }
    error
}

/// A locked build would read caches that nobody gave a reason for.
#[derive(Debug, thiserror::Error)]
#[error(
    "the stage {stage} has a cache, and a locked build reads none: what comes of it would depend on earlier builds"
)]
struct CacheWhenLocked {
    stage: Name,
}

impl Fault for CacheWhenLocked {
    fn kind(&self) -> Kind {
        Kind::Policy
    }

    fn hints(&self) -> Vec<String> {
        vec![format!(
            "if what it saves is worth that, say why in the stage {}: `locked-cache: REASON`; else take `cache` out of it",
            self.stage
        )]
    }
}

/// A locked build would use pins that came of running something.
#[derive(Debug, thiserror::Error)]
#[error(
    "what the stage {stage} has of {ecosystem} was observed, and a locked build uses nothing that was only observed: no lock file vouches for it"
)]
struct ObservedWhenLocked {
    stage: Name,
    ecosystem: Ecosystem,
}

impl Fault for ObservedWhenLocked {
    fn kind(&self) -> Kind {
        Kind::Policy
    }

    fn hints(&self) -> Vec<String> {
        vec![format!(
            "what was observed is pinned in bulla.lock, for a person to look at; if that is enough, say why in the stage {}: `locked-observed: REASON`",
            self.stage
        )]
    }
}

/// Fails when a stage of a locked build has caches or observed dependencies, and no reason for that. With a target, only what that needs
/// counts.
///
/// # Errors
/// With the stage.
pub(crate) fn refuse_loose_stages(project: &Project, target: Option<&Name>) -> Result<()> {
    let stages = &project.spec.stages;
    let mut wanted: Vec<&Name> = target.map_or_else(|| stages.keys().collect(), |target| vec![target]);
    let mut at = 0;
    while let Some(name) = wanted.get(at).copied() {
        at += 1;
        let Some(stage) = stages.get(name) else { continue };
        if !stage.cache.is_empty() && stage.locked_cache.is_none() {
            return Err(CacheWhenLocked { stage: name.clone() }.into());
        }
        let observed = stage.observed().next();
        if let Some(ecosystem) = observed.filter(|_| stage.locked_observed.is_none()) {
            return Err(ObservedWhenLocked { stage: name.clone(), ecosystem }.into());
        }
        let more: Vec<&Name> = stage.needs().filter(|need| !wanted.contains(need)).collect();
        wanted.extend(more);
    }
    Ok(())
}

/// Gives the text by which the history knows the project: the absolute path of its spec's folder.
///
/// # Errors
/// When there is no such folder.
pub(crate) fn identity(session: &Session) -> Result<String> {
    Ok(folder_of(&session.spec_path())?.display().to_string())
}

fn folder_of(spec: &Path) -> Result<PathBuf> {
    fs_err::canonicalize(parent(spec)).map_err(CliError::file)
}

/// Gives the folder that a file is in; `.` for a bare name.
pub(crate) fn parent(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Reads a file of the project, of which at most `limit` + 1 bytes are taken; `None` where there is none.
///
/// A project may come from a stranger, and errors show lines of what was read: a link that leads out of the file's folder is
/// not followed, and what is no regular file not opened.
///
/// # Errors
/// When it is there and cannot or must not be read.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    Ok(read_with_owner(path, limit)?.map(|(bytes, _)| bytes))
}

/// Does as [`read`], and gives the user who owns the file.
///
/// # Errors
/// As [`read`].
pub(super) fn read_with_owner(path: &Path, limit: u64) -> Result<Option<(Vec<u8>, u32)>> {
    let found = match fs_err::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        found => found.map_err(CliError::file)?,
    };
    let refuse = |problem| -> CommandError { CliError::NotOwnFile { path: path.to_owned(), problem }.into() };
    let real = if found.is_symlink() { fs_err::canonicalize(path).map_err(CliError::file)? } else { path.to_owned() };
    if found.is_symlink() && !real.starts_with(folder_of(path)?) {
        return Err(refuse("is a link that leads out of its folder"));
    }
    if !fs_err::metadata(&real).map_err(CliError::file)?.is_file() {
        return Err(refuse("is not a regular file"));
    }
    let mut bytes = Vec::new();
    let file = fs_err::File::open(&real).map_err(CliError::file)?;
    let owner = file.metadata().map_err(CliError::file)?.uid();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(CliError::file)?;
    Ok(Some((bytes, owner)))
}

/// Writes a path as errors show it: without `./` in front.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}

/// Makes the error for a spec with mistakes.
pub(crate) fn wrong(file: &str, bytes: &[u8], errors: &SpecErrors) -> CommandError {
    let marks: Vec<Mark> = errors
        .iter()
        .map(|error| Mark {
            span: error.span.clone(),
            message: error.message.clone(),
            help: error.help.clone(),
            related: error.related.clone().map(|(span, _, what)| (span, what)),
        })
        .collect();
    let text = without_logins(&String::from_utf8_lossy(bytes));
    CommandError::from(SpecWrong { file: file.to_owned(), count: marks.len() }).with_excerpt(Excerpt {
        file: file.to_owned(),
        text,
        marks,
    })
}
