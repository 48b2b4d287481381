//! What registries said where the files of a lock file are. What was used of it is kept beside the files, so that nothing is asked twice, and goes along
//! to other machines. It says only what to ask for: files are held against the lock file's own hashes, whoever answered.

use std::io::Read as _;

use bulla_ecosystems::dependencies::{Native, Question};
use bulla_model::{Digest, Ecosystem};
use bulla_store::Store;

use super::record::{self, Action, FORMAT};

/// A question to a registry about one package, with the hashes that the lock file has of its files: others are another question.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// The kind of packages.
    pub ecosystem: Ecosystem,
    /// The package.
    pub name: String,
    /// What is asked for: a path of the registry, or an address.
    pub place: String,
    /// What the lock file says of the package's files.
    pub hashes: Vec<String>,
}

impl Asked {
    /// Gives the open questions of a lock file; none where all that is locked is known without.
    pub fn of(native: &dyn Native) -> Vec<(Self, Question)> {
        let questions = native.questions();
        if questions.is_empty() {
            return Vec::new();
        }
        let mut hashes: std::collections::HashMap<&str, Vec<String>> = std::collections::HashMap::new();
        for artifact in &native.locked().artifacts {
            let of = hashes.entry(&artifact.name).or_default();
            of.extend(artifact.hashes.iter().map(ToString::to_string));
        }
        let ecosystem = native.locked().ecosystem;
        let asked = |question: Question| {
            let hashes = hashes.get(question.name.as_str()).cloned().unwrap_or_default();
            let (name, place) = (question.name.clone(), question.place.text().to_owned());
            (Self { ecosystem, name, place, hashes }, question)
        };
        questions.into_iter().map(asked).collect()
    }

    /// Names the asking.
    pub fn action(&self) -> Digest {
        let Self { ecosystem, name, place, hashes } = self;
        Action::Page { format: FORMAT, ecosystem: *ecosystem, name, place, hashes }.digest()
    }
}

/// An answer that is in the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answered {
    /// What was asked.
    pub asked: Asked,
    /// What of the answer was used.
    pub blob: Digest,
}

/// Gives what of an answer was used, where this store has kept it.
///
/// # Errors
/// When the store cannot be read.
pub fn answered(store: &Store, asked: Asked) -> Result<Option<Answered>, bulla_store::Error> {
    let Some(blob) = record::lookup(store, &asked.action())? else { return Ok(None) };
    Ok(store.has_blob(&blob)?.then_some(Answered { asked, blob }))
}

/// Gives the bytes of that.
///
/// # Errors
/// When the store cannot be read.
pub fn kept_answer(store: &Store, asked: &Asked) -> Result<Option<Vec<u8>>, bulla_store::Error> {
    let Some(digest) = record::lookup(store, &asked.action())? else { return Ok(None) };
    let Some(mut blob) = store.open_blob(&digest)? else { return Ok(None) };
    let mut bytes = Vec::new();
    // One that cannot be read is asked for again.
    Ok(blob.read_to_end(&mut bytes).ok().map(|_| bytes))
}

/// Keeps what of the answer to a question was used.
///
/// # Errors
/// When the store cannot be written.
pub fn keep_answer(store: &Store, asked: &Asked, used: &[u8]) -> Result<(), bulla_store::Error> {
    let blob = store.put_blob(used)?;
    keep_answered(store, &Answered { asked: asked.clone(), blob })
}

/// Keeps an answer whose bytes are in the store. Nobody believes them: what they lead to has the lock file's hashes, or is not taken.
///
/// # Errors
/// When the store cannot be written.
pub fn keep_answered(store: &Store, Answered { asked, blob }: &Answered) -> Result<(), bulla_store::Error> {
    record::keep(store, &asked.action(), blob)
}
