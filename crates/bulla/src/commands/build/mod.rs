//! `bulla build`: the image.

mod members;
mod push_to;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bulla_build::{assemble::Joined, export::check_name, run::Anew};
use bulla_model::{
    Kind, Platform,
    lock::Lock,
    oci::Reference,
    spec::{Name, Source, StepRef, StepRefError, WORKSPACE_FILE},
};
use bulla_store::Store;
use clap::Args;

use self::push_to::PushTo;
use super::lock::AllowDowngrade;
use crate::{
    error::{CliError, Result},
    neutral,
    ops::{
        self,
        build::Wishes,
        export::Output,
        keyless::{KeylessOptions, Signing},
        keys::Passphrase,
        lock::{Update, Wish},
        project::{Place, Project},
        statements::Level,
        watch::Watch,
        workspace,
    },
    secret::SecretOption,
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  bulla build                               into bulla-out/, an OCI layout
  bulla build --load --tag shop:dev         … and into Docker or Podman, under a name
  bulla build --push registry.example/team/shop:1.4
  bulla build --set VERSION=1.4.2           with a value for a param of the spec
  bulla build --output oci-archive:shop.tar into one file
  bulla build --platform linux/arm64        for one of the spec's platforms
  bulla build --locked --progress plain     as in CI: nothing is resolved, the tree must be clean
  bulla build --target test                 one stage and what it needs, no image
  bulla build --watch --target test         … again whenever a file changes
  bulla build --compare                     made twice, in other surroundings: both must agree
  bulla build --no-cache=build/3            run the third step of the stage `build` again
  bulla build --secret id=npm,env=NPM_TOKEN for the steps that say `secrets: [npm]`
  bulla build services/shop services/cart   these members of a workspace
  bulla build --since origin/main           what changes since then affect, and why
  bulla build --push registry.example/team/{name}:1.4    all members, each to its own repository

Standard output has the image's digest alone: DIGEST=$(bulla build). Of several members of a workspace it has a line each, with
the member's folder before the digest.";

/// Build the image, and print its digest
///
/// Writes bulla.lock where there is none and amends it when the spec grew; brings what it names into the store; runs the
/// steps that have not run with the same inputs before, each in a sandbox without network; and assembles the image. The
/// same spec, lock and sources give the same digest.
///
/// In the folder of a bulla.workspace.yaml it builds all members, one after the other, each into its own folder. A member that
/// fails does not stop the others; the exit code is the highest of theirs.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// The folders of the workspace's members to build [default: in the workspace's folder all, else the project]
    #[arg(value_name = "MEMBER")]
    members: Vec<PathBuf>,

    /// Build only what is affected by changes since a revision of git, and say why
    ///
    /// What is compared is the working tree, also what is not committed or not tracked, with the commit where the history of the
    /// revision and yours part, as `git diff REV...` has it. A project is affected when its spec, its lock, its workspace's
    /// file, or a file of a source that is not ignored differs. Where nothing is, nothing is built or printed.
    #[arg(long, value_name = "REV", conflicts_with = "watch")]
    since: Option<String>,

    /// With several members, stop at the first that fails
    #[arg(long)]
    fail_fast: bool,

    /// Where the image is written: oci:DIR, oci-archive:FILE or docker-archive:FILE; may be repeated
    ///
    /// Without it, and without --load or --push, an OCI layout in bulla-out/ in the project's folder.
    #[arg(long, short, value_name = "KIND:PATH")]
    output: Vec<Output>,

    /// Load the image into Docker, or else Podman
    #[arg(long)]
    load: bool,

    /// Push the image to a registry, `HOST/REPOSITORY[:TAG]`, and print its reference with the digest
    ///
    /// `{name}` stands for the name of the spec, and is needed for several members of a workspace: each image goes to a place of its
    /// own. They are pushed when all are built: where a build fails, nothing is pushed.
    #[arg(long, value_name = "REF")]
    push: Option<PushTo>,

    /// The image's name where it is written or loaded [default: the spec's name]; may be repeated
    #[arg(long, short, value_name = "NAME[:TAG]")]
    tag: Vec<String>,

    /// Build for this platform of the spec alone: linux/amd64 or linux/arm64; may be repeated [default: all of the spec]
    ///
    /// `bulla index create` joins what was built for several.
    #[arg(long, value_name = "OS/ARCH")]
    platform: Vec<Platform>,

    /// Give a param of the spec a value; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,

    /// Fail where the lock would have to change or the tree is dirty [default where CI=true]
    #[arg(long)]
    locked: bool,

    /// With --locked, build a git tree that has changes
    #[arg(long)]
    allow_dirty: bool,

    /// How many stages run at once [default: the number of processors]
    #[arg(long, short, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,

    /// Run this stage and what it needs, and write no image: standard output stays empty
    #[arg(long, value_name = "STAGE", conflicts_with_all = ["output", "load", "tag", "push"])]
    target: Option<Name>,

    /// Run every step again, or those of a stage, or one step; may be repeated
    ///
    /// Results of earlier builds are there and are not used. With a value, which stands after a `=`, all other results are
    /// used as always: what follows a step runs again only where the step leaves something else than before.
    #[arg(long, value_name = "STAGE[/STEP]", num_args = 0..=1, require_equals = true, default_missing_value = "", value_parser = again)]
    no_cache: Vec<Option<StepRef>>,

    /// Give the steps that name it a secret; may be repeated
    ///
    /// Its value is that of a variable, a file, or what a command prints, which /bin/sh runs on this machine. It is shown nowhere, is no
    /// part of what decides whether a step runs again, and is searched for in what the step leaves, which fails the build. The
    /// command behind `revoke` gets the value on its standard input when the build ends, however it ends.
    #[arg(long, value_name = "id=NAME,env=VAR|file=PATH|exec=CMD[,revoke=CMD]")]
    secret: Vec<SecretOption>,

    /// Make the image twice, and fail where it does not come out the same
    ///
    /// The second run is later, uses no result and no cache of the first, and has another time zone, locale, host name, user name,
    /// number of processors and order of directories around its steps. What differs is shown with the reason, as far as it can be
    /// told, and no image is written. That both agreed is in the provenance.
    #[arg(long, conflicts_with_all = ["target", "watch"])]
    compare: bool,

    /// Sign the image and its evidence by this private key: its file, `pkcs11:…` for one on a token, or `hashivault://NAME` for one of Vault
    ///
    /// The index and the manifest of each platform are signed, and each statement about them; in registries in cosign's older form too. Without it
    /// nothing is signed, but where CI=true and the configuration names a key for that.
    #[arg(long, value_name = "KEY", conflicts_with_all = ["target", "keyless", "identity_token"])]
    sign: Option<PathBuf>,

    #[command(flatten)]
    keyless: KeylessOptions,

    /// Have the configured timestamp authority say when it was signed by the key
    #[arg(long)]
    timestamp: bool,

    #[command(flatten)]
    passphrase: Passphrase,

    /// How much evidence goes with the image to where it is written or pushed
    ///
    /// It refers to the image, whose digest does not depend on it. Archives for Docker cannot hold any.
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t)]
    evidence: Level,

    /// Build again whenever a file of a source or the spec changes, until Ctrl-C
    ///
    /// What fails is told and does not end it. Changes are gathered until nothing changes for a moment.
    #[arg(long, conflicts_with = "locked")]
    watch: bool,

    #[command(flatten)]
    downgrade: AllowDowngrade,
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    let chosen = workspace::choose(session, &options.members).map_err(|mut error| {
        if let (Some(first), true) = (options.members.first(), options.no_cache.contains(&None)) {
            error.hints.push(format!("a stage or step stands behind a `=`: `--no-cache={}`", first.display()));
        }
        error
    })?;
    if let Some(chosen) = chosen {
        return members::run(session, options, &chosen);
    }
    let place = Place::at_hand(session);
    if let Some(revision) = &options.since {
        return members::since(session, options, &place, revision);
    }
    if !options.watch {
        return once(session, options, &place);
    }
    loop {
        let watch = watch(session, options)?;
        match once(session, options, &place) {
            Err(error) if error.kind == Kind::Interrupted => return Err(error),
            Err(error) => session.report(&error),
            Ok(()) => {}
        }
        session.say("Waiting for a change; Ctrl-C ends this.");
        let (first, count) = watch.wait(&session.interrupt)?;
        let more = if count > 1 { " and more" } else { "" };
        session.say(&neutral::line(&format!("changed: {}{more}", first.display())));
    }
}

