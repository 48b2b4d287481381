//! A binary package: what is in its `control` member, and how its `data` member is unpacked (deb(5)).
//!
//! [`unpack()`] reads a `.deb` once, from front to end, and hands each entry to a [`Sink`]. Nothing is believed: names are
//! clean, links stay inside, nothing lies beneath a link, and every size has a limit.

mod ar;
#[cfg(test)]
mod attacks;
mod decode;
mod error;
mod paragraph;
mod unpack;

pub use error::DebError;
pub use paragraph::Control;
pub(in crate::debian) use unpack::merged;
pub use unpack::{Limits, Sink, SinkError, unpack, usrmerge_links, usrmerged};

use std::collections::BTreeMap;

use bulla_model::{CleanPath, Epoch};
use serde::{Deserialize, Serialize};

/// What a package says of itself, and what of it is not in its tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// The control paragraph.
    pub control: Control,
    /// The other files of the control member (`postinst`, `conffiles`, `md5sums`, `triggers`, …), by name.
    #[serde(with = "members")]
    pub members: BTreeMap<String, Vec<u8>>,
    /// The paths as the package ships them, before `/usr` was merged, in the archive's order.
    pub paths: Vec<CleanPath>,
    /// The newest time among its entries.
    pub newest: Epoch,
}

impl Package {
    /// Gives a maintainer script or another control file as text; bytes that are not UTF-8 are replaced.
    pub fn member(&self, name: &str) -> Option<std::borrow::Cow<'_, str>> {
        self.members.get(name).map(|bytes| String::from_utf8_lossy(bytes))
    }

    /// Gives the paths of the configuration files, without the slash in front (deb-conffiles(5)); those that an upgrade
    /// removes are left out.
    pub fn conffiles(&self) -> Vec<CleanPath> {
        let text = self.member("conffiles").unwrap_or_default();
        let lines = text.lines().map(str::trim).filter(|line| line.starts_with('/'));
        lines.filter_map(|line| CleanPath::from_absolute(line).ok().flatten()).collect()
    }
}

/// Control files as printable text in JSON.
mod members {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(
        members: &BTreeMap<String, Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(members.iter().map(|(name, bytes)| match std::str::from_utf8(bytes) {
            Ok(text) => (name, format!("t{text}")),
            Err(_) => (name, format!("b{}", bulla_model::path::printable(bytes))),
        }))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Vec<u8>>, D::Error> {
        let bad = || serde::de::Error::custom("a control file that was not written by this program");
        BTreeMap::<String, String>::deserialize(deserializer)?
            .into_iter()
            .map(|(name, text)| match (text.strip_prefix('t'), text.strip_prefix('b')) {
                (Some(text), _) => Ok((name, text.as_bytes().to_vec())),
                (_, Some(text)) => bulla_model::path::unprintable(text).map(|bytes| (name, bytes)).ok_or_else(bad),
                _ => Err(bad()),
            })
            .collect()
    }
}
