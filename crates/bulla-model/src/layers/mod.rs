//! The cut: which input of an image goes into which layer, and what each layer's tar holds.
//!
//! First every path is given to one input ([`settle()`]), so that no file is in two layers. Then inputs are grouped:
//! packages by their source package, since those change together; the large groups get layers of their own, and the small
//! ones share one. Package layers stand in the order of their dates, so that what was updated last comes last and the layers
//! beneath it keep their chain; then what was derived from packages, then the layers that the spec names, then the rest of
//! the application. Nothing but the inputs decides.
//!
//! Each layer has a skeleton with the directories that it names first and all that lie above its files. The latter must be
//! repeated in later layers: Docker unpacks a layer alone and makes a directory that is missing with a mode of its own.

mod settle;

use std::collections::{BTreeMap, BTreeSet};

pub use settle::{SettleError, Settled, settle};

use crate::{
    CleanPath, Epoch, Tree,
    image::{ImagePlan, Input, Origin},
    path::printable,
    tar::FileCapabilities,
    tree::Node,
};

/// The least size of a source package's files, in bytes, for which a layer of its own is worth a request.
const OWN_LAYER: u64 = 2 << 20;

/// The packages' layers hold at least this many of the budget, whatever else there is.
const MIN_PACKAGE_LAYERS: usize = 1;

/// A layer: its parts are written one after the other, the skeleton first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// What the layer is, for people: the name of a source package, of the spec's layer, or `packages`.
    pub title: String,
    /// The directories.
    pub skeleton: Tree,
    /// The time of the directories: the newest of the parts, so that a layer does not change when only the epoch moves.
    pub time: Epoch,
    /// Files and links, one part an input.
    pub parts: Vec<Part>,
}

/// The files and links that one input gives to a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The place of the input in [`ImagePlan::inputs`].
    pub input: usize,
    /// The files and links; no directories. Empty for a package that has no file.
    pub tree: Tree,
    /// The capabilities of those of the files that have any.
    pub capabilities: FileCapabilities,
    /// Their time, not after the image's epoch.
    pub time: Epoch,
}

/// What the cut gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The layers, lowest first; none is empty.
    pub layers: Vec<Layer>,
    /// The files that lost their set-user-id or set-group-id bits.
    pub stripped: BTreeSet<CleanPath>,
}

/// Cuts an image into layers.
///
/// # Errors
/// When inputs contradict each other, or hold what an image cannot: see [`SettleError`].
pub fn cut(plan: &ImagePlan) -> Result<Cut, SettleError> {
    let settled = settle(&plan.inputs, &plan.keep_set_id)?;
    let mut granted = grants(plan, &settled.trees)?;
    let mut written = BTreeSet::new();
    let mut layers = Vec::new();
    for Group { title, inputs, .. } in groups(plan, &settled.trees) {
        let parts: Vec<Part> = inputs
            .into_iter()
            .filter_map(|input| {
                let time = plan.inputs.get(input)?.time.min(plan.epoch);
                let capabilities = granted.remove(&input).unwrap_or_default();
                Some(Part { input, tree: settled.trees.get(input)?.clone(), capabilities, time })
            })
            .collect();
        let skeleton = skeleton(&parts, &settled, &mut written);
        let time = parts.iter().map(|part| part.time).max().unwrap_or(plan.epoch);
        if !skeleton.is_empty() || parts.iter().any(|part| !part.tree.is_empty()) {
            layers.push(Layer { title, skeleton, time, parts });
        }
    }
    Ok(Cut { layers, stripped: settled.stripped })
}

/// Gives to each input the capabilities of its files. One that is for no file would be a right that somebody counts on and nobody
/// has, and so is an error.
fn grants(plan: &ImagePlan, trees: &[Tree]) -> Result<BTreeMap<usize, FileCapabilities>, SettleError> {
    let mut granted = BTreeMap::<usize, FileCapabilities>::new();
    for (path, capabilities) in &plan.capabilities {
        let found = trees.iter().enumerate().find_map(|(input, tree)| Some((input, tree.get(path)?)));
        let stands = match found {
            Some((input, Node::File { .. })) => {
                granted.entry(input).or_default().insert(path.clone(), *capabilities);
                continue;
            }
            Some((_, Node::Hardlink { target })) => format!("it is a further name of /{target}"),
            Some((_, Node::Symlink { target, .. })) => format!("it is a link to {}", printable(target)),
            _ if plan.base.is_some() => "this is none of the files that are added to the image below".to_owned(),
            _ => "there is no file".to_owned(),
        };
        return Err(SettleError::Capabilities { path: path.clone(), stands });
    }
    Ok(granted)
}

