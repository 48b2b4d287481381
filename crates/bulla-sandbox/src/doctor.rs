//! What this host allows, and the exact command that grants what is missing.
//!
//! The judgement is a pure function over facts, so that hosts which are not at hand can be tested.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{
    examine::{self, Trials},
    launcher::Options,
    limits::Ladder,
    outcome::Rung,
};

/// What the finding about overlays is called.
pub(crate) const OVERLAY: &str = "overlay";

/// Whether something that a sandbox needs is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is there.
    Ok,
    /// It is not there, and no build can run without it.
    Missing,
    /// It is not there, and a weaker way is taken, which the evidence names.
    Degraded,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// Whether it is there.
    pub state: State,
    /// What was seen.
    pub why: String,
    /// The exact command or setting that grants it, where there is one.
    pub remedy: Option<String>,
}

impl Finding {
    pub(crate) fn hint(&self) -> Option<String> {
        (self.state == State::Missing).then(|| match &self.remedy {
            Some(remedy) => format!("{}: {}; allow it with `{remedy}`", self.what, self.why),
            None => format!("{}: {}", self.what, self.why),
        })
    }
}

/// What was seen of a host.
#[derive(Debug, Clone, Default)]
struct Facts {
    trials: Trials,
    release: String,
    /// `kernel.unprivileged_userns_clone`: Debian's own switch.
    userns_clone: Option<u64>,
    max_user_namespaces: Option<u64>,
    apparmor_restricts: Option<u64>,
    container: bool,
    masked_proc: bool,
    file_system: String,
    rung: Option<Rung>,
}

/// Tries everything that a sandbox needs, as the caller. `place` is a directory of the store's disk.
///
/// Like [`crate::Launcher::start`], it needs [`crate::intercept`] at the start of `main`.
pub fn diagnose(place: &Path, options: &Options) -> Vec<Finding> {
    judge(&Facts::gather(place, options))
}

/// Looks at the host for the first failure of this process only: later ones have the same reason.
pub(crate) fn diagnose_once(place: &Path, options: &Options) -> Vec<Finding> {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.swap(true, Ordering::Relaxed) { Vec::new() } else { diagnose(place, options) }
}

impl Facts {
    fn gather(place: &Path, options: &Options) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let number = |path: &str| text(path).trim().parse().ok();
        let mounts = text("/proc/self/mountinfo");
        let filtered =
            text("/proc/self/status").lines().any(|line| line.starts_with("Seccomp:") && line.ends_with('2'));
        Self {
            trials: examine::examine(place, &options.identity()).unwrap_or_default(),
            release: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            apparmor_restricts: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            container: filtered || ["/.dockerenv", "/run/.containerenv"].iter().any(|path| Path::new(path).exists()),
            masked_proc: mounts.lines().any(|line| line.split(' ').nth(4).is_some_and(|at| at.starts_with("/proc/"))),
            file_system: file_system(place),
            rung: Some(Ladder::find().rung()),
        }
    }

    fn trial(&self, name: &str) -> Option<i32> {
        self.trials.get(name).copied()
    }
}

fn judge(facts: &Facts) -> Vec<Finding> {
    vec![
        kernel(facts),
        user(facts),
        mount(facts),
        network(facts),
        proc(facts),
        notification(facts),
        overlay(facts),
        memory_attributes(facts),
        emulation(facts),
        limits(facts),
    ]
}

fn finding(what: &'static str, state: State, why: impl Into<String>, remedy: Option<&str>) -> Finding {
    Finding { what, state, why: why.into(), remedy: remedy.map(str::to_owned) }
}

fn works(what: &'static str) -> Finding {
    finding(what, State::Ok, "it works", None)
}

const APPARMOR: &str = "sudo install -m 0644 packaging/apparmor/bulla /etc/apparmor.d/bulla && sudo apparmor_parser -r /etc/apparmor.d/bulla";
const DOCKER_CALLS: &str = "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined …";
const DOCKER_PROC: &str =
    "docker run --security-opt systempaths=unconfined … (Kubernetes: securityContext.procMount: Unmasked)";

fn kernel(facts: &Facts) -> Finding {
    const WHAT: &str = "kernel";
    let mut parts = facts.release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let release = &facts.release;
    if version < (5, 12) {
        let why = format!("Linux {release} is older than 5.12, which has what the sandbox mounts with");
        return finding(WHAT, State::Missing, why, None);
    }
    if version < (5, 19) {
        let why = format!("Linux {release}: a signal may repeat a call that is observed (mended in 5.19)");
        return finding(WHAT, State::Degraded, why, None);
    }
    finding(WHAT, State::Ok, format!("Linux {release}"), None)
}

