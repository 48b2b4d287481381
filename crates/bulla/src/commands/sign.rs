//! `bulla sign`: images and files are signed by a key.

use std::path::PathBuf;

use bulla_evidence::{Statement, Subject, bundle, carrier, image::SIGNS, key::Signer, simple, verify::Form};
use clap::{Args, ValueEnum};

use crate::{
    error::Result,
    ops::{
        evidence::{EvidenceError, Image, Published, SignedFile, What, again, put},
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

The image and the manifest of each of its platforms are signed, as current cosign does it (a bundle that refers to them); in
registries in cosign's older form too, which many admission controllers read. `cosign verify --key release.pub` verifies both.
Standard output has the image's digest, its reference with the digest, or the bundle's path. Exit codes: 3 for what is no key or
no image, 4 when the registry cannot be reached, 5 for a wrong passphrase or when what was written is not there afterwards.";

/// Sign an image or a file by a key, and verify what was written
///
/// Signing the same again writes nothing. A tag is resolved once, and what it was then is signed.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// What to sign: `oci:DIR[:NAME]`, a folder with a layout, `HOST/REPOSITORY[:TAG][@DIGEST]`, or `file:PATH`
    #[arg(value_name = "WHAT")]
    what: What,

    /// The private key: its file, `pkcs11:…` (RFC 7512) for one on a token, or `hashivault://NAME` for one of Vault
    #[arg(long, value_name = "KEY")]
    key: PathBuf,

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
    pub(crate) const fn or_usual(word: Option<Self>, place: &Place) -> Self {
        match (word, place) {
            (Some(word), _) => word,
            (None, Place::Registry(_)) => Self::Both,
            (None, _) => Self::Bundle,
        }
    }
}

impl FormWord {
    /// Gives the forms that it means.
    pub(crate) const fn forms(self) -> &'static [Form] {
        match self {
            Self::Bundle => &[Form::Bundle],
            Self::Legacy => &[Form::Legacy],
            Self::Both => &[Form::Bundle, Form::Legacy],
        }
    }
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    let key = || keys::signer(session, &options.key, &options.passphrase);
    match &options.what {
        What::File(path) => {
            let (file, key) = (SignedFile::open(path)?, key()?);
            let output = options.output.clone().unwrap_or_else(|| file.beside(None));
            let bundle = bundle::sign_file(&file.bytes, &file.again(&output, &*key)?).map_err(EvidenceError::Sign)?;
            file.put(&bundle, &output, key.public())?;
            session.print(&format!("{}\n", output.display()))
        }
        What::Image(place) => {
            refuse_output(options.output.as_ref())?;
            let image = Image::open(session, place)?;
            let form = FormWord::or_usual(options.form, place);
            let key = key()?;
            let again = again(session, &image, &*key)?;
            let place = pinned(place, &image);
            put(session, &place, &published(&image, &place, form, &again)?, key.public())?;
            session.print(&told(&place, &image))
        }
    }
}

/// Signs an image and each of its platforms.
fn published(image: &Image, place: &Place, form: FormWord, key: &dyn Signer) -> Result<Published, EvidenceError> {
    let mut published = Published::default();
    for subject in image.subjects() {
        if form != FormWord::Legacy {
            let statement = Statement::new(vec![Subject::new(None, &subject.digest)], SIGNS, serde_json::json!({}));
            let carrier = carrier::of_bundle(bundle::sign(&statement, key)?, SIGNS, subject, None);
            published.carriers.push((subject.digest, carrier));
        }
        if form != FormWord::Bundle {
            let Place::Registry(reference) = place else { return Err(EvidenceError::NoTags("it".to_owned())) };
            let layer = simple::sign(&reference.name(), &subject.digest, key)?;
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
