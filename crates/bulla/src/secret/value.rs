//! Gets the value of a secret.

use std::{
    io::{self, Read},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use bulla_build::secret::LONGEST;
use bulla_model::{SecretBytes, spec::Name};

use super::{Origin, SecretError, SecretOption};
use crate::session::Session;

/// How long the command that gives a value may take: it may ask a person something.
const TIME: Duration = Duration::from_secs(120);

impl SecretOption {
    /// Gets the value, as it is.
    ///
    /// # Errors
    /// When it is not there, or cannot be read.
    pub(super) fn value(&self, session: &Session) -> Result<SecretBytes, SecretError> {
        let name = &self.name;
        match &self.origin {
            Origin::Env(variable) => {
                let value = session.environment.secret(variable);
                let not_set = || SecretError::NotSet { name: name.clone(), variable: variable.clone() };
                value.map(SecretBytes::new).ok_or_else(not_set)
            }
            Origin::File(path) => {
                let unread = |source| SecretError::Unread { name: name.clone(), source };
                let file = fs_err::File::open(path).map_err(unread)?;
                read(file).map_err(unread)
            }
            Origin::Exec(command) => {
                let (value, status) =
                    run(command).map_err(|source| SecretError::Unread { name: name.clone(), source })?;
                match status {
                    Some(status) if status.success() => Ok(value),
                    status => Err(SecretError::Command { name: name.clone(), how: ended(status, TIME) }),
                }
            }
        }
    }
}

/// Refuses a value that cannot be one.
pub(super) fn check(name: &Name, value: &SecretBytes) -> Result<(), SecretError> {
    let wrong = |problem: &str| Err(SecretError::Value { name: name.clone(), problem: problem.to_owned() });
    match value.expose() {
        bytes if bytes.len() > LONGEST => wrong(&format!("has more than {LONGEST} bytes")),
        bytes if bytes.trim_ascii().is_empty() => wrong("is empty"),
        _ => Ok(()),
    }
}

/// Says how a command ended; `None` is one that did not in time.
pub(super) fn ended(status: Option<ExitStatus>, time: Duration) -> String {
    match status.map(|status| (status.code(), status.signal())) {
        None => format!("did not end within {} seconds", time.as_secs()),
        Some((Some(code), _)) => format!("ended with exit code {code}"),
        Some((None, signal)) => format!("was ended by signal {}", signal.unwrap_or_default()),
    }
}

/// Waits for a command to end, and ends it when its time is over; `None` then.
pub(super) fn wait(child: &mut Child, until: Instant) -> io::Result<Option<ExitStatus>> {
    const TICK: Duration = Duration::from_millis(10);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(TICK);
    }
}

/// Reads a value, and a byte more than it may have. It is read into room that is there, for a buffer that grew would leave it behind.
fn read(from: impl Read) -> io::Result<SecretBytes> {
    let mut bytes = Vec::with_capacity(LONGEST + 2);
    from.take(LONGEST as u64 + 1).read_to_end(&mut bytes)?;
    Ok(SecretBytes::new(bytes))
}

/// Runs a command of the user by their shell, as git does with credential helpers. It has the terminal and may ask something.
fn run(command: &str) -> io::Result<(SecretBytes, Option<ExitStatus>)> {
    let until = Instant::now() + TIME;
    let mut child = Command::new("/bin/sh").args(["-c", command]).stdout(Stdio::piped()).spawn()?;
    let Some(stdout) = child.stdout.take() else { return Err(io::ErrorKind::BrokenPipe.into()) };
    // What the command started may hold its output open for longer than the command lives.
    let (said, heard) = mpsc::channel();
    std::thread::spawn(move || said.send(read(stdout)));
    let value = match heard.recv_timeout(until.saturating_duration_since(Instant::now())) {
        Ok(value) => Some(value?),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
    };
    let status = wait(&mut child, until)?;
    Ok(match value {
        Some(value) => (value, status),
        None => (SecretBytes::new(Vec::new()), None),
    })
}
