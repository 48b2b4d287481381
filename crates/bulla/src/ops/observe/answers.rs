//! The answers of registries to what steps of one stage ask: each path is asked for once, verified, kept in the store and pinned, and whoever
//! asks again is given the same.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

use bulla_ecosystems::dependencies::{
    maven,
    observe::{Asked, Check, Wanted},
};
use bulla_model::{
    Digest, Fault, Kind,
    lock::{AnswerPin, Answers, Verified},
    login::without_logins,
};
use bulla_net::NetError;
use bulla_store::Store;

use super::{
    archives::{self, Archives},
    budget::{Budget, Used},
    index::{self, Shelves},
};
use crate::{
    error::{CliError, CommandError, Result},
    ops::dependencies::{Known, MAX_ARTIFACT},
    registry::Found,
};

/// The answers to one stage, shared by its steps.
#[derive(Debug, Clone, Default)]
pub(super) struct Book {
    pages: Arc<Mutex<BTreeMap<String, Arc<Mutex<Page>>>>>,
    /// What the archives that are asked have signed, where they are Debian's.
    pub(super) archives: Option<Arc<Archives>>,
    /// What the index of Python's packages lists of those that were asked for.
    shelves: Arc<Shelves>,
}

/// What is known of one path; whoever wants it meanwhile waits.
#[derive(Debug, Default)]
enum Page {
    #[default]
    Open,
    Answered(AnswerPin),
}

/// What is answered to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// A blob of the store.
    Blob { digest: Digest, size: u64 },
    /// A text, and its media type.
    Text(String, &'static str),
    /// There is no such thing.
    Absent,
    /// It is not asked for: nothing signed names it.
    Refused(&'static str),
}

/// By whom and within what it is asked.
pub(super) struct Desk {
    pub(super) store: Store,
    pub(super) budget: Budget,
    pub(super) used: Used,
}

/// An answer is not what its registry says that it is.
#[derive(Debug, thiserror::Error)]
#[error(
    "{url} gives other bytes than its checksum says: they have the SHA-1 {found}, and beside them stands {expected}"
)]
struct OtherBytes {
    url: String,
    found: String,
    expected: String,
}

impl Fault for OtherBytes {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }

    fn hints(&self) -> Vec<String> {
        vec![
            "nothing is pinned: say so to whoever runs the registry; a damaged download is gone when you observe again"
                .into(),
        ]
    }
}

impl Book {
    /// Gives what was answered.
    pub(super) fn answers(&self) -> Answers {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let answered =
            |(path, page): (&String, &Arc<Mutex<Page>>)| match &*page.lock().unwrap_or_else(PoisonError::into_inner) {
                Page::Answered(answer) => Some((path.clone(), answer.clone())),
                Page::Open => None,
            };
        pages.iter().filter_map(answered).collect()
    }

    /// Answers a request, by the registry where it is the first for its path.
    ///
    /// # Errors
    /// When the registry cannot be asked, its answer is wrong, or the budget is used up.
    pub(super) fn reply(&self, known: &Known, desk: &Desk, asked: &Asked) -> Result<Reply> {
        if let (Wanted::File(Check::Signed), Some(archives)) = (&asked.wanted, &self.archives)
            && let Err(why) = archives.expects(asked)
        {
            return Ok(Reply::Refused(why));
        }
        if let Wanted::File(Check::Listed) = asked.wanted
            && !self.shelves.has(asked)
        {
            return Ok(Reply::Refused("no page that was asked for lists this file"));
        }
        match &asked.wanted {
            Wanted::Nothing => Ok(Reply::Absent),
            Wanted::Page => Ok(match self.shelves.page(known, desk, &asked.package)? {
                Some(page) => Reply::Text(page, "text/html; charset=utf-8"),
                None => Reply::Absent,
            }),
            Wanted::Sha1(file) => {
                let of = Asked { path: file.clone(), wanted: Wanted::File(Check::Sha1Beside), ..asked.clone() };
                match self.file(known, desk, &of, Check::Sha1Beside)? {
                    AnswerPin::Absent => Ok(Reply::Absent),
                    AnswerPin::Given { digest, .. } => {
                        let mut blob = desk.store.open_blob(&digest)?.ok_or_else(|| gone(file))?;
                        Ok(Reply::Text(maven::sha1_of(&mut blob).map_err(CliError::file)?, "text/plain"))
                    }
                }
            }
            Wanted::File(check) => Ok(match self.file(known, desk, asked, *check)? {
                AnswerPin::Absent => Reply::Absent,
                AnswerPin::Given { digest, size, .. } => Reply::Blob { digest, size },
            }),
        }
    }

