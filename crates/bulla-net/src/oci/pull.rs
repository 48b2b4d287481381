//! What comes out of a registry: manifests into memory, blobs into a sink.

use std::cell::Cell;

use bulla_model::{
    Digest,
    oci::{self, Descriptor},
};
use serde::Deserialize;
use ureq::http::{Response, header};

use super::{
    RegistryError, Repository, reply,
    repository::{Tried, small},
};
use crate::{
    download::{Download, DownloadSink},
    error::NetError,
    exchange::{Access, header_text},
    url::Url,
};

/// The media types of manifests, in the order they are liked.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// A manifest or index as it came, hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its media type, digest and size.
    pub descriptor: Descriptor,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What every kind of manifest may say of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    #[serde(default)]
    media_type: Option<String>,
}

impl Repository {
    /// Gives the digest that a tag or digest has in the registry now, by the head of the answer alone; `None` where there is no
    /// such manifest. What it leads to is fetched by that digest: a tag may move.
    ///
    /// # Errors
    /// When the registry does not answer as it should.
    pub fn resolve(&self, wanted: &str) -> Result<Option<Digest>, RegistryError> {
        let what = format!("say what {}:{wanted} is", self.name);
        let url = self.url(&format!("manifests/{wanted}"))?;
        self.ask(&what, &url, (true, Some(ACCEPT)), &[200, 404], |(_, response)| {
            if response.status() == 404 {
                return Ok(None);
            }
            self.said_digest(&what, &response)
        })
    }

    /// Fetches a manifest by its digest, or by a tag; its media type is checked to be one and the same everywhere.
    ///
    /// # Errors
    /// When there is none, it is longer than 4 MiB, or not what its digest or media type says.
    pub fn manifest(&self, wanted: &str) -> Result<Document, RegistryError> {
        let what = format!("give the manifest {wanted} of {}", self.name);
        let url = self.url(&format!("manifests/{wanted}"))?;
        self.ask(&what, &url, (false, Some(ACCEPT)), &[200], |(at, response)| {
            let said = self.said_digest(&what, &response)?;
            let content_type = content_type(&response);
            let name = format!("the manifest {wanted} of {}/{}", self.host.name, self.name);
            let bytes = small(&name, &at, response, oci::MAX_MANIFEST)?;
            let actual = Digest::of(&bytes);
            let asked = wanted.parse().ok();
            if let Some(expected) = asked.or(said).filter(|expected| *expected != actual) {
                return Err(RegistryError::WrongDigest { what: name, expected, actual });
            }
            let media_type = self.media_type(&what, content_type, &bytes)?;
            Ok(Document { descriptor: Descriptor::new(&media_type, actual, bytes.len() as u64), bytes })
        })
    }

    /// Says whether the registry has a blob, and that its size is the right one.
    ///
    /// # Errors
    /// When the registry does not answer as it should.
    pub fn has_blob(&self, blob: &Descriptor) -> Result<bool, RegistryError> {
        let what = format!("say whether it has {} of {}", blob.digest, self.name);
        let url = self.url(&format!("blobs/{}", blob.digest))?;
        self.ask(&what, &url, (true, None), &[200, 404], |(_, response)| {
            let length = header_text(&response, header::CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
            match length.filter(|length| *length != blob.size) {
                Some(length) if response.status() == 200 => {
                    Err(self.nonsense(&what, format!("it has {length} bytes there, and not {}", blob.size)))
                }
                _ => Ok(response.status() == 200),
            }
        })
    }

    /// Downloads a blob into a sink: resumed where it was cut off, hashed, and no longer than it is said to be.
    ///
    /// # Errors
    /// When there is none, or it is not what its digest and size say.
    pub fn blob(
        &self,
        blob: &Descriptor,
        sink: &mut dyn DownloadSink,
        progress: &dyn Fn(u64),
    ) -> Result<(), RegistryError> {
        let what = format!("give the blob {} of {}", blob.digest, self.name);
        let url = self.url(&format!("blobs/{}", blob.digest))?;
        let download = Download { urls: vec![url], reach: self.host.reach, size: Some(blob.size), digest: blob.digest };
        let refused = Cell::new(false);
        // The download makes its own attempts; only a token that has run out is renewed here.
        self.attempt(&self.scope(), &what, |value| {
            match self.host.client.download_as(&download, Access::Given(value), sink, progress) {
                Ok(()) => Ok(Tried::Done(Ok(()))),
                Err(NetError::Status { status: 401, .. }) if !refused.replace(true) => Ok(Tried::Unknown),
                Err(NetError::Status { status: 401 | 403, .. }) => Err(self.denied(&what, String::new())),
                Err(error) => Ok(Tried::Done(Err(error))),
            }
        })?
        .map_err(RegistryError::from)
    }

    /// Reads the digest that the registry says (`Docker-Content-Digest`); one of another kind than SHA-256 is passed over.
    pub(super) fn said_digest(
        &self,
        what: &str,
        response: &Response<ureq::Body>,
    ) -> Result<Option<Digest>, RegistryError> {
        let Some(text) = response.headers().get("docker-content-digest") else { return Ok(None) };
        let text = text.to_str().unwrap_or_default();
        match text.parse() {
            Ok(digest) => Ok(Some(digest)),
            Err(_) if text.starts_with("sha512:") => Ok(None),
            Err(_) => Err(self.nonsense(what, format!("its digest is `{}`", reply::harmless(text)))),
        }
    }

    /// Decides on the media type of a manifest: what the answer's head and the document say must agree, so that no two
    /// programs take the same bytes for different things.
    fn media_type(&self, what: &str, head: Option<String>, bytes: &[u8]) -> Result<String, RegistryError> {
        let said: Said = serde_json::from_slice(bytes).map_err(|_| self.nonsense(what, "it is not a JSON object"))?;
        let generic =
            |text: &String| matches!(text.as_str(), "application/json" | "application/octet-stream" | "text/plain");
        let head = head.filter(|text| !generic(text));
        let media_type = match (head, said.media_type) {
            (Some(head), Some(inside)) if head != inside => {
                let (head, inside) = (reply::harmless(&head), reply::harmless(&inside));
                return Err(self.nonsense(what, format!("it says `{head}` outside and `{inside}` inside")));
            }
            (Some(media_type), _) | (None, Some(media_type)) => media_type,
            (None, None) => return Err(self.nonsense(what, "it has no media type")),
        };
        let known = [oci::INDEX, oci::MANIFEST, oci::DOCKER_INDEX, oci::DOCKER_MANIFEST];
        if known.contains(&media_type.as_str()) {
            return Ok(media_type);
        }
        Err(self
            .nonsense(what, format!("`{}` is no media type of a manifest that is known", reply::harmless(&media_type))))
    }
}

fn content_type(response: &Response<ureq::Body>) -> Option<String> {
    let text = header_text(response, header::CONTENT_TYPE)?;
    Some(text.split(';').next()?.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Gives the next page that an answer names (RFC 8288), where it is of the same origin.
pub(super) fn next_page(url: &Url, response: &Response<ureq::Body>) -> Option<Url> {
    let text = header_text(response, header::LINK)?;
    let (target, parameters) = text.strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split([';', ',']).any(|part| matches!(part.trim(), "rel=\"next\"" | "rel=next"));
    let next = url.join(target).ok()?;
    (is_next && next.origin() == url.origin()).then_some(next)
}
