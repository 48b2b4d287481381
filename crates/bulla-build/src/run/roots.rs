//! Makes the root of a stage: packages unpacked, merged, and configured by their own scripts in the sandbox.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    sync::{Arc, Mutex, PoisonError},
};

use bulla_ecosystems::debian::{configure, deb, dpkg};
use bulla_model::{
    CleanPath, Digest, Epoch, Platform, Tree,
    plan::{PlannedImage, PlannedPackage, PlannedRoot, surroundings},
    spec::AbsolutePath,
    tree::{Mode, Node, Owner},
};
use bulla_sandbox::{Bind, Privileges};
use bulla_store::{Part, StoredTree};
use serde::{Deserialize, Serialize};

use super::{
    BuildError, base,
    context::Context,
    emulation, outputs,
    packages::{self, Unpacked},
    record::{Action, FORMAT, RunRecord},
    sandboxed::{self, Made, Run, small_tree},
    stack::{Sheet, Stack},
    supply::{Need, Shared, Standing},
};
use crate::event::{Activity, ActivityId, Ending, Event};

/// Where the stand-ins for programs that scripts may not really run are seen.
const STAND_INS: &str = "/run/bulla/stand-ins";
/// Where the packages are seen that the package manager has to unpack itself.
const LATE: &str = "/run/bulla/packages";

/// A configured root.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RootResult {
    /// The trees of the packages and of the package manager's database, with what each of them loses to another.
    parts: Vec<RootPart>,
    /// What the maintainer scripts changed.
    delta: Digest,
    /// What was seen of them.
    pub(crate) record: RunRecord,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct RootPart {
    tree: Digest,
    hidden: BTreeSet<CleanPath>,
}

/// The roots of a build, each made once.
#[derive(Default)]
pub(crate) struct Roots {
    made: Mutex<BTreeMap<Digest, Arc<Root>>>,
}

/// A root, and its layers where they were needed.
pub(crate) struct Root {
    /// The digest of the action that made it.
    pub(crate) action: Digest,
    content: Content,
    stack: Mutex<Option<Stack>>,
}

/// What a root is made of.
enum Content {
    /// Packages, which were configured.
    Packages(Box<Configured>),
    /// An image of a registry, which is unpacked when something first reads it.
    Image(PlannedImage, Mutex<Option<Unfolded>>),
}

/// Packages that were put together and configured.
pub(crate) struct Configured {
    /// What came of it.
    pub(crate) result: RootResult,
    /// Whether the result of an earlier build was used.
    pub(crate) cached: bool,
    packages: Vec<PlannedPackage>,
}

/// An image of a registry that was read.
#[derive(Clone)]
struct Unfolded {
    tree: StoredTree,
    /// Whether an earlier build unpacked it.
    cached: bool,
}

impl Roots {
    /// Gives the digest of the action that makes a root.
    pub(crate) fn action(planned: &PlannedRoot, emulator: Option<&PlannedPackage>, epoch: Epoch) -> Digest {
        let mut digests: Vec<Digest> = planned.packages.iter().map(|package| package.digest).collect();
        digests.sort();
        let driver = driver_digest();
        let emulator = emulator.map(|package| package.digest);
        Action::Root { format: FORMAT, driver, packages: &digests, emulator, epoch }.digest()
    }

    /// Gives the root of some packages. Its scripts run under the emulator where one is given.
    pub(crate) fn get(
        &self,
        context: &Context<'_>,
        name: &str,
        planned: &PlannedRoot,
        emulator: Option<&PlannedPackage>,
        epoch: Epoch,
    ) -> Result<Arc<Root>, BuildError> {
        let action = Self::action(planned, emulator, epoch);
        // One lock over all: two stages that want the same root must not make it twice.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = made.get(&action) {
            return Ok(Arc::clone(root));
        }
        let title = format!("root of {name}: {} packages", planned.packages.len());
        let (result, cached) = context.told(Activity::Root, &title, |id| {
            if let Some(result) = context.earlier::<RootResult>(&action, Standing::default())? {
                return Ok(((result, true), Ending::Cached));
            }
            let result = make(context, id, (name, &title), planned, emulator, epoch)?;
            context.keep(&action, &result, Standing::default())?;
            Ok(((result, false), Ending::Done))
        })?;
        let content = Content::Packages(Box::new(Configured { result, cached, packages: planned.packages.clone() }));
        let root = Arc::new(Root { action, content, stack: Mutex::new(None) });
        made.insert(action, Arc::clone(&root));
        Ok(root)
    }

    /// Gives the root that an image of a registry is. Nothing is read of it yet.
    pub(crate) fn image(&self, planned: &PlannedImage) -> Arc<Root> {
        let action = base::action(planned);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let root = made.entry(action).or_insert_with(|| {
            let content = Content::Image(planned.clone(), Mutex::new(None));
            Arc::new(Root { action, content, stack: Mutex::new(None) })
        });
        Arc::clone(root)
    }
}