/// Watches what a build would read: all folders that are sources or layouts, as far as the spec can be read, and the spec itself. What is
/// downloaded is pinned.
fn watch(session: &Session, options: &Options) -> Result<Watch> {
    let set: BTreeMap<String, String> = options.set.iter().cloned().collect();
    let spec = fs_err::canonicalize(ops::project::parent(&session.spec_path())).map_err(CliError::file)?;
    let project = ops::project::load(session, &set).ok();
    // Also where it has a mistake just now.
    let workspace = spec.ancestors().find(|above| above.join(WORKSPACE_FILE).is_file()).map(Path::to_owned);
    let folder = |source: &Source| match &source.folder()?.path {
        Some(path) => Some(spec.join(path.to_string())),
        None => Some(spec.clone()),
    };
    let mut trees: Vec<PathBuf> = Vec::new();
    if let Some(Project { spec: now, .. }) = &project {
        trees.extend(now.sources.values().filter_map(folder));
        let layouts = now.base_images().into_iter().filter_map(|(reference, _)| reference.layout());
        trees.extend(layouts.map(|layout| spec.join(layout.folder())));
    }
    let outputs = options.output.iter().map(|output| std::path::absolute(output.path()).map_err(CliError::file));
    Watch::new(&spec, &trees, outputs.collect::<Result<Vec<_>>>()?, workspace)
}

