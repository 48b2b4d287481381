//! Makes of a `Cargo.toml` one that stands alone: what it takes from its workspace is written out, as `cargo vendor` and `cargo publish` write it
//! (doc.rust-lang.org/cargo/reference/workspaces.html, "The package table", "The dependencies table", "The lints table").

use bulla_model::CleanPath;
use toml::{Table, Value};

use super::lock::shown;

/// Keys of the manifest that count only at the top of what is built.
const OF_WORKSPACES: [&str; 4] = ["workspace", "patch", "replace", "profile"];
/// Tables of dependencies, in both of their spellings.
const DEPENDENCIES: [&str; 5] =
    ["dependencies", "dev-dependencies", "dev_dependencies", "build-dependencies", "build_dependencies"];
/// Keys of a package that are paths.
const PATHS: [&str; 2] = ["readme", "license-file"];

/// A workspace, as one of its packages sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Workspace<'a> {
    /// The manifest at its top.
    pub(super) manifest: &'a Table,
    /// How many folders the package lies below it.
    pub(super) below: usize,
}

impl<'a> Workspace<'a> {
    fn get(&self, keys: &[&str]) -> Option<&'a Value> {
        let mut at = self.manifest.get("workspace")?;
        for key in keys {
            at = at.get(key)?;
        }
        Some(at)
    }
}

/// Says whether a manifest takes something from its workspace.
pub(super) fn inherits(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

/// Gives the value of a key of the package, also where the workspace has it.
pub(super) fn of_package<'a>(
    manifest: &'a Table,
    key: &str,
    workspace: Option<Workspace<'a>>,
) -> Result<Option<&'a Value>, String> {
    let Some(own) = manifest.get("package").and_then(|package| package.get(key)) else { return Ok(None) };
    match inherits(own) {
        false => Ok(Some(own)),
        true => {
            let found = workspace.and_then(|workspace| workspace.get(&["package", key]));
            found.map(Some).ok_or_else(|| missing(&format!("package.{key}")))
        }
    }
}

fn missing(key: &str) -> String {
    format!("its Cargo.toml takes `{}` from a workspace that does not have it", shown(key))
}

/// Writes out what a manifest takes from its workspace.
///
/// # Errors
/// When the workspace does not have it.
pub(super) fn alone(manifest: &Table, workspace: Option<Workspace<'_>>) -> Result<Table, String> {
    let mut own = manifest.clone();
    for key in OF_WORKSPACES {
        own.remove(key);
    }
    if let Some(package) = own.get_mut("package").and_then(Value::as_table_mut) {
        package.remove("workspace");
        for (key, value) in package.iter_mut() {
            let Some(found) = of_package(manifest, key, workspace)?.filter(|_| inherits(value)) else { continue };
            let up = workspace.map_or(0, |workspace| workspace.below);
            *value = match found.as_str().filter(|_| PATHS.contains(&key.as_str())) {
                Some(path) => Value::String("../".repeat(up) + path),
                None => found.clone(),
            };
        }
    }
    if own.get("lints").is_some_and(inherits) {
        match workspace.and_then(|workspace| workspace.get(&["lints"])) {
            Some(lints) => own.insert("lints".to_owned(), lints.clone()),
            None => own.remove("lints"),
        };
    }
    dependencies(&mut own, workspace)?;
    if let Some(targets) = own.get_mut("target").and_then(Value::as_table_mut) {
        for (_, target) in targets.iter_mut() {
            target.as_table_mut().map_or(Ok(()), |target| dependencies(target, workspace))?;
        }
    }
    Ok(own)
}

fn dependencies(of: &mut Table, workspace: Option<Workspace<'_>>) -> Result<(), String> {
    for kind in DEPENDENCIES {
        let Some(all) = of.get_mut(kind).and_then(Value::as_table_mut) else { continue };
        for (name, own) in all.iter_mut().filter(|(_, own)| inherits(own)) {
            let of_workspace = workspace.and_then(|workspace| workspace.get(&["dependencies", name]));
            let of_workspace = of_workspace.ok_or_else(|| missing(&format!("dependencies.{name}")))?;
            *own = Value::Table(dependency(own, of_workspace));
        }
    }
    Ok(())
}