impl Root {
    /// Gives the path that something which is copied to a place has in it.
    pub(crate) fn place(&self, context: &Context<'_>, to: &AbsolutePath) -> Result<AbsolutePath, BuildError> {
        match &self.content {
            Content::Image(planned, read) => base::place(context, planned, to, || unfolded(context, planned, read)),
            Content::Packages(_) => Ok(outputs::in_debian(to)),
        }
    }

    /// Gives what came of configuring packages; `None` of an image of a registry.
    pub(crate) fn configured(&self) -> Option<&Configured> {
        match &self.content {
            Content::Packages(configured) => Some(configured),
            Content::Image(..) => None,
        }
    }

    /// Says whether it is an image of a registry that this build unpacked.
    pub(crate) fn was_unpacked(&self) -> bool {
        let Content::Image(_, read) = &self.content else { return false };
        read.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(|read| !read.cached)
    }

    /// Gives the layers of the root: the merged packages, and what scripts made of them; or the image.
    pub(crate) fn stack(&self, context: &Context<'_>) -> Result<Stack, BuildError> {
        let mut stack = self.stack.lock().unwrap_or_else(PoisonError::into_inner);
        if stack.is_none() {
            let mut made = Stack::default();
            match &self.content {
                Content::Packages(configured) => {
                    made.push(configured.merged(context)?);
                    made.push_tree(context, &configured.result.delta)?;
                }
                Content::Image(planned, read) => {
                    let tree = unfolded(context, planned, read)?.digest();
                    made.push(merged(context, &[RootPart { tree, hidden: BTreeSet::new() }])?);
                }
            }
            *stack = Some(made);
        }
        Ok(stack.clone().expect("it was just made"))
    }
}

/// Gives the tree of an image of a registry, which is brought and unpacked when it is first asked for.
fn unfolded(
    context: &Context<'_>,
    planned: &PlannedImage,
    read: &Mutex<Option<Unfolded>>,
) -> Result<StoredTree, BuildError> {
    // Whoever needs the same waits.
    let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(read) = &*read {
        return Ok(read.tree.clone());
    }
    let base::Base { tree, cached, .. } = base::get(context, planned)?;
    Ok(read.insert(Unfolded { tree, cached }).tree.clone())
}

impl Configured {
    /// Tells which paths packages lose to others: the package's place, and the path.
    pub(crate) fn hide(&self, mut tell: impl FnMut(usize, &CleanPath)) {
        for (index, part) in self.result.parts.iter().enumerate() {
            part.hidden.iter().for_each(|path| tell(index, path));
        }
    }

    /// Gives the trees that are laid over the packages: the package manager's database, and what scripts changed.
    pub(crate) fn added(&self) -> impl Iterator<Item = Digest> {
        self.result.parts.last().map(|part| part.tree).into_iter().chain([self.result.delta])
    }

    /// Merges the packages. Where the root is a result of another store, or trees of it are gone, they are unpacked first.
    fn merged(&self, context: &Context<'_>) -> Result<Sheet, BuildError> {
        match merged(context, &self.result.parts) {
            Err(error) if error.is_gone() && !self.packages.is_empty() => {
                packages::unpack(context, &self.packages, &|_| {})?;
                self.result.parts.last().map(|database| context.tree(&database.tree)).transpose()?;
                merged(context, &self.result.parts)
            }
            other => other,
        }
    }
}

impl Shared for RootResult {
    // The packages' own trees are unpacked out of the packages again.
    fn trees(&self) -> Vec<Digest> {
        self.parts.last().map(|database| database.tree).into_iter().chain([self.delta]).collect()
    }
}

/// Gives the digest of how roots are configured, without the lists that depend on the packages.
fn driver_digest() -> Digest {
    let configure::Driver { script, env, stand_ins } = configure::driver(&[], &BTreeMap::new(), STAND_INS);
    Digest::of(serde_json::to_vec(&(script, env, stand_ins)).expect("strings are JSON"))
}

fn merged(context: &Context<'_>, parts: &[RootPart]) -> Result<Sheet, BuildError> {
    let parts: Vec<Part> = parts.iter().map(|part| Part { tree: part.tree, hidden: part.hidden.clone() }).collect();
    let (farm, manifest, trees) = context.store.farm_and_trees(&parts)?;
    Ok(Sheet::Root(farm.path().to_owned(), Arc::new(manifest), Arc::new(trees)))
}

