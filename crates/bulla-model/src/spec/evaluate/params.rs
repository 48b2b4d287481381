//! Params: their values, and `${NAME}` in the values that may have it.

use std::collections::BTreeMap;

use super::Context;
use crate::{
    spec::written::{EnvName, Map, ParamKeys, Value},
    yaml::{At, Problem},
};

/// Variables that the sandbox sets itself, or that change how every program is loaded.
const RESERVED: [&str; 6] = ["SOURCE_DATE_EPOCH", "LD_PRELOAD", "LD_LIBRARY_PATH", "PWD", "OLDPWD", "_"];

/// The params with the values that hold.
pub(super) struct Params {
    values: BTreeMap<String, String>,
}

impl Params {
    /// Says whether there is a param of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Gives the names and values.
    pub(super) fn into_values(self) -> BTreeMap<String, String> {
        self.values
    }
}

impl Context<'_> {
    /// Takes the values that were set, else the defaults.
    pub(super) fn params(&mut self, keys: &Map<EnvName, ParamKeys>, set: &BTreeMap<String, String>) -> Params {
        let mut values = BTreeMap::new();
        for (name, param) in keys {
            if RESERVED.contains(&name.0.as_str()) || ["PATH", "HOME", "TMPDIR"].contains(&name.0.as_str()) {
                self.wrong(
                    &name.span,
                    format!("`{}` cannot be a param", name.0),
                    "the sandbox sets it; take another name",
                );
            }
            values.insert(name.0.clone(), set.get(&name.0).unwrap_or(&param.default.0).clone());
        }
        for (name, value) in set {
            if !values.contains_key(name) {
                let known: Vec<&str> = values.keys().map(String::as_str).collect();
                let help = match known.as_slice() {
                    [] => "the spec has no params; add `params:` to it".to_owned(),
                    _ => format!("the spec has {}", super::list(&known)),
                };
                let message = format!("`--set {name}=…` sets a param that the spec does not have");
                self.note(Problem::new(0..0, message, help));
            } else if value.contains('\0') {
                self.note(Problem::new(0..0, format!("the value of `--set {name}=…` has a NUL in it"), ""));
            }
        }
        Params { values }
    }

    /// Puts params into the values of a map.
    pub(super) fn values<K: AsRef<str>>(&mut self, map: &Map<K, Value>, params: &Params) -> BTreeMap<String, String> {
        map.iter().map(|(key, value)| (key.value.as_ref().to_owned(), self.value(value, params))).collect()
    }

    /// Puts params into the values of an environment, and checks its names.
    pub(super) fn env(
        &mut self,
        map: &Map<EnvName, Value>,
        params: &Params,
        of_step: bool,
    ) -> BTreeMap<String, String> {
        for name in map.keys() {
            if of_step {
                self.refuse_set(name);
            }
            if of_step && params.values.contains_key(&name.0) {
                let message = format!("`{}` is a param, and so in the environment already", name.0);
                self.wrong(&name.span, message, "delete this, or give it another name");
            }
        }
        self.values(map, params)
    }

    /// Notes a variable that the sandbox sets itself.
    pub(super) fn refuse_set(&mut self, name: &At<EnvName>) {
        if RESERVED.contains(&name.0.as_str()) {
            let help = if name.0 == "SOURCE_DATE_EPOCH" { "write `epoch:` at the top of the spec" } else { "" };
            self.wrong(&name.span, format!("`{}` is set by the sandbox", name.0), help);
        }
    }

    /// Puts params into a value: `${NAME}` is replaced, `$${` becomes `${`.
    fn value(&mut self, value: &At<Value>, params: &Params) -> String {
        let mut rest = value.0.as_str();
        let mut out = String::new();
        while let Some(at) = rest.find("${") {
            let (before, tail) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = &tail[2..];
                continue;
            }
            out.push_str(before);
            let Some((name, tail)) = tail[2..].split_once('}') else {
                self.wrong(&value.span, "a `${` has no `}`", "write `$${` where it stands for itself");
                return out;
            };
            match params.values.get(name) {
                Some(text) if self.spend(&value.span, text.len()) => out.push_str(text),
                Some(_) => return out,
                None => {
                    let known: Vec<&str> = params.values.keys().map(String::as_str).collect();
                    self.unknown(&value.span, "param", name, known.into_iter());
                    if let Some(help) = self.problems.last_mut().and_then(|problem| problem.help.as_mut()) {
                        help.push_str(" (`$${` stands for `${` itself)");
                    }
                }
            }
            rest = tail;
        }
        out.push_str(rest);
        out
    }
}
