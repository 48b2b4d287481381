//! `bulla checklist`: the questions of a build review, answered by evidence.

use std::process::ExitCode;

use bulla_evidence::{
    checklist::{Answer, Item, answer},
    verify::{Assessed, assess},
};
use bulla_model::Kind;
use clap::Args;
use serde::Serialize;

use crate::{
    error::Result,
    neutral,
    ops::{
        evidence::{self, Image, What},
        keyless::{Authorities, SignerOptions},
        transfer::Place,
    },
    report::{self, Format},
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  bulla checklist oci:bulla-out
  bulla checklist registry.example/team/shop:1.4 --key release.pub
  bulla checklist oci:bulla-out --format json | jq '.items[] | select(.answer == \"no-evidence\")'

Answers: yes (a signer that you named signed what says so, or the image shows it), asserted (somebody says so, and nobody signed it), no, and no
evidence. Exit codes: 0 when nothing is answered with no, 7 else. See docs/evidence.md.";

/// Answer the questions of a build review about an image, each with the evidence that answers it
///
/// Reads what lies beside the image and its configuration. What no evidence says is said to be without evidence, and never yes.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// The image: `oci:DIR[:NAME]`, a folder or archive with a layout, or `HOST/REPOSITORY[:TAG][@DIGEST]`
    #[arg(value_name = "IMAGE")]
    what: What,

    #[command(flatten)]
    signers: SignerOptions,

    /// How the answers are written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// What programs read.
#[derive(Serialize)]
struct Document {
    digest: String,
    items: Vec<Item>,
}

/// Runs the command; the exit code says whether something is not as it should be.
pub(crate) fn run(session: &Session, options: &Options) -> Result<ExitCode> {
    let place = options.what.image();
    let authorities = Authorities::read(session, &options.signers, None)?;
    let image = Image::open(session, &place)?;
    let mut assessed: Vec<Assessed> =
        evidence::pieces(session, &image)?.iter().map(|piece| assess(piece, authorities.trust())).collect();
    let at_hand = !matches!(place, Place::Registry(_));
    assessed.extend(evidence::consistent(session, &place, &image, &assessed, at_hand)?);
    let items = answer(&assessed, &image.facts());
    let no = items.iter().any(|item| item.answer == Answer::No);
    let document = Document { digest: image.root.digest.to_string(), items };
    session.print(&match options.format {
        Format::Text => text(&document),
        Format::Json => report::json_line(&document),
    })?;
    Ok(if no { ExitCode::from(Kind::Policy.exit_code()) } else { ExitCode::SUCCESS })
}

fn text(document: &Document) -> String {
    let mut out = format!("{}\n", document.digest);
    for item in &document.items {
        let answer = match item.answer {
            Answer::Yes => "yes",
            Answer::Asserted => "asserted",
            Answer::No => "no",
            Answer::NoEvidence => "no evidence",
        };
        out.push_str(&format!("{:>2}  {answer:<11}  {}\n", item.number, item.question));
        out.push_str(&format!("{:17}{}\n", "", neutral::line(&item.evidence)));
    }
    out
}
