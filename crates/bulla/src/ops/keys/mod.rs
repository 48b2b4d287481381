//! Keys that sign evidence: their files, and the passphrases that open them; keys on tokens ([`token`]) and of services ([`vault`]).
//!
//! A passphrase or PIN comes from a file that is named, else from `$BULLA_KEY_PASSWORD`, else from a person at the terminal. It is in memory that
//! is wiped, and in no argument, which everybody could see.

mod place;
mod token;
mod vault;

use std::{
    fs::File,
    io::{Read, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bulla_evidence::{
    key::{self, KeyError, MAX_KEY, PrivateKey, PublicKey, Signer},
    verify::TrustedKey,
};
use bulla_model::{Fault, Kind, SecretBytes};
use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

pub(crate) use self::place::Place;
use crate::{
    error::{CliError, Result},
    secret,
    session::Session,
};

/// The variable that has a passphrase.
const VARIABLE: &str = "BULLA_KEY_PASSWORD";
/// The most bytes of a passphrase.
const LONGEST: usize = 4096;

/// Where the passphrase of a private key comes from.
#[derive(Debug, Clone, Args)]
pub(crate) struct Passphrase {
    /// Take the passphrase or PIN of the private key from a file, without its last line feed [default: $BULLA_KEY_PASSWORD, else it is asked for]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// What can go wrong with the file of a key, or its passphrase.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    /// What is in the file is no such key.
    #[error("reading the key {}", path.display())]
    Key { path: PathBuf, source: KeyError },
    /// It is longer than any key.
    #[error("{} has more than {MAX_KEY} bytes, and is no key", .0.display())]
    TooLarge(PathBuf),
    /// There is a file already.
    #[error("{} exists, and a key is never overwritten", .0.display())]
    Exists(PathBuf),
    /// Nobody can be asked.
    #[error(
        "the passphrase of the key cannot be asked for: there is no terminal, and neither `${VARIABLE}` is set nor a file named"
    )]
    NobodyToAsk,
    /// The two that were typed differ.
    #[error("the passphrase was typed differently the second time")]
    Differs,
    /// It is longer than any.
    #[error("the passphrase has more than {LONGEST} bytes")]
    TooLong,
}

impl Fault for KeyFileError {
    fn kind(&self) -> Kind {
        match self {
            Self::Key { source, .. } => source.kind(),
            Self::NobodyToAsk => Kind::Environment,
            Self::TooLarge(_) | Self::Exists(_) | Self::Differs | Self::TooLong => Kind::Spec,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Key { source, .. } => source.hints(),
            Self::NobodyToAsk => vec![format!("set `{VARIABLE}`, or name a file by `--passphrase-file FILE`")],
            Self::Exists(_) => {
                vec!["name another file by `--output FILE`; what the old key signed is verified by it alone".into()]
            }
            _ => Vec::new(),
        }
    }
}

/// Reads the file of a public key.
///
/// # Errors
/// When it cannot be read, or has none.
pub(crate) fn public(path: &Path) -> Result<PublicKey> {
    let bytes = read(path)?;
    Ok(PublicKey::parse(bytes.expose()).map_err(|source| KeyFileError::Key { path: path.to_owned(), source })?)
}

/// Reads the files of public keys that are trusted, each called by its path.
///
/// # Errors
/// When one cannot be read, or has none.
pub(crate) fn trusted(paths: impl Iterator<Item = PathBuf>) -> Result<Vec<TrustedKey>> {
    paths.map(|path| Ok(TrustedKey { name: path.display().to_string(), key: public(&path)? })).collect()
}

/// Opens what signs: the private key of a file, of a token, or of a service.
///
/// # Errors
/// When it is not there, or whoever asks may not use it.
pub(crate) fn signer(session: &Session, name: &Path, passphrase: &Passphrase) -> Result<Arc<dyn Signer>> {
    Ok(match Place::parse(name)? {
        Place::File(path) => Arc::new(private(session, path, passphrase)?),
        Place::Token(uri) => Arc::new(token::Token::open(session, &uri, passphrase)?),
        Place::Vault(name) => Arc::new(vault::Vault::open(session, name)?),
    })
}

