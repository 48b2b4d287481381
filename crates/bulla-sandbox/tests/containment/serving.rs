//! The one address inside at which the caller answers, and the process that is shut in to do it.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    path::Path,
    process::{Command, ExitCode},
    thread::JoinHandle,
    time::Duration,
};

use bulla_sandbox::{Attended, Cell, Connection, Entered, Error, Exit, Outcome, Request, Serve};
use rustix::event::EventfdFlags;

use crate::{
    Case,
    world::{self, Ran, World, chain, succeeded},
};

pub(crate) const CASES: &[Case] = &[
    ("a_step_reaches_the_server_and_nothing_else", a_step_reaches_the_server_and_nothing_else),
    ("each_connection_names_its_process", each_connection_names_its_process),
    ("a_step_cannot_have_the_port_of_the_server", a_step_cannot_have_the_port_of_the_server),
    ("the_socket_does_not_reach_the_command", the_socket_does_not_reach_the_command),
    ("nobody_asks_after_the_end", nobody_asks_after_the_end),
    ("what_the_server_does_not_have_ends_a_run_that_asks_for_it", what_the_server_does_not_have_ends_a_run),
    ("a_server_that_takes_no_socket_fails_the_run", a_server_that_takes_no_socket_fails_the_run),
    ("a_cell_can_do_nothing_but_answer", a_cell_can_do_nothing_but_answer),
    ("a_cell_ends_with_its_caller", a_cell_ends_with_its_caller),
];

const PORT: u16 = 4873;
const ADDRESS: &str = "127.0.0.1:4873";
/// The name of the test's own cell.
const CELL: &str = "bulla-probe-cell";

/// Greets whoever comes, from a thread, until the socket is shut.
#[derive(Default)]
struct Greeter {
    listener: Option<OwnedFd>,
    thread: Option<JoinHandle<Vec<u16>>>,
    refused: Option<OwnedFd>,
    broken: bool,
    silent: bool,
}

impl Serve for Greeter {
    fn listen(&mut self, listener: OwnedFd) -> io::Result<()> {
        if self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let ours = TcpListener::from(listener.try_clone()?);
        self.listener = Some(listener);
        if self.silent {
            return Ok(());
        }
        let refused = self.refused.as_ref().map(OwnedFd::try_clone).transpose()?;
        self.thread = Some(std::thread::spawn(move || {
            let mut ports = Vec::new();
            while let Ok((mut client, from)) = ours.accept() {
                ports.push(from.port());
                let _ = client.write_all(b"hello");
                if let Some(refused) = &refused {
                    let _ = rustix::io::write(refused, &1_u64.to_ne_bytes());
                }
            }
            ports
        }));
        Ok(())
    }

    fn refused(&self) -> Option<BorrowedFd<'_>> {
        self.refused.as_ref().map(|refused| refused.as_fd())
    }
}

impl Greeter {
    /// Ends it, and gives the ports of those that came.
    fn ports(mut self) -> Vec<u16> {
        let listener = self.listener.take().expect("it was given its socket");
        let _ = rustix::net::shutdown(&listener, rustix::net::Shutdown::Both);
        self.thread.take().expect("a thread").join().expect("it ended")
    }
}

fn try_served(
    world: &World,
    words: &[&str],
    server: &mut Greeter,
    change: impl FnOnce(&mut Request),
) -> Result<Ran, Error> {
    let scratch = world.scratch();
    let mut request = world.request(scratch.path(), words);
    request.listen = Some(PORT);
    change(&mut request);
    let mut output = Vec::new();
    let attended = Attended { terminal: None, server: Some(server) };
    let outcome =
        world.launcher.run_with(&request, &world.cancel, attended, &mut |_, bytes| output.extend_from_slice(bytes))?;
    Ok(Ran { outcome, stdout: String::from_utf8_lossy(&output).into_owned(), stderr: String::new(), scratch })
}

fn served(world: &World, words: &[&str], server: &mut Greeter) -> Ran {
    let ran = try_served(world, words, server, |_| ()).unwrap_or_else(|error| panic!("{words:?}: {}", chain(&error)));
    succeeded(&ran);
    ran
}