fn once(session: &Session, options: &Options, place: &Place) -> Result<()> {
    let set: BTreeMap<String, String> = options.set.iter().cloned().collect();
    let project = ops::project::load_at(session, place, &set)?;
    let push = options.push.as_ref().map(|to| to.of(&project.spec.name)).transpose()?;
    match build(session, options, &project, push.as_ref(), || ops::store::open(session))?.image {
        Some(image) => session.print(&format!("{}\n", shown(&image, push.as_ref()))),
        None => Ok(()),
    }
}

/// Writes what is printed of an image: its digest, or where it was pushed to.
fn shown(image: &Joined, pushed: Option<&Reference>) -> String {
    let digest = image.index.digest;
    pushed.map_or_else(|| digest.to_string(), |reference| reference.pinned(digest).to_string())
}

/// What was built.
struct Done {
    lock: Lock,
    /// `None` where a stage alone was wanted.
    image: Option<Joined>,
    /// What signed it.
    sign: Option<Signing>,
}

/// Builds a project, and pushes it where that is wanted.
fn build(
    session: &Session,
    options: &Options,
    project: &Project,
    push: Option<&Reference>,
    store: impl FnOnce() -> Result<Store>,
) -> Result<Done> {
    // What is typed wrong is said before a long build, not after it.
    options.tag.iter().try_for_each(|name| check_name(name))?;
    workspace::tell(session, project);
    let named = options.no_cache.iter().flatten().cloned().chain(options.target.clone().map(StepRef::from));
    named.into_iter().try_for_each(|step| step.check(&project.spec))?;
    let locked = options.locked || session.environment.ci;
    if locked {
        ops::project::refuse_loose_stages(project, options.target.as_ref())?;
    }
    let lock = if locked {
        ops::lock::require(project)?
    } else {
        let wish = Wish { update: Update::Nothing, allow_downgrade: options.downgrade.allow_downgrade };
        ops::lock::ensure(session, project, &wish)?
    };
    let wishes = Wishes {
        clean: locked && !options.allow_dirty,
        may_pin: !locked,
        jobs: options.jobs.map(usize::from),
        platforms: options.platform.iter().copied().collect(),
        target: options.target.clone(),
        anew: anew(&options.no_cache),
        again: None,
        compare: options.compare,
        outputs: if options.output.is_empty() && !options.load && options.push.is_none() && options.target.is_none() {
            vec![ops::export::default_output(&project.folder)]
        } else {
            options.output.clone()
        },
        load: options.load,
        names: if options.tag.is_empty() { vec![project.spec.name.to_string()] } else { options.tag.clone() },
        push: push.cloned(),
        secrets: options.secret.clone(),
        evidence: evidence(options)?,
        sign: signing(session, options)?,
    };
    let image = ops::build::run(session, &store()?, project, &lock, &wishes)?;
    Ok(Done { lock, image, sign: wishes.sign })
}

/// Says how much evidence is made: none where no place that the image goes to would hold it.
fn evidence(options: &Options) -> Result<Level> {
    let somewhere = !options.load && options.output.is_empty();
    if options.push.is_some() || somewhere || options.output.iter().any(Output::holds_evidence) {
        return Ok(options.evidence);
    }
    match options.sign.is_some() || options.keyless.is_asked_for() {
        false => Ok(Level::None),
        true => {
            let what = "what is signed is pushed, or written as an OCI layout or oci-archive; an engine and an archive for Docker hold no signature";
            Err(CliError::Option(what.to_owned()).into())
        }
    }
}

/// Says what signs: the key that is named, a certificate where it is asked for, or where CI builds the configuration's key. Nothing else does.
fn signing(session: &Session, options: &Options) -> Result<Option<Signing>> {
    // By a certificate the time is always said.
    if options.keyless.is_asked_for() {
        if options.target.is_some() {
            return Err(CliError::Option("a stage alone is no image, and not signed".to_owned()).into());
        }
        return Signing::keyless(session, &options.keyless).map(Some);
    }
    let of_ci = || session.config().map(|config| config.evidence.ci_key.clone().filter(|_| session.environment.ci));
    let path = match &options.sign {
        Some(path) => Some(path.clone()),
        None => {
            of_ci()?.filter(|_| options.target.is_none() && evidence(options).is_ok_and(|level| level != Level::None))
        }
    };
    let Some(path) = path else {
        return match options.timestamp {
            true => Err(CliError::Option(
                "`--timestamp` is for what a key signs, and none is named: `--sign KEY`".to_owned(),
            )
            .into()),
            false => Ok(None),
        };
    };
    Signing::key(session, session.signing_key(&path, &options.passphrase)?, options.timestamp).map(Some)
}

/// Reads the value of `--no-cache`; without one, every step is meant.
fn again(text: &str) -> Result<Option<StepRef>, StepRefError> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

/// Says what all `--no-cache` together mean.
fn anew(named: &[Option<StepRef>]) -> Anew {
    match named.iter().cloned().collect::<Option<Vec<StepRef>>>() {
        None => Anew::Everything,
        Some(steps) if steps.is_empty() => Anew::Nothing,
        Some(steps) => Anew::Steps(steps),
    }
}

/// Reads `NAME=VALUE`.
pub(crate) fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}
