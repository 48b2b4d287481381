//! Why a step ran again: what it depends on now, compared with what it depended on before.
//!
//! All of it is for people, out of records that no build consults. What was not kept is said to be unknown.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bulla_model::{CleanPath, Digest, Tree, tree::Node};
use bulla_store::Store;
use serde::Serialize;

use crate::run::{BaseInput, Inputs, LayerInput, LayerOrigin, StepNote, StepOutcome, Value};

/// The most bytes of a manifest that is read to name files.
const MAX_MANIFEST: u64 = 256 << 20;

/// One thing that a step depends on and that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Difference {
    /// This version of Bulla runs steps in another way.
    Format {
        /// The number before.
        before: u32,
        /// The number now.
        now: u32,
    },
    /// The command.
    Command {
        /// The words before.
        before: Vec<String>,
        /// The words now.
        now: Vec<String>,
    },
    /// A variable of the environment. A value that looks like a secret is not kept and so not shown.
    Environment {
        /// Its name.
        name: String,
        /// How it changed.
        how: How,
        /// The value before, where it is kept.
        before: Option<String>,
        /// The value now, where it is kept.
        now: Option<String>,
    },
    /// The directory that the step runs in.
    Workdir {
        /// The directory before.
        before: String,
        /// The directory now.
        now: String,
    },
    /// What calls that change the user do.
    Identity {
        /// The word before.
        before: String,
        /// The word now.
        now: String,
    },
    /// The secrets that it is given; their values do not count.
    Secrets {
        /// Names and places before.
        before: Vec<String>,
        /// Names and places now.
        now: Vec<String>,
    },
    /// Where it has caches.
    Caches {
        /// The paths before.
        before: Vec<String>,
        /// The paths now.
        now: Vec<String>,
    },
    /// A package of a lock file.
    Dependency {
        /// The lock file.
        file: String,
        /// The package's name.
        name: String,
        /// How it changed; `changed` with equal versions is another file of the same version.
        how: How,
        /// The versions before.
        before: Option<String>,
        /// The versions now.
        now: Option<String>,
    },
    /// A lock file, of which it is not kept what it pinned, or which has the same packages and is served otherwise.
    LockFile {
        /// The lock file.
        file: String,
        /// How it changed.
        how: How,
    },
    /// `SOURCE_DATE_EPOCH`, in seconds.
    Epoch {
        /// The time before.
        before: u64,
        /// The time now.
        now: u64,
    },
    /// A package of the root.
    Package {
        /// Its name.
        name: String,
        /// How it changed; `changed` with equal versions is another file of the same version.
        how: How,
        /// The version before.
        before: Option<String>,
        /// The version now.
        now: Option<String>,
    },
    /// The image of a registry that the stage starts from.
    Base {
        /// How it changed; `added` and `removed` where the other is made of packages.
        how: How,
        /// The image before.
        before: Option<BaseInput>,
        /// The image now.
        now: Option<BaseInput>,
    },
    /// The root is another one, and it is not kept what it was made of.
    Root,
    /// Files of a source.
    Source {
        /// Where the source is.
        at: String,
        /// How it changed as a whole.
        how: How,
        /// The files that differ; `None` where it is not kept what they were.
        files: Option<Vec<FileChange>>,
    },
    /// What an output or an earlier step laid below.
    Layer {
        /// Where it comes from.
        origin: LayerOrigin,
        /// How it changed as a whole.
        how: How,
        /// The files that differ; `None` where they are no longer in the store.
        files: Option<Vec<FileChange>>,
    },
    /// The layers are the same, in another order.
    Order,
}

/// How something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
    /// It is another one.
    Changed,
}

impl How {
    /// Compares two things, one of which is there.
    pub(crate) fn of<T: PartialEq>(before: Option<&T>, now: Option<&T>) -> Option<Self> {
        match (before, now) {
            (None, Some(_)) => Some(Self::Added),
            (Some(_), None) => Some(Self::Removed),
            (Some(before), Some(now)) if before != now => Some(Self::Changed),
            _ => None,
        }
    }
}

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        })
    }
}

/// A file, link or directory that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// The path, made printable.
    pub path: String,
    /// How it changed.
    pub how: How,
    /// What differs of it, when it changed: `content`, `mode`, `owner`, `target`, `kind`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub of: Vec<&'static str>,
}

