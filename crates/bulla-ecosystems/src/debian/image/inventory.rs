//! The list of packages for scanners, in the form of images without dpkg: `/var/lib/dpkg/status.d`, a file a package.

use std::fmt::Write as _;

use bulla_model::{CleanPath, tree::Owner};

use super::overlay::{Overlay, clean};
use crate::debian::deb::Package;

/// Writes each package's control paragraph, and beside it the sums of its files.
pub(super) fn lay(overlay: &mut Overlay<'_>, packages: &[&Package]) {
    let directory = clean("var/lib/dpkg/status.d");
    for package in packages {
        let Some(path) = free(overlay, &directory, package) else { continue };
        let mut text = String::new();
        for (name, value) in package.control.iter() {
            let separator = if value.starts_with('\n') || value.is_empty() { "" } else { " " };
            writeln!(text, "{name}:{separator}{value}").expect("writing to a string cannot fail");
        }
        overlay.file(&path, 0o644, Owner::ROOT, text);
        if let Some(sums) = package.members.get("md5sums")
            && let Ok(path) = CleanPath::parse([path.as_bytes(), b".md5sums"].concat())
        {
            overlay.file(&path, 0o644, Owner::ROOT, sums.clone());
        }
    }
}

/// Names a package's file: by its name, and by its architecture too where two packages have the name.
fn free(overlay: &Overlay<'_>, directory: &CleanPath, package: &Package) -> Option<CleanPath> {
    let (name, architecture) = (package.control.name(), package.control.architecture());
    let candidates = [name.to_owned(), format!("{name}:{architecture}")];
    let paths = candidates.iter().filter_map(|name| directory.join(&CleanPath::parse(name).ok()?).ok());
    paths.into_iter().find(|path| overlay.stands(path).is_none())
}
