//! The `status` file: one paragraph a package (dpkg-query(1), deb-conffiles(5)).

use std::fmt::Write as _;

use bulla_model::CleanPath;
use md5::{Digest as _, Md5};

use super::DatabaseError;
use crate::debian::deb::Package;

/// The fields that the package manager writes itself; a package cannot say them.
const OWN: [&str; 6] = ["Status", "Conffiles", "Config-Version", "Triggers-Pending", "Triggers-Awaited", "Want"];

/// Writes the paragraph of a package that is unpacked.
pub(super) fn paragraph(status: &mut String, package: &Package, conffiles: &[(CleanPath, String)]) {
    let control = &package.control;
    let fields = control.iter().filter(|(name, _)| !OWN.iter().any(|own| own.eq_ignore_ascii_case(name)));
    let mut write = |name: &str, value: &str| {
        let blank = if value.is_empty() || value.starts_with('\n') { "" } else { " " };
        writeln!(status, "{name}:{blank}{value}").expect("writing to a string cannot fail");
    };
    for (name, value) in fields {
        write(name, value);
        if name.eq_ignore_ascii_case("Package") {
            write("Status", "install ok unpacked");
        }
    }
    if !conffiles.is_empty() {
        let lines: String = conffiles.iter().map(|(path, md5)| format!("\n /{path} {md5}")).collect();
        write("Conffiles", &lines);
    }
    status.push('\n');
}

/// Gives the configuration files of a package that are regular files of its own, with the MD5 of each.
///
/// `read` gives `None` for what is no file of the package, and `Some(None)` for one that cannot be read.
pub(super) fn conffiles(
    package: &Package,
    read: impl Fn(&CleanPath) -> Option<Option<Vec<u8>>>,
) -> Result<Vec<(CleanPath, String)>, DatabaseError> {
    let name = package.control.name();
    let mut found = Vec::new();
    for path in package.conffiles() {
        let merged = crate::debian::deb::merged(&path)
            .map_err(|source| DatabaseError::Path { package: name.to_owned(), source })?;
        let Some(bytes) = merged.and_then(|merged| read(&merged)) else { continue };
        let bytes = bytes.ok_or_else(|| DatabaseError::Unreadable { package: name.to_owned(), path: path.clone() })?;
        let mut hex = String::new();
        for byte in Md5::digest(bytes) {
            write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
        }
        found.push((path, hex));
    }
    Ok(found)
}
