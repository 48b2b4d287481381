//! SPDX 2.3 as JSON (SPDX specification 2.3, clauses 6 to 12; the JSON schema of the same version).

use std::collections::BTreeMap;

use serde::Serialize;
use sha1::Digest as _;

use super::{Algorithm, Bom, Component, Content, File, Format, Kind, Ownership, Party, VERSION, identity};
use crate::json;

const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const IMAGE: &str = "SPDXRef-Image";
const NOTHING: &str = "NOASSERTION";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: &'a str,
    document_namespace: String,
    creation_info: CreationInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    document_describes: [&'static str; 1],
    packages: Vec<Package>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<FileEntry<'a>>,
    relationships: Vec<Relationship>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    has_extracted_licensing_infos: Vec<Extracted<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreationInfo {
    created: String,
    creators: [String; 1],
    license_list_version: String,
    comment: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_info: Option<String>,
    supplier: String,
    download_location: &'static str,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_verification_code: Option<VerificationCode>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<Checksum>,
    license_concluded: &'static str,
    license_declared: String,
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_info: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalRef>,
    primary_package_purpose: &'static str,
}

#[derive(Serialize, Clone)]
#[serde(rename_all = "camelCase")]
struct VerificationCode {
    package_verification_code_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FileEntry<'a> {
    #[serde(rename = "SPDXID")]
    id: String,
    file_name: String,
    checksums: [Checksum; 2],
    license_concluded: &'static str,
    license_info_in_files: [&'static str; 1],
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: &'static str,
    checksum_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Extracted<'a> {
    license_id: &'a str,
    extracted_text: &'a str,
}

/// Writes the document.
pub(super) fn write(bom: &Bom) -> Vec<u8> {
    let subject = &bom.subject;
    let codes = codes(bom);
    let comment = if bom.notes.is_empty() { None } else { Some(bom.notes.join("\n")) };
    json::write(&Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT,
        name: &subject.name,
        document_namespace: format!("urn:uuid:{}", identity::uuid(bom, Format::Spdx23)),
        creation_info: CreationInfo {
            created: subject.created.rfc3339(),
            creators: [format!("Tool: bulla-{VERSION}")],
            license_list_version: list_version(),
            comment: if subject.built { "made by what built the image" } else { "made by looking at the image" },
        },
        comment,
        document_describes: [IMAGE],
        packages: std::iter::once(image(bom, codes.get(&None)))
            .chain(bom.components.iter().enumerate().map(|(at, one)| package(bom, at, one, codes.get(&Some(at)))))
            .collect(),
        files: bom.files.iter().enumerate().filter_map(|(at, one)| file(at, one)).collect(),
        relationships: relationships(bom),
        has_extracted_licensing_infos: extracted(bom),
    })
}

/// The version of the list, which has two numbers in this field.
fn list_version() -> String {
    spdx::license_version().trim_start_matches('v').split('.').take(2).collect::<Vec<_>>().join(".")
}

/// Gives the verification codes of the image and of the components that own files, by their places (clause 7.9): the SHA-1 of all SHA-1s, sorted.
fn codes(bom: &Bom) -> BTreeMap<Option<usize>, VerificationCode> {
    let mut sums = BTreeMap::<Option<usize>, Vec<&str>>::new();
    for file in &bom.files {
        if let Content::Bytes { sha1, .. } = &file.content {
            sums.entry(owner(file)).or_default().push(sha1);
        }
    }
    let code = |mut sums: Vec<&str>| {
        sums.sort_unstable();
        let value = sha1::Sha1::digest(sums.concat().as_bytes());
        VerificationCode { package_verification_code_value: value.iter().map(|byte| format!("{byte:02x}")).collect() }
    };
    sums.into_iter().map(|(owner, sums)| (owner, code(sums))).collect()
}

/// Gives the component that a file is told with; none is the image itself.
const fn owner(file: &File) -> Option<usize> {
    match file.owner {
        Ownership::Component(owner) => Some(owner),
        _ => None,
    }
}

fn image(bom: &Bom, code: Option<&VerificationCode>) -> Package {
    let subject = &bom.subject;
    Package {
        id: IMAGE.to_owned(),
        name: subject.name.clone(),
        version_info: Some(subject.manifest.to_string()),
        supplier: subject.supplier.as_ref().map_or_else(|| NOTHING.to_owned(), party),
        download_location: NOTHING,
        files_analyzed: code.is_some(),
        package_verification_code: code.cloned(),
        checksums: vec![Checksum { algorithm: "SHA256", checksum_value: subject.manifest.hex() }],
        license_concluded: NOTHING,
        license_declared: NOTHING.to_owned(),
        copyright_text: NOTHING,
        source_info: None,
        external_refs: vec![purl_ref(super::compose::image_purl(subject).to_string())],
        primary_package_purpose: "CONTAINER",
    }
}

fn purl_ref(purl: String) -> ExternalRef {
    ExternalRef { reference_category: "PACKAGE-MANAGER", reference_type: "purl", reference_locator: purl }
}

fn package(bom: &Bom, at: usize, component: &Component, code: Option<&VerificationCode>) -> Package {
    let licence = &component.licence;
    Package {
        id: id_of(at, component),
        name: component.name.clone(),
        version_info: component.version.clone(),
        supplier: component.supplier.as_ref().map_or_else(|| NOTHING.to_owned(), party),
        download_location: NOTHING,
        files_analyzed: code.is_some(),
        package_verification_code: code.cloned(),
        checksums: component.digests.iter().map(|(algorithm, hex)| checksum(*algorithm, hex)).collect(),
        license_concluded: NOTHING,
        license_declared: if licence.is_unknown() { NOTHING.to_owned() } else { licence.expression.clone() },
        copyright_text: NOTHING,
        source_info: Some(super::compose::told(bom, component)),
        external_refs: component.purl.iter().map(|purl| purl_ref(purl.to_string())).collect(),
        primary_package_purpose: match component.kind {
            Kind::System => "OPERATING-SYSTEM",
            Kind::Package => "LIBRARY",
            Kind::Made => "APPLICATION",
        },
    }
}

fn party(party: &Party) -> String {
    match &party.email {
        Some(email) => format!("Organization: {} ({email})", bracketless(&party.name)),
        None => format!("Organization: {}", bracketless(&party.name)),
    }
}

/// Brackets would begin an address.
fn bracketless(name: &str) -> String {
    name.replace(['(', ')'], "")
}

fn checksum(algorithm: Algorithm, hex: &str) -> Checksum {
    let algorithm = match algorithm {
        Algorithm::Md5 => "MD5",
        Algorithm::Sha1 => "SHA1",
        Algorithm::Sha256 => "SHA256",
        Algorithm::Sha512 => "SHA512",
    };
    Checksum { algorithm, checksum_value: hex.to_owned() }
}

fn file(at: usize, file: &File) -> Option<FileEntry<'_>> {
    let Content::Bytes { sha256, sha1, .. } = &file.content else { return None };
    Some(FileEntry {
        id: format!("SPDXRef-{}", identity::file(at)),
        file_name: format!("./{}", file.path),
        checksums: [checksum(Algorithm::Sha1, sha1), checksum(Algorithm::Sha256, &sha256.hex())],
        license_concluded: NOTHING,
        license_info_in_files: [NOTHING],
        copyright_text: NOTHING,
        comment: match &file.owner {
            Ownership::Component(_) => None,
            Ownership::Native(what) | Ownership::Exception(what) => Some(what),
            Ownership::Unowned => Some(super::compose::NOBODY),
        },
    })
}

