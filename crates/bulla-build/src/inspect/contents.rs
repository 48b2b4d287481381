//! The bytes of some files of an image.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use bulla_model::CleanPath;

use super::{
    Image, InspectError, Limits, What,
    layer::{Budget, walk},
    place::Place,
};

/// Gives the bytes of regular files as the topmost layer has them that has each. What would be more than `most` bytes together with the
/// others is left out.
///
/// # Errors
/// As [`super::inspect`].
pub fn contents(
    path: &Path,
    image: &Image,
    wanted: &BTreeSet<CleanPath>,
    most: u64,
    limits: &Limits,
) -> Result<BTreeMap<CleanPath, Vec<u8>>, InspectError> {
    let mut found = BTreeMap::new();
    if wanted.is_empty() {
        return Ok(found);
    }
    let place = Place::open(path)?;
    let (mut budget, mut left) = (Budget::new(limits), most);
    for layer in &image.layers {
        walk(place.stream(&layer.descriptor)?, layer, &mut budget, &mut |entry, _, content| {
            let taken = matches!(entry.what, What::File(size) if size <= left) && wanted.contains(&entry.path);
            if !taken {
                io::copy(content, &mut io::sink())?;
                return Ok(());
            }
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            left = left.saturating_sub(bytes.len() as u64);
            found.insert(entry.path, bytes);
            Ok(())
        })?;
    }
    Ok(found)
}
