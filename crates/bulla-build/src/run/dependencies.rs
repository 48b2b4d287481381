//! What steps find of their lock files: each is read out of its source once a build, its pins are a part of the keys of the steps, and
//! what it names is had, and made into a table for the server, when a step really runs for the first time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::Permissions,
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bulla_ecosystems::dependencies::{
    self, Answer, ArtifactError, Bodies, CACHE, Client, Denied, Files, Hash, LockFileError, Native, Observed, ReadSeek,
    Script, apt::Apt, pypi::Pythons,
};
use bulla_model::{
    Address, CleanPath, Digest, Ecosystem, Origin,
    lock::LooseKey,
    plan::{PlannedBase, PlannedStage},
    spec::{Dependency, InstallScripts, Named},
};
use bulla_sandbox::{Bind, Executed};
use bulla_serve::{Authority, Body, MAX_HOSTS, Report, Route, Table};
use bulla_store::{Scratch, Store};

use super::{
    BuildError,
    answers::{Answered, Asked, answered},
    context::Context,
    folders::{self, Laid},
    observe::Mirrored,
    proxy,
    record::{Action, FORMAT, Refused},
    stages::{ReadSource, Stages, internal, place_of},
};
use crate::{event::Event, secret::Secrets};

/// The port at which every step finds what its lock files name. It is the same everywhere, since some clients build it into what they
/// make.
pub(crate) const PORT: u16 = 8417;

/// Gives the address at which clients find it.
fn base() -> String {
    format!("http://127.0.0.1:{PORT}")
}

/// The lock files that were read in a build.
#[derive(Default)]
pub(crate) struct LockFiles(Mutex<BTreeMap<Key, Arc<LockFile>>>);

/// What a lock file is known by: its kind, what names the packages, and what of the stage counts.
type Key = (Ecosystem, Named, dependencies::Stage);

/// A lock file of a source.
pub(crate) struct LockFile {
    /// Where it is in stages, for people.
    pub(crate) title: String,
    pub(crate) ecosystem: Ecosystem,
    native: Mutex<Box<dyn Native>>,
    /// What it pins, one a line.
    pins: String,
    /// The digest of that, which decides whether a step runs again.
    pub(crate) digest: Digest,
    client: Client,
    /// Whether its client goes to addresses of the file, so that the step needs the proxy.
    proxied: bool,
    /// Where else its client looks for parts of the repository.
    mirrored: Mirrored,
    prepared: Mutex<Option<Arc<Prepared>>>,
    /// Whether some of it has no pins but observed ones.
    observed: bool,
    /// What a registry is asked before all that is locked is known.
    asked: Vec<Asked>,
}

/// What a lock file names, and what that was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Had {
    /// Where the lock file is in stages.
    pub file: String,
    /// What registries said where files of it are, where only they say it.
    pub answers: Vec<Answered>,
    /// The SHA-256 of each artifact, by the lock file's own hashes.
    pub artifacts: Vec<(Vec<Hash>, Digest)>,
}

/// What is served of a lock file.
#[derive(Default)]
struct Prepared {
    routes: Vec<Route>,
    /// Which package each route gives, by its package URL and SHA-256, where it gives one.
    materials: Vec<Option<(String, Digest)>>,
    /// What lies in folders.
    laid: Vec<Laid>,
}

/// Reads files of a source out of the store.
struct SourceFiles<'a>(&'a ReadSource);

impl Files for SourceFiles<'_> {
    fn read(&self, path: &CleanPath, limit: u64) -> io::Result<Option<Vec<u8>>> {
        self.0.cache.content(&self.0.source, path, limit).map_err(io::Error::other)
    }
}

/// Reads artifacts out of the store.
struct StoreBodies<'a> {
    store: &'a Store,
    digests: &'a [Digest],
}

impl Bodies for StoreBodies<'_> {
    fn open(&self, artifact: usize) -> io::Result<Box<dyn ReadSeek + '_>> {
        let digest = self.digests.get(artifact).ok_or(io::ErrorKind::NotFound)?;
        let file = self.store.open_blob(digest).map_err(io::Error::other)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(file))
    }
}

