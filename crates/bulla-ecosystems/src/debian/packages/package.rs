//! One paragraph of a list of packages.

use bulla_model::{CleanPath, Digest};

use super::PackagesError;
use crate::debian::{control::Fields, relation::is_name, version::Version};

/// The fields of one package, as they stand in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package<'a> {
    /// The name.
    pub name: &'a str,
    /// The version.
    pub version: Version<'a>,
    /// Debian's name of the architecture, or `all`.
    pub architecture: &'a str,
    /// `same`, `foreign`, `allowed`, or empty.
    pub multi_arch: &'a str,
    /// Whether every system must have it.
    pub essential: bool,
    /// Whether a system does not let go of it.
    pub protected: bool,
    /// `required`, `important`, `standard`, `optional`, `extra`, or empty.
    pub priority: &'a str,
    /// The name of the source package, with its version in parentheses where that differs; empty when both are the same.
    pub source: &'a str,
    /// The section, such as `libs`.
    pub section: &'a str,
    /// What must be configured first.
    pub depends: &'a str,
    /// What must be configured before this is unpacked.
    pub pre_depends: &'a str,
    /// What must not be there at the same time.
    pub conflicts: &'a str,
    /// What this breaks.
    pub breaks: &'a str,
    /// The virtual packages that this is.
    pub provides: &'a str,
    /// Whose files this may replace.
    pub replaces: &'a str,
    /// Where the package lies beneath the repository; a clean path.
    pub filename: &'a str,
    /// The size of the file in bytes.
    pub size: u64,
    /// The size when unpacked, in KiB; 0 when it is not said.
    pub installed_size: u64,
    /// The digest of the file.
    pub sha256: Digest,
}

/// The fields that are read of a paragraph, in the order of [`read_package`]'s array.
const FIELDS: [&str; 19] = [
    "Package",
    "Version",
    "Architecture",
    "Multi-Arch",
    "Essential",
    "Protected",
    "Priority",
    "Source",
    "Section",
    "Depends",
    "Pre-Depends",
    "Conflicts",
    "Breaks",
    "Provides",
    "Replaces",
    "Filename",
    "Size",
    "Installed-Size",
    "SHA256",
];

/// Reads one paragraph of a list.
///
/// # Errors
/// When a field that is needed is absent, or one is twice there or not what it should be.
pub fn read_package(stanza: &str) -> Result<Package<'_>, PackagesError> {
    let mut values: [Option<&str>; FIELDS.len()] = [None; FIELDS.len()];
    for field in Fields::new(stanza.trim_end()) {
        let field = field.map_err(|_| PackagesError::Stanza { at: 0, problem: "a line is not a field" })?;
        let Some(place) = FIELDS.iter().position(|name| field.is(name)) else { continue };
        let Some(slot) = values.get_mut(place) else { continue };
        if slot.replace(field.value).is_some() {
            return Err(PackagesError::Stanza { at: 0, problem: "a field is there twice" });
        }
    }
    let get = |name: &str| FIELDS.iter().position(|f| *f == name).and_then(|i| *values.get(i)?).unwrap_or_default();
    let name = get("Package");
    let wrong =
        |field: &'static str, problem: String| PackagesError::Field { package: name.to_owned(), field, problem };
    let number = |field: &'static str| {
        get(field).parse::<u64>().map_err(|_| wrong(field, format!("not a number: `{}`", shorten(get(field)))))
    };
    let filename = get("Filename");
    CleanPath::parse(filename).map_err(|e| wrong("Filename", e.to_string()))?;
    if !filename.bytes().all(|b| b.is_ascii_graphic() && !b"?#%\\".contains(&b)) {
        return Err(wrong("Filename", "not a plain path".to_owned()));
    }
    let architecture = get("Architecture");
    if !is_name(name) || !is_name(architecture) {
        return Err(wrong("Architecture", "not a name".to_owned()));
    }
    Ok(Package {
        name,
        version: Version::parse(get("Version"))
            .map_err(|source| PackagesError::Version { package: name.to_owned(), source })?,
        architecture,
        multi_arch: get("Multi-Arch"),
        essential: get("Essential") == "yes",
        protected: get("Protected") == "yes",
        priority: get("Priority"),
        source: get("Source"),
        section: get("Section"),
        depends: get("Depends"),
        pre_depends: get("Pre-Depends"),
        conflicts: get("Conflicts"),
        breaks: get("Breaks"),
        provides: get("Provides"),
        replaces: get("Replaces"),
        filename,
        size: number("Size")?,
        installed_size: if get("Installed-Size").is_empty() { 0 } else { number("Installed-Size")? },
        sha256: Digest::from_hex(get("SHA256")).map_err(|e| wrong("SHA256", e.to_string()))?,
    })
}

fn shorten(text: &str) -> String {
    text.chars().take(100).collect()
}
