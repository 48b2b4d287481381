//! The summary of a verification, for whoever asks later.

use std::{io::Write as _, path::Path};

use bulla_evidence::{
    bundle,
    key::Signer,
    policy::Policy,
    summary::{LOCAL_VERIFIER, Summary},
};
use bulla_model::{Digest, purl::Purl};

use super::report::Report;
use crate::{
    error::{CliError, Result},
    ops::{
        self,
        evidence::{EvidenceError, Image, SignedFile},
        transfer::Place,
    },
    session::Session,
};

/// What the summary is of, beside what was found.
pub(super) struct Subject<'a> {
    /// What was verified: a URI.
    pub(super) resource: String,
    /// The policy with its bytes.
    pub(super) policy: Option<(&'a Policy, &'a [u8])>,
    /// The digests of the evidence that is proven.
    pub(super) evidence: Vec<Digest>,
}

/// Names an image (the purl specification, "oci").
pub(super) fn of_image(place: &Place, image: &Image) -> String {
    let digest = image.root.digest;
    match place {
        Place::Registry(reference) => {
            let name = reference.repository().rsplit('/').next().unwrap_or_default();
            Purl::new("oci", name, Some(&digest.to_string()))
                .with("repository_url", &format!("{}/{}", reference.host(), reference.repository()))
                .with("tag", reference.tag().unwrap_or_default())
                .to_string()
        }
        // It has a name where it is published, and not before.
        Place::Layout(..) | Place::Archive(..) => {
            Purl::new("oci", &format!("image-{}", digest.short()), Some(&digest.to_string())).to_string()
        }
    }
}

/// Names a file (the purl specification, "generic").
pub(super) fn of_file(file: &SignedFile) -> String {
    let checksum = file.digest().to_string();
    Purl::new("generic", file.name().unwrap_or("file"), None).with("checksum", &checksum).to_string()
}

/// Writes the summary in one stroke: a statement, or a bundle where there is a key.
///
/// # Errors
/// When the key does not sign, or the file cannot be written.
pub(super) fn write(
    session: &Session,
    path: &Path,
    report: &Report,
    subject: &Subject<'_>,
    key: Option<&dyn Signer>,
) -> Result<()> {
    let required: Vec<&str> = report.required.iter().map(|one| one.requirement.as_str()).collect();
    let policy_digest = subject.policy.map(|(_, bytes)| Digest::of(bytes));
    let policy = match (&subject.policy, &policy_digest) {
        (Some((policy, _)), Some(digest)) => {
            policy.uri.clone().unwrap_or_else(|| format!("urn:bulla:policy:sha256:{}", digest.hex()))
        }
        _ => format!("urn:bulla:required:{}", required.join(",")),
    };
    let summary = Summary {
        verifier: session.config()?.evidence.verifier.clone().unwrap_or_else(|| LOCAL_VERIFIER.to_owned()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time: ops::lock::now(),
        digest: report.digest,
        resource: subject.resource.clone(),
        policy,
        policy_digest,
        evidence: subject.evidence.clone(),
        passed: report.passed,
    };
    let statement = summary.statement();
    let bytes = match key {
        Some(key) => bundle::sign(&statement, key).map_err(EvidenceError::Sign)?,
        None => statement.to_bytes(),
    };
    let put = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        let mut file = tempfile::Builder::new().prefix(".bulla-").permissions(permissions).tempfile_in(folder)?;
        file.write_all(&bytes)?;
        file.persist(path).map(drop).map_err(|error| error.error)
    };
    Ok(put().map_err(|source| CliError::Write { path: path.to_owned(), source })?)
}
