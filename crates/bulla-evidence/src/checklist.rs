//! The questions of a build review, each with the evidence that answers it.
//!
//! An answer stands on statements that refer to the image, and is as good as they are: *yes* where a key that was named signed them, *asserted*
//! where nobody did. What no statement says is *no evidence*, never yes.

use bulla_model::{Digest, Spec, purl::Purl};
use serde::Serialize;

use crate::{
    Resource, Statement,
    policy::{Facts, non_root},
    predicate::is_meant,
    provenance::{PROVENANCE, Provenance},
    reproduction,
    verify::{About, Assessed, Claim, Verdict},
};

/// The most packages that an answer names.
const MAX_NAMED: usize = 4;

/// How a question is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is so: a key that was named signed what says it, or the image itself shows it.
    Yes,
    /// Somebody says that it is so, and nobody signed it.
    Asserted,
    /// It is not so.
    No,
    /// Nothing says whether it is so.
    NoEvidence,
}

/// A question with its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Its number, from 1.
    pub number: usize,
    /// What is asked.
    pub question: &'static str,
    /// How it is answered.
    pub answer: Answer,
    /// By what, a sentence.
    pub evidence: String,
}

/// The questions, in their order.
pub const QUESTIONS: [&str; 15] = [
    "Is the base image pinned by digest?",
    "Was the build isolated and ephemeral?",
    "Had the build no network?",
    "Are the tools of the build pinned?",
    "Are build and image separate stages?",
    "Are there no secrets in the layers?",
    "Are no build tools shipped?",
    "Are artifacts copied, and no layers of the build left?",
    "Does it run as another user than root?",
    "Was it scanned for vulnerabilities?",
    "Is there a list of what it is made of?",
    "Is it signed?",
    "Is there provenance in the form of SLSA?",
    "Was the pipeline reviewed?",
    "Are the build's logs immutable?",
];

/// What is known of an answer before it has its place: how, and by what.
type Known = (Answer, String);

/// What the questions are answered from.
struct Ground<'a> {
    assessed: &'a [Assessed],
    facts: &'a Facts,
    /// The best provenance of the image, and how much it is worth.
    provenance: Option<(Provenance, Answer)>,
}

/// Answers the questions about an image.
pub fn answer(assessed: &[Assessed], facts: &Facts) -> Vec<Item> {
    let read = |(statement, worth): (&Statement, Answer)| {
        Some((serde_json::from_value::<Provenance>(statement.predicate.clone()).ok()?, worth))
    };
    let provenance = best(assessed, &facts.image, |kind| kind == PROVENANCE).and_then(read);
    let ground = Ground { assessed, facts, provenance };
    let answers: [Known; 15] = [
        ground.base(),
        ground.isolated(),
        ground.offline(),
        ground.pinned(),
        ground.staged(),
        nothing("no statement says that the layers were searched"),
        ground.without_tools(),
        ground.copied(),
        ground.user(),
        ground.stated("vulnerabilities", "a scan refers to it"),
        ground.listed(),
        ground.signed(),
        ground.made(),
        nothing("no statement of a review refers to it"),
        nothing("no entry of a log refers to it"),
    ];
    let item = |(index, (answer, evidence)): (usize, Known)| Item {
        number: index + 1,
        question: QUESTIONS[index],
        answer,
        evidence,
    };
    answers.into_iter().enumerate().map(item).collect()
}

fn nothing(why: &str) -> Known {
    (Answer::NoEvidence, why.to_owned())
}

/// Finds the statement of a type about an image that is worth most.
fn best<'a>(assessed: &'a [Assessed], image: &Digest, is: impl Fn(&str) -> bool) -> Option<(&'a Statement, Answer)> {
    let worth = |one: &Assessed| match one.claim.verdict {
        Verdict::Proven => Some(Answer::Yes),
        Verdict::Asserted => Some(Answer::Asserted),
        Verdict::NotChecked | Verdict::Failed => None,
    };
    let of = |one: &'a Assessed| {
        let statement = one.statement.as_ref().filter(|statement| is(&statement.predicate_type))?;
        Some((statement, worth(one)?))
    };
    let mut all = assessed.iter().filter(|one| one.claim.subject == *image).filter_map(of);
    let first = all.next()?;
    Some(if first.1 == Answer::Yes { first } else { all.find(|one| one.1 == Answer::Yes).unwrap_or(first) })
}

