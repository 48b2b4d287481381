//! The emulator of what runs on another platform: a package that the lock pins, of which one program is taken.

use std::path::PathBuf;

use bulla_model::{CleanPath, Platform, plan::PlannedPackage, tree::Node};
use bulla_sandbox::{Emulation, Machine};

use super::{BuildError, context::Context, outputs, packages};

/// Gives what the sandbox needs to run programs of a platform; `None` where the machine runs them itself.
pub(super) fn get(
    context: &Context<'_>,
    emulator: Option<&PlannedPackage>,
    native: Platform,
) -> Result<Option<Emulation>, BuildError> {
    let machine = match native {
        Platform::LinuxAmd64 => return Ok(None),
        Platform::LinuxArm64 => Machine::Aarch64,
    };
    let planned = emulator.ok_or_else(|| super::stages::internal("a foreign platform without an emulator"))?;
    let unpacked = packages::unpack(context, std::slice::from_ref(planned), &|_| ())?;
    let tree =
        unpacked.first().map(|one| one.tree).ok_or_else(|| super::stages::internal("a package that is not there"))?;
    let stored = outputs::load(context, &tree)?;
    let is_file = |path: &CleanPath| matches!(stored.manifest().get(path), Some(Node::File { .. }));
    let found = names(native).into_iter().find(is_file);
    let missing = || BuildError::NoEmulator { package: planned.name.clone(), machine: native.machine() };
    let interpreter: PathBuf = stored.path().join(found.ok_or_else(missing)?.to_string());
    Ok(Some(Emulation { machine, interpreter }))
}

/// The paths that Debian's packages have the program at; with `-static` where another package has one that needs libraries.
fn names(native: Platform) -> [CleanPath; 2] {
    ["-static", ""].map(|end| {
        let path = format!("usr/bin/qemu-{}{end}", native.machine());
        CleanPath::parse(path).expect("a clean path")
    })
}
