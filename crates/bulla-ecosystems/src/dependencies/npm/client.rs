//! The clients: which one a lock file is of, how it is told where packages are, and what of a project's settings stands against that.

use std::collections::BTreeMap;

use bulla_model::{CleanPath, spec::InstallScripts};

use super::super::{CACHE, Client, Files, LockFileError};

/// The most bytes of a project's settings.
const MAX_SETTINGS: u64 = 1 << 20;

/// The client whose lock file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    /// npm: `package-lock.json`, `npm-shrinkwrap.json`, and whatever has another name.
    Npm,
    /// pnpm: `pnpm-lock.yaml`.
    Pnpm,
    /// yarn 1: `yarn.lock` of version 1.
    Yarn1,
    /// yarn 2 and later: `yarn.lock` with `__metadata`.
    Yarn,
}

impl Tool {
    /// Says whose lock file it is, by its name; that of yarn by its content.
    ///
    /// # Errors
    /// When it is of a client whose lock files are not read.
    pub(super) fn of(file: &CleanPath, text: &str) -> Result<Self, LockFileError> {
        match file.name() {
            b"bun.lock" | b"bun.lockb" => Err(LockFileError {
                file: file.to_string(),
                line: None,
                what: "it is a lock file of bun, which is not read".to_owned(),
                hints: vec!["lock by npm, pnpm or yarn".to_owned()],
            }),
            b"yarn.lock" if text.lines().any(|line| line == "__metadata:") => Ok(Self::Yarn),
            b"yarn.lock" => Ok(Self::Yarn1),
            name if name.ends_with(b".yaml") => Ok(Self::Pnpm),
            _ => Ok(Self::Npm),
        }
    }

    /// Gives the command that makes a lock file, by its name.
    pub(super) fn locking(file: &CleanPath) -> &'static str {
        match file.name() {
            b"yarn.lock" => "`yarn install`",
            name if name.ends_with(b".yaml") => "`pnpm install --lockfile-only`",
            _ => "`npm install --package-lock-only`",
        }
    }

    /// Gives its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pnpm => "pnpm",
            Self::Yarn1 | Self::Yarn => "yarn",
        }
    }

    /// Gives the command that brings its lock file up to date.
    pub(super) const fn install(self) -> &'static str {
        match self {
            Self::Npm => "`npm install`",
            Self::Pnpm => "`pnpm install`",
            Self::Yarn1 | Self::Yarn => "`yarn install`",
        }
    }

    /// Says whether it runs all scripts by a program that can be set.
    pub(super) const fn has_script_shell(self) -> bool {
        matches!(self, Self::Npm | Self::Pnpm)
    }

    /// Gives the setting that denies scripts of packages, and its value, where there is one for all of them.
    const fn denial(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Npm | Self::Pnpm => None,
            Self::Yarn1 => Some(("YARN_IGNORE_SCRIPTS", "true")),
            Self::Yarn => Some(("YARN_ENABLE_SCRIPTS", "false")),
        }
    }

    /// Says whether a variable is that setting.
    pub(super) fn is_denial(self, variable: &str) -> bool {
        let same = |setting: &str| variable.to_ascii_lowercase().replace('-', "_") == setting.to_ascii_lowercase();
        self.denial().is_some_and(|(setting, _)| same(setting))
            || self == Self::Yarn1 && same("npm_config_ignore_scripts")
    }
}

/// Says how a client finds the repository.
pub(super) fn settings(tool: Tool, base: &str, replaced_host: &str, (proxied, denies): (bool, bool)) -> Client {
    let mut settings = vec![
        ("registry", format!("{base}/npm/")),
        ("cache", format!("{CACHE}/npm")),
        ("audit", "false".to_owned()),
        ("fund", "false".to_owned()),
        ("update_notifier", "false".to_owned()),
        ("fetch_retries", "0".to_owned()),
    ];
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    match tool {
        Tool::Npm => settings.extend([
            ("replace_registry_host", replaced_host.to_owned()),
            ("omit_lockfile_registry_resolved", "true".to_owned()),
        ]),
        Tool::Pnpm => {
            settings.extend([
                ("store_dir", format!("{CACHE}/pnpm/store")),
                ("cache_dir", format!("{CACHE}/pnpm/cache")),
                ("state_dir", format!("{CACHE}/pnpm/state")),
                // It would fetch the version of itself that `package.json` names.
                ("manage_package_manager_versions", "false".to_owned()),
                // It asks nobody whether it may put `node_modules` of an earlier step away.
                ("confirm_modules_purge", "false".to_owned()),
                // Scripts are run by a shell, which may be one of ours.
                ("shell_emulator", "false".to_owned()),
            ]);
            // The name that newer ones have for the same.
            env.extend(settings.iter().map(|(key, value)| (format!("pnpm_config_{key}"), value.clone())));
        }
        Tool::Yarn1 => env.extend([
            ("YARN_CACHE_FOLDER".to_owned(), format!("{CACHE}/yarn")),
            ("YARN_DISABLE_SELF_UPDATE_CHECK".to_owned(), "true".to_owned()),
        ]),
        // It knows no others, and stops at those that it does not know.
        Tool::Yarn => {
            let known = [
                ("NPM_REGISTRY_SERVER", format!("{base}/npm")),
                ("UNSAFE_HTTP_WHITELIST", "127.0.0.1".to_owned()),
                ("ENABLE_TELEMETRY", "false".to_owned()),
                ("GLOBAL_FOLDER", format!("{CACHE}/yarn")),
                // What it links to has to be there in later steps.
                ("ENABLE_GLOBAL_CACHE", "false".to_owned()),
                ("HTTP_RETRY", "0".to_owned()),
            ];
            // It does not go by the variables that name a proxy to others.
            let proxy = proxied.then(|| ("HTTPS_PROXY", base.to_owned()));
            env.extend(known.into_iter().chain(proxy).map(|(key, value)| (format!("YARN_{key}"), value)));
        }
    }
    if let Some((setting, value)) = tool.denial().filter(|_| denies) {
        env.insert(setting.to_owned(), value.to_owned());
    }
    env.extend(settings.into_iter().map(|(key, value)| (format!("npm_config_{key}"), value)));
    Client { env, ..Client::default() }
}

