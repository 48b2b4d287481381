//! What Git LFS keeps elsewhere: asked for at the server of the repository itself, whatever `.lfsconfig` says, and hashed.

use std::{collections::BTreeMap, io};

use bulla_ecosystems::git::{
    GitError,
    lfs::{self, Place, Pointer},
};
use bulla_net::{Ask, NetError, Reach, Secret, Url};
use bulla_store::{BlobWriter, Store};

use super::{Git, Taken, checkout::Grown};
use crate::error::{CliError, Result};

/// Where the server is asked, behind the repository's URL.
const BATCH: &str = "/info/lfs/objects/batch";

impl Git<'_> {
    /// Brings what all pointers stand for into the store, and puts it in their places.
    pub(super) fn add_large(&self, taken: &Taken<'_>, grown: &mut Grown, progress: &dyn Fn(u64)) -> Result<()> {
        let mut wanted: BTreeMap<&str, Vec<Pointer>> = BTreeMap::new();
        for (path, pointer) in grown.files.pointers() {
            let url = grown.root_of(path).map_or(taken.url, |(_, url)| url.as_str());
            let known = wanted.entry(url).or_default();
            if !pointer.extended && !known.contains(pointer) && !self.store.has_blob(&pointer.digest)? {
                known.push(*pointer);
            }
        }
        for (url, pointers) in wanted {
            let repository = Taken { what: taken.what, url };
            for some in pointers.chunks(lfs::AT_ONCE) {
                for place in self.places(&repository, some)? {
                    self.session.interrupt.check()?;
                    self.fetch_large(&repository, &place, progress)?;
                }
            }
        }
        Ok(grown.files.put_large().map_err(|error| taken.failed(error))?)
    }

    /// Asks where some pieces are.
    fn places(&self, taken: &Taken<'_>, pointers: &[Pointer]) -> Result<Vec<Place>> {
        if taken.url.starts_with("ssh://") || !taken.url.contains("://") {
            let problem = "is not asked for a repository that is reached by SSH".to_owned();
            return Err(taken.failed(GitError::Lfs { problem }).into());
        }
        let url = Url::parse(&endpoint(taken.url)).map_err(NetError::from)?;
        let question = lfs::question(pointers);
        let ask = Ask {
            url: &url,
            reach: Reach::Public,
            body: Some(&question),
            headers: &[("accept", lfs::MEDIA_TYPE), ("content-type", lfs::MEDIA_TYPE)],
            logins: true,
            authorization: None,
            max_size: lfs::MAX_ANSWER,
        };
        let (answer, _) = self.client.ask(&ask, Vec::new, &|_| ())?;
        Ok(lfs::answer(pointers, &answer).map_err(|error| taken.failed(error))?)
    }

    fn fetch_large(&self, taken: &Taken<'_>, place: &Place, progress: &dyn Fn(u64)) -> Result<()> {
        let url = Url::parse(&place.url).map_err(NetError::from)?;
        let batch = Url::parse(&endpoint(taken.url)).map_err(NetError::from)?;
        let fail = |problem: String| taken.failed(GitError::Lfs { problem });
        if batch.is_secure() && !url.is_secure() {
            return Err(fail(format!("leads to {}, which would leave the encrypted connection", url.shown())).into());
        }
        let authorization = place.authorization.clone().map(Secret::new);
        let ask = Ask {
            url: &url,
            reach: Reach::Public,
            body: None,
            headers: &[],
            // The user's login is for the server of the repository; for another, what that server said.
            logins: url.origin() == batch.origin(),
            authorization: authorization.as_ref(),
            max_size: place.size,
        };
        let open = || Late { store: &self.store, writer: None };
        let (mut late, heard) = self.client.ask(&ask, open, progress)?;
        if heard.size != place.size {
            let (digest, size, found) = (place.digest, place.size, heard.size);
            return Err(fail(format!("gives {found} bytes for {digest}, which has {size}")).into());
        }
        late.writer().map_err(CliError::file)?;
        let Some(writer) = late.writer.take() else { return Ok(()) };
        writer.finish(Some(&place.digest))?;
        Ok(())
    }
}

/// Gives where a repository's server of Git LFS is asked (git-lfs: `docs/api/server-discovery.md`).
fn endpoint(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let ending = if url.ends_with(".git") { "" } else { ".git" };
    format!("{url}{ending}{BATCH}")
}

/// A blob that is begun when its first bytes come.
struct Late<'a> {
    store: &'a Store,
    writer: Option<BlobWriter>,
}

impl Late<'_> {
    fn writer(&mut self) -> io::Result<&mut BlobWriter> {
        if self.writer.is_none() {
            self.writer = Some(self.store.blob_writer().map_err(io::Error::other)?);
        }
        self.writer.as_mut().ok_or_else(|| io::ErrorKind::Other.into())
    }
}

impl io::Write for Late<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
