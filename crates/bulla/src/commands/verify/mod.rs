//! `bulla verify`: what is proven of an image or a file by what lies beside it.

mod report;
mod sarif;
mod summary;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use bulla_evidence::{
    policy::{Facts, Policy},
    verify::{
        Assessed, Piece, Verdict, assess,
        require::{Requirement, Subjects},
    },
};
use clap::{Args, ValueEnum};

use self::{
    report::{Asked, Report},
    summary::Subject,
};
use crate::{
    error::{CliError, Result},
    ops::{
        self,
        evidence::{self, Image, SignedFile, What},
        keyless::{Authorities, SignerOptions},
        keys::{self, Passphrase},
        transfer::Place,
    },
    report as reports,
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  bulla verify oci:bulla-out --key release.pub
  bulla verify registry.example/team/shop:1.4 --key release.pub --require signature,provenance,sbom
  bulla verify registry.example/team/shop:1.4 --policy policy.yaml --format json
  bulla verify oci:bulla-out --policy policy.yaml --vsa summary.json --sign verifier.key
  bulla verify file:shop.tar --key release.pub       by the bundles beside it, shop.tar.*sigstore.json
  bulla verify oci:bulla-out --trusted-root trusted_root.json --certificate-identity release@example.org \
      --certificate-oidc-issuer https://login.example.org

Each line says what is known: proven (a key that you named signed it, or bytes are what a digest says), asserted (somebody says so, and
nobody signed it), not checked, or failed. Only what is proven counts. Exit codes: 0 when all that is required is proven and nothing
failed; 5 when something failed; 7 when something required is not proven.";

/// Say what is proven of an image or a file, and whether that is all that is asked for
///
/// Reads the signatures and statements that lie beside it, and verifies them by the keys that are named; nothing else is asked, so a layout
/// or a file needs no network. Lists of what an image is made of are held against its own layers. Signatures by certificates (keyless) are verified
/// by a trusted root that is named, and count where it is said who may sign so.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// What to verify: `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]`, a folder with a layout, `HOST/REPOSITORY[:TAG][@DIGEST]`, or `file:PATH`
    #[arg(value_name = "WHAT")]
    what: What,

    #[command(flatten)]
    signers: SignerOptions,

    /// What has to be proven: content, signature, provenance, sbom, consistent-sbom, reproduced, vulnerabilities, vex, a short name of a type, or its URI [default: signature]
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with = "policy")]
    require: Vec<Requirement>,

    /// A policy: who may sign, what has to be proven, what an image may be
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// Fetch and hash every blob of an image in a registry; those of layouts and archives always are
    #[arg(long)]
    full: bool,

    /// How the report is written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Form,

    /// Write a summary of what came out into this file, for whoever asks later: SLSA's verification summary, as a statement of in-toto
    #[arg(long, value_name = "FILE")]
    vsa: Option<PathBuf>,

    /// Sign the summary by this private key: the file is a bundle of Sigstore then
    #[arg(long, value_name = "FILE", requires = "vsa")]
    sign: Option<PathBuf>,

    #[command(flatten)]
    passphrase: Passphrase,
}

impl Options {
    /// Gives what was to be verified, as a report names it.
    fn what_was_typed(&self) -> String {
        match &self.what {
            What::File(path) => path.display().to_string(),
            What::Image(Place::Layout(path, _) | Place::Archive(path, _)) => path.display().to_string(),
            What::Image(Place::Registry(reference)) => reference.to_string(),
        }
    }
}

/// How the report is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object.
    Json,
    /// SARIF 2.1.0, which code scanning reads: what is not proven, and nothing else.
    Sarif,
}

/// Runs the command; the exit code says whether all that is asked for is proven.
pub(crate) fn run(session: &Session, options: &Options) -> Result<ExitCode> {
    let policy = options.policy.as_deref().map(read_policy).transpose()?;
    let of_policy = options.policy.as_deref().zip(policy.as_ref()).map(|(path, (policy, _))| (path, policy));
    let beside = of_policy.map(|(path, policy)| (policy, path.parent().unwrap_or(Path::new(""))));
    let authorities = Authorities::read(session, &options.signers, beside)?;
    let trust = authorities.trust();
    let signer = options.sign.as_deref().map(|key| keys::signer(session, key, &options.passphrase)).transpose()?;
    let mut evidence = Vec::new();
    let mut assessed = |pieces: Vec<Piece>| {
        let all: Vec<Assessed> = pieces.iter().map(|piece| assess(piece, trust)).collect();
        let proven = pieces.iter().zip(&all).filter(|(_, one)| one.claim.verdict == Verdict::Proven);
        evidence.extend(proven.filter_map(|(piece, _)| piece.content.digest()));
        all
    };
    let asked = Asked { require: &options.require, policy: policy.as_ref().map(|(policy, _)| policy) };
    let (report, resource) = match &options.what {
        What::File(path) => {
            let file = SignedFile::open(path)?;
            let subjects = Subjects { root: file.digest(), platforms: Vec::new() };
            let resource = summary::of_file(&file);
            // A file has no configuration; its provenance can be held against the policy.
            let facts = Facts { image: subjects.root, platforms: Vec::new(), now: ops::lock::now() };
            (Report::new(session, &asked, subjects, assessed(file.pieces()?), &facts)?, resource)
        }
        What::Image(place) => {
            let image = Image::open(session, place)?;
            let full = options.full || !matches!(place, Place::Registry(_));
            let content = evidence::content(session, &image, full)?;
            let mut all = vec![Assessed { claim: content, statement: None }];
            all.extend(assessed(evidence::pieces(session, &image)?));
            all.extend(evidence::consistent(session, place, &image, &all, full)?);
            let report = Report::new(session, &asked, image.digests(), all, &image.facts())?;
            (report, summary::of_image(place, &image))
        }
    };
    if let Some(path) = &options.vsa {
        let policy = policy.as_ref().map(|(policy, bytes)| (policy, bytes.as_slice()));
        summary::write(session, path, &report, &Subject { resource, policy, evidence }, signer.as_deref())?;
    }
    session.print(&match options.format {
        Form::Text => report.text(),
        Form::Json => reports::json_line(&report),
        Form::Sarif => reports::json_line(&sarif::log(&report, options.what_was_typed())),
    })?;
    Ok(ExitCode::from(report.code()))
}

/// Reads a policy, and gives its bytes too.
///
/// # Errors
/// When it cannot be read, or has mistakes.
pub(super) fn read_policy(path: &Path) -> Result<(Policy, Vec<u8>)> {
    let name = path.display().to_string();
    let bytes = fs_err::read(path).map_err(CliError::file)?;
    match Policy::parse(&name, &bytes) {
        Ok(policy) => Ok((policy, bytes)),
        Err(errors) => Err(ops::project::wrong(&name, &bytes, &errors)),
    }
}
