//! `bulla policy`: what a policy says, for programs that admit images to a cluster.

use std::path::{Path, PathBuf};

use bulla_evidence::{
    admission::{self, AdmissionError, Wanted},
    policy::Policy,
};
use bulla_model::{Fault, Kind};
use clap::{Args, Subcommand};

use super::verify::read_policy;
use crate::{error::Result, neutral, ops::keyless::keys_of, session::Session};

const EXAMPLES: &str = "\
Examples:
  bulla policy kyverno policy.yaml --image 'registry.example/team/*' | kubectl apply -f -
  bulla policy sigstore policy.yaml --image 'registry.example/team/**' --name shop > shop.yaml

What such a policy cannot say is told on standard error. Controllers find evidence beside an image in a registry, in cosign's older form too, which
`bulla push`, `bulla sign` and `bulla attest` write there. Exit codes: 3 for what is no policy, or cannot be said at all.";

/// Write the policy of an admission controller that accepts what a policy accepts
///
/// A policy says what `bulla verify --policy` asks of an image. What is written asks the same as far as the controller's language can say it: keys,
/// statements that have to be there, and what provenance has to have in it.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a ClusterPolicy of Kyverno, which verifies images
    Kyverno(Of),
    /// Write ClusterImagePolicies of sigstore's policy-controller
    Sigstore(Of),
}

/// What a policy is written of.
#[derive(Debug, Args)]
struct Of {
    /// The policy, as `bulla verify --policy` reads it
    #[arg(value_name = "FILE")]
    policy: PathBuf,

    /// The images that it is about, in the controller's own patterns; several times for several patterns
    #[arg(long = "image", value_name = "PATTERN", required = true)]
    images: Vec<String>,

    /// What the admission policy is called
    #[arg(long, value_name = "NAME", default_value = "bulla")]
    name: String,

    /// The file of a public key that may sign, where the policy names none; several times for several keys
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
}

/// Why none was written.
#[derive(Debug, thiserror::Error)]
#[error("no admission policy is written of {}", path.display())]
struct NoAdmission {
    path: PathBuf,
    source: AdmissionError,
}

impl Fault for NoAdmission {
    fn kind(&self) -> Kind {
        Kind::Spec
    }

    fn hints(&self) -> Vec<String> {
        match self.source {
            AdmissionError::NoKey => vec!["name one by `--key FILE`, or under `keys` in the policy".into()],
            AdmissionError::Nothing => {
                vec!["`require: [signature]` is what a policy asks for where it says nothing".into()]
            }
            AdmissionError::Form => vec!["take `legacy` into the policy's `forms`; registries have both forms".into()],
            AdmissionError::Name(_) | AdmissionError::Characters(_) => Vec::new(),
        }
    }
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    let (Command::Kyverno(of) | Command::Sigstore(of)) = &options.command;
    let (policy, _): (Policy, _) = read_policy(&of.policy)?;
    let beside = (&policy, of.policy.parent().unwrap_or(Path::new("")));
    let trusted = keys_of(&of.keys, Some(beside))?;
    let keys: Vec<String> = trusted.iter().map(|one| one.key.to_pem()).collect();
    let wanted = Wanted { policy: &policy, keys: &keys, images: &of.images, name: &of.name };
    let admission = match &options.command {
        Command::Kyverno(_) => admission::kyverno(&wanted),
        Command::Sigstore(_) => admission::sigstore(&wanted),
    };
    let admission = admission.map_err(|source| NoAdmission { path: of.policy.clone(), source })?;
    for text in &admission.unsaid {
        session.warn(&format!("not said there: {}", neutral::line(text)));
    }
    session.print(&admission.yaml())
}
