//! `bulla verify`: what is proven of an image or a file by what lies beside it.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use bulla_evidence::{
    policy::{Facts, Policy},
    verify::{
        Assessed, Claim, Form, Piece, TrustedKey, Verdict, assess,
        require::{Met, Requirement, Subjects},
    },
};
use bulla_model::Kind;
use clap::Args;
use serde::Serialize;

use crate::{
    error::{CliError, Result},
    neutral,
    ops::{
        self,
        evidence::{self, Image, SignedFile, What},
        keyless::{Authorities, CertificateOptions},
        keys,
        transfer::Place,
    },
    report::{self, Format},
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  bulla verify oci:bulla-out --key release.pub
  bulla verify registry.example/team/shop:1.4 --key release.pub --require signature,provenance,sbom
  bulla verify registry.example/team/shop:1.4 --policy policy.yaml --format json
  bulla verify file:shop.tar --key release.pub       by the bundles beside it, shop.tar.*sigstore.json
  bulla verify oci:bulla-out --trusted-root trusted_root.json --certificate-identity release@example.org \
      --certificate-oidc-issuer https://login.example.org

Each line says what is known: proven (a key that you named signed it, or bytes are what a digest says), asserted (somebody says so, and
nobody signed it), not checked, or failed. Only what is proven counts. Exit codes: 0 when all that is required is proven and nothing
failed; 5 when something failed; 7 when something required is not proven.";

/// Say what is proven of an image or a file, and whether that is all that is asked for
///
/// Reads the signatures and statements that lie beside it, and verifies them by the keys that are named; nothing else is asked, so a layout
/// or a file needs no network. Signatures by certificates (keyless) are verified by a trusted root that is named, and count where it is said who
/// may sign so.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// What to verify: `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]`, a folder with a layout, `HOST/REPOSITORY[:TAG][@DIGEST]`, or `file:PATH`
    #[arg(value_name = "WHAT")]
    what: What,

    /// The file of a public key that may sign; several times for several keys
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,

    #[command(flatten)]
    certificates: CertificateOptions,

    /// What has to be proven: content, signature, provenance, sbom, vulnerabilities, vex, a short name of a type, or its URI [default: signature]
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
    format: Format,
}

/// What was found.
#[derive(Serialize)]
struct Report {
    /// What was verified, by its digest.
    digest: String,
    passed: bool,
    claims: Vec<Claim>,
    required: Vec<Met>,
}

/// Runs the command; the exit code says whether all that is asked for is proven.
pub(crate) fn run(session: &Session, options: &Options) -> Result<ExitCode> {
    let policy = options.policy.as_deref().map(read_policy).transpose()?;
    let keys = trusted(options, policy.as_ref())?;
    let folder = options.policy.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    let authorities = Authorities::read(session, &options.certificates, policy.as_ref().zip(Some(folder)))?;
    let trust = authorities.with(&keys);
    let assessed = |pieces: Vec<Piece>| pieces.iter().map(|piece| assess(piece, trust)).collect::<Vec<_>>();
    let report = match &options.what {
        What::File(path) => {
            let file = SignedFile::open(path)?;
            let subjects = Subjects { root: file.digest(), platforms: Vec::new() };
            report(options, policy.as_ref(), subjects, assessed(file.pieces()?), None)
        }
        What::Image(place) => {
            let image = Image::open(session, place)?;
            let full = options.full || !matches!(place, Place::Registry(_));
            let content = evidence::content(session, &image, full)?;
            let mut all = vec![Assessed { claim: content, statement: None }];
            all.extend(assessed(evidence::pieces(session, &image)?));
            let facts = policy.as_ref().map(|_| image.facts());
            report(options, policy.as_ref(), image.digests(), all, facts)
        }
    };
    session.print(&match options.format {
        Format::Text => text(&report),
        Format::Json => report::json_line(&report),
    })?;
    Ok(ExitCode::from(code(&report)))
}

