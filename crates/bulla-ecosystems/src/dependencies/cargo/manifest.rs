//! Makes a line of a registry's index of the `Cargo.toml` in a crate (doc.rust-lang.org/cargo/reference, "Registry Index").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lock::{CRATES_IO_INDEX, Registry, shown};

/// A `Cargo.toml`, as `cargo publish` writes it, as far as an index has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Manifest {
    #[serde(alias = "project")]
    package: Package,
    #[serde(flatten)]
    needs: Needs,
    #[serde(default)]
    target: BTreeMap<String, Needs>,
    #[serde(default)]
    features: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    lib: Library,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Library {
    #[serde(alias = "proc_macro")]
    proc_macro: bool,
    #[serde(alias = "crate_type")]
    crate_type: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Package {
    name: String,
    version: String,
    links: Option<String>,
    /// The file of its build script; `false` where there is none, whatever the files are.
    build: Option<toml::Value>,
    /// Text, but for manifests that were never published.
    rust_version: Option<toml::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Needs {
    #[serde(default)]
    dependencies: BTreeMap<String, Need>,
    #[serde(default, alias = "dev_dependencies")]
    dev_dependencies: BTreeMap<String, Need>,
    #[serde(default, alias = "build_dependencies")]
    build_dependencies: BTreeMap<String, Need>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Need {
    Version(String),
    Table(Table),
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Table {
    version: Option<String>,
    #[serde(default)]
    optional: bool,
    #[serde(alias = "default_features")]
    default_features: Option<bool>,
    #[serde(default)]
    features: Vec<String>,
    package: Option<String>,
    registry_index: Option<String>,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    vers: &'a str,
    deps: Vec<Dependency<'a>>,
    cksum: &'a str,
    features: BTreeMap<&'a str, &'a [String]>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    features2: BTreeMap<&'a str, &'a [String]>,
    yanked: bool,
    links: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rust_version: Option<&'a str>,
    /// 2, where there are `features2`.
    v: u32,
}

#[derive(Serialize)]
struct Dependency<'a> {
    name: &'a str,
    req: &'a str,
    features: &'a [String],
    optional: bool,
    default_features: bool,
    target: Option<&'a str>,
    kind: &'static str,
    registry: Option<&'a str>,
    package: Option<&'a str>,
}

fn parse(text: &str) -> Result<Manifest, String> {
    toml::from_str(text).map_err(|error| format!("its Cargo.toml cannot be read: {}", shown(error.message())))
}

/// Says what of a crate is run while a program is compiled that depends on it.
///
/// # Errors
/// When it has no manifest.
pub(super) fn runs(text: &str, build_rs: bool) -> Result<Option<&'static str>, String> {
    let manifest = parse(text)?;
    let script = match &manifest.package.build {
        None => build_rs,
        Some(build) => build.as_bool() != Some(false),
    };
    let library = &manifest.lib;
    Ok(if script || manifest.package.links.is_some() {
        Some("build script")
    } else if library.proc_macro || library.crate_type.iter().any(|one| one == "proc-macro") {
        Some("procedural macro")
    } else {
        None
    })
}

/// Makes the line, without its end.
///
/// # Errors
/// With what is wrong, when it is no manifest, or that of another crate or version.
pub(super) fn line(
    text: &str,
    registry: &Registry,
    name: &str,
    version: &str,
    checksum: &str,
) -> Result<Vec<u8>, String> {
    let manifest = parse(text)?;
    let own = &manifest.package;
    if own.name != name || own.version != version {
        return Err(format!("it is another crate: its Cargo.toml has {} {}", shown(&own.name), shown(&own.version)));
    }
    let mut deps = Vec::new();
    let whole = std::iter::once((None, &manifest.needs));
    for (target, needs) in whole.chain(manifest.target.iter().map(|(target, needs)| (Some(target.as_str()), needs))) {
        let kinds =
            [("normal", &needs.dependencies), ("build", &needs.build_dependencies), ("dev", &needs.dev_dependencies)];
        for (kind, all) in kinds {
            deps.extend(all.iter().map(|(name, need)| dependency(name, need, kind, target, registry)));
        }
    }
    // Old versions of cargo do not know `dep:` and `?`, and pass over lines that have them elsewhere.
    let is_new = |values: &[String]| values.iter().any(|value| value.starts_with("dep:") || value.contains("?/"));
    let (features2, features): (BTreeMap<_, _>, BTreeMap<_, _>) = manifest
        .features
        .iter()
        .map(|(name, values)| (name.as_str(), values.as_slice()))
        .partition(|(_, values)| is_new(values));
    let line = Line {
        name,
        vers: version,
        deps,
        cksum: checksum,
        v: if features2.is_empty() { 1 } else { 2 },
        features,
        features2,
        yanked: false,
        links: own.links.as_deref(),
        rust_version: own.rust_version.as_ref().and_then(toml::Value::as_str),
    };
    serde_json::to_vec(&line).map_err(|error| format!("its Cargo.toml makes no line of an index: {error}"))
}

fn dependency<'a>(
    name: &'a str,
    need: &'a Need,
    kind: &'static str,
    target: Option<&'a str>,
    registry: &Registry,
) -> Dependency<'a> {
    let (version, table) = match need {
        Need::Version(version) => (Some(version), None),
        Need::Table(table) => (table.version.as_ref(), Some(table)),
    };
    // A manifest names every registry but cargo's own; an index, every one but itself.
    let named = table.and_then(|table| table.registry_index.as_deref());
    let own = |index: &str| matches!(registry, Registry::Sparse(own) if index.trim_end_matches('/') == format!("sparse+{}", own.trim_end_matches('/')));
    let elsewhere = match (registry, named) {
        (Registry::CratesIo, None) => None,
        (Registry::Sparse(_), None) => Some(CRATES_IO_INDEX),
        (_, Some(index)) => Some(index).filter(|index| !own(index)),
    };
    Dependency {
        name,
        req: version.map_or("*", String::as_str),
        features: table.map_or(&[], |table| &table.features),
        optional: table.is_some_and(|table| table.optional),
        default_features: table.and_then(|table| table.default_features).unwrap_or(true),
        target,
        kind,
        registry: elsewhere,
        package: table.and_then(|table| table.package.as_deref()),
    }
}
