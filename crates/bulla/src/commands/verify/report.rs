//! What `bulla verify` found, and whether that is all that is asked for.

use bulla_evidence::{
    policy::{self, Facts, Policy},
    verify::{
        About, Assessed, Claim, Form, Verdict,
        require::{Met, Requirement, Subjects},
    },
};
use bulla_model::{Digest, Kind};
use serde::Serialize;

use crate::{error::Result, neutral, ops::rules, session::Session};

/// What is asked of an image or a file.
pub(super) struct Asked<'a> {
    /// What has to be proven, by the command.
    pub(super) require: &'a [Requirement],
    /// The policy, which says so itself.
    pub(super) policy: Option<&'a Policy>,
}

/// What was found.
#[derive(Serialize)]
pub(super) struct Report {
    /// What was verified.
    pub(super) digest: Digest,
    pub(super) passed: bool,
    pub(super) claims: Vec<Claim>,
    pub(super) required: Vec<Met>,
}

impl Report {
    /// Brings together what was asked for and what is known.
    ///
    /// # Errors
    /// When an expression of the policy cannot be evaluated at all.
    pub(super) fn new(
        session: &Session,
        asked: &Asked<'_>,
        subjects: Subjects,
        assessed: Vec<Assessed>,
        facts: &Facts,
    ) -> Result<Self> {
        let usual = [Requirement::Signature];
        let all = [Form::Bundle, Form::Legacy];
        let (require, forms): (&[Requirement], &[Form]) = match asked.policy {
            Some(policy) => (&policy.require, &policy.forms),
            None if asked.require.is_empty() => (&usual, &all),
            None => (asked.require, &all),
        };
        let required: Vec<Met> = require.iter().map(|one| one.met(&subjects, &assessed, forms)).collect();
        let mut rules = Vec::new();
        if let Some(policy) = asked.policy {
            rules = policy.judge(facts, &assessed);
            if !policy.rules.is_empty() {
                let variables = policy::variables(facts, &assessed, forms);
                for rule in &policy.rules {
                    let gave = rules::evaluate(session, rule, &variables)?;
                    rules.push(policy.judge_expression(facts, rule, gave));
                }
            }
        }
        let mut claims: Vec<Claim> = assessed.into_iter().map(|one| one.claim).collect();
        claims.extend(rules);
        let failed = claims.iter().any(|claim| claim.verdict == Verdict::Failed);
        let passed = !failed && required.iter().all(|one| one.met);
        Ok(Self { digest: subjects.root, passed, claims, required })
    }

    /// Gives the exit code.
    pub(super) fn code(&self) -> u8 {
        // A rule that is not held is the user's own; what fails otherwise was tampered with, or is damaged.
        let tampered = |claim: &Claim| claim.verdict == Verdict::Failed && !matches!(claim.about, About::Rule(_));
        match self.passed {
            true => 0,
            false if self.claims.iter().any(tampered) => Kind::Integrity.exit_code(),
            false => Kind::Policy.exit_code(),
        }
    }

    /// Writes it as lines for people.
    pub(super) fn text(&self) -> String {
        let mut out = format!("{}\n", self.digest);
        for claim in &self.claims {
            let verdict = match claim.verdict {
                Verdict::Proven => "proven",
                Verdict::Asserted => "asserted",
                Verdict::NotChecked => "not checked",
                Verdict::Failed => "failed",
            };
            let about = about(&claim.about);
            let mut line = format!("{verdict:<11}  {about}");
            if claim.subject != self.digest {
                line.push_str(&format!(" of {}", claim.subject.short()));
            }
            let form = match claim.form {
                Some(Form::Bundle) => Some("bundle"),
                Some(Form::Legacy) => Some("legacy"),
                Some(Form::Unsigned) | None => None,
            };
            let who =
                claim.signed.as_ref().and_then(|signed| Some((signed.identity.as_ref()?, signed.issuer.as_ref()?)));
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
        for one in &self.required {
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
        out.push_str(if self.passed { "passed\n" } else { "not passed\n" });
        out
    }
}

/// Says what a claim is about.
pub(super) fn about(about: &About) -> String {
    match about {
        About::Content => "content".to_owned(),
        About::Signature => "signature".to_owned(),
        About::Statement(kind) => kind.clone(),
        About::Consistent(kind) => format!("consistent {kind}"),
        About::Unknown => "evidence".to_owned(),
        About::Rule(rule) => format!("rule {rule}"),
    }
}
