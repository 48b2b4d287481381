//! What a member has from its workspace: it is put in where the spec says nothing, and what the spec says is held against it.

use std::ops::Range;

use super::Context;
use crate::{
    oci::BaseReference,
    path::CleanPath,
    spec::{
        Limits, OnRefusal, Position, Release, Setting,
        workspace::{Bound, Settings},
        written::{Codename, Component, LimitKeys, OnRefusalWord, Suite},
    },
    time::Epoch,
    yaml::At,
};

impl<'t> Context<'t> {
    fn settings(&self) -> Option<&'t Settings> {
        self.inherited.map(|inherited| &inherited.workspace.settings)
    }

    /// Notes that something is looser than the workspace has it, unless that is waived for this member. `bound` is what
    /// the workspace says, and where.
    fn loose(&mut self, span: &Range<usize>, setting: Setting, (bound, at): (&str, Position), message: String) {
        let Some(inherited) = self.inherited else { return };
        let file = &inherited.workspace.file;
        let waiver = inherited.waivers().find(|waiver| waiver.setting == setting);
        let over = match waiver {
            Some(waiver) if !waiver.is_over(inherited.now) => {
                self.waived.insert(setting);
                return;
            }
            Some(waiver) => {
                let (day, at) = (waiver.last_day(), waiver.at);
                format!("; the waiver of `{setting}` ended on {day} ({file}:{}:{})", at.line, at.column)
            }
            None => String::new(),
        };
        let message = format!("{message}, and the workspace {bound} ({file}:{}:{}){over}", at.line, at.column);
        self.wrong(span, message, format!("a member may be stricter; only a waiver in {file} lets it be looser"));
    }

    /// Gives the epoch of specs that say none.
    pub(super) fn inherited_epoch(&self) -> Option<Epoch> {
        self.settings()?.epoch
    }

    /// Notes a word that the workspace forbids.
    pub(super) fn forbidden(&mut self, span: &Range<usize>, setting: Setting) {
        let Some(at) = self.settings().and_then(|settings| settings.forbid.get(&setting)).copied() else { return };
        let message = match setting {
            Setting::RootUser => "the image may run as root",
            Setting::Toolchain => "the image may have a compiler in it",
            Setting::Setuid => "the image keeps set-user-id bits",
            Setting::Capabilities => "the image gives files capabilities",
            Setting::Unsigned => "nothing vouches for this source",
            Setting::Scripts => "maintainer scripts run for the image",
            _ => "the stage fakes its identity",
        };
        self.loose(span, setting, (&format!("forbids `{setting}`"), at), message.to_owned());
    }

    /// Says what happens at a refusal.
    pub(super) fn on_refusal(&mut self, written: Option<&At<OnRefusalWord>>) -> OnRefusal {
        let bound = self.settings().and_then(|settings| settings.on_refusal.as_ref());
        let Some(word) = written else { return bound.map_or(OnRefusal::Record, |bound| bound.value) };
        let value = OnRefusal::from(word.value);
        if let Some(bound) = bound.filter(|bound| bound.value != OnRefusal::Record && value == OnRefusal::Record) {
            let message = "a refusal in this stage fails no build".to_owned();
            self.loose(&word.span, Setting::OnRefusal, (&format!("has `{}`", bound.text), bound.at), message);
        }
        value
    }

    /// Puts in the limits that a stage does not say, and holds the others against those of the workspace.
    pub(super) fn inherit_limits(&mut self, own: Limits, keys: Option<&LimitKeys>) -> Limits {
        let Some(settings) = self.settings() else { return own };
        let none = LimitKeys::default();
        let keys = keys.unwrap_or(&none);
        Limits {
            memory: self.limit(own.memory, keys.memory.as_ref(), settings.memory.as_ref(), Setting::Memory),
            time: self.limit(own.time, keys.time.as_ref(), settings.time.as_ref(), Setting::Time),
            processes: self.limit(
                own.processes,
                keys.processes.as_ref(),
                settings.processes.as_ref(),
                Setting::Processes,
            ),
            disk: self.limit(own.disk, keys.disk.as_ref(), settings.disk.as_ref(), Setting::Disk),
        }
    }

    fn limit<T: PartialOrd + Copy, K>(
        &mut self,
        own: Option<T>,
        written: Option<&At<K>>,
        bound: Option<&Bound<T>>,
        setting: Setting,
    ) -> Option<T> {
        let Some(bound) = bound else { return own };
        if let (Some(value), Some(written)) = (own, written)
            && value > bound.value
        {
            let text = self.text.get(written.span.clone()).unwrap_or_default().trim_end().to_owned();
            let bound = (format!("has at most `{}`", bound.text), bound.at);
            self.loose(&written.span, setting, (&bound.0, bound.1), format!("the stage may use `{text}`"));
        }
        own.or(Some(bound.value))
    }

    /// Gives the release as the workspace has it, where it may be used.
    pub(super) fn inherited_release(&mut self, codename: &At<Codename>) -> Option<Release> {
        let bound = self.settings()?.debian.as_ref()?;
        let found = bound.value.get(&codename.value.0);
        if found.is_none() {
            let known: Vec<&str> = bound.value.keys().map(String::as_str).collect();
            let bound = (format!("has {}", super::list(&known)), bound.at);
            let message = format!("packages come from `{}`", codename.value.0);
            self.loose(&codename.span, Setting::Debian, (&bound.0, bound.1), message);
        }
        found.cloned()
    }

    /// Holds suites and components against those of the workspace.
    pub(super) fn within_release(
        &mut self,
        allowed: &Release,
        suites: Option<&At<Vec<At<Suite>>>>,
        components: Option<&At<Vec<At<Component>>>>,
    ) {
        let Some(at) = self.settings().and_then(|settings| settings.debian.as_ref()).map(|bound| bound.at) else {
            return;
        };
        let suites = suites.into_iter().flat_map(|list| &list.value).map(|item| (item.value.0.as_str(), &item.span));
        let suites =
            suites.filter(|(suite, _)| !allowed.suites.iter().any(|one| one == suite)).map(|one| (one, "suite"));
        let components =
            components.into_iter().flat_map(|list| &list.value).map(|item| (item.value.0.as_str(), &item.span));
        let components = components
            .filter(|(part, _)| !allowed.components.iter().any(|one| one == part))
            .map(|one| (one, "component"));
        for ((name, span), what) in suites.chain(components) {
            let known = if what == "suite" { &allowed.suites } else { &allowed.components };
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let bound = format!("has {} of {}", super::list(&known), allowed.codename);
            self.loose(span, Setting::Debian, (&bound, at), format!("packages come from the {what} `{name}`"));
        }
    }

    /// Holds an image that something starts from against those of the workspace.
    pub(super) fn base_image(&mut self, span: &Range<usize>, reference: &BaseReference) {
        let Some(bound) = self.settings().and_then(|settings| settings.images.as_ref()) else { return };
        let name = CleanPath::parse(reference.name()).ok();
        if !name.is_some_and(|name| bound.value.iter().any(|glob| glob.matches(&name))) {
            let known: Vec<&str> = bound.value.iter().map(crate::spec::Glob::as_str).collect();
            let bound = (
                if known.is_empty() { "allows none".to_owned() } else { format!("allows {}", super::list(&known)) },
                bound.at,
            );
            let message = format!("`{}` is started from", reference.name());
            self.loose(span, Setting::Images, (&bound.0, bound.1), message);
        }
    }
}
