//! What a build proves: made when the image is, out of what was enforced and seen, and kept beside it.
//!
//! The order of things: the definition of the build is put together ([`materials`], [`relaxations`]); where an earlier invocation made the same
//! image of the same definition, and this one ran nothing, its evidence is that of this one too; else statements are made, among them lists of what is in the image ([`super::sbom`]), searched
//! for secrets, and kept in the store.

mod attach;
mod legacy;
mod materials;
mod relaxations;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use bulla_build::{
    assemble::Joined,
    run::{Built, StepRecord, Variation},
    secret::{Hit, Secrets},
};
use bulla_evidence::{
    Resource, Statement, Subject,
    configuration::{CONFIGURATION, Configuration},
    inventory, json,
    provenance::{
        BUILD_TYPE, BuilderFacts, Definition, External, Internal, Isolation, LOCAL_BUILDER, Metadata, PROVENANCE,
        Provenance, Run, RunStep, Step,
    },
    sbom::{self, Format},
    statement::MAX_STATEMENT,
    trace::{self, Process, Refusal, TRACE},
};
use bulla_model::{Digest, Epoch, Fault, Hasher, Kind, lock::Lock, plan::Plan, spec::of_stage_label};
use bulla_store::Store;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub(crate) use self::legacy::put_beside;
use super::{evidence::EvidenceError, keyless::Signing, project::Project};
use crate::{
    error::{CliError, Result},
    session::Session,
};

/// The number of the way in which evidence is made: what was kept of another is made anew.
const FORMAT: u32 = 1;

/// The lists of an image that go with it, and the types of their statements (in-toto, `spec/predicates/spdx.md` and `cyclonedx.md`).
const LISTS: [(Format, &str); 2] =
    [(Format::Spdx23, "https://spdx.dev/Document"), (Format::CycloneDx16, "https://cyclonedx.org/bom")];

/// A statement that is kept in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Piece {
    /// What kind of thing is said.
    predicate_type: String,
    /// The statement's bytes.
    digest: Digest,
    /// How many they are.
    size: u64,
    /// What it is about: manifests and the index of the image.
    about: Vec<Digest>,
}

/// How much evidence goes with an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// The image alone
    None,
    /// What verifiers ask for, and what building it again takes: lists of what is in it, provenance, spec and lock
    #[default]
    Standard,
    /// All that there is: also the programs that ran, and what they were refused
    Full,
}

impl Level {
    fn takes(self, predicate_type: &str) -> bool {
        match self {
            Self::None => false,
            Self::Standard => predicate_type != TRACE,
            Self::Full => true,
        }
    }
}

/// What is known of an invocation beside what was built.
pub(crate) struct Invocation<'a> {
    /// When it began.
    pub began: SystemTime,
    /// What steps must not have left in it.
    pub secrets: &'a Secrets,
    /// What was otherwise around the steps when the image was made a second time, and came out the same; `None` where it was not.
    pub varied: Option<BTreeSet<Variation>>,
}

/// A secret would be in what is handed out.
#[derive(Debug, thiserror::Error)]
#[error("the evidence of type {predicate_type} would have {} in it", shown(hits))]
struct SecretInEvidence {
    predicate_type: String,
    hits: Vec<Hit>,
}

