//! The registry as a client finds it: pages with exactly the files that are locked, and the files (PEP 503, 658, 691, 700). Poetry asks the
//! JSON interface of the public registry for a single version, too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    super::{Answer, Artifact, ArtifactError, Bodies, Body, Repository, Route, git},
    contents::{Contents, inspect},
    name,
    package::{algorithm, hex},
};

const JSON: &str = "application/vnd.pypi.simple.v1+json";
const HTML: &str = "application/vnd.pypi.simple.v1+html";
const FILE: &str = "application/octet-stream";
const RELEASE: &str = "application/json";
/// Metadata larger than this are read by clients out of the wheel.
const MAX_BESIDE: usize = 1 << 20;

/// Makes the repository of verified artifacts.
pub(super) fn repository(artifacts: &[Artifact], bodies: &dyn Bodies, base: &str) -> Result<Repository, ArtifactError> {
    let mut routes = Vec::new();
    let mut names: BTreeMap<&str, Vec<Entry<'_>>> = BTreeMap::new();
    for (at, artifact) in artifacts.iter().enumerate() {
        let mut body = bodies.open(at).map_err(|source| ArtifactError {
            artifact: format!("{} {}: {}", artifact.name, artifact.version, artifact.file),
            what: "it cannot be opened".to_owned(),
            source: Some(source),
        })?;
        if git::is_repository(artifact) {
            git::check_submodules(artifact, &mut *body)?;
            continue;
        }
        let mut contents = inspect(artifact, &mut *body)?;
        let path = format!("/pypi/files/{}/{}/{}", artifact.name, artifact.version, artifact.file);
        let beside = contents.metadata.take().filter(|metadata| metadata.len() <= MAX_BESIDE);
        let metadata =
            beside.as_ref().map(|bytes| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect());
        if let Some(bytes) = beside {
            routes.push(route(format!("{path}.metadata"), None, "text/plain; charset=utf-8", Body::Bytes(bytes)));
        }
        routes.push(route(path, None, FILE, Body::Artifact(at)));
        names.entry(&artifact.name).or_default().push(Entry { artifact, contents, metadata });
    }
    let root = names.keys().map(|name| json!({ "name": name })).collect::<Vec<_>>();
    let links = names.keys().map(|name| format!("<a href=\"{name}/\">{name}</a><br>\n")).collect::<String>();
    both(
        &mut routes,
        "/pypi/simple/",
        &json!({ "meta": { "api-version": "1.1" }, "projects": root }),
        &html("Simple index", &links),
    );
    for (name, entries) in &names {
        both(&mut routes, &format!("/pypi/simple/{name}/"), &page(name, entries), &linked(name, entries));
        for of_version in entries.chunk_by(|one, next| one.artifact.version == next.artifact.version) {
            releases(&mut routes, base, of_version);
        }
    }
    Ok(Repository { routes })
}

/// A file as pages tell of it.
struct Entry<'a> {
    artifact: &'a Artifact,
    contents: Contents,
    /// The digits of the SHA-256 of its metadata.
    metadata: Option<String>,
}

impl Entry<'_> {
    /// Where it is, from its page.
    fn reference(&self) -> String {
        let Artifact { name, version, file, .. } = self.artifact;
        format!("../../files/{name}/{version}/{file}").replace('+', "%2B")
    }
}

fn route(path: String, accept: Option<&str>, content_type: &str, body: Body) -> Route {
    let answer = Answer { status: 200, content_type: content_type.to_owned(), body };
    Route { path, accept: accept.map(str::to_owned), answer }
}

fn both(routes: &mut Vec<Route>, path: &str, json: &Value, html: &str) {
    let json = Body::Bytes(json.to_string().into_bytes());
    let html = Body::Bytes(html.as_bytes().to_vec());
    routes.push(route(path.to_owned(), Some(JSON), JSON, json));
    routes.push(route(path.to_owned(), Some(HTML), HTML, html.clone()));
    routes.push(route(path.to_owned(), None, "text/html; charset=utf-8", html));
}

