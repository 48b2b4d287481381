//! Puts a project together out of the evidence of an image and of sources that are found elsewhere.

use std::{
    collections::BTreeSet,
    fs::Permissions,
    io::Read,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

use bulla_ecosystems::archive::{self, Rules, Sink, SinkError};
use bulla_evidence::resource::Resource;
use bulla_model::{
    CleanPath, Epoch, Platform, Spec,
    git::{GitId, GitRevision},
    lock::Lock,
    spec::{GitSource, GitTrust, Inherited, MemberSpec, Name, Packing, Portion, WORKSPACE_FILE, Workspace},
};
use bulla_store::Store;
use tempfile::TempDir;

use super::{Evidence, ReproduceError};
use crate::{
    error::{CliError, Result},
    ops::{
        git::Git,
        lock,
        project::{Project, wrong},
    },
    session::Session,
};

/// What is built again.
pub(super) struct Again {
    pub(super) project: Project,
    pub(super) lock: Lock,
    pub(super) platforms: BTreeSet<Platform>,
    /// Where the texts of the evidence lie, and the files of a commit; removed with it.
    _folder: TempDir,
}

impl Again {
    /// Puts the project together. `source` is its folder, where the user has one.
    pub(super) fn prepare(
        session: &Session,
        store: &Store,
        evidence: &Evidence,
        source: Option<&Path>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(CliError::file)?;
        let (texts, external) = (&evidence.configuration, &evidence.provenance.build_definition.external_parameters);
        if !external.withheld.is_empty() {
            return Err(ReproduceError::Withheld { names: external.withheld.clone() }.into());
        }
        let spec = spec(evidence)?;
        let secrets: Vec<String> = spec.secrets().iter().map(ToString::to_string).collect();
        if !secrets.is_empty() {
            return Err(ReproduceError::Secrets { names: secrets }.into());
        }
        let lock_path = folder.path().join("bulla.lock");
        fs_err::write(&lock_path, &texts.lock).map_err(CliError::file)?;
        let mut project = Project {
            folder: folder.path().to_owned(),
            spec_path: folder.path().join("bulla.yaml"),
            lock_path,
            spec,
            spec_text: texts.spec.clone().into_bytes(),
            set: external.params.clone(),
            membership: None,
        };
        let lock = lock::require(&project)?;
        let local =
            project.spec.sources.iter().find(|(_, source)| source.folder().is_some()).map(|(name, _)| name.clone());
        if let Some(name) = local {
            project.folder = match source {
                Some(source) => fs_err::canonicalize(source).map_err(CliError::file)?,
                None => fetch(session, store, &project, (&name, evidence), folder.path())?,
            };
        }
        let platforms = external.platforms.iter().filter_map(|text| text.parse().ok()).collect();
        Ok(Self { project, lock, platforms, _folder: folder })
    }
}

/// Evaluates the spec of the evidence, in its workspace where it has one, as it was at the time of the build.
fn spec(evidence: &Evidence) -> Result<Spec> {
    let texts = &evidence.configuration;
    let (name, bytes) = ("bulla.yaml of the evidence", texts.spec.as_bytes());
    let set = &evidence.provenance.build_definition.external_parameters.params;
    let Some(text) = &texts.workspace else {
        return Spec::parse_bytes(name, bytes, set).map_err(|errors| wrong(name, bytes, &errors));
    };
    let shown = format!("{WORKSPACE_FILE} of the evidence");
    let workspace =
        Workspace::parse_bytes(&shown, text.as_bytes()).map_err(|errors| wrong(&shown, text.as_bytes(), &errors))?;
    let member = texts.folder.as_ref().and_then(|folder| CleanPath::parse(folder.as_str()).ok());
    // A waiver that has ended since does not make another image.
    let now = evidence.provenance.run_details.metadata.started_on.parse::<Epoch>().unwrap_or_default();
    let inherited = Inherited { workspace: &workspace, member: member.as_ref(), now };
    let MemberSpec { spec, .. } =
        Spec::parse_member(name, bytes, set, &inherited).map_err(|errors| wrong(name, bytes, &errors))?;
    Ok(spec)
}

/// Fetches the commit that a source was checked out of, as nobody, and gives the folder of the project in it.
fn fetch(
    session: &Session,
    store: &Store,
    project: &Project,
    (name, evidence): (&Name, &Evidence),
    folder: &Path,
) -> Result<PathBuf> {
    let none = || ReproduceError::NoSource { name: name.clone() };
    let mut checkouts = evidence.provenance.build_definition.used("checkout");
    let checkout = checkouts.find(|one| one.name.as_deref() == Some(name.as_str())).ok_or_else(none)?;
    let clean = checkout.annotations.get("dirty") == Some(&false.into());
    let address = checkout.uri.as_deref().and_then(|uri| uri.strip_prefix("git+"));
    let commit = checkout.digest.get("gitCommit").and_then(|hex| hex.parse::<GitId>().ok());
    let (Some(url), Some(commit), true) = (address, commit, clean) else { return Err(none().into()) };
    let source = GitSource {
        url: url.to_owned(),
        revision: GitRevision::Commit(commit),
        trust: GitTrust::Commit,
        submodules: false,
        lfs: false,
        portion: Portion { subfolder: None, ignore: Vec::new() },
    };
    let pin = Git::as_nobody(session, store.clone())?.pin(project, name, &source)?;
    let missing = || bulla_build::export::ExportError::Missing { digest: pin.digest };
    let mut archive = store.open_blob(&pin.digest)?.ok_or_else(missing)?;
    let top = folder.join("checkout");
    fs_err::create_dir(&top).map_err(CliError::file)?;
    archive::unpack(&mut archive, Packing::Tar, &Rules::default(), &mut Folder(&top))?;
    let within = project_folder(project, name, checkout).ok_or_else(none)?;
    Ok(within.map_or_else(|| top.clone(), |path| top.join(std::ffi::OsStr::from_bytes(path.as_bytes()))))
}

/// Gives where the project lies in a checkout: where its source does, without the source's own path. `Some(None)` is the checkout's top.
fn project_folder(project: &Project, name: &Name, checkout: &Resource) -> Option<Option<CleanPath>> {
    let path = project.spec.sources.get(name)?.folder()?.path.as_ref().map(ToString::to_string).unwrap_or_default();
    let folder = checkout.annotations.get("folder").and_then(|folder| folder.as_str()).unwrap_or_default();
    let within = folder.strip_suffix(path.as_str())?.trim_end_matches('/');
    if within.is_empty() { Some(None) } else { CleanPath::parse(within).ok().map(Some) }
}

/// Writes the files of an archive into a new folder. Their places were found to be beneath it.
struct Folder<'a>(&'a Path);

impl Folder<'_> {
    fn place(&self, path: &CleanPath) -> Result<PathBuf, SinkError> {
        let place = self.0.join(std::ffi::OsStr::from_bytes(path.as_bytes()));
        if let Some(parent) = place.parent() {
            fs_err::create_dir_all(parent)?;
        }
        Ok(place)
    }
}

impl Sink for Folder<'_> {
    fn directory(&mut self, path: &CleanPath) -> Result<(), SinkError> {
        Ok(fs_err::create_dir_all(self.place(path)?)?)
    }

    fn file(&mut self, path: &CleanPath, executable: bool, content: &mut dyn Read) -> Result<(), SinkError> {
        let place = self.place(path)?;
        let mut file = fs_err::File::create_new(&place)?;
        std::io::copy(content, &mut file)?;
        Ok(fs_err::set_permissions(place, Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?)
    }

    fn symlink(&mut self, path: &CleanPath, target: &[u8]) -> Result<(), SinkError> {
        Ok(fs_err::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), self.place(path)?)?)
    }

    fn hardlink(&mut self, path: &CleanPath, target: &CleanPath) -> Result<(), SinkError> {
        Ok(fs_err::hard_link(self.place(target)?, self.place(path)?)?)
    }
}
