//! How an image was built and what it is made of, as far as a policy asks.

use bulla_model::Digest;
use serde_json::Value;

use super::Facts;
use crate::{
    provenance::Provenance,
    sbom::Stated,
    verify::{
        Assessed, Form, Verdict, is_list,
        require::{Requirement, Subjects},
    },
};

/// Gives what was enforced and seen, as provenance says it.
fn run(predicate: &Value) -> Result<crate::provenance::Run, String> {
    let run = serde_json::from_value::<Provenance>(predicate.clone()).ok().and_then(|provenance| provenance.run());
    run.ok_or_else(|| "its provenance does not say what was enforced and seen".to_owned())
}

/// No provenance may tell of refusals.
pub(super) fn no_refusals(provenance: &[&Value]) -> Result<String, String> {
    for predicate in provenance {
        let run = run(predicate)?;
        let of = run.steps.iter().filter(|step| step.refusals > 0);
        let steps: Vec<&str> = of.map(|step| step.step.as_str()).collect();
        if !steps.is_empty() {
            let times: u64 = run.steps.iter().map(|step| step.refusals).fold(0, u64::saturating_add);
            let first: Vec<String> = steps.iter().take(3).map(|step| crate::image::shown(step)).collect();
            return Err(format!(
                "{} steps tried {times} times what they were not given ({})",
                steps.len(),
                first.join(", ")
            ));
        }
    }
    Ok("no step tried what it was not given".to_owned())
}

/// One provenance has to say so: that it came out the same is true of the image, whichever invocation made it.
pub(super) fn compared(provenance: &[&Value]) -> Result<String, String> {
    let mut why = Err("it was made once, and not compared".to_owned());
    for predicate in provenance {
        match run(predicate) {
            Ok(run) if run.compared => return Ok("it was made twice, with the same result".to_owned()),
            Ok(_) => {}
            Err(other) => why = Err(other),
        }
    }
    why
}

/// No provenance may say that it is.
pub(super) fn untainted(provenance: &[&Value]) -> Result<String, String> {
    for predicate in provenance {
        if run(predicate)?.tainted {
            return Err("something of it stands on what a cache had from earlier builds".to_owned());
        }
    }
    Ok("nothing of it stands on what a cache had".to_owned())
}

/// A list has to be proven, in a form that counts, and to be as the image is.
pub(super) fn consistent(facts: &Facts, assessed: &[Assessed], forms: &[Form]) -> Result<String, String> {
    let subjects = Subjects { root: facts.image, platforms: facts.platforms.iter().map(|one| one.manifest).collect() };
    let met = Requirement::ConsistentSbom.met(&subjects, assessed, forms);
    match met.met {
        true => Ok("a list of what it is made of is as the image is".to_owned()),
        false => Err(format!("no list is proven to be as the image is: {}", met.reason.unwrap_or_default())),
    }
}

/// A list of each platform has to say how many files have no owner, and none more than may.
pub(super) fn unowned(facts: &Facts, assessed: &[Assessed], forms: &[Form], most: u64) -> Result<String, String> {
    let counts = |one: &&Assessed| {
        one.claim.verdict == Verdict::Proven && one.claim.form.is_none_or(|form| forms.contains(&form)) && is_list(one)
    };
    let said = |one: &Assessed| Stated::read(&one.statement.as_ref()?.predicate).ok()?.unowned();
    let said: Vec<(Digest, u64)> =
        assessed.iter().filter(counts).filter_map(|one| Some((one.claim.subject, said(one)?))).collect();
    let of = |subject: Digest| said.iter().any(|(about, _)| *about == subject || *about == facts.image);
    if facts.platforms.is_empty() || !facts.platforms.iter().all(|one| of(one.manifest)) {
        return Err("no list is proven that says how many files have no owner".to_owned());
    }
    match said.iter().map(|(_, count)| *count).max().unwrap_or_default() {
        found if found > most => Err(format!("{found} files have no owner, and {most} are the most")),
        found => Ok(format!("{found} files have no owner")),
    }
}
