//! `--secret`: where the value of a secret comes from, and what takes it back. Only the command line says so, never a spec.
//!
//! `option` reads the option, `value` gets the value, and `revoke` has a process of its own that takes values back when
//! the build ends, however it ends. [`Keeper`] holds all of it while a build goes on.

mod option;
mod revoke;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use bulla_build::secret::{SHORTEST, SHORTEST_AT_ALL, Secrets};
use bulla_model::{Fault, Kind, SecretBytes, plan::Plan, spec::Name};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::{option::Origin, revoke::Revoker};
pub(crate) use self::{option::SecretOption, revoke::intercept};
use crate::{error::Result, session::Session};

/// What can go wrong with a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// An option is there twice.
    #[error("the secret `{0}` is given twice")]
    Twice(Name),
    /// No step asks for it.
    #[error("no step of the spec asks for the secret `{0}`")]
    NotAsked(Name),
    /// A step asks for one that is not there.
    #[error("the stage `{stage}` asks for the secret `{secret}`, which was not given")]
    NotGiven {
        /// The stage.
        stage: Name,
        /// The secret.
        secret: Name,
    },
    /// The variable is not set.
    #[error("the secret `{name}` is to come from the variable `{variable}`, which is not set")]
    NotSet {
        /// The secret.
        name: Name,
        /// The variable.
        variable: String,
    },
    /// The file cannot be read.
    #[error("reading the secret `{name}`")]
    Unread {
        /// The secret.
        name: Name,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The command failed.
    #[error("the command that gives the secret `{name}` {how}")]
    Command {
        /// The secret.
        name: Name,
        /// How it ended: `ended with exit code 2`.
        how: String,
    },
    /// There is nothing in it, or too much.
    #[error("the secret `{name}` {problem}")]
    Value {
        /// The secret.
        name: Name,
        /// What is wrong with its value.
        problem: String,
    },
    /// The process that takes secrets back cannot be started or told.
    #[error("starting the process that revokes the secrets")]
    NoRevoker(#[source] std::io::Error),
    /// Secrets were not taken back.
    #[error("not revoked: {}", .0.join("; "))]
    NotRevoked(Vec<String>),
}

impl Fault for SecretError {
    fn kind(&self) -> Kind {
        match self {
            Self::Twice(_) | Self::NotAsked(_) | Self::NotGiven { .. } => Kind::Spec,
            _ => Kind::Environment,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NotGiven { secret, .. } => {
                vec![format!("add `--secret id={secret},env=VARIABLE`, or with `file=PATH` or `exec=COMMAND`")]
            }
            Self::NotAsked(name) => vec![format!(
                "write `secrets: [{name}]` in the step that needs it, or leave the option out: a secret that goes nowhere is a mistake in one of both"
            )],
            Self::NotRevoked(_) => vec!["they may still be good: revoke them by hand".to_owned()],
            _ => Vec::new(),
        }
    }
}

/// The secrets of a build while it goes on. Dropped, as by a panic, it has them revoked as well, and waits for nothing.
pub(crate) struct Keeper {
    /// The values.
    pub secrets: Secrets,
    revoker: Option<Revoker>,
}

impl Keeper {
    /// Looks whether a plan and the options go together, and gets the values. When one cannot be had, those that came before it are
    /// revoked.
    ///
    /// # Errors
    /// When the options do not fit, or a value cannot be had.
    pub(crate) fn gather(
        session: &Session,
        options: &[SecretOption],
        asked: &BTreeSet<&Name>,
        plans: &[Plan],
    ) -> Result<Self> {
        check(options, asked, plans)?;
        let mut keeper = Self { secrets: Secrets::default(), revoker: None };
        if options.is_empty() {
            return Ok(keeper);
        }
        no_core_dumps();
        match keeper.values(session, options) {
            Ok(values) => keeper.secrets = Secrets::new(values),
            Err(error) => {
                if let Err(also) = keeper.end() {
                    session.warn(&also.to_string());
                }
                return Err(error);
            }
        }
        for (name, length) in keeper.secrets.short() {
            let what = if length < SHORTEST_AT_ALL { "neither hidden nor found" } else { "not told from chance" };
            session.warn(&format!(
                "the secret `{name}` has {length} bytes: with fewer than {SHORTEST}, what is found of it is {what}, and fails no build"
            ));
        }
        Ok(keeper)
    }

    fn values(&mut self, session: &Session, options: &[SecretOption]) -> Result<BTreeMap<Name, SecretBytes>> {
        let mut values = BTreeMap::new();
        for option in options {
            // Whoever makes a value can be told that it is not needed any more only where there is somebody to tell it.
            if option.revoke.is_some() && self.revoker.is_none() {
                self.revoker = Some(Revoker::start().map_err(SecretError::NoRevoker)?);
            }
            // A command that was interrupted with the build failed for that.
            let value = option.value(session).or_else(|error| session.interrupt.check().and(Err(error.into())))?;
            if let (Some(command), Some(revoker)) = (&option.revoke, &mut self.revoker) {
                revoker.add(&option.name, command, &value).map_err(SecretError::NoRevoker)?;
            }
            session.interrupt.check()?;
            value::check(&option.name, &value)?;
            values.insert(option.name.clone(), value);
        }
        Ok(values)
    }

    /// Revokes what is to be revoked, and waits for it.
    ///
    /// # Errors
    /// When a command failed, or did not end in time.
    pub(crate) fn end(mut self) -> Result<(), SecretError> {
        match self.revoker.take() {
            Some(revoker) => revoker.end(),
            None => Ok(()),
        }
    }
}

fn check(options: &[SecretOption], asked: &BTreeSet<&Name>, plans: &[Plan]) -> Result<(), SecretError> {
    let mut given = BTreeSet::new();
    for option in options {
        if !given.insert(&option.name) {
            return Err(SecretError::Twice(option.name.clone()));
        }
        if !asked.contains(&option.name) {
            return Err(SecretError::NotAsked(option.name.clone()));
        }
    }
    for stage in plans.iter().flat_map(|plan| &plan.stages) {
        let missing = stage.steps.iter().flat_map(|step| &step.secrets).find(|secret| !given.contains(&secret.id));
        if let Some(secret) = missing {
            return Err(SecretError::NotGiven { stage: stage.name.clone(), secret: secret.id.clone() });
        }
    }
    Ok(())
}

/// Sees to it that what this process has in its memory is not written to a disk when it fails. That it cannot be done is no
/// reason not to build.
pub(crate) fn no_core_dumps() {
    let maximum = getrlimit(Resource::Core).maximum;
    // As in the sandbox: with one byte a program of the host that is piped core dumps gets none either.
    let current = Some(maximum.map_or(1, |most| most.min(1)));
    let _ = setrlimit(Resource::Core, Rlimit { current, maximum });
}
