//! What is asked of the sandbox: plain data in which everything is resolved already. The sandbox decides nothing.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use bulla_model::SecretBytes;

use crate::error::Error;

/// The most layers that an overlay takes (Linux, `fs/overlayfs`, `OVL_MAX_STACK`), less the one the sandbox adds.
pub const MAX_LOWERS: usize = 499;
const MAX_BINDS: usize = 256;
/// The folder of the secrets, inside.
pub(crate) const SECRETS: &str = "/run/secrets";
const MAX_CPUS: u16 = 1024;

/// One run of one command in one sandbox.
#[derive(Debug, Clone)]
pub struct Request {
    /// The root file system.
    pub root: Root,
    /// What is bound into it, in this order.
    pub binds: Vec<Bind>,
    /// What this run alone may know. The caller's memory, the helper's and that of the first process are wiped of it when it is no
    /// longer needed there; no disk, argument or environment of any of them has it.
    pub secrets: Vec<Secret>,
    /// The command. A first word without a slash is looked up in `PATH` of [`Request::env`], inside.
    pub argv: Vec<OsString>,
    /// The whole environment: nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// The working directory inside; absolute, and it must exist.
    pub cwd: PathBuf,
    /// The host name that the command sees.
    pub hostname: String,
    /// The mask of permissions of what it makes: `0o022` as everywhere.
    pub umask: u16,
    /// What the command may do beyond an ordinary step.
    pub privileges: Privileges,
    /// Whether `set*id` to another id is answered with success (`identity: fake` of the spec); without it, EPERM.
    pub identity_fake: bool,
    /// The emulator that programs of another machine run under.
    pub emulation: Option<Emulation>,
    /// Whether the run is ended, as [`crate::Exit::Refused`], when something is refused for the first time.
    pub stop_on_refusal: bool,
    /// A port of the sandbox's own `127.0.0.1` on which the caller answers: it gets the listening socket before the command
    /// starts ([`crate::Serve`]), so that the command cannot have that port itself. Nothing else answers inside.
    pub listen: Option<u16>,
    /// What the command may use up.
    pub limits: Limits,
}

/// Where the root file system comes from.
#[derive(Debug, Clone)]
pub enum Root {
    /// An overlay: nothing below it is changed.
    Overlay {
        /// The read-only directories, the topmost first; at most [`MAX_LOWERS`].
        lowers: Vec<PathBuf>,
        /// An existing empty directory on a real file system. Afterwards it holds `upper/`, which has the changes.
        scratch: PathBuf,
    },
    /// The rung without overlay: a writable copy that the caller made, and that is changed in place.
    Copy {
        /// The directory that becomes the root.
        dir: PathBuf,
    },
}

/// A file or directory of the host that is seen inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// The path outside; resolved by the host's rules.
    pub source: PathBuf,
    /// The absolute path inside; it is made for the run when it is missing.
    pub target: PathBuf,
    /// Whether the command may write there.
    pub writable: bool,
}

/// A secret that the command is given.
#[derive(Debug, Clone)]
pub struct Secret {
    /// Its name: a single component of a path. Files of the same name are one.
    pub name: String,
    /// The value.
    pub value: SecretBytes,
    /// Where the command finds it.
    pub place: SecretPlace,
}

/// Where a command finds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPlace {
    /// `/run/secrets/NAME`, a file (0400) on a tmpfs that cannot be written; with a path, that as well.
    File(Option<PathBuf>),
    /// A variable of the environment.
    Env(String),
}

/// An emulator of another machine. Every program of that machine that is started inside runs under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emulation {
    /// The machine.
    pub machine: Machine,
    /// The emulator: a program of the host, which needs no library of the root.
    pub interpreter: PathBuf,
}

/// A machine that can be emulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// 64-bit ARM.
    Aarch64,
}

impl Machine {
    /// Gives the name that the kernel has for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aarch64 => "aarch64",
        }
    }
}