/// Refuses what the project's own settings would send elsewhere, or would have run in another way than the stage wants, where no variable
/// can overrule it.
pub(super) fn check_settings(
    tool: Tool,
    files: &dyn Files,
    file: &CleanPath,
    asked: &BTreeMap<String, u32>,
    scripts: &InstallScripts,
) -> Result<(), LockFileError> {
    let beside = |name: &str| {
        let name = CleanPath::parse(name).ok()?;
        let path = match file.parent() {
            Some(parent) => parent.join(&name).ok()?,
            None => name,
        };
        let text = files.read(&path, MAX_SETTINGS).ok()??;
        Some((path, String::from_utf8_lossy(&text).into_owned()))
    };
    if let Some((path, text)) = beside(".npmrc") {
        check_scopes(tool, file, (&path, &text), asked)?;
    }
    if tool == Tool::Pnpm
        && let Some((path, text)) = beside("pnpm-workspace.yaml")
    {
        check_workspace(&path, &text, scripts)?;
    }
    if tool == Tool::Yarn
        && let Some((path, text)) = beside(".yarnrc.yml")
    {
        check_yarnrc(file, (&path, &text), asked)?;
    }
    match scripts {
        InstallScripts::Deny { allow } if !allow.is_empty() && !tool.has_script_shell() => Err(LockFileError {
            file: file.to_string(),
            line: None,
            what: "`scripts` allows those of some packages, and yarn can run the scripts of all packages or of none"
                .to_owned(),
            hints: vec!["write `scripts: deny`, and run what single packages need in a step of its own".to_owned()],
        }),
        _ => Ok(()),
    }
}

/// Refuses a scope that has a registry in the project's settings, where the lock file does not say where its archives are. Variables
/// cannot overrule that, because a shell drops those whose names have an `@`.
fn check_scopes(
    tool: Tool,
    file: &CleanPath,
    (settings, text): (&CleanPath, &str),
    asked: &BTreeMap<String, u32>,
) -> Result<(), LockFileError> {
    for (number, line) in text.lines().enumerate() {
        let Some((scope, _)) = line.trim().split_once(":registry") else { continue };
        if let Some(at) = asked.get(scope) {
            let hint = match tool {
                Tool::Npm => {
                    "move the line into your own `~/.npmrc`, or run `npm install --omit-lockfile-registry-resolved=false`, and commit the lock file"
                }
                Tool::Yarn1 | Tool::Yarn => "move the line into your own `~/.npmrc`",
                Tool::Pnpm => {
                    "move the line into your own `~/.npmrc`, or run `pnpm install --config.lockfile-include-tarball-url=true`, and commit the lock file"
                }
            };
            return Err(LockFileError {
                file: settings.to_string(),
                line: u32::try_from(number + 1).ok(),
                what: format!(
                    "packages of `{scope}` would be looked for in the registry that this line names, and {file}:{at} does not say where they are"
                ),
                hints: vec![hint.to_owned()],
            });
        }
    }
    Ok(())
}

/// Refuses keys of `pnpm-workspace.yaml` that are stronger than variables. What is no such file is pnpm's to complain of.
fn check_workspace(path: &CleanPath, text: &str, scripts: &InstallScripts) -> Result<(), LockFileError> {
    let Ok(tree) = super::yaml::parse(text) else { return Ok(()) };
    let denies = matches!(scripts, InstallScripts::Deny { .. });
    for (key, node) in tree.entries() {
        let (what, hint) = match key.as_str() {
            "registry" | "registries" => (
                format!("`{key}` would have packages looked for elsewhere than in the step"),
                "move it into your own `~/.npmrc`",
            ),
            "shellEmulator" | "scriptShell" if denies => {
                (format!("`scripts` denies some, and `{key}` would have them run"), "take it out, or let scripts run")
            }
            _ => continue,
        };
        let (file, line, hints) = (path.to_string(), Some(node.line), vec![hint.to_owned()]);
        return Err(LockFileError { file, line, what, hints });
    }
    Ok(())
}

/// Refuses a scope that has a registry in `.yarnrc.yml`: that is stronger than the variable for all packages.
fn check_yarnrc(
    file: &CleanPath,
    (path, text): (&CleanPath, &str),
    asked: &BTreeMap<String, u32>,
) -> Result<(), LockFileError> {
    let Ok(tree) = super::yaml::parse(text) else { return Ok(()) };
    for (scope, node) in tree.get("npmScopes").map(super::yaml::Node::entries).unwrap_or_default() {
        let (scope, server) = (format!("@{scope}"), node.get("npmRegistryServer"));
        if let (Some(at), Some(server)) = (asked.get(&scope), server) {
            return Err(LockFileError {
                file: path.to_string(),
                line: Some(server.line),
                what: format!("packages of `{scope}` would be looked for at this address, and {file}:{at} has such"),
                hints: vec![format!(
                    "take it out, and write `{scope}:registry=https://HOST/` into your own `~/.npmrc`"
                )],
            });
        }
    }
    Ok(())
}
