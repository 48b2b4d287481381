//! Registries of images (OCI distribution specification 1.1), on the same client as everything else.
//!
//! The way of one request: the registry's host is asked once which scheme it speaks and how one proves who one is
//! (`host`); each request then carries a login or a token for its repository (`token`, challenges in `challenge`), which
//! belong to the registry's origin and are dropped by redirects; what comes is bounded and hashed (`pull`); what is sent is
//! resumed where it was cut off (`push`).

mod challenge;
mod config;
mod error;
mod host;
mod list;
mod pull;
mod push;
mod reply;
mod repository;
mod token;

pub use challenge::{Challenge, challenges};
pub use config::{Login, Logins, NoLogins, RegistryConfig};
pub use error::RegistryError;
pub use host::Registries;
pub use list::fallback_tag;
pub use pull::Document;
pub use push::{BlobSource, Mounted};
pub use repository::Repository;
