//! What the three parties say to each other: the caller's process, the helper, and the new sandbox.
//!
//! A job is a sequence of length-prefixed fields in a memory file. Messages are datagrams of at most 16 bytes on a
//! socket pair that belongs to one run; descriptors travel with them.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    cmsg_space,
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        recvmsg, sendmsg,
    },
};

use bulla_model::SecretBytes;
use zeroize::Zeroizing;

use crate::request::{Bind, Emulation, Limits, Machine, Privileges, Request, Root, Secret, SecretPlace};

/// The most descriptors in one message.
pub(crate) const MAX_FDS: usize = 4;
/// The length of a message.
pub(crate) const MESSAGE: usize = 16;

/// A message on the socket of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// Helper: the sandbox's first process exists; its descriptor comes with it.
    Started { pid: u32 },
    /// Sandbox: the sockets and directories inside come with it, at the end the listening socket where one was asked for.
    Inside,
    /// Sandbox: the number of the filter's listener in the first process.
    Listener { number: i32 },
    /// Sandbox: a stage failed with an errno.
    Failed { stage: u8, errno: i32 },
    /// Sandbox: the command ended with this raw status.
    Status { raw: i32 },
    /// Helper: the first process, and so every other, has ended.
    Reaped { cpu_us: u64, max_rss_kib: u32 },
    /// Helper: the directories could not be prepared; a text file comes with it.
    Unprepared,
    /// Caller: the supervisor has the listener; go on.
    Go,
}

impl Message {
    /// Writes the message. Does not allocate.
    pub(crate) fn encode(self) -> [u8; MESSAGE] {
        let mut bytes = [0; MESSAGE];
        let (tag, small, large) = match self {
            Self::Started { pid } => (b'P', pid, 0),
            Self::Inside => (b'I', 0, 0),
            Self::Listener { number } => (b'L', number as u32, 0),
            Self::Failed { stage, errno } => (b'F', errno as u32, u64::from(stage)),
            Self::Status { raw } => (b'S', raw as u32, 0),
            Self::Reaped { cpu_us, max_rss_kib } => (b'R', max_rss_kib, cpu_us),
            Self::Unprepared => (b'U', 0, 0),
            Self::Go => (b'G', 0, 0),
        };
        bytes[0] = tag;
        bytes[4..8].copy_from_slice(&small.to_ne_bytes());
        bytes[8..16].copy_from_slice(&large.to_ne_bytes());
        bytes
    }

    /// Reads a message.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; MESSAGE] = bytes.try_into().ok()?;
        let [tag, _, _, _, a, b, c, d, large @ ..] = *bytes;
        let (small, large) = (u32::from_ne_bytes([a, b, c, d]), u64::from_ne_bytes(large));
        Some(match tag {
            b'P' => Self::Started { pid: small },
            b'I' => Self::Inside,
            b'L' => Self::Listener { number: small as i32 },
            b'F' => Self::Failed { stage: u8::try_from(large).ok()?, errno: small as i32 },
            b'S' => Self::Status { raw: small as i32 },
            b'R' => Self::Reaped { cpu_us: large, max_rss_kib: small },
            b'U' => Self::Unprepared,
            b'G' => Self::Go,
            _ => return None,
        })
    }
}

/// Sends a message with descriptors. Does not allocate.
pub(crate) fn send(socket: BorrowedFd<'_>, message: Message, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    sendmsg(socket, &[IoSlice::new(&message.encode())], &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// What was received: nothing means that every other holder of the socket has ended.
pub(crate) struct Received {
    pub(crate) message: Option<Message>,
    pub(crate) fds: Vec<OwnedFd>,
}

/// Receives a message with descriptors.
pub(crate) fn receive(socket: impl AsFd) -> Result<Received, Errno> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; MESSAGE];
    let count = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            // A reset says, once, that the other side has ended without reading all: what it sent before is still to come.
            Err(Errno::INTR | Errno::CONNRESET) => (),
            Ok(received) => break received.bytes,
            Err(errno) => return Err(errno),
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    Ok(Received { message: Message::decode(&bytes[..count]), fds })
}

/// What the helper is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) request: Request,
    /// Whether memory is limited by the processes' own limits.
    pub(crate) data_limit: bool,
    /// Whether the overlay is mounted in the way of kernels before 6.7.
    pub(crate) old_overlay: bool,
    /// Where mount points are kept between runs.
    pub(crate) skeletons: Option<PathBuf>,
    /// Whether the first stream is a terminal, which the command gets for all three.
    pub(crate) terminal: bool,
}