fn shown(hits: &[Hit]) -> String {
    hits.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Fault for SecretInEvidence {
    fn kind(&self) -> Kind {
        Kind::Hermeticity
    }

    fn hints(&self) -> Vec<String> {
        vec!["a param, a label or a command has it: hand it to the step as a secret alone".to_owned()]
    }
}

/// Makes the evidence of what was built, signs it where that is wished, and lets as much of it refer to the image as is wished.
///
/// # Errors
/// As [`make`]; and when what signs does not.
pub(crate) fn with(
    session: &Session,
    store: &Store,
    of: (&Project, &Lock, &[Plan]),
    mut built: Built,
    invocation: &Invocation<'_>,
    level: Level,
    sign: Option<&Signing>,
) -> Result<Built> {
    let mut pieces = match level {
        Level::None => Vec::new(),
        Level::Standard | Level::Full => make(session, store, of, &built, invocation).map_err(|mut error| {
            error.hints.push("the image was made; `--evidence none` hands it out without evidence".to_owned());
            error
        })?,
    };
    pieces.retain(|piece| level.takes(&piece.predicate_type));
    if let Some(image) = &mut built.image {
        image.attached = attach::all(session, store, image, &pieces, sign)?;
    }
    Ok(built)
}

/// Makes the statements about an image that was built, or finds those that an earlier invocation made; none where stages alone were wanted.
///
/// # Errors
/// When the store cannot be read or written, or a secret would be in them.
fn make(
    session: &Session,
    store: &Store,
    (project, lock, plans): (&Project, &Lock, &[Plan]),
    built: &Built,
    invocation: &Invocation<'_>,
) -> Result<Vec<Piece>> {
    let Some(image) = &built.image else { return Ok(Vec::new()) };
    let definition = definition(project, lock, plans, built);
    let about: Vec<Digest> =
        std::iter::once(image.index.digest).chain(image.parts.iter().map(|part| part.manifest.digest)).collect();
    let id = builder_id(session)?;
    let key = |compared: bool| {
        let lists = (sbom::VERSION, inventory::FORMAT);
        let all = ("evidence", FORMAT, lists, &id, &about, &definition, compared);
        Digest::of(serde_json::to_vec(&all).expect("its maps have texts as keys"))
    };
    let compared = invocation.varied.is_some();
    if built.steps.iter().all(|step| step.cached) && !compared {
        // That of an invocation that made the image twice says more.
        for earlier in [true, false] {
            if let Some(kept) = kept(store, &key(earlier))? {
                return Ok(kept);
            }
        }
    }
    let key = key(compared);
    let mut pieces = lists(session, store, project, image, invocation.secrets)?;
    let metadata = metadata(invocation.began)?;
    let builder = BuilderFacts { id: id.clone(), version: env!("CARGO_PKG_VERSION").to_owned(), digest: own_digest()? };
    let predicates = [
        (CONFIGURATION, value(&configuration(project, lock))),
        (TRACE, trace(&id, &metadata, built)),
        (
            PROVENANCE,
            value(&Provenance::new(definition, &builder, metadata.clone(), &run(built, invocation.varied.as_ref()))),
        ),
    ];
    let subjects: Vec<Subject> =
        about.iter().map(|digest| Subject::new(Some(project.spec.name.as_str()), digest)).collect();
    for (predicate_type, predicate) in predicates {
        let statement = Statement::new(subjects.clone(), predicate_type, predicate);
        pieces.push(keep(store, &statement, about.clone(), invocation.secrets)?);
    }
    store.put_result(&key, &serde_json::to_vec(&pieces).expect("its maps have texts as keys"))?;
    Ok(pieces)
}

/// Makes the lists of what the image of each platform is made of.
fn lists(session: &Session, store: &Store, project: &Project, image: &Joined, secrets: &Secrets) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    for part in &image.parts {
        // A list of one platform's files is none of an index of several.
        let mut about = vec![part.manifest.digest];
        about.extend((image.parts.len() == 1).then_some(image.index.digest));
        for (format, predicate_type) in LISTS {
            let (list, unowned) = super::sbom::of_build(store, part, format)?;
            if unowned > 0 && format == LISTS[0].0 {
                session.warn(&format!("{unowned} files of the image have no owner; `bulla sbom --closed` names them"));
            }
            let missing = || bulla_build::export::ExportError::Missing { digest: list };
            let bytes = store.read_blob(&list, MAX_STATEMENT as u64)?.ok_or_else(missing)?;
            let predicate = json::read(&bytes, MAX_STATEMENT).map_err(|error| EvidenceError::Own(error.into()))?;
            let subjects = about.iter().map(|digest| Subject::new(Some(project.spec.name.as_str()), digest)).collect();
            pieces.push(keep(store, &Statement::new(subjects, predicate_type, predicate), about.clone(), secrets)?);
        }
    }
    Ok(pieces)
}

/// Keeps a statement, after it was searched for secrets.
fn keep(store: &Store, statement: &Statement, about: Vec<Digest>, secrets: &Secrets) -> Result<Piece> {
    let (bytes, predicate_type) = (statement.to_bytes(), statement.predicate_type.clone());
    let hits = secrets.find(&bytes);
    if !hits.is_empty() {
        return Err(SecretInEvidence { predicate_type, hits }.into());
    }
    Ok(Piece { predicate_type, digest: store.put_blob(&bytes)?, size: bytes.len() as u64, about })
}

/// Gives the evidence that an earlier invocation made, where all of it is still there.
fn kept(store: &Store, key: &Digest) -> Result<Option<Vec<Piece>>> {
    let Some(json) = store.result(key)? else { return Ok(None) };
    let Ok(pieces) = serde_json::from_slice::<Vec<Piece>>(&json) else { return Ok(None) };
    for piece in &pieces {
        if !store.has_blob(&piece.digest)? {
            return Ok(None);
        }
    }
    Ok(Some(pieces))
}

fn value(document: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(document).expect("its maps have texts as keys")
}

/// Gives what the configuration calls this builder.
fn builder_id(session: &Session) -> Result<String> {
    Ok(session.config()?.evidence.builder.clone().unwrap_or_else(|| LOCAL_BUILDER.to_owned()))
}

