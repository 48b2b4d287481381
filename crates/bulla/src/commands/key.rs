//! `bulla key`: keys that sign images and files.

use std::path::PathBuf;

use bulla_evidence::key::{Algorithm, PrivateKey, Signer as _};
use clap::{Args, Subcommand, ValueEnum};

use crate::{
    error::Result,
    ops::keys::{self, Passphrase},
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  bulla key generate                            bulla.key, under a passphrase, and bulla.pub
  bulla key generate --output release.key --type ed25519
  bulla key public release.key > release.pub    the public key of a private one
  bulla key public 'pkcs11:token=ci;object=release?module-path=/usr/lib/softhsm/libsofthsm2.so' > release.pub
  bulla key public hashivault://release > release.pub
  bulla key import openssl.pem --output release.key

The files are those of cosign, which reads them and makes them too. The passphrase is asked for, or comes from
$BULLA_KEY_PASSWORD or a file. Exit codes: 3 for what is no key or exists already, 5 for a wrong passphrase.";

/// Make, import and show the keys that sign images and files
///
/// A private key lies in a file under a passphrase, as cosign writes it; the file is for its owner alone and never overwritten.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key
    Generate {
        /// The file of the private key; the public one lies beside it and ends with `.pub`
        #[arg(long, short, value_name = "FILE", default_value = "bulla.key")]
        output: PathBuf,
        /// The algorithm: what every verifier knows, or Ed25519
        #[arg(long = "type", value_name = "TYPE", value_enum, default_value_t)]
        kind: KeyType,
        #[command(flatten)]
        passphrase: Passphrase,
    },
    /// Write the public key of a private one to standard output
    Public {
        /// The private key: its file, `pkcs11:…` (RFC 7512) for one on a token, or `hashivault://NAME` for one of Vault
        #[arg(value_name = "KEY")]
        key: PathBuf,
        #[command(flatten)]
        passphrase: Passphrase,
    },
    /// Take a private key that nothing protects, and write it under a passphrase
    ///
    /// The file has PEM in it: PKCS#8, or SEC1 of P-256, as OpenSSL writes them.
    Import {
        /// The file with the key
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The file of the private key; the public one lies beside it and ends with `.pub`
        #[arg(long, short, value_name = "FILE", default_value = "bulla.key")]
        output: PathBuf,
        #[command(flatten)]
        passphrase: Passphrase,
    },
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum KeyType {
    /// ECDSA on P-256 with SHA-256.
    #[default]
    P256,
    /// Ed25519.
    Ed25519,
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    match &options.command {
        Command::Generate { output, kind, passphrase } => {
            let algorithm = match kind {
                KeyType::P256 => Algorithm::P256,
                KeyType::Ed25519 => Algorithm::Ed25519,
            };
            let key = PrivateKey::generate(algorithm, &mut keys::random()?);
            written(session, &key, output, passphrase)
        }
        Command::Public { key, passphrase } => session.print(&keys::public_of(session, key, passphrase)?.to_pem()),
        Command::Import { file, output, passphrase } => written(session, &keys::unprotected(file)?, output, passphrase),
    }
}

/// Writes a key, and says by what name others know it.
fn written(session: &Session, key: &PrivateKey, output: &std::path::Path, passphrase: &Passphrase) -> Result<()> {
    let public = keys::write(session, key, output, passphrase)?;
    session.say(&format!(
        "The private key is in {}, the public key in {}: keep the one, hand out the other.",
        output.display(),
        public.display()
    ));
    session.print(&format!("{}\n", key.public().digest()))
}
