//! What is done about secrets around a run: a step is given what it asks for, what it prints is masked, and what it leaves is
//! searched.

use bulla_model::{
    SecretBytes,
    spec::{AbsolutePath, SECRETS_FOLDER, SecretPlace, StepRef, StepSecret},
};
use bulla_sandbox::{Secret, Stream as Pipe};
use bulla_store::{BlobWriter, Error as StoreError};

use super::{BuildError, context::Context, record::RunRecord, stages::internal};
use crate::{
    event::{Event, Stream},
    secret::{Findings, Hit, Masker, Search, Secrets},
};

/// Gives the values of the secrets that a step asks for, as the sandbox takes them.
pub(super) fn given(
    context: &Context<'_>,
    at: Option<&StepRef>,
    asked: &[StepSecret],
) -> Result<Vec<Secret>, BuildError> {
    let give = |secret: &StepSecret| {
        let missing = || match at {
            Some(at) => BuildError::NoSecret { at: at.clone(), secret: secret.id.clone() },
            None => internal("a secret for something that is no step"),
        };
        let value = context.secrets.get(&secret.id).ok_or_else(missing)?;
        let name = secret.id.to_string();
        let usual = |path: &AbsolutePath| path.to_string() == format!("{SECRETS_FOLDER}/{name}");
        let (value, place) = match &secret.place {
            SecretPlace::File(path) if usual(path) => (value.clone(), bulla_sandbox::SecretPlace::File(None)),
            SecretPlace::File(path) => (value.clone(), bulla_sandbox::SecretPlace::File(Some(path.to_string().into()))),
            SecretPlace::Env(variable) => {
                let whole = value.expose();
                let text = whole.strip_suffix(b"\n").unwrap_or(whole);
                if text.contains(&0) {
                    return Err(BuildError::SecretWithZero { secret: secret.id.clone(), variable: variable.clone() });
                }
                (SecretBytes::new(text.to_vec()), bulla_sandbox::SecretPlace::Env(variable.clone()))
            }
        };
        Ok(Secret { name, value, place })
    };
    asked.iter().map(give).collect()
}

/// Tells what a search found by chance or did not look into, and gives what is sure.
pub(super) fn tell(context: &Context<'_>, title: &str, search: Search<'_>) -> Vec<Hit> {
    let Findings { hits, chances, unsearched } = search.into_findings();
    for hit in chances {
        let message = format!("{title}: {hit}; the value is short, so that this may be chance");
        context.observer.event(&Event::Warning { message: &message });
    }
    for place in unsearched {
        let message =
            format!("{title}: {place} was not searched for secrets: it is nested too deep, too large or encrypted");
        context.observer.event(&Event::Warning { message: &message });
    }
    hits
}

/// Hides values in the paths of an error: a step chooses the names of its files.
pub(super) fn without_secrets(error: BuildError, secrets: &Secrets) -> BuildError {
    match error {
        BuildError::Store(StoreError::Upper { path, reason }) => {
            StoreError::Upper { path: secrets.masked(&path).into_owned(), reason }.into()
        }
        BuildError::Store(StoreError::Io { verb, path, source }) => {
            let shown = secrets.masked(&path.to_string_lossy()).into_owned();
            StoreError::Io { verb, path: shown.into(), source }.into()
        }
        other => other,
    }
}

/// What a command prints, with the values of secrets hidden.
pub(super) struct Masked<'s>(Option<[Masker<'s>; 2]>);

impl<'s> Masked<'s> {
    pub(super) fn new(secrets: &'s Secrets) -> Self {
        Self(secrets.masker().zip(secrets.masker()).map(<[_; 2]>::from))
    }

    pub(super) fn push(&mut self, pipe: Pipe, bytes: &[u8], take: &mut impl FnMut(Stream, &[u8])) {
        let (stream, index) = match pipe {
            Pipe::Stdout => (Stream::Stdout, 0),
            Pipe::Stderr => (Stream::Stderr, 1),
        };
        match &mut self.0 {
            None => take(stream, bytes),
            Some(maskers) => {
                let shown = maskers[index].push(bytes);
                if !shown.is_empty() {
                    take(stream, &shown);
                }
            }
        }
    }

    pub(super) fn finish(self, take: &mut impl FnMut(Stream, &[u8])) {
        for (mut masker, stream) in self.0.into_iter().flatten().zip([Stream::Stdout, Stream::Stderr]) {
            let rest = masker.finish();
            if !rest.is_empty() {
                take(stream, &rest);
            }
        }
    }
}

/// Searches what is kept of a step beside its files.
pub(super) fn search_kept(
    search: &Search<'_>,
    title: &str,
    record: &RunRecord,
    log: &BlobWriter,
) -> Result<(), BuildError> {
    search.bytes(&serde_json::to_vec(record).expect("a record has no key that JSON cannot have"), "its record");
    let read = search.stream(&mut log.reader()?, "its output");
    read.map_err(|source| BuildError::Log { title: title.to_owned(), source })
}