/// Reads the file of a job, whose end other holders of it may be at. What was read is wiped.
pub(crate) fn read_job(file: BorrowedFd<'_>) -> Result<Job, String> {
    let unread = |errno: Errno| format!("reading the job: {errno}");
    let length = rustix::fs::fstat(file).map_err(unread)?.st_size;
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(length).unwrap_or_default()]);
    let mut read = 0;
    while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(file, rest, read as u64).map_err(unread)? {
            0 => break,
            count => read += count,
        }
    }
    decode_job(&bytes).ok_or_else(|| "the job is not valid".to_owned())
}

/// Writes a job for the helper. It is wiped when it is dropped.
pub(crate) fn encode_job(job: &Job) -> Zeroizing<Vec<u8>> {
    let Job { request, data_limit, old_overlay, skeletons, terminal } = job;
    let mut out = Writer(Vec::with_capacity(4096));
    out.number((*data_limit).into());
    out.number((*old_overlay).into());
    out.number((*terminal).into());
    out.path(skeletons.as_deref().unwrap_or(Path::new("")));
    match &request.root {
        Root::Overlay { lowers, scratch } => {
            out.number(0);
            out.path(scratch);
            out.number(lowers.len() as u64);
            lowers.iter().for_each(|lower| out.path(lower));
        }
        Root::Copy { dir } => {
            out.number(1);
            out.path(dir);
        }
    }
    out.number(request.binds.len() as u64);
    for Bind { source, target, writable } in &request.binds {
        out.path(source);
        out.path(target);
        out.number((*writable).into());
    }
    out.number(request.argv.len() as u64);
    request.argv.iter().for_each(|word| out.bytes(word.as_bytes()));
    out.number(request.env.len() as u64);
    for (key, value) in &request.env {
        out.bytes(key.as_bytes());
        out.bytes(value.as_bytes());
    }
    out.path(&request.cwd);
    out.bytes(request.hostname.as_bytes());
    out.number(request.umask.into());
    out.number((request.privileges == Privileges::Scripts).into());
    out.number(request.identity_fake.into());
    out.number(request.stop_on_refusal.into());
    // 0 is no port to listen on.
    out.number(request.listen.unwrap_or(0).into());
    // There is one machine so far.
    out.path(request.emulation.as_ref().map_or(Path::new(""), |emulation| &emulation.interpreter));
    let Limits { memory, processes, disk, time, output, cpus } = request.limits;
    let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let numbers = [memory, processes.into(), disk, time, output, cpus.unwrap_or(0).into()];
    numbers.into_iter().for_each(|number| out.number(number));
    out.number(request.secrets.len() as u64);
    // Secrets come last and into room that is there: a vector that grew would leave them behind where it was.
    let room = |secret: &Secret| secret.value.expose().len() + secret.name.len() + 4096;
    let mut whole = Zeroizing::new(Vec::with_capacity(out.0.len() + request.secrets.iter().map(room).sum::<usize>()));
    whole.extend_from_slice(&out.0);
    let mut out = Writer(std::mem::take(&mut *whole));
    for Secret { name, value, place } in &request.secrets {
        out.bytes(name.as_bytes());
        out.bytes(value.expose());
        match place {
            SecretPlace::File(target) => {
                out.number(0);
                out.path(target.as_deref().unwrap_or(Path::new("")));
            }
            SecretPlace::Env(variable) => {
                out.number(1);
                out.bytes(variable.as_bytes());
            }
        }
    }
    Zeroizing::new(out.0)
}

/// Reads a job; `None` when it is not one.
pub(crate) fn decode_job(bytes: &[u8]) -> Option<Job> {
    let mut input = Reader(bytes);
    let (data_limit, old_overlay, terminal) = (input.number()? != 0, input.number()? != 0, input.number()? != 0);
    let skeletons = Some(input.path()?).filter(|path| !path.as_os_str().is_empty());
    let root = match input.number()? {
        0 => {
            let scratch = input.path()?;
            let count = input.count()?;
            Root::Overlay { lowers: (0..count).map(|_| input.path()).collect::<Option<_>>()?, scratch }
        }
        _ => Root::Copy { dir: input.path()? },
    };
    let count = input.count()?;
    let bind = |input: &mut Reader<'_>| {
        Some(Bind { source: input.path()?, target: input.path()?, writable: input.number()? != 0 })
    };
    let binds = (0..count).map(|_| bind(&mut input)).collect::<Option<_>>()?;
    let count = input.count()?;
    let argv = (0..count).map(|_| Some(OsString::from_vec(input.bytes()?.to_vec()))).collect::<Option<_>>()?;
    let count = input.count()?;
    let env = (0..count).map(|_| Some((input.text()?, input.text()?))).collect::<Option<BTreeMap<_, _>>>()?;
    let (cwd, hostname, umask) = (input.path()?, input.text()?, u16::try_from(input.number()?).ok()?);
    let privileges = if input.number()? == 1 { Privileges::Scripts } else { Privileges::Step };
    let (identity_fake, stop_on_refusal) = (input.number()? != 0, input.number()? != 0);
    let listen = Some(u16::try_from(input.number()?).ok()?).filter(|port| *port != 0);
    let interpreter = Some(input.path()?).filter(|path| !path.as_os_str().is_empty());
    let emulation = interpreter.map(|interpreter| Emulation { machine: Machine::Aarch64, interpreter });
    let limits = Limits {
        memory: input.number()?,
        processes: u32::try_from(input.number()?).ok()?,
        disk: input.number()?,
        time: Duration::from_micros(input.number()?),
        output: input.number()?,
        cpus: u16::try_from(input.number()?).ok().filter(|cpus| *cpus != 0),
    };
    let count = input.count()?;
    let secrets = (0..count).map(|_| secret(&mut input)).collect::<Option<_>>()?;
    let request = Request {
        root,
        binds,
        secrets,
        argv,
        env,
        cwd,
        hostname,
        umask,
        privileges,
        identity_fake,
        emulation,
        stop_on_refusal,
        listen,
        limits,
    };
    Some(Job { request, data_limit, old_overlay, skeletons, terminal })
}

