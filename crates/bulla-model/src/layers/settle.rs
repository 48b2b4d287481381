//! Gives every path of an image to exactly one input.
//!
//! The rules, in the order of the inputs:
//! - a copy's file, or a derived one, replaces the file of an earlier input; two packages may share a path only when both
//!   have the same there, as the archive's own tools would refuse it otherwise;
//! - a directory keeps the attributes of the input that named it first, as with `dpkg`; a derived input, which is a delta,
//!   sets its own;
//! - a directory and something else at one path contradict each other, and so does a path beneath a link or file; only a
//!   delta may replace one by the other;
//! - set-user-id and set-group-id bits of files are dropped unless the plan keeps them. On directories they grant nothing and
//!   stay. File capabilities are not in trees: a file has those that the plan gives it, and no others.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    CleanPath, Tree,
    fault::{Fault, Kind},
    image::{Input, Origin},
    tree::Node,
};

/// The inputs of an image without contradictions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// For each input its files and links; no directories, no whiteouts.
    pub trees: Vec<Tree>,
    /// For each input the directories that it names.
    pub named: Vec<BTreeSet<CleanPath>>,
    /// Every directory of the image, with its attributes.
    pub directories: BTreeMap<CleanPath, Node>,
    /// The files that lost their set-user-id or set-group-id bits.
    pub stripped: BTreeSet<CleanPath>,
}

/// Says why inputs cannot be in one image.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// Two packages have different files at one path.
    #[error("packages {first} and {second} have different files at /{path}")]
    Packages {
        /// The path.
        path: CleanPath,
        /// The earlier package.
        first: String,
        /// The later package.
        second: String,
    },
    /// A directory here, something else there.
    #[error("/{path} is {first_kind} in {first} and {second_kind} in {second}")]
    Kinds {
        /// The path.
        path: CleanPath,
        /// The earlier input.
        first: String,
        /// What it has there.
        first_kind: &'static str,
        /// The later input.
        second: String,
        /// What it has there.
        second_kind: &'static str,
    },
    /// Something beneath a path that is no directory.
    #[error("{second} puts /{path} beneath /{above}, which is {kind} in {first}")]
    Beneath {
        /// The path.
        path: CleanPath,
        /// What lies above it and is no directory.
        above: CleanPath,
        /// What it is.
        kind: &'static str,
        /// Whose it is.
        first: String,
        /// Whose path it is.
        second: String,
    },
    /// Capabilities for what is no file.
    #[error("the capabilities for /{path} cannot be given: {stands}")]
    Capabilities {
        /// The path.
        path: CleanPath,
        /// What is there.
        stands: String,
    },
    /// A name that cannot be in an image.
    #[error("{origin} has the name or link target `{path}`, which is not UTF-8 and so cannot be in an image")]
    NotUtf8 {
        /// The path, made printable.
        path: CleanPath,
        /// Whose path it is.
        origin: String,
    },
    /// A hard link that leads to nothing.
    #[error("{origin} has a hard link /{path} to /{target}, which is not a file of it")]
    DanglingLink {
        /// The link.
        path: CleanPath,
        /// Where it should lead.
        target: CleanPath,
        /// Whose link it is.
        origin: String,
    },
}

impl Fault for SettleError {
    fn kind(&self) -> Kind {
        if matches!(self, Self::DanglingLink { .. }) { Kind::Internal } else { Kind::Spec }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Packages { .. } => vec!["ask for one of the two packages, not both".into()],
            Self::Kinds { .. } | Self::Beneath { .. } => {
                vec!["copy to a path that is not a link in the packages: on Debian /bin, /sbin and /lib* are links into /usr".into()]
            }
            Self::Capabilities { .. } => {
                vec!["name the regular file itself under `image.allow.capabilities`; `bulla inspect --files` lists an image's files".into()]
            }
            Self::NotUtf8 { .. } => vec!["rename the file, or leave it out of the output".into()],
            Self::DanglingLink { .. } => Vec::new(),
        }
    }
}

type Merged = BTreeMap<CleanPath, (usize, Node)>;

/// Gives every path to one input. `keep_set_id` are the files that keep their set-id bits.
///
/// # Errors
/// When inputs contradict each other, or a name is not UTF-8.
pub fn settle(inputs: &[Input], keep_set_id: &BTreeSet<CleanPath>) -> Result<Settled, SettleError> {
    let mut merged = Merged::new();
    let mut settled = Settled::default();
    for (index, input) in inputs.iter().enumerate() {
        let mut named = BTreeSet::new();
        for (path, node) in input.tree.iter() {
            check_names(path, node, &input.origin)?;
            if node.is_directory() {
                named.insert(path.clone());
            }
            lay(&mut merged, inputs, index, path, node)?;
        }
        settled.named.push(named);
    }
    for named in &mut settled.named {
        named.retain(|path| merged.get(path).is_some_and(|(_, node)| node.is_directory()));
    }
    let missing = check_parents(&merged, inputs)?;
    settled.directories.extend(missing.into_iter().map(|path| (path, Node::directory(0o755))));
    settled.trees = vec![Tree::new(); inputs.len()];
    for (path, (index, mut node)) in merged {
        if node.is_directory() {
            settled.directories.insert(path, node);
            continue;
        }
        if let Node::File { mode, .. } = &mut node
            && mode.is_set_id()
            && !keep_set_id.contains(&path)
        {
            *mode = mode.without_set_id();
            settled.stripped.insert(path.clone());
        }
        if let Some(tree) = settled.trees.get_mut(index) {
            tree.insert(path, node);
        }
    }
    for (tree, input) in settled.trees.iter_mut().zip(inputs) {
        relink(tree, input, keep_set_id)?;
    }
    Ok(settled)
}

