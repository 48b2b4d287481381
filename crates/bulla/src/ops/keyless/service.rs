//! The services of an instance: asked with bounds, at the addresses of the configuration and no others.

use bulla_evidence::keyless::request::{
    MAX_ANSWER, MAX_TOKEN, TIMESTAMP_QUERY, Token, certificate, certificate_request, log_entry, log_request,
    timestamp_request,
};
use bulla_evidence::{bundle::Draft, key::PublicKey};
use bulla_model::SecretBytes;
use bulla_net::{Ask, Client, Reach, Secret, Url};
use serde_json::Value;

use super::SealError;
use crate::{error::Result, ops, registry::Apt, session::Session};

const JSON: &str = "application/json";
/// Where Fulcio makes certificates.
const CERTIFICATES: &str = "api/v2/signingCert";
/// Where Rekor 2 takes entries.
const ENTRIES: &str = "api/v2/log/entries";

/// What asks.
pub(super) struct Services {
    client: Client,
}

impl Services {
    /// Makes the client. Nothing is connected.
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub(super) fn new(session: &Session) -> Result<Self> {
        Ok(Self { client: ops::network::client(session, &Apt::read(session)?)? })
    }

    /// Gets a certificate for a key.
    pub(super) fn certificate(
        &self,
        fulcio: &Url,
        token: &Token,
        key: &PublicKey,
        proof: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let url = beneath(fulcio, CERTIFICATES)?;
        // A token is worth a signature to whoever hears it.
        encrypted(&url)?;
        let request = certificate_request(token, key, proof);
        let answer = self.post("the certificate authority", &url, request.expose(), [JSON, JSON])?;
        certificate(&answer).map_err(|source| SealError::Answer {
            what: "the certificate authority",
            url: url.shown(),
            source,
        })
    }

    /// Has a log take what was signed.
    pub(super) fn entry(&self, rekor: &Url, draft: &Draft, certificate: &[u8]) -> Result<Value, SealError> {
        let url = beneath(rekor, ENTRIES)?;
        let request = log_request(draft.signed(), draft.signature(), certificate);
        let answer = self.post("the log", &url, &request, [JSON, JSON])?;
        log_entry(&answer).map_err(|source| SealError::Answer { what: "the log", url: url.shown(), source })
    }

    /// Has a timestamp authority say that a signature is there.
    pub(super) fn timestamp(&self, authority: &Url, signature: &[u8]) -> Result<Vec<u8>, SealError> {
        let kinds = [TIMESTAMP_QUERY, "application/timestamp-reply"];
        self.post("the timestamp authority", authority, &timestamp_request(signature), kinds)
    }

    /// Gets the token that a job of GitHub Actions may have, and Forgejo's, which does the same.
    pub(super) fn of_job(&self, url: &str, request_token: &[u8]) -> Result<SecretBytes, SealError> {
        let joint = if url.contains('?') { '&' } else { '?' };
        let url = Url::parse(&format!("{url}{joint}audience=sigstore"))
            .map_err(|_| SealError::Address("ACTIONS_ID_TOKEN_REQUEST_URL"))?;
        encrypted(&url)?;
        let authorization = format!("Bearer {}", String::from_utf8_lossy(request_token));
        let ask = Ask {
            url: &url,
            reach: Reach::Configured,
            body: None,
            headers: &[("accept", JSON)],
            logins: false,
            authorization: Some(&Secret::new(authorization)),
            max_size: MAX_TOKEN as u64 * 2,
        };
        let what = "the provider of tokens";
        // Room for all of it: what grows leaves parts of the token behind.
        let room = || Vec::with_capacity(MAX_TOKEN * 2);
        let heard = self.client.ask(&ask, room, &|_| ());
        let (answer, _) = heard.map_err(|source| SealError::Service { what, source })?;
        let answer = zeroize::Zeroizing::new(answer);
        #[derive(serde::Deserialize)]
        struct Given {
            value: String,
        }
        let given: Given = serde_json::from_slice(&answer).map_err(|_| SealError::NoValue)?;
        Ok(SecretBytes::new(given.value.into_bytes()))
    }

    fn post(
        &self,
        what: &'static str,
        url: &Url,
        body: &[u8],
        [kind, accept]: [&str; 2],
    ) -> Result<Vec<u8>, SealError> {
        let ask = Ask {
            url,
            reach: Reach::Configured,
            body: Some(body),
            headers: &[("content-type", kind), ("accept", accept)],
            logins: false,
            authorization: None,
            max_size: MAX_ANSWER as u64,
        };
        let heard = self.client.ask(&ask, Vec::new, &|_| ());
        heard.map(|(answer, _)| answer).map_err(|source| SealError::Service { what, source })
    }
}

fn beneath(base: &Url, path: &str) -> Result<Url, SealError> {
    base.beneath(path).map_err(|_| SealError::Address("the address of the configuration"))
}

/// Refuses to send a token where anybody on the way could read it; to this machine itself it may go.
fn encrypted(url: &Url) -> Result<(), SealError> {
    let host = url.host().trim_matches(['[', ']']);
    let own = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let is = own || url.shown().starts_with("https://");
    is.then_some(()).ok_or_else(|| SealError::Plain(url.shown()))
}
