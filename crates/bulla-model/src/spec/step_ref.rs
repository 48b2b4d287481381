//! Names a stage or one of its steps, as people type it: `build`, `build/3`.

use std::{fmt, str::FromStr};

use super::{Name, Spec};
use crate::fault::{Fault, Kind};

/// A stage, or one step of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepRef {
    /// The stage.
    pub stage: Name,
    /// Which step of it, from 1; `None` is all of them.
    pub step: Option<usize>,
}

/// A text that names no step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names no step: expected STAGE or STAGE/NUMBER, with the first step as 1")]
pub struct StepRefError {
    text: String,
}

/// A stage or step that the spec does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchStep {
    /// There is no such stage.
    #[error("the spec has no stage `{stage}`")]
    Stage {
        /// What was asked for.
        stage: Name,
        /// What there is.
        known: Vec<Name>,
    },
    /// The stage has fewer steps.
    #[error("the stage `{stage}` has no step {step}")]
    Step {
        /// The stage.
        stage: Name,
        /// What was asked for.
        step: usize,
        /// How many there are.
        count: usize,
    },
}

impl StepRef {
    /// Says whether a step of a stage is meant.
    pub fn covers(&self, stage: &Name, step: usize) -> bool {
        self.stage == *stage && self.step.is_none_or(|number| number == step)
    }

    /// Checks that a spec has what is named.
    ///
    /// # Errors
    /// When it has not: with what it has.
    pub fn check(&self, spec: &Spec) -> Result<(), NoSuchStep> {
        let Some(stage) = spec.stages.get(&self.stage) else {
            let known = spec.stages.keys().cloned().collect();
            return Err(NoSuchStep::Stage { stage: self.stage.clone(), known });
        };
        match self.step {
            Some(step) if step > stage.steps.len() => {
                Err(NoSuchStep::Step { stage: self.stage.clone(), step, count: stage.steps.len() })
            }
            _ => Ok(()),
        }
    }
}

impl From<Name> for StepRef {
    fn from(stage: Name) -> Self {
        Self { stage, step: None }
    }
}

impl FromStr for StepRef {
    type Err = StepRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || StepRefError { text: text.chars().take(100).collect() };
        let (stage, step) = match text.split_once('/') {
            None => (text, None),
            Some((stage, number)) => {
                let plain = !number.starts_with(['+', '0']);
                (stage, Some(number.parse().ok().filter(|_| plain).ok_or_else(wrong)?))
            }
        };
        Ok(Self { stage: stage.parse().map_err(|_| wrong())?, step })
    }
}

impl fmt::Display for StepRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            Some(step) => write!(f, "{}/{step}", self.stage),
            None => self.stage.fmt(f),
        }
    }
}

impl Fault for NoSuchStep {
    fn kind(&self) -> Kind {
        Kind::Spec
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Stage { known, .. } if known.is_empty() => vec!["it has no stages at all".to_owned()],
            Self::Stage { known, .. } => {
                let known: Vec<&str> = known.iter().map(Name::as_str).collect();
                vec![format!("its stages are {}", known.join(", "))]
            }
            Self::Step { count: 0, .. } => vec!["it has no steps".to_owned()],
            Self::Step { stage, count, .. } => vec![format!("its steps are {stage}/1 to {stage}/{count}")],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_from_one() {
        for text in ["build", "build/1", "build/12"] {
            let step: StepRef = text.parse().expect("it names a step");
            assert_eq!(step.to_string(), text);
        }
        for bad in ["", "/", "/1", "build/", "build/0", "build/+1", "build/x", "build/1/2", "Build", "build/01"] {
            assert!(bad.parse::<StepRef>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_stage_covers_all_its_steps_and_a_step_itself_alone() {
        let (build, other): (Name, Name) = ("build".parse().expect("a name"), "test".parse().expect("a name"));
        let (all, third): (StepRef, StepRef) = ("build".parse().expect("a stage"), "build/3".parse().expect("a step"));
        assert!(all.covers(&build, 1) && all.covers(&build, 3) && !all.covers(&other, 1));
        assert!(third.covers(&build, 3) && !third.covers(&build, 2) && !third.covers(&other, 3));
    }
}
