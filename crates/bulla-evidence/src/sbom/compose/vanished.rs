//! Packages that a later layer takes out of their database while files of theirs stay, and distributions without any database.

use std::collections::BTreeSet;

use bulla_model::CleanPath;

use super::{Composer, DATABASES, Key, all};
use crate::inventory::{Found, Owns, Says, What};

impl Composer<'_> {
    /// Takes packages whose database, or whose entry in it, a later layer removed while files of theirs are still there.
    pub(super) fn vanished(&mut self) {
        let (release, licences) = (self.release(), self.licences());
        let mut gone = Vec::new();
        for (layer, finding) in all(self.layers).filter(|(_, finding)| DATABASES.contains(&finding.by.as_str())) {
            let Some(by) = self.overlay.hidden_by(&finding.path, layer) else { continue };
            let Says::Packages(packages) = &finding.says else { continue };
            for found in packages {
                let same = |key: &Key| key.name == found.purl.full_name() && key.place.is_empty();
                if !self.drafts.keys().any(same) && self.has_files(found, layer) {
                    gone.push((finding, found, layer, by));
                }
            }
        }
        let mut databases = BTreeSet::new();
        for (finding, found, layer, by) in gone {
            databases.insert((finding.path.clone(), by));
            self.package(finding, found, layer, Some(by), (&release, &licences));
        }
        for (path, by) in databases {
            let digest = by + 1;
            self.note(format!("layer {digest} removes packages from /{path} and leaves files of theirs: they are listed from the layers below"));
        }
        self.lists(Some(()));
        let tells = |by: &str| all(self.layers).any(|(_, finding)| finding.by == by);
        let database = match self.release().get("ID").map(String::as_str) {
            Some("debian" | "ubuntu") => Some("dpkg"),
            Some("alpine") => Some("apk"),
            Some("fedora" | "rhel" | "centos" | "rocky" | "almalinux" | "ol" | "amzn" | "sles") => Some("rpm"),
            Some(id) if id.starts_with("opensuse") => Some("rpm"),
            _ => None,
        };
        if let Some(database) = database.filter(|database| !tells(database)) {
            self.note(format!(
                "the image says that it is a distribution with {database}, and no layer has a database of its packages"
            ));
        }
    }

    /// Says whether one file at least of a package is still what it was in a layer.
    fn has_files(&self, found: &Found, layer: usize) -> bool {
        let there = |path: &CleanPath| {
            let path = self.overlay.real(path).unwrap_or_else(|| path.clone());
            matches!(self.overlay.get(&path), Some((at, What::File { .. } | What::Hardlink(_) | What::Symlink(_))) if at <= layer)
        };
        match &found.owns {
            Owns::Files(files) => files.iter().any(there),
            Owns::Listed(name) => {
                all(self.layers).take_while(|(at, _)| *at <= layer).any(|(_, finding)| match &finding.says {
                    Says::Files(of, files) => of == name && files.iter().any(there),
                    _ => false,
                })
            }
            _ => false,
        }
    }
}
