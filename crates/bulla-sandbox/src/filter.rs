//! Which system calls a command may make: an allow-list, so that a call that nobody thought of is not there (ENOSYS).
//!
//! The kernel's own rules go on behind it; the filter takes away what a build never needs, above all what has been
//! the way to the kernel's mistakes, and sends to the supervisor what is to be seen or answered.

use std::{collections::BTreeMap, sync::OnceLock};

use bulla_model::Digest;

use crate::{
    bpf::{Instruction, Rule, Verdict, program},
    request::Privileges,
};

/// Missing from the libc crate.
const SYS_IO_PGETEVENTS: libc::c_long = 333;

/// The calls that run as they are.
#[rustfmt::skip]
const ALLOWED: &[libc::c_long] = &[
    // Files by descriptor.
    libc::SYS_read, libc::SYS_write, libc::SYS_close, libc::SYS_fstat, libc::SYS_lseek, libc::SYS_pread64,
    libc::SYS_pwrite64, libc::SYS_readv, libc::SYS_writev, libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2,
    libc::SYS_pwritev2, libc::SYS_dup, libc::SYS_dup2, libc::SYS_dup3, libc::SYS_fcntl, libc::SYS_flock,
    libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_fadvise64, libc::SYS_readahead, libc::SYS_sendfile,
    libc::SYS_splice, libc::SYS_tee, libc::SYS_vmsplice, libc::SYS_copy_file_range, libc::SYS_close_range,
    libc::SYS_pipe, libc::SYS_pipe2, libc::SYS_poll, libc::SYS_ppoll, libc::SYS_select, libc::SYS_pselect6,
    libc::SYS_epoll_create, libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_eventfd, libc::SYS_eventfd2, libc::SYS_signalfd,
    libc::SYS_signalfd4, libc::SYS_timerfd_create, libc::SYS_timerfd_settime, libc::SYS_timerfd_gettime,
    libc::SYS_inotify_init, libc::SYS_inotify_init1, libc::SYS_inotify_add_watch, libc::SYS_inotify_rm_watch,
    libc::SYS_memfd_create, libc::SYS_io_setup, libc::SYS_io_destroy, libc::SYS_io_getevents, libc::SYS_io_submit,
    libc::SYS_io_cancel, SYS_IO_PGETEVENTS,
    // Files by path.
    libc::SYS_open, libc::SYS_openat, libc::SYS_openat2, libc::SYS_creat, libc::SYS_stat, libc::SYS_lstat,
    libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_statfs, libc::SYS_fstatfs, libc::SYS_access,
    libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_getdents, libc::SYS_getdents64, libc::SYS_getcwd,
    libc::SYS_chdir, libc::SYS_fchdir, libc::SYS_rename, libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_mkdir,
    libc::SYS_mkdirat, libc::SYS_rmdir, libc::SYS_link, libc::SYS_linkat, libc::SYS_unlink, libc::SYS_unlinkat,
    libc::SYS_symlink, libc::SYS_symlinkat, libc::SYS_readlink, libc::SYS_readlinkat, libc::SYS_chmod,
    libc::SYS_fchmod, libc::SYS_fchmodat, libc::SYS_fchmodat2, libc::SYS_truncate, libc::SYS_umask, libc::SYS_utime,
    libc::SYS_utimes, libc::SYS_futimesat, libc::SYS_utimensat, libc::SYS_setxattr, libc::SYS_lsetxattr,
    libc::SYS_fsetxattr, libc::SYS_getxattr, libc::SYS_lgetxattr, libc::SYS_fgetxattr, libc::SYS_listxattr,
    libc::SYS_llistxattr, libc::SYS_flistxattr, libc::SYS_removexattr, libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    // Memory.
    libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_brk, libc::SYS_msync,
    libc::SYS_mincore, libc::SYS_madvise, libc::SYS_mlock, libc::SYS_mlock2, libc::SYS_munlock, libc::SYS_mlockall,
    libc::SYS_munlockall, libc::SYS_remap_file_pages, libc::SYS_membarrier, libc::SYS_pkey_mprotect,
    libc::SYS_pkey_alloc, libc::SYS_pkey_free, libc::SYS_mseal, libc::SYS_get_mempolicy, libc::SYS_shmget,
    libc::SYS_shmat, libc::SYS_shmctl, libc::SYS_shmdt,
    // Processes, threads and their signals.
    libc::SYS_fork, libc::SYS_vfork, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_wait4, libc::SYS_waitid,
    libc::SYS_getpid, libc::SYS_getppid, libc::SYS_gettid, libc::SYS_getpgid, libc::SYS_getpgrp, libc::SYS_setpgid,
    libc::SYS_getsid, libc::SYS_setsid, libc::SYS_kill, libc::SYS_tkill, libc::SYS_tgkill, libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal, libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending, libc::SYS_rt_sigtimedwait, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_rt_sigsuspend, libc::SYS_sigaltstack, libc::SYS_pause, libc::SYS_restart_syscall,
    libc::SYS_arch_prctl, libc::SYS_set_tid_address, libc::SYS_set_robust_list, libc::SYS_get_robust_list,
    libc::SYS_rseq, libc::SYS_futex, libc::SYS_futex_waitv, libc::SYS_set_thread_area, libc::SYS_get_thread_area,
    libc::SYS_sched_yield, libc::SYS_sched_getaffinity, libc::SYS_sched_setaffinity, libc::SYS_sched_getparam,
    libc::SYS_sched_setparam, libc::SYS_sched_getscheduler, libc::SYS_sched_setscheduler, libc::SYS_sched_getattr,
    libc::SYS_sched_setattr, libc::SYS_sched_get_priority_max, libc::SYS_sched_get_priority_min,
    libc::SYS_sched_rr_get_interval, libc::SYS_getpriority, libc::SYS_setpriority, libc::SYS_ioprio_get,
    libc::SYS_ioprio_set, libc::SYS_getcpu, libc::SYS_getrlimit, libc::SYS_setrlimit, libc::SYS_prlimit64,
    libc::SYS_getrusage, libc::SYS_times, libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self,
    // Identity, as far as it is only asked for.
    libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid, libc::SYS_getresuid,
    libc::SYS_getresgid, libc::SYS_getgroups, libc::SYS_capget,
    // Time.
    libc::SYS_time, libc::SYS_gettimeofday, libc::SYS_clock_gettime, libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep, libc::SYS_nanosleep, libc::SYS_alarm, libc::SYS_getitimer, libc::SYS_setitimer,
    libc::SYS_timer_create, libc::SYS_timer_settime, libc::SYS_timer_gettime, libc::SYS_timer_getoverrun,
    libc::SYS_timer_delete, libc::SYS_getrandom,
    // Sockets and queues, in a network that has nobody in it.
    libc::SYS_bind, libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4, libc::SYS_getsockname,
    libc::SYS_getpeername, libc::SYS_setsockopt, libc::SYS_getsockopt, libc::SYS_shutdown, libc::SYS_recvfrom,
    libc::SYS_recvmsg, libc::SYS_recvmmsg, libc::SYS_semget, libc::SYS_semop, libc::SYS_semtimedop,
    libc::SYS_semctl, libc::SYS_msgget, libc::SYS_msgsnd, libc::SYS_msgrcv, libc::SYS_msgctl, libc::SYS_mq_open,
    libc::SYS_mq_unlink, libc::SYS_mq_timedsend, libc::SYS_mq_timedreceive, libc::SYS_mq_notify,
    libc::SYS_mq_getsetattr,
];

