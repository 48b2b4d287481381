//! The secrets that a step asks for.

use std::collections::BTreeMap;

use super::{Context, params::Params};
use crate::{
    spec::{
        AbsolutePath, Name, SECRETS_FOLDER, SecretPlace, StepSecret,
        written::{SecretKeys, SecretText},
    },
    yaml::At,
};

/// The most secrets of one step.
const MAX_SECRETS: usize = 50;

impl Context<'_> {
    /// Says where each secret is put.
    pub(super) fn step_secrets(
        &mut self,
        list: &[At<SecretText>],
        env: &BTreeMap<String, String>,
        params: &Params,
    ) -> Vec<StepSecret> {
        if let Some(one) = list.get(MAX_SECRETS) {
            self.wrong(&one.span, format!("a step has more than {MAX_SECRETS} secrets"), "");
        }
        let secret = |secret: &At<SecretText>| {
            let secret = match &secret.value {
                SecretText::Name(id) => StepSecret { id: id.clone(), place: SecretPlace::File(usual(id)) },
                SecretText::Keys(keys) => self.keyed_secret(keys, env, params)?,
            };
            Some(secret)
        };
        let secrets: Vec<Option<StepSecret>> = list.iter().map(secret).collect();
        let found = list.iter().zip(&secrets).filter_map(|(at, secret)| Some((at, secret.as_ref()?)));
        let places: Vec<At<&SecretPlace>> =
            found.map(|(at, secret)| At { span: at.span.clone(), flow: false, value: &secret.place }).collect();
        self.refuse_twice(&places, "place of the secret");
        secrets.into_iter().flatten().collect()
    }

    fn keyed_secret(
        &mut self,
        keys: &SecretKeys,
        env: &BTreeMap<String, String>,
        params: &Params,
    ) -> Option<StepSecret> {
        let id = keys.id.value.clone();
        let place = match (&keys.env, &keys.target) {
            (None, None) => SecretPlace::File(usual(&id)),
            (Some(name), None) => {
                let variable = name.value.0.clone();
                if env.contains_key(&variable) || params.has(&variable) {
                    let message = format!("`{variable}` has a value in this step already");
                    self.wrong(&name.span, message, "give the secret another variable");
                }
                self.refuse_set(name);
                SecretPlace::Env(variable)
            }
            (None, Some(target)) => {
                self.refuse_reserved(&target.span, target);
                let folder = AbsolutePath::parse(SECRETS_FOLDER).expect("a clean path");
                if target.starts_with(&folder) || folder.starts_with(target) {
                    let help = format!("leave `target` out: the secret is `{SECRETS_FOLDER}/{id}` then");
                    self.wrong(&target.span, format!("`{}` is where all secrets are", target.value), help);
                }
                SecretPlace::File(target.value.clone())
            }
            (Some(_), Some(target)) => {
                self.wrong(
                    &target.span,
                    "a secret has `env` or `target`, not both",
                    "list it twice to have it in both",
                );
                return None;
            }
        };
        Some(StepSecret { id, place })
    }
}

/// Where a secret is when nothing else is said.
fn usual(id: &Name) -> AbsolutePath {
    AbsolutePath::parse(&format!("{SECRETS_FOLDER}/{id}")).expect("a name is one clean component")
}
