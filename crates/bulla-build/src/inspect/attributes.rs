//! The extended attributes of an entry: records whose keyword starts with `SCHILY.xattr.`, as every reader of layers takes them.

use std::{collections::BTreeSet, io};

use bulla_model::{Capabilities, capability::ATTRIBUTE, path::printable, tar::ATTRIBUTES};

/// The most bytes of names that one entry may have; Linux lists at most 64 KiB of a file.
const MAX_NAMES: usize = 64 << 10;

/// The attributes that a `pax` header gives to the entry after it.
#[derive(Default)]
pub(super) struct Attributes {
    capabilities: Option<String>,
    others: BTreeSet<Vec<u8>>,
    bytes: usize,
}

impl Attributes {
    /// Takes a record, if it is one of an attribute. The last of several with the same name holds; an empty one takes back what
    /// came before (POSIX.1-2001, `pax`, "pax Header Block").
    pub(super) fn take(&mut self, keyword: &[u8], value: &[u8]) -> io::Result<()> {
        let Some(name) = keyword.strip_prefix(ATTRIBUTES.as_bytes()) else { return Ok(()) };
        if name == ATTRIBUTE.as_bytes() {
            self.capabilities = Some(value).filter(|value| !value.is_empty()).map(|value| {
                let read = Capabilities::decode(value);
                read.map_or_else(|error| format!("not valid: {error}"), |capabilities| capabilities.to_string())
            });
            return Ok(());
        }
        // Headers may follow each other without end, and their names are kept.
        self.bytes = self.bytes.saturating_add(name.len());
        if self.bytes > MAX_NAMES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "an entry has more than 64 KiB of extended attributes",
            ));
        }
        if value.is_empty() {
            self.others.remove(name);
        } else {
            self.others.insert(name.to_vec());
        }
        Ok(())
    }

    /// Gives the capabilities, or what they are instead, and the names of the other attributes.
    pub(super) fn finish(self) -> (Option<String>, Vec<String>) {
        (self.capabilities, self.others.iter().map(|name| printable(name)).collect())
    }
}
