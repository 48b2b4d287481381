//! Whether an image stands on those that a policy names.

use bulla_model::{Digest, purl::Purl};
use serde_json::Value;

use crate::image::shown;

/// Kinds of package URLs that name images.
const IMAGES: [&str; 2] = ["oci", "docker"];

/// An image as a policy or a provenance names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Named {
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Says whether a text names images: `HOST/REPOSITORY`, with `:TAG` or `@sha256:…` where one is meant.
pub(super) fn is_named(text: &str) -> bool {
    let named = Named::written(text);
    let plain = text.len() <= 1024 && text.chars().all(|c| c.is_ascii_graphic());
    let path = |path: &str| path.contains('/') && path.split('/').all(|part| !part.is_empty());
    let tag = named.tag.as_ref().is_none_or(|tag| !tag.is_empty());
    plain && tag && path(&named.repository) && named.digest.is_none_or(|digest| digest.parse::<Digest>().is_ok())
}

impl Named {
    fn written(text: &str) -> Self {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (text, None),
        };
        match rest.rsplit_once(':') {
            // Else it is a port.
            Some((repository, tag)) if !tag.contains('/') => {
                Self { repository: repository.to_owned(), tag: Some(tag.to_owned()), digest }
            }
            _ => Self { repository: rest.to_owned(), tag: None, digest },
        }
    }

    /// Reads what provenance used (the purl specification, "oci" and "docker"); `None` where that is no image.
    fn used(resource: &Value) -> Option<Self> {
        let purl = resource["uri"].as_str().and_then(|uri| uri.parse::<Purl>().ok());
        let purl = purl.filter(|purl| IMAGES.contains(&purl.kind.as_str()));
        let own = resource["digest"]["sha256"].as_str().map(|hex| format!("sha256:{hex}"));
        let Some(purl) = purl else {
            // One of Bulla's that is in no registry.
            let is_base = resource["annotations"]["kind"] == "base";
            let name = || resource["name"].as_str().unwrap_or_default().to_owned();
            return is_base.then(|| Self { repository: name(), tag: None, digest: own });
        };
        let qualifier = |name: &str| purl.qualifiers.get(name).cloned();
        let is_oci = purl.kind == "oci";
        let version = purl.version.clone();
        let digest = if is_oci { version.clone() } else { qualifier("digest") };
        let path = [purl.namespace.as_slice(), std::slice::from_ref(&purl.name)].concat().join("/");
        let repository = match qualifier("repository_url") {
            Some(url) if is_oci => url,
            Some(host) => format!("{}/{path}", host.trim_end_matches('/')),
            None if is_oci => path,
            None => format!("docker.io/{path}"),
        };
        let tag = if is_oci { qualifier("tag") } else { version };
        let plain = |url: String| url.trim_start_matches("https://").to_owned();
        Some(Self { repository: plain(repository), tag, digest: digest.or(own) })
    }

    /// Says whether an image that was used is one of those that this names.
    fn takes(&self, used: &Self) -> bool {
        let same = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        self.repository == used.repository && same(&self.tag, &used.tag) && same(&self.digest, &used.digest)
    }
}

/// All provenance has to name its images, each by digest, and none that the policy does not name.
pub(super) fn held(provenance: &[&Value], bases: &[String]) -> Result<String, String> {
    let named: Vec<Named> = bases.iter().map(|base| Named::written(base)).collect();
    let mut count = 0;
    for predicate in provenance {
        let resolved = predicate.pointer("/buildDefinition/resolvedDependencies").and_then(Value::as_array);
        for used in resolved.into_iter().flatten().filter_map(Named::used) {
            let repository = shown(&used.repository);
            if used.digest.is_none() {
                return Err(format!("it stands on `{repository}`, of which its provenance has no digest"));
            }
            if !named.iter().any(|one| one.takes(&used)) {
                let tag = used.tag.as_deref().map(|tag| format!(":{}", shown(tag))).unwrap_or_default();
                return Err(format!("it stands on `{repository}{tag}`, which the policy does not name"));
            }
            count += 1;
        }
    }
    Ok(match count {
        0 => "it stands on no image".to_owned(),
        _ => "it stands on images that the policy names, each by digest".to_owned(),
    })
}
