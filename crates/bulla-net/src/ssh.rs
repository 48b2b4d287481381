//! Conversations with git servers by SSH: the user's own `ssh` program is run, with the user's keys, agent and known hosts.
//!
//! A spec may name such a server only where the configuration does so too: to be asked is to be told that the user is there, and
//! the agent would sign for whatever the other side is. The agent is not forwarded, and nothing is asked of the user.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{self, Read, Write},
    path::PathBuf,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use bulla_model::git::SshAddress;

use crate::error::NetError;

/// How SSH is used.
#[derive(Debug, Clone, Default)]
pub struct SshConfig {
    /// The program.
    pub program: PathBuf,
    /// The hosts that may be asked: `HOST` or `HOST:PORT`.
    pub hosts: Vec<String>,
    /// The environment of the program: home, agent and the like.
    pub environment: BTreeMap<OsString, OsString>,
    /// Becomes true when the user stops the program.
    pub cancel: Arc<AtomicBool>,
}

/// A conversation.
#[derive(Debug)]
pub struct Ssh {
    place: String,
    child: Arc<Mutex<Child>>,
    input: Option<ChildStdin>,
    output: ChildStdout,
    complaint: Option<JoinHandle<Vec<u8>>>,
    ended: Arc<AtomicBool>,
    cancel: Arc<AtomicBool>,
}

/// How often the flag of the user's stop is looked at.
const WATCH: Duration = Duration::from_millis(50);
/// How often it is looked whether the program has ended by itself.
const GRACE: u32 = 20;
/// The most bytes of the program's complaints that are kept.
const MAX_COMPLAINT: u64 = 2000;

/// What `ssh` is told, whatever the user's settings say: never to ask, to forward nothing, to run nothing here, and to give up.
const OPTIONS: [&str; 10] = [
    "-oBatchMode=yes",
    "-oForwardAgent=no",
    "-oForwardX11=no",
    "-oClearAllForwardings=yes",
    "-oPermitLocalCommand=no",
    "-oControlMaster=no",
    "-oSendEnv=GIT_PROTOCOL",
    "-oConnectTimeout=20",
    "-oServerAliveInterval=15",
    "-oServerAliveCountMax=4",
];

impl SshConfig {
    fn allows(&self, address: &SshAddress) -> bool {
        let with_port = format!("{}:{}", address.host, address.port.unwrap_or(22));
        self.hosts.iter().any(|host| {
            host.eq_ignore_ascii_case(&address.host) && address.port.is_none() || host.eq_ignore_ascii_case(&with_port)
        })
    }
}

impl Ssh {
    /// Begins a conversation with the git server of a repository.
    ///
    /// # Errors
    /// When the configuration does not let the host be asked, or the program cannot be run.
    pub fn open(config: &SshConfig, address: &SshAddress, version: &str) -> Result<Self, NetError> {
        let place = match address.port {
            Some(port) => format!("{}:{port}", address.host),
            None => address.host.clone(),
        };
        if !config.allows(address) {
            return Err(NetError::SshHost { host: place });
        }
        let failed = |source| NetError::SshProgram { program: config.program.clone(), source };
        let mut child = command(config, address, version).spawn().map_err(failed)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = output.ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        let complaint = child.stderr.take().map(|errors| thread::spawn(move || drain(errors)));
        let (child, ended) = (Arc::new(Mutex::new(child)), Arc::new(AtomicBool::new(false)));
        watch(&child, &ended, &config.cancel);
        Ok(Self { place, child, input, output, complaint, ended, cancel: config.cancel.clone() })
    }

    /// Says something.
    ///
    /// # Errors
    /// When the other side has ended.
    pub fn say(&mut self, bytes: &[u8]) -> Result<(), NetError> {
        let said = self.input.as_mut().map(|input| input.write_all(bytes).and_then(|()| input.flush()));
        match said {
            Some(Ok(())) => Ok(()),
            _ => Err(self.broken()),
        }
    }

    /// Hears the next bytes; at the end of the conversation that is an error, since an answer says itself where it ends.
    ///
    /// # Errors
    /// When the other side has ended, or the user stops it.
    pub fn hear(&mut self, buffer: &mut [u8]) -> Result<usize, NetError> {
        match self.output.read(buffer) {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(self.broken()),
        }
    }

