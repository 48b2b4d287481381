//! What the build knows of its own image: whose each path is, and what it was made from.

use std::collections::BTreeMap;

use bulla_model::{
    Digest,
    ownership::{Owner, Ownership as Built},
    purl::Purl,
};

use super::{BUILD, Composer, INPUT, Key, LOCK, Whose, empty, of_registry, registry};
use crate::{
    inventory::What,
    sbom::{Algorithm, Component, Kind, Ownership, Party, Subject},
};

/// The fields of `os-release`.
type Release = BTreeMap<String, String>;

impl Composer<'_> {
    /// Gives every path to whom the build gave it. What files say of packages stays; whose a path is, the build knows better.
    pub(super) fn built(&mut self, subject: &Subject, built: &Built) {
        let release = self.release();
        let made: Vec<Whose> = built.owners.iter().map(|owner| self.owner(owner, built, &release)).collect();
        let mut others = 0_u64;
        let overlay = self.overlay;
        for (path, layer, what) in overlay.files() {
            let base = built.owners.iter().zip(&made).find(|(owner, _)| {
                matches!(owner, Owner::Base { layers, .. } if subject.layers.get(layer).is_some_and(|layer| layers.contains(layer)))
            });
            if let Some((_, whose)) = base {
                self.owned.entry(path.clone()).or_insert_with(|| whose.clone());
                continue;
            }
            let digest = self.overlay.bytes(what).and_then(|what| match what {
                What::File { sha256, .. } => Some(*sha256),
                _ => None,
            });
            match built.get(path) {
                Some(owned) if owned.digest == digest => {
                    if let Some(whose) = made.get(owned.owner) {
                        self.owned.insert(path.clone(), whose.clone());
                    }
                }
                _ => {
                    others += 1;
                    self.owned.insert(path.clone(), Whose::Other(Ownership::Unowned));
                }
            }
        }
        if others > 0 {
            self.note(format!("{others} files of the image are not what the build put there"));
        }
    }

    /// Makes the component of an owner, or finds it.
    fn owner(&mut self, owner: &Owner, built: &Built, release: &Release) -> Whose {
        match owner {
            Owner::Package { name, version, architecture, source, digest } => {
                Whose::Component(self.locked((name, version, architecture, source), digest, release))
            }
            Owner::Step { stage, step, title, materials, sources } => {
                let name = match step {
                    Some(step) => format!("{}/{stage}/{step}", built.name),
                    None => format!("{}/{stage}", built.name),
                };
                let made_from = materials.iter().filter_map(|(purl, digest)| self.material(purl, digest)).collect();
                let mut facts =
                    BTreeMap::from([("sources".to_owned(), sources.iter().cloned().collect::<Vec<_>>().join(", "))]);
                facts.insert("step".to_owned(), title.clone());
                facts.retain(|_, value| !value.is_empty());
                let key = self.insert(made(&name, built, None, facts), "step");
                if let Some(draft) = self.drafts.get_mut(&key) {
                    draft.made_from = made_from;
                }
                Whose::Component(key)
            }
            Owner::Source { name, digest } => {
                let name = format!("{}/source/{name}", built.name);
                Whose::Component(self.insert(made(&name, built, Some(digest), BTreeMap::new()), "source"))
            }
            Owner::Base { reference, digest, .. } => {
                let facts = BTreeMap::from([("image".to_owned(), "the image below".to_owned())]);
                let component = Component {
                    version: Some(digest.to_string()),
                    digests: BTreeMap::from([(Algorithm::Sha256, digest.hex())]),
                    ..made(reference, built, None, facts)
                };
                Whose::Component(self.insert(component, "base"))
            }
            Owner::Native { what } => Whose::Other(Ownership::Native(format!("made by bulla: {what}"))),
            Owner::Scripts { reason } => {
                Whose::Other(Ownership::Exception(format!("made by maintainer scripts: {reason}")))
            }
        }
    }

    /// Finds the package that the lock pins among those that files tell of, or adds it.
    fn locked(
        &mut self,
        (name, version, architecture, source): (&str, &str, &str, &str),
        digest: &Digest,
        release: &Release,
    ) -> Key {
        let is_it = |key: &&Key| key.name == name && key.version.as_deref() == Some(version) && key.place.is_empty();
        let known = self.drafts.iter().find(|(key, draft)| {
            let arch = draft.component.purl.as_ref().and_then(|purl| purl.qualifiers.get("arch"));
            is_it(key) && arch.is_none_or(|arch| arch == architecture)
        });
        let key = match known.map(|(key, _)| key.clone()) {
            Some(key) => key,
            None => {
                let distro = release.get("VERSION_ID").map(|version| format!("debian-{version}")).unwrap_or_default();
                let upstream = if source == name { "" } else { source };
                let purl = Purl::new("deb", name, Some(version))
                    .within("debian")
                    .with("arch", architecture)
                    .with("distro", &distro)
                    .with("upstream", upstream);
                let licence = self.licences().remove(name).unwrap_or_default();
                let supplier = Some(Party { name: "Debian".to_owned(), email: None });
                let (name, version) = (name.to_owned(), Some(version.to_owned()));
                self.insert(
                    Component { kind: Kind::Package, name, version, purl: Some(purl), supplier, licence, ..empty() },
                    "",
                )
            }
        };
        if let Some(draft) = self.drafts.get_mut(&key) {
            draft.component.digests.insert(Algorithm::Sha256, digest.hex());
            draft.component.found_by = match draft.component.found_by.as_str() {
                "" => LOCK.to_owned(),
                LOCK => LOCK.to_owned(),
                known => format!("{LOCK}, {known}"),
            };
        }
        key
    }

    /// Finds the package that a step could read among those that files tell of, or adds it as one that may be there.
    fn material(&mut self, purl: &str, digest: &Digest) -> Option<Key> {
        let purl: Purl = purl.parse().ok()?;
        let (name, version) = (purl.full_name(), purl.version.clone());
        let same = |key: &&Key| key.name == name && key.version.as_deref().map(bare) == version.as_deref().map(bare);
        if let Some(key) = self.drafts.keys().find(same).cloned() {
            return Some(key);
        }
        let supplier = registry(&purl.kind).map(of_registry);
        let digests = BTreeMap::from([(Algorithm::Sha256, digest.hex())]);
        let found_by = INPUT.to_owned();
        Some(self.insert(
            Component { kind: Kind::Package, name, version, purl: Some(purl), supplier, digests, found_by, ..empty() },
            INPUT,
        ))
    }
}

/// Gives a version without the letter that Go's have.
fn bare(version: &str) -> &str {
    version.strip_prefix('v').unwrap_or(version)
}

fn made(name: &str, built: &Built, digest: Option<&Digest>, facts: BTreeMap<String, String>) -> Component {
    Component {
        kind: Kind::Made,
        name: name.to_owned(),
        supplier: Some(Party { name: built.name.clone(), email: None }),
        version: digest.map(ToString::to_string),
        found_by: BUILD.to_owned(),
        facts,
        ..empty()
    }
}
