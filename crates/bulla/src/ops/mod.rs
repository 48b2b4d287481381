//! What commands share: each is one named effect on the network, the store or the project.

pub(crate) mod build;
pub(crate) mod bundle;
pub(crate) mod compare;
pub(crate) mod dependencies;
pub(crate) mod evidence;
pub(crate) mod export;
pub(crate) mod fetch;
pub(crate) mod git;
pub(crate) mod journal;
pub(crate) mod keys;
mod layouts;
pub(crate) mod lock;
pub(crate) mod network;
pub(crate) mod observe;
pub(crate) mod platform;
pub(crate) mod project;
pub(crate) mod registries;
pub(crate) mod reproduce;
pub(crate) mod sbom;
pub(crate) mod shell;
pub(crate) mod statements;
pub(crate) mod store;
pub(crate) mod supply;
pub(crate) mod trace;
pub(crate) mod transfer;
pub(crate) mod watch;
pub(crate) mod workspace;
