//! Several members of a workspace, and what changes since a revision affect.

use std::collections::BTreeMap;

use super::{Options, build, once};
use crate::{
    error::{CliError, CommandError, Result},
    ops::{
        self,
        project::{Place, Project},
        workspace::{self, Chosen, Member, Since, is_affected},
    },
    session::Session,
};

/// Builds the members that were chosen, or those of them that are affected.
pub(super) fn run(session: &Session, options: &Options, chosen: &Chosen) -> Result<()> {
    if options.watch {
        return Err(wrong("`--watch` is for one project: run it in the member's folder"));
    }
    if chosen.labelled {
        for_one_image(options)?;
    }
    let mut members = match &options.since {
        None => chosen.members.clone(),
        Some(revision) => {
            let since = Since::read(&chosen.found.root, revision)?;
            let members = chosen.members.iter().filter(|member| {
                let project = ops::project::load_at(session, &member.place, &BTreeMap::new());
                is_affected(session, &since, member.folder.as_ref(), &project)
            });
            let members: Vec<Member> = members.cloned().collect();
            session.say(&summary(&since, members.len(), chosen.members.len()));
            members
        }
    };
    let read = |member: &Member| ops::project::load_at(session, &member.place, &BTreeMap::new()).ok();
    // What a spec has mistakes in is told when its turn comes.
    let projects: Vec<Option<Project>> = members.iter().map(read).collect();
    if chosen.labelled && !members.is_empty() {
        check_params(options, &projects)?;
        check_names(options, &members, &projects)?;
        members = with_target(session, options, members, &projects)?;
    }
    workspace::each(session, &members, options.fail_fast, |member| one(session, options, member, chosen.labelled))
}

/// Builds the project at hand, if it is affected.
pub(super) fn since(session: &Session, options: &Options, place: &Place, revision: &str) -> Result<()> {
    let folder = fs_err::canonicalize(ops::project::parent(&place.spec)).map_err(CliError::file)?;
    let since = Since::read(&folder, revision)?;
    let project = ops::project::load_at(session, place, &options.set.iter().cloned().collect())?;
    let folder = project.membership.as_ref().and_then(|membership| membership.folder.clone());
    if is_affected(session, &since, folder.as_ref(), &Ok(project)) {
        return once(session, options, place);
    }
    session.say(&summary(&since, 0, 1));
    Ok(())
}

fn summary(since: &Since, affected: usize, all: usize) -> String {
    let since = crate::neutral::line(since.revision());
    match (affected, all) {
        (0, _) => format!("Nothing that is built from changed since {since}."),
        (affected, all) => format!("Affected by changes since {since}: {affected} of {all} members."),
    }
}

fn one(session: &Session, options: &Options, member: &Member, labelled: bool) -> Result<()> {
    if !labelled {
        return once(session, options, &member.place);
    }
    let mut project = ops::project::load_at(session, &member.place, &BTreeMap::new())?;
    let set = options.set.iter().filter(|(name, _)| project.spec.params.contains_key(name)).cloned();
    let set: BTreeMap<String, String> = set.collect();
    if !set.is_empty() {
        project = ops::project::load_at(session, &member.place, &set)?;
    }
    match build(session, options, &project)? {
        Some(built) => session.print(&format!("{} {built}\n", member.name())),
        None => Ok(()),
    }
}

/// Refuses what can be said of one image alone.
fn for_one_image(options: &Options) -> Result<()> {
    let first = [
        (options.push.is_some(), "--push"),
        (!options.tag.is_empty(), "--tag"),
        (!options.output.is_empty(), "--output"),
        (options.no_cache.iter().any(Option::is_some), "--no-cache=STAGE"),
    ];
    match first.into_iter().find(|(given, _)| *given) {
        Some((_, option)) => Err(wrong(&format!("`{option}` is for one image, and several members are built"))),
        None => Ok(()),
    }
}

/// A param is set where a member has it; one that none has is a slip of the pen.
fn check_params(options: &Options, projects: &[Option<Project>]) -> Result<()> {
    let known = |name: &str| projects.iter().flatten().any(|project| project.spec.params.contains_key(name));
    match options.set.iter().find(|(name, _)| !known(name)) {
        Some((name, _)) => Err(wrong(&format!("no member has a param `{name}`"))),
        None => Ok(()),
    }
}

/// Two images of one name would be loaded one over the other.
fn check_names(options: &Options, members: &[Member], projects: &[Option<Project>]) -> Result<()> {
    let mut seen: BTreeMap<&str, &Member> = BTreeMap::new();
    for (member, project) in members.iter().zip(projects) {
        let Some(project) = project.as_ref().filter(|_| options.load) else { continue };
        if let Some(first) = seen.insert(project.spec.name.as_str(), member) {
            let (first, second, name) = (first.name(), member.name(), &project.spec.name);
            return Err(wrong(&format!(
                "{first} and {second} both have the name `{name}`, and would be loaded as one"
            )));
        }
    }
    Ok(())
}

/// Leaves out the members that do not have the stage that is wanted.
fn with_target(
    session: &Session,
    options: &Options,
    members: Vec<Member>,
    projects: &[Option<Project>],
) -> Result<Vec<Member>> {
    let Some(stage) = &options.target else { return Ok(members) };
    let all = members.len();
    let has =
        |project: &Option<Project>| project.as_ref().is_none_or(|project| project.spec.stages.contains_key(stage));
    let members: Vec<Member> =
        members.into_iter().zip(projects).filter(|(_, project)| has(project)).map(|(member, _)| member).collect();
    match members.len() {
        0 => Err(wrong(&format!("no member has a stage `{stage}`"))),
        some => {
            if some < all {
                session.say(&format!("{some} of {all} members have a stage {stage}."));
            }
            Ok(members)
        }
    }
}

fn wrong(message: &str) -> CommandError {
    CliError::Option(message.to_owned()).into()
}
