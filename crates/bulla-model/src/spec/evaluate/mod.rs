//! From the keys of a spec to what they mean: references, defaults and params, with every mistake that is found.

mod debian;
mod dependencies;
mod graph;
mod image;
mod inherit;
mod lines;
mod params;
mod platforms;
mod presets;
mod secret;
mod source;
mod stage;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use self::lines::Lines;
use super::{
    Folder, Inherited, Name, Position, Setting, Source, Spec, SpecError, SpecErrors, Waiver, written::SpecKeys,
};
use crate::{
    login::without_logins,
    oci::BaseReference,
    path::CleanPath,
    yaml::{At, Document, MAX_BYTES, Problem, nearest},
};

/// The most stages.
const MAX_STAGES: usize = 1000;
/// The most sources.
const MAX_SOURCES: usize = 100;
/// The most users that an image may be given.
const MAX_USERS: usize = 500;
/// The most mistakes that are reported at once.
const MAX_PROBLEMS: usize = 50;
/// The most bytes that params and environments may become, lest a small text fills the memory.
const BUDGET: usize = 32 << 20;

impl Spec {
    /// Reads and evaluates a spec with the params' default values. `name` is what errors call the file.
    ///
    /// # Errors
    /// All the mistakes that were found.
    pub fn parse(name: &str, text: &str) -> Result<Self, SpecErrors> {
        Self::parse_with(name, text, &BTreeMap::new())
    }

    /// Reads and evaluates a spec, with values for some of its params (`--set NAME=VALUE`).
    ///
    /// # Errors
    /// All the mistakes that were found; a value for a param that the spec has not is one.
    pub fn parse_with(name: &str, text: &str, set: &BTreeMap<String, String>) -> Result<Self, SpecErrors> {
        Self::read(&File::new(name, text), set, None).map(|member| member.spec)
    }

    fn read(
        file: &File<'_>,
        set: &BTreeMap<String, String>,
        inherited: Option<&Inherited<'_>>,
    ) -> Result<MemberSpec, SpecErrors> {
        let keys = Document::parse(file.text).map_err(|problem| vec![*problem]).and_then(|document| document.read());
        let mut keys: SpecKeys = keys.map_err(|problems| file.errors(problems))?;
        let mut context = Context::new(file, inherited);
        context.presets(&mut keys);
        let (spec, problems, needed) = (context.spec(&keys, set), context.problems, context.waived);
        match spec {
            Some(spec) if problems.is_empty() => {
                let waivers = inherited.into_iter().flat_map(Inherited::waivers).cloned();
                let (waived, idle) = waivers.partition(|waiver| needed.contains(&waiver.setting));
                Ok(MemberSpec { spec, waived, idle })
            }
            _ => Err(file.errors(problems)),
        }
    }

    /// Does as [`Spec::parse_with`] for the bytes of a file.
    ///
    /// # Errors
    /// As [`Spec::parse_with`], and when the bytes are not UTF-8.
    pub fn parse_bytes(name: &str, bytes: &[u8], set: &BTreeMap<String, String>) -> Result<Self, SpecErrors> {
        text_of(name, bytes).and_then(|text| Self::parse_with(name, text, set))
    }

    /// Does as [`Spec::parse_bytes`] for the spec of a member of a workspace: what the workspace says holds where the spec says
    /// nothing, and what the spec says may not be looser.
    ///
    /// # Errors
    /// As [`Spec::parse_bytes`]; something looser that no waiver allows, or allows no more, is a mistake too.
    pub fn parse_member(
        name: &str,
        bytes: &[u8],
        set: &BTreeMap<String, String>,
        inherited: &Inherited<'_>,
    ) -> Result<MemberSpec, SpecErrors> {
        text_of(name, bytes).and_then(|text| Self::read(&File::new(name, text), set, Some(inherited)))
    }
}

/// The spec of a member of a workspace.
#[derive(Debug, Clone)]
pub struct MemberSpec {
    /// The spec, with what it inherits put in.
    pub spec: Spec,
    /// The waivers that it needs.
    pub waived: Vec<Waiver>,
    /// The waivers of this member that it does not need.
    pub idle: Vec<Waiver>,
}

/// Takes bytes as the text that they are.
///
/// # Errors
/// When they are not UTF-8.
pub(super) fn text_of<'b>(name: &str, bytes: &'b [u8]) -> Result<&'b str, SpecErrors> {
    std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to().min(crate::yaml::MAX_BYTES)).unwrap_or_default();
        let text = String::from_utf8_lossy(good);
        let problem = Problem::new(text.len()..text.len(), "the text is not UTF-8 from here on", "save it as UTF-8");
        File::new(name, &text).errors(vec![problem])
    })
}

/// A file, to turn bytes into lines and columns.
pub(super) struct File<'t> {
    pub(super) name: &'t str,
    text: &'t str,
    lines: Lines<'t>,
}

impl<'t> File<'t> {
    pub(super) fn new(name: &'t str, text: &'t str) -> Self {
        Self { name, text, lines: Lines::new(if text.len() > MAX_BYTES { "" } else { text }) }
    }

    pub(super) fn errors(&self, problems: Vec<Problem>) -> SpecErrors {
        let errors = problems.into_iter().map(|problem| self.error(problem)).collect();
        SpecErrors::new(errors).expect("whoever calls this has a problem")
    }