fn user(facts: &Facts) -> Finding {
    const WHAT: &str = "user namespaces";
    let Some(errno) = facts.trial("user") else {
        return finding(WHAT, State::Missing, "the trial did not run: the helper could not be started", None);
    };
    if errno == 0 {
        return works(WHAT);
    }
    let (why, remedy) = if facts.userns_clone == Some(0) {
        ("the setting kernel.unprivileged_userns_clone is 0", "sudo sysctl -w kernel.unprivileged_userns_clone=1")
    } else if errno == libc::ENOSPC || facts.max_user_namespaces == Some(0) {
        ("the setting user.max_user_namespaces allows no more", "sudo sysctl -w user.max_user_namespaces=65536")
    } else if facts.container {
        ("the container's system call filter forbids them", DOCKER_CALLS)
    } else if facts.apparmor_restricts == Some(1) {
        ("AppArmor forbids them to programs without a profile", APPARMOR)
    } else {
        return finding(WHAT, State::Missing, format!("they are refused: {}", said(errno)), None);
    };
    finding(WHAT, State::Missing, why, Some(remedy))
}

fn mount(facts: &Facts) -> Finding {
    needs_power(facts, "mount namespaces", "mount")
}

fn network(facts: &Facts) -> Finding {
    needs_power(facts, "network namespaces", "network")
}

/// Judges what needs capabilities in a new user namespace, which AppArmor can take away.
fn needs_power(facts: &Facts, what: &'static str, trial: &str) -> Finding {
    match facts.trial(trial) {
        Some(0) => works(what),
        Some(_) if facts.apparmor_restricts == Some(1) => {
            let why = "AppArmor takes the capabilities of a new user namespace from programs without a profile";
            finding(what, State::Missing, why, Some(APPARMOR))
        }
        Some(_) if facts.container => {
            finding(what, State::Missing, "the container's system call filter forbids them", Some(DOCKER_CALLS))
        }
        Some(errno) => finding(what, State::Missing, format!("they are refused: {}", said(errno)), None),
        None => finding(what, State::Missing, "the trial did not run", None),
    }
}

fn proc(facts: &Facts) -> Finding {
    const WHAT: &str = "mounting /proc";
    match facts.trial("proc") {
        Some(libc::EPERM) if facts.masked_proc => {
            let why = "parts of /proc are covered here, so the kernel allows no fresh one";
            finding(WHAT, State::Missing, why, Some(DOCKER_PROC))
        }
        _ => needs_power(facts, WHAT, "proc"),
    }
}

fn notification(facts: &Facts) -> Finding {
    const WHAT: &str = "system call notification";
    match facts.trial("notification") {
        Some(0) => works(WHAT),
        _ => finding(WHAT, State::Missing, "the kernel has no seccomp user notification (CONFIG_SECCOMP_FILTER)", None),
    }
}

fn overlay(facts: &Facts) -> Finding {
    const WHAT: &str = OVERLAY;
    let Facts { file_system, .. } = facts;
    match facts.trial("overlay") {
        Some(0) => finding(WHAT, State::Ok, format!("it works on {file_system}"), None),
        errno => {
            let errno = errno.map_or_else(|| "the trial did not run".to_owned(), said);
            let why = format!("an overlay on {file_system} is refused ({errno}), so each step copies its root");
            let remedy = "put the store on a local ext4, xfs or btrfs: `bulla --store DIR …`";
            finding(WHAT, State::Degraded, why, Some(remedy))
        }
    }
}

fn memory_attributes(facts: &Facts) -> Finding {
    const WHAT: &str = "attributes on tmpfs";
    match facts.trial("memory-attributes") {
        Some(0) => works(WHAT),
        _ => finding(WHAT, State::Degraded, "a store in memory needs Linux 6.6; one on disk does not", None),
    }
}

fn emulation(facts: &Facts) -> Finding {
    const WHAT: &str = "emulation";
    match facts.trial("emulation") {
        Some(0) => works(WHAT),
        Some(libc::ENODEV) => {
            let why = "the kernel has no binfmt_misc, so steps of another processor cannot run";
            finding(WHAT, State::Degraded, why, Some("sudo modprobe binfmt_misc"))
        }
        _ => finding(WHAT, State::Degraded, "steps of another processor need Linux 6.7; all others do not", None),
    }
}

