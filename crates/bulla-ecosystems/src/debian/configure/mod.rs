//! How unpacked packages are configured by their own maintainer scripts (Debian Policy 6): the one script that the sandbox
//! runs for a root.
//!
//! The order: the pre-installation script of base-passwd, which makes the users; those of the other packages that the
//! Essential ones need; these are configured; the other pre-installation scripts; those packages are unpacked, by the package
//! manager, whose files would stand where another package has its own (`late`); all is configured. At the end what is not the
//! same in each run is removed ([`NOT_REPRODUCIBLE`]), and the times in Java's key store are fixed.

pub(in crate::debian) mod closure;
mod stand_in;

use std::{collections::BTreeMap, fmt::Write as _};

use super::{deb::Package, dpkg::stem};

pub(in crate::debian) use stand_in::KEY_STORE;

/// What scripts leave behind that is not the same in each run, as patterns of the shell. Logs, locks, copies of what was
/// before, caches that are made again when they are missing, and secrets that no two roots may share.
pub const NOT_REPRODUCIBLE: [&str; 38] = [
    // Logs; the folders stay, for programs want to find them.
    "/var/log/*.log",
    "/var/log/*/*.log",
    "/var/log/btmp",
    "/var/log/faillog",
    "/var/log/journal/*",
    "/var/log/lastlog",
    "/var/log/wtmp",
    // Locks.
    "/etc/.pwd.lock",
    "/var/cache/apt/archives/lock",
    "/var/lib/apt/lists/lock",
    "/var/lib/dpkg/lock",
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/triggers/Lock",
    // What was before the last change.
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/subgid-",
    "/etc/subuid-",
    "/var/cache/debconf/*-old",
    "/var/lib/dpkg/*-old",
    // Caches with inode numbers or times in them.
    "/var/cache/apt/*.bin",
    "/var/cache/fontconfig/*",
    "/var/cache/ldconfig/aux-cache",
    "/var/cache/man/*",
    // What is random, and different on each machine.
    "/etc/machine-id",
    "/var/lib/dbus/machine-id",
    "/etc/ssh/ssh_host_*",
    "/etc/ssl/certs/ssl-cert-snakeoil.pem",
    "/etc/ssl/private/ssl-cert-snakeoil.key",
    "/var/lib/systemd/credential.secret",
    "/var/lib/systemd/random-seed",
    "/var/lib/urandom/random-seed",
    // What was meant for the run alone.
    "/tmp/*",
    "/tmp/.[!.]*",
    "/var/tmp/*",
    "/var/tmp/.[!.]*",
    "/root/.rnd",
];

/// What to run in the sandbox, on the unpacked packages and their database, to configure them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// The script, for `/bin/sh -eu -c`; it has no lists in it, so that it stays short however many packages there are.
    pub script: String,
    /// The environment that it needs.
    pub env: BTreeMap<String, String>,
    /// The files of the stand-ins' directory, all executable: name and text.
    pub stand_ins: Vec<(String, String)>,
}

/// Makes the driver for a set of packages. `stand_ins` is the absolute directory in which its stand-ins will be seen. `late`
/// has the places of the packages that are not unpacked yet, each with the absolute path at which its `.deb` will be seen.
pub fn driver(packages: &[Package], late: &BTreeMap<usize, String>, stand_ins: &str) -> Driver {
    let early = closure::essential(packages);
    let list = |chosen: &dyn Fn(usize) -> bool| {
        let mut lines = String::new();
        for package in packages
            .iter()
            .enumerate()
            .filter(|(index, _)| chosen(*index) && !late.contains_key(index))
            .map(|(_, package)| package)
        {
            let control = &package.control;
            writeln!(lines, "{} {} {}", control.name(), control.architecture(), stem(package))
                .expect("writing to a string cannot fail");
        }
        lines
    };
    let name = |index: usize| packages.get(index).map_or("", |package| package.control.name());
    let mut files: Vec<(String, String)> =
        stand_in::PROGRAMS.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let first = list(&|index| name(index) == "base-passwd");
    files.push(("first.list".to_owned(), first));
    files.push(("early.list".to_owned(), list(&|index| early.contains(&index) && name(index) != "base-passwd")));
    files.push(("late.list".to_owned(), list(&|index| !early.contains(&index) && name(index) != "base-passwd")));
    files.push(("essential.list".to_owned(), list(&|index| early.contains(&index))));
    files.push(("unpack.list".to_owned(), late.values().map(|path| format!("{path}\n")).collect()));
    files.push(("key-store.pl".to_owned(), KEY_STORE.to_owned()));
    let env = [
        ("PATH", format!("{stand_ins}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")),
        ("DEBIAN_FRONTEND", "noninteractive".to_owned()),
        ("DEBCONF_NONINTERACTIVE_SEEN", "true".to_owned()),
        ("DEBCONF_NOWARNINGS", "yes".to_owned()),
        ("LC_ALL", "C.UTF-8".to_owned()),
        ("HOME", "/root".to_owned()),
    ];
    let env = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Driver { script: stand_in::script(stand_ins, &NOT_REPRODUCIBLE), env, stand_ins: files }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debian::deb::Control;

    fn package(fields: &str) -> Package {
        let control = format!("Version: 1\nArchitecture: amd64\n{fields}");
        let control = Control::parse(&control).expect("a control file");
        Package { control, members: BTreeMap::new(), paths: Vec::new(), newest: bulla_model::Epoch::default() }
    }

    #[test]
    fn what_the_essential_packages_need_is_configured_first() {
        let packages = [
            package("Package: base-passwd\nEssential: yes\n"),
            package("Package: dash\nEssential: yes\nPre-Depends: libc6 (>= 2)\nDepends: gone | awk\n"),
            package("Package: libc6\nMulti-Arch: same\nDepends: libgcc\n"),
            package("Package: mawk\nProvides: awk\n"),
            package("Package: libgcc\nDepends: libc6\n"),
            package("Package: diverts\nDepends: libc6\n"),
            package("Package: gcc\nDepends: libc6\n"),
        ];
        let late = [(5, "/run/debs/5.deb".to_owned())].into();
        let driver = driver(&packages, &late, "/run/x");
        let list = |name: &str| {
            let (_, text) = driver.stand_ins.iter().find(|(file, _)| file == name).expect("the list");
            text.lines().filter_map(|line| line.split(' ').nth(2)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(list("first.list"), "base-passwd");
        assert_eq!(list("early.list"), "dash libc6:amd64 mawk libgcc");
        assert_eq!(list("essential.list"), "base-passwd dash libc6:amd64 mawk libgcc");
        assert_eq!(list("late.list"), "gcc");
        assert!(driver.stand_ins.contains(&("unpack.list".to_owned(), "/run/debs/5.deb\n".to_owned())));
        assert!(driver.env["PATH"].starts_with("/run/x:/usr/local/sbin:"));
    }

    #[test]
    fn the_script_is_as_short_for_a_thousand_packages() {
        let many: Vec<Package> = (0..1000).map(|n| package(&format!("Package: p{n}\nEssential: yes\n"))).collect();
        let none = BTreeMap::new();
        assert_eq!(driver(&many, &none, "/x").script, driver(&[], &none, "/x").script);
    }
}
