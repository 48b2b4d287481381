//! What stands in for maintainer scripts in final images, where none runs.
//!
//! [`equivalents`] is given the packages, already merged into one [`Tree`], and makes what their `preinst` and `postinst`
//! would have made there, as entries to be laid over the tree. In this order: the root's own directories and the merged
//! `/usr`; what each package's scripts do, read from the scripts or known by review, else the package is refused; accounts;
//! the folders that services ask for; alternatives; the CA bundle, and Java's; `ld.so.cache`; the list of packages for scanners.
//! `prerm` and `postrm` never matter, for nothing is removed from an image.

mod accounts;
mod alternatives;
mod base;
mod catalogue;
mod certificates;
mod effect;
mod elf;
mod inventory;
mod keystore;
mod loader;
mod mode;
mod overlay;
mod scripts;
mod services;
mod shell;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use bulla_model::{
    Capabilities, CleanPath, Fault, Kind, Platform, Tree,
    spec::UserEntry,
    tree::{Mode, Owner},
};

use self::{accounts::Accounts, effect::Effect, overlay::Overlay};
use super::deb::Package;

/// Gives the bytes of a regular file of the tree; `None` when they cannot be had.
pub type Reader<'a> = &'a dyn Fn(&CleanPath) -> Option<Vec<u8>>;

/// What an image is made of.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The packages' trees laid over each other, with `/usr` merged.
    pub tree: &'a Tree,
    /// Reads regular files of that tree.
    pub read: Reader<'a>,
    /// The packages, in any order.
    pub packages: &'a [Package],
    /// The users of the spec.
    pub users: &'a [UserEntry],
    /// The codename of the release.
    pub codename: &'a str,
    /// The files that keep set-user-id bits. Scripts that would give one of them capabilities instead are told that it cannot be.
    pub keep_set_id: &'a BTreeSet<CleanPath>,
    /// Where the image runs.
    pub platform: Platform,
}

/// Something that is laid over the packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A directory; one of the packages keeps what is in it.
    Directory {
        /// Its permission bits.
        mode: Mode,
        /// Its owner.
        owner: Owner,
    },
    /// A regular file.
    File {
        /// Its permission bits.
        mode: Mode,
        /// Its owner.
        owner: Owner,
        /// Its bytes.
        content: Vec<u8>,
    },
    /// A symbolic link that belongs to root.
    Symlink {
        /// The text of the link.
        target: Box<[u8]>,
    },
}

/// A maintainer script that was not run, and what stood in for it. It belongs into the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The script: `preinst` or `postinst`.
    pub script: &'static str,
    /// What stood in for it, or why nothing needs to.
    pub by: String,
}

/// What stands in for the scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equivalents {
    /// What is laid over the packages, in the order of the paths; the directories above an entry are among them where the
    /// packages do not bring them.
    pub entries: Vec<(CleanPath, Entry)>,
    /// The scripts, in the order of the packages' names.
    pub replaced: Vec<Replaced>,
    /// The capabilities that scripts would have given, in the same order. They are for the spec to give.
    pub asked: Vec<Asked>,
}

/// Capabilities that a maintainer script would have given to a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// The package.
    pub package: String,
    /// The file, links followed.
    pub path: CleanPath,
    /// What it would have had.
    pub capabilities: Capabilities,
}

/// Says why an image cannot be made without running scripts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A script does what has no equivalent.
    #[error("the {script} of package `{package}` does what has no equivalent in an image without scripts: {reason}")]
    NeedsScript {
        /// The package.
        package: String,
        /// The script: `preinst` or `postinst`.
        script: &'static str,
        /// What it does.
        reason: String,
    },
    /// The packages declare users or groups that cannot be.
    #[error("writing the accounts of the image: {reason}")]
    Accounts {
        /// What is wrong.
        reason: String,
    },
    /// A certificate is none.
    #[error("making the CA bundle: `{path}` is not a certificate, or cannot be read")]
    Certificate {
        /// The file.
        path: CleanPath,
    },
    /// The packages bring more than is sensible.
    #[error("the packages bring more {what} than an image can have")]
    TooMuch {
        /// What is too much.
        what: &'static str,
    },
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NeedsScript { .. } => Kind::Spec,
            Self::Accounts { .. } | Self::Certificate { .. } | Self::TooMuch { .. } => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NeedsScript { package, .. } => vec![
                "to run the packages' scripts in the sandbox, say why under `image`, `from`: `scripts: {run: REASON}`"
                    .into(),
                format!(
                    "or leave `{package}` out: if a package only recommends or suggests it, name what is needed instead"
                ),
            ],
            _ => Vec::new(),
        }
    }
}

