//! What every image has, whichever packages it is made of: the merged `/usr`, the directories of the root, a name for
//! the system, and how names are looked up.

use bulla_model::{
    Platform,
    tree::{Mode, Node, Owner},
};

use super::overlay::{Overlay, clean};
use crate::debian::deb::usrmerge_links;

/// The directories of a root (hier(7)), as base-files and the kernel's mounts want them.
const DIRECTORIES: [(&str, u32); 30] = [
    ("boot", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("etc/opt", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("run/lock", 0o1777),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr/local", 0o755),
    ("usr/local/bin", 0o755),
    ("usr/local/etc", 0o755),
    ("usr/local/lib", 0o755),
    ("usr/local/sbin", 0o755),
    ("usr/local/share", 0o755),
    ("usr/share", 0o755),
    ("var", 0o755),
    ("var/backups", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/opt", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
];

/// The links of a root into `/run`.
const LINKS: [(&str, &str); 2] = [("var/run", "/run"), ("var/lock", "/run/lock")];

/// The numbers of Debian's releases.
const RELEASES: [(&str, u8); 5] = [("bullseye", 11), ("bookworm", 12), ("trixie", 13), ("forky", 14), ("duke", 15)];

const NSSWITCH: &str = "passwd:         files\ngroup:          files\nshadow:         files\ngshadow:        files\n\n\
                        hosts:          files dns\nnetworks:       files\n\nprotocols:      db files\n\
                        services:       db files\nethers:         db files\nrpc:            db files\n\n\
                        netgroup:       nis\n";

/// Lays the merged `/usr` and the directories of the root. What a package ships stays, but for the modes of `/tmp`,
/// `/var/tmp` and `/root`.
pub(super) fn lay_root(overlay: &mut Overlay<'_>, platform: Platform) {
    for (path, node) in usrmerge_links(platform) {
        match node {
            Node::Symlink { target, .. } if overlay.stands(&path).is_none() => overlay.symlink(&path, target),
            Node::Directory { mode, owner, .. } => overlay.directory(&path, mode, owner),
            _ => {}
        }
    }
    for (path, mode) in DIRECTORIES {
        overlay.directory(&clean(path), Mode::new(mode), Owner::ROOT);
    }
    for path in ["tmp", "var/tmp", "root"] {
        let mode = DIRECTORIES.iter().find(|(known, _)| *known == path).map(|(_, mode)| Mode::new(*mode));
        overlay.set_attributes(&clean(path), mode, Some(Owner::ROOT));
    }
    for (path, target) in LINKS {
        if overlay.stands(&clean(path)).is_none() {
            overlay.symlink(&clean(path), target);
        }
    }
    let nonroot = Owner { uid: 65532, gid: 65532 };
    overlay.directory(&clean("home/nonroot"), Mode::new(0o700), nonroot);
}

/// Writes `/etc/nsswitch.conf`: what libc-bin has for it, else what it says in a small root.
pub(super) fn lay_lookup(overlay: &mut Overlay<'_>) {
    let path = clean("etc/nsswitch.conf");
    if overlay.stands(&path).is_none() {
        let text = overlay.text(&clean("usr/share/libc-bin/nsswitch.conf"));
        overlay.file(&path, 0o644, Owner::ROOT, text.unwrap_or_else(|| NSSWITCH.to_owned()));
    }
}

/// Writes `/etc/os-release` (os-release(5)) and `/etc/debian_version`, by which scanners know the release.
pub(super) fn lay_name(overlay: &mut Overlay<'_>, codename: &str) {
    let number = RELEASES.iter().find(|(known, _)| *known == codename).map(|(_, number)| number);
    let text = match number {
        Some(number) => format!(
            "PRETTY_NAME=\"Debian GNU/Linux {number} ({codename})\"\nNAME=\"Debian GNU/Linux\"\n\
             VERSION_ID=\"{number}\"\nVERSION=\"{number} ({codename})\"\nVERSION_CODENAME={codename}\nID=debian\n"
        ),
        None => format!(
            "PRETTY_NAME=\"Debian GNU/Linux {codename}\"\nNAME=\"Debian GNU/Linux\"\n\
             VERSION_CODENAME={codename}\nID=debian\n"
        ),
    };
    let (file, link, version) = (clean("usr/lib/os-release"), clean("etc/os-release"), clean("etc/debian_version"));
    if overlay.leads_to(&link).is_none() {
        if overlay.leads_to(&file).is_none() {
            overlay.file(&file, 0o644, Owner::ROOT, text);
        }
        overlay.symlink(&link, "../usr/lib/os-release");
    }
    if overlay.leads_to(&version).is_none() {
        let text = number.map_or_else(|| format!("{codename}/sid\n"), |number| format!("{number}\n"));
        overlay.file(&version, 0o644, Owner::ROOT, text);
    }
}
