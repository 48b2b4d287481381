//! The other clients of npm's packages, as packages of Debian for a stage, and lock files as they write them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    NpmPackage,
    archive::TarEntry,
    cache,
    debian::{Compression, Deb},
    npm::files,
    process, skipped,
};

/// Gives the archive of a client, fetched by npm itself with the machine's own settings, once. `None`, after it was said why, where it
/// cannot be had.
pub fn client_archive(package: &str, version: &str) -> Option<PathBuf> {
    match fetched(package, version) {
        Ok(file) => Some(file),
        Err(why) => {
            skipped(&format!("{package} {version}"), &why);
            None
        }
    }
}

fn fetched(package: &str, version: &str) -> Result<PathBuf, String> {
    let base = package.rsplit('/').next().unwrap_or(package);
    let file = cache::folder().join(format!("npm/{package}/-/{base}-{version}.tgz"));
    let _lock = cache::lock("npm");
    if !file.is_file() {
        let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut pack = Command::new("npm");
        pack.args(["pack", "--ignore-scripts", "--silent", "--pack-destination"]).arg(scratch.path());
        process::output(pack.arg(format!("{package}@{version}")).current_dir(scratch.path()))?;
        let packed = fs_err::read_dir(scratch.path()).map_err(|error| error.to_string())?.flatten().next();
        let packed = packed.ok_or("npm gave nothing")?.path();
        fs_err::create_dir_all(file.parent().ok_or("no folder")?).map_err(|error| error.to_string())?;
        let beside = file.with_extension("part");
        fs_err::copy(packed, &beside).map_err(|error| error.to_string())?;
        fs_err::rename(beside, &file).map_err(|error| error.to_string())?;
    }
    Ok(file)
}

/// Makes a package of Debian of a client, whose program has a name in `/usr/bin`. `None`, after it was said why, where it cannot be had.
pub fn client_deb(package: &str, version: &str, program: &str, main: &str) -> Option<Deb> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    unpacked_client(package, version, folder.path(), main)?;
    match made(folder.path(), version, program, main) {
        Ok(deb) => Some(deb),
        Err(why) => {
            skipped(&format!("{package} {version}"), &why);
            None
        }
    }
}

fn made(folder: &Path, version: &str, program: &str, main: &str) -> Result<Deb, String> {
    let mut deb = Deb::new(program, version).compression(Compression::None);
    for file in files(folder)? {
        let inside = file.strip_prefix(folder).map_err(|error| error.to_string())?.display().to_string();
        let bytes = fs_err::read(&file).map_err(|error| error.to_string())?;
        let mode = if inside == main { 0o755 } else { 0o644 };
        deb = deb.file(&format!("usr/lib/node_modules/{program}/{inside}"), mode, bytes);
    }
    let target = format!("../lib/node_modules/{program}/{main}");
    // A system has this folder, and clients want it.
    deb = deb.entry(TarEntry::directory("./tmp", 0o1777));
    Ok(deb.entry(TarEntry::symlink(format!("./usr/bin/{program}"), target)))
}

/// Makes a command that runs a client's main program on the machine's own Node in a folder, with a registry and a home of its own.
pub fn client(main: &Path, folder: &Path, home: &Path, registry: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(main).current_dir(folder).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", home);
    command.env("npm_config_registry", registry).env("npm_config_globalconfig", home.join("no-such-file"));
    command.env("npm_config_update_notifier", "false").env("npm_config_manage_package_manager_versions", "false");
    command
}

/// Unpacks the archive of a client into a folder, and gives that of its main program.
pub fn unpacked_client(package: &str, version: &str, folder: &Path, main: &str) -> Option<PathBuf> {
    let archive = client_archive(package, version)?;
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(archive).arg("-C").arg(folder).arg("--strip-components=1");
    process::output(&mut tar).expect("unpacking a client");
    Some(folder.join(main))
}

fn wanted(packages: &[&NpmPackage]) -> BTreeMap<String, String> {
    packages.iter().map(|one| (one.name.clone(), one.version.clone())).collect()
}

/// Writes a `pnpm-lock.yaml` of version 9 that has these packages, with those that each depends on.
pub fn pnpm_lock(packages: &[&NpmPackage]) -> String {
    let mut text = "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\nimporters:\n\n  .:\n    dependencies:\n".to_owned();
    for (name, version) in wanted(packages) {
        text.push_str(&format!("      '{name}':\n        specifier: {version}\n        version: {version}\n"));
    }
    let mut sorted = packages.to_vec();
    sorted.sort_by_key(|one| format!("{}@{}", one.name, one.version));
    text.push_str("\npackages:\n");
    for one in &sorted {
        let (name, version, integrity) = (&one.name, &one.version, one.integrity());
        text.push_str(&format!("\n  '{name}@{version}':\n    resolution: {{integrity: {integrity}}}\n"));
        if one.locked().get("bin").is_some() {
            text.push_str("    hasBin: true\n");
        }
    }
    text.push_str("\nsnapshots:\n");
    let of = wanted(packages);
    for one in &sorted {
        text.push_str(&format!("\n  '{}@{}':", one.name, one.version));
        let entry = one.locked();
        let needs: Vec<&String> = entry["dependencies"].as_object().into_iter().flat_map(|map| map.keys()).collect();
        let needs: Vec<_> = needs.into_iter().filter_map(|name| Some((name, of.get(name)?))).collect();
        if needs.is_empty() {
            text.push_str(" {}\n");
        } else {
            text.push_str("\n    dependencies:\n");
            needs.iter().for_each(|(name, version)| text.push_str(&format!("      '{name}': {version}\n")));
        }
    }
    text
}

/// Writes a `yarn.lock` of version 1 that has these packages at addresses of a registry.
pub fn yarn_lock(registry: &str, packages: &[&NpmPackage]) -> String {
    let mut text =
        "# THIS IS AN AUTOGENERATED FILE. DO NOT EDIT THIS FILE DIRECTLY.\n# yarn lockfile v1\n\n".to_owned();
    let mut sorted = packages.to_vec();
    sorted.sort_by_key(|one| format!("{}@{}", one.name, one.version));
    for one in sorted {
        let (name, version, path, integrity) = (&one.name, &one.version, one.path(), one.integrity());
        let key = if name.starts_with('@') { format!("\"{name}@{version}\"") } else { format!("{name}@{version}") };
        text.push_str(&format!(
            "\n{key}:\n  version \"{version}\"\n  resolved \"{registry}{path}\"\n  integrity {integrity}\n"
        ));
        let entry = one.locked();
        let needs: Vec<_> = entry["dependencies"].as_object().into_iter().flatten().collect();
        if !needs.is_empty() {
            text.push_str("  dependencies:\n");
        }
        for (name, range) in needs {
            text.push_str(&format!("    {name} {range}\n"));
        }
    }
    text
}