/// Why a step ran, or did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Reason {
    /// It did not run: nothing differs from a result that is there.
    Unchanged,
    /// The records do not reach further back.
    First,
    /// What it depends on differs.
    Inputs {
        /// In what.
        differences: Vec<Difference>,
    },
    /// It had failed before, and what failed has no result.
    FailedBefore,
    /// It was asked for.
    Forced,
    /// Nothing differs, but the result was no longer in the store, or did not verify.
    ResultGone,
}

/// Where it is looked up what is not in the notes.
pub trait Records {
    /// Gives what an action depended on.
    fn inputs(&self, action: &Digest) -> Option<Inputs>;
    /// Gives a manifest.
    fn tree(&self, digest: &Digest) -> Option<Arc<Tree>>;
    /// Gives what a lock file pinned.
    fn pins(&self, _: &Digest) -> Option<String> {
        None
    }
}

impl Records for Store {
    fn inputs(&self, action: &Digest) -> Option<Inputs> {
        serde_json::from_str(&self.inputs_of(action).ok()??).ok()
    }

    fn tree(&self, digest: &Digest) -> Option<Arc<Tree>> {
        // What steps saw of sources is a blob; what steps left is a tree.
        if let Ok(Some(bytes)) = self.read_blob(digest, MAX_MANIFEST) {
            return Tree::decode(std::str::from_utf8(&bytes).ok()?).ok().map(Arc::new);
        }
        Store::tree(self, digest).ok()?.map(|tree| Arc::clone(tree.manifest()))
    }

    fn pins(&self, digest: &Digest) -> Option<String> {
        String::from_utf8(self.read_blob(digest, MAX_MANIFEST).ok()??).ok()
    }
}

/// Finds the step of an earlier build with which a step is to be compared: the same command, as near as can be to the same
/// place, else the same place.
pub fn counterpart<'a>(note: &StepNote, earlier: &'a [StepNote]) -> Option<&'a StepNote> {
    let command = |note: &StepNote| match &note.inputs {
        Inputs::Step { argv, .. } => Some(argv.clone()),
        Inputs::Root { .. } | Inputs::Base { .. } => None,
    };
    let wanted = command(note);
    let others = || earlier.iter().filter(|other| other.stage == note.stage && (other.step == 0) == (note.step == 0));
    others()
        .filter(|other| command(other) == wanted)
        .min_by_key(|other| other.step.abs_diff(note.step))
        .or_else(|| others().find(|other| other.step == note.step))
}

/// Says why a step ran. `before` is its last result, `failed` whether the same had failed since.
pub fn reason(note: &StepNote, before: Option<&StepNote>, failed: bool, records: &dyn Records) -> Reason {
    if note.outcome == StepOutcome::Cached {
        return Reason::Unchanged;
    }
    let differences = before.map(|before| differences(&before.inputs, &note.inputs, records));
    match differences {
        _ if note.forced => Reason::Forced,
        _ if failed => Reason::FailedBefore,
        None => Reason::First,
        Some(differences) if differences.is_empty() => Reason::ResultGone,
        Some(differences) => Reason::Inputs { differences },
    }
}

/// Compares what was depended on with what is.
pub fn differences(before: &Inputs, now: &Inputs, records: &dyn Records) -> Vec<Difference> {
    match (before, now) {
        (
            Inputs::Root { format, epoch, packages },
            Inputs::Root { format: format_now, epoch: epoch_now, packages: packages_now },
        ) => {
            let mut found = Vec::new();
            number(&mut found, *format, *format_now);
            let version = |package: Option<&crate::run::PackageInput>| package.map(|package| package.version.clone());
            for (name, how) in keys(packages, packages_now) {
                let (before, now) = (version(packages.get(name)), version(packages_now.get(name)));
                found.push(Difference::Package { name: name.clone(), how, before, now });
            }
            time(&mut found, *epoch, *epoch_now);
            found
        }
        (Inputs::Step { .. }, Inputs::Step { .. }) => of_steps(before, now, records),
        (Inputs::Step { .. }, _) | (_, Inputs::Step { .. }) => vec![Difference::Root],
        (before, now) => of_bases(before, now),
    }
}

