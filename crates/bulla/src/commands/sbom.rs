//! `bulla sbom`: what an image is made of, as a document that other programs read.

use std::path::PathBuf;

use bulla_evidence::sbom::{Bom, Format, Ownership};
use bulla_model::Platform;
use clap::Args;

use crate::{
    error::{CliError, Result},
    neutral,
    ops::{
        registries,
        sbom::{self, SbomError},
        transfer::{LayoutSource, Place, RegistrySource, Source, TransferError},
    },
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  bulla sbom                                      the image of this project, as SPDX 2.3
  bulla sbom --format cyclonedx-1.6 --output shop.cdx.json
  bulla sbom oci-archive:shop.tar                 an image that others built
  bulla sbom registry.example/team/shop:1.4 --platform linux/amd64
  bulla sbom --closed                             … and fail when a file has no owner

Exit codes: those of `bulla pull`, and 7 with --closed when a file has no owner. See docs/sbom.md.";

/// The most files without an owner that are named.
const MAX_NAMED: usize = 8;

/// List what an image is made of: packages, and whose each file is
///
/// Reads each layer once, of images by whomever; nothing is unpacked or run. Of an image that this store built it also says which step made
/// a file, and of what.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]` or `HOST/REPOSITORY[:TAG][@DIGEST]` [default: bulla-out in the project's folder]
    #[arg(value_name = "IMAGE", value_parser = place)]
    image: Option<Place>,

    /// spdx-2.3, spdx-3.0, cyclonedx-1.6 or cyclonedx-1.7
    #[arg(long, value_name = "FORMAT", default_value = "spdx-2.3")]
    format: Format,

    /// Write it into this file, and not to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Take what is for this platform: linux/amd64 or linux/arm64 [default: the only one that the image is for]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,

    /// Fail when a file of the image has no owner
    #[arg(long)]
    closed: bool,
}

fn place(text: &str) -> Result<Place, TransferError> {
    text.parse()
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    let own = || Place::Layout(session.project().join("bulla-out"), None);
    let source: Box<dyn Source> = match options.image.clone().unwrap_or_else(own) {
        Place::Layout(path, name) | Place::Archive(path, name) => Box::new(LayoutSource::open(&path, name.as_deref())?),
        Place::Registry(reference) => {
            let scratch = crate::ops::store::open(session)?.scratch("sbom")?;
            Box::new(RegistrySource::open(&registries::client(session)?, &reference, Some(scratch))?)
        }
    };
    let bom = sbom::of_source(session, &*source, options.platform)?;
    for note in &bom.notes {
        session.warn(&neutral::line(note));
    }
    session.say(&format!(
        "{} components, {} files, {} of them without an owner.",
        bom.components.len(),
        bom.files.len(),
        bom.unowned()
    ));
    let mut bytes = bom.write(options.format);
    bytes.push(b'\n');
    match &options.output {
        Some(path) => fs_err::write(path, &bytes).map_err(CliError::file)?,
        None => session.print(&String::from_utf8_lossy(&bytes))?,
    }
    if options.closed && bom.unowned() > 0 { Err(unowned(&bom).into()) } else { Ok(()) }
}

fn unowned(bom: &Bom) -> SbomError {
    let files = bom.files.iter().filter(|file| file.owner == Ownership::Unowned);
    let examples = files.take(MAX_NAMED).map(|file| format!("/{}", neutral::line(&file.path))).collect();
    SbomError::Unowned { unowned: bom.unowned(), examples }
}
