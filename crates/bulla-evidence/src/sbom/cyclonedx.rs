//! CycloneDX 1.6 and 1.7 as JSON (ECMA-424 and the JSON schemas of the same versions).
//!
//! A file is a component only where it says something that its package does not: where it was made by the build, is nobody's, or holds
//! packages. The others are told by SPDX's document, which has them all.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Algorithm, Bom, Component, Content, File, Format, Kind, Ownership, Party, VERSION, identity};
use crate::{json as writer, licence::Licence};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(rename = "$schema")]
    schema: String,
    bom_format: &'static str,
    spec_version: &'static str,
    serial_number: String,
    version: u32,
    metadata: Value,
    components: Vec<Item>,
    dependencies: Vec<Dependency>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref")]
    reference: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    supplier: Option<Value>,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    components: Vec<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Serialize)]
struct Hash {
    alg: &'static str,
    content: String,
}

#[derive(Serialize)]
struct Property {
    name: String,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    depends_on: BTreeSet<String>,
}

const IMAGE: &str = "image";

/// Writes the document.
pub(super) fn write(bom: &Bom, version: &'static str) -> Vec<u8> {
    let format = if version == "1.6" { Format::CycloneDx16 } else { Format::CycloneDx17 };
    let inside = inside(bom);
    let top = |component: &Component| component.inside.is_none();
    let components = bom.components.iter().enumerate().filter(|(_, one)| top(one)).map(|(at, one)| item(bom, at, one));
    let files = bom.files.iter().enumerate().filter(|(at, file)| inside.contains_key(at) || is_told(bom, file));
    let files = files.map(|(at, file)| file_item(bom, at, file, inside.get(&at)));
    writer::write(&Document {
        schema: format!("http://cyclonedx.org/schema/bom-{version}.schema.json"),
        bom_format: "CycloneDX",
        spec_version: version,
        serial_number: format!("urn:uuid:{}", identity::uuid(bom, format)),
        version: 1,
        metadata: metadata(bom),
        components: components.chain(files).collect(),
        dependencies: dependencies(bom),
        annotations: Vec::new(),
    })
}

fn metadata(bom: &Bom) -> Value {
    let subject = &bom.subject;
    let phase = if subject.built { "build" } else { "post-build" };
    let unowned = json!({"name": "bulla:unowned", "value": bom.unowned().to_string()});
    let notes = bom.notes.iter().map(|note| json!({"name": "bulla:note", "value": note}));
    let layers = subject.layers.iter().enumerate();
    let layers = layers.map(|(at, layer)| json!({"name": format!("bulla:layer:{at}"), "value": layer.to_string()}));
    let mut image = json!({
        "type": "container",
        "bom-ref": IMAGE,
        "name": subject.name,
        "version": subject.manifest.to_string(),
        "hashes": [{"alg": "SHA-256", "content": subject.manifest.hex()}],
        "purl": super::compose::image_purl(subject).to_string(),
    });
    if let Some(supplier) = &subject.supplier {
        image["supplier"] = party(supplier);
    }
    json!({
        "timestamp": subject.created.rfc3339(),
        "lifecycles": [{"phase": phase}],
        "tools": {"components": [{"type": "application", "name": "bulla", "version": VERSION}]},
        "component": image,
        "properties": std::iter::once(unowned).chain(layers).chain(notes).collect::<Vec<_>>(),
    })
}

/// Gives the components that files hold, by the files.
fn inside(bom: &Bom) -> BTreeMap<usize, Vec<usize>> {
    let mut inside = BTreeMap::<usize, Vec<usize>>::new();
    for (at, component) in bom.components.iter().enumerate() {
        if let Some(file) = component.inside {
            inside.entry(file).or_default().push(at);
        }
    }
    inside
}

/// Says whether a file is told of by itself.
fn is_told(bom: &Bom, file: &File) -> bool {
    match &file.owner {
        Ownership::Component(owner) => bom.components.get(*owner).is_some_and(|owner| owner.kind == Kind::Made),
        _ => true,
    }
}

fn reference(at: usize, component: &Component) -> String {
    identity::component(at, component)
}

