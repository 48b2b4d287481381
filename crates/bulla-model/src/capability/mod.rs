//! File capabilities: what a program may do beyond its user's rights, in the text that `setcap(8)` takes and `getcap(8)` writes,
//! and in the bytes of the attribute [`ATTRIBUTE`] (`capabilities(7)`, "File capabilities"; `cap_from_text(3)`).
//!
//! What Bulla writes is one form: revision 2, which holds in any container and names no user namespace. What it reads of foreign
//! images may be of any revision.

mod names;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;

pub use text::CapabilityTextError;

/// The extended attribute that holds them.
pub const ATTRIBUTE: &str = "security.capability";

/// The length of an attribute of revision 2 in bytes (`struct vfs_cap_data`, `linux/capability.h`).
pub const ENCODED: usize = 20;

const REVISION_1: u32 = 0x0100_0000;
const REVISION_2: u32 = 0x0200_0000;
const REVISION_3: u32 = 0x0300_0000;
const REVISION_MASK: u32 = 0xFF00_0000;
/// The one flag: what is permitted is in effect from the start.
const EFFECTIVE: u32 = 1;

/// The capabilities of a file. At least one is among them where it was read from text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capabilities {
    permitted: u64,
    inheritable: u64,
    effective: bool,
    /// The root user of the only user namespace in which they hold: revision 3.
    root: Option<u32>,
}

/// Says why an attribute is none of capabilities: its length or revision is another, or it has flags that are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {length} bytes are no file capabilities of a revision that is known")]
pub struct CapabilityBytesError {
    length: usize,
}

impl Capabilities {
    /// Reads the text of `setcap(8)`: `cap_net_raw+ep`, `cap_net_raw,cap_net_admin=eip`, and several such with spaces between.
    ///
    /// # Errors
    /// When a name or flag is not known, when nothing is given, and when some of the capabilities would be in effect and others
    /// not, which the kernel cannot keep of a file.
    pub fn parse(text: &str) -> Result<Self, CapabilityTextError> {
        text::parse(text)
    }

    /// Reads the bytes of the attribute.
    ///
    /// # Errors
    /// When they are not as the kernel would take them.
    pub fn decode(bytes: &[u8]) -> Result<Self, CapabilityBytesError> {
        let fail = CapabilityBytesError { length: bytes.len() };
        let mut words = bytes.chunks_exact(4).filter_map(|word| word.try_into().ok().map(u32::from_le_bytes));
        let head = words.next().ok_or(fail)?;
        let words: Vec<u32> = words.collect();
        let word = |at: usize| u64::from(words.get(at).copied().unwrap_or_default());
        let revision = head & REVISION_MASK;
        let length = match revision {
            REVISION_1 => 12,
            REVISION_2 => ENCODED,
            REVISION_3 => ENCODED + 4,
            _ => return Err(fail),
        };
        if bytes.len() != length || head & !REVISION_MASK & !EFFECTIVE != 0 {
            return Err(fail);
        }
        let high = |at: usize| if revision == REVISION_1 { 0 } else { word(at) << 32 };
        Ok(Self {
            permitted: word(0) | high(2),
            inheritable: word(1) | high(3),
            effective: head & EFFECTIVE != 0,
            root: (revision == REVISION_3).then(|| words.get(4).copied().unwrap_or_default()),
        })
    }

    /// Writes the bytes of the attribute, in revision 2 where no user namespace is named.
    pub fn encode(self) -> Vec<u8> {
        let revision = if self.root.is_some() { REVISION_3 } else { REVISION_2 };
        let low = |set: u64| (set & u64::from(u32::MAX)) as u32;
        let words = [
            revision | u32::from(self.effective),
            low(self.permitted),
            low(self.inheritable),
            low(self.permitted >> 32),
            low(self.inheritable >> 32),
        ];
        words.into_iter().chain(self.root).flat_map(u32::to_le_bytes).collect()
    }

    /// Gives the same for every user namespace.
    #[must_use]
    pub const fn everywhere(self) -> Self {
        Self { root: None, ..self }
    }

    /// Says whether all of another file's are among these.
    pub const fn includes(self, other: Self) -> bool {
        other.permitted & !self.permitted == 0
            && other.inheritable & !self.inheritable == 0
            && (self.effective || !other.effective)
    }
}

impl fmt::Display for Capabilities {
    /// Writes the one text for them, as `getcap(8)` does: `cap_net_admin,cap_net_raw=ep`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(f, *self)
    }
}