/// Inputs that share a layer.
struct Group {
    title: String,
    inputs: Vec<usize>,
    size: u64,
    time: Epoch,
}

fn groups(plan: &ImagePlan, trees: &[Tree]) -> Vec<Group> {
    let (mut sources, mut derived, mut named, mut application) =
        (BTreeMap::<String, Vec<usize>>::new(), Vec::new(), Vec::<(String, Vec<usize>)>::new(), Vec::new());
    for (index, input) in plan.inputs.iter().enumerate() {
        match &input.origin {
            Origin::Package { source, .. } => sources.entry(source.clone()).or_default().push(index),
            Origin::Derived { .. } => derived.push(index),
            Origin::Copy { layer: None, .. } => application.push(index),
            Origin::Copy { layer: Some(name), .. } => match named.iter_mut().find(|(other, _)| other == name) {
                Some((_, inputs)) => inputs.push(index),
                None => named.push((name.clone(), vec![index])),
            },
        }
    }
    let group = |title: String, mut inputs: Vec<usize>| {
        inputs.sort_by(|a, b| order(plan.inputs.get(*a)).cmp(&order(plan.inputs.get(*b))).then(a.cmp(b)));
        let size = inputs.iter().filter_map(|index| trees.get(*index)).map(Tree::size).sum();
        let time = inputs.iter().filter_map(|index| plan.inputs.get(*index)).map(|input| input.time).max();
        Group { title, inputs, size, time: time.unwrap_or_default() }
    };
    let others = usize::from(!derived.is_empty()) + named.len() + usize::from(!application.is_empty());
    let budget = plan.budget.saturating_sub(others).max(MIN_PACKAGE_LAYERS);
    let mut groups =
        packages(sources.into_iter().map(|(source, inputs)| group(source, inputs)).collect(), budget, group);
    let rest =
        [("system".to_owned(), derived)].into_iter().chain(named).chain([("application".to_owned(), application)]);
    // The order of copies is the spec's; `group` would sort them.
    groups.extend(rest.filter(|(_, inputs)| !inputs.is_empty()).map(|(title, inputs)| Group {
        title,
        inputs,
        size: 0,
        time: plan.epoch,
    }));
    groups
}

/// The order of packages within a layer: by name, whatever order they were given in.
fn order(input: Option<&Input>) -> Option<&Origin> {
    input.map(|input| &input.origin)
}

/// Gives the large groups a layer each as far as the budget goes, and puts the others together.
fn packages(mut groups: Vec<Group>, budget: usize, join: impl Fn(String, Vec<usize>) -> Group) -> Vec<Group> {
    groups.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.title.cmp(&b.title)));
    let own = groups.iter().take_while(|group| group.size >= OWN_LAYER).count();
    // Where every group is large enough and they fit, nothing is left to share a layer.
    let own = if own == groups.len() && own <= budget { own } else { own.min(budget - 1) };
    let rest: Vec<usize> = groups.drain(own..).flat_map(|group| group.inputs).collect();
    if !rest.is_empty() {
        groups.push(join("packages".to_owned(), rest));
    }
    groups.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| a.title.cmp(&b.title)));
    groups
}

/// Gives the directories of a layer: all above its files, and those of its inputs that no earlier layer has.
fn skeleton(parts: &[Part], settled: &Settled, written: &mut BTreeSet<CleanPath>) -> Tree {
    let mut wanted = BTreeSet::new();
    let above = |path: &CleanPath, wanted: &mut BTreeSet<CleanPath>| {
        let mut parent = path.parent();
        while let Some(directory) = parent {
            parent = directory.parent();
            if !wanted.insert(directory) {
                break;
            }
        }
    };
    for part in parts {
        for (path, _) in part.tree.iter() {
            above(path, &mut wanted);
        }
        for path in settled.named.get(part.input).into_iter().flatten() {
            if !written.contains(path) {
                above(path, &mut wanted);
                wanted.insert(path.clone());
            }
        }
    }
    written.extend(wanted.iter().cloned());
    let node = |path: &CleanPath| settled.directories.get(path).cloned().unwrap_or(Node::directory(0o755));
    wanted
        .into_iter()
        .map(|path| {
            let node = node(&path);
            (path, node)
        })
        .collect()
}

#[cfg(test)]
mod tests;
