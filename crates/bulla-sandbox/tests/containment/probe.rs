//! The probes: each attacks once, in a process of its own, and says what came of it.
//!
//! A probe is the same inside and outside, with arguments that do no harm where they are allowed.

use std::{
    ffi::{CStr, CString},
    fs,
    io::{self, Read as _},
    mem, ptr,
};

/// Where the outside is, as the attacker was told.
#[derive(Clone, Default)]
pub(crate) struct Outside {
    /// Whom to look into: the first process inside; outside, for the control, the test's own.
    pub(crate) victim: i32,
    pub(crate) pid: i32,
    pub(crate) port: u16,
    pub(crate) abstract_name: String,
}

/// What a probe gives: 0 or an errno, 300 and a signal, or 1000 and a count.
pub(crate) type Result = i32;

const KILLED: i32 = 300;
pub(crate) const COUNT: i32 = 1000;

pub(crate) const fn killed_by(signal: i32) -> Result {
    KILLED + signal
}

type Attack = Box<dyn Fn() -> Result>;

/// Every probe: its name, what must come of it inside, and the attack.
pub(crate) fn all(outside: &Outside) -> Vec<(&'static str, Result, Attack)> {
    let mut all = calls();
    all.extend(processes(outside));
    all.extend(sockets(outside));
    all.extend(files());
    all.extend(looks(outside.victim));
    all
}

/// Runs an attack in a child, so that whatever it does ends with it.
pub(crate) fn attempt(attack: &Attack) -> Result {
    let (mut reader, writer) = io::pipe().expect("a pipe");
    // SAFETY: this program has one thread when it probes.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        drop(reader);
        // SAFETY: three plain calls.
        unsafe {
            libc::setsid();
            let result = attack();
            libc::write(std::os::fd::AsRawFd::as_raw_fd(&writer), (&raw const result).cast(), 4);
            libc::_exit(0);
        }
    }
    drop(writer);
    let mut bytes = [0; 4];
    let answered = reader.read_exact(&mut bytes).is_ok();
    let mut status = 0;
    // SAFETY: the status outlives the call.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    if answered { i32::from_ne_bytes(bytes) } else { KILLED + (status & 0x7f) }
}

