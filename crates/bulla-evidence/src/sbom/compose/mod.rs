//! Puts the list of an image together: layers over each other, what their files say of packages, and whose each path is.

mod built;
mod numbered;
mod vanished;

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{CleanPath, ownership::Ownership as Built, path::printable, purl::Purl};

use super::{Bom, Component, Kind, Ownership, Party, Subject, overlay::Overlay};
use crate::{
    inventory::{Finding, Found, LayerContents, Owns, Says, What},
    licence::Licence,
};

/// By what a component is known that a step could read, and of which nobody can tell whether it is in what the step made.
pub(super) const INPUT: &str = "input";
/// By what a component is known that the lock pins.
const LOCK: &str = "lock";
/// By what components are known of which no file of an image needs to tell.
pub(super) const UNSEEN: [&str; 2] = [INPUT, LOCK];
/// What a document says of a file that is nobody's.
pub(super) const NOBODY: &str = "nothing is known to own it";
/// What a document says of a component begins with this, and with what it is known by.
pub(super) const KNOWN_BY: &str = "known by: ";
/// By what a component is known that the spec has made.
const BUILD: &str = "build";
/// Readers of databases: a database that comes again in a later layer tells of all packages, and not of further ones.
const DATABASES: [&str; 3] = ["dpkg", "apk", "rpm"];
/// The most notes of files that could not be read.
const MAX_NOTES: usize = 100;

/// Gives the package URL of an image (the purl specification, "oci").
pub(super) fn image_purl(subject: &Subject) -> Purl {
    let name = subject.name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let name = if name.is_empty() { "image".to_owned() } else { name };
    Purl::new("oci", &name, Some(&subject.manifest.to_string())).with("arch", &subject.architecture)
}

/// Says for people how a component is known.
pub(super) fn told(bom: &Bom, component: &Component) -> String {
    let layer = |at: usize| bom.subject.layers.get(at).map(|digest| digest.to_string()).unwrap_or_default();
    let mut told = format!("{KNOWN_BY}{}", component.found_by);
    for path in component.found_at.iter().take(4) {
        told.push_str(&format!("; in /{path}"));
    }
    if let Some(at) = component.layer {
        told.push_str(&format!("; layer {}", layer(at)));
    }
    if let Some(at) = component.removed {
        told.push_str(&format!("; what told of it was removed in layer {}", layer(at)));
    }
    for (name, value) in &component.facts {
        told.push_str(&format!("; {name}: {value}"));
    }
    told
}

/// Puts a list together of what each layer holds, lowest first, and of what the build knows, where the image is one of Bulla's own.
pub fn compose(subject: Subject, layers: &[LayerContents], built: Option<&Built>) -> Bom {
    let overlay = Overlay::of(layers);
    let mut composer =
        Composer { overlay: &overlay, layers, drafts: BTreeMap::new(), owned: BTreeMap::new(), notes: Vec::new() };
    composer.findings();
    composer.vanished();
    if let Some(built) = built {
        composer.built(&subject, built);
    }
    composer.finish(subject)
}

/// What tells components apart: one package that is found in two places is two.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    name: String,
    version: Option<String>,
    purl: Option<String>,
    /// Where it is: the file that it is inside of, its folder; nothing for what a database tells of.
    place: String,
}

/// A component on its way, with names in the place of numbers.
#[derive(Debug, Clone)]
struct Draft {
    component: Component,
    needs: Vec<String>,
    provides: Vec<String>,
    inside: Option<CleanPath>,
    made_from: BTreeSet<Key>,
    /// What lists its files.
    listed: Option<String>,
}

struct Composer<'a> {
    overlay: &'a Overlay<'a>,
    layers: &'a [LayerContents],
    drafts: BTreeMap<Key, Draft>,
    owned: BTreeMap<CleanPath, Whose>,
    notes: Vec<String>,
}

#[derive(Debug, Clone)]
enum Whose {
    Component(Key),
    Other(Ownership),
}

impl<'a> Composer<'a> {
    /// Takes what files of the layers say that a container sees.
    fn findings(&mut self) {
        let release = self.release();
        let licences = self.licences();
        for (layer, finding) in all(self.layers) {
            if self.overlay.hidden_by(&finding.path, layer).is_some() {
                continue;
            }
            match &finding.says {
                Says::Packages(packages) => {
                    for found in packages {
                        let first = self.first(finding, found, layer);
                        self.package(finding, found, first, None, (&release, &licences));
                    }
                }
                Says::Unread(why) => self.note(format!("/{}: {why}", finding.path)),
                Says::Files(..) | Says::Licence(..) | Says::Release(_) => {}
            }
        }
        self.lists(None);
        if let Some(id) = release.get("ID") {
            self.system(&release, id);
        }
    }

