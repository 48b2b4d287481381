//! Packages that final images do without, though others depend on them.

/// Names that count as installed in a root where no maintainer script runs, and so are not pulled in by a dependency.
///
/// Each is needed by `preinst`, `postinst` and their like alone, or gives what every image has anyway (the merged `/usr`,
/// `os-release`, accounts). Programs that call one of these at run time are known: `runuser` and `setpriv` of util-linux,
/// `pidof` of sysvinit-utils; such an image names the package, for what is asked for by name is never left out.
pub const PRUNED: [&str; 27] = [
    // Questions to the administrator.
    "debconf",
    "debconf-2.0",
    "cdebconf",
    "debconf-i18n",
    "ucf",
    "sensible-utils",
    // Accounts: written by Bulla itself.
    "adduser",
    "passwd",
    "base-passwd",
    // Services: an image starts one program.
    "init-system-helpers",
    "lsb-base",
    "sysvinit-utils",
    "default-logind",
    "logind",
    "runit-helper",
    "systemd-standalone-sysusers",
    "systemd-sysusers",
    "systemd-standalone-tmpfiles",
    "systemd-tmpfiles",
    // The layout of the root: made by Bulla itself.
    "base-files",
    "usrmerge",
    "usr-is-merged",
    // What unpacks and configures packages.
    "dpkg",
    "tar",
    "debianutils",
    "util-linux",
    // Chooses between Java versions.
    "java-common",
];

/// What one package depends on for its scripts alone, though others use it when they run: the package, and the dependency.
pub const EXCUSED: [(&str, &str); 1] = [
    // The `postinst` looks with `ss` whether the port is free.
    ("nginx", "iproute2"),
];
