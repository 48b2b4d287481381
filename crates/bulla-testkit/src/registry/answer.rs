//! What the registry answers when all is well (distribution specification 1.1), and how a fault changes it.

use std::{
    io::{self, Write},
    sync::atomic::Ordering,
};

use bulla_model::{
    Digest,
    oci::{self, Descriptor, Index, Manifest},
};

use super::{RegistryFault, Shared};
use crate::{
    archive::base64,
    mirror::{Request, lock},
};

/// The token that the service gives.
const TOKEN: &str = "token-of-the-test";

/// An answer before it is sent.
pub(super) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    cut: Option<usize>,
}

impl Answer {
    fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), cut: None }
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn body(mut self, bytes: Vec<u8>) -> Self {
        self.body = bytes;
        self
    }

    fn error(status: u16, code: &str) -> Self {
        let text = format!(r#"{{"errors":[{{"code":"{code}","message":"as the test wants it"}}]}}"#);
        Self::new(status).with("Content-Type", "application/json").body(text.into_bytes())
    }

    /// Answers a request whose body has come, or the first part of it.
    pub(super) fn to(request: &Request, body: &[u8], shared: &Shared) -> Self {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        if path == "/token" {
            return token(request, shared);
        }
        if let Some(stop) = door(request, shared) {
            return stop;
        }
        if path == "/v2/" {
            return Self::new(200).body(b"{}".to_vec());
        }
        let Some(rest) = path.strip_prefix("/v2/") else { return Self::error(404, "UNSUPPORTED") };
        for (kind, serve) in [
            ("/blobs/uploads/", upload as fn(&Request, &Call<'_>) -> Self),
            ("/blobs/", blob),
            ("/manifests/", manifest),
            ("/referrers/", referrers),
            ("/tags/list", tags),
        ] {
            if let Some((repository, wanted)) = rest.split_once(kind) {
                return serve(request, &Call { shared, repository, wanted, query, body });
            }
        }
        Self::error(404, "UNSUPPORTED")
    }

    /// Lets a fault change the answer.
    pub(super) fn spoil(&mut self, fault: &RegistryFault) {
        match fault {
            RegistryFault::Status(status) => *self = Self::error(*status, "FAULT"),
            RegistryFault::Body(bytes) => self.body.clone_from(bytes),
            RegistryFault::Header(name, value) => {
                self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
                self.headers.push(((*name).to_owned(), value.clone()));
            }
            RegistryFault::CutAnswer(after) => self.cut = Some(*after),
            RegistryFault::Redirect(place) => *self = Self::new(307).with("Location", place.clone()),
            RegistryFault::CutRequest(_) | RegistryFault::NoAnswer => {}
        }
    }

    /// Sends the answer; says whether the connection may go on.
    pub(super) fn send(&self, request: &Request, to: &mut dyn Write) -> io::Result<bool> {
        let mut head = format!("HTTP/1.1 {} Test\r\n", self.status);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) && self.status != 204 {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        to.write_all(head.as_bytes())?;
        if request.method == "HEAD" {
            return Ok(true);
        }
        let body = &self.body[..self.cut.unwrap_or(usize::MAX).min(self.body.len())];
        to.write_all(body)?;
        to.flush()?;
        Ok(self.cut.is_none())
    }
}

/// Refuses who may not come in.
fn door(request: &Request, shared: &Shared) -> Option<Answer> {
    let door = shared.door();
    let (name, password) = door.login?;
    let challenge = match &door.realm {
        Some(realm) => format!(r#"Bearer realm="{realm}",service="test""#),
        None => r#"Basic realm="test""#.to_owned(),
    };
    let wanted = match door.realm {
        Some(_) => format!("Bearer {TOKEN}"),
        None => format!("Basic {}", base64(format!("{name}:{password}").as_bytes())),
    };
    let good = !door.shut && request.header("authorization") == Some(wanted.as_str());
    (!good).then(|| Answer::error(401, "UNAUTHORIZED").with("WWW-Authenticate", challenge))
}

fn token(request: &Request, shared: &Shared) -> Answer {
    let Some((name, password)) = shared.door().login else { return Answer::error(404, "UNSUPPORTED") };
    let wanted = format!("Basic {}", base64(format!("{name}:{password}").as_bytes()));
    if request.header("authorization") != Some(wanted.as_str()) {
        return Answer::error(401, "DENIED");
    }
    Answer::new(200).body(format!(r#"{{"token":"{TOKEN}","expires_in":60}}"#).into_bytes())
}

/// A request that was let in, in parts.
struct Call<'a> {
    shared: &'a Shared,
    repository: &'a str,
    wanted: &'a str,
    query: &'a str,
    body: &'a [u8],
}

impl Call<'_> {
    fn key(&self) -> (String, String) {
        (self.repository.to_owned(), self.wanted.to_owned())
    }

    fn parameter(&self, name: &str) -> Option<String> {
        let found = self.query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
        found.map(|(_, value)| value.replace("%3A", ":").replace("%2F", "/"))
    }

    fn upload_location(&self, id: u64, state: usize) -> String {
        format!("/v2/{}/blobs/uploads/{id}?_state={state}", self.repository)
    }
}

fn upload(request: &Request, call: &Call<'_>) -> Answer {
    let mut shelf = lock(&call.shared.shelf);
    if request.method == "POST" {
        if let (Some(digest), Some(from)) = (call.parameter("mount"), call.parameter("from"))
            && let Some(bytes) = shelf.blobs.get(&(from, digest.clone())).cloned()
        {
            let location = format!("/v2/{}/blobs/{digest}", call.repository);
            shelf.blobs.insert((call.repository.to_owned(), digest), bytes);
            return Answer::new(201).with("Location", location);
        }
        let id = shelf.next_upload;
        shelf.next_upload += 1;
        shelf.uploads.insert(id, Vec::new());
        return Answer::new(202).with("Location", call.upload_location(id, 0)).with("Range", "0-0");
    }
    let Some(id) = call.wanted.parse().ok().filter(|id| shelf.uploads.contains_key(id)) else {
        return Answer::error(404, "BLOB_UPLOAD_UNKNOWN");
    };
    let have = shelf.uploads.get(&id).map_or(0, Vec::len);
    let range = |have: usize| format!("0-{}", have.saturating_sub(1));
    match request.method.as_str() {
        "GET" => Answer::new(204).with("Location", call.upload_location(id, have)).with("Range", range(have)),
        "PATCH" => {
            let first = request.header("content-range").and_then(|text| text.split('-').next()?.parse::<usize>().ok());
            if first.is_some_and(|first| first != have) {
                return Answer::error(416, "BLOB_UPLOAD_INVALID");
            }
            let bytes = shelf.uploads.entry(id).or_default();
            bytes.extend_from_slice(call.body);
            let have = bytes.len();
            Answer::new(202).with("Location", call.upload_location(id, have)).with("Range", range(have))
        }
        "PUT" => {
            let mut bytes = shelf.uploads.remove(&id).unwrap_or_default();
            bytes.extend_from_slice(call.body);
            let digest = call.parameter("digest").unwrap_or_default();
            if Digest::of(&bytes).to_string() != digest {
                return Answer::error(400, "DIGEST_INVALID");
            }
            let location = format!("/v2/{}/blobs/{digest}", call.repository);
            shelf.blobs.insert((call.repository.to_owned(), digest.clone()), bytes);
            Answer::new(201).with("Location", location).with("Docker-Content-Digest", digest)
        }
        _ => Answer::error(405, "UNSUPPORTED"),
    }
}

fn blob(request: &Request, call: &Call<'_>) -> Answer {
    let shelf = lock(&call.shared.shelf);
    let Some(bytes) = shelf.blobs.get(&call.key()) else { return Answer::error(404, "BLOB_UNKNOWN") };
    let first = request.header("range").and_then(|text| text.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let answer = match first {
        Some(first) if first < bytes.len() => {
            let range = format!("bytes {first}-{}/{}", bytes.len() - 1, bytes.len());
            Answer::new(206).with("Content-Range", range).body(bytes[first..].to_vec())
        }
        _ => Answer::new(200).body(bytes.clone()),
    };
    answer.with("Docker-Content-Digest", call.wanted).with("ETag", format!("\"{}\"", call.wanted))
}

fn manifest(request: &Request, call: &Call<'_>) -> Answer {
    let mut shelf = lock(&call.shared.shelf);
    if request.method == "PUT" {
        let digest = Digest::of(call.body).to_string();
        let media_type = request.header("content-type").unwrap_or_default().to_owned();
        for name in [call.wanted.to_owned(), digest.clone()] {
            shelf.manifests.insert((call.repository.to_owned(), name), (media_type.clone(), call.body.to_vec()));
        }
        let answer = Answer::new(201).with("Docker-Content-Digest", digest);
        return match subject(call.body).filter(|_| !call.shared.old.load(Ordering::Relaxed)) {
            Some(subject) => answer.with("OCI-Subject", subject.to_string()),
            None => answer,
        };
    }
    let Some((media_type, bytes)) = shelf.manifests.get(&call.key()).cloned() else {
        return Answer::error(404, "MANIFEST_UNKNOWN");
    };
    if request.method == "HEAD"
        && let Some(next) = shelf.moves.remove(&call.key())
    {
        shelf.manifests.insert(call.key(), next);
    }
    let digest = Digest::of(&bytes).to_string();
    Answer::new(200).with("Content-Type", media_type).with("Docker-Content-Digest", digest).body(bytes)
}

fn subject(bytes: &[u8]) -> Option<Digest> {
    Some(serde_json::from_slice::<Manifest>(bytes).ok()?.subject?.digest)
}

fn referrers(_: &Request, call: &Call<'_>) -> Answer {
    if call.shared.old.load(Ordering::Relaxed) {
        return Answer::error(404, "UNSUPPORTED");
    }
    let shelf = lock(&call.shared.shelf);
    let mine = |((repository, name), (media_type, bytes)): (&(String, String), &(String, Vec<u8>))| {
        let digest: Digest = name.parse().ok()?;
        let found = subject(bytes)?.to_string() == call.wanted && repository == call.repository;
        let mut entry = Descriptor::new(media_type, digest, bytes.len() as u64);
        entry.artifact_type = serde_json::from_slice::<Manifest>(bytes).ok()?.artifact_type;
        found.then_some(entry)
    };
    let index = Index::new(shelf.manifests.iter().filter_map(mine).collect());
    Answer::new(200).with("Content-Type", oci::INDEX).body(oci::encode(&index))
}

fn tags(_: &Request, call: &Call<'_>) -> Answer {
    let shelf = lock(&call.shared.shelf);
    let names = shelf.manifests.keys().filter(|(repository, _)| repository == call.repository);
    let tags: Vec<&str> = names.map(|(_, name)| name.as_str()).filter(|name| !name.contains(':')).collect();
    // Two to a page, as registries with many have them.
    let from = call.parameter("last").and_then(|last| tags.iter().position(|tag| **tag == last)).map_or(0, |at| at + 1);
    let page: Vec<&str> = tags.iter().skip(from).take(2).copied().collect();
    let mut answer = Answer::new(200).body(format!(r#"{{"tags":{page:?}}}"#).into_bytes());
    if let Some(last) = page.last().filter(|_| from + 2 < tags.len()) {
        let next = format!("</v2/{}/tags/list?last={last}>; rel=\"next\"", call.repository);
        answer = answer.with("Link", next);
    }
    answer
}
