//! Where a file of an image comes from.

use bulla_build::{
    inspect::{Entry, Flat, Layer, What},
    run::{StepNote, unpacked},
};
use bulla_ecosystems::debian::deb;
use bulla_model::{
    CleanPath, Digest, Platform,
    lock::{Lock, PackageKey},
    spec::{AbsolutePath, Base, Copy, Name, Origin, Source, Stage, StageBase, root_name, stage_label},
    tree::Node,
};

use super::{Ground, Link};

/// How many stages a chain goes through; a spec's stages have no cycle, and far fewer.
const MAX_STAGES: usize = 64;

impl Ground<'_> {
    /// Gives the chain of a file that a layer has.
    pub(crate) fn file(&self, flat: &Flat<'_>, number: usize, entry: &Entry) -> Vec<Link> {
        let Some(layer) = self.image.layers.get(number) else { return Vec::new() };
        let mut chain: Vec<Link> = self.layer(number).into_iter().collect();
        chain.extend(self.beneath(layer, flat, entry));
        chain
    }

    pub(super) fn layer(&self, number: usize) -> Option<Link> {
        let layer = self.image.layers.get(number)?;
        let title = layer.title.clone().or_else(|| layer.created_by.clone());
        Some(Link::Layer { number: number + 1, of: self.image.layers.len(), title, digest: layer.descriptor.digest })
    }

    fn beneath(&self, layer: &Layer, flat: &Flat<'_>, entry: &Entry) -> Vec<Link> {
        if layer.title.is_none() {
            let why = "the layer was not made by Bulla: its history does not say where files come from";
            return vec![Link::Unknown { why: why.to_owned() }];
        }
        if layer.origins.is_empty() {
            return vec![Link::Derived { what: "folders that lie above what other layers have".to_owned() }];
        }
        if let Some((copy, inside)) = self.copied(layer, &entry.path) {
            return self.of_copy(&copy, &inside);
        }
        let packages: Vec<PackageKey> = layer.origins.iter().filter_map(|origin| self.key_of(origin)).collect();
        let content = flat.content(entry);
        let (found, missing) = self.owners(&packages, &entry.path, &entry.what, content);
        if !found.is_empty() {
            return found.iter().flat_map(|key| self.pinned(key)).collect();
        }
        let derived = layer.origins.iter().find(|origin| self.key_of(origin).is_none() && !is_copy(origin));
        match (derived, missing.as_slice()) {
            (Some(what), []) => vec![Link::Derived { what: what.clone() }],
            (None, []) if packages.is_empty() => {
                let from = layer.origins.join(", ");
                vec![Link::Unknown {
                    why: format!("the spec has no copy that it would come from; the layer has {from}"),
                }]
            }
            (None, []) => vec![Link::Unknown { why: "no package of its layer has it like that".to_owned() }],
            (_, missing) => {
                let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
                let why = format!("it is of one of these, which are not in the store: {}", names.join(", "));
                vec![Link::Unknown { why }]
            }
        }
    }

    fn key_of(&self, origin: &str) -> Option<PackageKey> {
        let (name, version) = origin.split_once('=')?;
        Some(self.key(name, version))
    }

    /// Finds the packages that have a path as the image has it, and those of which nobody can tell.
    fn owners(
        &self,
        packages: &[PackageKey],
        path: &CleanPath,
        what: &What,
        content: Option<Digest>,
    ) -> (Vec<PackageKey>, Vec<PackageKey>) {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for key in packages {
            let pin = self.lock.and_then(|lock| lock.packages.get(key));
            let Some((tree, _)) = pin.and_then(|pin| unpacked(self.store, &pin.digest)) else {
                missing.push(key.clone());
                continue;
            };
            let has = match (what, tree.get(path)) {
                (_, None) => false,
                (What::Directory, Some(node)) => node.is_directory(),
                (What::Symlink(target), Some(Node::Symlink { target: of_package, .. })) => target == of_package,
                (What::File(_) | What::Hardlink(_), Some(_)) => {
                    matches!(tree.file(path), Some((_, Node::File { digest, .. })) if Some(*digest) == content)
                }
                _ => false,
            };
            if has {
                found.push(key.clone());
            }
        }
        (found, missing)
    }

    /// Finds the copy of the spec that a path came by, and the path in what was copied; `None` is all of it.
    fn copied(&self, layer: &Layer, path: &CleanPath) -> Option<(Copy, Option<CleanPath>)> {
        let image = &self.project?.spec.image;
        let debian = matches!(image.base, Base::Debian { .. });
        image.copy.iter().rev().find_map(|copy| {
            let to = if debian { usrmerged(&copy.to) } else { copy.to.clone() };
            let inside = beneath(&to, path)?;
            layer.origins.contains(&copy.from.to_string()).then(|| (copy.clone(), inside))
        })
    }

    fn of_copy(&self, copy: &Copy, inside: &Option<CleanPath>) -> Vec<Link> {
        let Some(project) = self.project else { return Vec::new() };
        match &copy.from {
            Origin::Source { source, path } => {
                let link = self.source(source, joined(path.as_ref(), inside.as_ref()).as_ref());
                vec![link]
            }
            Origin::Output(output) => {
                let base = project.spec.stages.get(&output.stage).and_then(|stage| stage.outputs.get(&output.output));
                let Some(path) = joined(base, inside.as_ref()) else { return Vec::new() };
                let mut chain = vec![Link::Copy { from: copy.from.to_string(), path: format!("/{path}") }];
                chain.extend(self.in_stages(&output.stage, path));
                chain
            }
        }
    }

    /// Follows a path through the steps of a stage and the stages before it.
    fn in_stages(&self, stage: &Name, path: CleanPath) -> Vec<Link> {
        let unknown = |why: &str| vec![Link::Unknown { why: why.to_owned() }];
        let Some(project) = self.project else { return Vec::new() };
        let Some(noted) = self.builds.iter().find(|noted| noted.build.digest == Some(self.image.digest)) else {
            return unknown(
                "the build of this image is not in the history of this store: which step made it is not kept",
            );
        };
        let (mut at, mut path, mut chain) = (stage.clone(), path, Vec::new());
        for _ in 0..MAX_STAGES {
            let Some(stage) = project.spec.stages.get(&at) else {
                return [chain, unknown("the spec is another one now")].concat();
            };
            let label = stage_label(&at, stage.platform, self.platform());
            let mut notes: Vec<&StepNote> =
                noted.notes.iter().filter(|note| note.stage == label && note.step > 0).collect();
            notes.sort_by_key(|note| std::cmp::Reverse(note.step));
            for note in notes {
                let tree = note.delta.and_then(|delta| self.store.tree(&delta).ok().flatten());
                let Some(tree) = tree else {
                    let why = format!("what {label}/{} left is not in the store any more", note.step);
                    return [chain, unknown(&why)].concat();
                };
                if tree.manifest().get(&path).is_some_and(|node| *node != Node::Whiteout) {
                    chain.push(Link::Step { stage: label, step: note.step, title: note.title.clone() });
                    return chain;
                }
            }
            let brought = stage.copy.iter().rev().find_map(|copy| {
                let inside = beneath(&usrmerged(&copy.to), &path)?;
                let base = project.spec.stages.get(&copy.from.stage)?.outputs.get(&copy.from.output);
                Some((copy, joined(base, inside.as_ref())?))
            });
            if let Some((copy, inside)) = brought {
                chain.push(Link::Copy { from: format!("output {}", copy.from), path: format!("/{inside}") });
                (at, path) = (copy.from.stage.clone(), inside);
                continue;
            }
            match &stage.base {
                StageBase::Stage(before) => at = before.clone(),
                StageBase::Debian(_) | StageBase::Image(_) => {
                    return [chain, self.below_steps(&at, stage, &path)].concat();
                }
            }
        }
        chain
    }

    /// What lies below all steps: a source, or the packages of the root.
    fn below_steps(&self, stage: &Name, base: &Stage, path: &CleanPath) -> Vec<Link> {
        let sources = self.project.iter().flat_map(|project| project.spec.sources.keys());
        for source in sources {
            if let Ok(place) = CleanPath::parse(format!("src/{source}"))
                && path.starts_with(&place)
            {
                return vec![self.source(source, path.strip_prefix(&place).as_ref())];
            }
        }
        if let StageBase::Image(reference) = &base.base {
            let why = format!("it comes with the image {reference}, which does not say where its files come from");
            return vec![Link::Unknown { why }];
        }
        let target = if base.platform.is_build() { Platform::BUILD } else { self.platform() };
        let name = root_name(&format!("stage.{stage}"), target);
        let root = self.lock.and_then(|lock: &Lock| lock.roots.get(&name));
        let packages: Vec<PackageKey> = root.iter().flat_map(|root| &root.packages).cloned().collect();
        for key in &packages {
            let pin = self.lock.and_then(|lock| lock.packages.get(key));
            if let Some((tree, _)) = pin.and_then(|pin| unpacked(self.store, &pin.digest))
                && tree.get(path).is_some_and(|node| !node.is_directory())
            {
                return self.pinned(key);
            }
        }
        vec![Link::Derived { what: format!("the maintainer scripts of the root of {stage}, or a folder of it") }]
    }

    fn source(&self, source: &Name, path: Option<&CleanPath>) -> Link {
        let shown = |path: Option<CleanPath>| path.map_or_else(|| ".".to_owned(), |path| path.to_string());
        match self.project.and_then(|project| project.spec.sources.get(source)) {
            Some(Source::Url(_) | Source::Git(_) | Source::Debian(_)) => {
                self.downloaded(source.as_str(), shown(path.cloned()))
            }
            Some(Source::Folder(folder)) => {
                Link::Source { source: source.to_string(), path: shown(joined(folder.path.as_ref(), path)) }
            }
            None => Link::Unknown { why: format!("the spec has no source {source} now") },
        }
    }
}

fn is_copy(origin: &str) -> bool {
    origin.starts_with("output ") || origin.starts_with("source ")
}

fn usrmerged(path: &AbsolutePath) -> AbsolutePath {
    path.clean().map_or(AbsolutePath::ROOT, |path| deb::usrmerged(path).into())
}

/// Gives what is left of a path beneath another; `Some(None)` where they are the same.
fn beneath(to: &AbsolutePath, path: &CleanPath) -> Option<Option<CleanPath>> {
    match to.clean() {
        None => Some(Some(path.clone())),
        Some(to) if to == path => Some(None),
        Some(to) => path.strip_prefix(to).map(Some),
    }
}

fn joined(base: Option<&CleanPath>, tail: Option<&CleanPath>) -> Option<CleanPath> {
    match (base, tail) {
        (Some(base), Some(tail)) => base.join(tail).ok(),
        (Some(path), None) | (None, Some(path)) => Some(path.clone()),
        (None, None) => None,
    }
}
