//! `bulla copy`: an image from one place to another.

use bulla_model::Platform;
use clap::Args;

use crate::{
    error::Result,
    ops::{
        self, registries,
        transfer::{
            self, ArchiveTarget, JoinedSource, LayoutSource, LayoutTarget, Place, Referrers, RegistrySource,
            RegistryTarget, Source, Target,
        },
    },
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  bulla copy oci:bulla-out oci-archive:shop.tar
  bulla copy oci:images:1.4 registry.example/team/shop:1.4
  bulla copy registry.example/team/shop:1.4 mirror.example/team/shop:1.4
  bulla copy oci-archive:shop.tar oci:images:latest

Standard output has the image's digest alone, or its reference with the digest where it went to a registry. Exit codes are those
of `bulla push` and `bulla pull`.";

/// Copy an image between OCI layouts, oci-archives and registries
///
/// The image stays the same, byte for byte, with all its platforms unless one is named, and what refers to it comes along:
/// signatures, lists of packages. Within one registry blobs are taken over and not sent.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// Where from: `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]` or `HOST/REPOSITORY[:TAG][@DIGEST]`
    #[arg(value_name = "SOURCE", value_parser = place)]
    source: Place,

    /// Where to: `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]` or `HOST/REPOSITORY[:TAG]`
    #[arg(value_name = "DEST", value_parser = place)]
    target: Place,

    /// Take what is for this platform alone: linux/amd64 or linux/arm64 [default: all that the image is for]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,

    #[command(flatten)]
    referrers: Referrers,
}

fn place(text: &str) -> Result<Place, transfer::TransferError> {
    text.parse()
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    let registries = registries::client(session)?;
    let scratch = || -> Result<_> { Ok(ops::store::open(session)?.scratch("copy")?) };
    let source: Box<dyn Source> = match &options.source {
        Place::Layout(path, name) | Place::Archive(path, name) => Box::new(LayoutSource::open(path, name.as_deref())?),
        Place::Registry(reference) => {
            // Only from registry to registry does a blob need a place on its way.
            let between = matches!(options.target, Place::Registry(_)).then(scratch).transpose()?;
            Box::new(RegistrySource::open(&registries, reference, between)?)
        }
    };
    let source = match options.platform {
        Some(platform) => Box::new(JoinedSource::only(source, platform)?),
        None => source,
    };
    let target: Box<dyn Target> = match &options.target {
        Place::Layout(folder, name) => Box::new(LayoutTarget::open(folder, name.as_deref())?),
        Place::Archive(file, name) => Box::new(ArchiveTarget::open(file, name.as_deref(), scratch()?)?),
        Place::Registry(reference) => Box::new(RegistryTarget::open(&registries, reference)?),
    };
    let image = transfer::run(session, &*source, &*target, options.referrers)?;
    match &options.target {
        Place::Registry(reference) => session.print(&format!("{}\n", reference.pinned(image.digest))),
        Place::Layout(..) | Place::Archive(..) => session.print(&format!("{}\n", image.digest)),
    }
}
