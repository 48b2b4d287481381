//! The key of the store, which lies outside it, and the records that it authenticates.
//!
//! A record is sealed for one purpose (its domain) and one name (the digest that it is about), so that a record copied to
//! another name, or used for another purpose, does not open.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use bulla_model::{Digest, tree::Owner};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::fs::OFlags;
use sha2::Sha256;

use crate::error::{Error, Result};

const LENGTH: usize = 32;
const MAGIC: &[u8; 16] = b"bulla-sealed 1\n\0";
const MAC: usize = 32;

/// What a sealed record is about; part of what is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Domain {
    Blob,
    Tree,
    Farm,
    Action,
    /// The result of an action that read a cache.
    TaintedAction,
    Cache,
    SourceTable,
    SourceObjects,
    Fingerprint,
}

impl Domain {
    const fn text(self) -> &'static [u8; 16] {
        match self {
            Self::Blob => b"blob receipt 1\0\0",
            Self::Tree => b"tree receipt 1\0\0",
            Self::Farm => b"farm record 1\0\0\0",
            Self::Action => b"action result 1\0",
            Self::TaintedAction => b"tainted result 1",
            Self::Cache => b"cache record 1\0\0",
            Self::SourceTable => b"source table 1\0\0",
            Self::SourceObjects => b"source object 1\0",
            Self::Fingerprint => b"fingerprint 1\0\0\0",
        }
    }
}

/// The secret with which records are sealed.
pub(crate) struct Key([u8; LENGTH]);

impl Key {
    /// Reads the key, or makes one of 32 random bytes (0600) where there is none.
    pub(crate) fn open(path: &Path, owner: Option<Owner>) -> Result<Self> {
        match Self::read(path, owner)? {
            Some(key) => Ok(key),
            None => {
                create(path, owner)?;
                Self::read(path, owner)?.ok_or_else(|| bad(path, "it vanished while it was made"))
            }
        }
    }

    fn read(path: &Path, owner: Option<Owner>) -> Result<Option<Self>> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let mut file = match fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) if rustix::io::Errno::from_io_error(&error) == Some(rustix::io::Errno::LOOP) => {
                return Err(bad(path, "it is a symbolic link"));
            }
            Err(error) => return Err(Error::io("opening the key", path, error)),
        };
        let metadata = file.metadata().map_err(|e| Error::io("examining the key", path, e))?;
        let me = rustix::process::geteuid().as_raw();
        if !metadata.is_file() {
            return Err(bad(path, "it is not a regular file"));
        }
        if metadata.uid() != me && Some(metadata.uid()) != owner.map(|owner| owner.uid) {
            return Err(bad(path, "it belongs to another user"));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(bad(path, "others than its owner may use it"));
        }
        if metadata.len() != LENGTH as u64 {
            return Err(bad(path, "it does not have 32 bytes"));
        }
        let mut key = [0; LENGTH];
        file.read_exact(&mut key).map_err(|e| Error::io("reading the key", path, e))?;
        Ok(Some(Self(key)))
    }

    fn mac(&self, domain: Domain, name: &Digest, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(domain.text());
        mac.update(name.as_bytes());
        mac.update(body);
        mac
    }

    /// Gives a digest of bytes that says nothing of them to whoever has not this key, however few bytes there might be.
    pub(crate) fn fingerprint(&self, bytes: &[u8]) -> Digest {
        let mac = self.mac(Domain::Fingerprint, &Digest::of(b""), bytes).finalize().into_bytes();
        Digest::of(mac)
    }

    /// Puts a header in front of a body that authenticates it for this domain and name.
    pub(crate) fn seal(&self, domain: Domain, name: &Digest, body: &[u8]) -> Vec<u8> {
        let mac = self.mac(domain, name, body).finalize().into_bytes();
        [MAGIC.as_slice(), mac.as_slice(), body].concat()
    }

    /// Gives the body of a record that [`Key::seal`] made with this key for this domain and name.
    pub(crate) fn unseal<'a>(&self, domain: Domain, name: &Digest, record: &'a [u8]) -> Option<&'a [u8]> {
        let (mac, body) = record.strip_prefix(MAGIC)?.split_at_checked(MAC)?;
        self.mac(domain, name, body).verify_slice(mac).ok()?;
        Some(body)
    }
}

fn bad(path: &Path, reason: &'static str) -> Error {
    Error::Key { path: path.to_owned(), reason }
}

/// Gives the body of a record that some store sealed, whatever it is worth: only for what is verified in another way.
pub(crate) fn body_of(record: &[u8]) -> Option<&[u8]> {
    record.strip_prefix(MAGIC)?.get(MAC..)
}

/// Writes a new key beside its place and links it there, so that of two processes one wins and none reads half a key.
fn create(path: &Path, owner: Option<Owner>) -> Result<()> {
    let parent = path.parent().ok_or_else(|| bad(path, "it has no parent folder"))?;
    let fail = |e: std::io::Error| Error::io("making the key", path, e);
    let is_new = !parent.exists();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(fail)?;
    if let (true, Some(owner)) = (is_new, owner) {
        std::os::unix::fs::lchown(parent, Some(owner.uid), Some(owner.gid)).map_err(fail)?;
    }
    let mut bytes = [0; LENGTH + 8];
    fill(&mut bytes).map_err(fail)?;
    let (key, suffix) = bytes.split_at(LENGTH);
    let draft = parent.join(format!(".store.key.{}", u64::from_le_bytes(suffix.try_into().expect("eight bytes"))));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(fail)?;
    let made = file.write_all(key).and_then(|()| file.sync_all()).and_then(|()| {
        if let Some(owner) = owner {
            std::os::unix::fs::fchown(&file, Some(owner.uid), Some(owner.gid))?;
        }
        match fs::hard_link(&draft, path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    });
    let removed = fs::remove_file(&draft);
    made.and(removed).map_err(fail)
}

/// Fills a buffer from the kernel's random source.
pub(crate) fn fill(mut buffer: &mut [u8]) -> std::io::Result<()> {
    while !buffer.is_empty() {
        let count = rustix::rand::getrandom(&mut *buffer, rustix::rand::GetRandomFlags::empty())?;
        buffer = buffer.get_mut(count..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_record_opens_only_for_its_name_its_purpose_and_its_key() {
        let (key, name) = (Key([7; 32]), Digest::of(b"name"));
        let record = key.seal(Domain::Action, &name, b"body");
        assert_eq!(key.unseal(Domain::Action, &name, &record), Some(b"body".as_slice()));
        assert_eq!(key.unseal(Domain::Tree, &name, &record), None);
        assert_eq!(key.unseal(Domain::Action, &Digest::of(b"other"), &record), None);
        assert_eq!(Key([8; 32]).unseal(Domain::Action, &name, &record), None);
        for cut in 0..record.len() {
            assert_eq!(key.unseal(Domain::Action, &name, &record[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_key_is_made_once_private_and_read_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("state/store.key");
        let first = Key::open(&path, None).expect("made");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o600);
        assert_eq!(Key::open(&path, None).expect("read").0, first.0);
        assert_eq!(fs::read_dir(dir.path().join("state")).expect("listed").count(), 1, "no draft is left");
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_a_link_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("store.key");
        Key::open(&path, None).expect("made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("changed");
        assert!(matches!(Key::open(&path, None), Err(Error::Key { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("changed");
        let link = dir.path().join("link.key");
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        assert!(matches!(Key::open(&link, None), Err(Error::Key { .. })));
    }
}
