//! What a registry lists: tags, and the referrers of a manifest, by its interface or by the tag that stands for it.

use bulla_model::{
    Digest,
    oci::{self, Descriptor, Index},
};
use serde::Deserialize;

use super::{RegistryError, Repository, pull, reply, repository::small};
use crate::{exchange::header_text, url::Url};

/// The most pages of a list that are read.
const MAX_PAGES: usize = 100;
/// The most entries of a list.
const MAX_ENTRIES: usize = 100_000;

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

/// How often a list is written before it is given up that it holds.
const MAX_ADDING: usize = 4;
/// What registries answer that do not know the interface; the specification wants 404.
const NO_INTERFACE: [u16; 4] = [400, 404, 405, 501];

/// A page of referrers, and where the next one is.
type Page = (Vec<Descriptor>, Option<Url>);

/// Gives the tag that lists the referrers of a manifest in registries that do not ("Referrers Tag Schema").
pub fn fallback_tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}

impl Repository {
    /// Lists the tags, sorted; none where there is no such repository.
    ///
    /// # Errors
    /// When the registry does not answer as it should, or has too many.
    pub fn tags(&self) -> Result<Vec<String>, RegistryError> {
        let what = format!("list the tags of {}", self.name);
        let mut found = Vec::new();
        let mut next = Some(self.url("tags/list")?);
        for _ in 0..MAX_PAGES {
            let Some(url) = next else {
                found.sort();
                found.dedup();
                return Ok(found);
            };
            let (tags, more) = self.ask(&what, &url, (false, None), &[200, 404], |(at, response)| {
                if response.status() == 404 {
                    return Ok((Vec::new(), None));
                }
                let more = pull::next_page(&at, &response);
                let bytes = small("a list of tags", &at, response, oci::MAX_MANIFEST)?;
                let tags: Tags =
                    serde_json::from_slice(&bytes).map_err(|error| self.nonsense(&what, error.to_string()))?;
                Ok((tags.tags.unwrap_or_default(), more))
            })?;
            found.extend(tags.iter().map(|tag| reply::harmless(tag)));
            if found.len() > MAX_ENTRIES {
                break;
            }
            next = more;
        }
        Err(self.nonsense(&what, "the list does not end"))
    }

    /// Lists what refers to a manifest, of one kind or of all ("Listing Referrers"), in the registry's order.
    ///
    /// # Errors
    /// When the registry does not answer as it should, or has too many.
    pub fn referrers(&self, subject: &Digest, kind: Option<&str>) -> Result<Vec<Descriptor>, RegistryError> {
        let what = format!("list the referrers of {subject} in {}", self.name);
        let mut first = self.url(&format!("referrers/{subject}"))?;
        if let Some(kind) = kind {
            first = first.with_parameter("artifactType", kind);
        }
        let mut found = Vec::new();
        let mut next = Some(first);
        for _ in 0..MAX_PAGES {
            let Some(url) = next else { return Ok(of_kind(found, kind)) };
            match self.page(&what, &url)? {
                Some((entries, more)) => {
                    found.extend(entries);
                    next = more;
                }
                None => return Ok(of_kind(self.fallback(subject)?, kind)),
            }
            if found.len() > MAX_ENTRIES {
                break;
            }
        }
        Err(self.nonsense(&what, "the list does not end"))
    }

    /// Reads one page; `None` where the registry has no such interface.
    fn page(&self, what: &str, url: &Url) -> Result<Option<Page>, RegistryError> {
        let [a, b, c, d] = NO_INTERFACE;
        self.ask(what, url, (false, Some(oci::INDEX)), &[200, a, b, c, d], |(at, response)| {
            let is_index = header_text(&response, ureq::http::header::CONTENT_TYPE)
                .is_some_and(|text| text.split(';').next().is_some_and(|text| text.trim() == oci::INDEX));
            // Some registries answer with a page for people where they have no such interface.
            if response.status() != 200 || !is_index {
                return Ok(None);
            }
            let more = pull::next_page(&at, &response);
            let bytes = small("a list of referrers", &at, response, oci::MAX_MANIFEST)?;
            let index: Index =
                serde_json::from_slice(&bytes).map_err(|error| self.nonsense(what, error.to_string()))?;
            Ok(Some((index.manifests, more)))
        })
    }

    /// Reads the list of the tag that stands for the interface; empty where there is none.
    fn fallback(&self, subject: &Digest) -> Result<Vec<Descriptor>, RegistryError> {
        match self.manifest(&fallback_tag(subject)) {
            Ok(document) => {
                let index: Result<Index, _> = serde_json::from_slice(&document.bytes);
                Ok(index.map_err(|error| self.nonsense("list referrers", error.to_string()))?.manifests)
            }
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Adds manifests to the list of the tag that stands for the interface, in registries that took no note of their subject
    /// ([`Repository::put_manifest`] says so), and reads the list back: others may change it at the same time.
    ///
    /// # Errors
    /// When the list cannot be read or written, or others always undo it.
    pub fn add_referrers(&self, subject: &Digest, referrers: &[Descriptor]) -> Result<(), RegistryError> {
        for _ in 0..MAX_ADDING {
            let mut entries = self.fallback(subject)?;
            let before = entries.len();
            for referrer in referrers {
                if !entries.iter().any(|entry| entry.digest == referrer.digest) {
                    entries.push(referrer.clone());
                }
            }
            if entries.len() == before {
                return Ok(());
            }
            self.put_manifest(&fallback_tag(subject), oci::INDEX, &oci::encode(&Index::new(entries)))?;
        }
        let what = format!("keep the list {} of {}", fallback_tag(subject), self.name);
        Err(self.nonsense(&what, "what is added to it is not in it afterwards; somebody else may be changing it"))
    }
}

fn of_kind(entries: Vec<Descriptor>, kind: Option<&str>) -> Vec<Descriptor> {
    let wanted = |entry: &Descriptor| kind.is_none_or(|kind| entry.artifact_type.as_deref() == Some(kind));
    entries.into_iter().filter(wanted).collect()
}