    fn file(&self, known: &Known, desk: &Desk, asked: &Asked, check: Check) -> Result<AnswerPin> {
        let page = {
            let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(pages.entry(asked.path.clone()).or_default())
        };
        let mut page = page.lock().unwrap_or_else(PoisonError::into_inner);
        if let Page::Answered(answer) = &*page {
            return Ok(answer.clone());
        }
        let first = match (check, &self.archives) {
            (Check::Sha1Beside, _) => first(known, desk, asked)?,
            (Check::Signed, Some(archives)) => archives::first(known, desk, archives, asked)?,
            (Check::Signed, None) => None,
            (Check::Listed, _) => index::first(known, desk, &self.shelves, asked)?,
        };
        let answer = match first {
            Some(given) => given,
            None => {
                desk.used.absent(&desk.budget)?;
                AnswerPin::Absent
            }
        };
        *page = Page::Answered(answer.clone());
        Ok(answer)
    }
}

/// Asks the registries in their order; `None` where none has it.
fn first(known: &Known, desk: &Desk, asked: &Asked) -> Result<Option<AnswerPin>> {
    let places = known.registries.find(&asked.package, &asked.path)?;
    let beside = known.registries.find(&asked.package, &format!("{}.sha1", asked.path))?;
    for (found, checksum) in places.iter().zip(&beside) {
        let told = |error: CommandError| {
            let hints = known.registries.hint(&asked.package);
            CommandError { hints: error.hints.into_iter().chain(hints).collect(), ..error }
        };
        let Some((writer, size)) = file(known, desk, found, MAX_ARTIFACT).map_err(told)? else { continue };
        let expected =
            small(known, desk, checksum, (maven::MAX_CHECKSUM, None))?.and_then(|bytes| maven::sha1_in(&bytes));
        let verified = match expected {
            None => Verified::Nothing,
            Some(expected) => {
                let found_sum = maven::sha1_of(&mut writer.reader()?).map_err(CliError::file)?;
                if found_sum != expected {
                    let url = without_logins(&found.url.shown()).to_string();
                    return Err(OtherBytes { url, found: found_sum, expected }.into());
                }
                Verified::Checksum
            }
        };
        let digest = writer.finish(None)?;
        return Ok(Some(AnswerPin::Given { size, digest, purl: asked.purl.clone(), verified }));
    }
    Ok(None)
}

/// Counts what comes while it comes, whoever else fetches something, and takes no more than may come.
struct Counted<'d, W> {
    inner: W,
    desk: &'d Desk,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.desk.used.bytes(bytes.len() as u64, &self.desk.budget).map_err(std::io::Error::other)?;
        self.inner.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// Fetches something of at most so many bytes, and counts them; `None` where it is not there.
fn counted<W: Write>(
    known: &Known,
    desk: &Desk,
    found: &Found,
    (most, accept): (u64, Option<&'static str>),
    mut open: impl FnMut() -> std::io::Result<W>,
) -> Result<Option<(W, u64)>> {
    let get = found.get(most, accept);
    let open = || Ok::<_, std::io::Error>(Counted { inner: open()?, desk });
    match known.client.get_into_with(&get, found.login.as_ref(), open, &|_| {}) {
        Ok((counted, size)) => Ok(Some((counted.inner, size))),
        Err(NetError::Status { status: 404 | 410, .. }) => Ok(None),
        Err(error) => Err(desk.used.over(&desk.budget).map_or_else(|| error.into(), CommandError::from)),
    }
}

/// Fetches a file of at most so many bytes; `None` where it is not there.
pub(super) fn file(
    known: &Known,
    desk: &Desk,
    found: &Found,
    most: u64,
) -> Result<Option<(bulla_store::BlobWriter, u64)>> {
    let open = || desk.store.blob_writer().map_err(std::io::Error::other);
    let Some((mut writer, size)) = counted(known, desk, found, (most, None), open)? else { return Ok(None) };
    writer.flush().map_err(CliError::file)?;
    Ok(Some((writer, size)))
}

/// Fetches a document of at most so many bytes; `None` where it is not there.
pub(super) fn small(
    known: &Known,
    desk: &Desk,
    found: &Found,
    wanted: (u64, Option<&'static str>),
) -> Result<Option<Vec<u8>>> {
    Ok(counted(known, desk, found, wanted, || Ok(Vec::new()))?.map(|(bytes, _)| bytes))
}

pub(super) fn gone(path: &str) -> CommandError {
    CliError::Option(format!("{path} is gone from the store while it is observed")).into()
}