fn a_step_reaches_the_server_and_nothing_else(world: &World) {
    let mut server = Greeter::default();
    let words = ["chain", "ask", ADDRESS, "&&", "connect", "127.0.0.1:4874", "&&", "connect", "192.0.2.1:443"];
    let ran = served(world, &words, &mut server);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let [hello, other, outside] = lines[..] else { panic!("{}", ran.stdout) };
    assert!(hello.ends_with(" hello"), "{hello}");
    assert_eq!((other, outside), ("111", "101"), "refused, and out of reach");
    let refused: Vec<&str> = ran.outcome.refusals.iter().map(|refusal| refusal.target.as_str()).collect();
    assert_eq!(refused, ["192.0.2.1:443"], "the server is no refusal");
    assert_eq!(server.ports().len(), 1);
    let without = world.run(&["connect", ADDRESS]);
    assert_eq!(without.stdout.trim(), libc::ECONNREFUSED.to_string(), "nobody is there unless it is asked for");
    assert!(without.outcome.connections.is_empty());
}

fn each_connection_names_its_process(world: &World) {
    let mut server = Greeter::default();
    let words = ["chain", "ask", ADDRESS, "&&", "start", "/bin/probe", "probe", "ask", ADDRESS, "again"];
    let ran = served(world, &words, &mut server);
    let said: Vec<u16> =
        ran.stdout.lines().map(|line| line.split(' ').next().expect("a port").parse().expect("a port")).collect();
    let Outcome { connections, connections_dropped, .. } = &ran.outcome;
    let noted: Vec<u16> = connections.iter().map(|connection| connection.port).collect();
    assert_eq!((&noted, connections_dropped), (&said, &0), "as the processes know their ports themselves");
    assert_eq!(server.ports(), said, "and as the server does");
    let [first, second]: &[Connection; 2] = connections.as_slice().try_into().expect("two");
    assert_eq!((first.by.executable.as_str(), second.by.executable.as_str()), ("/bin/probe", "/bin/probe"));
    assert!(first.by.pid > 1 && second.by.pid > first.by.pid, "{connections:?}");
    assert_eq!(second.by.command_line, format!("/bin/probe probe ask {ADDRESS} again"));
    assert!(first.at <= second.at && second.at <= bulla_sandbox::monotonic());
}

fn a_step_cannot_have_the_port_of_the_server(world: &World) {
    let ran = served(world, &["have", ADDRESS], &mut Greeter::default());
    assert_eq!(ran.stdout.trim(), "98 98 98 98", "in use, in every way that there is");
    let control = world.run(&["have", ADDRESS]);
    assert_eq!(control.stdout.trim(), "0 0 0 0", "without a server it can be had");
}

fn the_socket_does_not_reach_the_command(world: &World) {
    let descriptors =
        |text: &str| text.lines().filter(|line| line.starts_with("fd ")).map(str::to_owned).collect::<Vec<_>>();
    let with = served(world, &["surroundings"], &mut Greeter::default());
    let without = world.run(&["surroundings"]);
    assert_eq!(descriptors(&with.stdout), descriptors(&without.stdout));
    assert!(!descriptors(&with.stdout).is_empty() && !with.stdout.contains(" socket"), "{}", with.stdout);
}

