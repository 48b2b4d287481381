//! Puts the image together: packages, what stands in for their scripts, and copies; then layers and documents.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
};

use bulla_ecosystems::debian::{
    deb::Package,
    dpkg,
    image::{self as native, Asked, Entry},
};
use bulla_model::{
    CleanPath, Digest, Epoch, Spec, Tree,
    image::{ImagePlan, Input, Origin as Part},
    lock::ImageKey,
    oci,
    plan::{Plan, PlannedImage},
    spec::{Base, Copy, Id, Image, Name, Origin, Scripts},
    tree::{Mode, Node, Owner},
};
use bulla_store::StoredTree;

use super::{
    BuildError, base,
    context::Context,
    outputs::{self, OutputResult},
    packages,
    record::{Action, FORMAT},
    rights,
    roots::Roots,
    sandboxed::{Made, small_tree},
    stages::{Ended, Sources, StepRecord, internal, output_of},
    supply::Standing,
};
use crate::{
    assemble::{Assembled, assemble},
    event::{Activity, ActivityId, Ending, Event},
};

/// The name that the image's packages have in plan and lock.
pub(super) const ROOT: &str = "image";
/// What maintainer scripts made of the image's packages.
pub(super) const CONFIGURED: &str = "configured packages";
/// What an image from scratch takes of what stands in for scripts.
const SCRATCH: [&str; 3] = ["etc/passwd", "etc/group", "etc/ssl/certs/ca-certificates.crt"];
/// What it takes of the packages.
const ZONES: &str = "usr/share/zoneinfo";

/// What an image is made from.
pub(crate) struct Ingredients<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) spec: &'a Spec,
    pub(crate) plan: &'a Plan,
    pub(crate) ended: &'a BTreeMap<Name, Ended>,
    pub(crate) sources: &'a Sources,
    pub(crate) roots: &'a Roots,
    /// The steps that ran or were cached so far, for who owns what.
    pub(crate) steps: &'a [StepRecord],
}

/// One input of the image, and where the bytes of its files are.
pub(super) struct Placed {
    pub(super) input: Input,
    pub(super) bytes: Bytes,
}

/// Where the bytes of an input are.
pub(super) enum Bytes {
    /// In a tree of the store, under the same paths.
    Tree(StoredTree),
    /// In the tree of an output, which the image has elsewhere.
    Output(StoredTree, OutputResult, Box<Copy>),
    /// In a view of a source, under the given prefix.
    View(crate::assemble::Folder, Box<Copy>, Option<CleanPath>, bool),
}