/// Gives the public key of what signs.
///
/// # Errors
/// As [`signer`]; of a token no PIN is needed.
pub(crate) fn public_of(session: &Session, name: &Path, passphrase: &Passphrase) -> Result<PublicKey> {
    match Place::parse(name)? {
        Place::Token(uri) => token::Token::public(session, &uri),
        Place::File(_) | Place::Vault(_) => Ok(signer(session, name, passphrase)?.public().clone()),
    }
}

/// Opens the file of a private key by its passphrase.
///
/// # Errors
/// When it cannot be read, has none, or the passphrase is another one.
fn private(session: &Session, path: &Path, passphrase: &Passphrase) -> Result<PrivateKey> {
    secret::no_core_dumps();
    let bytes = read(path)?;
    let fail = |source| KeyFileError::Key { path: path.to_owned(), source };
    if !key::file::is_protected(bytes.expose()) {
        let reason = "it is not protected by a passphrase: `bulla key import FILE` makes such a one of it".to_owned();
        return Err(fail(KeyError::NoPrivateKey { reason }).into());
    }
    let passphrase = match passphrase.known(session, None)? {
        Some(known) => known,
        None => ask(&format!("Passphrase of {}: ", path.display()))?,
    };
    Ok(key::file::open(bytes.expose(), &passphrase).map_err(fail)?)
}

/// Reads a private key that nothing protects.
///
/// # Errors
/// When it cannot be read, or has none.
pub(crate) fn unprotected(path: &Path) -> Result<PrivateKey> {
    secret::no_core_dumps();
    let bytes = read(path)?;
    Ok(PrivateKey::parse(bytes.expose()).map_err(|source| KeyFileError::Key { path: path.to_owned(), source })?)
}

/// Writes a private key under a new passphrase, and its public key beside it with the ending `.pub`. Gives the path of that.
///
/// # Errors
/// When one of the files exists, or cannot be written.
pub(crate) fn write(session: &Session, key: &PrivateKey, path: &Path, passphrase: &Passphrase) -> Result<PathBuf> {
    let public = path.with_extension("pub");
    for file in [path, &public] {
        if fs_err::symlink_metadata(file).is_ok() || public == path {
            return Err(KeyFileError::Exists(file.to_owned()).into());
        }
    }
    let passphrase = match passphrase.known(session, None)? {
        Some(known) => known,
        None => {
            let first = ask(&format!("New passphrase for {}: ", path.display()))?;
            if ask("The same again: ")?.expose() != first.expose() {
                return Err(KeyFileError::Differs.into());
            }
            first
        }
    };
    if passphrase.expose().is_empty() {
        session.warn("the passphrase is empty: whoever has the file has the key");
    }
    let text = key::file::protect(key, &passphrase, &mut random()?);
    whole(&public, key.public().to_pem().as_bytes(), 0o644)?;
    whole(path, text.as_bytes(), 0o600)?;
    Ok(public)
}

/// Writes a file that is not there, whole or not at all.
fn whole(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    let write = || {
        let mut file = tempfile::Builder::new().prefix(".bulla-").permissions(permissions).tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path).map_err(|error| error.error)
    };
    match write() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(KeyFileError::Exists(path.to_owned()).into())
        }
        Err(source) => Err(CliError::Write { path: path.to_owned(), source }.into()),
    }
}

/// Gives what fills a slice from the kernel's random source.
///
/// # Errors
/// When there is none.
pub(crate) fn random() -> Result<impl FnMut(&mut [u8])> {
    // Asked once before anything depends on it: afterwards it does not fail.
    let mut probe = [0; 1];
    rustix::rand::getrandom(&mut probe, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| CliError::file(error.into()))?;
    Ok(|mut buffer: &mut [u8]| {
        while !buffer.is_empty() {
            let count = rustix::rand::getrandom(&mut *buffer, rustix::rand::GetRandomFlags::empty())
                .expect("the kernel had random bytes a moment ago");
            buffer = buffer.get_mut(count..).unwrap_or_default();
        }
    })
}

/// Reads a file of a key, which may be a private one.
fn read(path: &Path) -> Result<SecretBytes> {
    let file = fs_err::File::open(path).map_err(CliError::file)?;
    let most = usize::try_from(MAX_KEY).unwrap_or(usize::MAX);
    let bytes = bounded(file, most).map_err(CliError::file)?;
    if bytes.expose().len() > most {
        return Err(KeyFileError::TooLarge(path.to_owned()).into());
    }
    Ok(bytes)
}

