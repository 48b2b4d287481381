//! Plain files, and the bundles beside them: `FILE.sigstore.json` with the file's signature, as `cosign sign-blob --bundle` writes it, and
//! `FILE.TYPE.sigstore.json` with a statement about it, as `cosign attest-blob --bundle` does.

use std::{
    ffi::OsString,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bulla_evidence::{
    bundle::{self, Bundle, MAX_BUNDLE},
    key::Signer,
    verify::{Content, Piece, Verdict, assess},
};
use bulla_model::Digest;

use super::EvidenceError;
use crate::{
    error::{CliError, Result},
    ops::keyless::Seal,
};

/// The most bytes of a file: the key signs all of it at once.
const MAX_FILE: u64 = 2 << 30;
/// What the names of bundles end with.
const ENDING: &str = ".sigstore.json";
/// The most bundles of a file.
const MAX_BUNDLES: usize = 64;

/// A file with its bytes.
pub(crate) struct SignedFile {
    path: PathBuf,
    /// Its bytes.
    pub(crate) bytes: Arc<[u8]>,
}

impl SignedFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or is too long.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut bytes = Vec::new();
        let file = fs_err::File::open(path).map_err(CliError::file)?;
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(CliError::file)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(EvidenceError::TooLarge { path: path.to_owned(), most: MAX_FILE }.into());
        }
        Ok(Self { path: path.to_owned(), bytes: bytes.into() })
    }

    /// Gives its digest.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// Gives its name without folders.
    pub(crate) fn name(&self) -> Option<&str> {
        self.path.file_name().and_then(|name| name.to_str())
    }

    /// Gives where a bundle of it lies; `kind` is the short name of what a statement states.
    pub(crate) fn beside(&self, kind: Option<&str>) -> PathBuf {
        let mut name = OsString::from(self.path.as_os_str());
        if let Some(kind) = kind {
            name.push(format!(".{kind}"));
        }
        name.push(ENDING);
        name.into()
    }

    /// Finds the bundles that lie beside it, in the order of their names.
    ///
    /// # Errors
    /// When its folder or one of them cannot be read.
    pub(crate) fn pieces(self) -> Result<Vec<Piece>> {
        let subject = self.digest();
        let mut found = Vec::new();
        for path in self.bundles()? {
            let mut bytes = Vec::new();
            let file = fs_err::File::open(&path).map_err(CliError::file)?;
            file.take(MAX_BUNDLE as u64 + 1).read_to_end(&mut bytes).map_err(CliError::file)?;
            found.push(self.piece(subject, bytes));
        }
        Ok(found)
    }

    fn piece(&self, subject: Digest, bundle: Vec<u8>) -> Piece {
        let is_file =
            Bundle::parse(&bundle, MAX_BUNDLE).is_ok_and(|one| matches!(one.content, bundle::Content::File { .. }));
        // Only what signs the bytes themselves has need of them.
        let content = if is_file {
            Content::FileBundle { bundle, file: Arc::clone(&self.bytes) }
        } else {
            Content::Bundle(bundle)
        };
        Piece { subject, content }
    }

    fn bundles(&self) -> Result<Vec<PathBuf>> {
        let folder = folder(&self.path);
        let Some(name) = self.path.file_name().and_then(|name| name.to_str()) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for entry in fs_err::read_dir(folder).map_err(CliError::file)? {
            let path = entry.map_err(CliError::file)?.path();
            let other = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let rest = other.strip_prefix(name).and_then(|rest| rest.strip_suffix(ENDING));
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) && path.is_file() {
                found.push(path);
            }
        }
        found.sort();
        found.truncate(MAX_BUNDLES);
        Ok(found)
    }

    /// Gives the signatures that a bundle of it has already, for a key that would sign otherwise each time.
    ///
    /// # Errors
    /// When the bundle cannot be read.
    pub(crate) fn signatures(&self, bundle: &Path, key: &dyn Signer) -> Result<Vec<(Digest, Vec<u8>)>> {
        let mut bytes = Vec::new();
        match fs_err::File::open(bundle) {
            Ok(file) if !key.repeats() => {
                file.take(MAX_BUNDLE as u64 + 1).read_to_end(&mut bytes).map_err(CliError::file)?;
            }
            _ => return Ok(Vec::new()),
        }
        Ok(self.piece(self.digest(), bytes).content.signatures())
    }

    /// Writes a bundle of it in one stroke, reads it back and verifies it. One by the same key or person is replaced, anything else is not.
    ///
    /// # Errors
    /// When something else is there, or it cannot be written, or does not verify afterwards.
    pub(crate) fn put(&self, bundle: &[u8], path: &Path, seal: &Seal) -> Result<()> {
        match fs_err::read(path) {
            Ok(known) if known == bundle => return Ok(()),
            Ok(known) if seal.claims(&known) => {}
            Ok(_) => return Err(EvidenceError::Occupied(path.to_owned()).into()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(CliError::file(error)),
        }
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        let write = || {
            let mut file =
                tempfile::Builder::new().prefix(".bulla-").permissions(permissions).tempfile_in(folder(path))?;
            file.write_all(bundle)?;
            file.persist(path).map_err(|error| error.error)
        };
        write().map_err(|source| CliError::Write { path: path.to_owned(), source })?;
        let subject = self.digest();
        let claim = assess(&self.piece(subject, fs_err::read(path).map_err(CliError::file)?), seal.trust()).claim;
        match claim.verdict {
            Verdict::Proven => Ok(()),
            _ => Err(EvidenceError::ReadBack { subject, what: claim.detail }.into()),
        }
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