/// The calls that exist, and that nobody is given: EPERM, as an unprivileged program expects.
#[rustfmt::skip]
const DENIED: &[libc::c_long] = &[
    libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot, libc::SYS_move_mount,
    libc::SYS_open_tree, libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_fspick,
    libc::SYS_mount_setattr, libc::SYS_setns, libc::SYS_ptrace, libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev, libc::SYS_process_madvise, libc::SYS_pidfd_getfd, libc::SYS_kcmp, libc::SYS_keyctl,
    libc::SYS_add_key, libc::SYS_request_key, libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd,
    libc::SYS_open_by_handle_at, libc::SYS_name_to_handle_at, libc::SYS_kexec_load, libc::SYS_kexec_file_load,
    libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module, libc::SYS_reboot, libc::SYS_swapon,
    libc::SYS_swapoff, libc::SYS_acct, libc::SYS_quotactl, libc::SYS_quotactl_fd, libc::SYS_syslog,
    libc::SYS_clock_settime, libc::SYS_settimeofday, libc::SYS_adjtimex, libc::SYS_clock_adjtime,
    libc::SYS_sethostname, libc::SYS_setdomainname, libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt,
    libc::SYS_fanotify_init, libc::SYS_fanotify_mark, libc::SYS_vhangup, libc::SYS_mbind, libc::SYS_set_mempolicy,
    libc::SYS_migrate_pages, libc::SYS_move_pages, libc::SYS_lookup_dcookie, libc::SYS_nfsservctl,
];