/// Compares roots of which one is an image of a registry.
fn of_bases(before: &Inputs, now: &Inputs) -> Vec<Difference> {
    let parts = |inputs: &Inputs| match inputs {
        Inputs::Base { format, image } => (Some(*format), Some(image.clone())),
        _ => (None, None),
    };
    let ((format, before), (format_now, now)) = (parts(before), parts(now));
    let mut found = Vec::new();
    if let (Some(before), Some(now)) = (format, format_now) {
        number(&mut found, before, now);
    }
    if let Some(how) = How::of(before.as_ref(), now.as_ref()) {
        found.push(Difference::Base { how, before, now });
    }
    found
}

fn of_steps(before: &Inputs, now: &Inputs, records: &dyn Records) -> Vec<Difference> {
    let (
        Inputs::Step { format, epoch, layers, sources, argv, env, workdir, identity, secrets, caches, dependencies },
        Inputs::Step {
            format: format_now,
            epoch: epoch_now,
            layers: layers_now,
            sources: sources_now,
            argv: argv_now,
            env: env_now,
            workdir: workdir_now,
            identity: identity_now,
            secrets: secrets_now,
            caches: caches_now,
            dependencies: dependencies_now,
        },
    ) = (before, now)
    else {
        return Vec::new();
    };
    let mut found = Vec::new();
    number(&mut found, *format, *format_now);
    if argv != argv_now {
        found.push(Difference::Command { before: argv.clone(), now: argv_now.clone() });
    }
    let shown = |value: Option<&Value>| match value {
        Some(Value::Plain(text)) => Some(text.clone()),
        _ => None,
    };
    for (name, how) in keys(env, env_now) {
        // The epoch is told by itself.
        if name != "SOURCE_DATE_EPOCH" {
            let (before, now) = (shown(env.get(name)), shown(env_now.get(name)));
            found.push(Difference::Environment { name: name.clone(), how, before, now });
        }
    }
    if workdir != workdir_now {
        found.push(Difference::Workdir { before: workdir.clone(), now: workdir_now.clone() });
    }
    if identity != identity_now {
        found.push(Difference::Identity { before: identity.clone(), now: identity_now.clone() });
    }
    if secrets != secrets_now {
        found.push(Difference::Secrets { before: secrets.clone(), now: secrets_now.clone() });
    }
    if caches != caches_now {
        found.push(Difference::Caches { before: caches.clone(), now: caches_now.clone() });
    }
    for (file, how) in keys(dependencies, dependencies_now) {
        found.extend(of_lock_files(file, how, (dependencies.get(file), dependencies_now.get(file)), records));
    }
    for (at, how) in keys(sources, sources_now) {
        let files = files(sources.get(at), sources_now.get(at), records, Some(at));
        found.push(Difference::Source { at: at.clone(), how, files });
    }
    found.extend(of_layers(layers, layers_now, records));
    if !found.iter().any(|found| matches!(found, Difference::Epoch { .. })) {
        time(&mut found, *epoch, *epoch_now);
    }
    found
}

/// Compares what a lock file pinned with what it pins.
fn of_lock_files(
    file: &str,
    how: How,
    (before, now): (Option<&Digest>, Option<&Digest>),
    records: &dyn Records,
) -> Vec<Difference> {
    let unknown = || vec![Difference::LockFile { file: file.to_owned(), how }];
    let (Some(before), Some(now)) = (before, now) else { return unknown() };
    let (Some(before), Some(now)) = (records.pins(before), records.pins(now)) else { return unknown() };
    let (before, now) = (pinned(&before), pinned(&now));
    let versions = |files: Option<&BTreeSet<Vec<String>>>| {
        let versions: BTreeSet<&str> = files?.iter().filter_map(|file| file.get(1)).map(String::as_str).collect();
        Some(versions.into_iter().collect::<Vec<_>>().join(", "))
    };
    let found: Vec<Difference> = keys(&before, &now)
        .into_iter()
        .map(|(name, how)| Difference::Dependency {
            file: file.to_owned(),
            name: name.clone(),
            how,
            before: versions(before.get(name)),
            now: versions(now.get(name)),
        })
        .collect();
    if found.is_empty() { unknown() } else { found }
}