impl Stages<'_> {
    /// Reads the lock files of a stage, each once a build.
    pub(crate) fn lock_files(&self, stage: &PlannedStage) -> Result<Vec<Arc<LockFile>>, BuildError> {
        let platform = stage.platform.native(self.plan.platform);
        let mut known = self.context.lock_files.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut files = Vec::new();
        let all =
            stage.dependencies.iter().flat_map(|(ecosystem, files)| files.iter().map(move |file| (ecosystem, file)));
        for (ecosystem, dependency) in all {
            let place = match &dependency.named {
                Named::File { source, .. } => format!("/{}", place_of(source)?),
                Named::Release(_) => String::new(),
            };
            let pythons = if *ecosystem == Ecosystem::Pypi { self.pythons(&stage.base) } else { Pythons::default() };
            let observed = self.observed(stage, *ecosystem, dependency)?;
            let scripts = dependency.scripts.clone();
            let of_stage = dependencies::Stage { platform, place, scripts, pythons, observed };
            let key = (*ecosystem, dependency.named.clone(), of_stage);
            if let Some(file) = known.get(&key) {
                files.push(Arc::clone(file));
                continue;
            }
            let mut native: Box<dyn Native> = match &dependency.named {
                Named::File { source, file } => {
                    let source = self.sources.get(source).ok_or_else(|| internal("a source that was not read"))?;
                    dependencies::read(*ecosystem, &SourceFiles(source), file, &key.2)?
                }
                Named::Release(release) => Box::new(Apt::new(release, &key.2.observed)),
            };
            self.pin_loose(&mut *native, &dependency.to_string())?;
            for remark in native.remarks() {
                let message = format!("{dependency}: {remark}");
                self.context.observer.event(&Event::Warning { message: &message });
            }
            let file = LockFile::new(dependency.to_string(), native, &dependency.scripts);
            let file = Arc::new(LockFile { observed: dependency.is_observed(*ecosystem), ..file });
            known.insert(key, Arc::clone(&file));
            files.push(file);
        }
        Ok(files)
    }
}

impl Stages<'_> {
    /// Pins what a lock file names without a hash: by the lock, else by whoever may add to that.
    fn pin_loose(&self, native: &mut dyn Native, file: &str) -> Result<(), BuildError> {
        for place in native.loose() {
            let ecosystem = native.locked().ecosystem;
            let artifact = &native.locked().artifacts[place];
            let digest = match self.plan.loose.get(&artifact.loose_key(ecosystem)) {
                Some(pin) => pin.digest,
                None => self.context.supply.pin(ecosystem, file, artifact)?,
            };
            native.pin(place, &digest);
        }
        Ok(())
    }

    /// Gives what was observed of dependencies that no lock file pins; while they are observed, nothing.
    fn observed(
        &self,
        stage: &PlannedStage,
        ecosystem: Ecosystem,
        dependency: &Dependency,
    ) -> Result<Arc<Observed>, LockFileError> {
        if !dependency.is_observed(ecosystem) {
            return Ok(Arc::default());
        }
        let name = &stage.name;
        let is_observed = self.context.observing.is_some_and(|observing| observing.covers(stage));
        let answers = stage.observed.get(&ecosystem).filter(|_| !is_observed);
        if answers.is_none() && !is_observed {
            return Err(LockFileError {
                file: dependency.to_string(),
                line: None,
                what: format!(
                    "nothing says what the steps of {name} may have of {ecosystem}: they were never observed"
                ),
                hints: vec![format!(
                    "run `bulla lock --observe {name}`: it runs the stage once, passes on what {ecosystem} asks for, and pins it in bulla.lock"
                )],
            });
        }
        Ok(Arc::new(Observed { stage: name.to_string(), answers: answers.cloned().unwrap_or_default() }))
    }

    /// Gives the Pythons that a stage may have: those of its packages, where it starts from packages.
    fn pythons(&self, base: &PlannedBase) -> Pythons {
        match base {
            PlannedBase::Root(root) => {
                let packages = self.plan.roots.get(root).map(|root| root.packages.as_slice()).unwrap_or_default();
                Pythons::of_packages(packages.iter().map(|package| (package.name.as_str(), package.version.as_str())))
            }
            PlannedBase::Stage(name) => {
                let before = self.plan.stages.iter().find(|stage| stage.name == *name);
                before.map_or_else(Pythons::default, |stage| self.pythons(&stage.base))
            }
            PlannedBase::Image(_) => Pythons::default(),
        }
    }

    /// Keeps what lock files pinned, so that what is changed later can be named. A build goes on when that cannot be done: it only
    /// tells less.
    pub(crate) fn keep_pins(&self, files: &[Arc<LockFile>]) {
        let store = self.context.store;
        for file in files {
            if let Err(error) = store.put_blob(file.pins.as_bytes()) {
                let message = format!("`bulla explain` will not name changed packages of {}: {error}", file.title);
                self.context.observer.event(&Event::Warning { message: &message });
            }
        }
    }
}

