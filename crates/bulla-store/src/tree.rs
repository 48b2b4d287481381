//! Trees: directories by digest, as physical directories with their manifests.
//!
//! `trees/HEX/manifest` is the canonical text whose digest names the tree; `trees/HEX/root/` is the directory itself, fit to
//! be linked into a farm or to be the lower of an overlay. Owners are in the manifest alone. A physical mode is the
//! manifest's, with the right of the owner to read added (and for directories to write and enter).

mod builder;
mod reconcile;
mod stored;
pub(crate) mod survey;
mod upper;
mod whiteout;

pub use builder::TreeBuilder;
pub use stored::StoredTree;
pub use upper::{Adopted, Attributes, Dropped, Inspector, Stripped, UpperEntry, UpperRules};

pub(crate) use builder::{Both, at};
pub(crate) use stored::{commit, load as stored_tree};

use bulla_model::tree::Mode;

/// The attribute that makes a directory of an upper hide what lies below it (with overlayfs's `userxattr`).
pub(crate) const OPAQUE: &str = "user.overlay.opaque";

/// The mode that a file has in the store.
pub(crate) const fn physical_file(mode: Mode) -> u32 {
    mode.bits() | 0o400
}

/// The mode that a directory has in the store.
pub(crate) const fn physical_directory(mode: Mode) -> u32 {
    mode.bits() | 0o700
}
