//! Makes an image a second time, in other surroundings, and says what came out otherwise and why.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use bulla_build::{
    assemble::Joined,
    compare::{self, Comparison},
    explain::How,
    export,
    inspect::{self, Image, Limits},
    run::Variation,
};
use bulla_evidence::difference::{self, Difference};
use bulla_model::{CleanPath, Digest, Fault, Kind};
use bulla_store::Store;

use crate::error::{CliError, Result};

/// The most files whose bytes are looked at to explain why they differ, and the most bytes of all of them.
const MAX_EXPLAINED: (usize, u64) = (200, 128 << 20);
/// The most differences that an error names.
const MAX_NAMED: usize = 10;

/// What differs between two images that should be the same.
#[derive(Debug)]
pub(crate) struct Differences {
    /// What differs.
    pub comparison: Comparison,
    /// Why files differ whose content does, by path.
    pub explained: BTreeMap<String, Difference>,
}

/// An image that did not come out the same.
#[derive(Debug, thiserror::Error)]
#[error("the image is not reproducible: the first run gave {first}, and a second one {second}{}", lines(.differences))]
pub(crate) struct NotReproducible {
    pub first: Digest,
    pub second: Digest,
    pub differences: Differences,
    pub varied: BTreeSet<Variation>,
}

impl Fault for NotReproducible {
    fn kind(&self) -> Kind {
        Kind::Policy
    }

    fn hints(&self) -> Vec<String> {
        let varied: Vec<&str> = self.varied.iter().map(|variation| variation.name()).collect();
        let around = match varied.as_slice() {
            [] => String::new(),
            some => format!(" (so were, on purpose: {})", some.join(", ")),
        };
        vec![
            format!("the second run was later, found nothing of the first, and had other surroundings{around}"),
            "`bulla why PATH` says which step made a file".to_owned(),
        ]
    }
}

fn lines(differences: &Differences) -> String {
    let mut lines: Vec<String> = differences.told();
    let more = lines.len().saturating_sub(MAX_NAMED);
    lines.truncate(MAX_NAMED);
    if more > 0 {
        lines.push(format!("… and {more} more"));
    }
    lines.into_iter().map(|line| format!("\n  {line}")).collect()
}

impl Differences {
    /// Writes a line for each difference, files first.
    pub(crate) fn told(&self) -> Vec<String> {
        let file = |change: &compare::FileChange| match self.explained.get(&change.path) {
            Some(why) => format!("/{}: {why}", change.path),
            None => format!("/{}: {} {}", change.path, change.how, change.of.join(", ")).trim_end().to_owned(),
        };
        let files = self.comparison.files.iter().map(file);
        let values = self.comparison.configuration.iter().map(|value| format!("configuration: {}", value.key));
        let lines: Vec<String> = files.chain(values).map(|line| crate::neutral::line(&line).into_owned()).collect();
        if lines.is_empty() {
            return self
                .comparison
                .layers
                .iter()
                .map(|_| "a layer: the same files, written otherwise".to_owned())
                .collect();
        }
        lines
    }
}

/// Says what differs between two images of the store, platform by platform.
///
/// # Errors
/// When they cannot be read.
pub(crate) fn of_store(store: &Store, first: &Joined, second: &Joined) -> Result<Differences> {
    let folder = tempfile::tempdir().map_err(CliError::file)?;
    let (one, other) = (folder.path().join("first"), folder.path().join("second"));
    for (image, place) in [(first, &one), (second, &other)] {
        let bare = Joined { attached: Vec::new(), ..image.clone() };
        export::layout(store, &bare, place, &[])?;
    }
    of_layouts((&one, first.index.digest), (&other, second.index.digest))
}

/// Says what differs between two images, each by its digest in a layout that may have others, platform by platform.
///
/// # Errors
/// When they cannot be read.
pub(crate) fn of_layouts((first, one): (&Path, Digest), (second, other): (&Path, Digest)) -> Result<Differences> {
    let limits = Limits::default();
    let images = |layout: &Path, image: Digest| -> Result<Vec<Image>> {
        let mut all = inspect::inspect(layout, true, &limits)?;
        all.retain(|found| found.digest == image);
        Ok(all)
    };
    let (before, now) = (images(first, one)?, images(second, other)?);
    let mut all = Differences { comparison: Comparison::default(), explained: BTreeMap::new() };
    for (one, other) in pairs(&before, &now) {
        let found = compare::compare(one, other);
        let paths: BTreeSet<CleanPath> = found
            .files
            .iter()
            .filter(|change| change.how == How::Changed && change.of.contains(&"content"))
            .filter_map(|change| CleanPath::parse(change.path.as_str()).ok())
            .take(MAX_EXPLAINED.0)
            .collect();
        let bytes = |layout: &Path, image: &Image| inspect::contents(layout, image, &paths, MAX_EXPLAINED.1, &limits);
        let (mut one_has, other_has) = (bytes(first, one)?, bytes(second, other)?);
        for (path, now) in other_has {
            let why = one_has.remove(&path).and_then(|before| difference::explain(&before, &now));
            all.explained.extend(why.map(|why| (path.to_string(), why)));
        }
        all.comparison.files.extend(found.files);
        all.comparison.configuration.extend(found.configuration);
        all.comparison.layers.extend(found.layers);
    }
    Ok(all)
}

/// Pairs the images of two layouts by their platforms.
fn pairs<'a>(before: &'a [Image], now: &'a [Image]) -> impl Iterator<Item = (&'a Image, &'a Image)> {
    let platform = |image: &Image| (image.config.os.clone(), image.config.architecture.clone());
    before.iter().filter_map(move |one| Some((one, now.iter().find(|other| platform(other) == platform(one))?)))
}