fn check_names(path: &CleanPath, node: &Node, origin: &Origin) -> Result<(), SettleError> {
    let target = if let Node::Symlink { target, .. } = node { target } else { &Box::default() };
    if path.as_str().is_none() || std::str::from_utf8(target).is_err() {
        return Err(SettleError::NotUtf8 { path: path.clone(), origin: origin.to_string() });
    }
    Ok(())
}

/// Lays one entry over what is there.
fn lay(merged: &mut Merged, inputs: &[Input], index: usize, path: &CleanPath, node: &Node) -> Result<(), SettleError> {
    let origin = |index: usize| inputs.get(index).map(|input| &input.origin);
    let text = |index: usize| origin(index).map(ToString::to_string).unwrap_or_default();
    let is_delta = matches!(origin(index), Some(Origin::Derived { .. }));
    let plain = match node {
        Node::Whiteout => {
            clear(merged, path);
            return Ok(());
        }
        Node::Directory { mode, owner, opaque } => {
            if *opaque {
                clear(merged, path);
            }
            Node::Directory { mode: *mode, owner: *owner, opaque: false }
        }
        other => other.clone(),
    };
    if is_delta {
        // What becomes a file has nothing beneath it any more, also where nobody named the directory.
        if !plain.is_directory() {
            clear(merged, path);
        }
        merged.insert(path.clone(), (index, plain));
        return Ok(());
    }
    let Some((first, old)) = merged.get(path) else {
        merged.insert(path.clone(), (index, plain));
        return Ok(());
    };
    match (old.is_directory(), plain.is_directory()) {
        (true, true) => {}
        (false, false) => {
            let both_packages = [Some(*first), Some(index)]
                .into_iter()
                .all(|index| matches!(index.and_then(origin), Some(Origin::Package { .. })));
            if both_packages && *old != plain {
                return Err(SettleError::Packages { path: path.clone(), first: text(*first), second: text(index) });
            }
            merged.insert(path.clone(), (index, plain));
        }
        _ => {
            return Err(SettleError::Kinds {
                path: path.clone(),
                first: text(*first),
                first_kind: kind(old),
                second: text(index),
                second_kind: kind(&plain),
            });
        }
    }
    Ok(())
}

/// Takes away a path and all beneath it.
fn clear(merged: &mut Merged, path: &CleanPath) {
    let doomed: Vec<CleanPath> =
        merged.range(path..).map(|(path, _)| path).take_while(|other| other.starts_with(path)).cloned().collect();
    for path in doomed {
        merged.remove(&path);
    }
}

/// Checks that whatever lies above an entry is a directory, and gives the directories that nobody named.
fn check_parents(merged: &Merged, inputs: &[Input]) -> Result<BTreeSet<CleanPath>, SettleError> {
    let mut missing = BTreeSet::new();
    for (path, (index, _)) in merged {
        let mut parent = path.parent();
        while let Some(above) = parent {
            match merged.get(&above) {
                Some((_, node)) if node.is_directory() => break,
                None => {}
                Some((first, node)) => {
                    let text = |index: usize| inputs.get(index).map(|i| i.origin.to_string()).unwrap_or_default();
                    return Err(SettleError::Beneath {
                        path: path.clone(),
                        above,
                        kind: kind(node),
                        first: text(*first),
                        second: text(*index),
                    });
                }
            }
            parent = above.parent();
            if !missing.insert(above) {
                break;
            }
        }
    }
    Ok(missing)
}

/// Makes a file of the first hard link whose file went to another input, and leads the others to it.
fn relink(tree: &mut Tree, input: &Input, keep_set_id: &BTreeSet<CleanPath>) -> Result<(), SettleError> {
    let broken: Vec<(CleanPath, CleanPath)> = tree
        .iter()
        .filter_map(|(path, node)| match node {
            Node::Hardlink { target } if !matches!(tree.get(target), Some(Node::File { .. })) => {
                Some((path.clone(), target.clone()))
            }
            _ => None,
        })
        .collect();
    let mut heirs = BTreeMap::<CleanPath, CleanPath>::new();
    for (path, target) in broken {
        if let Some(heir) = heirs.get(&target) {
            tree.insert(path, Node::Hardlink { target: heir.clone() });
            continue;
        }
        let Some(file @ Node::File { mode, .. }) = input.tree.get(&target) else {
            return Err(SettleError::DanglingLink { path, target, origin: input.origin.to_string() });
        };
        let mut file = file.clone();
        if !keep_set_id.contains(&path) {
            file.set_mode(if mode.is_set_id() { mode.without_set_id() } else { *mode });
        }
        tree.insert(path.clone(), file);
        heirs.insert(target, path);
    }
    Ok(())
}

const fn kind(node: &Node) -> &'static str {
    match node {
        Node::Directory { .. } => "a directory",
        Node::File { .. } | Node::Hardlink { .. } => "a file",
        Node::Symlink { .. } => "a symbolic link",
        Node::Whiteout => "nothing",
    }
}