fn id_of(at: usize, component: &Component) -> String {
    format!("SPDXRef-{}", identity::component(at, component))
}

fn relationships(bom: &Bom) -> Vec<Relationship> {
    let id = |at: usize| bom.components.get(at).map(|component| id_of(at, component));
    let relation = |from: &str, kind, to: String| Relationship {
        spdx_element_id: from.to_owned(),
        relationship_type: kind,
        related_spdx_element: to,
    };
    let mut all = vec![relation(DOCUMENT, "DESCRIBES", IMAGE.to_owned())];
    for (at, component) in bom.components.iter().enumerate() {
        let own = id_of(at, component);
        let holder = component
            .inside
            .filter(|file| matches!(bom.files.get(*file).map(|file| &file.content), Some(Content::Bytes { .. })));
        match holder {
            Some(file) => all.push(relation(&format!("SPDXRef-{}", identity::file(file)), "CONTAINS", own.clone())),
            None if component.found_by == super::compose::INPUT => {}
            None => all.push(relation(IMAGE, "CONTAINS", own.clone())),
        }
        all.extend(component.needs.iter().filter_map(|to| Some(relation(&own, "DEPENDS_ON", id(*to)?))));
        all.extend(component.made_from.iter().filter_map(|to| Some(relation(&own, "GENERATED_FROM", id(*to)?))));
    }
    for (at, file) in bom.files.iter().enumerate() {
        if !matches!(file.content, Content::Bytes { .. }) {
            continue;
        }
        let owner = owner(file).map_or_else(|| Some(IMAGE.to_owned()), id);
        all.extend(owner.map(|owner| relation(&owner, "CONTAINS", format!("SPDXRef-{}", identity::file(at)))));
    }
    all
}

fn extracted(bom: &Bom) -> Vec<Extracted<'_>> {
    let all: BTreeMap<&str, &str> = bom
        .components
        .iter()
        .flat_map(|component| &component.licence.others)
        .map(|(id, text)| (id.as_str(), text.as_str()))
        .collect();
    all.into_iter().map(|(license_id, extracted_text)| Extracted { license_id, extracted_text }).collect()
}