fn errno() -> Result {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn call(number: libc::c_long, args: &[i64]) -> Result {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    let [a, b, c, d, e, f] = all;
    // SAFETY: the probes pass numbers, null or invalid pointers, which the kernel checks.
    if unsafe { libc::syscall(number, a, b, c, d, e, f) } < 0 { errno() } else { 0 }
}

fn simple(
    name: &'static str,
    expected: Result,
    number: libc::c_long,
    args: &'static [i64],
) -> (&'static str, Result, Attack) {
    (name, expected, Box::new(move || call(number, args)))
}

fn calls() -> Vec<(&'static str, Result, Attack)> {
    const NO: Result = libc::EPERM;
    let path = c"/nonexistent/bulla".as_ptr() as i64;
    let remount = move || call(libc::SYS_mount, &[0, path, 0, (libc::MS_REMOUNT | libc::MS_BIND) as i64, 0]);
    let mut all = vec![
        simple("mount", NO, libc::SYS_mount, &[0, 0, 0, 0, 0]),
        ("remount", NO, Box::new(remount) as Attack),
        simple("umount2", NO, libc::SYS_umount2, &[0, 0]),
        simple("fsopen", NO, libc::SYS_fsopen, &[0, 0]),
        simple("fsconfig", NO, libc::SYS_fsconfig, &[-1, 0, 0, 0, 0]),
        simple("fsmount", NO, libc::SYS_fsmount, &[-1, 0, 0]),
        simple("fspick", NO, libc::SYS_fspick, &[-1, 0, 0]),
        simple("open_tree", NO, libc::SYS_open_tree, &[-1, 0, 0]),
        simple("move_mount", NO, libc::SYS_move_mount, &[-1, 0, -1, 0, 0]),
        simple("mount_setattr", NO, libc::SYS_mount_setattr, &[-1, 0, 0, 0, 0]),
        simple("pivot_root", NO, libc::SYS_pivot_root, &[0, 0]),
        simple("chroot", NO, libc::SYS_chroot, &[0]),
        simple("unshare_user", NO, libc::SYS_unshare, &[libc::CLONE_NEWUSER as i64]),
        simple("unshare_mount", NO, libc::SYS_unshare, &[libc::CLONE_NEWNS as i64]),
        simple("setns", NO, libc::SYS_setns, &[-1, 0]),
        simple("process_vm_readv", NO, libc::SYS_process_vm_readv, &[1, 0, 0, 0, 0, 0]),
        simple("process_vm_writev", NO, libc::SYS_process_vm_writev, &[1, 0, 0, 0, 0, 0]),
        simple("pidfd_getfd", NO, libc::SYS_pidfd_getfd, &[-1, 0, 0]),
        simple("keyctl", NO, libc::SYS_keyctl, &[999, 0, 0, 0, 0]),
        simple("add_key", NO, libc::SYS_add_key, &[0, 0, 0, 0, 0]),
        simple("request_key", NO, libc::SYS_request_key, &[0, 0, 0, 0]),
        simple("bpf", NO, libc::SYS_bpf, &[-1, 0, 0]),
        simple("perf_event_open", NO, libc::SYS_perf_event_open, &[0, 0, -1, -1, 0]),
        simple("userfaultfd", NO, libc::SYS_userfaultfd, &[0x4000_0000]),
        simple("open_by_handle_at", NO, libc::SYS_open_by_handle_at, &[-1, 0, 0]),
        simple("name_to_handle_at", NO, libc::SYS_name_to_handle_at, &[-1, 0, 0, 0, 0]),
        simple("kexec_load", NO, libc::SYS_kexec_load, &[0, 0, 0, 0xffff]),
        simple("kexec_file_load", NO, libc::SYS_kexec_file_load, &[-1, -1, 0, 0, 0xffff]),
        simple("init_module", NO, libc::SYS_init_module, &[0, 0, 0]),
        simple("finit_module", NO, libc::SYS_finit_module, &[-1, 0, 0]),
        simple("delete_module", NO, libc::SYS_delete_module, &[0, 0]),
        simple("reboot", NO, libc::SYS_reboot, &[0, 0, 0, 0]),
        simple("swapon", NO, libc::SYS_swapon, &[0, 0]),
        simple("swapoff", NO, libc::SYS_swapoff, &[0]),
        simple("acct", NO, libc::SYS_acct, &[1]),
        simple("quotactl", NO, libc::SYS_quotactl, &[-1, 0, 0, 0]),
        simple("syslog", NO, libc::SYS_syslog, &[10, 0, 0]),
        simple("clock_settime", NO, libc::SYS_clock_settime, &[0, 0]),
        simple("settimeofday", NO, libc::SYS_settimeofday, &[1, 0]),
        simple("adjtimex", NO, libc::SYS_adjtimex, &[0]),
        simple("clock_adjtime", NO, libc::SYS_clock_adjtime, &[0, 0]),
        simple("sethostname", NO, libc::SYS_sethostname, &[0, 65]),
        simple("setdomainname", NO, libc::SYS_setdomainname, &[0, 65]),
        simple("iopl", NO, libc::SYS_iopl, &[4]),
        simple("ioperm", NO, libc::SYS_ioperm, &[0, 70_000, 1]),
        simple("modify_ldt", NO, libc::SYS_modify_ldt, &[5, 0, 0]),
        simple("fanotify_init", NO, libc::SYS_fanotify_init, &[0x7fff_ffff, 0]),
        simple("vhangup", NO, libc::SYS_vhangup, &[]),
        simple("tiocsti", NO, libc::SYS_ioctl, &[-1, 0x5412, 0]),
        simple("tiocsti_high_bits", NO, libc::SYS_ioctl, &[-1, 0x5412 | 1 << 32, 0]),
        simple("tioclinux", NO, libc::SYS_ioctl, &[-1, 0x541c, 0]),
        simple("securebits", NO, libc::SYS_prctl, &[28, 1, 0, 0, 0]),
        simple("read_implies_exec", NO, libc::SYS_personality, &[0x0040_0000]),
        simple("set_mempolicy", NO, libc::SYS_set_mempolicy, &[99, 0, 0]),
        simple("clone3", libc::ENOSYS, libc::SYS_clone3, &[0, 0]),
        simple("io_uring_setup", libc::ENOSYS, 425, &[0, 0]),
        simple("io_uring_enter", libc::ENOSYS, 426, &[-1, 0, 0, 0, 0]),
        simple("io_uring_register", libc::ENOSYS, 427, &[-1, 0, 0, 0]),
        simple("a_call_that_nobody_listed", libc::ENOSYS, 458, &[0, 0, 0, 0]),
        simple("x32", libc::ENOSYS, 0x4000_0000 + 39, &[]),
        simple("setuid_to_another", NO, libc::SYS_setuid, &[33]),
        simple("setgroups", NO, libc::SYS_setgroups, &[0, 0]),
        simple("sync_does_not_reach_the_disk", 0, libc::SYS_sync, &[]),
    ];
    all.push((
        "real_time_scheduling",
        NO,
        Box::new(|| {
            let priority = 1_i32;
            call(libc::SYS_sched_setscheduler, &[0, libc::SCHED_FIFO.into(), &raw const priority as i64])
        }),
    ));
    all.push((
        "raise_hard_limit",
        NO,
        Box::new(|| {
            // SAFETY: the structure outlives both calls.
            unsafe {
                let mut limit: libc::rlimit = mem::zeroed();
                libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
                limit.rlim_max += 1;
                if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) < 0 { errno() } else { 0 }
            }
        }),
    ));
    all.push((
        "second_listener",
        libc::EBUSY,
        Box::new(|| {
            let allow = libc::sock_filter { code: 6, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
            let program = libc::sock_fprog { len: 1, filter: (&raw const allow).cast_mut() };
            call(libc::SYS_prctl, &[libc::PR_SET_NO_NEW_PRIVS.into(), 1, 0, 0, 0]);
            call(libc::SYS_seccomp, &[1, 8, &raw const program as i64])
        }),
    ));
    all.push(("int_0x80", killed_by(libc::SIGSYS), Box::new(|| {
        // SAFETY: asks for the pid through the 32-bit door; rbx is not used by that call.
        unsafe { std::arch::asm!("int 0x80", inlateout("eax") 20 => _, out("rcx") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _) };
        0
    })));
    all.push((
        "no_new_privs",
        COUNT + 1,
        Box::new(|| {
            // SAFETY: integers only.
            COUNT + unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) }
        }),
    ));
    all.push((
        "capabilities",
        COUNT,
        Box::new(|| {
            let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
            let sets = text.lines().filter(|line| line.starts_with("Cap"));
            let zero =
                |line: &str| line.split_whitespace().nth(1).is_some_and(|set| set.bytes().all(|byte| byte == b'0'));
            COUNT + sets.filter(|line| !zero(line)).count() as i32
        }),
    ));
    all
}

