//! `bulla attest`: a statement about an image or a file is signed by a key, or by a certificate.

use std::path::PathBuf;

use bulla_evidence::{
    Statement, Subject, json, predicate,
    statement::{MAX_STATEMENT, STATEMENT},
};
use bulla_model::{Digest, Platform};
use clap::Args;
use serde_json::Value;

use super::sign::{self, FormWord, pinned, refuse_output, told};
use crate::{
    error::{CliError, Result},
    neutral,
    ops::{
        evidence::{EvidenceError, Image, Published, SignedFile, What, put, signatures},
        keyless::KeylessOptions,
        keys::Passphrase,
    },
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  bulla attest oci:bulla-out --type spdxjson --predicate sbom.spdx.json --key release.key
  bulla attest registry.example/team/shop:1.4 --type https://example.org/review/v1 --predicate review.json --key release.key
  bulla attest registry.example/team/shop:1.4 --type vsa --predicate summary.json --key verifier.key
  bulla attest file:shop.tar --type slsaprovenance1 --predicate provenance.json --key release.key

A predicate is what is said, and its type says what kind of thing that is. Bulla signs that the key's owner, or whoever the token is about, says so; it
does not look whether it is true. Exit codes are those of `bulla sign`.";

/// Sign a statement about an image or a file by a key or a certificate, and verify what was written
///
/// The statement is about the image that is named: its index, and its manifest where it is for one platform alone. `--platform` says it
/// of that platform's manifest, as for a list of packages, which differs from platform to platform.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// What it is about: `oci:DIR[:NAME]`, a folder with a layout, `HOST/REPOSITORY[:TAG][@DIGEST]`, or `file:PATH`
    #[arg(value_name = "WHAT")]
    what: What,

    /// The file with what is said, JSON; or a statement of in-toto of that type about the same thing, as `bulla verify --vsa` writes it
    #[arg(long, value_name = "FILE")]
    predicate: PathBuf,

    /// The type of what is said: slsaprovenance1, slsaprovenance02, spdxjson, cyclonedx, vuln, openvex, testresult, vsa, svr, or a URI
    #[arg(long = "type", value_name = "TYPE", value_parser = kind)]
    kind: String,

    /// The private key: its file, `pkcs11:…` (RFC 7512) for one on a token, or `hashivault://NAME` for one of Vault
    #[arg(long, value_name = "KEY", required_unless_present_any = ["keyless", "identity_token"],
        conflicts_with_all = ["keyless", "identity_token"])]
    key: Option<PathBuf>,

    #[command(flatten)]
    keyless: KeylessOptions,

    /// Have the configured timestamp authority say when it was signed by the key
    #[arg(long)]
    timestamp: bool,

    /// Say it of this platform's manifest alone: linux/amd64 or linux/arm64
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,

    /// The form in which it is written [default: both in registries, bundle in layouts, which have no tags for the other]
    #[arg(long, value_name = "FORM", value_enum)]
    form: Option<FormWord>,

    /// Where the bundle of a file goes [default: beside it, with the ending `.TYPE.sigstore.json`]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    passphrase: Passphrase,
}

fn kind(text: &str) -> Result<String, String> {
    predicate::of_name(text)
        .map(str::to_owned)
        .ok_or_else(|| format!("it is no URI, nor one of {}", predicate::words()))
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    let said = read(options)?;
    let statement = |name: Option<&str>, digest: &Digest| {
        Statement::new(vec![Subject::new(name, digest)], &options.kind, said.predicate.clone())
    };
    let seal = || sign::seal(session, options.key.as_ref(), &options.passphrase, &options.keyless, options.timestamp);
    match &options.what {
        What::File(path) => {
            let file = SignedFile::open(path)?;
            said.check(options, &file.digest())?;
            let kind = predicate::name_of(&options.kind).unwrap_or("attestation");
            let output = options.output.clone().unwrap_or_else(|| file.beside(Some(kind)));
            let seal = seal()?;
            let known = file.signatures(&output, seal.key())?;
            let seal = seal.knowing(known);
            let statement = statement(file.name(), &file.digest());
            file.put(&seal.statement(&statement, &file.digest())?, &output, &seal)?;
            session.print(&format!("{}\n", output.display()))
        }
        What::Image(place) => {
            refuse_output(options.output.as_ref())?;
            let image = Image::open(session, place)?;
            let subjects = image.told(options.platform)?;
            let about = options.platform.and(subjects.first()).map_or(image.root.digest, |one| one.digest);
            said.check(options, &about)?;
            let form = FormWord::or_usual(options.form, place, &options.keyless);
            let seal = seal()?;
            let known = signatures(session, &image, seal.key())?;
            let seal = seal.knowing(known);
            let place = pinned(place, &image);
            let mut published = Published::default();
            for subject in subjects {
                published.attest(&statement(None, &subject.digest), subject, form.forms(), &seal)?;
            }
            put(session, &place, &published, seal.trust())?;
            session.print(&told(&place, &image))
        }
    }
}

/// What is said.
struct Said {
    predicate: Value,
    /// The statement that it was read from, where it was in one.
    statement: Option<Statement>,
}

impl Said {
    /// Holds a statement against what is asked for: one about something else is not made one about this.
    fn check(&self, options: &Options, about: &Digest) -> Result<(), EvidenceError> {
        let Some(statement) = &self.statement else { return Ok(()) };
        if statement.predicate_type != options.kind || !statement.is_about(about) {
            return Err(EvidenceError::OtherStatement {
                path: options.predicate.clone(),
                found: neutral::line(&statement.predicate_type).into_owned(),
            });
        }
        Ok(())
    }
}

fn read(options: &Options) -> Result<Said> {
    let path = &options.predicate;
    let size = fs_err::metadata(path).map_err(CliError::file)?.len();
    let fail = |source| EvidenceError::Predicate { path: path.clone(), source };
    let most = MAX_STATEMENT - 4096;
    if size > most as u64 {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        return Err(fail(json::JsonError::TooLarge { size, most }).into());
    }
    let bytes = fs_err::read(path).map_err(CliError::file)?;
    let predicate = json::read(&bytes, most).map_err(fail)?;
    if predicate["_type"] == STATEMENT {
        let statement = Statement::parse(&bytes).map_err(EvidenceError::Own)?;
        return Ok(Said { predicate: statement.predicate.clone(), statement: Some(statement) });
    }
    Ok(Said { predicate, statement: None })
}
