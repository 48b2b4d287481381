//! A source package: its files are put together as `dpkg-source -x` does (dpkg-source(1), dsc(5)).
//!
//! The formats are `1.0`, `3.0 (native)` and `3.0 (quilt)`. What Debian adds is read first and kept in memory, for it says which
//! files of upstream its patches change; then upstream's archives are read, and what no patch changes goes straight to the sink;
//! last the patches are applied to what they change. The folder `.pc`, in which quilt keeps what was there before, is not made.

mod description;
mod error;
mod overlay;
mod patch;

use std::{collections::BTreeMap, io::Read};

use bulla_model::{CleanPath, Digest, spec::Packing};

pub use self::error::SourceError;
use self::{
    description::{Description, Part},
    overlay::Overlay,
};
use crate::archive::{self, Archive, Entry, Kind, Limits, Places, Rules, Sink};

/// The most bytes of a description.
const MAX_DESCRIPTION: u64 = 4 << 20;
/// The most bytes that what Debian adds may have, unpacked, and the files that patches change.
const MAX_MEMORY: u64 = 512 << 20;

/// A source package, as it was locked.
pub struct Package<'a, F> {
    /// Its name and version: `redis=5:7.0.15-1`.
    pub name: &'a str,
    /// Its files by name, each with the digest that it was verified by.
    pub files: BTreeMap<String, (Digest, F)>,
}

/// Unpacks a source package, and applies its patches.
///
/// # Errors
/// When a file is missing, the description is of another package or other files, an archive holds what it may not, a patch does
/// not apply, or the sink fails.
pub fn unpack<F: Archive>(
    mut package: Package<'_, F>,
    rules: &Rules<'_>,
    sink: &mut dyn Sink,
) -> Result<(), SourceError> {
    let description = describe(&mut package)?;
    // Archives of upstream may have links to anywhere, and nothing here follows them.
    let rules = Rules { outward_links: true, strip: 0, ..*rules };
    let mut places = Places::new(&rules);
    let mut overlay = Overlay::default();
    if let Some(name) = &description.debian {
        overlay.read_archive(file(&mut package, name)?, packing(name)?)?;
    }
    if let Some(name) = &description.diff {
        overlay.read_diff(&read_small(file(&mut package, name)?, packing_of_one(name)?)?)?;
    }
    overlay.read_series()?;
    // A further archive takes the place of the folder of its name, should the main one have it.
    let parts: Vec<CleanPath> = description.parts.iter().filter_map(|part| part.folder.clone()).collect();
    for Part { name, folder } in &description.parts {
        let packing = packing(name)?;
        let archive = file(&mut package, name)?;
        let strip = top(archive, packing, rules.limits)?;
        archive::read_tar(archive, packing, rules.limits, |entry| {
            let Some(path) = place(&entry, strip.as_ref(), folder.as_ref())? else { return Ok(()) };
            if folder.is_none() && parts.iter().any(|part| path.starts_with(part)) {
                return Ok(());
            }
            let entry = moved(entry, path.clone(), strip.as_ref(), folder.as_ref())?;
            match overlay.keep(&path, entry)? {
                Some(entry) => places.take(entry, sink),
                None => Ok(()),
            }
        })?;
    }
    overlay.apply()?;
    overlay.hand_on(&mut |entry| places.take(entry, sink))?;
    Ok(places.finish()?)
}

fn describe<F: Archive>(package: &mut Package<'_, F>) -> Result<Description, SourceError> {
    let names: Vec<String> = package.files.keys().filter(|name| name.ends_with(".dsc")).cloned().collect();
    let [name] = names.as_slice() else { return Err(SourceError::description("it has not one `.dsc`")) };
    let mut text = Vec::new();
    let (_, file) = package.files.get_mut(name).ok_or_else(|| SourceError::description("it is missing"))?;
    file.take(MAX_DESCRIPTION).read_to_end(&mut text).map_err(archive::ArchiveError::read)?;
    let sums: BTreeMap<&str, Digest> =
        package.files.iter().map(|(name, (digest, _))| (name.as_str(), *digest)).collect();
    Description::parse(&text, package.name, &sums)
}

fn file<'p, F: Archive>(package: &'p mut Package<'_, F>, name: &str) -> Result<&'p mut F, SourceError> {
    let file = package.files.get_mut(name).map(|(_, file)| file);
    file.ok_or_else(|| SourceError::Missing { file: name.to_owned() })
}

fn packing(name: &str) -> Result<Packing, SourceError> {
    let packing = Packing::of_name(name).filter(|packing| *packing != Packing::Zip);
    // dpkg knows the old lzma too, which no release has had for long.
    packing.ok_or_else(|| SourceError::Packing { file: name.to_owned() })
}

/// The packing of a single file: `x.diff.gz` is packed as `x.tar.gz` is.
fn packing_of_one(name: &str) -> Result<Packing, SourceError> {
    packing(&name.replace(".diff.", ".tar."))
}

fn read_small<F: Archive>(file: &mut F, packing: Packing) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    file.take(MAX_MEMORY).read_to_end(&mut bytes).map_err(archive::ArchiveError::read)?;
    Ok(archive::read_small(&bytes, packing, MAX_MEMORY)?)
}

/// Finds the folder that an archive has everything in, which is then left out, whatever its name is.
fn top<F: Archive>(archive: &mut F, packing: Packing, limits: Limits) -> Result<Option<CleanPath>, SourceError> {
    let (mut top, mut single) = (None::<CleanPath>, true);
    archive::read_tar(archive, packing, limits, |entry| {
        let Some(path) = CleanPath::from_archive(&entry.name)? else { return Ok(()) };
        let first = path.components().next().map(CleanPath::parse).transpose()?;
        let is_folder = path.components().count() > 1 || entry.kind == Kind::Directory;
        single &= is_folder && (top.is_none() || top == first);
        top = first;
        Ok(())
    })?;
    Ok(top.filter(|_| single))
}

/// Gives the place of an entry among the files of the package.
fn place(
    entry: &Entry<'_>,
    strip: Option<&CleanPath>,
    folder: Option<&CleanPath>,
) -> Result<Option<CleanPath>, archive::ArchiveError> {
    let Some(path) = CleanPath::from_archive(&entry.name)? else { return Ok(None) };
    relocate(&path, strip, folder)
}

fn relocate(
    path: &CleanPath,
    strip: Option<&CleanPath>,
    folder: Option<&CleanPath>,
) -> Result<Option<CleanPath>, archive::ArchiveError> {
    let path = match strip {
        Some(top) => path.strip_prefix(top),
        None => Some(path.clone()),
    };
    Ok(match (folder, path) {
        (Some(folder), Some(path)) => Some(folder.join(&path)?),
        (_, path) => path,
    })
}

/// Gives an entry its place, and a hard link the place of what it is a further name of.
fn moved<'e>(
    entry: Entry<'e>,
    path: CleanPath,
    strip: Option<&CleanPath>,
    folder: Option<&CleanPath>,
) -> Result<Entry<'e>, archive::ArchiveError> {
    let kind = match entry.kind {
        Kind::Hardlink(target) => {
            let target = CleanPath::from_archive(&target)?;
            let target = target.map(|target| relocate(&target, strip, folder)).transpose()?.flatten();
            target
                .map_or(Kind::Refused("is a hard link to nothing"), |target| Kind::Hardlink(target.as_bytes().to_vec()))
        }
        kind => kind,
    };
    Ok(Entry { kind, name: path.as_bytes().to_vec(), ..entry })
}

#[cfg(test)]
mod tests;
