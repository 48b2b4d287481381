//! SPDX 3.0 as JSON-LD (SPDX specification 3.0.1; profiles Core, Software, SimpleLicensing).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Algorithm, Bom, Component, Content, Format, Kind, Ownership, VERSION, identity};
use crate::json as writer;

const CONTEXT: &str = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld";
const CREATION: &str = "_:creation";

struct Writer<'a> {
    bom: &'a Bom,
    base: String,
    graph: Vec<Value>,
    elements: Vec<String>,
    relations: usize,
}

/// Writes the document.
pub(super) fn write(bom: &Bom) -> Vec<u8> {
    let base = format!("urn:uuid:{}", identity::uuid(bom, Format::Spdx30));
    let mut writer = Writer { bom, base, graph: Vec::new(), elements: Vec::new(), relations: 0 };
    writer.all();
    writer::write(&json!({"@context": CONTEXT, "@graph": writer.graph}))
}

impl Writer<'_> {
    fn id(&self, name: &str) -> String {
        format!("{}:{name}", self.base)
    }

    fn push(&mut self, name: &str, kind: &str, mut value: Value) -> String {
        let id = self.id(name);
        value["type"] = kind.into();
        value["spdxId"] = id.clone().into();
        value["creationInfo"] = CREATION.into();
        self.graph.push(value);
        self.elements.push(id.clone());
        id
    }

    fn all(&mut self) {
        let bom = self.bom;
        let tool = self.id("tool");
        self.graph.push(json!({
            "type": "CreationInfo", "@id": CREATION, "specVersion": "3.0.1", "created": bom.subject.created.rfc3339(),
            "createdBy": [self.id("author")], "createdUsing": [tool],
        }));
        self.push("author", "SoftwareAgent", json!({"name": "bulla"}));
        self.push("tool", "Tool", json!({"name": format!("bulla-{VERSION}")}));
        let agents = self.agents();
        let image = self.image(&agents);
        let licences = self.licences();
        let components: Vec<String> =
            bom.components.iter().enumerate().map(|(at, one)| self.component(at, one, &agents)).collect();
        let files: BTreeMap<usize, String> =
            bom.files.iter().enumerate().filter_map(|(at, _)| Some((at, self.file(at)?))).collect();
        self.relations(&image, &components, &files, &licences);
        let elements = std::mem::take(&mut self.elements);
        let kind = if bom.subject.built { "build" } else { "analyzed" };
        let sbom = self.push(
            "sbom",
            "software_Sbom",
            json!({"software_sbomType": [kind], "rootElement": [image], "element": elements}),
        );
        let notes = bom.notes.join("\n");
        let mut document = json!({
            "name": bom.subject.name, "rootElement": [sbom], "profileConformance": ["core", "software", "simpleLicensing"],
        });
        if !notes.is_empty() {
            document["comment"] = notes.into();
        }
        self.push("document", "SpdxDocument", document);
    }

    fn image(&mut self, agents: &BTreeMap<String, String>) -> String {
        let subject = &self.bom.subject;
        let mut value = json!({
            "name": subject.name,
            "software_packageVersion": subject.manifest.to_string(),
            "software_primaryPurpose": "container",
            "software_packageUrl": super::compose::image_purl(subject).to_string(),
            "verifiedUsing": [hash(Algorithm::Sha256, &subject.manifest.hex())],
        });
        if let Some(agent) = subject.supplier.as_ref().and_then(|party| agents.get(&party.name)) {
            value["suppliedBy"] = agent.clone().into();
        }
        self.push("image", "software_Package", value)
    }

    fn agents(&mut self) -> BTreeMap<String, String> {
        let names: BTreeSet<String> = self
            .bom
            .components
            .iter()
            .map(|one| &one.supplier)
            .chain([&self.bom.subject.supplier])
            .flatten()
            .map(|party| party.name.clone())
            .collect();
        let agent = |(at, name): (usize, String)| {
            (name.clone(), self.push(&format!("agent-{at}"), "Organization", json!({"name": name})))
        };
        names.into_iter().enumerate().map(agent).collect()
    }

    fn licences(&mut self) -> BTreeMap<String, String> {
        let all: BTreeMap<&str, &BTreeMap<String, String>> = self
            .bom
            .components
            .iter()
            .map(|one| (one.licence.expression.as_str(), &one.licence.others))
            .filter(|(text, _)| !text.is_empty())
            .collect();
        let texts: BTreeMap<&String, &String> = all.values().copied().flatten().collect();
        let texts: BTreeMap<String, String> = texts
            .into_iter()
            .enumerate()
            .map(|(at, (name, text))| {
                (
                    name.clone(),
                    self.push(
                        &format!("licence-text-{at}"),
                        "simplelicensing_SimpleLicensingText",
                        json!({"name": name, "simplelicensing_licenseText": text}),
                    ),
                )
            })
            .collect();
        all.into_iter()
            .enumerate()
            .map(|(at, (expression, others))| {
                let mut value = json!({"simplelicensing_licenseExpression": expression});
                let custom: Vec<Value> = others
                    .keys()
                    .filter_map(|name| Some(json!({"type": "DictionaryEntry", "key": name, "value": texts.get(name)?})))
                    .collect();
                if !custom.is_empty() {
                    value["simplelicensing_customIdToUri"] = custom.into();
                }
                (expression.to_owned(), self.push(&format!("licence-{at}"), "simplelicensing_LicenseExpression", value))
            })
            .collect()
    }

    fn component(&mut self, at: usize, component: &Component, agents: &BTreeMap<String, String>) -> String {
        let purpose = match component.kind {
            Kind::System => "operatingSystem",
            Kind::Package => "library",
            Kind::Made => "application",
        };
        let mut value = json!({
            "name": component.name,
            "software_primaryPurpose": purpose,
            "comment": super::compose::told(self.bom, component),
        });
        if let Some(version) = &component.version {
            value["software_packageVersion"] = version.clone().into();
        }
        if let Some(purl) = &component.purl {
            value["software_packageUrl"] = purl.to_string().into();
        }
        if let Some(agent) = component.supplier.as_ref().and_then(|party| agents.get(&party.name)) {
            value["suppliedBy"] = agent.clone().into();
        }
        if !component.digests.is_empty() {
            value["verifiedUsing"] = component.digests.iter().map(|(algorithm, hex)| hash(*algorithm, hex)).collect();
        }
        self.push(&identity::component(at, component), "software_Package", value)
    }

    fn file(&mut self, at: usize) -> Option<String> {
        let file = self.bom.files.get(at)?;
        let Content::Bytes { sha256, sha1, .. } = &file.content else { return None };
        let hashes = [hash(Algorithm::Sha1, sha1), hash(Algorithm::Sha256, &sha256.hex())];
        let mut value = json!({"name": format!("/{}", file.path), "verifiedUsing": hashes});
        match &file.owner {
            Ownership::Component(_) => {}
            Ownership::Native(what) | Ownership::Exception(what) => value["comment"] = what.clone().into(),
            Ownership::Unowned => value["comment"] = super::compose::NOBODY.into(),
        }
        Some(self.push(&identity::file(at), "software_File", value))
    }

    fn relate(&mut self, from: &str, kind: &str, to: Vec<String>) {
        if !to.is_empty() {
            let name = format!("relation-{}", self.relations);
            self.relations += 1;
            self.push(&name, "Relationship", json!({"from": from, "relationshipType": kind, "to": to}));
        }
    }

    fn relations(
        &mut self,
        image: &str,
        components: &[String],
        files: &BTreeMap<usize, String>,
        licences: &BTreeMap<String, String>,
    ) {
        let bom = self.bom;
        let mut contains = BTreeMap::<&str, Vec<String>>::new();
        for (at, component) in bom.components.iter().enumerate() {
            let Some(id) = components.get(at) else { continue };
            match component.inside.and_then(|file| files.get(&file)) {
                Some(file) => contains.entry(file).or_default().push(id.clone()),
                None if component.found_by == super::compose::INPUT => {}
                None => contains.entry(image).or_default().push(id.clone()),
            }
            let named = |places: &BTreeSet<usize>| {
                places.iter().filter_map(|to| components.get(*to).cloned()).collect::<Vec<_>>()
            };
            self.relate(id, "dependsOn", named(&component.needs));
            // What is made is made from what is on the other side.
            for input in named(&component.made_from) {
                self.relate(&input, "generates", vec![id.clone()]);
            }
            let licence = licences.get(&component.licence.expression).cloned();
            self.relate(id, "hasDeclaredLicense", licence.into_iter().collect());
        }
        for (at, file) in files {
            let owner = match bom.files.get(*at).map(|file| &file.owner) {
                Some(Ownership::Component(owner)) => components.get(*owner).map(String::as_str),
                _ => Some(image),
            };
            contains.entry(owner.unwrap_or(image)).or_default().push(file.clone());
        }
        for (from, to) in contains {
            self.relate(from, "contains", to);
        }
    }
}

fn hash(algorithm: Algorithm, hex: &str) -> Value {
    let algorithm = match algorithm {
        Algorithm::Md5 => "md5",
        Algorithm::Sha1 => "sha1",
        Algorithm::Sha256 => "sha256",
        Algorithm::Sha512 => "sha512",
    };
    json!({"type": "Hash", "algorithm": algorithm, "hashValue": hex})
}
