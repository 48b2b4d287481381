//! What the probe does when it is run as the command of a sandbox.

use std::{
    ffi::{CStr, CString},
    fs,
    io::{self, Write as _},
    mem,
    net::{TcpStream, ToSocketAddrs as _, UdpSocket},
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

use crate::probe::{self, Outside};

/// Acts as the words say.
pub(crate) fn act(what: &str, words: &[&str]) -> ExitCode {
    match (what, words) {
        ("attack", [victim, pid, port, name]) => {
            let outside = Outside {
                victim: victim.parse().expect("a pid"),
                pid: pid.parse().expect("a pid"),
                port: port.parse().expect("a port"),
                abstract_name: (*name).to_owned(),
            };
            for (name, _, attack) in probe::all(&outside) {
                println!("{name} {}", probe::attempt(&attack));
            }
        }
        ("connect", [address]) => println!("{:?}", raw(TcpStream::connect(address))),
        ("serve", []) => serve(),
        ("ask", [address, ..]) => crate::serving::ask(address),
        ("ask-for-ever", [address]) => crate::serving::ask_for_ever(address),
        ("have", [address]) => crate::serving::have(address),
        ("send", [address]) => {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            println!("{:?}", raw(socket.send_to(b"secret", address)));
        }
        ("look-up", [name]) => println!("{}", (*name, 80).to_socket_addrs().is_ok()),
        ("connect-then-wait", [address]) => {
            let _ = TcpStream::connect(address);
            std::thread::sleep(std::time::Duration::from_secs(30));
        }
        ("look-up-then-wait", [name]) => {
            let _ = (*name, 80).to_socket_addrs();
            std::thread::sleep(std::time::Duration::from_secs(30));
        }
        ("start", [program, rest @ ..]) => {
            let status = Command::new(program).args(rest).status().expect("it starts");
            return ExitCode::from(status.code().unwrap_or(1) as u8);
        }
        ("exit", [code]) => return ExitCode::from(code.parse::<u8>().expect("a code")),
        ("signal", [number]) => {
            // SAFETY: sends a signal to this process.
            unsafe { libc::raise(number.parse().expect("a number")) };
        }
        ("own", paths) => paths.iter().for_each(|path| own(path)),
        ("chain", words) => {
            for words in words.split(|word| *word == "&&") {
                let words = words.strip_prefix(&["/bin/probe"]).unwrap_or(words);
                let words = words.strip_prefix(&["probe"]).unwrap_or(words);
                let [what, rest @ ..] = words else { continue };
                act(what, rest);
            }
        }
        ("move", [from, to]) => fs::rename(from, to).expect("it moves"),
        ("identity", []) => identity(),
        ("terminal", []) => crate::terminal::probe(),
        ("surroundings", []) => surroundings(),
        ("write", [path]) => println!("{:?}", raw(fs::write(path, "x"))),
        ("look", paths) => paths.iter().for_each(|path| crate::secrets::look(path)),
        ("read", [path]) => print!("{}", fs::read_to_string(path).expect("it can be read")),
        ("fork-bomb", []) => loop {
            // SAFETY: this program has one thread here.
            if unsafe { libc::fork() } < 0 {
                println!("{:?}", io::Error::last_os_error().raw_os_error());
                return ExitCode::SUCCESS;
            }
        },
        ("memory", []) => memory(u64::MAX),
        ("memory-of-many", []) => {
            for _ in 0..10 {
                // SAFETY: this program has one thread.
                if unsafe { libc::fork() } == 0 {
                    memory(20);
                }
            }
            thread::sleep(Duration::from_secs(1000));
        }
        ("shared-memory", []) => println!("{:?}", raw(fill("/dev/shm/full"))),
        ("disk", []) => println!("{:?}", raw(fill("/tmp/full"))),
        ("many-files", []) => {
            for number in 0.. {
                fs::write(format!("/tmp/{number}"), [1; 65_536]).expect("it can be written");
            }
        }
        ("deaf", []) => {
            for signal in 1..=64 {
                // SAFETY: ignoring a signal is always sound.
                unsafe { libc::signal(signal, libc::SIG_IGN) };
            }
            println!("deaf");
            thread::sleep(Duration::from_secs(1000));
        }
        ("daemon", [_]) => daemon(),
        ("print", [bytes]) => print_much(bytes.parse().expect("a number")),
        ("tree", [count, _]) => tree(count.parse().expect("a number")),
        other => panic!("the probe does not know {other:?}"),
    }
    ExitCode::SUCCESS
}

fn raw<T>(result: io::Result<T>) -> i32 {
    result.err().map_or(0, |error| error.raw_os_error().unwrap_or(-1))
}

fn serve() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let client = thread::spawn(move || raw(TcpStream::connect(address)));
    drop(listener.accept().expect("a client"));
    println!("{:?}", client.join().expect("it connected"));
}

/// Gives a file another owner in the way that its suffix says, and tells the result.
fn own(path: &str) {
    let name = CString::new(path).expect("a path");
    let link = path.ends_with(".link");
    let result = if path.ends_with(".fd") {
        let file = fs::File::open(path).expect("the file");
        std::os::unix::fs::fchown(file, Some(1000), Some(1001))
    } else if link {
        std::os::unix::fs::lchown(path, Some(1000), Some(1001))
    } else if path.ends_with(".group") {
        std::os::unix::fs::chown(path, None, Some(1001))
    } else if path.ends_with(".at") {
        let folder = fs::File::open("/tmp").expect("the folder");
        let base = CString::new(path.rsplit('/').next().unwrap_or_default()).expect("a name");
        let folder = std::os::fd::AsRawFd::as_raw_fd(&folder);
        // SAFETY: the name outlives the call.
        status(unsafe { libc::fchownat(folder, base.as_ptr(), 1000, 1001, 0) })
    } else {
        // SAFETY: the name outlives the call.
        status(unsafe { libc::chown(name.as_ptr(), 1000, 1001) })
    };
    println!("{path} {}", raw(result));
}

