//! The kinds of package sources that a build takes inputs from, one folder each.
//!
//! Nothing here touches a file system, network, clock or environment: an ecosystem says "need this path" and is told "got
//! these bytes", and at the end it gives verified pins. The caller downloads, stores and unpacks.

pub mod archive;
pub mod debian;
pub mod dependencies;
mod extended;
pub mod git;
pub mod signature;