/// Reads a list of pins: name, version, file and hashes of each, by name.
fn pinned(text: &str) -> BTreeMap<String, BTreeSet<Vec<String>>> {
    let mut found: BTreeMap<String, BTreeSet<Vec<String>>> = BTreeMap::new();
    for fields in text.lines().filter_map(|line| serde_json::from_str::<Vec<String>>(line).ok()) {
        if let Some(name) = fields.first().cloned() {
            found.entry(name).or_default().insert(fields);
        }
    }
    found
}

fn of_layers(before: &[LayerInput], now: &[LayerInput], records: &dyn Records) -> Vec<Difference> {
    let by_origin = |layers: &[LayerInput]| -> BTreeMap<LayerOrigin, Digest> {
        layers.iter().map(|layer| (layer.origin.clone(), layer.digest)).collect()
    };
    let (all_before, all_now) = (by_origin(before), by_origin(now));
    let mut found = Vec::new();
    for (origin, how) in keys(&all_before, &all_now) {
        let (before, now) = (all_before.get(origin), all_now.get(origin));
        if *origin == LayerOrigin::Root {
            let root = |action: Option<&Digest>| records.inputs(action?);
            match (root(before), root(now)) {
                (Some(before), Some(now)) => found.extend(differences(&before, &now, records)),
                _ => found.push(Difference::Root),
            }
            continue;
        }
        found.push(Difference::Layer { origin: origin.clone(), how, files: files(before, now, records, None) });
    }
    if found.is_empty() && before != now {
        found.push(Difference::Order);
    }
    found
}

fn number(found: &mut Vec<Difference>, before: u32, now: u32) {
    if before != now {
        found.push(Difference::Format { before, now });
    }
}

fn time(found: &mut Vec<Difference>, before: u64, now: u64) {
    if before != now {
        found.push(Difference::Epoch { before, now });
    }
}

/// Gives the keys whose values differ, in order.
fn keys<'a, K: Ord, V: PartialEq>(before: &'a BTreeMap<K, V>, now: &'a BTreeMap<K, V>) -> Vec<(&'a K, How)> {
    let all: BTreeSet<&K> = before.keys().chain(now.keys()).collect();
    all.into_iter().filter_map(|key| Some((key, How::of(before.get(key), now.get(key))?))).collect()
}

fn files(
    before: Option<&Digest>,
    now: Option<&Digest>,
    records: &dyn Records,
    at: Option<&str>,
) -> Option<Vec<FileChange>> {
    let prefix = at.and_then(|at| CleanPath::parse(at).ok());
    // Of a whole source the manifest has paths below it; of a part of one, those of the root, as layers have.
    let is_part = |tree: &Tree, prefix: &CleanPath| {
        tree.get(prefix).is_some() && tree.iter().all(|(path, _)| path.starts_with(prefix) || prefix.starts_with(path))
    };
    let tree = |digest: Option<&Digest>| match digest {
        None => Some(Arc::default()),
        Some(digest) => {
            let tree = records.tree(digest)?;
            match &prefix {
                Some(prefix) if is_part(&tree, prefix) => Some(Arc::new(tree.subtree(prefix))),
                _ => Some(tree),
            }
        }
    };
    Some(file_changes(&*tree(before)?, &*tree(now)?))
}

/// Compares two trees, path by path.
pub fn file_changes(before: &Tree, now: &Tree) -> Vec<FileChange> {
    let paths: BTreeSet<&CleanPath> = before.iter().chain(now.iter()).map(|(path, _)| path).collect();
    let change = |path: &CleanPath| {
        let (before, now) = (before.get(path), now.get(path));
        let how = How::of(before, now)?;
        let of = match (before, now) {
            (Some(before), Some(now)) => of_nodes(before, now),
            _ => Vec::new(),
        };
        Some(FileChange { path: path.to_string(), how, of })
    };
    paths.into_iter().filter_map(change).collect()
}

