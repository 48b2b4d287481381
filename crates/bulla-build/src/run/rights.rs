//! What the files of an image may do beyond the rights of their user: what the spec gives, at the paths that files have there.

use std::collections::BTreeSet;

use bulla_ecosystems::debian::image::Asked;
use bulla_model::{
    CleanPath, Tree,
    capability::Capabilities,
    spec::{AbsolutePath, Base, Image},
    tar::FileCapabilities,
};

use super::{outputs, record::RunRecord};
use crate::assemble::Withheld;

/// Gives the path that a file has in the image: through the links of Debian's root, or of the image below.
pub(super) fn real(image: &Image, base: Option<&Tree>, path: &AbsolutePath) -> AbsolutePath {
    match base {
        Some(base) => outputs::through(base, path),
        None if matches!(image.base, Base::Debian { .. }) => outputs::in_debian(path),
        None => path.clone(),
    }
}

/// Gives the files that keep their set-id bits.
pub(super) fn keep_set_id(image: &Image, base: Option<&Tree>) -> BTreeSet<CleanPath> {
    image.allow.setuid.keys().filter_map(|path| real(image, base, path).clean().cloned()).collect()
}

/// Gives the capabilities that the spec gives.
pub(super) fn capabilities(image: &Image, base: Option<&Tree>) -> FileCapabilities {
    let all = image.allow.capabilities.iter();
    all.filter_map(|(path, grant)| Some((real(image, base, path).clean()?.clone(), grant.capabilities))).collect()
}

/// Gives what maintainer scripts gave to files when they ran.
pub(super) fn asked(record: &RunRecord) -> Vec<Asked> {
    let read = |(path, text): (&CleanPath, &String)| {
        let capabilities = Capabilities::parse(text).ok()?;
        Some(Asked { package: "a maintainer script".to_owned(), path: path.clone(), capabilities })
    };
    record.capabilities.iter().filter_map(read).collect()
}

/// Gives what packages ask for and the spec does not give.
pub(super) fn withheld(asked: Vec<Asked>, given: &FileCapabilities) -> Vec<Withheld> {
    let is_given = |asked: &Asked| given.get(&asked.path).is_some_and(|given| given.includes(asked.capabilities));
    let withheld = asked.into_iter().filter(|asked| !is_given(asked));
    let told = withheld.map(|asked| {
        let capabilities = asked.capabilities.to_string();
        Withheld { package: asked.package, path: asked.path, capabilities }
    });
    told.collect()
}
