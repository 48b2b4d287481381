//! Holds an image against the rules of a policy.

use bulla_model::Epoch;
use serde_json::Value;

use super::{DAY, Exception, Expression, Facts, Policy, Rule, base, build};
use crate::{
    image::shown,
    predicate,
    verify::{About, Assessed, Claim, Verdict},
};

/// How long after now an image may say that it was made: clocks differ.
const AHEAD: u64 = 600;

impl Policy {
    /// Says of each rule of the policy whether the image holds it. What is required to be proven is not among them:
    /// [`crate::verify::require`] has that; nor are expressions. A rule that is not held and excepted is asserted: by the owner of the exception.
    pub fn judge(&self, facts: &Facts, assessed: &[Assessed]) -> Vec<Claim> {
        let provenance = || self.provenance(assessed);
        let mut found = Vec::new();
        if !self.builders.is_empty() {
            found.push((Rule::Builder, provenance().and_then(|all| builder(&all, &self.builders))));
        }
        if !self.sources.is_empty() {
            found.push((Rule::Source, provenance().and_then(|all| source(&all, &self.sources))));
        }
        if !self.bases.is_empty() {
            found.push((Rule::Base, provenance().and_then(|all| base::held(&all, &self.bases))));
        }
        if self.no_refusals {
            found.push((Rule::NoRefusals, provenance().and_then(|all| build::no_refusals(&all))));
        }
        if self.compared {
            found.push((Rule::Compared, provenance().and_then(|all| build::compared(&all))));
        }
        if self.untainted {
            found.push((Rule::Untainted, provenance().and_then(|all| build::untainted(&all))));
        }
        if self.consistent {
            found.push((Rule::ConsistentSbom, build::consistent(facts, assessed, &self.forms)));
        }
        if let Some(most) = self.unowned {
            found.push((Rule::Unowned, build::unowned(facts, assessed, &self.forms, most)));
        }
        if self.non_root {
            found.push((Rule::NonRoot, non_root(facts)));
        }
        if let Some(most) = self.max_age {
            found.push((Rule::MaxAge, age(facts, most)));
        }
        found.into_iter().map(|(rule, held)| self.claim(facts, &rule, held)).collect()
    }

    /// Says whether an image holds an expression of the policy, by what it gave: whether it is so, or why that cannot be told. What cannot be told
    /// is not held.
    pub fn judge_expression(&self, facts: &Facts, rule: &Expression, gave: Result<bool, String>) -> Claim {
        let held = match gave {
            Ok(true) => Ok(format!("it is so: {}", shown(&rule.text))),
            Ok(false) => Err(rule.message.clone()),
            Err(why) => Err(format!("{}: `{}` gives no answer: {}", rule.at, shown(&rule.text), shown(&why))),
        };
        self.claim(facts, &Rule::Named(rule.name.clone()), held)
    }

    fn claim(&self, facts: &Facts, rule: &Rule, held: Result<String, String>) -> Claim {
        let about = About::Rule(rule.word().to_owned());
        let claim = |verdict, detail, advice: Option<String>| Claim {
            subject: facts.image,
            about: about.clone(),
            verdict,
            form: None,
            key: None,
            signed: None,
            detail,
            advice,
        };
        let why = match held {
            Ok(detail) => return claim(Verdict::Proven, detail, None),
            Err(why) => why,
        };
        let mine = |one: &&Exception| one.rule == *rule && one.image.is_none_or(|image| image == facts.image);
        let exceptions = || self.exceptions.iter().filter(mine);
        if let Some(one) = exceptions().find(|one| !one.is_over(facts.now)) {
            let detail = format!("{why}; excepted by {} until {}: {}", one.owner, one.last_day(), one.reason);
            return claim(Verdict::Asserted, detail, None);
        }
        let advice = match exceptions().next() {
            Some(over) => {
                format!("the exception of {} ended on {}: mend the image, or ask them", over.owner, over.last_day())
            }
            None => "mend the image, or except it in the policy, with an owner, a reason and a last day".to_owned(),
        };
        claim(Verdict::Failed, why, Some(advice))
    }