/// Reads a byte more than there may be, into room that is there: a buffer that grew would leave bytes behind.
pub(crate) fn bounded(from: impl Read, most: usize) -> std::io::Result<SecretBytes> {
    let mut bytes = Vec::with_capacity(most + 2);
    from.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(SecretBytes::new(bytes))
}

impl Passphrase {
    /// Gives the passphrase, where nobody has to be asked: `source` is a file that the name of the key names.
    fn known(&self, session: &Session, source: Option<&Path>) -> Result<Option<SecretBytes>> {
        let value = match self.passphrase_file.as_deref().or(source) {
            Some(path) => {
                let file = fs_err::File::open(path).map_err(CliError::file)?;
                let bytes = bounded(file, LONGEST).map_err(CliError::file)?;
                let text = bytes.expose();
                let text = text.strip_suffix(b"\n").unwrap_or(text);
                Some(SecretBytes::new(text.strip_suffix(b"\r").unwrap_or(text).to_vec()))
            }
            None => session.environment.secret(VARIABLE).map(SecretBytes::new),
        };
        match value {
            Some(value) if value.expose().len() > LONGEST => Err(KeyFileError::TooLong.into()),
            value => Ok(value),
        }
    }
}

/// Asks for a passphrase at the terminal, which shows nothing of it.
fn ask(question: &str) -> Result<SecretBytes> {
    let tty = fs_err::OpenOptions::new().read(true).write(true).open("/dev/tty");
    let tty = tty.map_err(|_| KeyFileError::NobodyToAsk)?.into_parts().0;
    let quiet = Quiet::new(&tty)?;
    (&tty).write_all(question.as_bytes()).map_err(CliError::file)?;
    let typed = line(&mut &tty);
    drop(quiet);
    let _ = (&tty).write_all(b"\n");
    typed
}

/// Reads a line, byte by byte as they are typed.
fn line(from: &mut impl Read) -> Result<SecretBytes> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const BACKSPACE: [u8; 2] = [8, 127];
    let mut typed = Zeroizing::new(Vec::with_capacity(LONGEST));
    let mut byte = [0];
    loop {
        match (from.read(&mut byte).map_err(CliError::file)?, byte[0]) {
            (0, _) | (_, b'\n' | b'\r' | END) => return Ok(SecretBytes::new(std::mem::take(&mut *typed))),
            (_, INTERRUPT) => return Err(CliError::Interrupted.into()),
            (_, one) if BACKSPACE.contains(&one) => {
                // A character may have several bytes.
                while typed.pop().is_some_and(|last| last & 0xc0 == 0x80) {}
            }
            (_, one) if typed.len() < LONGEST => typed.push(one),
            _ => return Err(KeyFileError::TooLong.into()),
        }
    }
}

/// A terminal that shows nothing of what is typed, and sends it at once, as long as this lives. Ctrl-C is typed too: the process must not end
/// and leave the terminal so.
struct Quiet<'a> {
    tty: &'a File,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn new(tty: &'a File) -> Result<Self> {
        let before = tcgetattr(tty).map_err(|_| KeyFileError::NobodyToAsk)?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(tty, OptionalActions::Flush, &quiet).map_err(|error| CliError::file(error.into()))?;
        Ok(Self { tty, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // Nobody can be told when that fails.
        let _ = tcsetattr(self.tty, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_ends_with_the_line_and_can_be_mended() {
        let typed = |bytes: &[u8]| line(&mut &*bytes).map(|value| value.expose().to_vec());
        assert_eq!(typed(b"secret\nmore").expect("typed"), b"secret");
        assert_eq!(typed(b"secret").expect("typed"), b"secret");
        assert_eq!(typed("sä\u{7f}ecrex\u{8}t\r".as_bytes()).expect("typed"), b"secret");
        assert_eq!(typed(b"\x7f\x7f\n").expect("typed"), b"");
        assert!(typed(b"sec\x03ret\n").is_err_and(|error| error.kind == Kind::Interrupted));
        assert!(typed(&[b'x'; LONGEST + 1]).is_err());
    }
}
