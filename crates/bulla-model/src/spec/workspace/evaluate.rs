//! From the keys of a workspace to what they mean.

use std::{collections::BTreeMap, ops::Range};

use super::{
    Bound, Members, Settings, Waiver, Workspace, WorkspaceStore,
    member::MemberPattern,
    written::{ReleaseKeys, SettingKeys, StoreKeys, WaiverKeys, WorkspaceKeys},
};
use crate::{
    spec::{
        Limits, OnRefusal, Release,
        evaluate::{Context, File},
        written::{Codename, LimitKeys, Map},
    },
    yaml::{At, Problem},
};

/// The most entries of each list.
const MAX_ENTRIES: usize = 10_000;

/// Evaluates everything.
pub(super) fn workspace(file: &File<'_>, keys: &WorkspaceKeys) -> Result<Workspace, Vec<Problem>> {
    let mut context = Context::new(file, None);
    let members = members(&mut context, keys);
    let settings = settings(&mut context, &keys.settings);
    let waivers = waivers(&mut context, &keys.waivers);
    let store = keys.store.as_ref().map(|keys| store(&mut context, keys));
    match context.problems.is_empty() {
        true => Ok(Workspace { file: file.name.to_owned(), members, waivers, store, settings }),
        false => Err(context.problems),
    }
}

fn members(context: &mut Context<'_>, keys: &WorkspaceKeys) -> Members {
    if keys.members.is_empty() {
        context.wrong(&keys.members.span, "the workspace has no members", "write `members: [services/*]`");
    }
    context.refuse_twice(&keys.members, "member");
    for (span, length) in [(&keys.members.span, keys.members.len()), (&keys.members.span, keys.ignore.len())] {
        if length > MAX_ENTRIES {
            context.wrong(span, format!("the list has more than {MAX_ENTRIES} entries"), "write a pattern");
        }
    }
    let pattern = |member: &At<super::written::MemberText>| MemberPattern {
        kind: member.value.0.clone(),
        span: member.span.clone(),
        at: context.position(&member.span),
    };
    Members {
        patterns: keys.members.iter().map(pattern).collect(),
        ignore: keys.ignore.iter().map(|glob| glob.value.clone()).collect(),
    }
}

fn settings(context: &mut Context<'_>, keys: &SettingKeys) -> Settings {
    let written = keys.limits.as_ref().map(|keys| &keys.value);
    let none = LimitKeys::default();
    let limits = written.map(|keys| context.limits(keys)).unwrap_or_default();
    let written = written.unwrap_or(&none);
    let Limits { memory, time, processes, disk } = limits;
    Settings {
        epoch: keys.epoch.as_ref().map(|moment| moment.value.0),
        on_refusal: bound(
            context,
            keys.on_refusal.as_ref(),
            keys.on_refusal.as_ref().map(|at| OnRefusal::from(at.value)),
        ),
        memory: bound(context, written.memory.as_ref(), memory),
        time: bound(context, written.time.as_ref(), time),
        processes: bound(context, written.processes.as_ref(), processes),
        disk: bound(context, written.disk.as_ref(), disk),
        debian: keys.debian.as_ref().and_then(|debian| {
            let releases = releases(context, debian);
            bound(context, Some(debian), Some(releases))
        }),
        images: bound(
            context,
            keys.images.as_ref(),
            keys.images.as_ref().map(|list| list.iter().map(|glob| glob.value.clone()).collect()),
        ),
        forbid: {
            context.refuse_twice(&keys.forbid, "word");
            keys.forbid.iter().map(|word| (word.value.0, context.position(&word.span))).collect()
        },
    }
}

/// Puts a value together with how and where it was written.
fn bound<K, T>(context: &Context<'_>, written: Option<&At<K>>, value: Option<T>) -> Option<Bound<T>> {
    let written = written?;
    let text = context.text.get(written.span.clone()).unwrap_or_default().trim_end().to_owned();
    Some(Bound { value: value?, text, at: context.position(&written.span) })
}

fn releases(context: &mut Context<'_>, debian: &At<Map<Codename, ReleaseKeys>>) -> BTreeMap<String, Release> {
    let release = |(codename, keys): (&At<Codename>, &At<ReleaseKeys>)| {
        let release = context.release(codename, keys.suites.as_ref(), keys.components.as_ref());
        (codename.value.0.clone(), release)
    };
    debian.iter().map(release).collect()
}

fn store(context: &mut Context<'_>, keys: &StoreKeys) -> WorkspaceStore {
    let branches = keys.write_from.as_ref();
    if let Some(list) = branches {
        context.refuse_twice(&list.value, "branch");
        if list.len() > MAX_ENTRIES {
            context.wrong(
                &list.span,
                format!("the list has more than {MAX_ENTRIES} entries"),
                "write `*` for any branch",
            );
        }
    }
    WorkspaceStore {
        remote: keys.remote.value.0.clone(),
        write_from: branches.map(|list| list.iter().map(|branch| branch.value.0.clone()).collect()),
        at: context.position(&keys.remote.span),
    }
}

fn waivers(context: &mut Context<'_>, keys: &[At<WaiverKeys>]) -> Vec<Waiver> {
    if let Some(over) = keys.get(MAX_ENTRIES) {
        context.wrong(&over.span, format!("there are more than {MAX_ENTRIES} waivers"), "");
    }
    let mut seen: BTreeMap<_, Range<usize>> = BTreeMap::new();
    for waiver in keys {
        let what = (waiver.member.value.0.clone(), waiver.setting.value.0);
        if let Some(first) = seen.insert(what, waiver.member.span.clone()) {
            let message = format!("`{}` is waived twice for this member", waiver.setting.value.0);
            let problem = Problem::new(waiver.member.span.clone(), message, "delete one of them");
            context.note(problem.with(first, "first waived here"));
        }
    }
    let waiver = |keys: &At<WaiverKeys>| Waiver {
        member: keys.member.value.0.clone(),
        setting: keys.setting.value.0,
        reason: keys.reason.value.0.clone(),
        until: keys.until.value.0,
        at: context.position(&keys.member.span),
    };
    keys.iter().map(waiver).collect()
}
