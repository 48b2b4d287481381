//! Gives components and files their places in the list, and resolves names to them.

use std::collections::BTreeMap;

use bulla_model::{CleanPath, path::printable};

use super::{Composer, Draft, Key, Whose};
use crate::{
    inventory::What,
    sbom::{Bom, Component, Content, File, Ownership, Subject},
};

impl Composer<'_> {
    /// Numbers components and files.
    pub(super) fn finish(self, subject: Subject) -> Bom {
        let places: BTreeMap<&Key, usize> = self.drafts.keys().enumerate().map(|(at, key)| (key, at)).collect();
        let files: Vec<(&CleanPath, usize, &What)> = self.overlay.files().collect();
        let number: BTreeMap<&CleanPath, usize> =
            files.iter().enumerate().map(|(at, (path, ..))| (*path, at)).collect();
        let named = Names::of(&self.drafts);
        let components = self.drafts.iter().enumerate().map(|(at, (_, draft))| {
            let mut component = draft.component.clone();
            component.inside = draft.inside.as_ref().and_then(|path| number.get(path).copied());
            component.needs =
                draft.needs.iter().filter_map(|need| named.find(draft, need)).filter(|to| *to != at).collect();
            component.made_from =
                draft.made_from.iter().filter_map(|key| places.get(key).copied()).filter(|to| *to != at).collect();
            component
        });
        let mut components: Vec<Component> = components.collect();
        let files = files.into_iter().map(|(path, layer, what)| File {
            path: printable(path.as_bytes()),
            content: match self.overlay.bytes(what) {
                Some(What::File { size, sha256, sha1 }) => {
                    Content::Bytes { sha256: *sha256, sha1: sha1.clone(), size: *size }
                }
                _ => Content::Other,
            },
            layer,
            owner: match self.owned.get(path) {
                Some(Whose::Component(key)) => {
                    places.get(key).map_or(Ownership::Unowned, |at| Ownership::Component(*at))
                }
                Some(Whose::Other(other)) => other.clone(),
                None => Ownership::Unowned,
            },
        });
        let files: Vec<File> = files.collect();
        versions(&mut components, &files);
        Bom { subject, components, files, notes: self.notes }
    }
}

/// Gives what has no version of its own one that follows from its bytes: those of the file that it is inside of, or of all its files.
fn versions(components: &mut [Component], files: &[File]) {
    let bytes = |file: &File| match &file.content {
        Content::Bytes { sha256, .. } => Some(*sha256),
        Content::Other => None,
    };
    let mut owned = BTreeMap::<usize, bulla_model::Hasher>::new();
    for file in files {
        if let (Ownership::Component(owner), Some(digest)) = (&file.owner, bytes(file)) {
            owned.entry(*owner).or_default().update(format!("{digest} {}\n", file.path).as_bytes());
        }
    }
    for (at, component) in components.iter_mut().enumerate().filter(|(_, one)| one.version.is_none()) {
        let inside = component.inside.and_then(|file| files.get(file)).and_then(bytes);
        let own = || owned.remove(&at).map(bulla_model::Hasher::finish);
        component.version = inside.or_else(own).map(|digest| digest.to_string());
    }
}

/// The names by which packages are needed.
struct Names<'a> {
    /// By kind, file that holds it, and name.
    all: BTreeMap<(&'a str, Option<&'a CleanPath>, &'a str), Vec<usize>>,
}

impl<'a> Names<'a> {
    fn of(drafts: &'a BTreeMap<Key, Draft>) -> Self {
        let mut all = BTreeMap::<_, Vec<usize>>::new();
        for (at, draft) in drafts.values().enumerate() {
            let Some(purl) = &draft.component.purl else { continue };
            let names = draft.provides.iter().map(String::as_str).chain([draft.component.name.as_str()]);
            names.for_each(|name| all.entry((purl.kind.as_str(), draft.inside.as_ref(), name)).or_default().push(at));
        }
        Self { all }
    }

    /// Finds what a package needs: in the same file, or else the first that there is.
    fn find(&self, draft: &Draft, need: &str) -> Option<usize> {
        let kind = draft.component.purl.as_ref()?.kind.as_str();
        self.all.get(&(kind, draft.inside.as_ref(), need)).and_then(|found| found.first().copied())
    }
}
