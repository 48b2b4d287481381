//! Debian and its derivatives: signed indexes, dependency solving, and what is in a package.
//!
//! The way of the data: [`apt`] reads where the mirrors are; [`release`] verifies a suite's index with a [`keyring`];
//! [`packages`] reads the list of packages that the index vouches for; [`solve`] chooses among them; [`resolve`] is the
//! state machine that asks for the bytes and ends with pins.

pub mod apt;
pub mod configure;
pub mod deb;
pub mod dpkg;
pub mod image;
pub mod keyring;
pub mod packages;
pub mod pruned;
pub mod relation;
pub mod release;
pub mod resolve;
pub mod solve;
pub mod source;
pub mod version;

pub(crate) mod clearsign;
mod control;
