//! What a step must not be able to do, with a control that shows that each probe can fail.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            net::{SocketAddr, UnixListener},
            process::CommandExt as _,
        },
    },
    process::Command,
};

use crate::{
    Case, ORDINARY,
    probe::{self, Outside},
    world::{self, World, succeeded},
};

pub(crate) const CASES: &[Case] = &[("no_attack_from_inside_gets_anywhere", no_attack_from_inside_gets_anywhere)];

/// Probes that give the same outside on some kernels: what they ask for is not built in, or is not root's either.
const MAY_LACK_A_CONTROL: &[&str] = &[
    "x32",
    "vsock",
    "alg",
    "bluetooth",
    "xdp",
    "rds",
    "tipc",
    "raise_hard_limit",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "kvm",
    "fuse",
    "tun",
    "mem",
    "kmsg",
    "keys",
    "bpf",
    "map_page_zero",
    "netlink_audit",
    "sync_does_not_reach_the_disk",
    "the_internet",
    "acct",
    "quotactl",
    "modify_ldt",
    "timer_list",
];

fn no_attack_from_inside_gets_anywhere(world: &World) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let name = format!("bulla-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let _abstract = UnixListener::bind_addr(&address).expect("a socket");
    let port = listener.local_addr().expect("bound").port();
    let outside = Outside { victim: 1, pid: std::process::id() as i32, port, abstract_name: name };
    let words = ["attack", "1", &outside.pid.to_string(), &port.to_string(), &outside.abstract_name];

    let ran = world.run(&words);
    succeeded(&ran);
    let inside = results(&ran.stdout);
    let wrong: Vec<String> = probe::all(&outside)
        .iter()
        .filter(|(name, expected, _)| inside.get(*name) != Some(expected))
        .map(|(name, expected, _)| format!("{name}: {:?} instead of {expected}", inside.get(*name)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");

    if !rustix::process::geteuid().is_root() {
        println!("skipped: the control of the probes, since this is not root");
        return;
    }
    let own = std::process::id().to_string();
    let words = ["attack", &own, words[2], words[3], words[4]];
    let (as_root, as_user) = (control(&words, None), control(&words, Some(ORDINARY)));
    let cannot_fail: Vec<&str> = probe::all(&outside)
        .iter()
        .filter(|(name, expected, _)| as_root.get(*name) == Some(expected) && as_user.get(*name) == Some(expected))
        .map(|(name, ..)| *name)
        .collect();
    println!("no control on this host: {cannot_fail:?}");
    let unexpected: Vec<_> = cannot_fail.iter().filter(|name| !MAY_LACK_A_CONTROL.contains(name)).collect();
    assert!(unexpected.is_empty(), "these probes give the same outside: {unexpected:?}");
}

fn control(words: &[&str], uid: Option<u32>) -> BTreeMap<String, i32> {
    let folder = world::folder();
    let copy = folder.path().join("probe");
    std::fs::copy("/proc/self/exe", &copy).expect("copy this program");
    world::open_to_all(folder.path());
    let mut command = Command::new(&copy);
    command.arg("probe").args(words).current_dir("/");
    if let Some(uid) = uid {
        command.uid(uid).gid(uid);
    }
    let output = command.output().expect("the probe runs outside");
    results(&String::from_utf8_lossy(&output.stdout))
}

fn results(text: &str) -> BTreeMap<String, i32> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}