impl Ground<'_> {
    /// Answers by the provenance: what is wrong says no, whoever says it.
    fn by_provenance(&self, judge: impl Fn(&Provenance) -> Result<String, String>) -> Known {
        match &self.provenance {
            None => nothing("no provenance refers to it"),
            Some((provenance, worth)) => match judge(provenance) {
                Ok(why) => (*worth, why),
                Err(why) => (Answer::No, why),
            },
        }
    }

    fn used(provenance: &Provenance, kind: &str) -> Vec<Resource> {
        provenance.build_definition.used(kind).cloned().collect()
    }

    fn base(&self) -> Known {
        self.by_provenance(|provenance| {
            let bases = Self::used(provenance, "base");
            let pinned = bases.iter().filter(|base| base.sha256().is_some()).count();
            match (bases.len(), pinned) {
                (0, _) => Ok("provenance: it stands on no image, but on packages by digest".to_owned()),
                (all, pinned) if all == pinned => Ok(format!("provenance: {all} base images, each by SHA-256")),
                (all, pinned) => Err(format!("provenance: {} of {all} base images have no SHA-256", all - pinned)),
            }
        })
    }

    /// Answers by what was enforced of every step.
    fn of_steps(&self, what: &str, is: impl Fn(&[String]) -> bool) -> Known {
        self.by_provenance(|provenance| {
            let Some(run) = provenance.run() else {
                return Err("provenance: it does not say what was enforced".to_owned());
            };
            let steps = run.steps.len();
            match run.steps.iter().filter(|step| !is(&step.isolation.namespaces)).count() {
                0 => Ok(format!("provenance: {what} for each of {steps} steps")),
                other => Err(format!("provenance: not {what} for {other} of {steps} steps")),
            }
        })
    }

    fn isolated(&self) -> Known {
        self.of_steps("namespaces of its own, and a root that was thrown away,", |namespaces| {
            ["user", "mount", "pid"].iter().all(|wanted| namespaces.iter().any(|found| found == wanted))
        })
    }

    fn offline(&self) -> Known {
        self.of_steps("a network namespace with nothing but its own loopback", |namespaces| {
            namespaces.iter().any(|found| found == "network")
        })
    }

    fn pinned(&self) -> Known {
        self.by_provenance(|provenance| {
            let observed =
                provenance.run().map_or(0, |run| run.steps.iter().filter(|step| !step.observed.is_empty()).count());
            let packages = Self::used(provenance, "package");
            let loose = packages.iter().filter(|one| one.sha256().is_none()).count();
            match (loose, observed) {
                (0, 0) => Ok(format!("provenance: {} packages, each by SHA-256 out of a signed index", packages.len())),
                (0, steps) => Err(format!("provenance: {steps} steps were given what was only observed")),
                (loose, _) => Err(format!("provenance: {loose} packages have no SHA-256")),
            }
        })
    }

    fn staged(&self) -> Known {
        self.by_provenance(|provenance| {
            let steps = &provenance.build_definition.internal_parameters.steps;
            Ok(match steps.len() {
                0 => "provenance: nothing was run to make it".to_owned(),
                steps => format!("provenance: {steps} steps ran in stages, whose roots are not the image's"),
            })
        })
    }

    fn copied(&self) -> Known {
        self.by_provenance(|provenance| match provenance.build_definition.build_type == crate::provenance::BUILD_TYPE {
            true => Ok("provenance: outputs are copied out of stages by name, and no step writes a layer".to_owned()),
            false => Err("provenance: it is of a kind of build that is not known here".to_owned()),
        })
    }

    fn without_tools(&self) -> Known {
        let Some((list, worth)) = best(self.assessed, &self.facts.image, |kind| is_meant("sbom", kind)) else {
            return nothing("no list of what it is made of refers to it");
        };
        let tools: Vec<String> = names(list)
            .into_iter()
            .filter(|purl| purl.kind == "deb" && Spec::is_toolchain(&purl.name))
            .map(|purl| purl.name)
            .collect();
        match tools.as_slice() {
            [] => (worth, "the list of what it is made of has no compiler, linker or the like".to_owned()),
            some => (Answer::No, format!("it has {}", some[..some.len().min(MAX_NAMED)].join(", "))),
        }
    }

    fn user(&self) -> Known {
        match non_root(self.facts) {
            _ if self.facts.platforms.is_empty() => nothing("it has no configuration of an image"),
            Ok(why) => (Answer::Yes, format!("its configuration: {why}")),
            Err(why) => (Answer::No, format!("its configuration: {why}")),
        }
    }

    fn stated(&self, word: &str, yes: &str) -> Known {
        match best(self.assessed, &self.facts.image, |kind| is_meant(word, kind)) {
            Some((statement, worth)) => (worth, format!("{yes}: {}", statement.predicate_type.escape_debug())),
            None => nothing("no statement of one refers to it"),
        }
    }

    /// A list is as good as it is true: it was held against the layers where those are at hand.
    fn listed(&self) -> Known {
        let (answer, evidence) = self.stated("sbom", "a list refers to it");
        let of_list = |claim: &&Claim| claim.subject == self.facts.image && matches!(claim.about, About::Consistent(_));
        let held: Vec<&Claim> = self.assessed.iter().map(|one| &one.claim).filter(of_list).collect();
        if let Some(other) = held.iter().find(|claim| claim.verdict == Verdict::Failed) {
            return (Answer::No, format!("a list refers to it that is not as the image is: {}", other.detail));
        }
        match held.iter().any(|claim| matches!(claim.verdict, Verdict::Proven | Verdict::Asserted)) {
            true => (answer, format!("{evidence}, and is as the image is")),
            false => (answer, evidence),
        }
    }

    fn made(&self) -> Known {
        let (answer, evidence) = self.stated("provenance", "provenance refers to it");
        match reproduction::of(self.assessed, &self.facts.image) {
            Some((who, Verdict::Proven)) => (answer, format!("{evidence}; {who} made it again, with the same digest")),
            _ => (answer, evidence),
        }
    }

    fn signed(&self) -> Known {
        let signatures = self.assessed.iter().map(|one| &one.claim).filter(|claim| claim.about == About::Signature);
        let of_image = || signatures.clone().filter(|claim| claim.subject == self.facts.image);
        match of_image().find(|claim| claim.verdict == Verdict::Proven) {
            Some(claim) => (Answer::Yes, format!("by {}", claim.key.as_deref().unwrap_or("a key that was named"))),
            None if of_image().any(|claim| claim.verdict == Verdict::Failed) => {
                (Answer::No, "a signature of it fails".to_owned())
            }
            None => nothing("no signature by a key that was named"),
        }
    }
}

