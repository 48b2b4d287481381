//! The surroundings that are the same on every machine: what a command reads about its system is written here.

use crate::request::Limits;

/// A file with fixed content that is bound into the sandbox.
pub(crate) struct Fixed {
    /// The path inside, without the slash in front.
    pub(crate) target: &'static str,
    /// What is read there.
    pub(crate) content: String,
}

/// The system name, as `uname` gives it: system, node, release, version, machine, domain.
pub(crate) const SYSTEM: &str = "Linux";
pub(crate) const RELEASE: &str = "6.1.0";
pub(crate) const VERSION: &str = "#1 SMP";
pub(crate) const MACHINE: &str = "x86_64";

/// The length of the kernel's `struct sysinfo` on x86-64.
pub(crate) const SYSINFO: usize = 112;

/// Gives what `sysinfo(2)` tells: memory as limited, no load, the same time since start as `/proc/uptime`.
pub(crate) fn sysinfo(memory: u64) -> [u8; SYSINFO] {
    const UPTIME: u64 = 1000;
    let mut bytes = [0; SYSINFO];
    // uptime, loads (3), total, free, shared, buffers, swap, free swap; then processes, high memory (2), unit.
    for (at, value) in [(0, UPTIME), (32, memory), (40, memory), (80, 1), (104, 1)] {
        bytes[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}

/// Kernel files that tell of the host, or that let one look into it; each is empty inside.
const MASKED: &[&str] = &[
    "proc/kcore",
    "proc/keys",
    "proc/key-users",
    "proc/timer_list",
    "proc/kmsg",
    "proc/kallsyms",
    "proc/kpagecount",
    "proc/kpageflags",
    "proc/modules",
    "proc/cmdline",
    "proc/config.gz",
    "proc/sched_debug",
    "proc/interrupts",
    "proc/vmallocinfo",
];

/// Gives every fixed file. Those below `etc` must exist in the root; those below `proc` may be missing there.
pub(crate) fn files(hostname: &str, limits: &Limits, cpus: usize) -> Vec<Fixed> {
    let fixed = |target, content: String| Fixed { target, content };
    let mut files = vec![
        fixed("etc/resolv.conf", "nameserver 127.0.0.53\noptions timeout:1 attempts:1\n".to_owned()),
        fixed(
            "etc/hosts",
            format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{hostname}\n"),
        ),
        fixed("proc/version", format!("{SYSTEM} version {RELEASE} (bulla) {VERSION}\n")),
        fixed("proc/sys/kernel/osrelease", format!("{RELEASE}\n")),
        fixed("proc/sys/kernel/version", format!("{VERSION}\n")),
        fixed("proc/sys/kernel/random/boot_id", "00000000-0000-4000-8000-000000000000\n".to_owned()),
        fixed("proc/uptime", "1000.00 1000.00\n".to_owned()),
        fixed("proc/loadavg", "0.00 0.00 0.00 1/1 1\n".to_owned()),
        fixed("proc/meminfo", meminfo(limits.memory)),
        fixed("proc/cpuinfo", (0..cpus).map(cpuinfo).collect()),
        fixed("proc/stat", stat(cpus)),
    ];
    files.extend(MASKED.iter().map(|target| fixed(target, String::new())));
    files
}

/// Lists the fixed files whose mount points the root must have.
pub(crate) const NEEDED: &[&str] = &["etc/resolv.conf", "etc/hosts"];

fn meminfo(memory: u64) -> String {
    let total = memory / 1024;
    format!(
        "MemTotal:       {total:>8} kB\nMemFree:        {total:>8} kB\nMemAvailable:   {total:>8} kB\n\
         Buffers:               0 kB\nCached:                0 kB\nSwapTotal:             0 kB\n\
         SwapFree:              0 kB\n"
    )
}

/// The least processor that Debian's amd64 asks for, so that what looks here builds for every machine.
fn cpuinfo(number: usize) -> String {
    format!(
        "processor\t: {number}\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 1\nmodel name\t: x86-64\n\
         stepping\t: 0\ncpu MHz\t\t: 1000.000\nphysical id\t: 0\ncore id\t\t: {number}\nfpu\t\t: yes\n\
         flags\t\t: fpu tsc cx8 cmov fxsr mmx sse sse2 syscall lm\naddress sizes\t: 46 bits physical, 48 bits virtual\n\n"
    )
}

fn stat(cpus: usize) -> String {
    let line = |name: String| format!("{name} 0 0 0 0 0 0 0 0 0 0\n");
    let all: String = (0..cpus).map(|cpu| line(format!("cpu{cpu}"))).collect();
    format!("{}{all}intr 0\nctxt 0\nbtime 0\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n", line("cpu ".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_the_limit_as_its_memory() {
        let bytes = sysinfo(1 << 33);
        // SAFETY: the structure is plain integers of the same length, read from initialised bytes.
        let info: libc::sysinfo = unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) };
        assert_eq!(size_of::<libc::sysinfo>(), SYSINFO);
        assert_eq!((info.uptime, info.loads, info.procs, info.mem_unit), (1000, [0; 3], 1, 1));
        assert_eq!((info.totalram, info.freeram, info.totalswap), (1 << 33, 1 << 33, 0));
    }

    #[test]
    fn the_files_depend_on_the_request_alone() {
        let files = files("build", &Limits::default(), 2);
        let get = |name: &str| files.iter().find(|file| file.target == name).expect("there").content.as_str();
        assert_eq!(get("proc/cpuinfo").matches("processor").count(), 2);
        assert!(get("proc/meminfo").starts_with("MemTotal:        8388608 kB\n"));
        assert_eq!(get("proc/keys"), "");
        assert!(NEEDED.iter().all(|needed| files.iter().any(|file| file.target == *needed)));
    }
}