/// Makes one dependency of what a package says of it, which may only add, and what its workspace does.
fn dependency(own: &Value, of_workspace: &Value) -> Table {
    let mut made = match of_workspace {
        Value::Table(table) => table.clone(),
        version => Table::from_iter([("version".to_owned(), version.clone())]),
    };
    for (key, value) in own.as_table().into_iter().flatten() {
        match (key.as_str(), value) {
            ("workspace", _) => {}
            ("features", Value::Array(more)) => match made.get_mut("features").and_then(Value::as_array_mut) {
                Some(features) => features.extend(more.iter().cloned()),
                None => drop(made.insert(key.clone(), value.clone())),
            },
            // Off in the workspace, a package can turn them on; the other way around it cannot.
            ("default-features" | "default_features", Value::Boolean(false)) => {}
            ("default-features" | "default_features", _) => {
                made.remove("default_features");
                made.insert("default-features".to_owned(), value.clone());
            }
            _ => drop(made.insert(key.clone(), value.clone())),
        }
    }
    made
}

/// Says where the workspace of a package may be: the folder that it names, else each one above it, the nearest first. `None` is the top.
pub(super) fn places(folder: Option<&CleanPath>, manifest: &Table) -> Vec<Option<CleanPath>> {
    let named = manifest.get("package").and_then(|package| package.get("workspace")).and_then(Value::as_str);
    let mut up: Vec<Option<CleanPath>> = Vec::new();
    let Some(folder) = folder else { return vec![None] };
    up.push(Some(folder.clone()));
    up.extend(folder.ancestors().collect::<Vec<_>>().into_iter().rev().map(Some));
    up.push(None);
    match named.map(|named| named.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>()) {
        // One that is not above it has it among its members, and nothing here says where it is but this.
        Some(parts) if parts.iter().all(|part| *part == "..") => up.into_iter().skip(parts.len()).take(1).collect(),
        _ => up,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        toml::from_str(text).expect("a manifest")
    }

    #[test]
    fn what_a_workspace_has_is_written_out_and_nothing_of_it_is_left() {
        let top = table(
            "[workspace]\nmembers = ['a']\n[workspace.package]\nversion = '1.2.3'\nedition = '2021'\nreadme = 'README.md'\n[workspace.lints.rust]\nunused = 'deny'\n\
             [workspace.dependencies]\none = '1'\ntwo = { path = 'two', version = '2', default-features = false, features = ['x'] }\nthree = { git = 'https://h/x', default-features = true }\n",
        );
        let own = table(
            "[package]\nname = 'a'\nversion.workspace = true\nedition = { workspace = true }\nreadme.workspace = true\nworkspace = '../..'\n[lints]\nworkspace = true\n[profile.dev]\nopt-level = 1\n\
             [dependencies]\none.workspace = true\ntwo = { workspace = true, features = ['y'], optional = true, default-features = true }\n[target.'cfg(unix)'.build-dependencies]\nthree = { workspace = true, default-features = false }\n",
        );
        let made = alone(&own, Some(Workspace { manifest: &top, below: 2 })).expect("one");
        let wanted = table(
            "[package]\nname = 'a'\nversion = '1.2.3'\nedition = '2021'\nreadme = '../../README.md'\n[lints.rust]\nunused = 'deny'\n\
             [dependencies]\none = { version = '1' }\ntwo = { path = 'two', version = '2', default-features = true, features = ['x', 'y'], optional = true }\n[target.'cfg(unix)'.build-dependencies]\nthree = { git = 'https://h/x', default-features = true }\n",
        );
        assert_eq!(made, wanted);
        // The control: without a workspace it is an error that says what is missing.
        let told = alone(&own, None).expect_err("no workspace");
        assert!(told.contains("takes `package."), "{told}");
        let poor = table("[workspace.package]\nversion = '1'\nedition = '2021'\nreadme = 'x'\n");
        let told = alone(&own, Some(Workspace { manifest: &poor, below: 0 })).expect_err("no dependency");
        assert!(told.contains("takes `dependencies.one`"), "{told}");
    }

    #[test]
    fn a_workspace_is_looked_for_upwards_or_where_it_is_named() {
        let at = |folder: &str, manifest: &str| -> Vec<String> {
            let folder = CleanPath::parse(folder).expect("a path");
            let shown = |place: Option<CleanPath>| place.map(|place| place.to_string()).unwrap_or_default();
            places(Some(&folder), &table(manifest)).into_iter().map(shown).collect()
        };
        assert_eq!(at("a/b/c", ""), ["a/b/c", "a/b", "a", ""]);
        assert_eq!(at("a/b/c", "[package]\nworkspace = '../..'"), ["a"]);
        assert_eq!(at("a", "[package]\nworkspace = '../../..'"), [""; 0]);
        assert_eq!(places(None, &table("")), [None]);
    }
}
