//! Reads the evidence of how an image was made, and says who vouches for it.

use bulla_build::run::Built;
use bulla_evidence::{
    Statement,
    configuration::{CONFIGURATION, Configuration},
    provenance::{BUILD_TYPE, PROVENANCE, Provenance},
    resource::Resource,
    verify::{Assessed, Verdict, assess},
};
use bulla_model::Digest;
use serde::de::DeserializeOwned;

use super::ReproduceError;
use crate::{
    error::Result,
    ops::{
        evidence::{self, Image},
        keyless::Authorities,
        transfer::Place,
    },
    session::Session,
};

/// Who vouches for evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vouched {
    /// A key or somebody with a certificate, who was named.
    Signer,
    /// Nobody: whoever wrote the image could write this.
    Nobody,
}

/// How an image was made.
pub(super) struct Evidence {
    pub(super) provenance: Provenance,
    pub(super) configuration: Configuration,
    pub(super) vouched: Vouched,
}

impl Evidence {
    /// Reads what refers to the image. What one of those who are named signed; where nobody is, what is there.
    pub(super) fn read(session: &Session, place: &Place, image: &Image, authorities: &Authorities) -> Result<Self> {
        let pieces = evidence::pieces(session, image)?;
        let digest = image.root.digest;
        let mut assessed: Vec<Assessed> = pieces.iter().map(|piece| assess(piece, authorities.trust())).collect();
        // A list that cannot be true makes the rest of the evidence doubtful too. Layers of a registry are not fetched for that.
        assessed.extend(evidence::consistent(session, place, image, &assessed, false)?);
        if let Some(failed) = assessed.iter().find(|one| one.claim.verdict == Verdict::Failed) {
            return Err(ReproduceError::Failed { image: digest, detail: failed.claim.detail.clone() }.into());
        }
        let vouched = if authorities.names_somebody() { Vouched::Signer } else { Vouched::Nobody };
        let counts = |verdict: Verdict| match vouched {
            Vouched::Signer => verdict == Verdict::Proven,
            Vouched::Nobody => matches!(verdict, Verdict::Proven | Verdict::Asserted),
        };
        let good: Vec<&Statement> = assessed
            .iter()
            .filter(|one| counts(one.claim.verdict) && one.claim.subject == digest)
            .filter_map(|one| one.statement.as_ref())
            .collect();
        let none = || ReproduceError::NoEvidence {
            image: digest,
            because: if vouched == Vouched::Nobody { "" } else { ", and was signed by one of those who are named" },
        };
        let provenance: Provenance = predicate(&good, PROVENANCE).ok_or_else(none)?;
        let configuration: Configuration = predicate(&good, CONFIGURATION).ok_or_else(none)?;
        let evidence = Self { provenance, configuration, vouched };
        evidence.check()?;
        Ok(evidence)
    }

    /// Holds the texts against the digests, and the way of building against this program's.
    fn check(&self) -> Result<(), ReproduceError> {
        let definition = &self.provenance.build_definition;
        let external = &definition.external_parameters;
        let texts = [
            ("spec", Some(&external.spec), Some(&self.configuration.spec)),
            ("lock", Some(&external.lock), Some(&self.configuration.lock)),
            ("workspace", external.workspace.as_ref(), self.configuration.workspace.as_ref()),
        ];
        for (what, resource, text) in texts {
            let (Some(resource), Some(text)) = (resource, text) else { continue };
            let found = Digest::of(text);
            if resource.sha256() != Some(found) {
                return Err(ReproduceError::OtherText { what, expected: expected(resource), found });
            }
        }
        let other = |what: String| Err(ReproduceError::OtherWay { what });
        if definition.build_type != BUILD_TYPE {
            return other(format!("its build type is {}", crate::neutral::line(&definition.build_type)));
        }
        let own = [("action", bulla_build::run::FORMAT), ("layers", bulla_build::assemble::FORMAT)];
        for (name, number) in own {
            let theirs = definition.internal_parameters.formats.get(name);
            if theirs != Some(&number) {
                let theirs = theirs.map_or_else(|| "none".to_owned(), ToString::to_string);
                return other(format!("its format of {name} is {theirs}, and this program's is {number}"));
            }
        }
        Ok(())
    }

    /// Holds the sources that were read against those that the image was made of.
    ///
    /// # Errors
    /// When one is another.
    pub(super) fn check_sources(&self, built: &Built) -> Result<(), ReproduceError> {
        let sources: Vec<&Resource> = self.provenance.build_definition.used("source").collect();
        for (name, record) in &built.sources {
            let theirs =
                sources.iter().find(|one| one.name.as_deref() == Some(name.as_str()) && one.media_type.is_some());
            if let Some(theirs) = theirs
                && theirs.sha256() != Some(record.digest)
            {
                let name = name.to_string();
                return Err(ReproduceError::OtherSource { name, expected: expected(theirs), found: record.digest });
            }
        }
        Ok(())
    }
}

fn expected(resource: &Resource) -> String {
    resource.sha256().map_or_else(|| "a digest that is none".to_owned(), |digest| digest.to_string())
}

/// Reads the predicate of the first statement of a type; what is not as it must be is none.
fn predicate<T: DeserializeOwned>(statements: &[&Statement], predicate_type: &str) -> Option<T> {
    let mut of_type = statements.iter().filter(|one| one.predicate_type == predicate_type);
    of_type.find_map(|one| serde_json::from_value(one.predicate.clone()).ok())
}