/// Gives what lock files pin, by where they are.
pub(crate) fn pins(files: &[Arc<LockFile>]) -> BTreeMap<String, Digest> {
    files.iter().map(|file| (file.title.clone(), file.digest)).collect()
}

impl LockFile {
    fn new(title: String, native: Box<dyn Native>, scripts: &InstallScripts) -> Self {
        let client = native.client(&base());
        let locked = native.locked();
        let ecosystem = locked.ecosystem;
        let mut pins = format!("bulla-pins {FORMAT} {ecosystem}\n");
        for artifact in &locked.artifacts {
            let hashes: Vec<String> = artifact.hashes.iter().map(ToString::to_string).collect();
            let fields = [&artifact.name, &artifact.version, &artifact.file, &hashes.join(" ")];
            pins.push_str(&format!("{}\n", serde_json::json!(fields)));
        }
        for (what, text) in [("beside", native.beside()), ("client", format!("{client:?}"))] {
            pins.push_str(&format!("{what} {}\n", Digest::of(text)));
        }
        let (addresses, mirrored) = (native.addresses(), native.mirrored());
        let proxied = !addresses.is_empty() || !mirrored.is_empty();
        if proxied {
            let places = addresses.iter().map(|(address, artifact)| format!("{address} {artifact}\n"));
            let places = places.chain(mirrored.iter().map(|(address, below)| format!("{address} {below}\n")));
            pins.push_str(&format!("proxy {}\n", Digest::of(places.collect::<String>() + &proxy::text())));
        }
        if let InstallScripts::Deny { allow } = scripts {
            pins.push_str(&format!("scripts {}\n", serde_json::json!(allow)));
        }
        let digest = Digest::of(&pins);
        let open = if native.knows_all() { Vec::new() } else { Asked::of(&*native) };
        let asked = open.into_iter().map(|(asked, _)| asked).collect();
        let (native, prepared) = (Mutex::new(native), Mutex::default());
        Self { title, ecosystem, native, pins, digest, client, proxied, mirrored, prepared, observed: false, asked }
    }

    /// Has everything that it names, and nothing is done twice.
    pub(crate) fn fetch(&self, context: &Context<'_>) -> Result<Vec<Digest>, BuildError> {
        let mut native = self.native.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(context.supply.dependencies(&mut **native)?)
    }

    /// Has everything that it names, and says what it was.
    pub(crate) fn had(&self, context: &Context<'_>) -> Result<Had, BuildError> {
        let digests = self.fetch(context)?;
        let mut answers = Vec::new();
        for asked in &self.asked {
            answers.extend(answered(context.store, asked.clone())?);
        }
        let native = self.native.lock().unwrap_or_else(PoisonError::into_inner);
        let artifacts = native.locked().artifacts.iter().zip(digests);
        let artifacts = artifacts.map(|(artifact, digest)| (artifact.hashes.clone(), digest)).collect();
        Ok(Had { file: self.title.clone(), answers, artifacts })
    }