/// What a command may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Privileges {
    /// An ordinary step: no capabilities at all.
    #[default]
    Step,
    /// Maintainer scripts of Debian packages: the capabilities `0x800001ff` inside the user namespace, while `set*id`,
    /// `setgroups`, `capset` and the `fsync` family are answered with success at once.
    Scripts,
}

/// What a command may use up. Each is enforced on every rung of [`crate::outcome::Rung`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of all processes together, in bytes.
    pub memory: u64,
    /// Processes and threads at one time.
    pub processes: u32,
    /// Disk space that the root may take, in bytes; also the largest file.
    pub disk: u64,
    /// Wall-clock time.
    pub time: Duration,
    /// Bytes of standard output and standard error that are handed on; the rest is dropped and counted.
    pub output: u64,
    /// Number of processors, downwards from those that the host gives; `None` for all of them.
    pub cpus: Option<u16>,
}

impl Default for Limits {
    fn default() -> Self {
        const GIB: u64 = 1 << 30;
        Self {
            memory: 8 * GIB,
            processes: 4096,
            disk: 64 * GIB,
            time: Duration::from_secs(3600),
            output: 64 << 20,
            cpus: None,
        }
    }
}

impl Request {
    /// Checks what the kernel would refuse later with less clear words.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let fail = |what: &str| Err(Error::BadRequest { what: what.to_owned() });
        if self.argv.first().is_none_or(|program| program.is_empty()) {
            return fail("the command is empty");
        }
        if !self.cwd.is_absolute() {
            return fail("the working directory is not absolute");
        }
        if self.binds.len() > MAX_BINDS {
            return fail("more than 256 binds");
        }
        if let Root::Overlay { lowers, .. } = &self.root
            && (lowers.is_empty() || lowers.len() > MAX_LOWERS)
        {
            return fail("an overlay needs 1 to 499 lower directories");
        }
        if self.hostname.is_empty() || self.hostname.len() > 63 {
            return fail("the host name is not 1 to 63 bytes long");
        }
        if self.limits.cpus.is_some_and(|cpus| cpus == 0 || cpus > MAX_CPUS) {
            return fail("the number of processors is not 1 to 1024");
        }
        if self.listen == Some(0) {
            return fail("the port to listen on is 0, which nobody could be told");
        }
        if let Some(path) = self.outside().find(|path| !path.is_absolute()) {
            // The helper has another working directory.
            return fail(&format!("the path {} is not absolute", path.display()));
        }
        for bind in &self.binds {
            check_target(&bind.target)?;
        }
        for secret in &self.secrets {
            if secret.name.is_empty() || secret.name.contains(['/', '\0']) || [".", ".."].contains(&&*secret.name) {
                return fail("the name of a secret is not one component of a path");
            }
            match &secret.place {
                SecretPlace::File(Some(target)) => check_target(target)?,
                SecretPlace::Env(_) if secret.value.expose().contains(&0) => {
                    return fail(&format!(
                        "the secret {} has a zero byte in it, which no variable can have",
                        secret.name
                    ));
                }
                _ => {}
            }
        }
        let variables = self.secrets.iter().filter_map(Secret::variable);
        if self.env.keys().map(String::as_str).chain(variables).any(|key| key.is_empty() || key.contains('=')) {
            return fail("a variable's name is empty or has a `=` in it");
        }
        if self.strings().any(|bytes| bytes.contains(&0)) {
            return fail("a path, argument or variable has a zero byte in it");
        }
        Ok(())
    }

    /// The paths of the host.
    fn outside(&self) -> impl Iterator<Item = &PathBuf> {
        let roots: Vec<&PathBuf> = match &self.root {
            Root::Overlay { lowers, scratch } => lowers.iter().chain([scratch]).collect(),
            Root::Copy { dir } => vec![dir],
        };
        let emulator = self.emulation.iter().map(|emulation| &emulation.interpreter);
        roots.into_iter().chain(self.binds.iter().map(|bind| &bind.source)).chain(emulator)
    }

    fn strings(&self) -> impl Iterator<Item = &[u8]> {
        let inside = self.binds.iter().map(|bind| &bind.target).chain([&self.cwd]);
        let targets = self.secrets.iter().filter_map(Secret::target);
        let paths = self.outside().chain(inside).chain(targets).map(|path| path.as_os_str().as_bytes());
        let words = self.argv.iter().map(|word| word.as_bytes());
        let variables = self.secrets.iter().filter_map(Secret::variable).map(str::as_bytes);
        let env = self.env.iter().flat_map(|(key, value)| [key.as_bytes(), value.as_bytes()]);
        paths.chain(words).chain(variables).chain(env).chain([self.hostname.as_bytes()])
    }
}