/// The calls that the supervisor sees, whatever their arguments are.
const NOTIFIED: &[libc::c_long] = &[
    libc::SYS_connect,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_chown,
    libc::SYS_fchown,
    libc::SYS_lchown,
    libc::SYS_fchownat,
    libc::SYS_uname,
    libc::SYS_sysinfo,
];

/// `set*id`: how many ids each takes.
const IDENTITY: &[(libc::c_long, u32)] = &[
    (libc::SYS_setuid, 1),
    (libc::SYS_setgid, 1),
    (libc::SYS_setreuid, 2),
    (libc::SYS_setregid, 2),
    (libc::SYS_setresuid, 3),
    (libc::SYS_setresgid, 3),
    (libc::SYS_setfsuid, 1),
    (libc::SYS_setfsgid, 1),
];

/// `sync` would write out all of the host's disks; the rest waits for a disk that nobody will read after a crash.
const FLUSHES: &[libc::c_long] = &[libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_syncfs, libc::SYS_sync_file_range];

const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;
const NEW_TIME: u32 = 0x80;

const PERSONALITIES: &[u32] = &[
    0,
    0x8,         // PER_LINUX32
    0x0002_0000, // UNAME26
    0x0002_0008,
    0x0004_0000, // ADDR_NO_RANDOMIZE
    0x0004_0008,
    u32::MAX, // only asks
];

/// A filter and its name in the evidence.
pub(crate) struct Filter {
    pub(crate) program: Vec<Instruction>,
    pub(crate) digest: Digest,
}

/// Gives the filter for a kind of command; each is assembled once.
pub(crate) fn filter(privileges: Privileges, identity_fake: bool) -> &'static Filter {
    static STEP: OnceLock<Filter> = OnceLock::new();
    static FAKE: OnceLock<Filter> = OnceLock::new();
    static SCRIPTS: OnceLock<Filter> = OnceLock::new();
    let place = match (privileges, identity_fake) {
        (Privileges::Step, false) => &STEP,
        (Privileges::Step, true) => &FAKE,
        // Scripts have a fake identity always.
        (Privileges::Scripts, _) => &SCRIPTS,
    };
    place.get_or_init(|| {
        let program = program(&table(privileges, identity_fake), Verdict::Errno(libc::ENOSYS));
        let words = program.iter().flat_map(|one| {
            let [a, b] = one.code.to_le_bytes();
            let [c, d, e, f] = one.k.to_le_bytes();
            [a, b, one.jt, one.jf, c, d, e, f]
        });
        let digest = Digest::of(words.collect::<Vec<u8>>());
        Filter { program, digest }
    })
}

fn table(privileges: Privileges, identity_fake: bool) -> BTreeMap<u32, Rule> {
    let mut table = BTreeMap::new();
    let mut set = |call: libc::c_long, rule: Rule| {
        let number = u32::try_from(call).expect("call numbers are small and positive");
        table.insert(number, rule);
    };
    ALLOWED.iter().for_each(|call| set(*call, always(Verdict::Allow)));
    DENIED.iter().for_each(|call| set(*call, errno(libc::EPERM)));
    NOTIFIED.iter().for_each(|call| set(*call, always(Verdict::Notify)));
    processes(&mut set);
    devices(&mut set);
    sockets(&mut set);
    identity(privileges, identity_fake, &mut set);
    for call in FLUSHES {
        set(*call, if privileges == Privileges::Scripts { errno(0) } else { always(Verdict::Allow) });
    }
    set(libc::SYS_sync, errno(0));
    table
}