    fn error(&self, problem: Problem) -> SpecError {
        let Problem { span, message, help, related } = problem;
        let piece = self.text.get(span.clone()).unwrap_or_default();
        let line = without_logins(piece.lines().next().unwrap_or_default().trim_end());
        let text: String = line.chars().take(200).collect();
        let (text, message, help) = (visible(&text), visible(&message), help.as_deref().map(visible));
        let related = related.map(|(span, what)| (span.clone(), self.lines.position(span.start), what));
        SpecError {
            file: self.name.to_owned(),
            at: self.lines.position(span.start),
            span,
            text,
            message,
            help,
            related,
        }
    }
}

/// Makes a text with foreign parts fit to be shown: what does not print is written as an escape, and logins are hidden.
fn visible(text: &str) -> String {
    let escaped = |c: char| c.is_control() || crate::yaml::turns_writing(c);
    let text = without_logins(text);
    text.chars().map(|c| if escaped(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

/// What is known while a spec is evaluated.
pub(super) struct Context<'t> {
    pub(super) text: &'t str,
    lines: &'t Lines<'t>,
    pub(super) problems: Vec<Problem>,
    /// What the workspace says, where the spec is a member's.
    inherited: Option<&'t Inherited<'t>>,
    /// What is looser, and waived.
    waived: BTreeSet<Setting>,
    /// The bytes that may still be made by putting in params and by handing environments on.
    budget: usize,
    /// The images that were named, with the key that must have signed each.
    image_keys: BTreeMap<BaseReference, Option<CleanPath>>,
}

impl<'t> Context<'t> {
    pub(super) fn new(file: &'t File<'t>, inherited: Option<&'t Inherited<'t>>) -> Self {
        let (text, lines) = (file.text, &file.lines);
        let (waived, image_keys) = (BTreeSet::new(), BTreeMap::new());
        Self { text, lines, problems: Vec::new(), inherited, waived, budget: BUDGET, image_keys }
    }

    /// Notes a mistake and goes on; an empty `help` is none.
    pub(super) fn wrong(&mut self, span: &Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.note(Problem::new(self.first_line(span), message, help));
    }

    pub(super) fn note(&mut self, problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    /// Takes bytes off the budget; false, with a mistake noted, when it is used up.
    fn spend(&mut self, span: &Range<usize>, bytes: usize) -> bool {
        let left = self.budget.checked_sub(bytes);
        if left.is_none() {
            self.wrong(span, format!("params and environments are more than {BUDGET} bytes when they are put in"), "");
        }
        self.budget = left.unwrap_or(0);
        left.is_some()
    }

    /// Cuts a range at the end of its first line.
    fn first_line(&self, span: &Range<usize>) -> Range<usize> {
        let piece = self.text.get(span.clone()).unwrap_or_default();
        span.start..span.start + piece.lines().next().unwrap_or_default().trim_end().len()
    }

    pub(super) fn position(&self, span: &Range<usize>) -> Position {
        self.lines.position(span.start)
    }

    /// Evaluates everything; `None` only when a mistake was noted.
    fn spec(&mut self, keys: &SpecKeys, set: &BTreeMap<String, String>) -> Option<Spec> {
        let params = self.params(&keys.params, set);
        for (what, count, most) in [
            ("stages", keys.stages.len(), MAX_STAGES),
            ("sources", keys.sources.len(), MAX_SOURCES),
            ("users", keys.image.users.len(), MAX_USERS),
        ] {
            if count > most {
                self.wrong(&keys.image.span, format!("there are {count} {what}, and at most {most} are allowed"), "");
                return None;
            }
        }
        let mut sources: BTreeMap<Name, Source> = BTreeMap::new();
        for (name, source) in &keys.sources {
            // What refers to a source that has a mistake is not a mistake itself.
            let stand_in = || Source::Folder(Folder { path: None, ignore: Vec::new() });
            sources.insert(name.value.clone(), self.source(source).unwrap_or_else(stand_in));
        }
        let users = self.users(&keys.image.users);
        let order = self.stage_order(&keys.stages);
        let stages = order.and_then(|order| self.stages(&order, keys, &sources, &params, &users));
        let image = self.image(keys, &sources, &params, users);
        let signed = std::mem::take(&mut self.image_keys);
        let signed = signed.into_iter().filter_map(|(reference, key)| Some((reference, key?))).collect();
        let spec = Spec {
            name: keys.name.value.clone(),
            platforms: self.platforms(keys),
            epoch: keys.epoch.as_ref().map(|moment| moment.value.0).or_else(|| self.inherited_epoch()),
            sources,
            params: params.into_values(),
            stages: stages?,
            image: image?,
            image_keys: signed,
        };
        self.check_emulation(keys, &spec);
        Some(spec)
    }

    /// Notes that a name is not there, with what is.
    fn unknown<'a>(&mut self, span: &Range<usize>, what: &str, name: &str, known: impl Iterator<Item = &'a str>) {
        let known: Vec<&str> = known.collect();
        let help = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => format!("the spec has no {what} at all"),
            None => format!("there is {}", list(&known)),
        };
        self.wrong(span, format!("there is no {what} `{name}`"), help);
    }

    /// Notes each value that stands in a list for the second time.
    pub(super) fn refuse_twice<T: Ord>(&mut self, items: &[At<T>], what: &str) {
        let mut seen: BTreeMap<&T, &Range<usize>> = BTreeMap::new();
        for item in items {
            if let Some(first) = seen.insert(&item.value, &item.span) {
                let text = self.text.get(item.span.clone()).unwrap_or_default();
                let message = format!("the {what} `{text}` is listed twice");
                let problem = Problem::new(self.first_line(&item.span), message, "delete one of them");
                self.note(problem.with(self.first_line(first), "first listed here"));
            }
        }
    }
}

/// Writes names as a list for people.
fn list(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(10).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > 10 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}
