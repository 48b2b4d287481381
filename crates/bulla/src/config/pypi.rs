//! `[registry.pypi]`: where packages of Python are.

use std::collections::BTreeMap;

use bulla_ecosystems::dependencies::pypi;
use bulla_net::Url;
use serde::Deserialize;
use toml::Spanned;

use super::file::Marks;

/// Where packages of Python are.
#[derive(Debug, Clone)]
pub(crate) struct Pypi {
    /// Whether the settings of pip and uv and `~/.netrc` are read for what is not configured here, and for logins.
    pub client_settings: bool,
    /// The base address of the index.
    pub index: Option<Url>,
    /// Those of packages that are elsewhere, by normalised name, or its beginning and a `*`.
    pub packages: BTreeMap<String, Url>,
}

impl Default for Pypi {
    fn default() -> Self {
        Self { client_settings: true, index: None, packages: BTreeMap::new() }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Keys {
    client_settings: Option<bool>,
    index: Option<Spanned<String>>,
    packages: BTreeMap<String, Spanned<String>>,
}

impl Keys {
    /// Notes what is wrong with the values.
    pub(super) fn mistakes(&self, marks: &mut Marks) {
        for url in self.index.iter().chain(self.packages.values()) {
            if let Err(error) = Url::parse(url.get_ref()) {
                marks.add(url, error.to_string(), Some("write the base address, as `https://pypi.example/simple/`"));
            }
        }
        for (name, url) in &self.packages {
            let good =
                pypi::normalised(name.strip_suffix('*').map_or(name, |name| name.trim_end_matches(['-', '_', '.'])));
            let way_out = "write `\"NAME\" = \"ADDRESS\"`, or `\"BEGINNING-*\" = \"ADDRESS\"`";
            marks.check(url, good.is_some(), &format!("is of `{name}`, which is no name of a package"), way_out);
        }
    }

    /// Puts these keys over those of a weaker file.
    pub(super) fn over(self, weaker: Self) -> Self {
        let mut packages = weaker.packages;
        packages.extend(self.packages);
        let client_settings = self.client_settings.or(weaker.client_settings);
        Self { client_settings, index: self.index.or(weaker.index), packages }
    }

    /// Gives what the keys mean.
    pub(super) fn into_config(self) -> Pypi {
        let url = |text: &Spanned<String>| Url::parse(text.get_ref()).ok();
        let normal = |name: &str| match name.strip_suffix('*') {
            Some(start) => {
                let dash = if start.ends_with(['-', '_', '.']) { "-" } else { "" };
                Some(format!("{}{dash}*", pypi::normalised(start.trim_end_matches(['-', '_', '.']))?))
            }
            None => pypi::normalised(name),
        };
        Pypi {
            client_settings: self.client_settings.unwrap_or(true),
            index: self.index.as_ref().and_then(url),
            packages: self.packages.iter().filter_map(|(name, text)| Some((normal(name)?, url(text)?))).collect(),
        }
    }
}
