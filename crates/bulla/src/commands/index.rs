//! `bulla index`: images for several platforms, made of images for one.

use bulla_model::oci::Reference;
use clap::{Args, Subcommand};

use crate::{
    error::Result,
    ops::{
        self, registries,
        transfer::{
            self, ArchiveTarget, JoinedSource, LayoutSource, LayoutTarget, Place, Referrers, RegistrySource,
            RegistryTarget, Source, Target, TransferError,
        },
    },
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  bulla index create -o oci:shop oci:shop-amd64 oci:shop-arm64
  bulla index create --push registry.example/team/shop:1.4 \\
      registry.example/team/shop:1.4-amd64 registry.example/team/shop:1.4-arm64

Standard output has the image's digest alone, or its reference with the digest where it went to a registry.";

/// Join images for single platforms into one image for all of them
///
/// For platforms that are built on machines of their own, or by builds side by side.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(Create),
}

/// Join images, which were built for a platform each, into one, and print its digest
///
/// The images stay the same, byte for byte; what is attested of them in their indexes comes along. Built of one spec and lock,
/// they give the image that a build for all platforms gives, with the same digest. Two images for the same platform are refused.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
struct Create {
    /// The images: `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]` or `HOST/REPOSITORY[:TAG][@DIGEST]`
    #[arg(value_name = "IMAGE", required = true, value_parser = place)]
    images: Vec<Place>,

    /// Where the image is written: `oci:DIR[:NAME]` or `oci-archive:FILE[:NAME]`
    #[arg(long, short, value_name = "KIND:PATH", value_parser = file, required_unless_present = "push")]
    output: Option<Place>,

    /// Push the image to a registry, `HOST/REPOSITORY[:TAG]`, and print its reference with the digest
    #[arg(long, value_name = "REF")]
    push: Option<Reference>,
}

fn place(text: &str) -> Result<Place, TransferError> {
    text.parse()
}

/// Reads a place that is no registry.
fn file(text: &str) -> Result<Place, String> {
    match text.parse().map_err(|error: TransferError| error.to_string())? {
        Place::Registry(_) => {
            Err("expected `oci:DIR[:NAME]` or `oci-archive:FILE[:NAME]`; `--push` is for registries".to_owned())
        }
        place => Ok(place),
    }
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    let Command::Create(options) = &options.command;
    let registries = registries::client(session)?;
    let scratch = || -> Result<_> { Ok(ops::store::open(session)?.scratch("index")?) };
    let open = |place: &Place| -> Result<Box<dyn Source>> {
        Ok(match place {
            Place::Layout(path, name) | Place::Archive(path, name) => {
                Box::new(LayoutSource::open(path, name.as_deref())?)
            }
            Place::Registry(reference) => Box::new(RegistrySource::open(&registries, reference, Some(scratch()?))?),
        })
    };
    let joined = JoinedSource::new(options.images.iter().map(open).collect::<Result<_>>()?)?;
    let target: Option<Box<dyn Target>> = match &options.output {
        Some(Place::Layout(folder, name)) => Some(Box::new(LayoutTarget::open(folder, name.as_deref())?)),
        Some(Place::Archive(file, name)) => Some(Box::new(ArchiveTarget::open(file, name.as_deref(), scratch()?)?)),
        Some(Place::Registry(_)) | None => None,
    };
    let mut printed = None;
    if let Some(target) = target {
        printed = Some(transfer::run(session, &joined, &*target, Referrers::LEFT)?.digest.to_string());
    }
    if let Some(reference) = &options.push {
        let image = transfer::run(session, &joined, &RegistryTarget::open(&registries, reference)?, Referrers::LEFT)?;
        printed = Some(reference.pinned(image.digest).to_string());
    }
    printed.map_or(Ok(()), |text| session.print(&format!("{text}\n")))
}
