//! Packages whose scripts were read by a person: what they do on a first installation, and what stands in for it.
//!
//! Reviewed: the versions of Debian 12. Only what cannot be read from the script itself is here.

use super::effect::Effect;

/// A reviewed package.
pub(super) struct Reviewed {
    /// The name; a `*` stands for digits and dots.
    package: &'static str,
    /// What stands in for its scripts, or why nothing needs to.
    pub(super) why: &'static str,
    /// What its scripts make.
    pub(super) effects: fn() -> Vec<Effect>,
}

const fn nothing(package: &'static str, why: &'static str) -> Reviewed {
    Reviewed { package, why, effects: Vec::new }
}

const REVIEWED: [Reviewed; 17] = [
    nothing("libc6", "only guards upgrades and asks to restart services"),
    nothing("libc-bin", "nsswitch.conf and ld.so.cache are made natively"),
    nothing("ca-certificates", "the CA bundle and its links are made natively"),
    nothing("ca-certificates-java", "the key store is made natively"),
    nothing("iproute2", "gives capabilities only when the administrator asks for it"),
    nothing("libpython*-minimal", "does nothing where sitecustomize.py is there"),
    nothing("python*-minimal", "makes byte code, which Python does without"),
    nothing("python*", "makes byte code, which Python does without"),
    nothing("nginx", "only starts the service"),
    nothing("base-files", "the directories of the root are made natively"),
    nothing("base-passwd", "the accounts are written natively"),
    nothing("passwd", "the accounts are written natively"),
    nothing("dpkg", "only mends its database, which an image does not have"),
    nothing("usrmerge", "the merged /usr is made natively"),
    Reviewed { package: "dash", why: "/bin/sh is made natively", effects: dash },
    Reviewed { package: "tzdata", why: "/etc/localtime and /etc/timezone are made natively: UTC", effects: tzdata },
    Reviewed { package: "redis-server", why: "the owner of its configuration is set natively", effects: redis_server },
];

/// Finds a package's review.
pub(super) fn find(package: &str) -> Option<&'static Reviewed> {
    REVIEWED.iter().find(|reviewed| matches(reviewed.package, package))
}

fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, end)) = pattern.split_once('*') else { return pattern == name };
    let middle = name.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
    middle.is_some_and(|middle| middle.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

fn dash() -> Vec<Effect> {
    vec![Effect::Symlink { path: "/bin/sh".into(), target: "dash".into() }]
}

fn tzdata() -> Vec<Effect> {
    vec![
        Effect::Symlink { path: "/etc/localtime".into(), target: "/usr/share/zoneinfo/Etc/UTC".into() },
        Effect::File { path: "/etc/timezone".into(), content: b"Etc/UTC\n".to_vec() },
    ]
}

fn redis_server() -> Vec<Effect> {
    let path = "/etc/redis/redis.conf";
    vec![
        Effect::Owner { path: path.into(), user: Some("redis".into()), group: Some("redis".into()) },
        Effect::Mode { path: path.into(), mode: 0o640 },
    ]
}
