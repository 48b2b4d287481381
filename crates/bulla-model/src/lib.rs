//! The pure data of Bulla: what a build is made of, and the formats that it reads and writes.
//!
//! This crate touches no file system, network, clock or environment, so every function in it gives the same answer
//! for the same arguments. What it owns, from the bottom up:
//!
//! - [`digest`], [`path`], [`time`], [`platform`]: the newtypes that everything else is written in;
//! - [`tree`]: a directory by digest; [`capability`]: what a program may do beyond its user's rights;
//! - [`spec`]: `bulla.yaml`, checked and evaluated; [`lock`]: `bulla.lock`;
//! - [`image`]: what an image is made of; [`layers`]: the cut; [`ownership`]: whose each path is; [`tar`], [`oci`]: the formats it is written in;
//! - [`secret`]: bytes that nothing shows and that are wiped;
//! - [`ecosystem`]: the kinds of language packages;
//! - [`git`]: what names things in a git repository; [`address`]: what a client asks a proxy for;
//! - [`fault`]: whose fault an error is, and so which exit code it has; [`login`]: what no error shows.

pub mod address;
pub mod capability;
pub mod digest;
pub mod ecosystem;
pub mod fault;
pub mod git;
pub mod image;
pub mod layers;
pub mod lock;
pub mod login;
pub mod oci;
pub mod ownership;
pub mod path;
pub mod plan;
pub mod platform;
pub mod purl;
pub mod secret;
pub mod spec;
pub mod tar;
pub mod time;
pub mod tree;
mod yaml;

pub use address::{Address, Origin};
pub use capability::Capabilities;
pub use digest::{DiffId, Digest, Hasher};
pub use ecosystem::Ecosystem;
pub use fault::{Fault, Kind};
pub use git::{GitId, GitRevision};
pub use lock::Lock;
pub use path::CleanPath;
pub use platform::Platform;
pub use secret::SecretBytes;
pub use spec::Spec;
pub use time::Epoch;
pub use tree::Tree;