fn nobody_asks_after_the_end(world: &World) {
    let mut server = Greeter { silent: true, ..Greeter::default() };
    let ran = served(world, &["ask-for-ever", ADDRESS], &mut server);
    assert_eq!(ran.stdout.trim(), "left one behind");
    let listener = TcpListener::from(server.listener.expect("a socket"));
    listener.set_nonblocking(true).expect("a setting");
    // What asked before the end is gone: its connections have ended, or are reset.
    let mut asked = 0;
    while let Ok((mut client, _)) = listener.accept() {
        asked += 1;
        client.set_read_timeout(Some(Duration::from_secs(60))).expect("a setting");
        let mut all = Vec::new();
        match client.read_to_end(&mut all) {
            Ok(_) => (),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
        }
    }
    assert!(asked > 0, "it was left behind, and asked");
    assert_eq!(listener.accept().map(drop).map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
}

fn what_the_server_does_not_have_ends_a_run(world: &World) {
    let refused = || rustix::event::eventfd(0, EventfdFlags::CLOEXEC).expect("a sign");
    for (stop, exit) in [(true, Exit::Refused), (false, Exit::Code(0))] {
        let mut server = Greeter { refused: Some(refused()), ..Greeter::default() };
        // Who is not ended goes on at once; who is waits for longer than the run may take.
        let words: &[&str] = if stop { &["connect-then-wait", ADDRESS] } else { &["ask", ADDRESS] };
        let ran = try_served(world, words, &mut server, |request| request.stop_on_refusal = stop).expect("it runs");
        assert_eq!(ran.outcome.exit, exit);
        assert!(ran.outcome.refusals.is_empty());
        assert_eq!(server.ports().len(), 1);
    }
}

fn a_server_that_takes_no_socket_fails_the_run(world: &World) {
    let mut server = Greeter { broken: true, ..Greeter::default() };
    let error = try_served(world, &["write", "/tmp/x"], &mut server, |_| ()).err().expect("it fails");
    assert!(chain(&error).contains("handing the listening socket over"), "{}", chain(&error));
    let error =
        try_served(world, &["exit", "0"], &mut server, |request| request.listen = None).err().expect("it fails");
    assert!(matches!(error, Error::BadRequest { .. }), "{}", chain(&error));
    let error = world.try_run(&["exit", "0"], |request| request.listen = Some(PORT)).err().expect("it fails");
    assert!(matches!(error, Error::BadRequest { .. }), "{}", chain(&error));
}

/// Asks the server, and says from which port, and what it answered.
pub(crate) fn ask(address: &str) {
    let mut stream = TcpStream::connect(address).expect("a server");
    let port = stream.local_addr().expect("an address").port();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    println!("{port} {answer}");
}

/// Leaves a process behind that connects again and again.
pub(crate) fn ask_for_ever(address: &str) {
    let (mut ready, said) = io::pipe().expect("a pipe");
    // SAFETY: this program has one thread; the child leaves its session and only connects.
    if unsafe { libc::fork() } == 0 {
        unsafe { libc::setsid() };
        let mut kept = Vec::new();
        loop {
            kept.extend(TcpStream::connect(address));
            if kept.len() == 3 {
                let _ = (&said).write_all(b"x");
            }
        }
    }
    drop(said);
    let _ = ready.read(&mut [0]);
    println!("left one behind");
}

/// Tries to have a port in four ways, and says what came of each.
pub(crate) fn have(address: &str) {
    use rustix::net::{AddressFamily, SocketType, sockopt};
    let port = address.rsplit(':').next().expect("a port");
    let any = format!("0.0.0.0:{port}");
    let ways = [(address, false, false), (address, true, false), (address, false, true), (any.as_str(), true, true)];
    let tries: Vec<String> = ways
        .iter()
        .map(|(address, again, shared)| {
            let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
            sockopt::set_socket_reuseaddr(&socket, *again).expect("a setting");
            sockopt::set_socket_reuseport(&socket, *shared).expect("a setting");
            let address: std::net::SocketAddr = address.parse().expect("an address");
            let had = rustix::net::bind(&socket, &address).and_then(|()| rustix::net::listen(&socket, 1));
            had.err().map_or(0, |errno| errno.raw_os_error()).to_string()
        })
        .collect();
    println!("{}", tries.join(" "));
}

/// Serves as the test's cell when this process is one.
pub(crate) fn enter() {
    if let Some(Entered { socket, folder, .. }) = Cell::enter(CELL) {
        let text = attempts(folder.as_ref().map(|folder| folder.as_fd()));
        let _ = rustix::io::write(&socket, text.as_bytes());
        // Until the caller is gone, or says so.
        let _ = bulla_sandbox::receive(&socket);
        Entered::end(0)
    }
}

fn call(number: libc::c_long, args: &[i64]) -> i32 {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    let [a, b, c, d, e, f] = all;
    // SAFETY: numbers, null, and pointers to what outlives the call.
    if unsafe { libc::syscall(number, a, b, c, d, e, f) } < 0 {
        io::Error::last_os_error().raw_os_error().unwrap_or(-1)
    } else {
        0
    }
}

/// Tries what a cell has no business with, and says what came of it, one a line.
fn attempts(folder: Option<BorrowedFd<'_>>) -> String {
    let open = |dir: i32, path: &std::ffi::CStr, flags: i32| {
        let how: [u64; 3] = [flags as u64, if flags & libc::O_CREAT != 0 { 0o600 } else { 0 }, 0];
        call(libc::SYS_openat2, &[dir.into(), path.as_ptr() as i64, how.as_ptr() as i64, 24])
    };
    let dir = folder.map_or(libc::AT_FDCWD, |folder| folder.as_raw_fd());
    let mut both = [0_i32; 2];
    let pair = call(libc::SYS_socketpair, &[1, 1, 0, both.as_mut_ptr() as i64]);
    let code = i64::from(libc::PROT_READ | libc::PROT_EXEC);
    let private = i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let mut all = vec![
        ("read_a_blob", open(dir, c"blob", libc::O_RDONLY)),
        ("write_a_blob", open(dir, c"blob", libc::O_WRONLY)),
        ("make_a_file", open(dir, c"new", libc::O_RDWR | libc::O_CREAT)),
        ("follow_a_link", open(dir, c"link", libc::O_RDONLY)),
        ("read_a_file_of_the_host", open(libc::AT_FDCWD, c"/etc/passwd", libc::O_RDONLY)),
        ("climb_out", open(dir, c"../../../../../etc/passwd", libc::O_RDONLY)),
        ("look_at_processes", open(libc::AT_FDCWD, c"/proc/self/maps", libc::O_RDONLY)),
        ("open_the_old_way", call(libc::SYS_openat, &[libc::AT_FDCWD.into(), c"/etc/passwd".as_ptr() as i64, 0, 0])),
        ("a_socket", call(libc::SYS_socket, &[2, 1, 0])),
        ("a_pair_of_sockets", pair),
        ("a_memory_file", call(libc::SYS_memfd_create, &[c"x".as_ptr() as i64, 0])),
        ("signal_the_parent", call(libc::SYS_kill, &[std::os::unix::process::parent_id().into(), 0])),
        ("new_code", call(libc::SYS_mmap, &[0, 4096, code, private, -1, 0])),
        ("remove_a_blob", call(libc::SYS_unlinkat, &[dir.into(), c"blob".as_ptr() as i64, 0])),
    ];
    // SAFETY: without CLONE_VM, as fork; the child ends at once.
    let child = unsafe { libc::syscall(libc::SYS_clone, i64::from(libc::SIGCHLD), 0, 0, 0, 0) };
    match child {
        // SAFETY: ends the child.
        0 => unsafe { libc::_exit(0) },
        -1 => all.push(("a_process", io::Error::last_os_error().raw_os_error().unwrap_or(-1))),
        _ => all.push(("a_process", 0)),
    }
    all.iter().map(|(name, result)| format!("{name} {result}\n")).collect()
}

/// The control: the same attempts, outside of a cell.
pub(crate) fn attempt(folder: &str) -> ExitCode {
    let folder = std::fs::File::open(folder).expect("the folder");
    print!("{}", attempts(Some(folder.as_fd())));
    ExitCode::SUCCESS
}

/// A folder as a store of blobs has it.
fn blobs() -> tempfile::TempDir {
    let folder = world::folder();
    world::open_to_all(folder.path());
    std::fs::write(folder.path().join("blob"), "blob").expect("a blob");
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).expect("a link");
    world::give(folder.path());
    world::give(&folder.path().join("blob"));
    folder
}