/// Gives the package URLs of a list of SPDX 2.3 or CycloneDX.
fn names(list: &Statement) -> Vec<Purl> {
    let predicate = &list.predicate;
    let texts = |value: &serde_json::Value, name: &str| value[name].as_str().map(str::to_owned);
    let spdx = predicate["packages"].as_array().into_iter().flatten();
    let spdx = spdx.flat_map(|package| package["externalRefs"].as_array().into_iter().flatten());
    let spdx = spdx.filter_map(|reference| texts(reference, "referenceLocator"));
    let cyclonedx = predicate["components"].as_array().into_iter().flatten().filter_map(|one| texts(one, "purl"));
    spdx.chain(cyclonedx).filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Subject, policy::PlatformFacts};

    const LIST: &str = "https://spdx.dev/Document";

    fn image() -> Digest {
        Digest::of("image")
    }

    fn facts(user: &str) -> Facts {
        let platforms = vec![PlatformFacts { manifest: image(), user: user.to_owned(), created: None }];
        Facts { image: image(), platforms, now: bulla_model::Epoch::default() }
    }

    fn assessed(kind: &str, predicate: Value, verdict: Verdict) -> Assessed {
        let claim = Claim {
            subject: image(),
            about: About::Statement(kind.to_owned()),
            verdict,
            form: None,
            key: None,
            signed: None,
            detail: String::new(),
            advice: None,
        };
        let statement = Statement::new(vec![Subject::new(None, &image())], kind, predicate);
        Assessed { claim, statement: Some(statement) }
    }

    fn provenance(namespaces: &[&str]) -> Value {
        let digest = image().hex();
        json!({
            "buildDefinition": {
                "buildType": "urn:bulla:build:1",
                "externalParameters": {
                    "spec": {"digest": {"sha256": digest}}, "lock": {"digest": {"sha256": digest}}, "platforms": [],
                },
                "internalParameters": {
                    "epoch": "", "formats": {},
                    "steps": [{"step": "build/1", "title": "make", "ships": true}],
                },
                "resolvedDependencies": [{"name": "gcc", "digest": {"sha256": digest}, "annotations": {"kind": "package"}}],
            },
            "runDetails": {
                "builder": {"id": "urn:x"},
                "metadata": {"invocationId": "i", "startedOn": "", "finishedOn": ""},
                "byproducts": [{"uri": "urn:bulla:run:1", "annotations": {
                    "tainted": false, "compared": false,
                    "steps": [{"step": "build/1", "action": digest, "cached": false, "refusals": 0, "isolation": {
                        "namespaces": namespaces, "filter": "", "limits": "", "overlay": true, "capabilities": 0,
                    }}],
                }}],
            },
        })
    }

    fn answers(assessed: &[Assessed], user: &str) -> Vec<Answer> {
        answer(assessed, &facts(user)).into_iter().map(|item| item.answer).collect()
    }

    #[test]
    fn without_evidence_nothing_is_answered_but_what_the_image_shows() {
        let found = answers(&[], "65532");
        let yes: Vec<usize> = (1..=15).filter(|number| found[number - 1] != Answer::NoEvidence).collect();
        assert_eq!(yes, [9]);
        assert_eq!(
            (answers(&[], "")[8], answers(&[], "0")[8], answers(&[], "app")[8]),
            (Answer::No, Answer::No, Answer::No)
        );
    }

    #[test]
    fn an_answer_is_worth_what_its_evidence_is() {
        let of =
            |verdict| answers(&[assessed(PROVENANCE, provenance(&["user", "mount", "pid", "network"]), verdict)], "1");
        for (verdict, wanted) in [
            (Verdict::Proven, Answer::Yes),
            (Verdict::Asserted, Answer::Asserted),
            (Verdict::NotChecked, Answer::NoEvidence),
            (Verdict::Failed, Answer::NoEvidence),
        ] {
            let found = of(verdict);
            for number in [1, 2, 3, 4, 5, 8, 13] {
                assert_eq!(found[number - 1], wanted, "{number}");
            }
        }
        // The best of two counts.
        let good = provenance(&["user", "mount", "pid", "network"]);
        let both = [assessed(PROVENANCE, good.clone(), Verdict::Asserted), assessed(PROVENANCE, good, Verdict::Proven)];
        assert_eq!(answers(&both, "1")[12], Answer::Yes);
    }

    #[test]
    fn provenance_of_another_builder_is_provenance_and_answers_nothing_else() {
        let theirs = json!({"buildDefinition": {"buildType": "https://example.org/workflow/v1", "externalParameters": {"workflow": {}}}});
        let found = answers(&[assessed(PROVENANCE, theirs, Verdict::Proven)], "1");
        let yes: Vec<usize> = (1..=15).filter(|number| found[number - 1] == Answer::Yes).collect();
        assert_eq!(yes, [9, 13]);
    }

    #[test]
    fn what_is_not_so_is_no_also_where_it_is_proven() {
        let found = answers(&[assessed(PROVENANCE, provenance(&["user", "mount", "pid"]), Verdict::Proven)], "1");
        assert_eq!((found[1], found[2]), (Answer::Yes, Answer::No));
        let list = |name: &str| json!({"packages": [{"externalRefs": [{"referenceLocator": format!("pkg:deb/debian/{name}@1")}]}]});
        let tools = |name: &str| answers(&[assessed(LIST, list(name), Verdict::Proven)], "1");
        assert_eq!((tools("gcc")[6], tools("libc6")[6], tools("libc6")[10]), (Answer::No, Answer::Yes, Answer::Yes));
        let cyclonedx = json!({"components": [{"purl": "pkg:deb/debian/binutils@1"}]});
        assert_eq!(answers(&[assessed("https://cyclonedx.org/bom", cyclonedx, Verdict::Asserted)], "1")[6], Answer::No);
    }

    #[test]
    fn a_list_that_is_not_as_the_image_is_answers_no_and_a_reproduction_is_told() {
        let list = || assessed(LIST, json!({"spdxVersion": "SPDX-2.3"}), Verdict::Proven);
        let held = |verdict| {
            let mut one = assessed(LIST, Value::Null, verdict);
            (one.claim.about, one.statement) = (About::Consistent(LIST.to_owned()), None);
            one
        };
        let told = |verdict| answer(&[list(), held(verdict)], &facts("1")).remove(10);
        assert_eq!(told(Verdict::Failed).answer, Answer::No);
        let good = told(Verdict::Proven);
        assert_eq!((good.answer, good.evidence.ends_with("and is as the image is")), (Answer::Yes, true));
        let unseen = told(Verdict::NotChecked);
        assert_eq!((unseen.answer, unseen.evidence.contains("as the image is")), (Answer::Yes, false));
        let again = json!({"verifier": {"id": "urn:x:again"}, "properties": ["BULLA_REPRODUCED"]});
        for (verdict, is_told) in [(Verdict::Proven, true), (Verdict::Asserted, false)] {
            let pieces = [
                assessed(PROVENANCE, provenance(&["user"]), Verdict::Proven),
                assessed(reproduction::RESULT, again.clone(), verdict),
            ];
            assert_eq!(answer(&pieces, &facts("1"))[12].evidence.contains("urn:x:again made it again"), is_told);
        }
    }
}
