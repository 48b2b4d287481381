//! The keys of `[registry.maven]`.

use bulla_net::Url;
use serde::Deserialize;
use toml::Spanned;

use super::{Maven, file::Marks};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct MavenKeys {
    maven_settings: Option<bool>,
    repositories: Option<Vec<Spanned<String>>>,
}

impl MavenKeys {
    pub(super) fn mistakes(&self, marks: &mut Marks) {
        for url in self.repositories.iter().flatten() {
            if let Err(error) = Url::parse(url.get_ref()) {
                marks.add(
                    url,
                    error.to_string(),
                    Some("write the base address, as `https://maven.example/repository`"),
                );
            }
        }
    }

    /// Puts these keys over those of a weaker file.
    pub(super) fn over(self, weaker: Self) -> Self {
        Self {
            maven_settings: self.maven_settings.or(weaker.maven_settings),
            repositories: self.repositories.or(weaker.repositories),
        }
    }

    pub(super) fn into_config(self) -> Maven {
        let urls = self.repositories.unwrap_or_default();
        Maven {
            maven_settings: self.maven_settings.unwrap_or(true),
            repositories: urls.iter().filter_map(|url| Url::parse(url.get_ref()).ok()).collect(),
        }
    }
}