    /// Gives what the server answers.
    fn prepared(&self, context: &Context<'_>) -> Result<Arc<Prepared>, BuildError> {
        // Whoever needs the same waits.
        let mut kept = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prepared) = &*kept {
            return Ok(Arc::clone(prepared));
        }
        let digests = self.fetch(context)?;
        let native = self.native.lock().unwrap_or_else(PoisonError::into_inner);
        let bodies = StoreBodies { store: context.store, digests: &digests };
        let denied = native.denied(&bodies)?;
        if !denied.is_empty() {
            return Err(denial(&self.title, &denied).into());
        }
        let repository = native.repository(&bodies, &base())?;
        let laid = folders::unpack(context, &**native, &digests)?;
        let mut prepared = Prepared { laid, ..Prepared::default() };
        let blob = |place: usize| {
            let artifact = native.locked().artifacts.get(place).zip(digests.get(place));
            let (artifact, digest) = artifact.ok_or_else(|| internal("an artifact that a lock file does not name"))?;
            let missing = || BuildError::Gone { what: format!("blob {}", digest.short()) };
            let file = context.store.open_blob(digest)?.ok_or_else(missing)?;
            let size = file.metadata().map_err(|source| unreadable(artifact.name.clone(), source))?.len();
            let material = Some((artifact.purl(self.ecosystem), *digest));
            Ok::<_, BuildError>((Body::Blob { digest: *digest, size }, material))
        };
        for route in repository.routes {
            let Answer { status, content_type, body } = route.answer;
            let (body, material) = match body {
                dependencies::Body::Bytes(bytes) => (Body::Bytes(bytes), None),
                dependencies::Body::Artifact(place) => blob(place)?,
            };
            let (path, accept) = (route.path, route.accept);
            prepared.routes.push(Route { origin: None, path, accept, status, content_type, body });
            prepared.materials.push(material);
        }
        for (address, place) in native.addresses() {
            let (body, material) = blob(place)?;
            prepared.routes.push(Route {
                origin: Some(address.origin),
                path: address.path,
                accept: None,
                status: 200,
                content_type: "application/octet-stream".to_owned(),
                body,
            });
            prepared.materials.push(material);
        }
        Ok(Arc::clone(kept.insert(Arc::new(prepared))))
    }

    /// Refuses a variable that would undo what the stage wants of this lock file.
    fn check_variables<'v>(&self, mut own: impl Iterator<Item = &'v String>) -> Result<(), LockFileError> {
        let native = self.native.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(variable) = own.find(|variable| native.contradicts(variable)) else { return Ok(()) };
        Err(LockFileError {
            file: self.title.clone(),
            line: None,
            what: format!("`scripts` denies some, and the variable `{variable}` of the step would have them run"),
            hints: vec![
                "take the variable out of `env` of the step or stage, or out of the image that it starts from"
                    .to_owned(),
            ],
        })
    }

    /// Gives what it names without a hash.
    pub(crate) fn loose(&self) -> Vec<LooseKey> {
        let native = self.native.lock().unwrap_or_else(PoisonError::into_inner);
        let locked = native.locked();
        native.loose().into_iter().map(|place| locked.artifacts[place].loose_key(locked.ecosystem)).collect()
    }

    /// Forgets what was made ready, of which something is gone.
    fn forget(&self) {
        *self.prepared.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn diagnose(&self, method: &str, path: &str) -> Option<String> {
        let below =
            |(address, below): &(Address, &str)| Some(format!("{below}{}", path.strip_prefix(&address.to_string())?));
        let path = self.mirrored.iter().find_map(below).unwrap_or_else(|| path.to_owned());
        let request = dependencies::Request { method: method.to_owned(), path };
        self.native.lock().unwrap_or_else(PoisonError::into_inner).diagnose(&request)
    }
}

/// Says which packages would run what the stage denies.
fn denial(title: &str, denied: &[Denied]) -> LockFileError {
    let list: Vec<String> =
        denied.iter().map(|one| format!("{} {} ({})", one.package, one.version, one.what)).collect();
    let mut names: Vec<&str> = denied.iter().map(|one| one.package.as_str()).collect();
    names.dedup();
    LockFileError {
        file: title.to_owned(),
        line: None,
        what: format!("`scripts` denies what these run while others are compiled: {}", list.join(", ")),
        hints: vec![
            format!("look at what they run, and allow them by name: `scripts: {{allow: [{}]}}`", names.join(", ")),
            "or do without them: the client has no word to leave it out".to_owned(),
        ],
    }
}

/// What a run is given of its lock files.
pub(crate) struct Given {
    pub(crate) table: Table,
    pub(crate) binds: Vec<Bind>,
    /// Which package each route of the table gives.
    materials: Vec<Option<(String, Digest)>>,
    /// The packages that lie in folders, each by its package URL.
    pub(crate) laid: BTreeMap<String, Digest>,
    /// Below which addresses clients look for parts of the repository.
    pub(crate) mirrored: Mirrored,
    /// What of the certificates of the proxy may stay nowhere; empty where there is none.
    pub(crate) marks: Secrets,
    /// What is bound, and is gone with this.
    _folder: Scratch,
}

