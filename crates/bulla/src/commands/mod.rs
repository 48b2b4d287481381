//! The commands, one a file, named as the user types them.

pub(crate) mod attest;
pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod checklist;
pub(crate) mod completions;
pub(crate) mod copy;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod fetch;
pub(crate) mod history;
pub(crate) mod index;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod key;
pub(crate) mod lock;
pub(crate) mod manual;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod reproduce;
pub(crate) mod sbom;
pub(crate) mod shell;
pub(crate) mod sign;
pub(crate) mod store;
pub(crate) mod verify;
pub(crate) mod why;
