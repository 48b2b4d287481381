//! Tokens: what a registry's token service gives for a login, for one repository and some minutes ("Token Authentication
//! Specification" of the distribution project, and its OAuth 2 form for refresh tokens).

use std::{
    collections::BTreeMap,
    io::Read,
    sync::{Mutex, MutexGuard},
};

use serde::Deserialize;
use ureq::{
    SendBody,
    http::{Method, Response, header},
};

use super::{
    Challenge, Login, RegistryError,
    host::{Host, lock},
    reply,
};
use crate::{
    client::Attempts,
    config::Secret,
    error::NetError,
    exchange::{self, Access, Delivery, Question},
    url::{Url, percent_encode},
};

/// The most bytes of a token service's answer.
const MAX_ANSWER: u64 = 256 * 1024;
/// The most bytes of a token: it goes into one header.
const MAX_TOKEN: usize = 16 * 1024;
/// What this client calls itself to a token service.
const CLIENT: &str = "bulla";

/// The tokens there are, by what they are for.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<BTreeMap<String, Secret>>);

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

impl Host {
    /// Gives what a request to a repository for these scopes says of who asks: `repository:team/shop:pull,push`, some with a space
    /// between.
    pub(super) fn authorization(&self, repository: &str, scopes: &str) -> Result<Option<Secret>, RegistryError> {
        // One at a time: many threads want the same token at once.
        let mut tokens: MutexGuard<'_, _> = lock(&self.tokens.0);
        let challenge = lock(&self.challenge).clone();
        match challenge {
            None => Ok(None),
            Some(Challenge::Basic) => match self.login(repository)? {
                Some(Login::Password { name, password }) => {
                    Ok(Some(Secret::new(exchange::basic(&name, password.reveal()))))
                }
                Some(Login::Identity(_)) => Err(RegistryError::Challenge {
                    host: self.name.clone(),
                    reason: "it wants a password, and the login that is kept for it is a token".to_owned(),
                }),
                None => Ok(None),
            },
            Some(Challenge::Bearer { realm, service }) => {
                if let Some(token) = tokens.get(scopes) {
                    return Ok(Some(token.clone()));
                }
                let realm = self.realm(&realm)?;
                let login = self.login(repository)?;
                let token = self.token(&realm, service.as_deref(), scopes, login.as_ref())?;
                let token = Secret::new(format!("Bearer {token}"));
                tokens.insert(scopes.to_owned(), token.clone());
                Ok(Some(token))
            }
        }
    }

    /// Forgets a token that was not taken.
    pub(super) fn forget(&self, scopes: &str) {
        lock(&self.tokens.0).remove(scopes);
    }

    /// Checks where the token service is. A login goes there: to another origin than the registry's only encrypted.
    fn realm(&self, text: &str) -> Result<Url, RegistryError> {
        let fail = |reason| RegistryError::Challenge { host: self.name.clone(), reason };
        let realm = Url::parse(text).map_err(|error| fail(format!("its token service {error}")))?;
        if realm.origin() != self.base.origin() && !realm.is_secure() {
            let shown = realm.shown();
            return Err(fail(format!(
                "its token service {shown} is elsewhere and not encrypted, and a login would go there"
            )));
        }
        Ok(realm)
    }

    fn token(
        &self,
        realm: &Url,
        service: Option<&str>,
        scopes: &str,
        login: Option<&Login>,
    ) -> Result<String, RegistryError> {
        let mut attempts = Attempts::new(&self.client);
        loop {
            let answer = match login {
                Some(Login::Identity(refresh)) => self.exchange(realm, service, scopes, refresh),
                Some(Login::Password { name, password }) => {
                    let value = Secret::new(exchange::basic(name, password.reveal()));
                    self.ask_token(realm, service, scopes, Some(&value))
                }
                None => self.ask_token(realm, service, scopes, None),
            };
            match answer {
                Err(RegistryError::Net(error)) => attempts.after(error)?,
                other => return other,
            }
        }
    }

    fn ask_token(
        &self,
        realm: &Url,
        service: Option<&str>,
        scopes: &str,
        login: Option<&Secret>,
    ) -> Result<String, RegistryError> {
        let mut url = realm.clone();
        if let Some(service) = service {
            url = url.with_parameter("service", service);
        }
        for scope in scopes.split(' ').filter(|scope| !scope.is_empty()) {
            url = url.with_parameter("scope", scope);
        }
        let _permit = self.client.enter(&url)?;
        let question = Question { access: Access::Given(login), ..Question::new(&url, self.reach_of(&url)) };
        let (at, response) = self.client.inner.agents.follow(&question, &self.client.inner.config)?;
        self.read_token(&at, response, login.is_some())
    }

    /// Gives a refresh token for an access token (RFC 6749, section 6).
    fn exchange(
        &self,
        realm: &Url,
        service: Option<&str>,
        scopes: &str,
        refresh: &Secret,
    ) -> Result<String, RegistryError> {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.reveal()),
            ("service", service.unwrap_or_default()),
            ("scope", scopes),
            ("client_id", CLIENT),
        ];
        let body = form.map(|(name, value)| format!("{name}={}", percent_encode(value))).join("&");
        let delivery = Delivery {
            method: Method::POST,
            url: realm,
            reach: self.reach_of(realm),
            access: Access::Given(None),
            headers: &[(header::CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned())],
            length: body.len() as u64,
        };
        let _permit = self.client.enter(realm)?;
        let mut bytes = body.as_bytes();
        let body = SendBody::from_reader(&mut bytes);
        let response = self.client.inner.agents.deliver(&delivery, body, &self.client.inner.config)?;
        self.read_token(realm, response, true)
    }

    fn read_token(&self, at: &Url, response: Response<ureq::Body>, with_login: bool) -> Result<String, RegistryError> {
        match response.status().as_u16() {
            200 => {}
            401 | 403 => {
                return Err(RegistryError::Denied {
                    host: self.name.clone(),
                    what: "get a token".to_owned(),
                    with_login,
                    message: reply::message(response),
                });
            }
            _ => return Err(reply::refused(&self.name, "give a token", at, response)),
        }
        let nonsense = |reason: &str| RegistryError::Nonsense {
            host: self.name.clone(),
            what: "give a token".to_owned(),
            reason: reason.to_owned(),
        };
        let mut bytes = Vec::new();
        let cut = |source| NetError::CutOff { url: at.shown(), received: 0, source: Some(source) };
        response.into_body().into_reader().take(MAX_ANSWER).read_to_end(&mut bytes).map_err(cut)?;
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| nonsense("it is not the JSON of a token"))?;
        let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
        // It becomes a header: only what RFC 6750, section 2.1, allows there.
        let good = !token.is_empty() && token.len() <= MAX_TOKEN && token.bytes().all(|c| c.is_ascii_graphic());
        if good { Ok(token) } else { Err(nonsense("the token is empty, too long, or has characters that none has")) }
    }
}