impl Ingredients<'_> {
    /// Makes the image, or gives the one that was made of the same.
    pub(crate) fn assemble(&self) -> Result<Assembled, BuildError> {
        let context = self.context;
        self.refuse_toolchains()?;
        let title = match self.plan.platform.is_build() {
            true => "image: layers and manifest".to_owned(),
            false => format!("image for {}: layers and manifest", self.plan.platform),
        };
        context.told(Activity::Assemble, &title, |id| {
            let (action, stands) = (self.action()?, self.stands()?);
            let tainted = stands.tainted;
            if let Some(image) = context.earlier::<Assembled>(&action, stands)?
                && self.is_there(&image)?
            {
                let made = || self.made(id).map(|(placed, _, plan)| (placed, plan));
                let ownership = Some(self.keep_ownership(&image.manifest.digest, stands, made)?);
                return Ok((Assembled { tainted, ownership, ..image }, Ending::Cached));
            }
            let (placed, asked, plan) = self.made(id)?;
            let open = |index: usize, path: &CleanPath, _: &Node| {
                let placed = placed.get(index).ok_or(std::io::ErrorKind::NotFound)?;
                placed.open(path)
            };
            let image = assemble(context.store, &plan, &open, context.settings.jobs)?;
            let image = Assembled { withheld: rights::withheld(asked, &plan.capabilities), tainted, ..image };
            context.keep(&action, &image, stands)?;
            let ownership = self.keep_ownership(&image.manifest.digest, stands, || Ok((placed, plan)))?;
            Ok((Assembled { ownership: Some(ownership), ..image }, Ending::Done))
        })
    }

    /// Gives all that the image is made of, and the capabilities that packages ask for.
    fn made(&self, id: ActivityId) -> Result<(Vec<Placed>, Vec<Asked>, ImagePlan), BuildError> {
        let progress = |done| {
            let total = self.plan.roots.get(ROOT).map(|root| root.packages.len() as u64);
            self.context.observer.event(&Event::Progress { id, done, total, unit: "packages" });
        };
        let base = self.base()?;
        let (placed, asked) = self.inputs(base.as_ref(), &progress)?;
        let plan = self.plan_of(&placed, base)?;
        Ok((placed, asked, plan))
    }

    /// Gives what the outputs that are copied stand on.
    fn stands(&self) -> Result<Standing, BuildError> {
        let outputs = self.spec.image.copy.iter().filter_map(|copy| match &copy.from {
            Origin::Output(output) => Some(output_of(self.ended, &output.stage, &output.output)),
            Origin::Source { .. } => None,
        });
        outputs.into_iter().try_fold(Standing::default(), |stands, output| Ok(stands.and(output?.stands)))
    }

    fn refuse_toolchains(&self) -> Result<(), BuildError> {
        if self.spec.image.allow.toolchain.is_some() || !matches!(self.spec.image.base, Base::Debian { .. }) {
            return Ok(());
        }
        let packages = self.plan.roots.get(ROOT).into_iter().flat_map(|root| &root.packages);
        match packages.into_iter().find(|package| Spec::is_toolchain(&package.name)) {
            Some(package) => Err(BuildError::Toolchain { package: package.name.clone() }),
            None => Ok(()),
        }
    }

    fn is_there(&self, image: &Assembled) -> Result<bool, BuildError> {
        let documents = [&image.index, &image.manifest, &image.config].map(|descriptor| descriptor.digest);
        for digest in documents.into_iter().chain(image.layers.iter().map(|layer| layer.digest)) {
            if !self.context.blob(&digest)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn action(&self) -> Result<Digest, BuildError> {
        let mut packages: Vec<Digest> = self.planned().map(|package| package.digest).collect();
        packages.sort();
        let copies = self
            .spec
            .image
            .copy
            .iter()
            .map(|copy| {
                Ok(match &copy.from {
                    Origin::Output(output) => {
                        let found = output_of(self.ended, &output.stage, &output.output)?;
                        format!("{} {} {} {:?}", found.tree, found.single, found.mode, found.owner)
                    }
                    Origin::Source { source, .. } => {
                        let read = self.sources.get(source).ok_or_else(|| internal("a source that was not read"))?;
                        read.source.digest().to_string()
                    }
                })
            })
            .collect::<Result<Vec<_>, BuildError>>()?;
        let image = serde_json::to_value(&self.spec.image).map_err(|e| internal(&e.to_string()))?;
        let name = self.spec.name.to_string();
        Ok(Action::Image {
            format: FORMAT,
            name: &name,
            platform: self.plan.platform,
            image: &image,
            packages: &packages,
            base: self.planned_base().map(|planned| planned.manifest),
            copies: &copies,
            epoch: self.plan.epoch,
        }
        .digest())
    }

    fn planned_base(&self) -> Option<&PlannedImage> {
        let Base::Image(reference) = &self.spec.image.base else { return None };
        self.plan.images.get(&ImageKey::new(reference, self.plan.platform).to_string())
    }

    /// Gives the image of a registry that this one stands on.
    fn base(&self) -> Result<Option<base::Base>, BuildError> {
        self.planned_base().map(|planned| base::get(self.context, planned)).transpose()
    }

    fn planned(&self) -> impl Iterator<Item = &bulla_model::plan::PlannedPackage> {
        self.plan.roots.get(ROOT).into_iter().flat_map(|root| &root.packages)
    }

    /// Gives the inputs in the order of precedence, and the capabilities that packages ask for.
    fn inputs(
        &self,
        base: Option<&base::Base>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(Vec<Placed>, Vec<Asked>), BuildError> {
        let image = &self.spec.image;
        let mut asked = Vec::new();
        let mut placed = match &image.base {
            Base::Debian { scripts: Scripts::Run { .. }, .. } => {
                let (placed, given) = self.configured(progress)?;
                asked = given;
                placed
            }
            Base::Debian { debian, .. } => {
                let (mut placed, packages) = self.packages(progress)?;
                let moved = settle(&mut placed, &packages)?;
                let made;
                (made, asked) = self.native(&placed, &packages, &debian.release.codename, &|_| true)?;
                // What moves files of others away is refused by its script; what says so and does not is a conflict.
                moved.map_or(Ok(()), Err)?;
                placed.push(made);
                placed
            }
            // Only for looking into it: its layers are not written again.
            Base::Image(_) => base.map(|base| self.below(base)).transpose()?.unwrap_or_default(),
            Base::Scratch(_) => {
                let (mut placed, packages) = self.packages(progress)?;
                let codename = "";
                let wanted = |path: &CleanPath| SCRATCH.iter().any(|name| path.as_bytes() == name.as_bytes());
                let (made, _) = self.native(&placed, &packages, codename, &wanted)?;
                let zones = CleanPath::parse(ZONES)?;
                for one in &mut placed {
                    let mut kept: Tree = one
                        .input
                        .tree
                        .iter()
                        .filter(|(path, _)| path.starts_with(&zones))
                        .map(|(path, node)| (path.clone(), node.clone()))
                        .collect();
                    kept.complete();
                    one.input.tree = kept;
                }
                placed.push(made);
                placed
            }
        };
        self.check_user(image, &placed)?;
        if base.is_some() {
            placed.remove(0);
        }
        for copy in &image.copy {
            placed.push(self.copy(copy, base)?);
        }
        Ok((placed, asked))
    }

    /// Gives what the image below has, and the accounts that are added to it.
    fn below(&self, base: &base::Base) -> Result<Vec<Placed>, BuildError> {
        let origin = Part::Derived { name: "base".to_owned() };
        let input = Input { origin, tree: base.tree.manifest().as_ref().clone(), time: self.plan.epoch };
        let mut placed = vec![Placed { input, bytes: Bytes::Tree(base.tree.clone()) }];
        if !self.spec.image.users.is_empty() {
            let mut accounts = self.accounts(&placed)?;
            let etc = CleanPath::parse("etc")?;
            if let (Some(own), Some(node)) = (accounts.input.tree.get_mut(&etc), base.tree.manifest().get(&etc)) {
                *own = node.clone();
            }
            with_directories(&mut accounts.input.tree, base.tree.manifest(), "/etc/passwd")?;
            placed.push(accounts);
        }
        Ok(placed)
    }

    fn packages(&self, progress: &(dyn Fn(u64) + Sync)) -> Result<(Vec<Placed>, Vec<Package>), BuildError> {
        let planned: Vec<_> = self.planned().cloned().collect();
        let unpacked = packages::unpack(self.context, &planned, progress)?;
        let mut placed = Vec::new();
        let mut packages = Vec::new();
        for (planned, unpacked) in planned.into_iter().zip(unpacked) {
            let stored = outputs::load(self.context, &unpacked.tree)?;
            let origin = Part::Package { name: planned.name, version: planned.version, source: planned.source };
            let input = Input { origin, tree: stored.manifest().as_ref().clone(), time: unpacked.package.newest };
            placed.push(Placed { input, bytes: Bytes::Tree(stored) });
            packages.push(unpacked.package);
        }
        Ok((placed, packages))
    }

    /// Makes what maintainer scripts would have made.
    fn native(
        &self,
        placed: &[Placed],
        packages: &[Package],
        codename: &str,
        wanted: &dyn Fn(&CleanPath) -> bool,
    ) -> Result<(Placed, Vec<Asked>), BuildError> {
        let mut merged = Tree::new();
        for one in placed {
            merged.apply(&one.input.tree);
        }
        let read = |path: &CleanPath| {
            let (real, _) = merged.file(path)?;
            let one = placed.iter().rev().find(|one| one.input.tree.file(real).is_some())?;
            let mut bytes = Vec::new();
            one.open(real).ok()?.take(MAX_READ).read_to_end(&mut bytes).ok()?;
            Some(bytes)
        };
        let (users, keep_set_id) = (self.spec.image.users.as_slice(), &rights::keep_set_id(&self.spec.image, None));
        let platform = self.plan.platform;
        let request = native::Request { tree: &merged, read: &read, packages, users, codename, keep_set_id, platform };
        let made = native::equivalents(&request)?;
        let nodes = made.entries.into_iter().filter(|(path, _)| wanted(path)).map(|(path, entry)| {
            let made = match entry {
                Entry::Directory { mode, owner } => Made::Directory(mode, owner),
                Entry::File { mode, owner, content } => Made::File(mode, owner, content),
                Entry::Symlink { target } => Made::Symlink(target.into_vec()),
            };
            (path, made)
        });
        let tree = small_tree(self.context, nodes, Epoch::default())?;
        let stored = outputs::load(self.context, &tree)?;
        let origin = Part::Derived { name: "system files".to_owned() };
        // Its content follows from the packages, and so does its time.
        let time = packages.iter().map(|package| package.newest).max().unwrap_or(self.plan.epoch);
        let input = Input { origin, tree: stored.manifest().as_ref().clone(), time };
        Ok((Placed { input, bytes: Bytes::Tree(stored) }, made.asked))
    }

    /// Makes the base by running the packages' own scripts, as for a stage. Gives the capabilities that they gave to files.
    fn configured(&self, progress: &(dyn Fn(u64) + Sync)) -> Result<(Vec<Placed>, Vec<Asked>), BuildError> {
        let planned = self.plan.roots.get(ROOT).ok_or_else(|| internal("an image without packages in the plan"))?;
        let emulator = self.plan.emulator_for(planned.native);
        let root = self.roots.get(self.context, ROOT, planned, emulator, self.plan.epoch)?;
        let (mut placed, _) = self.packages(progress)?;
        let root = root.configured().ok_or_else(|| internal("packages that are an image"))?;
        root.hide(|index, path| {
            if let Some(one) = placed.get_mut(index) {
                one.input.tree.remove(path);
            }
        });
        for tree in root.added() {
            let stored = outputs::load(self.context, &tree)?;
            let input = Input {
                origin: Part::Derived { name: CONFIGURED.to_owned() },
                tree: stored.manifest().as_ref().clone(),
                time: self.plan.epoch,
            };
            placed.push(Placed { input, bytes: Bytes::Tree(stored) });
        }
        if !self.spec.image.users.is_empty() {
            placed.push(self.accounts(&placed)?);
        }
        Ok((placed, rights::asked(&root.result.record)))
    }

    /// Adds the users of the spec to the accounts that scripts made.
    fn accounts(&self, placed: &[Placed]) -> Result<Placed, BuildError> {
        let users = &self.spec.image.users;
        let passwd = users.iter().map(|user| {
            let Owner { uid, gid } = user.owner;
            format!("{}:x:{uid}:{gid}::{}:{}\n", user.name, user.home, user.shell)
        });
        let group = users.iter().map(|user| format!("{}:x:{}:\n", user.name, user.owner.gid));
        let mut nodes = Vec::new();
        for (file, lines) in [("etc/passwd", passwd.collect::<String>()), ("etc/group", group.collect())] {
            let path = CleanPath::parse(file)?;
            let mut text = read_text(placed, &path).unwrap_or_default();
            text.push_str(&lines);
            nodes.push((path, Made::File(Mode::new(0o644), Owner::ROOT, text.into_bytes())));
        }
        let tree = small_tree(self.context, nodes, Epoch::default())?;
        let stored = outputs::load(self.context, &tree)?;
        let origin = Part::Derived { name: "accounts".to_owned() };
        let input = Input { origin, tree: stored.manifest().as_ref().clone(), time: self.plan.epoch };
        Ok(Placed { input, bytes: Bytes::Tree(stored) })
    }

    fn copy(&self, copy: &Copy, base: Option<&base::Base>) -> Result<Placed, BuildError> {
        let mut copy = copy.clone();
        copy.to = rights::real(&self.spec.image, base.map(|base| base.tree.manifest().as_ref()), &copy.to);
        let copy = &copy;
        let (mut tree, bytes) = match &copy.from {
            Origin::Output(output) => {
                let found = output_of(self.ended, &output.stage, &output.output)?;
                let stored = outputs::load(self.context, &found.tree)?;
                let tree = outputs::placed(found, stored.manifest(), &copy.to)?;
                (tree, Bytes::Output(stored, found.clone(), Box::new(copy.clone())))
            }
            Origin::Source { source, path } => self.of_source(copy, source, path.as_ref())?,
        };
        let mut changed = Tree::new();
        for (path, mut node) in std::mem::take(&mut tree) {
            // The directories above the target are not the copy's own.
            let own = copy.to.clean().is_none_or(|to| path.starts_with(to));
            if let Some(owner) = copy.owner.filter(|_| own) {
                node.set_owner(owner);
            }
            if let (Some(mode), Node::File { .. }) = (copy.mode, &node) {
                node.set_mode(mode);
            }
            if own || copy.to.clean().is_none() {
                changed.insert(path, node);
            }
        }
        if let Some(base) = base {
            with_directories(&mut changed, base.tree.manifest(), &copy.to.to_string())?;
        }
        let layer = copy.layer.as_ref().map(ToString::to_string);
        let origin = Part::Copy { name: copy.from.to_string(), layer };
        Ok(Placed { input: Input { origin, tree: changed, time: self.plan.epoch }, bytes })
    }

    fn of_source(&self, copy: &Copy, source: &Name, path: Option<&CleanPath>) -> Result<(Tree, Bytes), BuildError> {
        let read = self.sources.get(source).ok_or_else(|| internal("a source that was not read"))?;
        let inside = |file: &CleanPath| path.is_none_or(|path| file.starts_with(path));
        let view = read.cache.view(&read.source, &inside, &read.at)?;
        let top = match path {
            Some(path) => read.at.join(path)?,
            None => read.at.clone(),
        };
        let missing = || BuildError::NoSourcePath {
            source_name: source.clone(),
            path: path.cloned().unwrap_or_else(|| read.at.clone()),
        };
        let node = view.manifest().get(&top).ok_or_else(missing)?;
        let single = !node.is_directory();
        let shape =
            OutputResult { tree: view.digest(), single, mode: 0o755, owner: Owner::ROOT, stands: Standing::default() };
        let tree = if single {
            [(CleanPath::parse(top.name())?, node.clone())].into_iter().collect()
        } else {
            view.manifest().subtree(&top)
        };
        let tree = outputs::placed(&shape, &tree, &copy.to)?;
        let folder = crate::assemble::Folder::new(view.path())
            .map_err(|_| BuildError::Gone { what: format!("source {source}") })?;
        Ok((tree, Bytes::View(folder, Box::new(copy.clone()), Some(top), single)))
    }

    fn check_user(&self, image: &Image, placed: &[Placed]) -> Result<(), BuildError> {
        let accounts = |file: &str| read_text(placed, &file.parse().expect("a clean path"));
        let known = |text: Option<String>, name: &str| {
            text.is_some_and(|text| text.lines().any(|line| line.split(':').next() == Some(name)))
        };
        let wanted = [(Some(&image.user.user), "etc/passwd"), (image.user.group.as_ref(), "etc/group")];
        for (id, file) in wanted {
            if let Some(Id::Name(name)) = id
                && !known(accounts(file), name)
            {
                return Err(BuildError::NoAccount { user: name.clone() });
            }
        }
        Ok(())
    }

    fn plan_of(&self, placed: &[Placed], base: Option<base::Base>) -> Result<ImagePlan, BuildError> {
        let image = &self.spec.image;
        let mut plan = ImagePlan::new(self.plan.platform, self.plan.epoch);
        plan.inputs = placed.iter().map(|one| one.input.clone()).collect();
        plan.runtime = runtime(image);
        let below = base.as_ref().map(|base| base.tree.manifest().as_ref());
        plan.keep_set_id = rights::keep_set_id(image, below);
        plan.capabilities = rights::capabilities(image, below);
        if let Some(base) = base {
            plan.runtime = over(plan.runtime, base.config.config);
            plan.base = Some(base.image);
        }
        plan.annotations = image.annotations.clone();
        plan.annotations
            .entry("org.opencontainers.image.title".to_owned())
            .or_insert_with(|| self.spec.name.to_string());
        plan.budget = image.layers as usize;
        plan.compression = image.compression;
        Ok(plan)
    }
}

/// Takes from packages the paths that they lose to others. Gives the error of one that would have to move another's file
/// away first.
fn settle(placed: &mut [Placed], packages: &[Package]) -> Result<Option<BuildError>, BuildError> {
    let fail = |source| BuildError::Database { root: ROOT.to_owned(), source };
    let manifests: Vec<&Tree> = placed.iter().map(|one| &one.input.tree).collect();
    let settled = dpkg::settle(packages, &manifests).map_err(fail)?;
    for (index, path) in settled.hidden {
        if let Some(one) = placed.get_mut(index) {
            one.input.tree.remove(&path);
        }
    }
    let conflict = settled.late.into_values().next().map(|path| {
        let all = packages.iter().zip(placed.iter());
        let claims = all.filter(|(_, one)| one.input.tree.get(&path).is_some_and(|node| !node.is_directory()));
        let packages = claims.map(|(package, _)| package.control.name().to_owned()).collect();
        fail(dpkg::DatabaseError::Conflict { path, packages })
    });
    Ok(conflict)
}

/// The most bytes of a file that is read whole to derive others from it.
const MAX_READ: u64 = 64 << 20;

/// Reads a small file of what was put together so far.
fn read_text(placed: &[Placed], path: &CleanPath) -> Option<String> {
    let one = placed.iter().rev().find(|one| one.input.tree.get(path).is_some())?;
    let mut text = String::new();
    one.open(path).ok()?.take(MAX_READ).read_to_string(&mut text).ok()?;
    Some(text)
}

fn runtime(image: &Image) -> oci::Runtime {
    oci::Runtime {
        user: image.user.to_string(),
        exposed_ports: image.ports.iter().map(|port| (port.to_string(), oci::Empty {})).collect(),
        env: image.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        entrypoint: image.entrypoint.clone(),
        cmd: image.command.clone(),
        volumes: image.volumes.iter().map(|path| (path.to_string(), oci::Empty {})).collect(),
        working_dir: image.workdir.to_string(),
        labels: image.labels.clone(),
        stop_signal: image.stop_signal.clone().unwrap_or_default(),
    }
}

/// Fills in, as Docker does, what a spec does not say about how its image runs with what the image below says. Who runs it is
/// always the spec's to say; the arguments of another program are none of this one's.
fn over(own: oci::Runtime, below: oci::Runtime) -> oci::Runtime {
    let name = |line: &String| line.split('=').next().unwrap_or_default().to_owned();
    let set: BTreeSet<String> = own.env.iter().map(name).collect();
    let kept = below.env.into_iter().filter(|line| !set.contains(&name(line)));
    let (entrypoint, cmd) = match (own.entrypoint.is_empty(), own.cmd.is_empty()) {
        (false, _) => (own.entrypoint, own.cmd),
        (true, false) => (below.entrypoint, own.cmd),
        (true, true) => (below.entrypoint, below.cmd),
    };
    oci::Runtime {
        user: own.user,
        exposed_ports: below.exposed_ports.into_iter().chain(own.exposed_ports).collect(),
        env: kept.chain(own.env).collect(),
        entrypoint,
        cmd,
        volumes: below.volumes.into_iter().chain(own.volumes).collect(),
        working_dir: if own.working_dir == "/" && !below.working_dir.is_empty() {
            below.working_dir
        } else {
            own.working_dir
        },
        labels: below.labels.into_iter().chain(own.labels).collect(),
        stop_signal: if own.stop_signal.is_empty() { below.stop_signal } else { own.stop_signal },
    }
}

/// Gives the directories above what is copied the modes and owners that they have in the image below, and sees that nothing of it
/// would take the place of a link there: what a layer says of a directory holds for the image.
fn with_directories(tree: &mut Tree, base: &Tree, to: &str) -> Result<(), BuildError> {
    let paths: Vec<(CleanPath, bool)> = tree.iter().map(|(path, node)| (path.clone(), node.is_directory())).collect();
    for (path, is_directory) in paths {
        for above in path.ancestors().filter(|above| is_directory || *above != path) {
            match base.get(&above) {
                Some(node @ Node::Directory { .. }) if tree.get(&above).is_none() => {
                    tree.insert(above, node.clone());
                }
                None | Some(Node::Directory { .. }) => {}
                Some(_) => return Err(BuildError::OverLink { to: to.to_owned(), path: above }),
            }
        }
    }
    Ok(())
}

impl Placed {
    /// Opens a file of the image.
    fn open(&self, path: &CleanPath) -> std::io::Result<Box<dyn std::io::Read>> {
        let gone = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let other = |error: bulla_store::Error| std::io::Error::other(error);
        match &self.bytes {
            Bytes::Tree(stored) => Ok(Box::new(stored.open_file(path).map_err(other)?)),
            Bytes::Output(stored, output, copy) => {
                let short = outputs::unplaced(output, stored.manifest(), &copy.to, path).ok_or_else(gone)?;
                Ok(Box::new(stored.open_file(&short).map_err(other)?))
            }
            Bytes::View(folder, copy, top, single) => {
                let below = match (copy.to.clean(), single) {
                    (_, true) => None,
                    (None, false) => Some(path.clone()),
                    (Some(to), false) => Some(path.strip_prefix(to).ok_or_else(gone)?),
                };
                let real = match (top, below) {
                    (Some(top), Some(below)) => top.join(&below).map_err(std::io::Error::other)?,
                    (Some(top), None) => top.clone(),
                    (None, Some(below)) => below,
                    (None, None) => return Err(gone()),
                };
                Ok(Box::new(folder.open(&real)?))
            }
        }
    }
}
