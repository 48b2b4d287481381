//! `bulla sign`: images and files are signed by a key, or by a certificate for whoever a token is about.

use std::{path::PathBuf, sync::Arc};

use bulla_evidence::{Statement, Subject, carrier, image::SIGNS, simple};
use clap::{Args, ValueEnum};

use crate::{
    error::Result,
    ops::{
        evidence::{EvidenceError, Image, Published, SignedFile, What, put},
        keyless::{KeylessOptions, Seal},
        keys::{self, Passphrase},
        transfer::{Beside, Place},
    },
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  bulla sign oci:bulla-out --key release.key
  bulla sign registry.example/team/shop:1.4 --key release.key
  bulla sign file:shop.tar --key release.key         the signature is in shop.tar.sigstore.json
  bulla sign registry.example/team/shop:1.4 --identity-token token.jwt       by a certificate (keyless), without a key

The image and the manifest of each of its platforms are signed, as current cosign does it (a bundle that refers to them); in
registries in cosign's older form too, which many admission controllers read. `cosign verify --key release.pub` verifies both.
Without a key (`--keyless`, `--identity-token`) the instance of the configuration's `[evidence.keyless]` gives a certificate for minutes to whoever
the token is about, and its log and timestamp authority say when it was; a bundle has all of it, and no other form is made. See docs/evidence.md.

Standard output has the image's digest, its reference with the digest, or the bundle's path. Exit codes: 3 for what is no key, no token or
no image, 4 when a registry or service cannot be reached or a token is over, 5 for a wrong passphrase or when what was signed or written does
not verify.";

/// Sign an image or a file by a key or a certificate, and verify what was written
///
/// Signing the same again by a key writes nothing. A tag is resolved once, and what it was then is signed.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// What to sign: `oci:DIR[:NAME]`, a folder with a layout, `HOST/REPOSITORY[:TAG][@DIGEST]`, or `file:PATH`
    #[arg(value_name = "WHAT")]
    what: What,

    /// The file of the private key, as `bulla key generate` or cosign writes it
    #[arg(long, value_name = "FILE", required_unless_present_any = ["keyless", "identity_token"],
        conflicts_with_all = ["keyless", "identity_token"])]
    key: Option<PathBuf>,

    #[command(flatten)]
    keyless: KeylessOptions,

    /// Have the configured timestamp authority say when it was signed by the key
    #[arg(long)]
    timestamp: bool,

    /// The form of an image's signature [default: both in registries, bundle in layouts, which have no tags for the other]
    #[arg(long, value_name = "FORM", value_enum)]
    form: Option<FormWord>,

    /// Where the bundle of a file goes [default: beside it, with the ending `.sigstore.json`]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    passphrase: Passphrase,
}

/// In which form evidence is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormWord {
    /// A bundle of Sigstore that refers to the image.
    Bundle,
    /// What cosign wrote before bundles.
    Legacy,
    /// Both.
    Both,
}

impl FormWord {
    /// Gives what is right for a place, where nobody asked for one.
    pub(crate) const fn or_usual(word: Option<Self>, place: &Place, keyless: &KeylessOptions) -> Self {
        match (word, place) {
            (Some(word), _) => word,
            (None, Place::Registry(_)) if !keyless.is_asked_for() => Self::Both,
            (None, _) => Self::Bundle,
        }
    }
}

/// Makes what signs, by what was said.
pub(crate) fn seal(
    session: &Session,
    key: Option<&PathBuf>,
    passphrase: &Passphrase,
    keyless: &KeylessOptions,
    timestamp: bool,
) -> Result<Seal> {
    match key {
        Some(key) => Seal::of_key(session, Arc::new(keys::private(session, key, passphrase)?), timestamp),
        None => Seal::keyless(session, keyless),
    }
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    let seal = || seal(session, options.key.as_ref(), &options.passphrase, &options.keyless, options.timestamp);
    match &options.what {
        What::File(path) => {
            let (file, seal) = (SignedFile::open(path)?, seal()?);
            let output = options.output.clone().unwrap_or_else(|| file.beside(None));
            file.put(&seal.file(&file.bytes)?, &output, &seal)?;
            session.print(&format!("{}\n", output.display()))
        }
        What::Image(place) => {
            refuse_output(options.output.as_ref())?;
            let image = Image::open(session, place)?;
            let form = FormWord::or_usual(options.form, place, &options.keyless);
            let seal = seal()?;
            let place = pinned(place, &image);
            put(session, &place, &published(&image, &place, form, &seal)?, seal.trust())?;
            session.print(&told(&place, &image))
        }
    }
}

/// Signs an image and each of its platforms.
fn published(image: &Image, place: &Place, form: FormWord, seal: &Seal) -> Result<Published> {
    let mut published = Published::default();
    for subject in image.subjects() {
        if form != FormWord::Legacy {
            let statement = Statement::new(vec![Subject::new(None, &subject.digest)], SIGNS, serde_json::json!({}));
            let carrier = carrier::of_bundle(seal.statement(&statement, &subject.digest)?, SIGNS, subject, None);
            published.carriers.push((subject.digest, carrier));
        }
        if form != FormWord::Bundle {
            let Place::Registry(reference) = place else { return Err(EvidenceError::NoTags("it".to_owned()).into()) };
            let layer = simple::sign(&reference.name(), &subject.digest, seal.of_legacy()?);
            let layer = layer.map_err(EvidenceError::Sign)?;
            published.legacy.push((Beside::Signatures, subject.digest, layer));
        }
    }
    Ok(published)
}

/// Names an image of a registry by what its tag was when it was read.
pub(crate) fn pinned(place: &Place, image: &Image) -> Place {
    match place {
        Place::Registry(reference) => Place::Registry(reference.pinned(image.root.digest)),
        other => other.clone(),
    }
}

/// Says what was signed, for programs.
pub(crate) fn told(place: &Place, image: &Image) -> String {
    match place {
        Place::Registry(reference) => format!("{reference}\n"),
        Place::Layout(..) | Place::Archive(..) => format!("{}\n", image.root.digest),
    }
}

/// Refuses an option that is for files alone.
pub(crate) fn refuse_output(output: Option<&PathBuf>) -> Result<()> {
    match output {
        None => Ok(()),
        Some(_) => {
            Err(crate::error::CliError::Option("`--output` is for files: evidence of an image lies beside it".into())
                .into())
        }
    }
}