fn item(bom: &Bom, at: usize, component: &Component) -> Item {
    let is_input = component.found_by == super::compose::INPUT;
    Item {
        kind: match component.kind {
            Kind::System => "operating-system",
            Kind::Package => "library",
            Kind::Made => "application",
        },
        reference: reference(at, component),
        supplier: component.supplier.as_ref().map(party),
        name: component.name.clone(),
        version: component.version.clone(),
        // What a step could read may be in what it made, and need not be.
        scope: is_input.then_some("optional"),
        hashes: component.digests.iter().map(|(algorithm, hex)| hash(*algorithm, hex)).collect(),
        licenses: licences(&component.licence),
        purl: component.purl.as_ref().map(ToString::to_string),
        components: Vec::new(),
        evidence: evidence(component),
        properties: properties(bom, component),
    }
}

fn evidence(component: &Component) -> Option<Value> {
    let places: Vec<Value> = component.found_at.iter().map(|path| json!({"location": format!("/{path}")})).collect();
    (!places.is_empty()).then(|| json!({"occurrences": places}))
}

fn properties(bom: &Bom, component: &Component) -> Vec<Property> {
    let property = |name: &str, value: String| Property { name: format!("bulla:{name}"), value };
    let layer = |at: usize| bom.subject.layers.get(at).map(ToString::to_string);
    let mut all = vec![property("found-by", component.found_by.clone())];
    all.extend(component.layer.and_then(layer).map(|layer| property("layer", layer)));
    all.extend(component.removed.and_then(layer).map(|layer| property("removed-in-layer", layer)));
    all.extend(component.facts.iter().map(|(name, value)| property(name, value.clone())));
    all
}

fn party(party: &Party) -> Value {
    match &party.email {
        Some(email) => json!({"name": party.name, "contact": [{"email": email}]}),
        None => json!({"name": party.name}),
    }
}

const fn algorithm(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Md5 => "MD5",
        Algorithm::Sha1 => "SHA-1",
        Algorithm::Sha256 => "SHA-256",
        Algorithm::Sha512 => "SHA-512",
    }
}

fn hash(kind: Algorithm, hex: &str) -> Hash {
    Hash { alg: algorithm(kind), content: hex.to_owned() }
}

fn licences(licence: &Licence) -> Vec<Value> {
    if licence.is_unknown() {
        return Vec::new();
    }
    match (licence.id(), licence.others.get(&licence.expression)) {
        (Some(id), _) => vec![json!({"license": {"id": id}})],
        (None, Some(name)) => vec![json!({"license": {"name": name}})],
        (None, None) => vec![json!({"expression": licence.expression})],
    }
}

fn file_item(bom: &Bom, at: usize, file: &File, inside: Option<&Vec<usize>>) -> Item {
    let hashes = match &file.content {
        Content::Bytes { sha256, sha1, .. } => {
            vec![hash(Algorithm::Sha1, sha1), hash(Algorithm::Sha256, &sha256.hex())]
        }
        Content::Other => Vec::new(),
    };
    let owner = match &file.owner {
        Ownership::Component(owner) => bom.components.get(*owner).map(|component| reference(*owner, component)),
        Ownership::Native(what) => Some(what.clone()),
        Ownership::Exception(why) => Some(format!("exception: {why}")),
        Ownership::Unowned => None,
    };
    let inner = inside.into_iter().flatten().filter_map(|at| Some(item(bom, *at, bom.components.get(*at)?)));
    Item {
        kind: "file",
        reference: identity::file(at),
        supplier: None,
        name: format!("/{}", file.path),
        version: None,
        scope: None,
        hashes,
        licenses: Vec::new(),
        purl: None,
        components: inner.collect(),
        evidence: None,
        properties: vec![Property {
            name: "bulla:owner".to_owned(),
            value: owner.unwrap_or_else(|| "unowned".to_owned()),
        }],
    }
}

fn dependencies(bom: &Bom) -> Vec<Dependency> {
    let named = |at: &usize| bom.components.get(*at).map(|component| reference(*at, component));
    let direct = bom
        .components
        .iter()
        .enumerate()
        .filter(|(_, one)| one.inside.is_none() && one.found_by != super::compose::INPUT);
    let image = Dependency {
        reference: IMAGE.to_owned(),
        depends_on: direct.map(|(at, component)| reference(at, component)).collect(),
    };
    let all = bom.components.iter().enumerate().map(|(at, component)| Dependency {
        reference: reference(at, component),
        depends_on: component
            .needs
            .iter()
            .chain(&component.made_from)
            .filter(|to| **to != at)
            .filter_map(named)
            .collect(),
    });
    std::iter::once(image).chain(all).collect()
}
