//! Makes an image again from its evidence alone, and compares.
//!
//! The order of things: what refers to the image is read and verified ([`evidence`]); the project is put together out of the texts that
//! are in it, and out of sources that are found to be the same ([`project`]); everything is done again, with nothing of earlier builds and
//! without secrets; and what came out is held against the image.

mod evidence;
mod project;

use std::{collections::BTreeSet, path::PathBuf};

use bulla_build::{assemble::Joined, export, run::Variation};
use bulla_model::{Digest, Fault, Kind, spec::Name};
use bulla_store::Store;

pub(crate) use self::evidence::Vouched;
use self::{evidence::Evidence, project::Again};
use super::{
    build, compare,
    compare::Differences,
    evidence::Image,
    keyless::Authorities,
    transfer::{self, LayoutTarget, Place, Referrers},
};
use crate::{
    error::{CliError, Result},
    session::Session,
};

/// What is to be made again, and how.
pub(crate) struct Wanted {
    /// The image.
    pub place: Place,
    /// Who may have signed its evidence; where they name nobody, what nobody signed is believed.
    pub authorities: Authorities,
    /// The folder of the project, where its sources are folders of it.
    pub source: Option<PathBuf>,
    /// What is otherwise around the steps.
    pub varied: BTreeSet<Variation>,
}

/// What came of it.
pub(crate) struct Outcome {
    /// The image.
    pub image: Digest,
    /// What was made of its evidence.
    pub made: Digest,
    /// Who vouches for the evidence.
    pub vouched: Vouched,
    /// Who says in the evidence to have built it.
    pub builder: String,
    /// What differs, where something does.
    pub differences: Option<Differences>,
    /// What the difference comes of: `None` where it was not looked for, and empty where it is there with nothing varied.
    pub causes: Option<BTreeSet<Variation>>,
}

/// Why an image cannot be made again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReproduceError {
    /// There is no evidence that says how it was made.
    #[error("nothing that refers to {image} says how it was made{because}")]
    NoEvidence { image: Digest, because: &'static str },
    /// Evidence fails.
    #[error("evidence of {image} fails: {detail}")]
    Failed { image: Digest, detail: String },
    /// A text of the evidence is not the one that the provenance is of.
    #[error("the {what} in the evidence is not the one that the provenance has: {found}, and not {expected}")]
    OtherText { what: &'static str, expected: String, found: Digest },
    /// It was made in another way.
    #[error("the image was made in another way: {what}")]
    OtherWay { what: String },
    /// Steps want secrets.
    #[error("steps of it want secrets ({}), and what is made again gets none", names.join(", "))]
    Secrets { names: Vec<String> },
    /// It was made with values that nobody is told.
    #[error("it was made with values for {} that the provenance does not tell, since they look private", names.join(", "))]
    Withheld { names: Vec<String> },
    /// Its sources are not there.
    #[error("the source {name} is a folder of the project, and it is not known where that is")]
    NoSource { name: Name },
    /// A source is another one.
    #[error("the source {name} is not the one that the image was made of: its tree is {found}, and not {expected}")]
    OtherSource { name: String, expected: String, found: Digest },
}

impl Fault for ReproduceError {
    fn kind(&self) -> Kind {
        match self {
            Self::Failed { .. } | Self::OtherText { .. } => Kind::Integrity,
            Self::NoEvidence { .. }
            | Self::OtherWay { .. }
            | Self::Secrets { .. }
            | Self::Withheld { .. }
            | Self::OtherSource { .. } => Kind::Policy,
            Self::NoSource { .. } => Kind::Spec,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoEvidence { .. } => vec![
                "`bulla build` writes it beside the image, unless `--evidence none` says otherwise; `bulla verify` lists what there is".into(),
            ],
            Self::NoSource { .. } => vec![
                "name the project's folder, as it was: `--source DIR`".into(),
                "of a project that was built from a clean checkout of a public repository, the commit is fetched".into(),
            ],
            Self::Withheld { .. } => vec!["hand secrets to steps by `--secret`: a param is no place for them".into()],
            Self::OtherSource { .. } => vec!["check out the commit that the provenance names".into()],
            Self::OtherWay { .. } => vec!["take the version of Bulla that the provenance names".into()],
            _ => Vec::new(),
        }
    }
}

/// Makes an image again.
///
/// # Errors
/// When it cannot be made: that it comes out otherwise is no error.
pub(crate) fn run(session: &Session, wanted: &Wanted) -> Result<Outcome> {
    let image = Image::open(session, &wanted.place)?;
    let evidence = Evidence::read(session, &wanted.place, &image, &wanted.authorities)?;
    let store = super::store::open(session)?;
    let again = Again::prepare(session, &store, &evidence, wanted.source.as_deref())?;
    let make = |varied: &BTreeSet<Variation>| -> Result<Joined> {
        let built = build::once_more(session, &store, &again.project, &again.lock, &again.platforms, varied)?;
        evidence.check_sources(&built)?;
        let without = || CliError::Option("a build without an image".to_owned());
        Ok(built.image.ok_or_else(without)?)
    };
    let made = make(&wanted.varied)?;
    let (digest, vouched) = (image.root.digest, evidence.vouched);
    let builder = evidence.provenance.run_details.builder.id.clone();
    if made.index.digest == digest {
        return Ok(Outcome { image: digest, made: digest, vouched, builder, differences: None, causes: None });
    }
    let differences = Some(differences(session, &store, wanted, &image, &made)?);
    let causes = match wanted.varied.is_empty() {
        true => None,
        false => Some(causes(session, &wanted.varied, digest, &|varied| Ok(make(varied)?.index.digest))?),
    };
    Ok(Outcome { image: digest, made: made.index.digest, vouched, builder, differences, causes })
}

/// Finds out which of the variations a difference comes of: each is tried alone, if without any there is none.
fn causes(
    session: &Session,
    varied: &BTreeSet<Variation>,
    image: Digest,
    make: &dyn Fn(&BTreeSet<Variation>) -> Result<Digest>,
) -> Result<BTreeSet<Variation>> {
    session.say("It came out otherwise. Looking for the reason: once more as it was …");
    if make(&BTreeSet::new())? != image {
        return Ok(BTreeSet::new());
    }
    let mut found = BTreeSet::new();
    for variation in varied {
        session.say(&format!("… and with another {variation} alone"));
        if make(&BTreeSet::from([*variation]))? != image {
            found.insert(*variation);
        }
    }
    // What differs with all of them, and with none of them alone, comes of all of them.
    Ok(if found.is_empty() { varied.clone() } else { found })
}

fn differences(session: &Session, store: &Store, wanted: &Wanted, image: &Image, made: &Joined) -> Result<Differences> {
    let folder = tempfile::tempdir().map_err(CliError::file)?;
    let again = folder.path().join("again");
    export::layout(store, made, &again, &[])?;
    let first = match &wanted.place {
        Place::Layout(path, _) | Place::Archive(path, _) => path.clone(),
        Place::Registry(_) => {
            let path = folder.path().join("image");
            transfer::run(session, &*image.source, &LayoutTarget::open(&path, None)?, Referrers::LEFT)?;
            path
        }
    };
    compare::of_layouts((&first, image.root.digest), (&again, made.index.digest))
}
