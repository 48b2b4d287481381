//! Stages and steps.

use std::{collections::BTreeMap, ops::Range};

use super::{Context, params::Params, platforms::written_platform};
use crate::{
    path::CleanPath,
    spec::{
        AbsolutePath, ArchiveFormat, Command, Glob, Identity, Limits, Name, Normaliser, OutputRef, Seen, Setting,
        Source, Stage, StageBase, StageCopy, Step, UserEntry, observed,
        written::{ArchiveWord, IdentityWord, LimitKeys, Map, RunText, SpecKeys, StageKeys, StepText, Value},
    },
    yaml::{At, nearest},
};

/// The most steps of one stage.
const MAX_STEPS: usize = 1000;
/// Paths that the sandbox makes itself.
const RESERVED: [&str; 4] = ["/proc", "/sys", "/dev", "/run/bulla"];

/// What the stages are evaluated with.
pub(super) struct Surroundings<'s> {
    pub(super) keys: &'s SpecKeys,
    pub(super) sources: &'s BTreeMap<Name, Source>,
    pub(super) params: &'s Params,
    pub(super) users: &'s [UserEntry],
}

impl Context<'_> {
    /// Evaluates the stages in an order in which each comes after what it continues.
    pub(super) fn stages(
        &mut self,
        order: &[Name],
        keys: &SpecKeys,
        sources: &BTreeMap<Name, Source>,
        params: &Params,
        users: &[UserEntry],
    ) -> Option<BTreeMap<Name, Stage>> {
        let around = Surroundings { keys, sources, params, users };
        let mut done: BTreeMap<Name, Stage> = BTreeMap::new();
        for name in order {
            let (at, stage) = keys.stages.get_key_value(name)?;
            if let Some(stage) = self.stage(at, stage, &around, &done) {
                done.insert(name.clone(), stage);
            }
        }
        Some(done)
    }

    fn stage(
        &mut self,
        name: &At<Name>,
        keys: &StageKeys,
        around: &Surroundings<'_>,
        done: &BTreeMap<Name, Stage>,
    ) -> Option<Stage> {
        let (base, before) = match (&keys.from, &keys.stage) {
            (Some(from), None) => (self.stage_base(from, written_platform(keys))?, None),
            (None, Some(stage)) => (StageBase::Stage(stage.value.clone()), Some(done.get(&stage.value)?)),
            (Some(_), Some(stage)) => {
                let message = format!("the stage `{}` has both `from` and `stage`", name.value);
                self.wrong(
                    &stage.span,
                    message,
                    "keep one: `from` starts from packages, `stage` goes on from another stage",
                );
                return None;
            }
            (None, None) => {
                let message = format!("the stage `{}` does not say what it starts from", name.value);
                let help =
                    "write `from: {debian: trixie, packages: [gcc]}`, or `stage: NAME` to go on from another stage";
                self.wrong(&name.span, message, help);
                return None;
            }
        };
        let platform = self.stage_platform(name, keys, before, done);
        let workdir = self.workdir(name, keys, around, before)?;
        let handed_on =
            before.map_or(0, |stage| stage.env.iter().map(|(name, value)| 64 + name.len() + value.len()).sum());
        if !self.spend(&name.span, handed_on) {
            return None;
        }
        let mut env = before.map(|stage| stage.env.clone()).unwrap_or_default();
        env.extend(self.env(&keys.env, around.params, true));
        let copy = self.stage_copies(keys, around);
        let release = match &base {
            StageBase::Debian(debian) => Some(&debian.release),
            StageBase::Image(_) | StageBase::Stage(_) => None,
        };
        let written = keys.dependencies.as_deref().unwrap_or_default();
        let dependencies = self.dependencies(written, around.sources, &workdir, (before, release));
        let observed = observed(&dependencies).next().is_some();
        let steps = self.steps(name, keys, around, &workdir);
        let outputs = self.outputs(&keys.outputs);
        if keys.steps.is_none() && keys.outputs.is_empty() {
            let help = "write its commands under `steps:`, or what it gives under `outputs:`";
            self.wrong(&name.span, format!("the stage `{}` does nothing", name.value), help);
        }
        let mut owners = BTreeMap::new();
        for (path, owner) in &keys.owners {
            self.refuse_reserved(&path.span, path);
            owners.extend(self.owner(owner, around.users).map(|owner| (path.value.clone(), owner)));
        }
        Some(Stage {
            base,
            platform,
            workdir: workdir.clone(),
            env,
            copy,
            dependencies,
            steps,
            outputs,
            owners,
            normalise: self.normalise(keys),
            cache: self.caches(keys, around, &workdir),
            locked_observed: self.locked_observed(keys, before, observed),
            locked_cache: keys.locked_cache.as_ref().map(|reason| reason.value.0.clone()),
            identity: self.identity(keys.identity.as_ref()),
            limits: {
                let own = keys.limits.as_ref().map(|limits| self.limits(limits)).unwrap_or_default();
                self.inherit_limits(own, keys.limits.as_ref().map(|limits| &limits.value))
            },
            on_refusal: self.on_refusal(keys.on_refusal.as_ref()),
            at: self.position(&name.span),
        })
    }

    /// Gives the reason for which locked builds use what was observed.
    fn locked_observed(&mut self, keys: &StageKeys, before: Option<&Stage>, observed: bool) -> Option<String> {
        let own = keys.locked_observed.as_ref();
        if let Some(reason) = own.filter(|_| !observed) {
            self.wrong(
                &reason.span,
                "there is nothing observed that this is the reason for",
                "delete the line, or write `dependencies: [{maven: pom.xml}]`",
            );
        }
        let handed_on = || before.filter(|_| observed).and_then(|stage| stage.locked_observed.clone());
        own.map(|reason| reason.value.0.clone()).or_else(handed_on)
    }

    /// Evaluates the caches. None may hide what steps work on, or hold what is taken from the stage.
    fn caches(&mut self, keys: &StageKeys, around: &Surroundings<'_>, workdir: &AbsolutePath) -> Vec<CleanPath> {
        let mut caches: Vec<CleanPath> = Vec::new();
        for path in &keys.cache {
            let (at, path) = (&path.span, &path.value);
            self.refuse_reserved(at, path);
            let Some(clean) = path.clean() else {
                self.wrong(at, "the whole root cannot be a cache", "name the folder that the compiler writes to");
                continue;
            };
            if workdir.starts_with(path) || is_source_root(path, around.sources) {
                let help = "name the folder in it that the compiler writes to, such as `/src/app/target`";
                self.wrong(at, format!("a cache at `{path}` would hide what the steps work on"), help);
            }
            if caches.iter().any(|other| other.starts_with(clean) || clean.starts_with(other)) {
                self.wrong(at, format!("`{path}` is in another cache, or has one in it"), "keep one of the two");
            }
            let inside = keys.outputs.iter().find(|(_, output)| output.starts_with(path));
            if let Some((_, output)) = inside {
                let message =
                    format!("the output `{}` lies in the cache `{path}`, which is no part of the stage", output.value);
                self.wrong(
                    &output.span,
                    message,
                    "copy it out of the cache, in the step that makes it, and name that path",
                );
            }
            caches.push(clean.clone());
        }
        let secrets = keys.steps.iter().flat_map(|steps| &steps.value).find_map(|step| match &step.value {
            StepText::Keys(keys) => keys.secrets.first(),
            StepText::Shell(_) | StepText::Arguments(_) => None,
        });
        if let (Some(secret), false) = (secrets, keys.cache.is_empty()) {
            self.wrong(
                &secret.span,
                "a step with secrets is in a stage with caches, where it could leave them for later builds",
                "move the step, or `cache`, into a stage of its own",
            );
        }
        if let Some(reason) = keys.locked_cache.as_ref().filter(|_| keys.cache.is_empty()) {
            self.wrong(
                &reason.span,
                "there is no `cache` that this is the reason for",
                "delete the line, or write `cache: [/PATH]`",
            );
        }
        caches
    }

    fn workdir(
        &mut self,
        name: &At<Name>,
        keys: &StageKeys,
        around: &Surroundings<'_>,
        before: Option<&Stage>,
    ) -> Option<AbsolutePath> {
        if let Some(workdir) = &keys.workdir {
            self.refuse_reserved(&workdir.span, workdir);
            return Some(workdir.value.clone());
        }
        let mut sources = around.sources.keys();
        match (before, sources.next(), sources.next()) {
            (Some(before), _, _) => Some(before.workdir.clone()),
            (None, Some(only), None) => Some(source_root(only).into()),
            (None, first, _) => {
                let (why, example) = match first {
                    Some(first) => ("there are several sources", format!("/src/{first}")),
                    None => ("there is no source", "/build".to_owned()),
                };
                let message = format!("the stage `{}` does not say where its steps run, and {why}", name.value);
                self.wrong(&name.span, message, format!("write `workdir: {example}`"));
                None
            }
        }
    }

    fn stage_copies(&mut self, keys: &StageKeys, around: &Surroundings<'_>) -> Vec<StageCopy> {
        let mut copies: Vec<StageCopy> = Vec::new();
        for copy in &keys.copy {
            self.refuse_reserved(&copy.to.span, &copy.to);
            if is_source_root(&copy.to, around.sources) {
                let message = format!("`{}` is where the sources are", copy.to.value);
                self.wrong(&copy.to.span, message, "copy it to a path of its own, such as `/opt/…`");
            }
            self.check_output(&copy.output, around.keys);
            let copy = StageCopy { from: copy.output.value.clone(), to: copy.to.value.clone() };
            copies.push(copy);
        }
        let places: Vec<At<(&OutputRef, &AbsolutePath)>> = keys
            .copy
            .iter()
            .map(|copy| At { span: copy.span.clone(), flow: false, value: (&copy.output.value, &copy.to.value) })
            .collect();
        self.refuse_twice(&places, "copy");
        copies
    }

    /// Notes when an output is not there. Its stage, when that is missing, was noted with the order.
    pub(super) fn check_output(&mut self, output: &At<OutputRef>, keys: &SpecKeys) -> bool {
        let Some(stage) = keys.stages.get(&output.stage) else { return false };
        let there = stage.outputs.contains_key(&output.output);
        if !there {
            match stage.outputs.is_empty() {
                true => {
                    let message = format!("the stage `{}` has no outputs", output.stage);
                    self.wrong(&output.span, message, format!("write `outputs: {{{}: /path}}` in it", output.output));
                }
                false => {
                    let known: Vec<&str> = stage.outputs.keys().map(|name| name.value.as_str()).collect();
                    let help = match nearest(output.output.as_str(), known.iter().copied()) {
                        Some(near) => format!("did you mean `{}.{near}`?", output.stage),
                        None => format!("it has {}", super::list(&known)),
                    };
                    let message = format!("the stage `{}` has no output `{}`", output.stage, output.output);
                    self.wrong(&output.span, message, help);
                }
            }
        }
        there
    }

    fn outputs(&mut self, keys: &Map<Name, AbsolutePath>) -> BTreeMap<Name, CleanPath> {
        let mut outputs = BTreeMap::new();
        for (name, path) in keys {
            self.refuse_reserved(&path.span, path);
            match path.clean() {
                Some(clean) => {
                    outputs.insert(name.value.clone(), clean.clone());
                }
                None => self.wrong(&path.span, "the whole root cannot be an output", "name the folder that is meant"),
            }
        }
        outputs
    }

    /// Evaluates what is written anew: it has to lie in an output, or nobody gets it.
    fn normalise(&mut self, keys: &StageKeys) -> BTreeMap<AbsolutePath, Normaliser> {
        let mut all = BTreeMap::new();
        for (path, how) in &keys.normalise {
            if !keys.outputs.iter().any(|(_, output)| path.value.starts_with(output)) {
                let message = format!("`{}` is in no output of the stage", path.value);
                self.wrong(&path.span, message, "name a file of an output, or the folder that an output is");
            }
            let format = match how.format {
                ArchiveWord::Zip => ArchiveFormat::Zip,
                ArchiveWord::Gzip => ArchiveFormat::Gzip,
                ArchiveWord::Ar => ArchiveFormat::Ar,
            };
            all.insert(path.value.clone(), Normaliser { format, reason: how.reason.0.clone() });
        }
        all
    }

    fn steps(
        &mut self,
        name: &At<Name>,
        keys: &StageKeys,
        around: &Surroundings<'_>,
        workdir: &AbsolutePath,
    ) -> Vec<Step> {
        let Some(steps) = &keys.steps else { return Vec::new() };
        if steps.flow && !steps.is_empty() {
            let help = "write one step a line, each with `- ` before it: YAML would split `gcc -Wl,-O1` at its comma";
            self.wrong(&steps.span, "the steps are a list in `[…]`", help);
            return Vec::new();
        }
        if steps.len() > MAX_STEPS {
            self.wrong(&name.span, format!("the stage `{}` has more than {MAX_STEPS} steps", name.value), "");
        }
        steps.iter().filter_map(|step| self.step(step, around, workdir)).collect()
    }

    fn step(&mut self, step: &At<StepText>, around: &Surroundings<'_>, workdir: &AbsolutePath) -> Option<Step> {
        let at = self.position(&step.span);
        let plain = |run| Step { name: None, run, sees: None, env: BTreeMap::new(), secrets: Vec::new(), at };
        let keys = match &step.value {
            StepText::Shell(text) => return Some(plain(Command::Shell(text.clone()))),
            StepText::Arguments(list) => {
                return self.arguments(&step.span, step.flow, list).map(Command::Arguments).map(plain);
            }
            StepText::Keys(keys) => keys,
        };
        if step.flow {
            let help = "write `run:`, `sees:` and so on each on its own line: YAML would split a command at its comma";
            self.wrong(&step.span, "this step is a map in `{…}`", help);
            return None;
        }
        let run = match &keys.run.value {
            RunText::Shell(text) => Command::Shell(text.clone()),
            RunText::Arguments(list) => Command::Arguments(self.arguments(&keys.run.span, keys.run.flow, list)?),
        };
        let name = keys.name.as_ref().and_then(|name| {
            let good = !name.trim().is_empty() && name.len() <= 100 && !name.chars().any(char::is_control);
            if !good {
                self.wrong(&name.span, "a step's name is one line of at most 100 characters", "");
            }
            good.then(|| name.value.clone())
        });
        let sees = keys
            .sees
            .as_ref()
            .map(|list| list.iter().filter_map(|pattern| self.seen(pattern, around.sources, workdir)).collect());
        let env = self.env(&keys.env, around.params, true);
        let secrets = self.step_secrets(&keys.secrets, &env, around.params);
        Some(Step { name, run, sees, env, secrets, at })
    }

    /// Takes a list of arguments. In flow style, a comma without a space behind it is refused: it is nearly always part
    /// of an argument that YAML took apart.
    pub(super) fn arguments(&mut self, span: &Range<usize>, flow: bool, list: &[At<Value>]) -> Option<Vec<String>> {
        if list.first().is_none_or(|program| program.0.is_empty()) {
            self.wrong(span, "the program to run is missing", "write it as the first of the list: `[make, -j4]`");
            return None;
        }
        for pair in list.windows(2) {
            let [left, right] = pair else { continue };
            let between = self.text.get(left.span.end..right.span.start).unwrap_or_default();
            if flow && between.ends_with(',') {
                let whole = self.text.get(left.span.start..right.span.end).unwrap_or_default();
                let help = format!(
                    "put an argument with a comma in quotes, `'{whole}'`, or a space after a comma between two"
                );
                let whole = left.span.start..right.span.end;
                self.wrong(&whole, "this comma splits an argument in two", help);
            }
        }
        Some(list.iter().map(|argument| argument.0.clone()).collect())
    }

    /// Says which files of which source a pattern means.
    fn seen(&mut self, pattern: &At<String>, sources: &BTreeMap<Name, Source>, workdir: &AbsolutePath) -> Option<Seen> {
        let text = pattern.value.as_str();
        let (prefix, glob) = match text.strip_prefix("/src/") {
            Some(tail) => {
                let (source, glob) = tail.split_once('/').map_or((tail, None), |(source, glob)| (source, Some(glob)));
                let Some(name) = sources.keys().find(|name| name.as_str() == source) else {
                    self.unknown(&pattern.span, "source", source, sources.keys().map(Name::as_str));
                    return None;
                };
                ((name, None), glob)
            }
            None if text.starts_with('/') => {
                let help =
                    "a step always sees its root; name files of a source, relative to `workdir` or beneath `/src/NAME`";
                self.wrong(&pattern.span, format!("`{text}` is not in a source"), help);
                return None;
            }
            None => (self.source_at(workdir, sources, &pattern.span)?, Some(text)),
        };
        let (source, directory) = prefix;
        let glob = match glob.filter(|glob| !matches!(*glob, "." | "")).map(Glob::parse).transpose() {
            Ok(glob) => glob,
            Err(error) => {
                self.wrong(&pattern.span, format!("`{text}` is not a pattern for files"), error.to_string());
                return None;
            }
        };
        let files = match (directory, glob) {
            (Some(directory), Some(glob)) => Some(glob.beneath(&directory)),
            (Some(directory), None) => Glob::parse("**").ok().map(|all| all.beneath(&directory)),
            (None, glob) => glob,
        };
        Some(Seen { source: source.clone(), files })
    }

    /// Gives the source that a directory is in, and where in it.
    fn source_at<'s>(
        &mut self,
        directory: &AbsolutePath,
        sources: &'s BTreeMap<Name, Source>,
        span: &Range<usize>,
    ) -> Option<(&'s Name, Option<CleanPath>)> {
        let found = sources.keys().find_map(|name| {
            let (root, directory) = (source_root(name), directory.clean()?);
            directory.starts_with(&root).then(|| (name, directory.strip_prefix(&root)))
        });
        if found.is_none() {
            let message = format!("the steps run in `{directory}`, which is in no source");
            self.wrong(span, message, "write the pattern with the source: `/src/NAME/…`");
        }
        found
    }

    fn identity(&mut self, word: Option<&At<IdentityWord>>) -> Identity {
        match word {
            Some(At { value: IdentityWord::Fake, span, .. }) => {
                self.forbidden(span, Setting::FakeIdentity);
                Identity::Fake
            }
            None | Some(_) => Identity::Real,
        }
    }

    /// Takes the limits as they are written.
    pub(in crate::spec) fn limits(&mut self, keys: &LimitKeys) -> Limits {
        if let Some(processes) = &keys.processes
            && !(1..=4_194_304).contains(&processes.value)
        {
            self.wrong(&processes.span, "`processes` is from 1 to 4194304", "");
        }
        Limits {
            memory: keys.memory.as_ref().map(|size| size.value.0),
            time: keys.time.as_ref().map(|time| time.value.0),
            processes: keys.processes.as_ref().map(|processes| processes.value),
            disk: keys.disk.as_ref().map(|size| size.value.0),
        }
    }

    /// Notes a path that the sandbox makes itself.
    pub(super) fn refuse_reserved(&mut self, span: &Range<usize>, path: &AbsolutePath) {
        for reserved in RESERVED {
            let reserved = AbsolutePath::parse(reserved).expect("a clean path");
            if path.starts_with(&reserved) {
                self.wrong(
                    span,
                    format!("`{path}` is in `{reserved}`, which is not part of any image"),
                    "take another path",
                );
            }
        }
    }
}

/// Gives the path of a source in every stage.
pub(super) fn source_root(name: &Name) -> CleanPath {
    CleanPath::parse(format!("src/{name}")).expect("a name is one clean component")
}

fn is_source_root(path: &AbsolutePath, sources: &BTreeMap<Name, Source>) -> bool {
    path.clean().is_some_and(|path| path.as_bytes() == b"src" || sources.keys().any(|name| *path == source_root(name)))
}