fn status(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn identity() {
    // SAFETY: calls that change or ask for the identity of this process only.
    unsafe {
        println!("setuid {}", raw(status(libc::setuid(33))));
        println!("setresgid {}", raw(status(libc::setresgid(33, 33, 33))));
        println!("setgroups {}", raw(status(libc::setgroups(1, &33))));
        println!("setuid_root {}", raw(status(libc::setuid(0))));
        println!("getuid {}", libc::getuid());
        println!("fsync {}", raw(status(libc::fsync(9999))));
        let header = [0x2008_0522_u32, 0];
        println!(
            "capset {}",
            raw(status(libc::syscall(libc::SYS_capset, header.as_ptr(), [1_u32; 6].as_ptr()) as i32))
        );
    }
    let text = fs::read_to_string("/proc/self/status").expect("status");
    text.lines().filter(|line| line.starts_with("CapEff")).for_each(|line| println!("{line}"));
}

/// Prints everything that should be the same everywhere.
fn surroundings() {
    // SAFETY: the structures outlive the calls; the strings end with zero.
    unsafe {
        let mut name: libc::utsname = mem::zeroed();
        libc::uname(&raw mut name);
        for field in [&name.sysname, &name.nodename, &name.release, &name.version, &name.machine] {
            println!("uname {:?}", CStr::from_ptr(field.as_ptr()));
        }
        let mut info: libc::sysinfo = mem::zeroed();
        libc::sysinfo(&raw mut info);
        println!("sysinfo {} {:?} {} {}", info.uptime, info.loads, info.totalram, info.procs);
        println!("umask {:o}", libc::umask(0));
        println!("personality {:x}", libc::personality(0xffff_ffff));
        for resource in 0..16 {
            let mut limit: libc::rlimit = mem::zeroed();
            libc::getrlimit(resource, &raw mut limit);
            println!("limit {resource} {} {}", limit.rlim_cur, limit.rlim_max);
        }
        for signal in 1..32 {
            let mut action: libc::sigaction = mem::zeroed();
            libc::sigaction(signal, ptr(), &raw mut action);
            // SIGPIPE and SIGSEGV are changed by this program's own start.
            if action.sa_sigaction == libc::SIG_IGN && signal != libc::SIGPIPE {
                println!("ignored {signal}");
            }
        }
    }
    std::env::vars().for_each(|(key, value)| println!("env {key}={value}"));
    println!("pid {} of {}", std::process::id(), std::os::unix::process::parent_id());
    println!("cpus {}", thread::available_parallelism().map_or(0, Into::into));
    println!("address {:p}", surroundings as fn());
    for path in [
        "/etc/hosts",
        "/etc/resolv.conf",
        "/proc/version",
        "/proc/cpuinfo",
        "/proc/meminfo",
        "/proc/uptime",
        "/proc/loadavg",
        "/proc/stat",
        "/proc/sys/kernel/osrelease",
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/random/boot_id",
        "/proc/self/uid_map",
        "/proc/self/cgroup",
    ] {
        println!("{path}: {}", fs::read_to_string(path).unwrap_or_else(|error| error.to_string()));
        if !path.starts_with("/proc/s") {
            let time = fs::metadata(path).and_then(|metadata| metadata.modified()).expect("a time");
            println!("{path} is of {time:?}");
        }
    }
    for entry in fs::read_dir("/proc/self/fd").expect("descriptors").flatten() {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        println!("fd {:?} {}", entry.file_name(), target.display().to_string().split(':').next().unwrap_or_default());
    }
    let mut mounts: Vec<String> = fs::read_to_string("/proc/self/mountinfo")
        .expect("mounts")
        .lines()
        .map(|line| line.split(' ').skip(3).filter(|field| !field.contains("uid_map")).collect::<Vec<_>>().join(" "))
        .collect();
    mounts.sort();
    mounts.iter().for_each(|mount| println!("mount {mount}"));
}

fn ptr() -> *const libc::sigaction {
    std::ptr::null()
}

fn memory(mebibytes: u64) {
    let mut all = Vec::new();
    for _ in 0..mebibytes {
        let mut block = vec![0_u8; 1 << 20];
        block.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        all.push(block);
    }
    thread::sleep(Duration::from_secs(1000));
}

fn fill(path: &str) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    loop {
        file.write_all(&[1; 1 << 16])?;
    }
}

fn daemon() {
    for _ in 0..10 {
        // SAFETY: this program has one thread; the child leaves its session and parent as a daemon does.
        unsafe {
            if libc::fork() == 0 {
                libc::setsid();
                if libc::fork() != 0 {
                    libc::_exit(0);
                }
                libc::signal(libc::SIGTERM, libc::SIG_IGN);
                loop {
                    libc::sleep(1000);
                }
            }
        }
    }
    println!("left ten behind");
}

fn print_much(bytes: usize) {
    let block = [b'x'; 1 << 16];
    let mut out = io::stdout();
    for _ in 0..bytes / block.len() {
        out.write_all(&block).expect("it can be written");
    }
}

fn tree(count: usize) {
    for _ in 0..count {
        // SAFETY: this program has one thread.
        if unsafe { libc::fork() } == 0 {
            thread::sleep(Duration::from_secs(1000));
        }
    }
    println!("ready");
    thread::sleep(Duration::from_secs(1000));
}
