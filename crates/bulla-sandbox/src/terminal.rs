//! A terminal of its own for a run that a person sits at.
//!
//! The command gets the inner end of a new pseudo-terminal, and nothing of the caller's own: what it does to its terminal
//! (modes, size, typing into it, its foreground group) stays there. The supervisor holds the outer end, carries over what
//! is typed and what is printed, and the size.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::OFlags,
    io::Errno,
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
};

/// How much of what is typed is read at once, in bytes.
const TYPED: usize = 4096;

/// The terminal at which a person sits.
#[derive(Debug)]
pub struct Terminal {
    /// Where it is typed; its size is the size that the command sees.
    pub input: OwnedFd,
    /// Becomes readable when the size has changed; what is in it is read and dropped.
    pub resized: OwnedFd,
}

/// The supervisor's end.
pub(crate) struct Keyboard {
    pub(crate) terminal: Terminal,
    /// The outer end of the pseudo-terminal.
    pub(crate) outer: OwnedFd,
    /// What was typed and did not fit in yet.
    typed: Vec<u8>,
}

/// A new pseudo-terminal: the supervisor's end, the end that the run's output is read from, and the command's.
pub(crate) fn open(terminal: Terminal) -> io::Result<(Keyboard, OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let outer = openpt(flags)?;
    unlockpt(&outer)?;
    // By the descriptor and not by a path: what /dev/pts shows here may be another set of terminals.
    let inner = ioctl_tiocgptpeer(&outer, flags)?;
    rustix::fs::fcntl_setfl(&outer, OFlags::RDWR | OFlags::NONBLOCK)?;
    let printed = rustix::io::fcntl_dupfd_cloexec(&outer, 0)?;
    let keyboard = Keyboard { terminal, outer, typed: Vec::new() };
    keyboard.resize();
    Ok((keyboard, printed, inner))
}

impl Keyboard {
    /// Says whether there is something that did not fit in yet.
    pub(crate) fn is_full(&self) -> bool {
        !self.typed.is_empty()
    }

    /// Takes what was typed; false when the terminal is gone.
    pub(crate) fn read(&mut self) -> bool {
        let mut buffer = [0; TYPED];
        match rustix::io::read(&self.terminal.input, &mut buffer) {
            Ok(0) => return false,
            Ok(count) => self.typed.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(Errno::INTR | Errno::AGAIN) => return true,
            Err(_) => return false,
        }
        self.write();
        true
    }

    /// Hands on as much as fits in.
    pub(crate) fn write(&mut self) {
        match rustix::io::write(&self.outer, &self.typed) {
            Ok(count) => _ = self.typed.drain(..count.min(self.typed.len())),
            Err(Errno::INTR | Errno::AGAIN) => (),
            // The command has closed its end: nobody reads that any more.
            Err(_) => self.typed.clear(),
        }
    }

    /// Drops what says that the size has changed, and carries the size over.
    pub(crate) fn resized(&self) {
        let mut buffer = [0; 64];
        let _ = rustix::io::read(self.terminal.resized.as_fd(), &mut buffer);
        self.resize();
    }

    fn resize(&self) {
        // What is no terminal has no size, and the command sees that there is none.
        if let Ok(size) = rustix::termios::tcgetwinsize(&self.terminal.input) {
            let _ = rustix::termios::tcsetwinsize(&self.outer, size);
        }
    }
}