    /// Lets the program end by itself, which it does when nobody talks to it, and ends it when it does not.
    fn end_child(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.input = None;
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..GRACE {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(WATCH);
        }
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Says why the conversation is over, in the words of `ssh` and the server.
    fn broken(&mut self) -> NetError {
        self.input = None;
        if self.cancel.load(Ordering::Relaxed) {
            return NetError::Cancelled;
        }
        let words = self.complaint.take().map(|thread| {
            self.end_child();
            thread.join().unwrap_or_default()
        });
        let words = words.unwrap_or_default();
        let text = String::from_utf8_lossy(&words);
        let lines: Vec<String> =
            text.lines().map(|line| bulla_model::path::printable(line.trim_end().as_bytes())).collect();
        NetError::Ssh { host: self.place.clone(), words: lines.join("; ") }
    }
}

/// Reads what the program complains of to its end, so that it never waits, and keeps the beginning.
fn drain(mut errors: ChildStderr) -> Vec<u8> {
    let mut words = Vec::new();
    let _ = errors.by_ref().take(MAX_COMPLAINT).read_to_end(&mut words);
    let _ = io::copy(&mut errors, &mut io::sink());
    words
}

fn command(config: &SshConfig, address: &SshAddress, version: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the user's keys and known hosts are for the user's own program")]
    let mut command = Command::new(&config.program);
    command.args(OPTIONS).arg("-T");
    if let Some(port) = address.port {
        command.arg("-p").arg(port.to_string());
    }
    if let Some(user) = &address.user {
        command.arg("-l").arg(user);
    }
    // The path has no quote in it: `SshAddress` sees to that.
    command.arg("--").arg(&address.host).arg(format!("git-upload-pack '{}'", address.path));
    command.env_clear().envs(&config.environment).env("GIT_PROTOCOL", version);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Ends the program when the user stops ours: it may be waiting for a host that does not answer.
fn watch(child: &Arc<Mutex<Child>>, ended: &Arc<AtomicBool>, cancel: &Arc<AtomicBool>) {
    let (child, ended, cancel) = (child.clone(), ended.clone(), cancel.clone());
    // Without the thread stopping is only slower.
    let _ = thread::Builder::new().name("bulla-ssh-stop".into()).spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            if cancel.load(Ordering::Relaxed) {
                let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
                return;
            }
            thread::sleep(WATCH);
        }
    });
}

impl Drop for Ssh {
    fn drop(&mut self) {
        self.end_child();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_of_the_configuration_are_asked() {
        let allows = |hosts: &[&str], text: &str| {
            let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
            SshConfig { hosts, ..SshConfig::default() }.allows(&SshAddress::parse(text).expect("an address"))
        };
        assert!(allows(&["git.example"], "git@git.example:x") && allows(&["GIT.example:22"], "git@Git.example:x"));
        assert!(allows(&["git.example:2222"], "ssh://git.example:2222/x"));
        assert!(!allows(&["git.example"], "ssh://git.example:2222/x"), "another port is another server");
        assert!(!allows(&[], "git@git.example:x") && !allows(&["git.example"], "git@git.example.evil.example:x"));
    }

    fn with_program(script: &str) -> (bulla_testkit::Project, SshConfig) {
        let folder = bulla_testkit::Project::new().program("ssh", script);
        let config = SshConfig {
            program: folder.path("ssh"),
            hosts: vec!["git.example".to_owned()],
            environment: [("PATH".into(), "/usr/bin:/bin".into())].into(),
            ..SshConfig::default()
        };
        (folder, config)
    }

    // One after the other: a program that was just written cannot be run while another thread is about to run its own.
    #[test]
    fn servers_that_are_silent_or_end_early_hold_nobody() {
        who_stops_the_program_waits_for_no_silent_server();
        a_server_that_ends_early_is_quoted_and_made_harmless();
    }

    fn who_stops_the_program_waits_for_no_silent_server() {
        let (_folder, config) = with_program("#!/bin/sh\nexec sleep 600\n");
        let address = SshAddress::parse("git.example:x").expect("an address");
        let mut ssh = Ssh::open(&config, &address, "version=2").expect("it starts");
        config.cancel.store(true, Ordering::Relaxed);
        assert!(matches!(ssh.hear(&mut [0; 10]), Err(NetError::Cancelled)));
    }

    fn a_server_that_ends_early_is_quoted_and_made_harmless() {
        // More than a pipe holds, for a program that complains must not wait for ever.
        let script = "#!/bin/sh\nprintf 'no \\033[31mentry\\n' >&2\nhead -c 300000 /dev/zero >&2\necho hello\nexit 3\n";
        let (_folder, config) = with_program(script);
        let address = SshAddress::parse("git.example:x").expect("an address");
        let mut ssh = Ssh::open(&config, &address, "version=2").expect("it starts");
        let mut heard = [0; 6];
        let count = ssh.hear(&mut heard).expect("what it says first");
        assert_eq!(&heard[..count], b"hello\n");
        let error = ssh.hear(&mut heard).expect_err("the end");
        assert!(error.to_string().contains("no \\x1b[31mentry"), "{error}");
    }

    #[test]
    fn nothing_of_an_address_is_an_option() {
        let address =
            SshAddress::parse("ssh://me@git.example:2222/x y".replace(' ', "+").as_str()).expect("an address");
        let config = SshConfig { program: "ssh".into(), ..SshConfig::default() };
        let command = command(&config, &address, "version=2");
        let words: Vec<&str> = command.get_args().filter_map(|word| word.to_str()).collect();
        let end = words.iter().position(|word| *word == "--").expect("an end of options");
        assert_eq!(words[end + 1..], ["git.example", "git-upload-pack '/x+y'"]);
        assert!(words[..end].contains(&"-oBatchMode=yes") && words[..end].contains(&"-oForwardAgent=no"));
    }
}
