//! Chooses the packages of one root: which of the alternatives, and which version of each.
//!
//! [`solve`] asks a SAT solver (`resolvo`). Among the solutions it prefers, in this order: what is locked already, the first
//! alternative that a dependency names, the newest version; and packages of suites that are `NotAutomatic` (backports) only
//! where they are asked for or nothing else will do. The answer depends on the question alone.

mod explain;
mod pool;
mod provider;

use bulla_model::{Fault, Kind};

pub use explain::Explanation;

use self::{
    pool::Pool,
    provider::{Outcome, run},
};
use super::{
    packages::{Index, Package, PackagesError},
    relation::{ParseRelationError, Request},
};

/// One list of packages that the choice is among.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The list.
    pub index: &'a Index,
    /// The names by which a request can ask for this suite: as configured, its moving name, its code name.
    pub suites: &'a [String],
    /// Whether its packages are taken only where they are asked for or nothing else will do.
    pub not_automatic: bool,
}

/// A version that was chosen before, and that is kept where it can be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Locked {
    /// The name of the package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
}

/// What is to be chosen.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The lists to choose from. Of equal versions, the first list's is taken.
    pub sources: &'a [Source<'a>],
    /// Debian's name of the architecture.
    pub architecture: &'a str,
    /// Another architecture, whose packages are taken where they are asked for (`zlib1g-dev:arm64`), with what they need.
    pub foreign: Option<&'a str>,
    /// What was asked for.
    pub requests: &'a [Request],
    /// Whether every package that is `Essential` is wanted, as in a system where scripts run.
    pub essential: bool,
    /// Names that count as installed and are not pulled in, unless they are asked for (see [`super::pruned::PRUNED`]).
    pub provided: &'a [&'a str],
    /// Dependencies of one package that are not followed: its name, and theirs (see [`super::pruned::EXCUSED`]).
    pub excused: &'a [(&'a str, &'a str)],
    /// What was chosen before.
    pub locked: &'a [Locked],
}

/// One chosen package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice<'a> {
    /// The position of its list in [`Question::sources`].
    pub source: usize,
    /// Its fields.
    pub package: Package<'a>,
}

/// Says why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SolveError {
    /// No package has the name, nor provides it.
    #[error("there is no package `{name}` in {}{}", suites.join(", "), did_you_mean(nearest))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The suites that were searched.
        suites: Vec<String>,
        /// Names that look like it.
        nearest: Vec<String>,
    },
    /// The package is there, but not in the version or suite that was asked for.
    #[error("no version of `{}` is `{request}`; there is {}", request.name(), listed(available))]
    NoVersion {
        /// What was asked for.
        request: Box<Request>,
        /// The versions that there are, each with its suite.
        available: Vec<String>,
    },
    /// What was asked for cannot be had together.
    #[error("{0}")]
    Unsatisfiable(Explanation),
    /// A list has a package in it that cannot be read.
    #[error("reading a package of the list")]
    Packages(#[from] PackagesError),
    /// A package has a relation that cannot be read.
    #[error("reading `{field}` of the package `{package}`")]
    Relation {
        /// The name of the package.
        package: String,
        /// The name of the field.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: ParseRelationError,
    },
    /// The solver gave up.
    #[error("choosing packages took more than {0} steps")]
    TooHard(u64),
}

fn did_you_mean(nearest: &[String]) -> String {
    if nearest.is_empty() { String::new() } else { format!("; did you mean {}?", listed(nearest)) }
}

/// Lists words as a person does: `a`, `b` or `c`.
fn listed(words: &[String]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [one] => format!("`{one}`"),
        [front @ .., last] => {
            format!("{} or `{last}`", front.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", "))
        }
    }
}

impl Fault for SolveError {
    fn kind(&self) -> Kind {
        match self {
            Self::Packages(_) | Self::Relation { .. } => Kind::Integrity,
            _ => Kind::Spec,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Unknown { .. } => {
                vec!["packages of other suites and components are found when the spec's `from` names those".to_owned()]
            }
            Self::NoVersion { .. } => {
                vec![
                    "mirrors keep only the newest version of a suite; ask for `NAME=VERSION.*` or for no version"
                        .to_owned(),
                ]
            }
            _ => Vec::new(),
        }
    }
}

/// Chooses packages, in the order of their names.
///
/// # Errors
/// When something asked for is unknown, cannot be had together with the rest, or a package that is looked at cannot be read.
pub fn solve<'a>(question: &Question<'a>) -> Result<Vec<Choice<'a>>, SolveError> {
    let pool = Pool::new(question);
    let roots = pool.roots()?;
    let outcome = run(&pool, &roots);
    if let Some(error) = pool.take_error() {
        return Err(error);
    }
    match outcome {
        Outcome::Solved(ids) => {
            let mut choices: Vec<Choice<'a>> = ids.into_iter().map(|id| pool.choice(id)).collect();
            choices.sort_by_key(|choice| {
                (
                    choice.package.name,
                    Some(choice.package.architecture) == question.foreign,
                    choice.package.architecture,
                )
            });
            Ok(choices)
        }
        Outcome::Unsolvable => Err(SolveError::Unsatisfiable(explain::explain(&pool, &roots))),
        Outcome::TooHard(steps) => Err(SolveError::TooHard(steps)),
    }
}

#[cfg(test)]
mod tests;
