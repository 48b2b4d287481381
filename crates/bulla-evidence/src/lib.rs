//! What a build proves, in the formats that the field's tools read: made of facts that are given, and read again as what a stranger wrote.
//!
//! Nothing here has a network, a sandbox, a file system or a clock. Each piece of evidence is a [`Statement`] about an image; [`json`] reads what
//! came from outside so that two readers cannot see different things in it. [`inventory`] reads what an image's layers say that they have in them, and
//! [`sbom`] makes lists of it; [`provenance`] says what was built of what. A [`key`] signs a statement into a [`bundle`], which a [`carrier`] brings beside
//! the image; [`keyless`] has those who sign by a certificate instead; [`verify`] says what all of it proves.

pub mod admission;
pub mod bundle;
pub mod carrier;
pub mod checklist;
pub mod configuration;
pub mod difference;
pub mod dsse;
pub mod image;
pub mod inventory;
pub mod json;
pub mod key;
pub mod keyless;
pub mod licence;
pub mod policy;
pub mod predicate;
pub mod provenance;
pub mod reproduction;
pub mod resource;
pub mod sbom;
pub mod simple;
pub mod statement;
pub mod summary;
pub mod trace;
pub mod verify;

pub use self::{
    resource::Resource,
    statement::{Statement, StatementError, Subject},
};
