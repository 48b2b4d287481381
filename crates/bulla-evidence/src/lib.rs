//! What a build proves, in the formats that the field's tools read: made of facts that are given, and read again as what a stranger wrote.
//!
//! Nothing here has a network, a sandbox, a file system or a clock. Each piece of evidence is a [`Statement`] about an image; [`json`] reads what
//! came from outside so that two readers cannot see different things in it. [`inventory`] reads what an image's layers say that they have in them, and
//! [`sbom`] makes lists of it.

pub mod inventory;
pub mod json;
pub mod licence;
pub mod purl;
pub mod sbom;
pub mod statement;

pub use self::statement::{Statement, StatementError, Subject};