    /// Gives the first layer since which a database has always told of a package.
    fn first(&self, finding: &Finding, found: &Found, layer: usize) -> usize {
        if !DATABASES.contains(&finding.by.as_str()) {
            return layer;
        }
        let mut first = layer;
        for (at, layer) in self.layers.iter().enumerate().take(layer).rev() {
            let same = layer.findings.iter().filter(|other| other.path == finding.path);
            let mut told = same.filter_map(|other| match &other.says {
                Says::Packages(packages) => Some(packages.iter().any(|other| other.purl == found.purl)),
                _ => None,
            });
            match told.next() {
                Some(true) => first = at,
                Some(false) => break,
                None => {}
            }
        }
        first
    }

    fn release(&self) -> BTreeMap<String, String> {
        let told = all(self.layers).filter_map(|(_, finding)| match &finding.says {
            Says::Release(fields) => Some(fields.clone()),
            _ => None,
        });
        told.last().unwrap_or_default()
    }

    fn licences(&self) -> BTreeMap<String, Licence> {
        let told = all(self.layers).filter_map(|(_, finding)| match &finding.says {
            Says::Licence(package, licence) => Some((package.clone(), licence.clone())),
            _ => None,
        });
        told.collect()
    }

    fn package(
        &mut self,
        finding: &Finding,
        found: &Found,
        layer: usize,
        removed: Option<usize>,
        (release, licences): (&BTreeMap<String, String>, &BTreeMap<String, Licence>),
    ) {
        let is_database = DATABASES.contains(&finding.by.as_str());
        let mut purl = found.purl.clone();
        if is_database && let Some(id) = release.get("ID") {
            purl = purl.within(vendor(&finding.by, id));
            if let Some(version) = release.get("VERSION_ID") {
                purl = purl.with("distro", &format!("{id}-{version}"));
            }
        }
        let licence = match found.licence.is_unknown() && finding.by == "dpkg" {
            true => licences.get(&found.purl.name).cloned().unwrap_or_default(),
            false => found.licence.clone(),
        };
        let supplier = found.supplier.clone().or_else(|| registry(&purl.kind).map(of_registry));
        let inside = (found.owns == Owns::Inside).then(|| finding.path.clone());
        let place = match &found.owns {
            _ if is_database => String::new(),
            Owns::Beneath(folder) => folder.to_string(),
            _ => finding.path.to_string(),
        };
        let component = Component {
            kind: Kind::Package,
            name: purl.full_name(),
            version: purl.version.clone(),
            supplier,
            licence,
            digests: found.digests.clone(),
            found_by: finding.by.clone(),
            found_at: BTreeSet::from([printable(finding.path.as_bytes())]),
            layer: Some(layer),
            removed,
            inside: None,
            needs: BTreeSet::new(),
            made_from: BTreeSet::new(),
            facts: found.facts.clone(),
            purl: Some(purl),
        };
        let key = Key {
            name: component.name.clone(),
            version: component.version.clone(),
            purl: component.purl.as_ref().map(ToString::to_string),
            place,
        };
        match &found.owns {
            Owns::Files(files) => files.iter().for_each(|file| self.own(file, &key)),
            Owns::Beneath(folder) => self.own_beneath(folder, &key),
            Owns::Teller => self.own(&finding.path, &key),
            Owns::Listed(_) if finding.by == "python" => {
                if let Some(folder) = finding.path.parent() {
                    self.own_beneath(&folder, &key);
                }
            }
            // A file a package, and not the database of all.
            Owns::Listed(_) if !finding.path.as_bytes().ends_with(b"/status") => self.own(&finding.path, &key),
            Owns::Listed(_) => {}
            // Who holds the whole of a file is its package; what it holds is beside.
            Owns::Inside => {
                if found.facts.contains_key("main") || finding.by == "java" && !found.facts.contains_key("archive") {
                    self.own(&finding.path, &key);
                }
            }
        }
        let listed = match &found.owns {
            Owns::Listed(name) => Some(name.clone()),
            _ => None,
        };
        let draft = Draft {
            component,
            needs: found.needs.clone(),
            provides: found.provides.clone(),
            inside,
            made_from: BTreeSet::new(),
            listed,
        };
        self.drafts
            .entry(key)
            .and_modify(|known| known.component.found_at.extend(draft.component.found_at.iter().cloned()))
            .or_insert(draft);
    }

    /// Gives files to the packages whose lists name them: of those that are there, or of those whose database is gone.
    fn lists(&mut self, vanished: Option<()>) {
        let names: BTreeMap<String, Key> = self
            .drafts
            .iter()
            .filter(|(_, draft)| draft.component.removed.is_some() == vanished.is_some())
            .filter_map(|(key, draft)| Some((draft.listed.clone()?, key.clone())))
            .collect();
        let mut owned = Vec::new();
        for (layer, finding) in all(self.layers) {
            if vanished.is_none() && self.overlay.hidden_by(&finding.path, layer).is_some() {
                continue;
            }
            if let Says::Files(name, files) = &finding.says
                && let Some(key) = names.get(name).or_else(|| names.get(name.split(':').next()?))
            {
                owned.extend(files.iter().chain([&finding.path]).map(|file| (file.clone(), key.clone())));
                owned.extend(beside(finding, self.overlay).map(|file| (file, key.clone())));
            }
        }
        owned.iter().for_each(|(file, key)| self.own(file, key));
    }

