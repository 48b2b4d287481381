//! Sources that are URLs: downloads each that is to be pinned, and verifies what vouches for it.

use std::{
    collections::BTreeMap,
    io::Read,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use bulla_build::event::{Activity, ActivityId, Ending, Event};
use bulla_ecosystems::signature::{self, MAX_SIGNATURE, VerifyError};
use bulla_model::{
    CleanPath, Digest, Fault, Kind,
    lock::{Evidence, Lock, SourcePin, UrlPin},
    spec::{Name, Source, Trust, UrlSource},
};
use bulla_net::{Client, Download, Get, NetError, Reach, Url};
use bulla_store::Store;

use super::{Update, Wish, resolve::now};
use crate::{
    error::{CliError, Result},
    ops::{self, fetch::Sink, project::Project},
    registry::Apt,
    session::Session,
};

/// The most bytes of a source.
const MAX_SOURCE: u64 = 16 << 30;
/// How many sources are downloaded at once.
const AT_ONCE: usize = 8;

/// Says why a source cannot be pinned.
#[derive(Debug, thiserror::Error)]
enum UrlSourceError {
    #[error("the source `{name}` from {url} cannot be trusted")]
    Signature { name: Name, url: String, source: VerifyError },
    #[error(
        "the source `{name}` is signed, but not with its `sha256`: the spec has {expected}, and {url} gave {found}"
    )]
    Digest { name: Name, url: String, expected: Digest, found: Digest },
}

impl Fault for UrlSourceError {
    fn kind(&self) -> Kind {
        match self {
            Self::Signature { source, .. } => source.kind(),
            Self::Digest { .. } => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Signature { source, .. } => source.hints(),
            Self::Digest { .. } => vec!["correct `sha256`, or the URL".into()],
        }
    }
}

/// Says whether a source may be another one than the lock has.
pub(super) fn may_move(name: &Name, update: &Update) -> bool {
    match update {
        Update::Nothing => false,
        Update::Packages(names) => names.iter().any(|named| named == name.as_str()),
        Update::Everything => true,
    }
}

