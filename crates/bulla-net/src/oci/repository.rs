//! A repository of a registry, and how its requests are made.

use std::{io::Read, sync::Arc};

use ureq::{
    SendBody,
    http::{HeaderName, Method, Response},
};

use super::{
    RegistryError,
    host::{Host, challenge_of, lock},
    reply,
};
use crate::{
    client::Attempts,
    config::Secret,
    error::NetError,
    exchange::{Access, Delivery, Question, is_redirect},
    url::Url,
};

/// A repository of a registry. It is cheap to clone, and may be used by several threads at once.
#[derive(Debug, Clone)]
pub struct Repository {
    pub(super) host: Arc<Host>,
    pub(super) name: String,
    /// Whether it is to be pushed to: its tokens are then for that from the beginning.
    pushing: bool,
}

/// What an answer was, after the status was looked at.
pub(super) type Answered = (Url, Response<ureq::Body>);

/// An attempt at a request: done, or to be made again by one who proves better who they are.
pub(super) enum Tried<T> {
    Done(T),
    Unknown,
}

impl Repository {
    pub(super) fn new(host: Arc<Host>, name: &str) -> Self {
        Self { host, name: name.to_owned(), pushing: false }
    }

    /// Gives the same repository to push to: even its questions then carry what allows to push, since a registry may not let
    /// others see a repository that does not exist yet.
    #[must_use]
    pub fn for_pushing(self) -> Self {
        Self { pushing: true, ..self }
    }

    /// Gives the registry's host and port as references name them.
    pub fn host(&self) -> &str {
        &self.host.name
    }

    /// Gives the repository's name in the registry.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says whether another repository is of the same registry, so that blobs can be mounted from it.
    pub fn is_beside(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.host, &other.host)
    }

    pub(super) fn url(&self, path: &str) -> Result<Url, RegistryError> {
        Ok(self.host.base.beneath(&format!("v2/{}/{path}", self.name)).map_err(NetError::from)?)
    }

    pub(super) fn pull_scope(&self) -> String {
        format!("repository:{}:pull", self.name)
    }

    pub(super) fn scope(&self) -> String {
        if self.pushing { self.push_scope() } else { self.pull_scope() }
    }

    pub(super) fn push_scope(&self) -> String {
        format!("repository:{}:pull,push", self.name)
    }

    /// Makes a request until it is answered: again after passing failures, and once more with a new token.
    pub(super) fn attempt<T>(
        &self,
        scope: &str,
        what: &str,
        mut work: impl FnMut(Option<&Secret>) -> Result<Tried<T>, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut attempts = Attempts::new(&self.host.client);
        let mut renewed = false;
        loop {
            let value = self.host.authorization(&self.name, scope)?;
            match work(value.as_ref()) {
                Ok(Tried::Done(done)) => return Ok(done),
                Ok(Tried::Unknown) if !renewed => {
                    renewed = true;
                    self.host.forget(scope);
                }
                Ok(Tried::Unknown) => return Err(self.denied(what, String::new())),
                Err(RegistryError::Net(error)) => attempts.after(error)?,
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn denied(&self, what: &str, message: String) -> RegistryError {
        let with_login = self.host.login(&self.name).is_ok_and(|login| login.is_some());
        RegistryError::Denied { host: self.host.name.clone(), what: what.to_owned(), with_login, message }
    }

    pub(super) fn nonsense(&self, what: &str, reason: impl Into<String>) -> RegistryError {
        RegistryError::Nonsense { host: self.host.name.clone(), what: what.to_owned(), reason: reason.into() }
    }

    /// Looks at the status of an answer: a challenge is learnt, a refusal becomes an error, `good` ones are given back.
    pub(super) fn judge(
        &self,
        what: &str,
        good: &[u16],
        (url, response): Answered,
    ) -> Result<Tried<Answered>, RegistryError> {
        match response.status().as_u16() {
            status if good.contains(&status) => Ok(Tried::Done((url, response))),
            // Only the registry itself may say how it wants to know who asks, and not where it redirects to.
            401 if url.origin() == self.host.base.origin() => {
                *lock(&self.host.challenge) = Some(challenge_of(&self.host.name, &response)?);
                Ok(Tried::Unknown)
            }
            401 | 403 => Err(self.denied(what, reply::message(response))),
            _ => Err(reply::refused(&self.host.name, what, &url, response)),
        }
    }

    /// Asks for something, and hands an answer with a good status on while the connection counts as in use.
    pub(super) fn ask<T>(
        &self,
        what: &str,
        url: &Url,
        (head_only, accept): (bool, Option<&str>),
        good: &[u16],
        mut read: impl FnMut(Answered) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let client = &self.host.client;
        self.attempt(&self.scope(), what, |value| {
            let _permit = client.enter(url)?;
            let access = Access::Given(value);
            let question = Question { head_only, accept, access, ..Question::new(url, self.host.reach) };
            let answered = client.inner.agents.follow(&question, &client.inner.config)?;
            Ok(match self.judge(what, good, answered)? {
                Tried::Done(answered) => Tried::Done(read(answered)?),
                Tried::Unknown => Tried::Unknown,
            })
        })
    }

    /// Sends something once. What a registry chose as the place is asked without a login unless it is the registry's own.
    pub(super) fn deliver(
        &self,
        method: Method,
        url: &Url,
        value: Option<&Secret>,
        headers: &[(HeaderName, String)],
        (length, body): (u64, &mut dyn Read),
    ) -> Result<Answered, RegistryError> {
        let client = &self.host.client;
        let at_home = url.origin() == self.host.base.origin();
        let access = Access::Given(value.filter(|_| at_home));
        let delivery = Delivery { method, url, reach: self.host.reach_of(url), access, headers, length };
        let _permit = client.enter(url)?;
        let body = SendBody::from_reader(body);
        let response = client.inner.agents.deliver(&delivery, body, &client.inner.config)?;
        if is_redirect(response.status()) {
            let reason = "what is sent is not sent elsewhere";
            let target = crate::exchange::header_text(&response, ureq::http::header::LOCATION);
            let target = reply::harmless(target.and_then(|text| text.split('?').next()).unwrap_or("nowhere"));
            return Err(NetError::Redirect { url: url.shown(), target, reason }.into());
        }
        Ok((url.clone(), response))
    }
}

/// Reads a body that is small.
pub(super) fn small(
    what: &str,
    url: &Url,
    response: Response<ureq::Body>,
    limit: u64,
) -> Result<Vec<u8>, RegistryError> {
    let too_large = || RegistryError::TooLarge { what: what.to_owned(), limit };
    let body = response.into_body();
    let length = body.content_length();
    if length.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let cut = |received, source| NetError::CutOff { url: url.shown(), received, source };
    let mut reader = body.into_reader().take(limit + 1);
    reader.read_to_end(&mut bytes).map_err(|source| cut(0, Some(source)))?;
    if bytes.len() as u64 > limit {
        return Err(too_large());
    }
    if length.is_some_and(|length| length > bytes.len() as u64) {
        return Err(cut(bytes.len() as u64, None).into());
    }
    Ok(bytes)
}
