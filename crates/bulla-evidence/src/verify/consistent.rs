//! Says whether a list of what an image is made of is as the image is.

use super::{About, Assessed, Claim, Verdict, piece};
use crate::{
    predicate,
    sbom::{Bom, Held, Stated},
};

/// What an image shows by itself.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'a> {
    /// What was found in its layers, without what a build knows of them.
    Image(&'a Bom),
    /// Nothing was looked for.
    Unseen {
        /// Why not.
        why: &'a str,
        /// What to do.
        advice: &'a str,
    },
}

const OTHER: &str = "do not rely on this list; ask whoever signed it, or make one: `bulla sbom`";
const HIDDEN: &str = "ask whoever built the image which packages are in it, and why it does not say so";

/// Says whether a piece of evidence states a list that can be held against an image.
pub fn is_list(one: &Assessed) -> bool {
    one.statement.as_ref().is_some_and(|statement| predicate::is_meant("sbom", &statement.predicate_type))
}

/// Holds a list against the image that it is of. `None` where it is no list.
///
/// It is *proven* to be consistent where a named key signed it, and *asserted* where nobody did: another one can take its place.
pub fn consistency(list: &Assessed, image: Shown<'_>) -> Option<Assessed> {
    let statement = list.statement.as_ref().filter(|_| is_list(list))?;
    let about = About::Consistent(statement.predicate_type.clone());
    let claim = |verdict, detail: String, advice: &str| Claim {
        about: about.clone(),
        verdict,
        detail,
        advice: (!advice.is_empty()).then(|| advice.to_owned()),
        ..list.claim.clone()
    };
    let claim = match (Stated::read(&statement.predicate), image) {
        (Err(error), _) => claim(Verdict::NotChecked, error.to_string(), "ask for a list of a known form"),
        (Ok(_), Shown::Unseen { why, advice }) => claim(Verdict::NotChecked, why.to_owned(), advice),
        (Ok(stated), Shown::Image(bom)) => {
            let held = Held::of(&stated, bom);
            match (held.is_consistent(), &held.without_database, list.claim.verdict) {
                (false, ..) => claim(Verdict::Failed, held.told(), OTHER),
                (true, Some(name), _) => {
                    let why = format!(
                        "the image says that it is {name}, and has no database of packages: nothing tells which it has"
                    );
                    claim(Verdict::NotChecked, why, HIDDEN)
                }
                (true, None, Verdict::Proven) => claim(Verdict::Proven, held.told(), ""),
                (true, None, _) => claim(Verdict::Asserted, held.told(), piece::SIGN_IT),
            }
        }
    };
    Some(Assessed { claim, statement: None })
}
