//! Reads what a lock says of commits of git repositories.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{SourceText, clean, digest, invalid, is_fingerprint, need, only, render, shown, signers};
use crate::{
    git::{GitId, GitRevision, is_git_address},
    lock::{GitEvidence, GitPin, GitSignature, LockError, ModulePin, read::time},
    path::CleanPath,
};

/// The most submodules of one source, those of submodules among them.
const MAX_MODULES: usize = 500;
/// The most bytes of whom a signed object names.
const MAX_SIGNER: usize = 300;

/// A submodule, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModuleText {
    path: String,
    git: String,
    commit: String,
}

pub(super) fn git_pin(entry: &str, text: SourceText) -> Result<GitPin, LockError> {
    let asked = need(entry, "asked", text.asked)?;
    let asked = GitRevision::parse(&asked)
        .ok_or_else(|| invalid(entry, format!("`{}` is no tag, branch or commit", shown(&asked))))?;
    let commit = id(entry, &need(entry, "commit", text.commit)?)?;
    if matches!(asked, GitRevision::Commit(asked) if asked != commit) {
        return Err(invalid(entry, "it has another commit than was asked for"));
    }
    let evidence = match need(entry, "evidence", text.evidence)?.as_str() {
        render::COMMIT if matches!(asked, GitRevision::Commit(_)) => GitEvidence::Commit,
        render::FIRST_USE => GitEvidence::FirstUse,
        render::SIGNATURE => {
            let signed_by = need(entry, "signed-by", text.signed_by)?;
            signers(entry, &signed_by, |text| is_fingerprint(text) || is_ssh_fingerprint(text))?;
            let signer = need(entry, "signer", text.signer)?;
            if signer.len() > MAX_SIGNER || signer.chars().any(char::is_control) {
                return Err(invalid(entry, "its signer is no name"));
            }
            GitEvidence::Signature(GitSignature {
                object: id(entry, &need(entry, "signed-object", text.signed_object)?)?,
                key: clean(entry, "key", &need(entry, "key", text.key)?)?,
                signed_by,
                signer,
                signed_at: time(entry, &need(entry, "signed-at", text.signed_at)?)?,
            })
        }
        _ => return Err(invalid(entry, "its evidence is of no known kind")),
    };
    Ok(GitPin {
        url: address(entry, need(entry, "git", text.git)?)?,
        asked,
        commit,
        size: need(entry, "size", text.size)?,
        digest: digest(entry, &need(entry, "digest", text.digest)?)?,
        evidence,
        submodules: text.submodules.map(|modules| modules_of(entry, modules)).transpose()?,
        lfs: text.lfs.unwrap_or(false),
    })
}

fn modules_of(entry: &str, texts: Vec<ModuleText>) -> Result<BTreeMap<CleanPath, ModulePin>, LockError> {
    if texts.len() > MAX_MODULES {
        return Err(invalid(entry, format!("it has more than {MAX_MODULES} submodules")));
    }
    let mut modules = BTreeMap::new();
    for text in texts {
        let path = crate::path::unprintable(&text.path).and_then(|path| CleanPath::parse(path).ok());
        let path = path.ok_or_else(|| invalid(entry, "a submodule has no clean relative path"))?;
        let pin = ModulePin { url: address(entry, text.git)?, commit: id(entry, &text.commit)? };
        if modules.insert(path, pin).is_some() {
            return Err(invalid(entry, "a submodule is there twice"));
        }
    }
    Ok(modules)
}

fn id(entry: &str, text: &str) -> Result<GitId, LockError> {
    text.parse().map_err(|error| invalid(entry, format!("{error}")))
}

fn address(entry: &str, text: String) -> Result<String, LockError> {
    match is_git_address(&text) {
        true => Ok(text),
        false => Err(invalid(entry, format!("`{}` is not the address of a git repository", shown(&text)))),
    }
}

/// Says whether a text is `SHA256:` and 32 bytes in base64 without padding, as `ssh-keygen -l` writes fingerprints.
fn is_ssh_fingerprint(text: &str) -> bool {
    text.strip_prefix("SHA256:")
        .is_some_and(|rest| rest.len() == 43 && only(rest, |b| b.is_ascii_alphanumeric() || b"+/".contains(&b)))
}