fn processes(outside: &Outside) -> Vec<(&'static str, Result, Attack)> {
    let pid = outside.pid;
    let flags = |flag: i32| {
        move || {
            // SAFETY: without CLONE_VM, as fork; the child ends at once.
            let child = unsafe { libc::syscall(libc::SYS_clone, i64::from(flag | libc::SIGCHLD), 0, 0, 0, 0) };
            match child {
                0 => unsafe { libc::_exit(0) },
                -1 => errno(),
                _ => 0,
            }
        }
    };
    vec![
        ("clone_user", libc::EPERM, Box::new(flags(libc::CLONE_NEWUSER))),
        ("clone_mount", libc::EPERM, Box::new(flags(libc::CLONE_NEWNS))),
        ("signal_to_an_outside_process", libc::ESRCH, Box::new(move || call(libc::SYS_kill, &[pid.into(), 0]))),
    ]
}

fn sockets(outside: &Outside) -> Vec<(&'static str, Result, Attack)> {
    let family = |family: i64, kind: i64, protocol: i64| move || call(libc::SYS_socket, &[family, kind, protocol]);
    let refused = libc::EAFNOSUPPORT;
    let (port, name) = (outside.port, outside.abstract_name.clone());
    vec![
        ("vsock", refused, Box::new(family(40, 1, 0)) as Attack),
        ("packet", refused, Box::new(family(17, 3, 0))),
        ("alg", refused, Box::new(family(38, 5, 0))),
        ("bluetooth", refused, Box::new(family(31, 3, 0))),
        ("xdp", refused, Box::new(family(44, 3, 0))),
        ("rds", refused, Box::new(family(21, 5, 0))),
        ("tipc", refused, Box::new(family(30, 1, 0))),
        ("netlink_audit", refused, Box::new(family(16, 3, 9))),
        ("netlink_generic", refused, Box::new(family(16, 3, 16))),
        ("raw_icmp", libc::EPERM, Box::new(family(2, 3, 1))),
        (
            "outside_loopback",
            libc::ECONNREFUSED,
            Box::new(move || {
                std::net::TcpStream::connect(("127.0.0.1", port))
                    .err()
                    .and_then(|error| error.raw_os_error())
                    .unwrap_or(0)
            }),
        ),
        (
            "outside_abstract_socket",
            libc::ECONNREFUSED,
            Box::new(move || {
                use std::os::{
                    linux::net::SocketAddrExt as _,
                    unix::net::{SocketAddr, UnixStream},
                };
                let address = SocketAddr::from_abstract_name(&name).expect("a name");
                UnixStream::connect_addr(&address).err().and_then(|error| error.raw_os_error()).unwrap_or(0)
            }),
        ),
        (
            "the_internet",
            libc::ENETUNREACH,
            Box::new(|| {
                let address = "192.0.2.1:9".parse().expect("an address");
                let time = std::time::Duration::from_millis(300);
                let error = std::net::TcpStream::connect_timeout(&address, time).err();
                error.and_then(|error| error.raw_os_error()).unwrap_or(0)
            }),
        ),
    ]
}