fn secret(input: &mut Reader<'_>) -> Option<Secret> {
    let (name, value) = (input.text()?, SecretBytes::new(input.bytes()?.to_vec()));
    let place = match input.number()? {
        0 => SecretPlace::File(Some(input.path()?).filter(|path| !path.as_os_str().is_empty())),
        _ => SecretPlace::Env(input.text()?),
    };
    Some(Secret { name, value, place })
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u64) {
        self.0.extend(number.to_ne_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn path(&mut self, path: &Path) {
        self.bytes(path.as_os_str().as_bytes());
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_ne_bytes(*number))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok().filter(|count| *count <= self.0.len())
    }

    fn path(&mut self) -> Option<PathBuf> {
        Some(OsString::from_vec(self.bytes()?.to_vec()).into())
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Request {
        Request {
            root: Root::Overlay { lowers: vec!["/a".into(), "/b".into()], scratch: "/s".into() },
            binds: vec![Bind { source: "/x".into(), target: "/y".into(), writable: true }],
            secrets: [SecretPlace::File(None), SecretPlace::File(Some("/t".into())), SecretPlace::Env("V".into())]
                .into_iter()
                .map(|place| Secret { name: "n".into(), value: SecretBytes::new(b"a value".to_vec()), place })
                .collect(),
            argv: vec!["sh".into(), "-c".into(), "true".into()],
            env: [("PATH".to_owned(), "/bin".to_owned())].into(),
            cwd: "/".into(),
            hostname: "build".into(),
            umask: 0o022,
            privileges: Privileges::Scripts,
            identity_fake: true,
            emulation: Some(Emulation { machine: Machine::Aarch64, interpreter: "/e".into() }),
            stop_on_refusal: true,
            listen: Some(4873),
            limits: Limits { cpus: Some(2), ..Limits::default() },
        }
    }

    #[test]
    fn a_job_is_read_back_and_a_cut_one_is_not() {
        let skeletons = Some("/k".into());
        let job = Job { request: sample(), data_limit: true, old_overlay: false, skeletons, terminal: true };
        let bytes = encode_job(&job);
        let read = decode_job(&bytes).expect("a job");
        assert_eq!(format!("{read:?}"), format!("{job:?}"));
        assert!(read.request.secrets.iter().all(|secret| secret.value.expose() == b"a value"));
        for cut in 0..bytes.len() {
            assert!(decode_job(&bytes[..cut]).is_none(), "cut at {cut}");
        }
    }

    #[test]
    fn what_was_sent_before_an_end_is_received() {
        let (ours, theirs) = crate::worker::socket_pair().expect("sockets");
        send(ours.as_fd(), Message::Go, &[]).expect("sent");
        send(theirs.as_fd(), Message::Started { pid: 7 }, &[]).expect("sent");
        send(theirs.as_fd(), Message::Status { raw: 0 }, &[]).expect("sent");
        // It ends with a message unread.
        drop(theirs);
        let next = || receive(&ours).expect("received").message;
        assert_eq!(next(), Some(Message::Started { pid: 7 }));
        assert_eq!(next(), Some(Message::Status { raw: 0 }));
        assert_eq!(next(), None);
        assert_eq!(next(), None);
    }

    #[test]
    fn a_message_is_read_back() {
        let all = [
            Message::Started { pid: 7 },
            Message::Inside,
            Message::Listener { number: 9 },
            Message::Failed { stage: 3, errno: 13 },
            Message::Status { raw: -1 },
            Message::Reaped { cpu_us: 1 << 40, max_rss_kib: 5 },
            Message::Unprepared,
            Message::Go,
        ];
        for message in all {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
        assert_eq!(Message::decode(b""), None);
    }
}
