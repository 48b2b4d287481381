//! Several members of a workspace, and what changes since a revision affect.

use std::collections::BTreeMap;

use bulla_store::Store;

use super::{Done, Options, PushTo, build, once, shown};
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
    if !chosen.labelled {
        return workspace::each(session, &members, options.fail_fast, |member| once(session, options, &member.place));
    }
    if members.is_empty() {
        return Ok(());
    }
    // One for all, so that what one build made is there until it was pushed.
    let store = ops::store::open(session)?;
    match &options.push {
        Some(to) => build_and_push(session, options, &members, (&store, to)),
        None => workspace::each(session, &members, options.fail_fast, |member| {
            let (_, done) = one(session, options, member, &store)?;
            done.image.map_or(Ok(()), |image| session.print(&format!("{} {}\n", member.name(), shown(&image, None))))
        }),
    }
}

/// Builds members, and pushes each to a place of its own when all are built: a build that fails leaves every tag as it was.
fn build_and_push(
    session: &Session,
    options: &Options,
    members: &[Member],
    (store, to): (&Store, &PushTo),
) -> Result<()> {
    let mut built: Vec<(&Member, Project, Done)> = Vec::new();
    let all_built = workspace::each(session, members, options.fail_fast, |member| {
        let (project, done) = one(session, options, member, store)?;
        let member = members.iter().find(|known| *known == member);
        built.extend(member.map(|member| (member, project, done)));
        Ok(())
    });
    if let Err(error) = all_built {
        session.say("Nothing was pushed: members are pushed when all are built.");
        return Err(error);
    }
    let mut pushed = 0;
    let all_pushed = workspace::each(session, members, options.fail_fast, |member| {
        let Some((_, project, done)) = built.iter().find(|(known, ..)| *known == member) else { return Ok(()) };
        let Some(image) = &done.image else { return Ok(()) };
        let reference = to.of(&project.spec.name)?;
        ops::build::push(session, store, project, (&done.lock, image), &reference, done.sign.as_ref())?;
        pushed += 1;
        session.print(&format!("{} {}\n", member.name(), shown(image, Some(&reference))))
    });
    if all_pushed.is_err() {
        session.say(&format!("Pushed {pushed} of {} images; standard output has those that are there.", members.len()));
    }
    all_pushed
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

/// Builds a member among others.
fn one(session: &Session, options: &Options, member: &Member, store: &Store) -> Result<(Project, Done)> {
    let mut project = ops::project::load_at(session, &member.place, &BTreeMap::new())?;
    let set = options.set.iter().filter(|(name, _)| project.spec.params.contains_key(name)).cloned();
    let set: BTreeMap<String, String> = set.collect();
    if !set.is_empty() {
        project = ops::project::load_at(session, &member.place, &set)?;
    }
    let done = build(session, options, &project, None, || Ok(store.clone()))?;
    Ok((project, done))
}

/// Refuses what can be said of one image alone.
fn for_one_image(options: &Options) -> Result<()> {
    let first = [
        (!options.tag.is_empty(), "--tag"),
        (!options.output.is_empty(), "--output"),
        (options.no_cache.iter().any(Option::is_some), "--no-cache=STAGE"),
    ];
    if let Some((_, option)) = first.into_iter().find(|(given, _)| *given) {
        return Err(wrong(&format!("`{option}` is for one image, and several members are built")));
    }
    match options.push.as_ref().filter(|to| !to.is_for_many()) {
        Some(to) => Err(wrong(&format!(
            "several members are built, and `--push` names one place: write `{{name}}` where the name of each stands, as in `--push {}`",
            to.for_many()
        ))),
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

/// Two images of one name would be loaded, or pushed, one over the other.
fn check_names(options: &Options, members: &[Member], projects: &[Option<Project>]) -> Result<()> {
    let mut seen: BTreeMap<&str, &Member> = BTreeMap::new();
    for (member, project) in members.iter().zip(projects) {
        let Some(project) = project.as_ref().filter(|_| options.load || options.push.is_some()) else { continue };
        // What no repository can be called is said before anything is built.
        options.push.as_ref().map(|to| to.of(&project.spec.name)).transpose()?;
        if let Some(first) = seen.insert(project.spec.name.as_str(), member) {
            let (first, second, name) = (first.name(), member.name(), &project.spec.name);
            return Err(wrong(&format!(
                "{first} and {second} both have the name `{name}`, and would be {} as one",
                if options.load { "loaded" } else { "pushed" }
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