/// `cap_net_raw=ep`, of revision 2.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn files() -> Vec<(&'static str, Result, Attack)> {
    let open = |path: &'static str, flags: i32| {
        move || {
            let path = CString::new(path).expect("a path");
            // SAFETY: the path outlives the call.
            if unsafe { libc::open(path.as_ptr(), flags) } < 0 { errno() } else { 0 }
        }
    };
    let size = |path: &'static str| {
        move || {
            let mut buffer = [0; 64];
            let read = fs::File::open(path).and_then(|mut file| file.read(&mut buffer));
            read.map_or_else(|error| error.raw_os_error().unwrap_or(0), |count| COUNT + count as i32)
        }
    };
    let node = |kind: u32, device: u64| {
        move || {
            let path = std::env::temp_dir().join(format!("bulla-probe-{}", std::process::id()));
            let name = CString::new(path.as_os_str().as_encoded_bytes()).expect("a path");
            // SAFETY: the path outlives the call.
            let result = if unsafe { libc::mknod(name.as_ptr(), kind | 0o600, device) } < 0 { errno() } else { 0 };
            let _ = fs::remove_file(path);
            result
        }
    };
    let attribute = |attribute: &'static CStr, value: &'static [u8]| {
        move || {
            let path = std::env::temp_dir().join(format!("bulla-probe-{}", std::process::id()));
            fs::write(&path, "").expect("a file");
            let name = CString::new(path.as_os_str().as_encoded_bytes()).expect("a path");
            let (value, length) = (value.as_ptr().cast(), value.len());
            // SAFETY: the strings outlive the call, and the length is that of the value.
            let result = unsafe { libc::setxattr(name.as_ptr(), attribute.as_ptr(), value, length, 0) };
            let result = if result < 0 { errno() } else { 0 };
            let _ = fs::remove_file(path);
            result
        }
    };
    let map_zero = || {
        // SAFETY: a new private page at address 0, which nothing uses.
        let page = unsafe {
            libc::mmap(
                ptr::null_mut(),
                4096,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED { errno() } else { 0 }
    };
    vec![
        ("null_device", libc::EPERM, Box::new(node(libc::S_IFCHR, libc::makedev(1, 3))) as Attack),
        ("whiteout_device", libc::EPERM, Box::new(node(libc::S_IFCHR, 0))),
        ("disk_device", libc::EPERM, Box::new(node(libc::S_IFBLK, libc::makedev(7, 0)))),
        ("trusted_attribute", libc::EPERM, Box::new(attribute(c"trusted.bulla", b"x"))),
        ("file_capability", libc::EPERM, Box::new(attribute(c"security.capability", CAPABILITY))),
        ("map_page_zero", libc::EPERM, Box::new(map_zero)),
        ("kernel_setting", libc::EACCES, Box::new(open("/proc/sys/kernel/panic", libc::O_WRONLY))),
        ("ipc_setting", libc::EROFS, Box::new(open("/proc/sys/kernel/msgmax", libc::O_WRONLY))),
        ("network_setting", libc::EACCES, Box::new(open("/proc/sys/net/ipv4/ip_forward", libc::O_WRONLY))),
        ("kmsg", libc::ENOENT, Box::new(open("/dev/kmsg", libc::O_RDONLY))),
        ("mem", libc::ENOENT, Box::new(open("/dev/mem", libc::O_RDONLY))),
        ("fuse", libc::ENOENT, Box::new(open("/dev/fuse", libc::O_RDONLY))),
        ("kvm", libc::ENOENT, Box::new(open("/dev/kvm", libc::O_RDONLY))),
        ("tun", libc::ENOENT, Box::new(open("/dev/net/tun", libc::O_RDONLY))),
        ("sysfs", libc::ENOENT, Box::new(open("/sys", libc::O_RDONLY))),
        ("host_path", libc::ENOENT, Box::new(open("/../../../../etc/debian_version", libc::O_RDONLY))),
        ("host_path_by_proc", libc::ENOENT, Box::new(open("/proc/self/root/../../etc/debian_version", libc::O_RDONLY))),
        ("keys", COUNT, Box::new(size("/proc/keys"))),
        ("kallsyms", COUNT, Box::new(size("/proc/kallsyms"))),
        ("timer_list", COUNT, Box::new(size("/proc/timer_list"))),
        ("kernel_messages", COUNT, Box::new(size("/proc/kmsg"))),
        ("kernel_command_line", COUNT, Box::new(size("/proc/cmdline"))),
        // Its own directory's descriptor is the fourth, the pipe to the parent the fifth.
        (
            "inherited_descriptors",
            COUNT + 5,
            Box::new(|| COUNT + fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as i32),
        ),
    ]
}

fn looks(victim: i32) -> Vec<(&'static str, Result, Attack)> {
    let open = |name: &'static str| {
        move || {
            let file = fs::File::open(format!("/proc/{victim}/{name}"));
            file.err().and_then(|error| error.raw_os_error()).unwrap_or(0)
        }
    };
    let link = |name: &'static str| {
        move || {
            let link = fs::read_link(format!("/proc/{victim}/{name}"));
            link.err().and_then(|error| error.raw_os_error()).unwrap_or(0)
        }
    };
    let ambient = || {
        let (header, mut sets) = ([0x2008_0522_u32, 0], [0_u32; 6]);
        // What is permitted becomes inheritable, as raising demands.
        call(libc::SYS_capget, &[header.as_ptr() as i64, sets.as_mut_ptr() as i64]);
        (sets[2], sets[5]) = (sets[1], sets[4]);
        call(libc::SYS_capset, &[header.as_ptr() as i64, sets.as_ptr() as i64]);
        call(libc::SYS_prctl, &[libc::PR_CAP_AMBIENT.into(), 2, 0, 0, 0])
    };
    vec![
        ("memory_of_pid_1", libc::EACCES, Box::new(open("mem")) as Attack),
        ("environment_of_pid_1", libc::EACCES, Box::new(open("environ"))),
        ("descriptors_of_pid_1", libc::EACCES, Box::new(open("fd"))),
        ("program_of_pid_1", libc::EACCES, Box::new(link("exe"))),
        ("root_of_pid_1", libc::EACCES, Box::new(link("root"))),
        ("ptrace_of_pid_1", libc::EPERM, Box::new(move || call(libc::SYS_ptrace, &[2, victim.into(), 0, 0]))),
        ("kcmp", libc::EPERM, Box::new(move || call(libc::SYS_kcmp, &[victim.into(), victim.into(), 0, 0, 0]))),
        ("ambient_capability", libc::EPERM, Box::new(ambient)),
    ]
}
