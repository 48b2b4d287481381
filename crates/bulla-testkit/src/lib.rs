//! What the tests stand on: mirrors on loopback with faults, signed package repositories, projects in temporary folders,
//! and a cleared environment that the real `bulla` runs in. Development only; what goes wrong here panics with its reason.

pub mod archive;
pub mod authority;
pub mod cache;
pub mod cosign;
pub mod crates;
pub mod cue;
pub mod debian;
pub mod disk;
pub mod docker;
pub mod environment;
pub mod git;
pub mod go;
pub mod hostile;
pub mod javascript;
pub mod language;
pub mod maven;
pub mod mirror;
pub mod npm;
pub mod poetry;
pub mod process;
pub mod project;
pub mod python;
pub mod registry;
pub mod sbom;
pub mod sigstore;
pub mod softhsm;
pub mod vault;
pub mod verdaccio;

pub use authority::TestAuthority;
pub use crates::{Crate, CrateRegistry};
pub use debian::{Deb, DebianRepo, Release};
pub use disk::SmallDisk;
pub use environment::{Ran, TestEnvironment};
pub use git::{GitRepo, GitServer};
pub use go::{GoModule, GoProxy};
pub use maven::MavenRepository;
pub use mirror::{Fault, Mirror, Request};
pub use npm::{NpmPackage, NpmRegistry};
pub use project::Project;
pub use python::{PythonIndex, PythonPackage};
pub use registry::{FakeRegistry, RegistryFault};
pub use sbom::{SbomTools, sarif_schema};
pub use sigstore::FakeSigstore;
pub use softhsm::SoftHsm;
pub use vault::{Vault, VaultFault};
pub use verdaccio::Verdaccio;

/// Says why real package managers are not run now: they take minutes of a processor, and are run where `BULLA_CLIENTS` is set.
///
/// # Errors
/// When it is not set.
pub fn clients() -> Result<(), String> {
    std::env::var_os("BULLA_CLIENTS").map(|_| ()).ok_or_else(|| "BULLA_CLIENTS is not set".to_owned())
}

/// Says whether bytes have a word in them.
pub fn contains(bytes: &[u8], word: impl AsRef<[u8]>) -> bool {
    memchr::memmem::find(bytes, word.as_ref()).is_some()
}

/// Says on standard error that a test, or a part of it, was skipped, and why.
#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
pub fn skipped(what: &str, why: &str) {
    eprintln!("SKIPPED {what}: {why}");
}