/// Makes what the maintainer scripts of an image's packages would have made. Pure: the same request has the same answer.
///
/// # Errors
/// [`Error::NeedsScript`] when a package has a script that does something without an equivalent; otherwise when the packages
/// are not sound.
pub fn equivalents(request: &Request<'_>) -> Result<Equivalents, Error> {
    let mut packages: Vec<&Package> = request.packages.iter().collect();
    packages.sort_by_key(|package| (package.control.name(), package.control.architecture()));
    let mut overlay = Overlay::new(request.tree, request.read);
    base::lay_root(&mut overlay, request.platform);
    let scripts = scripts::read(&overlay, &packages, request.keep_set_id)?;
    let mut accounts = declare(&overlay, request.users, &scripts.effects)?;
    for known in &scripts.effects {
        effect::lay(&mut overlay, &mut accounts, &known.effect).map_err(|reason| Error::NeedsScript {
            package: known.package.clone(),
            script: known.script,
            reason,
        })?;
    }
    let mut wanted = services::temporary(&overlay, &mut accounts);
    wanted.extend(services::units(&overlay, &mut accounts));
    for effect in &wanted {
        effect::lay(&mut overlay, &mut accounts, effect).map_err(|reason| Error::Accounts { reason })?;
    }
    let alternatives: Vec<_> = scripts.effects.iter().filter_map(|known| known.effect.alternative().cloned()).collect();
    alternatives::lay(&mut overlay, &alternatives);
    base::lay_lookup(&mut overlay);
    base::lay_name(&mut overlay, request.codename);
    certificates::lay(&mut overlay)?;
    if packages.iter().any(|package| package.control.name() == "ca-certificates-java") {
        keystore::lay(&mut overlay)?;
    }
    loader::lay(&mut overlay)?;
    inventory::lay(&mut overlay, &packages);
    overlay.file(&overlay::clean("etc/passwd"), 0o644, Owner::ROOT, accounts.passwd());
    overlay.file(&overlay::clean("etc/group"), 0o644, Owner::ROOT, accounts.group());
    let asked = scripts.effects.iter().filter_map(|known| asked(&overlay, known)).collect();
    Ok(Equivalents { entries: overlay.into_entries(), replaced: scripts.replaced, asked })
}

fn asked(overlay: &Overlay<'_>, known: &scripts::Known) -> Option<Asked> {
    let Effect::Capabilities { path, capabilities } = &known.effect else { return None };
    let path = overlay.place(path).and_then(|place| overlay.follow(&place, true))?;
    Some(Asked { package: known.package.clone(), path, capabilities: *capabilities })
}

/// Collects the users and groups, first of all that is made.
fn declare(overlay: &Overlay<'_>, wanted: &[UserEntry], known: &[scripts::Known]) -> Result<Accounts, Error> {
    let declared = services::declared(overlay);
    let (mut users, mut groups) = (Vec::new(), Vec::new());
    for effect in known.iter().map(|known| &known.effect).chain(&declared) {
        match effect {
            Effect::User(user) => users.push(user.clone()),
            Effect::Group { name, gid } => groups.push((name.clone(), *gid)),
            _ => {}
        }
    }
    let mut accounts = Accounts::new(wanted);
    accounts.declare(&users, &groups).map_err(|reason| Error::Accounts { reason })?;
    for effect in &declared {
        if let Effect::Member { user, group } = effect {
            accounts.join(user, group);
        }
    }
    for owner in services::owners(overlay) {
        accounts.show(owner);
    }
    Ok(accounts)
}
