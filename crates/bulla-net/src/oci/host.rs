//! One registry: which scheme it speaks, and how it wants to know who asks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bulla_model::oci::Reference;
use ureq::http::{Response, header};

use super::{Challenge, Login, RegistryConfig, RegistryError, Repository, challenges, reply, token::Tokens};
use crate::{
    client::{Attempts, Client},
    config::Reach,
    error::NetError,
    exchange::{Access, Question},
    guard,
    url::Url,
};

/// The registries that a program talks to. It is cheap to clone.
#[derive(Debug, Clone)]
pub struct Registries {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    config: RegistryConfig,
    hosts: Mutex<BTreeMap<(String, bool), Arc<Host>>>,
}

/// A registry that has answered.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) client: Client,
    /// `HOST[:PORT]` as references name it.
    pub(super) name: String,
    /// `SCHEME://HOST[:PORT]/`.
    pub(super) base: Url,
    pub(super) reach: Reach,
    /// What the registry said last of how it wants to know who asks.
    pub(super) challenge: Mutex<Option<Challenge>>,
    pub(super) tokens: Tokens,
    config: RegistryConfig,
    /// The logins, by the repository: each is looked for once.
    logins: Mutex<BTreeMap<String, Option<Login>>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registries {
    /// Makes one. Nothing is connected, and no login looked for, before it is needed.
    pub fn new(client: Client, config: RegistryConfig) -> Self {
        Self { shared: Arc::new(Shared { client, config, hosts: Mutex::default() }) }
    }

    /// Opens the repository of a reference to read it, at the registry's mirror if the configuration names one. `reach` says who
    /// chose it: what a spec or lock chose leads to no registry of this machine, unless the configuration names that.
    ///
    /// # Errors
    /// When the registry does not answer, or is none.
    pub fn repository(&self, reference: &Reference, reach: Reach) -> Result<Repository, RegistryError> {
        match self.shared.config.mirrored(reference) {
            Some(mirror) => self.open(&mirror, Reach::Configured),
            None => self.open(reference, reach),
        }
    }

    /// Gives where a reference is read: at the registry's mirror if the configuration names one, else where it says.
    pub fn read_at(&self, reference: &Reference) -> Reference {
        self.shared.config.mirrored(reference).unwrap_or_else(|| reference.clone())
    }

    /// Opens the repository of a reference to push to it: no mirror, and what the user chose.
    ///
    /// # Errors
    /// When the registry does not answer, or is none.
    pub fn repository_to_push(&self, reference: &Reference) -> Result<Repository, RegistryError> {
        Ok(self.open(reference, Reach::Configured)?.for_pushing())
    }

    fn open(&self, reference: &Reference, reach: Reach) -> Result<Repository, RegistryError> {
        let config = &self.shared.config;
        let reach = if config.is_named(reference.host()) { Reach::Configured } else { reach };
        let key = (reference.host().to_owned(), reach == Reach::Configured);
        let known = lock(&self.shared.hosts).get(&key).cloned();
        let host = match known {
            Some(host) => host,
            None => {
                let host = Arc::new(self.find(reference, reach)?);
                lock(&self.shared.hosts).entry(key).or_insert(host).clone()
            }
        };
        Ok(Repository::new(host, reference.repository()))
    }

    /// Asks a registry at the schemes that are allowed for it, until one answers.
    fn find(&self, reference: &Reference, reach: Reach) -> Result<Host, RegistryError> {
        let at = |scheme| Url::parse(&format!("{scheme}://{}/", reference.host())).map_err(NetError::from);
        let (secure, plain) = (at("https")?, at("http")?);
        let order = if guard::is_loopback_text(&plain) {
            // What stays on this machine is seldom encrypted, and is not for others to hear.
            vec![plain, secure]
        } else if self.shared.config.is_insecure(reference.host()) {
            vec![secure, plain]
        } else {
            vec![secure]
        };
        let mut first = None;
        for base in order {
            match self.ping(reference.host(), &base, reach) {
                Ok(challenge) => return Ok(self.host(reference, base, reach, challenge)),
                Err(error) if is_of_scheme(&error) => first = first.or(Some(error)),
                Err(RegistryError::Net(NetError::Local { .. })) => {
                    return Err(RegistryError::Local { host: reference.host().to_owned() });
                }
                Err(error) => return Err(error),
            }
        }
        Err(first.unwrap_or_else(|| NetError::NoMirror { what: reference.host().to_owned() }.into()))
    }

    fn host(&self, reference: &Reference, base: Url, reach: Reach, challenge: Option<Challenge>) -> Host {
        Host {
            client: self.shared.client.clone(),
            name: reference.host().to_owned(),
            base,
            reach,
            challenge: Mutex::new(challenge),
            tokens: Tokens::default(),
            config: self.shared.config.clone(),
            logins: Mutex::default(),
        }
    }

    /// Asks whether there is a registry ("Determining Support"), without any login; gives how it wants to know who asks.
    fn ping(&self, name: &str, base: &Url, reach: Reach) -> Result<Option<Challenge>, RegistryError> {
        let client = &self.shared.client;
        let url = base.beneath("v2").map_err(NetError::from)?;
        let url = Url::parse(&format!("{url}/")).map_err(NetError::from)?;
        let mut attempts = Attempts::new(client);
        loop {
            let question = Question { access: Access::Given(None), ..Question::new(&url, reach) };
            let permit = client.enter(&url)?;
            let answer = client.inner.agents.follow(&question, &client.inner.config);
            drop(permit);
            let error = match answer {
                Ok((at, response)) => match response.status().as_u16() {
                    200..=299 => return Ok(None),
                    401 => return challenge_of(name, &response).map(Some),
                    _ => reply::refused(name, "answer as a registry does", &at, response),
                },
                Err(error) => error.into(),
            };
            match error {
                // Where no one speaks this scheme, there may be another; asking again would not help.
                error if is_of_scheme(&error) => return Err(error),
                RegistryError::Net(error) => attempts.after(error)?,
                error => return Err(error),
            }
        }
    }
}

