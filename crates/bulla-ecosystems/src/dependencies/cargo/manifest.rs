//! Reads of a `Cargo.toml`, as `cargo publish` writes it, which crate it is of and what of it runs while others are compiled.

use serde::Deserialize;

use super::lock::shown;

#[derive(Debug, Deserialize)]
struct Manifest {
    #[serde(alias = "project")]
    package: Package,
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
struct Package {
    name: String,
    version: String,
    links: Option<String>,
    /// The file of its build script; `false` where there is none, whatever the files are.
    build: Option<toml::Value>,
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

/// Checks that it is the manifest of a crate.
///
/// # Errors
/// With what is wrong, when it is none, or that of another crate or version.
pub(super) fn check(text: &str, name: &str, version: &str) -> Result<(), String> {
    let own = parse(text)?.package;
    if own.name != name || own.version != version {
        return Err(format!("it is another crate: its Cargo.toml has {} {}", shown(&own.name), shown(&own.version)));
    }
    Ok(())
}
