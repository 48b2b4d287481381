//! `bulla push`: an image that was built goes to a registry.

use std::path::PathBuf;

use bulla_model::oci::Reference;
use clap::Args;

use crate::{
    error::Result,
    ops::{
        registries,
        transfer::{self, LayoutSource, Referrers, RegistryTarget},
    },
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  bulla push registry.example/team/shop:1.4           the image of this project
  bulla push shop.oci.tar registry.example/team/shop  an oci-archive, by whomever it was made
  bulla build --push registry.example/team/shop:1.4   build and push at once

Standard output has the reference with its digest alone, HOST/REPOSITORY:TAG@sha256:…. Logins are those that `docker login`
and `podman login` keep. Exit codes: 4 when the registry cannot be reached or does not allow it, 5 when it or the layout has
other bytes than their digests say, 7 when it points to a place that logins must not go to.";

/// Push an image to a registry, and print its reference with the digest
///
/// Blobs that the registry has are not sent, and what was cut off is gone on with. What refers to the image is pushed too:
/// signatures, lists of packages. The tag is moved last, after what arrived was read back and compared.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, allow_missing_positional = true)]
pub(crate) struct Options {
    /// The OCI layout folder or oci-archive [default: bulla-out in the project's folder]
    #[arg(value_name = "LAYOUT")]
    layout: Option<PathBuf>,

    /// Where to: `HOST/REPOSITORY[:TAG]`
    #[arg(value_name = "REF", required = true)]
    reference: Reference,

    #[command(flatten)]
    referrers: Referrers,
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    let layout = options.layout.clone().unwrap_or_else(|| session.project().join("bulla-out"));
    let source = LayoutSource::open(&layout, None)?;
    let target = RegistryTarget::open(&registries::client(session)?, &options.reference)?;
    let image = transfer::run(session, &source, &target, options.referrers)?;
    session.print(&format!("{}\n", options.reference.pinned(image.digest)))
}