fn processes(set: &mut impl FnMut(libc::c_long, Rule)) {
    set(libc::SYS_clone, bits(0, NEW_NAMESPACES, errno(libc::EPERM)));
    set(libc::SYS_unshare, bits(0, NEW_NAMESPACES | NEW_TIME, errno(libc::EPERM)));
    // The flags of clone3 are in memory, where a filter cannot see them: libc falls back to clone.
    set(libc::SYS_clone3, errno(libc::ENOSYS));
    set(libc::SYS_personality, one_of(0, u32::MAX, PERSONALITIES.to_vec(), always(Verdict::Allow), errno(libc::EPERM)));
    let raise =
        one_of(1, u32::MAX, vec![libc::PR_CAP_AMBIENT_RAISE as u32], errno(libc::EPERM), always(Verdict::Allow));
    let ambient = one_of(0, u32::MAX, vec![libc::PR_CAP_AMBIENT as u32], raise, always(Verdict::Allow));
    set(
        libc::SYS_prctl,
        one_of(0, u32::MAX, vec![libc::PR_SET_SECUREBITS as u32, libc::PR_SET_MM as u32], errno(libc::EPERM), ambient),
    );
    set(libc::SYS_seccomp, bits(1, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32, errno(libc::EBUSY)));
}

fn devices(set: &mut impl FnMut(libc::c_long, Rule)) {
    // TIOCSTI types into the caller's terminal, TIOCLINUX pastes there; the kernel reads the low 32 bits only.
    let forbidden = vec![libc::TIOCSTI as u32, libc::TIOCLINUX as u32, libc::TIOCSETD as u32, libc::TIOCCONS as u32];
    set(libc::SYS_ioctl, one_of(1, u32::MAX, forbidden, errno(libc::EPERM), always(Verdict::Allow)));
    // The device 0/0 is a whiteout of the overlay, so it is not for a step either.
    for (call, mode) in [(libc::SYS_mknod, 1), (libc::SYS_mknodat, 2)] {
        let special = vec![libc::S_IFCHR, libc::S_IFBLK];
        set(call, one_of(mode, libc::S_IFMT, special, errno(libc::EPERM), always(Verdict::Allow)));
    }
}

fn sockets(set: &mut impl FnMut(libc::c_long, Rule)) {
    let refused = || errno(libc::EAFNOSUPPORT);
    let route = one_of(2, u32::MAX, vec![libc::NETLINK_ROUTE as u32], always(Verdict::Allow), refused());
    let netlink = one_of(0, u32::MAX, vec![libc::AF_NETLINK as u32], route, refused());
    let plain = vec![libc::AF_UNIX as u32, libc::AF_INET as u32, libc::AF_INET6 as u32];
    set(libc::SYS_socket, one_of(0, u32::MAX, plain, always(Verdict::Allow), netlink));
    let unix = vec![libc::AF_UNIX as u32];
    set(libc::SYS_socketpair, one_of(0, u32::MAX, unix, always(Verdict::Allow), refused()));
    let address =
        Rule::Pointer { argument: 4, yes: Box::new(always(Verdict::Notify)), no: Box::new(always(Verdict::Allow)) };
    set(libc::SYS_sendto, address);
}

fn identity(privileges: Privileges, fake: bool, set: &mut impl FnMut(libc::c_long, Rule)) {
    let pretend = fake || privileges == Privileges::Scripts;
    for (call, ids) in IDENTITY {
        // Root, and "leave it", are what the kernel does itself.
        let other = if pretend { errno(0) } else { errno(libc::EPERM) };
        let rule = (0..*ids).rev().fold(always(Verdict::Allow), |yes, id| Rule::OneOf {
            argument: id,
            mask: u32::MAX,
            values: vec![0],
            yes: Box::new(yes.clone()),
            no: Box::new(one_of(id, u32::MAX, vec![u32::MAX], yes, other.clone())),
        });
        set(*call, rule);
    }
    set(libc::SYS_setgroups, errno(if pretend { 0 } else { libc::EPERM }));
    set(libc::SYS_capset, if privileges == Privileges::Scripts { errno(0) } else { always(Verdict::Allow) });
}

fn always(verdict: Verdict) -> Rule {
    Rule::Always(verdict)
}

fn errno(errno: i32) -> Rule {
    Rule::Always(Verdict::Errno(errno))
}

fn bits(argument: u32, mask: u32, yes: Rule) -> Rule {
    Rule::Bits { argument, mask, yes: Box::new(yes), no: Box::new(always(Verdict::Allow)) }
}