fn heard(cell: &Cell) -> String {
    let said = cell.receive(Duration::from_secs(60)).expect("it says something").expect("before it ends");
    String::from_utf8(said).expect("text")
}

fn a_cell_can_do_nothing_but_answer(world: &World) {
    let folder = blobs();
    let cell = world.launcher.cell(CELL, Some(folder.path())).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let expected = "read_a_blob 0\nwrite_a_blob 30\nmake_a_file 30\nfollow_a_link 40\nread_a_file_of_the_host 2\nclimb_out 2\n\
                    look_at_processes 2\nopen_the_old_way 38\na_socket 38\na_pair_of_sockets 38\na_memory_file 38\n\
                    signal_the_parent 38\nnew_code 1\nremove_a_blob 38\na_process 38\n";
    assert_eq!(heard(&cell), expected);
    let nothing = world.launcher.cell(CELL, None).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let said = heard(&nothing);
    assert!(
        said.starts_with("read_a_blob 2\nwrite_a_blob 2\nmake_a_file 30\nfollow_a_link 2\nread_a_file_of_the_host 2\n"),
        "{said}"
    );
    drop((cell, nothing));
    let own = std::env::current_exe().expect("this program");
    let output = Command::new(own).args(["cell-attempts", path(folder.path())]).output().expect("it runs");
    let control = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        !control.is_empty() && control.lines().all(|line| line.ends_with(" 0")),
        "outside all of it can be done: {control}"
    );
}

fn a_cell_ends_with_its_caller(world: &World) {
    let folder = blobs();
    let cell = world.launcher.cell(CELL, Some(folder.path())).unwrap_or_else(|error| panic!("{}", chain(&error)));
    drop(heard(&cell));
    cell.close().expect("it is there");
    assert_eq!(cell.receive(Duration::from_secs(60)).expect("an end"), None, "it ends when it is told so");
    drop(cell);
    // It is waited for when it is dropped, whatever it does then.
    let start = std::time::Instant::now();
    drop(world.launcher.cell(CELL, None).unwrap_or_else(|error| panic!("{}", chain(&error))));
    assert!(start.elapsed() < Duration::from_secs(60));
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a text")
}
