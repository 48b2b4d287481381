//! `bulla reproduce`: an image is made again from its evidence, and compared.

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode};

use bulla_build::run::Variation;
use bulla_evidence::{reproduction::Reproduction, summary::LOCAL_VERIFIER};
use bulla_model::Kind;
use clap::Args;
use serde::Serialize;

use super::sign::FormWord;
use crate::{
    error::{CliError, Result},
    ops::{
        evidence::{EvidenceError, Image, Published, What, put},
        keyless::{Authorities, KeylessOptions, Seal, SignerOptions},
        keys::{self, Passphrase},
        lock::now,
        reproduce::{self, Outcome, Vouched, Wanted},
        transfer::Place,
    },
    report::{self, Format},
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  bulla reproduce oci:bulla-out --source .                      what was just built
  bulla reproduce registry.example/team/shop:1.4 --key release.pub
  bulla reproduce shop.oci.tar --perturb                        … in other surroundings, and the cause where it differs
  bulla reproduce oci:bulla-out --source . --perturb=zone,processors
  bulla reproduce registry.example/team/shop:1.4 --key release.pub --attest rebuilder.key

The sources are fetched where the image was built from a clean checkout of a public repository; else --source names the project's
folder. Exit codes: 0 the same digest, 7 another one, or it cannot be made again; 5 evidence that was tampered with.";

/// Make an image again from its provenance, and say whether it comes out the same
///
/// Reads and verifies the evidence that refers to the image (a key or somebody with a certificate who is named must have signed it; where nobody is
/// named, what nobody signed is believed, and that is said), builds from the spec, lock and commit that it names, with no secrets
/// and no results of earlier builds, and compares. The commit is asked for as nobody; packages come from the store, or from your own registries as in
/// any build. What differs is shown with the reason, as far as it can be told.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// The image: `oci:DIR[:NAME]`, a folder or archive with a layout, or `HOST/REPOSITORY[:TAG][@DIGEST]`
    #[arg(value_name = "IMAGE")]
    what: What,

    #[command(flatten)]
    signers: SignerOptions,

    /// The folder of the project, where its sources are folders of it
    #[arg(long, value_name = "DIR")]
    source: Option<PathBuf>,

    /// Make it in other surroundings, and find out which of them it depends on: zone, locale, host-name, user, umask, processors,
    /// directory-order [default: all but umask]
    #[arg(long, value_name = "LIST", value_delimiter = ',', num_args = 0..=1, require_equals = true, default_missing_value = "")]
    perturb: Option<Vec<String>>,

    /// Say by this private key, beside the image, that it came out the same; nothing is said of one that did not
    #[arg(long, value_name = "FILE")]
    attest: Option<PathBuf>,

    #[command(flatten)]
    passphrase: Passphrase,

    /// How the result is written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// What programs read.
#[derive(Serialize)]
struct Document<'a> {
    image: String,
    made: String,
    same: bool,
    /// Whether somebody who was named signed the evidence.
    signed: bool,
    /// What was otherwise around the steps.
    varied: Vec<&'static str>,
    /// What the difference comes of, where that was looked for: empty where it is there with nothing varied.
    #[serde(skip_serializing_if = "Option::is_none")]
    causes: Option<Vec<&'static str>>,
    differences: &'a [String],
}

/// Runs the command; the exit code says whether it is the same.
pub(crate) fn run(session: &Session, options: &Options) -> Result<ExitCode> {
    let place = options.what.image();
    let varied = varied(options.perturb.as_deref())?;
    let (authorities, source) = (Authorities::read(session, &options.signers, None)?, options.source.clone());
    // Whoever has to type a passphrase does not wait for a build first.
    let signer = options.attest.as_deref().map(|key| keys::signer(session, key, &options.passphrase)).transpose()?;
    if let (Place::Archive(file, _), Some(_)) = (&place, &signer) {
        return Err(EvidenceError::Archive(file.clone()).into());
    }
    let outcome =
        reproduce::run(session, &Wanted { place: place.clone(), authorities, source, varied: varied.clone() })?;
    if outcome.vouched == Vouched::Nobody {
        session.warn("nobody signed the evidence that was built from, or nobody was named who may: whoever wrote the image could write it");
    }
    let told = outcome.differences.as_ref().map(|differences| differences.told()).unwrap_or_default();
    let same = outcome.image == outcome.made;
    session.print(&match options.format {
        Format::Text => text(&outcome, &told),
        Format::Json => report::json_line(&Document {
            image: outcome.image.to_string(),
            made: outcome.made.to_string(),
            same,
            signed: outcome.vouched == Vouched::Signer,
            varied: names(&varied),
            causes: outcome.causes.as_ref().map(names),
            differences: &told,
        }),
    })?;
    if let Some(key) = signer.filter(|_| same) {
        attest(session, &place, &outcome, names(&varied), &Seal::of_key(session, key, false)?)?;
    }
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(Kind::Policy.exit_code()) })
}

/// Says beside the image that it came out the same.
fn attest(session: &Session, place: &Place, outcome: &Outcome, varied: Vec<&str>, seal: &Seal) -> Result<()> {
    let reproduction = Reproduction {
        verifier: session.config()?.evidence.verifier.clone().unwrap_or_else(|| LOCAL_VERIFIER.to_owned()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time: now(),
        varied: varied.into_iter().map(str::to_owned).collect(),
        signed: outcome.vouched == Vouched::Signer,
        builder: outcome.builder.clone(),
    };
    // A tag may have moved while it was made.
    let place = match place {
        Place::Registry(reference) => Place::Registry(reference.pinned(outcome.image)),
        other => other.clone(),
    };
    let image = Image::open(session, &place)?;
    let form = FormWord::or_usual(None, &place, &KeylessOptions::default());
    let mut published = Published::default();
    for subject in image.told(None)? {
        published.attest(&reproduction.statement(&subject.digest), subject, form.forms(), seal)?;
    }
    put(session, &place, &published, seal.trust())
}

fn names(varied: &BTreeSet<Variation>) -> Vec<&'static str> {
    varied.iter().map(|variation| variation.name()).collect()
}

fn varied(words: Option<&[String]>) -> Result<BTreeSet<Variation>> {
    let read =
        |word: &String| word.parse().map_err(|error| CliError::Option(format!("`--perturb={word}`: {error}")).into());
    match words {
        None => Ok(BTreeSet::new()),
        Some([only]) if only.is_empty() => Ok(Variation::USUAL.into()),
        Some(words) => words.iter().map(read).collect(),
    }
}

fn text(outcome: &Outcome, told: &[String]) -> String {
    if outcome.image == outcome.made {
        return format!("{}\nreproduced: it came out the same\n", outcome.image);
    }
    let mut out = format!("{}\nnot reproduced: it came out as {}\n", outcome.image, outcome.made);
    for line in told {
        out.push_str(&format!("  {line}\n"));
    }
    match &outcome.causes {
        None => {}
        Some(causes) if causes.is_empty() => {
            out.push_str("It differs in the same surroundings too: by the time, by chance, or by the machine.\n");
        }
        Some(causes) => out.push_str(&format!("It depends on: {}.\n", names(causes).join(", "))),
    }
    out
}