    /// Gives a file to a package, unless it is another's already: databases come first in every layer.
    fn own(&mut self, file: &CleanPath, key: &Key) {
        let path = match self.overlay.get(file) {
            Some(_) => file.clone(),
            None => self.overlay.real(file).unwrap_or_else(|| file.clone()),
        };
        if self.overlay.get(&path).is_some_and(|(_, what)| *what != What::Directory) {
            self.owned.entry(path).or_insert_with(|| Whose::Component(key.clone()));
        }
    }

    fn own_beneath(&mut self, folder: &CleanPath, key: &Key) {
        let overlay = self.overlay;
        for path in overlay.beneath(folder) {
            // The innermost package has it.
            let deeper = match self.owned.get(path) {
                Some(Whose::Component(known)) => known.place.len() < key.place.len() && !known.place.is_empty(),
                Some(Whose::Other(_)) => false,
                None => true,
            };
            if deeper {
                self.owned.insert(path.clone(), Whose::Component(key.clone()));
            }
        }
    }

    fn system(&mut self, release: &BTreeMap<String, String>, id: &str) {
        let component = Component {
            kind: Kind::System,
            name: id.to_owned(),
            version: release.get("VERSION_ID").cloned(),
            supplier: release.get("NAME").and_then(|name| Party::read(name)),
            found_by: "release".to_owned(),
            facts: release.get("PRETTY_NAME").map(|name| ("name".to_owned(), name.clone())).into_iter().collect(),
            ..empty()
        };
        let key = self.insert(component, "release");
        let tells = |finding: &Finding| DATABASES.contains(&finding.by.as_str()) || finding.by == "release";
        all(self.layers).filter(|(_, finding)| tells(finding)).for_each(|(_, finding)| {
            self.own(&finding.path, &key);
            // rpm keeps indexes and locks beside its database.
            if let Some(folder) = finding.path.parent().filter(|_| finding.by == "rpm") {
                self.own_beneath(&folder, &key);
            }
        });
    }

    fn insert(&mut self, component: Component, place: &str) -> Key {
        let purl = component.purl.as_ref().map(ToString::to_string);
        let key =
            Key { name: component.name.clone(), version: component.version.clone(), purl, place: place.to_owned() };
        let draft = Draft {
            component,
            needs: Vec::new(),
            provides: Vec::new(),
            inside: None,
            made_from: BTreeSet::new(),
            listed: None,
        };
        self.drafts.entry(key.clone()).or_insert(draft);
        key
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < MAX_NOTES && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// Names whose packages a distribution's are in package URLs, which for rpm is not what `os-release` calls the distribution.
fn vendor<'a>(by: &str, id: &'a str) -> &'a str {
    match (by, id) {
        ("rpm", "rhel") => "redhat",
        ("rpm", id) if id.starts_with("opensuse") => "opensuse",
        (_, id) => id,
    }
}

/// Gives every finding with the place of its layer.
fn all(layers: &[LayerContents]) -> impl Iterator<Item = (usize, &Finding)> {
    layers.iter().enumerate().flat_map(|(at, layer)| layer.findings.iter().map(move |finding| (at, finding)))
}

/// Gives what dpkg keeps of a package beside its list: scripts, sums.
fn beside(finding: &Finding, overlay: &Overlay<'_>) -> impl Iterator<Item = CleanPath> {
    let stem = finding.path.as_bytes().strip_suffix(b".list").map(<[u8]>::to_vec);
    let ends = [
        "md5sums",
        "conffiles",
        "preinst",
        "postinst",
        "prerm",
        "postrm",
        "shlibs",
        "symbols",
        "triggers",
        "templates",
        "config",
    ];
    let path = move |end: &str| CleanPath::parse([stem.as_deref()?, b".", end.as_bytes()].concat()).ok();
    ends.into_iter().filter_map(path).filter(|path| overlay.get(path).is_some()).collect::<Vec<_>>().into_iter()
}

/// Names who hands a kind of packages out, where the package itself names nobody.
fn registry(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "npm" => "npm registry",
        "pypi" => "Python Package Index",
        "cargo" => "Rust crate registry",
        "golang" => "Go module proxy",
        "maven" => "Maven repository",
        "gem" => "RubyGems",
        "composer" => "Packagist",
        "nuget" => "NuGet Gallery",
        _ => return None,
    })
}

fn of_registry(name: &str) -> Party {
    Party { name: name.to_owned(), email: None }
}

fn empty() -> Component {
    Component {
        kind: Kind::Package,
        name: String::new(),
        version: None,
        purl: None,
        supplier: None,
        licence: Licence::default(),
        digests: BTreeMap::new(),
        found_by: String::new(),
        found_at: BTreeSet::new(),
        layer: None,
        removed: None,
        inside: None,
        needs: BTreeSet::new(),
        made_from: BTreeSet::new(),
        facts: BTreeMap::new(),
    }
}