fn of_nodes(before: &Node, now: &Node) -> Vec<&'static str> {
    let mut of = Vec::new();
    match (before, now) {
        (Node::Directory { mode, opaque, .. }, Node::Directory { mode: mode_now, opaque: opaque_now, .. }) => {
            of.extend((mode != mode_now).then_some("mode"));
            of.extend((opaque != opaque_now).then_some("content"));
        }
        (Node::File { mode, digest, .. }, Node::File { mode: mode_now, digest: digest_now, .. }) => {
            of.extend((digest != digest_now).then_some("content"));
            of.extend((mode != mode_now).then_some("mode"));
        }
        (Node::Symlink { target, .. }, Node::Symlink { target: target_now, .. }) => {
            of.extend((target != target_now).then_some("target"));
        }
        (Node::Hardlink { .. }, Node::Hardlink { .. }) => of.push("target"),
        _ => return vec!["kind"],
    }
    of.extend((before.owner() != now.owner()).then_some("owner"));
    of
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::PackageInput;

    /// Records that are in memory.
    #[derive(Default)]
    struct Memory {
        inputs: BTreeMap<Digest, Inputs>,
        trees: BTreeMap<Digest, Arc<Tree>>,
    }

    impl Memory {
        fn keep(&mut self, entries: &[(&str, Node)]) -> Digest {
            let tree: Tree = entries.iter().map(|(path, node)| (path.parse().expect("clean"), node.clone())).collect();
            let digest = tree.digest();
            self.trees.insert(digest, Arc::new(tree));
            digest
        }

        fn root(&mut self, packages: &[(&str, &str)]) -> Digest {
            let packages = packages.iter().map(|(name, version)| {
                let package = PackageInput { version: (*version).to_owned(), digest: Digest::of(version) };
                ((*name).to_owned(), package)
            });
            let root = Inputs::Root { format: 1, epoch: 7, packages: packages.collect() };
            let action = Digest::of(serde_json::to_vec(&root).expect("JSON"));
            self.inputs.insert(action, root);
            action
        }
    }

    impl Records for Memory {
        fn inputs(&self, action: &Digest) -> Option<Inputs> {
            self.inputs.get(action).cloned()
        }

        fn tree(&self, digest: &Digest) -> Option<Arc<Tree>> {
            self.trees.get(digest).cloned()
        }
    }

    fn file(content: &str) -> Node {
        Node::file(0o644, Digest::of(content), content.len() as u64)
    }

    fn step(root: Digest, source: Digest, words: &[&str], env: &[(&str, Value)]) -> Inputs {
        Inputs::Step {
            format: 1,
            epoch: 7,
            layers: vec![LayerInput { origin: LayerOrigin::Root, digest: root }],
            sources: [("src/app".to_owned(), source)].into(),
            argv: words.iter().map(|word| (*word).to_owned()).collect(),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            workdir: "/src/app".to_owned(),
            identity: "real".to_owned(),
            secrets: Vec::new(),
            caches: Vec::new(),
            dependencies: BTreeMap::new(),
        }
    }

    fn note(step: usize, inputs: Inputs) -> StepNote {
        StepNote {
            stage: "build".to_owned(),
            step,
            title: String::new(),
            action: Digest::of(serde_json::to_vec(&inputs).expect("JSON")),
            outcome: StepOutcome::Ran,
            forced: false,
            delta: None,
            inputs,
        }
    }

    fn plain(text: &str) -> Value {
        Value::Plain(text.to_owned())
    }

    #[test]
    fn everything_that_differs_is_named_and_nothing_else() {
        let mut records = Memory::default();
        let (gcc1, gcc2) = (records.root(&[("gcc", "1"), ("make", "4")]), records.root(&[("gcc", "2"), ("tar", "1")]));
        let one = records.keep(&[("a", file("a")), ("b", file("b")), ("same", file("s"))]);
        let two = records.keep(&[("a", file("A")), ("c", file("c")), ("same", file("s"))]);
        let secret = |text: &str| Value::Fingerprint(Digest::of(text));
        let before = step(gcc1, one, &["make"], &[("V", plain("1")), ("TOKEN", secret("x")), ("OLD", plain("o"))]);
        let now = step(gcc2, two, &["make", "-j"], &[("V", plain("2")), ("TOKEN", secret("y"))]);
        assert_eq!(differences(&before, &before, &records), []);
        let found = differences(&before, &now, &records);
        let text = serde_json::to_string(&found).expect("JSON");
        for part in [
            r#"{"what":"command","before":["make"],"now":["make","-j"]}"#,
            r#"{"what":"environment","name":"V","how":"changed","before":"1","now":"2"}"#,
            r#"{"what":"environment","name":"TOKEN","how":"changed","before":null,"now":null}"#,
            r#"{"what":"environment","name":"OLD","how":"removed","before":"o","now":null}"#,
            r#"{"path":"a","how":"changed","of":["content"]},{"path":"b","how":"removed"},{"path":"c","how":"added"}"#,
            r#"{"what":"package","name":"gcc","how":"changed","before":"1","now":"2"}"#,
            r#"{"what":"package","name":"make","how":"removed","before":"4","now":null}"#,
            r#"{"what":"package","name":"tar","how":"added","before":null,"now":"1"}"#,
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert_eq!(found.len(), 8, "{text}");
    }

    #[test]
    fn what_is_not_kept_any_more_is_said_to_be_unknown() {
        let records = Memory::default();
        let (a, b) = (Digest::of("a"), Digest::of("b"));
        let found = differences(&step(a, a, &["x"], &[]), &step(b, b, &["x"], &[]), &records);
        let source = Difference::Source { at: "src/app".to_owned(), how: How::Changed, files: None };
        assert_eq!(found, [source, Difference::Root]);
    }

    #[test]
    fn modes_and_kinds_are_told_from_contents() {
        let tree = |node: Node| -> Tree { [("x".parse().expect("clean"), node)].into_iter().collect() };
        let of = |before, now| file_changes(&tree(before), &tree(now)).pop().map(|change| change.of);
        let program = Node::file(0o755, Digest::of("a"), 1);
        assert_eq!(of(file("a"), program), Some(vec!["mode"]));
        assert_eq!(of(file("a"), Node::symlink("a")), Some(vec!["kind"]));
        assert_eq!(of(Node::symlink("a"), Node::symlink("b")), Some(vec!["target"]));
        assert_eq!(of(file("a"), file("a")), None);
    }

    #[test]
    fn a_step_is_compared_with_the_same_command_wherever_it_stood() {
        let a = Digest::of("a");
        let earlier = [note(1, step(a, a, &["one"], &[])), note(2, step(a, a, &["two"], &[]))];
        let found = |step_now: usize, word: &str| {
            counterpart(&note(step_now, step(a, a, &[word], &[])), &earlier).map(|found| found.step)
        };
        assert_eq!(found(3, "two"), Some(2), "a step was put in before it");
        assert_eq!(found(1, "other"), Some(1), "the command was changed");
        assert_eq!(found(3, "new"), None);
    }

    #[test]
    fn the_reason_is_the_one_that_decided() {
        let a = Digest::of("a");
        let records = Memory::default();
        let now = note(1, step(a, a, &["x"], &[]));
        assert_eq!(reason(&now, None, false, &records), Reason::First);
        assert_eq!(reason(&now, Some(&now), false, &records), Reason::ResultGone);
        assert_eq!(reason(&now, Some(&now), true, &records), Reason::FailedBefore);
        let forced = StepNote { forced: true, ..now.clone() };
        assert_eq!(reason(&forced, Some(&now), false, &records), Reason::Forced);
        let cached = StepNote { outcome: StepOutcome::Cached, ..forced };
        assert_eq!(reason(&cached, Some(&now), false, &records), Reason::Unchanged);
    }

    #[test]
    fn a_base_is_compared_with_a_base_and_with_packages() {
        let base = |content: &str| {
            let (reference, digest) = ("registry.example/base:1".to_owned(), Digest::of(content));
            BaseInput { reference, digest, manifest: Digest::of(format!("manifest of {content}")) }
        };
        let of = |content: &str| Inputs::Base { format: 1, image: base(content) };
        let packages = Inputs::Root { format: 1, epoch: 0, packages: BTreeMap::new() };
        let compare = |before: &Inputs, now: &Inputs| differences(before, now, &Memory::default());
        assert_eq!(compare(&of("a"), &of("a")), []);
        let (before, now) = (Some(base("a")), Some(base("b")));
        assert_eq!(compare(&of("a"), &of("b")), [Difference::Base { how: How::Changed, before, now }]);
        let now = Some(base("a"));
        assert_eq!(compare(&packages, &of("a")), [Difference::Base { how: How::Added, before: None, now }]);
        let before = Some(base("a"));
        assert_eq!(compare(&of("a"), &packages), [Difference::Base { how: How::Removed, before, now: None }]);
    }
}