/// Adds what the JSON interface says of one version. Its address may have the version as it means, and not as it is written.
fn releases(routes: &mut Vec<Route>, base: &str, entries: &[Entry<'_>]) {
    let Some(Artifact { name, version, .. }) = entries.first().map(|entry| entry.artifact) else { return };
    let urls = entries.iter().filter_map(|entry| {
        let Artifact { name, version, file, hashes, .. } = entry.artifact;
        let digits = hashes.iter().find(|hash| algorithm(hash) == "sha256").map(hex)?;
        Some(json!({
            "filename": file,
            "packagetype": if file.ends_with(".whl") { "bdist_wheel" } else { "sdist" },
            "url": format!("{base}/pypi/files/{name}/{version}/{file}").replace('+', "%2B"),
            "digests": { "sha256": digits },
            "size": entry.contents.size,
            "requires_python": entry.contents.requires_python,
        }))
    });
    // Of what it needs, its metadata tell: clients look there when nothing is said here.
    let info = json!({
        "name": name,
        "version": version,
        "summary": "",
        "requires_dist": null,
        "requires_python": entries.iter().find_map(|entry| entry.contents.requires_python.clone()),
    });
    let document = json!({ "info": info, "urls": urls.collect::<Vec<_>>() }).to_string();
    let meaning = name::version(version).map(|version| version.to_string());
    let versions: BTreeSet<&str> = [Some(version.as_str()), meaning.as_deref()].into_iter().flatten().collect();
    for version in versions {
        let body = Body::Bytes(document.clone().into_bytes());
        routes.push(route(format!("/pypi/pypi/{name}/{version}/json"), None, RELEASE, body));
    }
}

fn page(name: &str, entries: &[Entry<'_>]) -> Value {
    let mut versions: Vec<&str> = entries.iter().map(|entry| entry.artifact.version.as_str()).collect();
    versions.dedup();
    let files = entries.iter().map(|entry| {
        let hashes: BTreeMap<&str, String> =
            entry.artifact.hashes.iter().map(|hash| (algorithm(hash), hex(hash))).collect();
        let mut file = json!({
            "filename": entry.artifact.file,
            "url": entry.reference(),
            "hashes": hashes,
            "size": entry.contents.size,
        });
        if let Some(requires) = &entry.contents.requires_python {
            file["requires-python"] = json!(requires);
        }
        if let Some(digits) = &entry.metadata {
            // Under its older name pip 22.3 to 23.0 (Debian 12 has one) fails at it (PEP 714).
            file["core-metadata"] = json!({ "sha256": digits });
        }
        file
    });
    json!({ "meta": { "api-version": "1.1" }, "name": name, "versions": versions, "files": files.collect::<Vec<_>>() })
}

fn linked(name: &str, entries: &[Entry<'_>]) -> String {
    let mut links = String::new();
    for entry in entries {
        let _ = write!(links, "<a href=\"{}", entry.reference());
        if let Some(hash) = entry.artifact.hashes.iter().min() {
            let _ = write!(links, "#{}={}", algorithm(hash), hex(hash));
        }
        if let Some(requires) = &entry.contents.requires_python {
            let _ = write!(links, "\" data-requires-python=\"{}", escaped(requires));
        }
        if let Some(digits) = &entry.metadata {
            let _ =
                write!(links, "\" data-core-metadata=\"sha256={digits}\" data-dist-info-metadata=\"sha256={digits}");
        }
        let _ = writeln!(links, "\">{}</a><br>", entry.artifact.file);
    }
    html(&format!("Links for {name}"), &links)
}

pub(super) fn html(title: &str, links: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"pypi:repository-version\" content=\"1.1\">\n\
         <title>{title}</title>\n</head>\n<body>\n<h1>{title}</h1>\n{links}</body>\n</html>\n"
    )
}

/// Makes one page of two that were made here for the same path and media type: several lock files of a step may have the same package,
/// such as what builds a package and what is installed.
pub fn joined(content_type: &str, one: &[u8], other: &[u8]) -> Vec<u8> {
    match content_type {
        JSON | RELEASE => joined_json(one, other),
        _ => joined_html(one, other),
    }
    .unwrap_or_else(|| one.to_vec())
}

fn joined_json(one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let (mut one, other): (Value, Value) = (serde_json::from_slice(one).ok()?, serde_json::from_slice(other).ok()?);
    for list in ["files", "projects", "urls", "versions"] {
        let (Some(all), Some(more)) = (one[list].as_array().cloned(), other[list].as_array()) else { continue };
        let more = more.iter().filter(|value| !all.contains(value)).cloned().collect::<Vec<_>>();
        one[list] = Value::Array([all, more].concat());
    }
    Some(one.to_string().into_bytes())
}

fn joined_html(one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let (one, other) = (std::str::from_utf8(one).ok()?, std::str::from_utf8(other).ok()?);
    let (head, foot) = one.split_at(one.rfind("</body>")?);
    let known: BTreeSet<&str> = head.lines().collect();
    let more = other.lines().filter(|line| line.starts_with("<a ") && !known.contains(line));
    Some(format!("{head}{}{foot}", more.map(|line| format!("{line}\n")).collect::<String>()).into_bytes())
}

/// Escapes text for an attribute of HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}