fn definition(project: &Project, lock: &Lock, plans: &[Plan], built: &Built) -> Definition {
    let file = project.spec_path.file_name().map_or_else(|| "bulla.yaml".into(), |name| name.to_string_lossy());
    let workspace = project
        .membership
        .as_ref()
        .map(|membership| Resource::new("bulla.workspace.yaml", &Digest::of(&membership.text)));
    let waived = project.membership.as_ref().map_or(&[][..], |membership| &membership.waived);
    // Provenance is for everyone.
    let (withheld, shown): (BTreeMap<String, String>, _) =
        project.set.clone().into_iter().partition(|(name, value)| bulla_build::run::is_private(name, value));
    let epoch = plans.first().map_or(Epoch::default(), |plan| plan.epoch);
    let formats = [("action", bulla_build::run::FORMAT), ("layers", bulla_build::assemble::FORMAT)];
    Definition {
        build_type: BUILD_TYPE.to_owned(),
        external_parameters: External {
            spec: Resource::new(&file, &Digest::of(&project.spec_text)),
            workspace,
            lock: Resource::new("bulla.lock", &Digest::of(lock.render())),
            params: shown,
            withheld: withheld.into_keys().collect(),
            platforms: plans.iter().map(|plan| plan.platform.to_string()).collect(),
        },
        internal_parameters: Internal {
            epoch: epoch.rfc3339(),
            formats: formats.into_iter().map(|(name, number)| (name.to_owned(), number)).collect(),
            steps: built.steps.iter().map(|step| of_step(plans, step)).collect(),
            relaxations: relaxations::of(&project.spec, waived),
        },
        resolved_dependencies: materials::of(&project.spec, lock, plans, built),
    }
}

fn configuration(project: &Project, lock: &Lock) -> Configuration {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Configuration {
        spec: text(&project.spec_text),
        lock: lock.render(),
        workspace: project.membership.as_ref().map(|membership| text(&membership.text)),
        folder: project.membership.as_ref().and_then(|membership| membership.folder.as_ref()).map(ToString::to_string),
    }
}

fn at(step: &StepRecord) -> String {
    format!("{}/{}", step.stage, step.step)
}

fn of_step(plans: &[Plan], step: &StepRecord) -> Step {
    let named = of_stage_label(&step.stage).map(|(name, _)| name);
    let mut stages = plans.iter().flat_map(|plan| &plan.stages);
    // What is no stage are the packages of the image itself.
    let ships = stages.find(|stage| Some(&stage.name) == named.as_ref()).is_none_or(|stage| stage.ships);
    Step { step: at(step), title: step.title.clone(), ships }
}

fn run(built: &Built, varied: Option<&BTreeSet<Variation>>) -> Run {
    let tainted = built.image.as_ref().is_some_and(|image| image.parts.iter().any(|part| part.tainted));
    let steps = built.steps.iter().map(|step| {
        let enforced = &step.record.isolation;
        RunStep {
            step: at(step),
            action: step.action.hex(),
            cached: step.cached,
            isolation: Isolation {
                namespaces: enforced.namespaces.clone(),
                filter: enforced.filter.clone(),
                limits: enforced.limits.clone(),
                overlay: enforced.overlay,
                capabilities: enforced.capabilities,
                emulated: enforced.emulated.clone(),
            },
            refusals: step.record.refusals.iter().map(|refused| refused.times).sum::<u64>()
                + step.record.refusals_dropped,
            read_a_cache: step.record.read_a_cache(),
            observed: step.record.observed.clone(),
        }
    });
    let names = varied.into_iter().flatten().map(ToString::to_string);
    Run { tainted, compared: varied.is_some(), varied: names.collect(), steps: steps.collect() }
}

fn trace(id: &str, metadata: &Metadata, built: &Built) -> serde_json::Value {
    let (mut processes, mut refusals, mut dropped) = (Vec::new(), Vec::new(), (0, 0));
    for step in &built.steps {
        let record = &step.record;
        processes.extend(record.executed.iter().map(|program| Process {
            step: at(step),
            executable: program.executable.clone(),
            arguments: program.argv.clone(),
            times: program.times,
        }));
        refusals.extend(record.refusals.iter().map(|refused| Refusal {
            step: at(step),
            kind: refused.kind.clone(),
            target: refused.target.clone(),
            executable: refused.executable.clone(),
            command_line: refused.command_line.clone(),
            times: refused.times,
        }));
        dropped = (dropped.0 + record.executed_dropped, dropped.1 + record.refusals_dropped);
    }
    trace::predicate(id, metadata, (&processes, &refusals), dropped)
}

fn metadata(began: SystemTime) -> Result<Metadata> {
    let time = |time: SystemTime| {
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Epoch::new(seconds).unwrap_or_default().rfc3339()
    };
    let mut bytes = [0; 16];
    super::keys::random()?(&mut bytes);
    let invocation_id = format!("urn:uuid:{}", uuid(bytes));
    Ok(Metadata { invocation_id, started_on: time(began), finished_on: time(SystemTime::now()) })
}

/// Makes a UUID of random bytes (RFC 9562, section 5.4).
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Gives the SHA-256 of the program that runs.
fn own_digest() -> Result<Digest> {
    let mut file = fs_err::File::open("/proc/self/exe").map_err(CliError::file)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match std::io::Read::read(&mut file, &mut buffer).map_err(CliError::file)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}
