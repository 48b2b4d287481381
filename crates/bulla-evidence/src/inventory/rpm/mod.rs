//! Packages of rpm: its database, in each of the three forms that images have: SQLite ([`sqlite`]; Fedora since 33, RHEL 9), rpm's own ([`ndb`];
//! SUSE) and Berkeley DB ([`berkeley`]; CentOS 7, RHEL 8). In each lie the headers of the packages ([`header`]).
//!
//! The three readers are ours. A library would be C, fed with a stranger's file: SQLite reads what it is given by far more rules than a table of
//! blobs has, and there is none of the others that this crate may stand on. Here each page is looked at once, and nothing is as large as it says.

mod berkeley;
mod header;
mod ndb;
mod sqlite;

use bulla_model::{CleanPath, purl::Purl};

use self::header::{Header, tag};
use super::{Found, MAX_FILES, MAX_PACKAGES, Owns, Says, Unread, word};
use crate::{licence::Licence, sbom::Party};

/// Where the database may be: its old place, the one since rpm 4.17, and that of systems whose `/usr` is an image.
const FOLDERS: [&[u8]; 3] = [b"var/lib/rpm/", b"usr/lib/sysimage/rpm/", b"usr/share/rpm/"];
/// What keeps SQLite's changes until they are in the database.
const LOG: &[u8] = b"rpmdb.sqlite-wal";

/// Takes each header of a database; says whether it wants more.
type Each<'a> = &'a mut dyn FnMut(&[u8]) -> bool;
/// Reads one form of the database.
type Form = fn(&[u8], Each<'_>) -> Result<(), Unread>;

pub(super) fn is(path: &[u8]) -> bool {
    form(path).is_some() || name(path) == Some(LOG)
}

fn name(path: &[u8]) -> Option<&[u8]> {
    FOLDERS.iter().find_map(|folder| path.strip_prefix(*folder))
}

fn form(path: &[u8]) -> Option<Form> {
    match name(path)? {
        b"rpmdb.sqlite" => Some(sqlite::headers),
        b"Packages.db" => Some(ndb::headers),
        b"Packages" => Some(berkeley::headers),
        _ => None,
    }
}

pub(super) fn read(path: &CleanPath, bytes: &[u8]) -> Result<Vec<Says>, Unread> {
    let Some(headers) = form(path.as_bytes()) else {
        // rpm leaves it empty when it ends.
        let why = "it has changes that are not in the database yet, and they are not read";
        return if bytes.is_empty() { Ok(Vec::new()) } else { Err(Unread::new(why)) };
    };
    let (mut packages, mut bad) = (Vec::new(), 0_u64);
    let whole = headers(bytes, &mut |blob| {
        match Header::parse(blob).and_then(|header| package(&header)) {
            Some(Some(found)) => packages.push(found),
            Some(None) => {}
            None => bad += 1,
        }
        packages.len() < MAX_PACKAGES
    });
    let mut says = Vec::new();
    if bad > 0 {
        says.push(Says::Unread(format!("{bad} of its headers cannot be read, and their packages are not listed")));
    }
    match whole {
        Err(why) if packages.is_empty() => return Err(why),
        Err(why) => says.push(Says::Unread(format!("not all of it can be read: {why}"))),
        Ok(()) => {}
    }
    says.push(Says::Packages(packages));
    Ok(says)
}

/// Makes a package of a header: `None` for a header without a name, `Some(None)` for the keys that rpm keeps among its packages.
fn package(header: &Header<'_>) -> Option<Option<Found>> {
    let text = |tag: u32| header.text(tag);
    let name = text(tag::NAME)?;
    if name == "gpg-pubkey" {
        return Some(None);
    }
    let name = word(&name)?;
    let (version, release) = (text(tag::VERSION)?, text(tag::RELEASE)?);
    let version = format!("{}-{}", word(&version)?, word(&release)?);
    let arch = text(tag::ARCH).unwrap_or_default();
    let source = text(tag::SOURCERPM).unwrap_or_default();
    let epoch = header.numbers(tag::EPOCH).first().map(u32::to_string).unwrap_or_default();
    let known = |text: &str| word(text).unwrap_or_default().to_owned();
    // A slash in a name is a part of it, and no namespace.
    let purl = Purl { name: name.to_owned(), ..Purl::new("rpm", "", Some(&version)) };
    let purl = purl.with("arch", &known(&arch)).with("epoch", &epoch).with("upstream", &known(&source));
    let mut found = Found::new(purl, Owns::Files(files(header)));
    found.licence = text(tag::LICENSE).map(|licence| Licence::read(&licence)).unwrap_or_default();
    found.supplier = [tag::VENDOR, tag::PACKAGER]
        .into_iter()
        .filter_map(text)
        .filter(|who| who != "(none)")
        .find_map(|who| Party::read(&who));
    // What rpm itself must be able to do, and what a package asks of itself, is no package's.
    let is_foreign = |need: &String| !need.starts_with("rpmlib(") && !need.starts_with("config(");
    found.needs =
        header.texts(tag::REQUIRENAME).filter_map(|need| word(&need).map(str::to_owned)).filter(is_foreign).collect();
    found.provides = header.texts(tag::PROVIDENAME).filter_map(|one| word(&one).map(str::to_owned)).collect();
    found.needs.sort();
    found.needs.dedup();
    if !source.is_empty() {
        found.facts.insert("source".to_owned(), known(&source));
    }
    if let Some(module) = text(tag::MODULARITYLABEL).as_deref().and_then(word) {
        found.facts.insert("module".to_owned(), module.to_owned());
    }
    Some(Some(found))
}

/// Lists the files that a package has of its own, as it was installed: what another replaced, or what was left out, is not among them.
fn files(header: &Header<'_>) -> Vec<CleanPath> {
    let folders: Vec<&[u8]> = header.strings(tag::DIRNAMES).collect();
    let (places, states) = (header.numbers(tag::DIRINDEXES), header.bytes(tag::FILESTATES));
    let mut files = Vec::new();
    for (at, name) in header.strings(tag::BASENAMES).enumerate().take(MAX_FILES) {
        let is_there = states.get(at).is_none_or(|state| *state == 0);
        let folder = places.get(at).and_then(|place| folders.get(usize::try_from(*place).ok()?));
        if let Some(folder) = folder.filter(|_| is_there)
            && let Ok(Some(path)) =
                CleanPath::from_archive(&[folder.strip_prefix(b"/").unwrap_or(folder), name].concat())
        {
            files.push(path);
        }
    }
    files
}

#[cfg(test)]
mod tests;