/// Says whether an error may come of the wrong scheme.
fn is_of_scheme(error: &RegistryError) -> bool {
    matches!(
        error,
        RegistryError::Net(NetError::Tls { .. } | NetError::Protocol { .. } | NetError::Connect { .. })
            | RegistryError::Refused { status: 400 | 426, .. }
    )
}

/// Reads the challenge of an answer: a token where it is offered, since a login then goes to fewer places.
pub(super) fn challenge_of(name: &str, response: &Response<ureq::Body>) -> Result<Challenge, RegistryError> {
    let headers = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
    let found: Vec<Challenge> = headers.filter_map(|value| value.to_str().ok()).flat_map(challenges).collect();
    let bearer = found.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
    bearer.or(found.first()).cloned().ok_or_else(|| RegistryError::Challenge {
        host: name.to_owned(),
        reason: "it names neither `Basic` nor `Bearer` with a realm".to_owned(),
    })
}

impl Host {
    /// Gives the login for a repository, which is looked for once.
    pub(super) fn login(&self, repository: &str) -> Result<Option<Login>, RegistryError> {
        let mut logins = lock(&self.logins);
        if let Some(login) = logins.get(repository) {
            return Ok(login.clone());
        }
        let found = self.config.logins.login(&self.name, repository);
        let found = found.map_err(|source| RegistryError::Login { host: self.name.clone(), source })?;
        logins.insert(repository.to_owned(), found.clone());
        Ok(found)
    }

    /// Says where a server of this registry's choice may lead.
    pub(super) fn reach_of(&self, url: &Url) -> Reach {
        if url.origin() == self.base.origin() {
            return self.reach;
        }
        crate::exchange::reach_of_hop(&self.base, self.reach)
    }
}
