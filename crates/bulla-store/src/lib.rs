//! The store of Bulla: blobs, package trees, farms of them, sources, results of actions, and the index of builds.
//!
//! Nothing here is trusted because it is there. What enters is hashed while it is written; what is used again is covered by
//! a receipt (a record of the inode, sealed with a key that lies outside the store) or is hashed again; what does not verify
//! is removed, reported as a warning, and is a miss.
//!
//! - [`Store::open`] makes and checks the layout;
//! - [`Store::blob_writer`], [`Store::partial`], [`Store::open_blob`]: bytes by digest;
//! - [`Store::tree_builder`], [`Store::adopt_upper`], [`Store::adopt_copy`], [`Store::tree`]: directories by digest;
//! - [`Store::farm`], [`Store::copy_root`]: trees merged into one root;
//! - [`SourceCache`]: the local sources of a project;
//! - [`Store::put_result`], [`Store::result`]: results of actions;
//! - [`Store::put_signed`], [`Statement`], [`SharedStore`]: results that other stores made;
//! - [`Store::cache`]: caches of compilers;
//! - [`Store::gc`], [`Store::du`], [`Store::verify`]: its upkeep;
//! - [`Store::record_build`], [`Store::builds`], [`Store::steps`]: the history, for people.

mod action;
mod blob;
mod cache;
mod dir;
mod error;
mod farm;
mod gc;
mod history;
mod key;
mod lease;
mod lock;
mod parallel;
mod shared;
mod signed;
mod source;
mod stamp;
mod steps;
mod store;
mod tree;
mod verify;

pub use action::ActionResult;
pub use blob::{BlobWriter, Partial};
pub use cache::CacheCopy;
pub use error::{Error, Result};
pub use farm::{Farm, Layer, Part, RootCopy};
pub use gc::{Freed, GcPolicy, Section, Usage};
pub use history::{BuildRecord, Outcome};
pub use shared::SharedStore;
pub use signed::{KeyError, PublicKey, SignedTree, SigningKey, Statement, Untrusted};
pub use source::{Examined, FileLook, Source, SourceCache, SourceView};
pub use steps::{KEPT_BUILDS, StepRow};
pub use store::{OnWarning, Options, Scratch, Store};
pub use tree::{Adopted, Attributes, Dropped, Inspector, StoredTree, Stripped, TreeBuilder, UpperEntry, UpperRules};
pub use verify::Verified;
