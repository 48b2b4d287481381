//! Takes secrets back when the build ends, however it ends.
//!
//! A process of its own, this same program executed again, waits at a pipe for the names, commands and values, and runs the
//! commands when the pipe is closed: by the build that ended, or by the kernel when the build's process was killed or failed. It is
//! in a session of its own, so that Ctrl-C in the terminal is not for it. Only what ends it as well (a whole container or machine
//! that goes away) leaves secrets unrevoked.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use bulla_build::secret::LONGEST;
use bulla_model::{SecretBytes, spec::Name};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::{SecretError, value};
use crate::terminal;

/// The name under which the program is executed as the process that revokes.
const PROCESS: &str = "bulla-revoke";
/// How long a command may take.
const TIME: Duration = Duration::from_secs(60);
/// The longest name or command.
const MAX_TEXT: usize = 1 << 20;

/// The process that revokes, from without.
pub(super) struct Revoker {
    child: Child,
    /// Closed when the build ends.
    stdin: Option<ChildStdin>,
    names: Vec<Name>,
}

impl Revoker {
    /// Starts the process.
    pub(super) fn start() -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0(PROCESS).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn()?;
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, names: Vec::new() })
    }

    /// Tells it of a secret.
    pub(super) fn add(&mut self, name: &Name, command: &str, value: &SecretBytes) -> io::Result<()> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        for part in [name.as_str().as_bytes(), command.as_bytes(), value.expose()] {
            stdin.write_all(&(part.len() as u64).to_le_bytes())?;
            stdin.write_all(part)?;
        }
        self.names.push(name.clone());
        Ok(())
    }

    /// Has all secrets revoked, and waits until that is done.
    ///
    /// # Errors
    /// When one was not revoked.
    pub(super) fn end(mut self) -> Result<(), SecretError> {
        drop(self.stdin.take());
        let mut left: Vec<String> = self.names.iter().map(ToString::to_string).collect();
        let mut failed = Vec::new();
        if let Some(stdout) = self.child.stdout.take() {
            // A line for each: the name, and how the command failed.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let Some((name, how)) = line.split_once(' ') else { continue };
                left.retain(|one| one != name);
                if !how.is_empty() {
                    failed.push(format!("`{name}`: its command {how}"));
                }
            }
        }
        let _ = self.child.wait();
        failed.extend(left.into_iter().map(|name| format!("`{name}`: the process that revokes was ended")));
        if failed.is_empty() { Ok(()) } else { Err(SecretError::NotRevoked(failed)) }
    }
}

/// Serves when this process is the one that revokes, and says so; does nothing else. Call it first in `main`.
pub(crate) fn intercept() -> bool {
    let is_it = std::env::args_os().next().is_some_and(|name| name == PROCESS);
    if is_it {
        serve();
    }
    is_it
}

fn serve() {
    let _ = rustix::process::setsid();
    // Whoever stops a service asks all of its processes to end: the build is one of them, and this one comes after it.
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
    let mut input = io::stdin().lock();
    let mut all = Vec::new();
    while let Ok(one) = receive(&mut input) {
        all.push(one);
    }
    for (name, command, value) in all {
        let how = match run(&command, value) {
            Ok(None) => String::new(),
            Ok(Some(how)) => how,
            Err(error) => format!("cannot be run: {error}"),
        };
        let mut stdout = io::stdout().lock();
        let told = writeln!(stdout, "{name} {how}").and_then(|()| stdout.flush());
        // Nobody listens any more: the build was killed.
        if told.is_err() && !how.is_empty() {
            terminal::to_stderr(&format!("error: the secret `{name}` was not revoked: its command {how}\n"));
        }
    }
}

/// Reads a secret; an error is the end.
fn receive(input: &mut impl Read) -> io::Result<(String, String, SecretBytes)> {
    let text = |bytes| String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into());
    let name = part(input, MAX_TEXT).and_then(text)?;
    let command = part(input, MAX_TEXT).and_then(text)?;
    Ok((name, command, SecretBytes::new(part(input, LONGEST + 1)?)))
}

fn part(input: &mut impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    input.read_exact(&mut length)?;
    let length = usize::try_from(u64::from_le_bytes(length)).ok().filter(|length| *length <= most);
    let mut bytes = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Runs a command with the value on its standard input; gives how it failed.
fn run(command: &str, value: SecretBytes) -> io::Result<Option<String>> {
    let until = Instant::now() + TIME;
    let mut shell = Command::new("/bin/sh");
    let mut child = shell.args(["-c", command]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command need not read it; one that waits for something else is not waited for here.
        std::thread::spawn(move || stdin.write_all(value.expose()));
    }
    let status = value::wait(&mut child, until)?;
    Ok(match status {
        Some(status) if status.success() => None,
        status => Some(value::ended(status, TIME)),
    })
}
