//! The keys of `[registry.cargo]`.

use serde::Deserialize;
use toml::Spanned;

use super::{Cargo, file::Marks};
use crate::registry::sparse_index;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct CargoKeys {
    cargo_config: Option<bool>,
    registry: Option<Spanned<String>>,
}

impl CargoKeys {
    pub(super) fn mistakes(&self, marks: &mut Marks) {
        if let Some(registry) = &self.registry
            && let Err(problem) = sparse_index(registry.get_ref())
        {
            marks.add(
                registry,
                problem,
                Some("write the address of a sparse index, as `sparse+https://index.example/`"),
            );
        }
    }

    /// Puts these keys over those of a weaker file.
    pub(super) fn over(self, weaker: Self) -> Self {
        Self { cargo_config: self.cargo_config.or(weaker.cargo_config), registry: self.registry.or(weaker.registry) }
    }

    pub(super) fn into_config(self) -> Cargo {
        Cargo {
            cargo_config: self.cargo_config.unwrap_or(true),
            registry: self.registry.and_then(|text| sparse_index(text.get_ref()).ok()),
        }
    }
}
