//! Reads `gradle.lockfile` (Gradle's user manual, "Locking versions"), and those of single configurations that Gradle wrote before 6.

use bulla_model::CleanPath;

use super::{super::LockFileError, metadata::Module, wrong};

/// The most bytes of it.
pub(super) const MAX_LOCK: u64 = 16 << 20;

const AGAIN: &str = "make it anew by `gradle dependencies --write-locks`, commit it, build again";

/// Reads the modules, each with its line.
pub(super) fn read(text: &str, path: &CleanPath) -> Result<Vec<(Module, u32)>, LockFileError> {
    let mut modules = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if ["<<<<<<< ", ">>>>>>> "].iter().any(|mark| line.starts_with(mark)) || line == "=======" {
            return Err(wrong(path, number, "a merge left its marks", AGAIN));
        }
        // What follows is the configurations that it is in; `empty` has those without any module.
        let module = line.split('=').next().unwrap_or_default();
        if module == "empty" && line.contains('=') {
            continue;
        }
        let mut parts = module.split(':');
        let found = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(group), Some(name), Some(version), None) => Module::new(group, name, version),
            _ => None,
        };
        let shown: String = module.chars().filter(|c| !c.is_control()).take(120).collect();
        let wrong =
            || wrong(path, number, format!("`{shown}` is no locked module, GROUP:NAME:VERSION=CONFIGURATIONS"), AGAIN);
        modules.push((found.ok_or_else(wrong)?, number));
    }
    Ok(modules)
}