fn one_of(argument: u32, mask: u32, values: Vec<u32>, yes: Rule, no: Rule) -> Rule {
    Rule::OneOf { argument, mask, values, yes: Box::new(yes), no: Box::new(no) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::tests::{run, verdict};

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;
    const KEEP: u64 = u32::MAX as u64;

    fn denied(errno: i32) -> u32 {
        libc::SECCOMP_RET_ERRNO | errno as u32
    }

    fn step(call: libc::c_long, args: &[u64]) -> u32 {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        verdict(&filter(Privileges::Step, false).program, call, all)
    }

    #[test]
    fn no_call_is_in_two_lists() {
        let mut all: Vec<_> = [ALLOWED, DENIED, NOTIFIED, FLUSHES].concat();
        all.extend(IDENTITY.iter().map(|(call, _)| *call));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn ids_other_than_root_are_refused_unless_faked() {
        assert_eq!(step(libc::SYS_setuid, &[0]), ALLOW);
        assert_eq!(step(libc::SYS_setuid, &[33]), denied(libc::EPERM));
        assert_eq!(step(libc::SYS_setresuid, &[0, KEEP, 0]), ALLOW);
        assert_eq!(step(libc::SYS_setresuid, &[0, KEEP, 33]), denied(libc::EPERM));
        assert_eq!(step(libc::SYS_setresuid, &[33, 0, 0]), denied(libc::EPERM));
        let fake = &filter(Privileges::Step, true).program;
        assert_eq!(verdict(fake, libc::SYS_setresuid, [33, 33, 33, 0, 0, 0]), denied(0));
        assert_eq!(verdict(fake, libc::SYS_setgroups, [1, 9, 0, 0, 0, 0]), denied(0));
    }

    #[test]
    fn arguments_decide_where_they_must() {
        assert_eq!(step(libc::SYS_clone, &[libc::SIGCHLD as u64]), ALLOW);
        assert_eq!(step(libc::SYS_clone, &[libc::CLONE_NEWUSER as u64]), denied(libc::EPERM));
        assert_eq!(step(libc::SYS_ioctl, &[0, libc::TIOCSTI]), denied(libc::EPERM));
        assert_eq!(step(libc::SYS_ioctl, &[0, libc::TIOCSTI | 1 << 32]), denied(libc::EPERM));
        assert_eq!(step(libc::SYS_ioctl, &[0, libc::TCGETS]), ALLOW);
        assert_eq!(step(libc::SYS_mknod, &[0, (libc::S_IFCHR | 0o666).into()]), denied(libc::EPERM));
        assert_eq!(step(libc::SYS_mknod, &[0, (libc::S_IFIFO | 0o666).into()]), ALLOW);
        assert_eq!(step(libc::SYS_socket, &[16, 3, 0]), ALLOW);
        assert_eq!(step(libc::SYS_socket, &[16, 3, 9]), denied(libc::EAFNOSUPPORT));
        assert_eq!(step(libc::SYS_socket, &[40, 1, 0]), denied(libc::EAFNOSUPPORT));
        assert_eq!(step(libc::SYS_sendto, &[0, 0, 0, 0, 0x7fff, 16]), NOTIFY);
        assert_eq!(step(libc::SYS_sendto, &[0; 6]), ALLOW);
        assert_eq!(step(libc::SYS_personality, &[0x0040_0000]), denied(libc::EPERM));
        assert_eq!(step(libc::SYS_prctl, &[47, 2]), denied(libc::EPERM));
        assert_eq!(step(libc::SYS_prctl, &[47, 1]), ALLOW);
        assert_eq!(step(libc::SYS_seccomp, &[1, 8]), denied(libc::EBUSY));
    }

    #[test]
    fn what_is_not_listed_does_not_exist() {
        assert_eq!(step(425, &[]), denied(libc::ENOSYS), "io_uring_setup");
        assert_eq!(step(libc::SYS_clone3, &[]), denied(libc::ENOSYS));
        assert_eq!(step(1 << 30, &[]), denied(libc::ENOSYS), "x32");
        assert_eq!(step(9999, &[]), denied(libc::ENOSYS));
    }

    #[test]
    fn common_calls_are_decided_in_few_steps() {
        let program = &filter(Privileges::Step, false).program;
        assert!(program.len() < 1000, "{} instructions", program.len());
        for call in ALLOWED.iter().chain(DENIED) {
            let (_, steps) = run(program, 0xc000_003e, *call as u32, [0; 6]);
            assert!(steps <= 16, "call {call} takes {steps} steps");
        }
    }
}
