//! The control paragraph of a binary package (Debian Policy 5.3).

use serde::{Deserialize, Serialize};

use super::DebError;
use crate::debian::control::Fields;

/// The fields of a control paragraph, in their order, and as they stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    fields: Vec<(String, String)>,
}

impl Control {
    /// Reads a paragraph. Name, version and architecture must be there, and be such that they are safe in a file's name.
    ///
    /// # Errors
    /// When a line is no field, a field comes twice, or one of the three is missing or malformed.
    pub fn parse(text: &str) -> Result<Self, DebError> {
        let fail = |reason: String| DebError::Control { reason };
        let mut fields: Vec<(String, String)> = Vec::new();
        for field in Fields::new(text.trim_matches('\n')) {
            let field = field.map_err(|e| fail(e.to_string()))?;
            if fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(field.name)) {
                return Err(fail(format!("the field {} comes twice", field.name)));
            }
            fields.push((field.name.to_owned(), field.value.to_owned()));
        }
        let control = Self { fields };
        for (name, extra) in [("Package", "+-."), ("Version", "+-.:~"), ("Architecture", "-")] {
            let value = control.get(name).ok_or_else(|| fail(format!("the field {name} is missing")))?;
            let good = |c: char| c.is_ascii_alphanumeric() || extra.contains(c);
            if value.is_empty() || !value.chars().all(good) || !value.starts_with(|c: char| c.is_ascii_alphanumeric()) {
                return Err(fail(format!("`{}` is no {name}", value.chars().take(80).collect::<String>())));
            }
        }
        Ok(control)
    }

    /// Gives the value of a field, whose name is compared without case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Iterates over the fields in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Gives the package's name.
    pub fn name(&self) -> &str {
        self.get("Package").unwrap_or_default()
    }

    /// Gives the package's version.
    pub fn version(&self) -> &str {
        self.get("Version").unwrap_or_default()
    }

    /// Gives the package's architecture, `all` or a processor's.
    pub fn architecture(&self) -> &str {
        self.get("Architecture").unwrap_or_default()
    }

    /// Says whether the package is `Essential: yes`.
    pub fn is_essential(&self) -> bool {
        self.get("Essential") == Some("yes")
    }

    /// Says whether copies for several architectures may stand beside each other.
    pub fn is_multi_arch_same(&self) -> bool {
        self.get("Multi-Arch") == Some("same")
    }
}
