//! The keys of `[store]`.

use std::path::PathBuf;

use bulla_model::spec::is_branch;
use bulla_store::PublicKey;
use serde::Deserialize;
use toml::Spanned;

use super::file::{Marks, inner};
use crate::remote::{Others, Permit, Place};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Store {
    pub(super) path: Option<Spanned<PathBuf>>,
    pub(super) uid: Option<Spanned<u32>>,
    pub(super) remote: Option<Spanned<String>>,
    pub(super) write_from: Option<Vec<Spanned<String>>>,
    pub(super) shared: Option<Vec<Spanned<PathBuf>>>,
    pub(super) trusted_keys: Option<Vec<Spanned<String>>>,
    pub(super) signing_key: Option<Spanned<PathBuf>>,
    share_secret_steps: Option<bool>,
    workspace: Option<Vec<PermitKeys>>,
}

/// A remote store that workspaces may name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PermitKeys {
    remote: Spanned<String>,
    #[serde(default)]
    write_from: Vec<Spanned<String>>,
}

impl Store {
    pub(super) fn mistakes(&self, marks: &mut Marks) {
        if let Some(remote) = &self.remote
            && let Err(error) = remote.get_ref().parse::<Place>()
        {
            marks.add(remote, error.to_string(), Some("write `oci://HOST/NAME` or `file:///PATH`"));
        }
        for key in self.trusted_keys.iter().flatten() {
            if let Err(error) = key.get_ref().parse::<PublicKey>() {
                marks.add(key, error.to_string(), Some("`bulla store key` shows the public key of a signing key"));
            }
        }
        let permits = || self.workspace.iter().flatten();
        for permit in permits() {
            if let Err(error) = Permit::parse(permit.remote.get_ref(), Vec::new()) {
                let help = "write a place as `oci://HOST/NAME`, or all beneath one as `oci://HOST/TEAM/*`";
                marks.add(&permit.remote, error, Some(help));
            }
        }
        for branch in self.write_from.iter().flatten().chain(permits().flat_map(|permit| &permit.write_from)) {
            let good = is_branch(branch.get_ref());
            marks.check(branch, good, "is no branch", "write the whole name of a branch, or `*` for any");
        }
    }

    /// Puts these keys over those of a weaker file.
    pub(super) fn over(self, weaker: Self) -> Self {
        Self {
            path: self.path.or(weaker.path),
            uid: self.uid.or(weaker.uid),
            remote: self.remote.or(weaker.remote),
            write_from: self.write_from.or(weaker.write_from),
            shared: self.shared.or(weaker.shared),
            trusted_keys: self.trusted_keys.or(weaker.trusted_keys),
            signing_key: self.signing_key.or(weaker.signing_key),
            share_secret_steps: self.share_secret_steps.or(weaker.share_secret_steps),
            workspace: self.workspace.or(weaker.workspace),
        }
    }

    /// Gives what is said of stores of others.
    pub(super) fn into_others(self) -> Others {
        let permits = self.workspace.into_iter().flatten();
        Others {
            remote: self.remote.and_then(|text| text.get_ref().parse().ok()),
            write_from: inner(self.write_from.unwrap_or_default()),
            shared: inner(self.shared.unwrap_or_default()),
            trusted_keys: self.trusted_keys.iter().flatten().filter_map(|key| key.get_ref().parse().ok()).collect(),
            signing_key: self.signing_key.map(Spanned::into_inner),
            workspace: permits
                .filter_map(|keys| Permit::parse(keys.remote.get_ref(), inner(keys.write_from)).ok())
                .collect(),
            secret_steps_stay: self.share_secret_steps == Some(false),
        }
    }
}