/// Gives the pins of all sources of the spec that are URLs: those of the old lock where they are of this spec and need not
/// move, else new ones.
///
/// # Errors
/// When one cannot be downloaded, or is not what its digest or signature says.
pub(super) fn pins(
    session: &Session,
    project: &Project,
    old: Option<&Lock>,
    wish: &Wish,
) -> Result<BTreeMap<Name, SourcePin>> {
    let mut pins = BTreeMap::new();
    let mut open = Vec::new();
    for (name, source) in &project.spec.sources {
        let Source::Url(source) = source else { continue };
        let known = old.and_then(|lock| match lock.sources.get(name) {
            Some(SourcePin::Url(pin)) if pin.is_of(source) => Some(pin),
            _ => None,
        });
        match known {
            // What the spec has the digest of cannot move.
            Some(pin) if source.sha256.is_some() || !may_move(name, &wish.update) => {
                pins.insert(name.clone(), SourcePin::Url(pin.clone()));
            }
            _ => open.push((name, source)),
        }
    }
    if open.is_empty() {
        return Ok(pins);
    }
    let store = ops::store::open(session)?;
    let client = ops::network::client(session, &Apt::read(session)?)?;
    let fetcher = Fetcher { session, project, store, client };
    let (queue, done) = (Mutex::new(open.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(open.len()) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((name, source)) = next else { return };
                    let pin = fetcher.told(name, source);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(((*name).clone(), pin));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (name, pin) in done {
        pins.insert(name, SourcePin::Url(pin?));
    }
    Ok(pins)
}

/// What pins sources.
struct Fetcher<'a> {
    session: &'a Session,
    project: &'a Project,
    store: Store,
    client: Client,
}

impl Fetcher<'_> {
    fn told(&self, name: &Name, source: &UrlSource) -> Result<UrlPin> {
        self.session.interrupt.check()?;
        let observer = self.session.observer();
        let (id, start) = (ActivityId::fresh(), Instant::now());
        observer.event(&Event::Started { id, activity: Activity::Fetch, title: &format!("fetch: source {name}") });
        let progress = |done| observer.event(&Event::Progress { id, done, total: None, unit: "bytes" });
        let pin = self.pin(name, source, &progress);
        let ending = if pin.is_ok() { Ending::Done } else { Ending::Failed };
        observer.event(&Event::Finished { id, ending, took: start.elapsed() });
        pin
    }

    fn pin(&self, name: &Name, source: &UrlSource, progress: &dyn Fn(u64)) -> Result<UrlPin> {
        let url = Url::parse(&source.url).map_err(NetError::from)?;
        let (digest, size) = match source.sha256 {
            // With a signature too, the digest of the spec alone says which bytes are wanted.
            Some(digest) => (digest, self.fetch_known(&url, digest, progress)?),
            None => self.fetch_new(&url, progress)?,
        };
        let evidence = match &source.trust {
            Trust::Digest => Evidence::Digest,
            Trust::FirstUse { .. } => Evidence::FirstUse,
            Trust::Signature { url: signature, key } => {
                let signature = Url::parse(signature).map_err(NetError::from)?;
                self.verify(name, &url, digest, &signature, key)?
            }
        };
        if let Some(expected) = source.sha256.filter(|expected| *expected != digest) {
            return Err(UrlSourceError::Digest { name: name.clone(), url: url.shown(), expected, found: digest }.into());
        }
        Ok(UrlPin { url: source.url.clone(), size, digest, evidence })
    }

    /// Brings what the spec has the digest of into the store, and gives its size.
    fn fetch_known(&self, url: &Url, digest: Digest, progress: &dyn Fn(u64)) -> Result<u64> {
        if !self.store.has_blob(&digest)? {
            let download = Download { urls: vec![url.clone()], reach: Reach::Public, size: None, digest };
            let mut sink =
                Sink::open(&self.store, &digest).map_err(|source| NetError::Sink { url: url.shown(), source })?;
            self.client.download(&download, &mut sink, progress)?;
        }
        let file = self.store.open_blob(&digest)?.ok_or_else(|| gone(digest))?;
        Ok(file.metadata().map_err(CliError::file)?.len())
    }

    /// Brings something new into the store, and gives its digest and size.
    fn fetch_new(&self, url: &Url, progress: &dyn Fn(u64)) -> Result<(Digest, u64)> {
        let get = Get { urls: vec![url.clone()], reach: Reach::Public, max_size: MAX_SOURCE, accept: None };
        let open = || self.store.blob_writer().map_err(std::io::Error::other);
        let (writer, size) = self.client.get_into(&get, open, progress)?;
        Ok((writer.finish(None)?, size))
    }

    fn verify(&self, name: &Name, url: &Url, digest: Digest, signature: &Url, key: &CleanPath) -> Result<Evidence> {
        let keys = ops::git::read_keys(self.project, name, key)?;
        let get = Get { urls: vec![signature.clone()], reach: Reach::Public, max_size: MAX_SIGNATURE, accept: None };
        let bytes = self.client.get_bytes(&get)?.bytes;
        let mut open = || -> std::io::Result<Box<dyn Read>> {
            let file = self.store.open_blob(&digest).map_err(std::io::Error::other)?;
            Ok(Box::new(file.ok_or(std::io::ErrorKind::NotFound)?))
        };
        let signed_by = signature::verify(&keys, &bytes, &mut open, now())
            .map_err(|source| UrlSourceError::Signature { name: name.clone(), url: url.shown(), source })?;
        Ok(Evidence::Signature { url: signature.to_string(), digest: Digest::of(&bytes), key: key.clone(), signed_by })
    }
}

fn gone(digest: Digest) -> CliError {
    CliError::Option(format!("{digest} is gone from the store while it was used"))
}