fn make(
    context: &Context<'_>,
    id: ActivityId,
    (name, title): (&str, &str),
    planned: &PlannedRoot,
    emulator: Option<&PlannedPackage>,
    epoch: Epoch,
) -> Result<RootResult, BuildError> {
    let total = planned.packages.len() as u64;
    let progress = |done| context.observer.event(&Event::Progress { id, done, total: Some(total), unit: "packages" });
    let unpacked = packages::unpack(context, &planned.packages, &progress)?;
    let (parts, late) = with_database(context, (name, planned.native), &unpacked, epoch)?;
    let below = merged(context, &parts)?;
    let late: BTreeMap<usize, String> = late.into_iter().map(|index| (index, format!("{LATE}/{index}.deb"))).collect();
    let driver = configure::driver(&list(&unpacked), &late, STAND_INS);
    let stand_ins = driver.stand_ins.iter().map(|(name, text)| {
        Ok((CleanPath::parse(name)?, Made::File(Mode::new(0o755), Owner::ROOT, text.clone().into_bytes())))
    });
    let stand_ins = small_tree(context, stand_ins.collect::<Result<Vec<_>, BuildError>>()?, Epoch::default())?;
    let stand_ins = context.store.tree(&stand_ins)?.ok_or_else(|| BuildError::Gone { what: "stand-ins".to_owned() })?;
    let mut binds = vec![Bind { source: stand_ins.path().to_owned(), target: STAND_INS.into(), writable: false }];
    let debs = debs(context, &planned.packages, &late)?;
    binds.extend(debs.iter().map(|debs| Bind { source: debs.path().to_owned(), target: LATE.into(), writable: false }));
    let mut env: BTreeMap<String, String> = surroundings(epoch).collect();
    env.extend(driver.env.clone());
    let mut stack = Stack::default();
    stack.push(below.clone());
    let run = Run {
        title,
        at: None,
        stack: &stack,
        below: below.manifest(),
        binds,
        argv: ["/bin/sh", "-eu", "-c", &driver.script].map(OsString::from).to_vec(),
        env: &env,
        cwd: "/".into(),
        privileges: Privileges::Scripts,
        identity_fake: true,
        emulation: emulation::get(context, emulator, planned.native)?,
        stop_on_refusal: false,
        limits: context.settings.limits,
        epoch,
        secrets: &[],
        lock_files: &[],
        passage: None,
    };
    let result = sandboxed::run(context, id, run)?;
    Ok(RootResult { parts, delta: result.delta, record: result.record })
}

/// Puts the packages that are not unpacked yet into a tree, by their places. `None` when there are none.
fn debs(
    context: &Context<'_>,
    packages: &[PlannedPackage],
    late: &BTreeMap<usize, String>,
) -> Result<Option<StoredTree>, BuildError> {
    if late.is_empty() {
        return Ok(None);
    }
    context.need(Need::Packages)?;
    let mut builder = context.store.tree_builder()?;
    for package in late.keys().map(|index| (index, packages.get(*index))) {
        let (index, Some(package)) = package else { continue };
        let missing = || BuildError::NotFetched { package: package.name.clone(), digest: package.digest };
        let mut file = context.store.open_blob(&package.digest)?.ok_or_else(missing)?;
        let path = CleanPath::parse(format!("{index}.deb"))?;
        builder.file(&path, Mode::new(0o644), Owner::ROOT, Epoch::default(), &mut file)?;
    }
    Ok(Some(builder.finish(None)?))
}

fn list(unpacked: &[Unpacked]) -> Vec<deb::Package> {
    unpacked.iter().map(|unpacked| unpacked.package.clone()).collect()
}

/// Adds the package manager's database, and the links of a merged `/usr`, to the packages' trees. Gives the places of the
/// packages of which nothing is there, because the package manager has to unpack them itself.
fn with_database(
    context: &Context<'_>,
    (name, native): (&str, Platform),
    unpacked: &[Unpacked],
    epoch: Epoch,
) -> Result<(Vec<RootPart>, BTreeSet<usize>), BuildError> {
    let trees = unpacked
        .iter()
        .map(|one| {
            let tree = context.store.tree(&one.tree)?;
            tree.ok_or_else(|| BuildError::Gone { what: format!("package {}", one.package.control.name()) })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let manifests: Vec<&Tree> = trees.iter().map(|tree| tree.manifest().as_ref()).collect();
    let read = |package: usize, path: &CleanPath| {
        let mut bytes = Vec::new();
        let mut file = trees.get(package)?.open_file(path).ok()?;
        std::io::Read::read_to_end(&mut file, &mut bytes).ok()?;
        Some(bytes)
    };
    let database = dpkg::database(&list(unpacked), &manifests, &read)
        .map_err(|source| BuildError::Database { root: name.to_owned(), source })?;
    let mut parts: Vec<RootPart> =
        unpacked.iter().map(|one| RootPart { tree: one.tree, hidden: BTreeSet::new() }).collect();
    for (package, path) in database.hidden {
        if let Some(part) = parts.get_mut(package) {
            part.hidden.insert(path);
        }
    }
    let links = deb::usrmerge_links(native).into_iter().map(|(path, node)| match node {
        Node::Symlink { target, .. } => (path, Made::Symlink(target.to_vec())),
        _ => (path, Made::Directory(Mode::new(0o755), Owner::ROOT)),
    });
    let directories =
        database.directories.into_iter().map(|path| (path, Made::Directory(Mode::new(0o755), Owner::ROOT)));
    let files = database.files.into_iter().map(|(path, mode, bytes)| (path, Made::File(mode, Owner::ROOT, bytes)));
    let tree = small_tree(context, links.chain(directories).chain(files), epoch)?;
    parts.push(RootPart { tree, hidden: BTreeSet::new() });
    Ok((parts, database.late))
}