fn limits(facts: &Facts) -> Finding {
    const WHAT: &str = "limits";
    match facts.rung {
        Some(Rung::CgroupV2) => finding(WHAT, State::Ok, "a delegated cgroup (version 2)", None),
        Some(Rung::CgroupV1) => finding(WHAT, State::Ok, "cgroups of version 1 for memory and processes", None),
        _ => {
            let why = "no cgroup is delegated to this user: resource limits and measuring take its place";
            finding(WHAT, State::Degraded, why, Some("systemd-run --user --scope bulla build"))
        }
    }
}

fn said(errno: i32) -> String {
    std::io::Error::from_raw_os_error(errno).to_string()
}

fn file_system(place: &Path) -> String {
    let Ok(stat) = rustix::fs::statfs(place) else { return format!("{} (cannot be read)", place.display()) };
    match u64::try_from(stat.f_type).unwrap_or(0) {
        0xef53 => "ext4".to_owned(),
        0x794c_7630 => "overlay".to_owned(),
        0x0102_1994 => "tmpfs".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x2fc1_2fc1 => "zfs".to_owned(),
        0x6969 => "nfs".to_owned(),
        other => format!("a file system of type {other:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host on which everything works.
    fn host() -> Facts {
        let names = ["user", "mount", "network", "proc", "overlay", "notification", "memory-attributes", "emulation"];
        Facts {
            trials: names.map(|name| (name.to_owned(), 0)).into(),
            release: "6.18.1-amd64".to_owned(),
            file_system: "ext4".to_owned(),
            rung: Some(Rung::CgroupV2),
            ..Facts::default()
        }
    }

    fn fails(facts: &mut Facts, names: &[&str], errno: i32) {
        facts.trials.extend(names.iter().map(|name| ((*name).to_owned(), errno)));
    }

    fn find<'a>(findings: &'a [Finding], what: &str) -> &'a Finding {
        findings.iter().find(|finding| finding.what == what).expect("it is looked at")
    }

    #[test]
    fn nothing_is_found_on_a_good_host() {
        assert!(judge(&host()).iter().all(|finding| finding.state == State::Ok), "{:#?}", judge(&host()));
    }

    #[test]
    fn apparmor_is_named_with_its_profile() {
        let mut facts = host();
        facts.apparmor_restricts = Some(1);
        fails(&mut facts, &["mount", "network", "proc"], libc::EACCES);
        let findings = judge(&facts);
        let network = find(&findings, "network namespaces");
        assert_eq!(network.state, State::Missing);
        assert!(network.remedy.as_deref().is_some_and(|remedy| remedy.contains("apparmor_parser")));
    }

    #[test]
    fn each_switch_of_user_namespaces_has_its_command() {
        for (change, command) in [
            ((|facts: &mut Facts| facts.userns_clone = Some(0)) as fn(&mut Facts), "unprivileged_userns_clone=1"),
            (|facts| facts.max_user_namespaces = Some(0), "max_user_namespaces="),
            (|facts| facts.container = true, "seccomp=unconfined"),
        ] {
            let mut facts = host();
            fails(&mut facts, &["user"], libc::EPERM);
            change(&mut facts);
            let hint = find(&judge(&facts), "user namespaces").hint().expect("it is missing");
            assert!(hint.contains(command), "{hint}");
        }
    }

    #[test]
    fn a_masked_proc_is_named() {
        let mut facts = host();
        fails(&mut facts, &["proc"], libc::EPERM);
        facts.masked_proc = true;
        facts.container = true;
        let findings = judge(&facts);
        assert!(find(&findings, "mounting /proc").hint().expect("missing").contains("systempaths=unconfined"));
    }

    #[test]
    fn what_emulation_needs_is_named_and_no_build_fails_for_it_that_does_without() {
        for (errno, words) in [(libc::EPERM, "Linux 6.7"), (libc::ENODEV, "binfmt_misc")] {
            let mut facts = host();
            fails(&mut facts, &["emulation"], errno);
            let findings = judge(&facts);
            let emulation = find(&findings, "emulation");
            assert!(emulation.why.contains(words), "{emulation:?}");
            assert_eq!((emulation.state, emulation.hint()), (State::Degraded, None));
        }
    }

    #[test]
    fn a_refused_overlay_is_only_a_weaker_way() {
        let mut facts = host();
        fails(&mut facts, &["overlay"], libc::EINVAL);
        facts.file_system = "overlay".to_owned();
        assert_eq!(find(&judge(&facts), "overlay").state, State::Degraded);
    }

    #[test]
    fn an_old_kernel_is_told() {
        for (release, state) in [("5.10.0-28", State::Missing), ("5.15.0", State::Degraded), ("6.1.0", State::Ok)] {
            let facts = Facts { release: release.to_owned(), ..host() };
            assert_eq!(find(&judge(&facts), "kernel").state, state, "{release}");
        }
    }
}
