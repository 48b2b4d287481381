//! A file that a lock file names, on its way into the store.
//!
//! What has come of it stays when the program ends, however that is, and the next attempt asks for the rest. Of the beginning nothing is believed: the
//! whole is held against the lock file's hashes, and when it is another, all of it is fetched once more.

use std::io::Write as _;

use bulla_build::run;
use bulla_ecosystems::dependencies::Hash;
use bulla_model::Digest;
use bulla_net::{DownloadSink, Finish, SinkError};
use bulla_store::{Partial, Store};

use crate::error::{CliError, Result};

/// A download that is known by the hashes of a lock file.
pub(super) struct Resumed<'a> {
    store: &'a Store,
    hashes: &'a [Hash],
    /// Nothing while it is in the store, or was found to be another file.
    partial: Option<Partial>,
    kept: Option<Digest>,
}

impl<'a> Resumed<'a> {
    /// Opens the download, with what an earlier attempt left. Waits while another has it.
    pub(super) fn open(store: &'a Store, hashes: &'a [Hash]) -> Result<Self> {
        if hashes.is_empty() {
            return Err(CliError::Option("a lock file does not say what the bytes of a package are".to_owned()).into());
        }
        let mut resumed = Self { store, hashes, partial: None, kept: None };
        resumed.partial = Some(store.partial(&resumed.stands_for())?);
        Ok(resumed)
    }

    /// Gives the name that it has while it is not there.
    pub(super) fn stands_for(&self) -> Digest {
        Digest::of(self.hashes.iter().map(|hash| format!("{hash}\n")).collect::<String>())
    }

    /// Takes what is there already, if that is all of it: it may be that only its end was not noticed, or that another has just brought it.
    pub(super) fn take_whole(&mut self) -> Result<bool> {
        for hash in self.hashes {
            if let Some(digest) = run::pinned(self.store, hash)?
                && self.store.has_blob(&digest)?
            {
                self.kept = Some(digest);
                return Ok(true);
            }
        }
        if self.have() > 0 && self.is_right().map_err(CliError::File)? {
            self.keep()?;
        }
        Ok(self.kept.is_some())
    }

    /// Gives its digest.
    pub(super) fn kept(self) -> Result<Digest> {
        let missing = || CliError::Option("a download ended and left nothing".to_owned());
        Ok(self.kept.ok_or_else(missing)?)
    }

    fn partial(&mut self) -> Result<&mut Partial, SinkError> {
        if self.partial.is_none() {
            self.partial = Some(self.store.partial(&self.stands_for())?);
        }
        Ok(self.partial.as_mut().expect("it was just set"))
    }

    /// Holds what is there against all hashes.
    fn is_right(&self) -> std::io::Result<bool> {
        let Some(partial) = &self.partial else { return Ok(false) };
        let mut reader = partial.reader().map_err(std::io::Error::other)?;
        for hash in self.hashes {
            if !hash.matches(&mut reader)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn keep(&mut self) -> bulla_store::Result<()> {
        if let Some(partial) = self.partial.take() {
            self.kept = Some(partial.keep()?);
        }
        Ok(())
    }
}

impl DownloadSink for Resumed<'_> {
    fn have(&self) -> u64 {
        self.partial.as_ref().map_or(0, Partial::len)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        Ok(self.partial()?.write_all(bytes)?)
    }

    fn restart(&mut self) -> Result<(), SinkError> {
        Ok(self.partial()?.restart()?)
    }

    fn finish(&mut self, _stands_for: &Digest) -> Result<Finish, SinkError> {
        self.partial()?;
        if self.is_right()? {
            self.keep()?;
            return Ok(Finish::Kept);
        }
        let other = self.partial.take().map(Partial::discard);
        Ok(Finish::Mismatch(other.unwrap_or_else(|| self.stands_for())))
    }
}