impl Given {
    /// Gives the packages that were asked for and given, each by its package URL.
    pub(crate) fn pulled(&self, report: &Report) -> BTreeMap<String, Digest> {
        let of = |route: usize| self.materials.get(route).cloned().flatten();
        report.served.iter().filter(|served| served.method == "GET").filter_map(|served| of(served.route?)).collect()
    }
}

/// Says that something of a lock file cannot be read or written.
fn unreadable(artifact: String, source: io::Error) -> ArtifactError {
    ArtifactError { artifact, what: "it cannot be read or written".to_owned(), source: Some(source) }
}

/// Makes ready what a run finds of its lock files, and adds what clients need to its environment; nothing where it has none.
pub(crate) fn give(
    context: &Context<'_>,
    files: &[Arc<LockFile>],
    env: &mut BTreeMap<String, String>,
) -> Result<Option<Given>, BuildError> {
    if files.is_empty() {
        return Ok(None);
    }
    let mut answers = Answers::default();
    let folder = context.store.scratch("clients")?;
    let cache = folder.folder("cache", 0o777)?;
    let mut binds = vec![Bind { source: cache.clone(), target: CACHE.into(), writable: true }];
    let own: Vec<String> = env.keys().cloned().collect();
    if files.iter().any(|file| file.proxied) {
        // Before the clients' own: another lock file's client may have no need of it.
        for (name, value) in proxy::variables(&base()) {
            env.entry(name).or_insert(value);
        }
    }
    let mut mounted: BTreeMap<PathBuf, (Vec<u8>, u32)> = BTreeMap::new();
    let all = files.iter().map(|file| Ok((file, file.prepared(context)?))).collect::<Result<Vec<_>, BuildError>>()?;
    for (file, prepared) in &all {
        for (route, material) in prepared.routes.iter().zip(&prepared.materials) {
            answers.add(file, route, material)?;
        }
    }
    for (address, below) in files.iter().flat_map(|file| &file.mirrored) {
        for (file, prepared) in &all {
            for (route, material) in prepared.routes.iter().zip(&prepared.materials) {
                if let (None, Some(rest)) = (&route.origin, route.path.strip_prefix(below)) {
                    let (origin, path) = (Some(address.origin.clone()), format!("{}{rest}", address.path));
                    answers.add(file, &Route { origin, path, ..route.clone() }, material)?;
                }
            }
        }
    }
    for file in files {
        file.check_variables(own.iter())?;
        for (name, value) in &file.client.env {
            env.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let plain = file.client.files.iter().map(|(path, bytes)| (path, bytes, 0o644));
        let all = plain.chain(file.client.programs.iter().map(|(path, bytes)| (path, bytes, 0o755)));
        for (path, bytes, mode) in all {
            // Lock files of one kind have much the same client.
            let both = match mounted.remove(Path::new(&format!("/{path}"))) {
                None => bytes.clone(),
                Some((known, _)) => dependencies::joined(file.ecosystem, "application/toml", &known, bytes)
                    .ok_or_else(|| two_things(&file.title, "another lock file", &format!("/{path}")))?,
            };
            mounted.insert(format!("/{path}").into(), (both, mode));
        }
    }
    for (number, (target, (bytes, mode))) in mounted.into_iter().enumerate() {
        if let Ok(place) = target.strip_prefix(CACHE) {
            lay_in(&cache, place, &bytes, mode)?;
            continue;
        }
        let source = folder.path().join(format!("settings-{number}"));
        let unreadable = |error| unreadable(target.display().to_string(), error);
        fs_err::write(&source, bytes).map_err(unreadable)?;
        fs_err::set_permissions(&source, Permissions::from_mode(mode)).map_err(unreadable)?;
        binds.push(Bind { source, target, writable: false });
    }
    let authority = authority(files, &answers.routes)?;
    let marks = match &authority {
        Some(authority) => {
            let source = folder.path().join("ca.pem");
            fs_err::write(&source, &authority.pem).map_err(|error| unreadable(proxy::CERTIFICATE.to_owned(), error))?;
            binds.push(Bind { source, target: proxy::CERTIFICATE.into(), writable: false });
            proxy::marks(authority)
        }
        None => Secrets::default(),
    };
    let blobs = Some(context.store.blobs().to_owned());
    let table = Table { blobs, routes: answers.routes, identity: authority.map(|authority| authority.identity) };
    let (folders, laid) = match lay(context, files) {
        // Trees that are gone, or do not verify, are unpacked again.
        Err(error) if error.is_gone() => {
            files.iter().for_each(|file| file.forget());
            lay(context, files)?
        }
        other => other?,
    };
    binds.extend(folders);
    let mirrored = files.iter().flat_map(|file| file.mirrored.iter().cloned()).collect();
    Ok(Some(Given { mirrored, table, binds, materials: answers.materials, laid, marks, _folder: folder }))
}

/// Lays a file into the folder for what clients keep for themselves, where one wants to find it among the rest. It is the step's, as all that lies there.
fn lay_in(cache: &Path, place: &Path, bytes: &[u8], mode: u32) -> Result<(), BuildError> {
    let unreadable = |error| unreadable(place.display().to_string(), error);
    let above: Vec<&Path> = place.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
    for folder in above.into_iter().rev().map(|folder| cache.join(folder)) {
        fs_err::create_dir_all(&folder).map_err(unreadable)?;
        fs_err::set_permissions(&folder, Permissions::from_mode(0o777)).map_err(unreadable)?;
    }
    let file = cache.join(place);
    fs_err::write(&file, bytes).map_err(unreadable)?;
    fs_err::set_permissions(&file, Permissions::from_mode(mode)).map_err(unreadable)?;
    Ok(())
}

/// Makes the folders of lock files, together where they are the same.
fn lay(context: &Context<'_>, files: &[Arc<LockFile>]) -> Result<(Vec<Bind>, BTreeMap<String, Digest>), BuildError> {
    let prepared = files.iter().map(|file| file.prepared(context)).collect::<Result<Vec<_>, _>>()?;
    folders::lay(context, files.iter().zip(&prepared).map(|(file, ready)| (file.title.as_str(), &ready.laid[..])))
}

/// Makes the authority for the hosts that routes have, where there are any.
fn authority(files: &[Arc<LockFile>], routes: &[Route]) -> Result<Option<Authority>, BuildError> {
    let origins: BTreeSet<&Origin> = routes.iter().filter_map(|route| route.origin.as_ref()).collect();
    let hosts: BTreeSet<&str> = origins.iter().map(|origin| origin.host()).collect();
    if hosts.len() > MAX_HOSTS {
        let file = files.iter().find(|file| file.proxied).map(|file| file.title.clone()).unwrap_or_default();
        let what = format!("its addresses are of {} hosts; a step can have those of at most {MAX_HOSTS}", hosts.len());
        let hints = vec!["lock with fewer registries, or by an index that has all packages".to_owned()];
        return Err(LockFileError { file, line: None, what, hints }.into());
    }
    if !origins.iter().any(|origin| origin.is_tls()) {
        return Ok(None);
    }
    let unserved = |source| BuildError::Serve { title: "the locked repository".to_owned(), source };
    Authority::new(origins).map(Some).map_err(unserved)
}

/// What all lock files of a stage answer.
#[derive(Default)]
struct Answers {
    routes: Vec<Route>,
    materials: Vec<Option<(String, Digest)>>,
    /// The place of each path and media type among them, and the lock file that answers first.
    places: BTreeMap<(String, Option<String>), (usize, String)>,
}

impl Answers {
    /// Adds an answer of a lock file. Where another one of its kind answers the same request, both are made one.
    fn add(
        &mut self,
        file: &LockFile,
        route: &Route,
        material: &Option<(String, Digest)>,
    ) -> Result<(), LockFileError> {
        let origin = route.origin.as_ref().map(ToString::to_string).unwrap_or_default();
        let key = (origin + &route.path, route.accept.clone());
        let Some((place, first)) = self.places.get(&key) else {
            self.places.insert(key, (self.routes.len(), file.title.clone()));
            self.routes.push(route.clone());
            self.materials.push(material.clone());
            return Ok(());
        };
        let known = &mut self.routes[*place];
        match (&known.body, &route.body) {
            // What one says not to exist, the other may have.
            _ if known.status != 200 => {
                (*known, self.materials[*place]) = (route.clone(), material.clone());
                return Ok(());
            }
            _ if route.status != 200 => return Ok(()),
            (Body::Blob { digest, .. }, Body::Blob { digest: other, .. }) if digest == other => return Ok(()),
            (Body::Blob { digest, .. }, Body::Bytes(bytes)) if *digest == Digest::of(bytes) => return Ok(()),
            (Body::Bytes(bytes), Body::Blob { digest, .. }) if *digest == Digest::of(bytes) => {
                (*known, self.materials[*place]) = (route.clone(), material.clone());
                return Ok(());
            }
            (Body::Bytes(one), Body::Bytes(other)) => {
                if let Some(both) = dependencies::joined(file.ecosystem, &route.content_type, one, other) {
                    known.body = Body::Bytes(both);
                    return Ok(());
                }
            }
            _ => {}
        }
        Err(two_things(&file.title, first, &route.path))
    }
}

fn two_things(file: &str, first: &str, place: &str) -> LockFileError {
    LockFileError {
        file: file.to_owned(),
        line: None,
        what: format!("it and {first} name different things at one place, {place}, and a step can be given only one"),
        hints: vec!["build the two projects in stages of their own".to_owned()],
    }
}

/// What was asked for and is not there, with what is to be done about it where the lock file tells.
pub(crate) fn refused(files: &[Arc<LockFile>], report: &Report) -> Vec<Refused> {
    let refused = report.served.iter().filter(|served| served.refused()).map(|served| {
        let (executable, command_line) = match &served.by {
            Some(by) => (by.executable.clone(), by.command_line.clone()),
            None => (String::new(), String::new()),
        };
        let path = served.path.split('?').next().unwrap_or_default();
        Refused {
            kind: "request".to_owned(),
            target: format!("{} {}", served.method, served.path),
            executable,
            command_line,
            times: served.times,
            advice: files.iter().find_map(|file| file.diagnose(&served.method, path)).or_else(|| proxy::advice(served)),
        }
    });
    refused.collect()
}

/// Gives the registries of which nothing but observed answers is pinned.
pub(crate) fn observed(files: &[Arc<LockFile>]) -> BTreeSet<String> {
    let all = files.iter().filter(|file| file.observed).map(|file| file.ecosystem);
    all.map(|ecosystem| ecosystem.to_string()).collect()
}

/// Gives the scripts of packages among the programs that a command started, each once.
pub(crate) fn scripts(files: &[Arc<LockFile>], executed: &[Executed]) -> BTreeSet<Script> {
    let told = |program: &Executed| {
        files.iter().find_map(|file| {
            let native = file.native.lock().unwrap_or_else(PoisonError::into_inner);
            native.script(&program.executable, &program.argv)
        })
    };
    executed.iter().filter_map(told).collect()
}

/// Says to a command that failed that scripts were denied: it may have failed for want of what they make.
pub(crate) fn denied(scripts: &BTreeSet<Script>) -> Option<String> {
    let denied: BTreeSet<&str> =
        scripts.iter().filter(|script| !script.ran).map(|script| script.place.as_str()).collect();
    let (first, more) = (denied.first()?, denied.len() - 1);
    let more = if more == 0 { String::new() } else { format!(" and of {more} more") };
    Some(format!(
        "`scripts` denied those of {first}{more}; a package that does not work without them is allowed by `scripts: {{allow: [NAME]}}`"
    ))
}

/// Gives what lock files say to the last words of a command.
pub(crate) fn said(files: &[Arc<LockFile>], words: &str) -> Vec<String> {
    let said = |file: &Arc<LockFile>| file.native.lock().unwrap_or_else(PoisonError::into_inner).answer_to(words);
    files.iter().filter_map(said).collect()
}

/// Gives the SHA-256 of what a hash of a lock file stands for, where this store has found it out and sealed it.
///
/// # Errors
/// When the store cannot be read.
pub fn pinned(store: &Store, hash: &Hash) -> Result<Option<Digest>, bulla_store::Error> {
    match hash {
        Hash::Sha256(bytes) => Ok(Some(Digest::from_bytes(*bytes))),
        _ => super::record::lookup(store, &pin_action(hash)),
    }
}

/// Keeps which SHA-256 a hash of a lock file stands for.
///
/// # Errors
/// When the store cannot be written.
pub fn keep_pinned(store: &Store, hash: &Hash, digest: &Digest) -> Result<(), bulla_store::Error> {
    match hash {
        Hash::Sha256(_) => Ok(()),
        _ => super::record::keep(store, &pin_action(hash), digest),
    }
}

/// Names the finding out of which bytes a hash of a lock file stands for.
pub fn pin_action(hash: &Hash) -> Digest {
    Action::Pin { format: FORMAT, hash: &hash.to_string() }.digest()
}
