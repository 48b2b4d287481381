//! Runs at a terminal: it is the run's own, and the person's stays what it was.

use std::{
    io::{self, Read as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use bulla_sandbox::{Exit, Outcome, Terminal};
use rustix::{
    fs::OFlags,
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize},
};

use crate::{Case, world::World};

pub(crate) const CASES: &[Case] = &[
    ("a_terminal_is_the_runs_own", a_terminal_is_the_runs_own),
    ("a_terminal_that_is_gone_ends_the_run", a_terminal_that_is_gone_ends_the_run),
];

/// What the probe does at its terminal.
pub(crate) fn probe() {
    let yes = |what: bool| if what { "yes" } else { "no" };
    let all = rustix::termios::isatty(io::stdin())
        && rustix::termios::isatty(io::stdout())
        && rustix::termios::isatty(io::stderr());
    println!("terminal {}", yes(all));
    let size = rustix::termios::tcgetwinsize(io::stdin()).expect("a size");
    println!("size {} {}", size.ws_row, size.ws_col);
    println!("controlling {}", yes(std::fs::File::open("/dev/tty").is_ok()));
    // SAFETY: the request reads one byte, which outlives the call.
    let typed = unsafe { libc::ioctl(0, libc::TIOCSTI, b"x".as_ptr()) };
    let errno = io::Error::last_os_error().raw_os_error();
    println!("typing {}", if typed == -1 && errno == Some(libc::EPERM) { "refused" } else { "done" });
    let mut modes = tcgetattr(io::stdin()).expect("modes");
    modes.make_raw();
    tcsetattr(io::stdin(), OptionalActions::Now, &modes).expect("its own modes may be changed");
    let mut line = [0; 5];
    io::stdin().read_exact(&mut line).expect("what was typed");
    println!("read {}", String::from_utf8_lossy(&line));
}

/// A person's terminal: the end that they see, the end that is given away, and what tells of another size.
struct Person {
    outer: OwnedFd,
    inner: OwnedFd,
    resized: UnixStream,
    resizes: UnixStream,
}

impl Person {
    fn new() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let outer = openpt(flags).expect("a terminal");
        unlockpt(&outer).expect("unlocked");
        let inner = ioctl_tiocgptpeer(&outer, flags).expect("its other end");
        let mut modes = tcgetattr(&inner).expect("modes");
        modes.make_raw();
        tcsetattr(&inner, OptionalActions::Now, &modes).expect("raw");
        tcsetwinsize(&inner, Winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 }).expect("a size");
        let (resized, resizes) = UnixStream::pair().expect("sockets");
        resized.set_nonblocking(true).expect("a mode");
        Self { outer, inner, resized, resizes }
    }

    fn terminal(&self) -> Terminal {
        let input = self.inner.try_clone().expect("a copy");
        Terminal { input, resized: self.resized.try_clone().expect("a copy").into() }
    }
}

fn run(world: &World, person: &Person, words: &[&str]) -> (Outcome, String) {
    let scratch = world.scratch();
    let request = world.request(scratch.path(), words);
    let mut said = Vec::new();
    let mut sink = |_, bytes: &[u8]| said.extend_from_slice(bytes);
    let outcome = world.launcher.run_at_terminal(&request, &world.cancel, person.terminal(), &mut sink);
    (outcome.expect("it runs"), String::from_utf8_lossy(&said).into_owned())
}

fn a_terminal_is_the_runs_own(world: &World) {
    let mut person = Person::new();
    let before = format!("{:?}", tcgetattr(&person.inner).expect("modes"));
    std::fs::File::from(person.outer.try_clone().expect("a copy")).write_all(b"hello").expect("typed");
    person.resizes.write_all(b"x").expect("told");
    let (outcome, said) = run(world, &person, &["terminal"]);
    assert_eq!(outcome.exit, Exit::Code(0), "{said}");
    for line in ["terminal yes", "size 33 77", "controlling yes", "typing refused", "read hello"] {
        assert!(said.contains(line), "{line} is not in {said}");
    }
    assert_eq!(format!("{:?}", tcgetattr(&person.inner).expect("modes")), before, "the person's modes were changed");
    rustix::fs::fcntl_setfl(&person.outer, OFlags::RDWR | OFlags::NONBLOCK).expect("a mode");
    let printed = rustix::io::read(&person.outer, &mut [0; 64]);
    assert_eq!(printed, Err(rustix::io::Errno::AGAIN), "only the caller prints to the person's terminal");
    // The control: without a terminal there is none.
    let plain = world.run(&["read", "/dev/stdin"]);
    assert_eq!(plain.stdout, "");
}

fn a_terminal_that_is_gone_ends_the_run(world: &World) {
    let person = Person::new();
    let Person { outer, inner, resized, resizes: _resizes } = person;
    let mut outer = Some(outer);
    let scratch = world.scratch();
    let request = world.request(scratch.path(), &["deaf"]);
    let terminal = Terminal { input: inner, resized: resized.into() };
    // The command runs, and ignores every signal, when it prints.
    let outcome = world.launcher.run_at_terminal(&request, &world.cancel, terminal, &mut |_, _| drop(outer.take()));
    let outcome = outcome.expect("it runs");
    assert_eq!(outcome.exit, Exit::Cancelled);
}
