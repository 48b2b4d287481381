//! `bulla pull`: an image comes out of a registry.

use std::path::PathBuf;

use bulla_model::{Platform, oci::Reference};
use clap::Args;

use crate::{
    error::Result,
    ops::{
        registries,
        transfer::{self, JoinedSource, LayoutTarget, Referrers, RegistrySource, Source},
    },
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  bulla pull registry.example/team/shop:1.4            into the OCI layout `shop`
  bulla pull registry.example/team/shop:1.4 images     into another, under the name `1.4`
  bulla pull registry.example/team/shop@sha256:…       this very image
  bulla inspect --files shop                           what is in it

Standard output has the reference with its digest alone. Exit codes: 3 when there is no such image, 4 when the registry cannot
be reached or does not allow it, 5 when it gives other bytes than their digests say.";

/// Pull an image from a registry into an OCI layout, and print its reference with the digest
///
/// All platforms of the image come unless one is named, and what refers to it: signatures, lists of packages. Blobs that
/// the layout has are not fetched, every byte is hashed, and what was cut off is
/// gone on with.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// Where from: `HOST/REPOSITORY[:TAG][@DIGEST]`
    #[arg(value_name = "REF")]
    reference: Reference,

    /// The OCI layout folder, which other images may be in already [default: the last part of the repository's name]
    #[arg(value_name = "LAYOUT")]
    layout: Option<PathBuf>,

    /// Take what is for this platform alone: linux/amd64 or linux/arm64 [default: all that the image is for]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,

    #[command(flatten)]
    referrers: Referrers,
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    let reference = &options.reference;
    let last = reference.repository().rsplit('/').next().unwrap_or_default();
    let layout = options.layout.clone().unwrap_or_else(|| PathBuf::from(last));
    let source = Box::new(RegistrySource::open(&registries::client(session)?, reference, None)?);
    let source: Box<dyn Source> = match options.platform {
        Some(platform) => Box::new(JoinedSource::only(source, platform)?),
        None => source,
    };
    let target = LayoutTarget::open(&layout, reference.tag())?;
    let image = transfer::run(session, &*source, &target, options.referrers)?;
    session.print(&format!("{}\n", reference.pinned(image.digest)))
}
