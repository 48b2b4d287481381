//! One repository on its server, by HTTP or by SSH.

use std::io::Write;

use bulla_ecosystems::git::{
    GitError, MAX_PACK,
    talk::{self, Advert, MAX_ADVERT, PackReply, References},
};
use bulla_model::{GitId, GitRevision, git::SshAddress};
use bulla_net::{Ask, NetError, Reach, Ssh, Url};

use super::{Git, Taken};
use crate::error::{CommandError, Result};

/// A repository, and what its server says first.
pub(super) struct Remote<'a> {
    git: &'a Git<'a>,
    way: Way,
    advert: Advert,
}

/// How it is reached.
enum Way {
    Http(Http),
    Ssh(Ssh),
}

/// Where it is asked over HTTP: where a redirect led, and whether that is still the server whose login may be sent.
struct Http {
    base: String,
    reach: Reach,
    logins: bool,
}

/// How much more than a pack its answer may have: five bytes for each packet, and what a server tells people.
const AROUND_PACK: u64 = 64 << 20;

impl<'a> Remote<'a> {
    /// Asks what the server has.
    pub(super) fn open(git: &'a Git<'a>, taken: &Taken<'_>, url: &str) -> Result<Self> {
        let (way, advert) = match SshAddress::parse(url) {
            Some(address) => {
                let mut ssh = Ssh::open(&git.ssh, &address, talk::VERSION)?;
                let mut advert = Advert::default();
                hear(&mut ssh, taken, &mut |bytes| {
                    advert.take(bytes)?;
                    Ok(advert.is_done())
                })?;
                (Way::Ssh(ssh), advert)
            }
            None => {
                let (http, advert) = Http::open(git, taken, url)?;
                (Way::Http(http), advert)
            }
        };
        advert.check().map_err(|error| taken.failed(error))?;
        Ok(Self { git, way, advert })
    }

    /// Gives the object that a reference leads to.
    pub(super) fn reference(&mut self, taken: &Taken<'_>, name: &str) -> Result<Option<GitId>> {
        if !self.advert.is_newest() {
            return Ok(self.advert.reference(name).map(|found| found.object));
        }
        let question = talk::ask_references(&self.advert, name);
        let references = match &mut self.way {
            Way::Http(http) => http.ask(self.git, taken, &question, MAX_ADVERT, References::default, &|_| ())?,
            Way::Ssh(ssh) => {
                ssh.say(&question)?;
                let mut references = References::default();
                hear(ssh, taken, &mut |bytes| {
                    references.take(bytes)?;
                    Ok(references.is_done())
                })?;
                references
            }
        };
        let found = references.reference(name).map_err(|error| taken.failed(error))?;
        Ok(found.map(|found| found.object))
    }

    /// Says what to ask for to get a commit: an old server gives only what its references lead to.
    pub(super) fn wanted(&self, commit: &GitId, asked: &GitRevision) -> GitId {
        let reference = asked.reference().and_then(|name| self.advert.reference(&name)).map(|found| found.object);
        match self.advert.leads_to(commit) {
            true => *commit,
            false => reference.unwrap_or(*commit),
        }
    }

    /// Asks for an object and all that it stands for.
    pub(super) fn pack(&mut self, taken: &Taken<'_>, id: &GitId, progress: &dyn Fn(u64)) -> Result<Vec<u8>> {
        let question = talk::ask_pack(&self.advert, id);
        let reply = || PackReply::new(&self.advert);
        let reply = match &mut self.way {
            Way::Http(http) => http.ask(self.git, taken, &question, MAX_PACK + AROUND_PACK, reply, progress)?,
            Way::Ssh(ssh) => {
                ssh.say(&question)?;
                let (mut reply, mut have) = (reply(), 0);
                hear(ssh, taken, &mut |bytes| {
                    have += bytes.len() as u64;
                    progress(have);
                    reply.take(bytes)?;
                    Ok(reply.is_done())
                })?;
                reply
            }
        };
        if let Way::Ssh(ssh) = &mut self.way
            && self.advert.is_newest()
        {
            // What was wanted has come; that the other side is not told so is no failure.
            let _ = ssh.say(talk::BYE);
        }
        Ok(reply.finish().map_err(|error| taken.failed(error))?)
    }
}

/// Hears until a reader has all.
fn hear(ssh: &mut Ssh, taken: &Taken<'_>, take: &mut dyn FnMut(&[u8]) -> Result<bool, GitError>) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = ssh.hear(&mut buffer)?;
        if take(buffer.get(..count).unwrap_or_default()).map_err(|error| taken.failed(error))? {
            return Ok(());
        }
    }
}

impl Http {
    fn open(git: &Git<'_>, taken: &Taken<'_>, url: &str) -> Result<(Self, Advert)> {
        let base = url.trim_end_matches('/');
        let asked = Url::parse(&format!("{base}{}", talk::ADVERT_PATH)).map_err(NetError::from)?;
        let ask = Ask {
            url: &asked,
            reach: Reach::Public,
            body: None,
            headers: &[("git-protocol", talk::VERSION)],
            logins: true,
            authorization: None,
            max_size: MAX_ADVERT,
        };
        let (advert, heard) = git.client.ask(&ask, Advert::default, &|_| ()).map_err(|error| explain(taken, error))?;
        let not_git = |problem| taken.failed(GitError::Protocol { problem });
        if heard.media_type.as_deref() != Some(talk::ADVERT_TYPE) {
            return Err(not_git("it is a server of something else").into());
        }
        let place = heard.url.to_string();
        let base =
            place.strip_suffix(talk::ADVERT_PATH).ok_or_else(|| not_git("it leads to another place"))?.to_owned();
        let reach = git.client.reach_after(&asked, &heard.url, Reach::Public);
        let logins = asked.origin() == heard.url.origin();
        Ok((Self { base, reach, logins }, advert))
    }

    fn ask<R: Write>(
        &self,
        git: &Git<'_>,
        taken: &Taken<'_>,
        question: &[u8],
        max_size: u64,
        open: impl Fn() -> R,
        progress: &dyn Fn(u64),
    ) -> Result<R> {
        let url = Url::parse(&format!("{}{}", self.base, talk::ASK_PATH)).map_err(NetError::from)?;
        let headers = [("git-protocol", talk::VERSION), ("content-type", talk::ASK_TYPE), ("accept", talk::REPLY_TYPE)];
        let ask = Ask {
            url: &url,
            reach: self.reach,
            body: Some(question),
            headers: &headers,
            logins: self.logins,
            authorization: None,
            max_size,
        };
        let (reader, heard) = git.client.ask(&ask, open, progress).map_err(|error| explain(taken, error))?;
        match heard.media_type.as_deref() == Some(talk::REPLY_TYPE) {
            true => Ok(reader),
            false => Err(taken.failed(GitError::Protocol { problem: "it answers with something else" }).into()),
        }
    }
}

/// Finds the error of a reader in that of the client.
fn explain(taken: &Taken<'_>, error: NetError) -> CommandError {
    if let NetError::Sink { source, .. } = &error
        && let Some(inner) = source.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
        && let Some(found) = inner.downcast_ref::<GitError>()
    {
        return taken.failed(found.clone()).into();
    }
    error.into()
}