/// Brings together what was asked for and what is known.
fn report(
    options: &Options,
    policy: Option<&Policy>,
    subjects: Subjects,
    assessed: Vec<Assessed>,
    facts: Option<Facts>,
) -> Report {
    let usual = [Requirement::Signature];
    let all = [Form::Bundle, Form::Legacy];
    let (require, forms): (&[Requirement], &[Form]) = match policy {
        Some(policy) => (&policy.require, &policy.forms),
        None if options.require.is_empty() => (&usual, &all),
        None => (&options.require, &all),
    };
    let required: Vec<Met> = require.iter().map(|one| one.met(&subjects, &assessed, forms)).collect();
    let rules = match (policy, &facts) {
        (Some(policy), Some(facts)) => policy.judge(facts, &assessed),
        // A file has no configuration; its provenance can be held against the policy.
        (Some(policy), None) => {
            let facts = Facts { image: subjects.root, platforms: Vec::new(), now: ops::lock::now() };
            policy.judge(&facts, &assessed)
        }
        (None, _) => Vec::new(),
    };
    let mut claims: Vec<Claim> = assessed.into_iter().map(|one| one.claim).collect();
    claims.extend(rules);
    let failed = claims.iter().any(|claim| claim.verdict == Verdict::Failed);
    let passed = !failed && required.iter().all(|one| one.met);
    Report { digest: subjects.root.to_string(), passed, claims, required }
}

fn code(report: &Report) -> u8 {
    // A rule that is not held is the user's own; what fails otherwise was tampered with, or is damaged.
    let failed = |rule: bool| {
        let is_rule = |claim: &Claim| matches!(claim.about, bulla_evidence::verify::About::Rule(_));
        report.claims.iter().any(|claim| claim.verdict == Verdict::Failed && is_rule(claim) == rule)
    };
    match (report.passed, failed(false)) {
        (true, _) => 0,
        (false, true) => Kind::Integrity.exit_code(),
        (false, false) => Kind::Policy.exit_code(),
    }
}

fn read_policy(path: &Path) -> Result<Policy> {
    let name = path.display().to_string();
    let bytes = fs_err::read(path).map_err(CliError::file)?;
    Policy::parse(&name, &bytes).map_err(|errors| ops::project::wrong(&name, &bytes, &errors))
}

/// Reads the keys that may sign: those of the policy, whose paths are relative to it, else those of the command.
fn trusted(options: &Options, policy: Option<&Policy>) -> Result<Vec<TrustedKey>> {
    let of_policy = policy.map(|policy| policy.keys.as_slice()).unwrap_or_default();
    if !of_policy.is_empty() && !options.keys.is_empty() {
        let what = "the policy says who may sign; `--key` names keys where it does not";
        return Err(CliError::Option(what.to_owned()).into());
    }
    let folder = options.policy.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    keys::trusted(of_policy.iter().map(|key| folder.join(key)).chain(options.keys.iter().cloned()))
}

fn text(report: &Report) -> String {
    use bulla_evidence::verify::About;
    let mut out = format!("{}\n", report.digest);
    for claim in &report.claims {
        let verdict = match claim.verdict {
            Verdict::Proven => "proven",
            Verdict::Asserted => "asserted",
            Verdict::NotChecked => "not checked",
            Verdict::Failed => "failed",
        };
        let about = match &claim.about {
            About::Content => "content".to_owned(),
            About::Signature => "signature".to_owned(),
            About::Statement(kind) => kind.clone(),
            About::Unknown => "evidence".to_owned(),
            About::Rule(rule) => format!("rule {rule}"),
        };
        let mut line = format!("{verdict:<11}  {about}");
        if claim.subject.to_string() != report.digest {
            line.push_str(&format!(" of {}", claim.subject.short()));
        }
        let form = match claim.form {
            Some(Form::Bundle) => Some("bundle"),
            Some(Form::Legacy) => Some("legacy"),
            Some(Form::Unsigned) | None => None,
        };
        let who = claim.signed.as_ref().and_then(|signed| Some((signed.identity.as_ref()?, signed.issuer.as_ref()?)));
        let who = who.map(|(identity, issuer)| format!("{identity} by the word of {issuer}"));
        let by: Vec<&str> = form.into_iter().chain(claim.key.as_deref()).chain(who.as_deref()).collect();
        if !by.is_empty() {
            line.push_str(&format!(" ({})", by.join(", ")));
        }
        line.push_str(&format!(": {}", claim.detail));
        out.push_str(&format!("{}\n", neutral::line(&line)));
        if let Some(advice) = &claim.advice {
            out.push_str(&format!("{:<11}  → {}\n", "", neutral::line(advice)));
        }
    }
    for one in &report.required {
        let (verdict, reason) = match (&one.reason, one.met) {
            (_, true) => ("met", String::new()),
            (reason, false) => ("not met", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default()),
        };
        out.push_str(&format!(
            "{verdict:<11}  required {}{}\n",
            neutral::line(&one.requirement),
            neutral::line(&reason)
        ));
    }
    out.push_str(if report.passed { "passed\n" } else { "not passed\n" });
    out
}
