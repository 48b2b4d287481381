//! The keys of `[registry.go]`.

use std::collections::BTreeMap;

use bulla_model::spec::Glob;
use serde::Deserialize;
use toml::Spanned;

use super::{Go, file::Marks};
use crate::registry::Proxies;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct GoKeys {
    go_env: Option<bool>,
    proxy: Option<Spanned<String>>,
    private: BTreeMap<String, Spanned<String>>,
}

impl GoKeys {
    pub(super) fn mistakes(&self, marks: &mut Marks) {
        for proxies in self.proxy.iter().chain(self.private.values()) {
            let problem = match Proxies::parse(proxies.get_ref()) {
                Ok(found) if found.has_login() => {
                    "it has a login in it; put the login into `~/.netrc`, for its host".to_owned()
                }
                Ok(_) => continue,
                Err(error) => error.to_string(),
            };
            marks.add(proxies, problem, Some("write addresses as `GOPROXY` has them, as `https://goproxy.example`"));
        }
        for (pattern, proxies) in &self.private {
            let good = !pattern.contains([',', ' ']) && Glob::parse(pattern).is_ok();
            marks.check(
                proxies,
                good,
                &format!("is for `{pattern}`, which is no pattern of modules"),
                "write `\"PATTERN\" = \"ADDRESS\"`, as `\"corp.example/*\"`",
            );
        }
    }

    /// Puts these keys over those of a weaker file.
    pub(super) fn over(self, weaker: Self) -> Self {
        let mut private = weaker.private;
        private.extend(self.private);
        Self { go_env: self.go_env.or(weaker.go_env), proxy: self.proxy.or(weaker.proxy), private }
    }

    pub(super) fn into_config(self) -> Go {
        let proxies = |text: Spanned<String>| Proxies::parse(text.get_ref()).ok();
        Go {
            go_env: self.go_env.unwrap_or(true),
            proxy: self.proxy.and_then(proxies),
            private: self
                .private
                .into_iter()
                .filter_map(|(at, text)| Some((Glob::parse(&at).ok()?, proxies(text)?)))
                .collect(),
        }
    }
}
