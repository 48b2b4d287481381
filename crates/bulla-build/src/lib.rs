//! Plan → run → assemble: the part of a build that happens after everything is in the store.
//!
//! Nothing here has a network, a terminal or an environment. The order of things: [`source`] lists what a project's
//! sources are; [`run`] makes roots, steps and outputs; [`assemble`] makes layers and manifests; [`export`] writes them
//! to where they were asked for. [`normalise`] writes archives of outputs anew. [`bundle`] packs what a build needs into one file. [`event`] is how all of them tell what they do.

pub mod assemble;
pub mod bundle;
pub mod compare;
pub mod event;
pub mod explain;
pub mod export;
pub mod inspect;
pub mod normalise;
pub mod run;
pub mod secret;
pub mod source;