    /// Gives the provenance (version 1) that is proven, in a form that the policy takes.
    fn provenance<'a>(&self, assessed: &'a [Assessed]) -> Result<Vec<&'a Value>, String> {
        let counts = |one: &&Assessed| {
            one.claim.verdict == Verdict::Proven && one.claim.form.is_none_or(|form| self.forms.contains(&form))
        };
        let statements = assessed.iter().filter(counts).filter_map(|one| one.statement.as_ref());
        let found: Vec<&Value> = statements
            .filter(|one| one.predicate_type == predicate::SLSA_PROVENANCE)
            .map(|one| &one.predicate)
            .collect();
        if found.is_empty() { Err("no provenance of SLSA 1 is proven".to_owned()) } else { Ok(found) }
    }
}

/// All provenance has to be of a builder that is named: a second one by another is no proof for the first.
fn builder(provenance: &[&Value], builders: &[String]) -> Result<String, String> {
    for predicate in provenance {
        let id = predicate.pointer("/runDetails/builder/id").and_then(Value::as_str).unwrap_or_default();
        if !builders.iter().any(|one| one == id) {
            return Err(format!("its builder is `{}`, which the policy does not name", shown(id)));
        }
    }
    Ok("its provenance is of a builder that the policy names".to_owned())
}

/// All provenance has to name a source that the policy names, as one of what was resolved (`resolvedDependencies`).
fn source(provenance: &[&Value], sources: &[String]) -> Result<String, String> {
    for predicate in provenance {
        let resolved = predicate.pointer("/buildDefinition/resolvedDependencies").and_then(Value::as_array);
        let uris = resolved.into_iter().flatten().filter_map(|one| one.get("uri").and_then(Value::as_str));
        let is_named = |uri: &str| sources.iter().any(|source| is_of(uri, source));
        if !uris.clone().any(is_named) {
            let found: Vec<String> = uris.take(3).map(shown).collect();
            return Err(format!("its provenance names none of the policy's sources, but: {}", found.join(", ")));
        }
    }
    Ok("its provenance names a source of the policy".to_owned())
}

/// Says whether a URI is that of a source, at any revision of it.
fn is_of(uri: &str, source: &str) -> bool {
    uri.strip_prefix(source).is_some_and(|rest| rest.is_empty() || rest.starts_with(['@', '#', '?']))
}

/// Says that an image runs as another user than root, or why not.
pub(crate) fn non_root(facts: &Facts) -> Result<String, String> {
    for platform in &facts.platforms {
        let user = platform.user.split(':').next().unwrap_or_default();
        match user.parse::<u32>() {
            Ok(0) => return Err(format!("{} runs as root", platform.manifest)),
            Ok(_) => {}
            // What a name stands for, a file of the image says, which may change it below another one.
            Err(_) if user.is_empty() || user == "root" => return Err(format!("{} runs as root", platform.manifest)),
            Err(_) => {
                let name = shown(user);
                return Err(format!(
                    "{} runs as `{name}`, and only a number says that this is not root",
                    platform.manifest
                ));
            }
        }
    }
    match facts.platforms.is_empty() {
        true => Err("it has no configuration that says who it runs as".to_owned()),
        false => Ok("it runs as another user than root".to_owned()),
    }
}

fn age(facts: &Facts, most: u64) -> Result<String, String> {
    let mut oldest = 0;
    for platform in &facts.platforms {
        let created = platform.created.as_deref().and_then(moment);
        let Some(created) = created else { return Err(format!("{} does not say when it was made", platform.manifest)) };
        if created.seconds() > facts.now.seconds() + AHEAD {
            return Err(format!("{} says that it was made in the future", platform.manifest));
        }
        oldest = oldest.max(facts.now.seconds().saturating_sub(created.seconds()));
    }
    let days = oldest / DAY;
    match facts.platforms.is_empty() || oldest > most {
        true => Err(format!("it says that it was made {days} days ago, and {} days are the most", most / DAY)),
        false => Ok(format!("it says that it was made {days} days ago")),
    }
}

/// Reads a day, `2026-12-31`.
pub(super) fn day(text: &str) -> Option<Epoch> {
    text.parse().ok().filter(|_| !text.contains('T'))
}

/// Reads a time of RFC 3339 in UTC, as configurations of images have it: with fractions of a second.
fn moment(text: &str) -> Option<Epoch> {
    match text.strip_suffix('Z')?.split_once('.') {
        Some((whole, _)) => format!("{whole}Z").parse().ok(),
        None => text.parse().ok(),
    }
}
