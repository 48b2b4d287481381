//! Commits of git repositories: asked for, verified, and made into files, without running git and without a checkout on disk.
//!
//! The order: [`talk`] says what to send to a server and reads its answers, a packet at a time; [`Pack`] reads the pack that
//! comes, within limits, and gives each object the id that its bytes have (`hash`, which notices forged SHA-1); `object`
//! reads commits, tags and trees; [`signed`] checks who signed; [`files`] walks a tree and gives each file its place, and
//! [`modules`] says where submodules are. Nothing that a repository holds is run: there are no hooks, filters, attributes or
//! settings here, and bytes are those that were committed. [`Bare`] makes of a commit what git itself can clone.
//!
//! It is written here because the crates that read objects elsewhere stand on a file system and allocate what a pack says.

mod bare;
mod error;
pub mod files;
mod hash;
pub mod lfs;
pub mod modules;
mod object;
mod pack;
pub mod signed;
pub mod talk;

pub use self::{
    bare::Bare,
    error::GitError,
    object::{Commit, Kind, Tag},
    pack::{MAX_PACK, Pack},
};

#[cfg(test)]
mod tests;