impl Secret {
    /// Gives the variable that has it.
    pub(crate) fn variable(&self) -> Option<&str> {
        match &self.place {
            SecretPlace::Env(name) => Some(name),
            SecretPlace::File(_) => None,
        }
    }

    /// Gives the path that it has beside that in the folder of all.
    pub(crate) fn target(&self) -> Option<&PathBuf> {
        match &self.place {
            SecretPlace::File(target) => target.as_ref(),
            SecretPlace::Env(_) => None,
        }
    }

    /// Says whether it is a file.
    pub(crate) const fn is_file(&self) -> bool {
        matches!(self.place, SecretPlace::File(_))
    }
}

/// Checks where something is put inside.
fn check_target(target: &Path) -> Result<(), Error> {
    let inside = target.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if target.is_absolute() && inside && target.as_os_str() != "/" {
        return Ok(());
    }
    Err(Error::BadRequest {
        what: format!("the target {} of a bind is not an absolute path below /", target.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str, place: SecretPlace) -> Secret {
        Secret { name: name.to_owned(), value: SecretBytes::new(b"a value".to_vec()), place }
    }

    fn sample() -> Request {
        Request {
            root: Root::Overlay { lowers: vec!["/lower".into()], scratch: "/scratch".into() },
            binds: vec![Bind { source: "/source".into(), target: "/target".into(), writable: false }],
            secrets: vec![secret("token", SecretPlace::File(None))],
            argv: vec!["true".into()],
            env: BTreeMap::new(),
            cwd: "/".into(),
            hostname: "build".to_owned(),
            umask: 0o022,
            privileges: Privileges::Step,
            identity_fake: false,
            emulation: None,
            stop_on_refusal: false,
            listen: None,
            limits: Limits::default(),
        }
    }

    #[test]
    fn what_cannot_be_is_refused_before_anything_is_made() {
        assert!(sample().check().is_ok());
        let changes: [fn(&mut Request); 16] = [
            |request| request.argv.clear(),
            |request| request.argv = vec!["a\0b".into()],
            |request| request.cwd = "relative".into(),
            |request| request.binds[0].target = "/a/../b".into(),
            |request| request.binds[0].target = "/".into(),
            |request| request.binds[0].source = "relative".into(),
            |request| request.root = Root::Copy { dir: "relative".into() },
            |request| request.root = Root::Overlay { lowers: Vec::new(), scratch: "/scratch".into() },
            |request| request.hostname = "x".repeat(64),
            |request| drop(request.env.insert("A=B".to_owned(), String::new())),
            |request| request.limits.cpus = Some(0),
            |request| request.listen = Some(0),
            |request| request.secrets.push(secret("a/b", SecretPlace::File(None))),
            |request| request.secrets.push(secret("..", SecretPlace::File(None))),
            |request| request.secrets.push(secret("a", SecretPlace::File(Some("/a/../b".into())))),
            |request| request.secrets.push(secret("a", SecretPlace::Env("A=B".to_owned()))),
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut request = sample();
            change(&mut request);
            assert!(matches!(request.check(), Err(Error::BadRequest { .. })), "change {number}");
        }
    }
}
