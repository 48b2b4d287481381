//! One connection: what came, what is to go, and how far that is. It never waits, and works in turns of bounded length.

use std::{
    fs::File,
    os::fd::{AsFd as _, OwnedFd},
    time::{Duration, Instant},
};

use bulla_model::Origin;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
    net::{RecvFlags, SendFlags, Shutdown},
};

use crate::{
    answer::{self, Answer, Content},
    record::{Record, Records},
    request::{self, Read},
    table::{Entry, Index, Place},
    tunnel::{self, Settings, Tunnel, Unread},
};

/// How many bytes of a body one connection sends before it is the others' turn.
const TURN: u64 = 512 << 10;
/// How many requests one connection may have answered in a turn.
const REQUESTS: usize = 32;
const BUFFER: usize = 16 << 10;
/// How much of what follows the last answer is read and thrown away, so that the client sees that answer.
const DREGS: usize = 1 << 20;

/// What everybody is answered from, and what is remembered of it.
pub(crate) struct Desk {
    pub(crate) index: Index,
    pub(crate) folder: Option<OwnedFd>,
    pub(crate) records: Records,
    /// Whether something was asked for that is not there.
    pub(crate) refused: bool,
    settings: Settings,
    buffer: Vec<u8>,
}

impl Desk {
    /// `None` when the certificate is none.
    pub(crate) fn new(index: Index, folder: Option<OwnedFd>) -> Option<Self> {
        let settings = tunnel::settings(index.identity.as_ref(), &index.origins)?;
        let buffer = vec![0; BUFFER];
        Some(Self { index, folder, records: Records::default(), refused: false, settings, buffer })
    }
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// Something to read.
    In,
    /// Room to write, or its next turn.
    Out,
    /// Nothing more: it has ended.
    End,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing of a request has come.
    Idle,
    /// A head is coming.
    Asking,
    /// An answer is going.
    Answering,
    /// The last answer has gone.
    Ending,
}

pub(crate) struct Connection {
    pub(crate) socket: OwnedFd,
    pub(crate) state: State,
    /// When this state began.
    pub(crate) since: Instant,
    /// When a byte last came or went.
    pub(crate) progress: Instant,
    /// What it is registered for.
    pub(crate) wants: Wants,
    /// When it was accepted, by the clock of records.
    pub(crate) accepted: Duration,
    port: u16,
    inbox: Vec<u8>,
    /// How much of the inbox was looked through.
    seen: usize,
    outbox: Vec<u8>,
    sent: usize,
    body: Option<Sending>,
    close: bool,
    record: Option<usize>,
    dregs: usize,
    /// To whom the client is connected when the answer has gone.
    connects: Option<Origin>,
    tunnel: Option<Tunnel>,
}

/// A body on its way.
struct Sending {
    /// `None` for what is in the table's file.
    blob: Option<File>,
    at: u64,
    left: u64,
}

/// A connection cannot go on: the client is gone, or a blob is not what the table says.
struct Broken;

impl Connection {
    pub(crate) fn new(socket: OwnedFd, port: u16, accepted: Duration, now: Instant) -> Self {
        Self {
            socket,
            state: State::Idle,
            since: now,
            progress: now,
            wants: Wants::In,
            port,
            accepted,
            inbox: Vec::new(),
            seen: 0,
            outbox: Vec::new(),
            sent: 0,
            body: None,
            close: false,
            record: None,
            dregs: 0,
            connects: None,
            tunnel: None,
        }
    }

    /// Goes on as far as one turn reaches.
    pub(crate) fn step(&mut self, desk: &mut Desk, now: Instant) -> Wants {
        self.turn(desk, now).unwrap_or(Wants::End)
    }

    fn turn(&mut self, desk: &mut Desk, now: Instant) -> Result<Wants, Broken> {
        let (mut room, mut requests) = (TURN, REQUESTS);
        loop {
            match self.state {
                State::Idle | State::Asking => {
                    if requests == 0 {
                        return Ok(Wants::Out);
                    }
                    match request::read(&self.inbox, self.seen) {
                        Read::Head(length, read) => {
                            self.inbox.drain(..length.min(self.inbox.len()));
                            self.seen = 0;
                            requests -= 1;
                            self.begin(desk, &read, now);
                        }
                        Read::More => {
                            self.seen = self.inbox.len();
                            match self.recv(desk) {
                                Ok(0) => return Err(Broken),
                                Ok(count) => {
                                    self.inbox.extend_from_slice(desk.buffer.get(..count).unwrap_or_default());
                                    self.progress = now;
                                    if self.state == State::Idle {
                                        self.enter(State::Asking, now);
                                    }
                                }
                                Err(Errno::AGAIN) => return Ok(self.waits()),
                                Err(Errno::INTR) => (),
                                Err(_) => return Err(Broken),
                            }
                        }
                    }
                }
                State::Answering => match self.send(desk, &mut room, now)? {
                    true if self.close => {
                        if let Some(tunnel) = &mut self.tunnel {
                            tunnel.close(&self.socket);
                        }
                        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
                        self.inbox = Vec::new();
                        self.enter(State::Ending, now);
                    }
                    true if self.connects.is_some() => {
                        let (origin, early) = (self.connects.take(), std::mem::take(&mut self.inbox));
                        let tunnel = origin.and_then(|origin| Tunnel::new(&desk.settings, origin, early));
                        self.tunnel = Some(tunnel.ok_or(Broken)?);
                        // Its time for TLS and a first request begins.
                        self.enter(State::Asking, now);
                    }
                    true => self.enter(if self.inbox.is_empty() { State::Idle } else { State::Asking }, now),
                    false => return Ok(Wants::Out),
                },
                State::Ending => {
                    match rustix::net::recv(&self.socket, desk.buffer.as_mut_slice(), RecvFlags::empty()) {
                        Ok((0, _)) => return Err(Broken),
                        Ok((count, _)) => {
                            self.dregs += count;
                            if self.dregs > DREGS {
                                return Err(Broken);
                            }
                        }
                        Err(Errno::AGAIN) => return Ok(Wants::In),
                        Err(Errno::INTR) => (),
                        Err(_) => return Err(Broken),
                    }
                }
            }
        }
    }

    /// Receives what the client says, into the desk's buffer.
    fn recv(&mut self, desk: &mut Desk) -> Result<usize, Errno> {
        let Some(tunnel) = &mut self.tunnel else {
            return Ok(rustix::net::recv(&self.socket, desk.buffer.as_mut_slice(), RecvFlags::empty())?.0);
        };
        match tunnel.recv(&self.socket, &mut desk.buffer) {
            Ok(count) => Ok(count),
            Err(Unread::Errno(errno)) => Err(errno),
            Err(Unread::Spoken(what)) => {
                self.note(desk, None, "TLS", what, 0);
                Err(Errno::PROTO)
            }
        }
    }

    /// What it waits for when there is nothing to read: what TLS has to say comes first.
    fn waits(&self) -> Wants {
        if self.tunnel.as_ref().is_some_and(Tunnel::waits_to_send) { Wants::Out } else { Wants::In }
    }

    /// Remembers what was asked for.
    fn note(&mut self, desk: &mut Desk, route: Option<usize>, method: &str, path: String, status: u16) {
        self.record = desk.records.add(Record {
            route,
            method: method.to_owned(),
            path,
            status,
            bytes: 0,
            times: 1,
            port: self.port,
            accepted: self.accepted,
            at: bulla_sandbox::monotonic(),
        });
        desk.refused |= route.is_none();
    }

    fn enter(&mut self, state: State, now: Instant) {
        self.state = state;
        self.since = now;
    }

    /// Makes an answer ready, and remembers the request.
    fn begin(&mut self, desk: &mut Desk, read: &Result<request::Request, request::Malformed>, now: Instant) {
        let within = self.tunnel.as_ref().map(|tunnel| &tunnel.origin);
        let answer = match read {
            Ok(request) => answer::answer(&desk.index, request, within),
            Err(bad) => answer::refuse(bad),
        };
        let Answer { mut status, mut head, body, mut close, route, connects } = answer;
        self.body = None;
        match body {
            Content::Text(text) => head.extend(text),
            Content::Part { route, start, length } => match open(desk, route, start, length) {
                Ok(sending) => self.body = Some(sending),
                Err(Broken) => {
                    // The store lost it, or it was changed: never an input.
                    (status, close) = (500, true);
                    head = b"HTTP/1.1 500 Not As Locked\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec();
                }
            },
        }
        let (method, path) = match read {
            Ok(request) => (request.method.as_str(), answer::name(request, within)),
            Err(bad) => (bad.method.as_str(), bad.target.clone()),
        };
        // Who is connected has not asked for anything yet.
        match connects.is_some() {
            true => self.record = None,
            false => self.note(desk, route, method, path, status),
        }
        (self.outbox, self.sent, self.close, self.connects) = (head, 0, close, connects);
        self.enter(State::Answering, now);
    }

    /// Sends what fits; says whether all of the answer has gone.
    fn send(&mut self, desk: &mut Desk, room: &mut u64, now: Instant) -> Result<bool, Broken> {
        while let Some(rest) = self.outbox.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let more = if self.body.is_some() { SendFlags::MORE } else { SendFlags::empty() };
            let sent = match &mut self.tunnel {
                Some(tunnel) => tunnel.send(&self.socket, rest),
                None => rustix::net::send(&self.socket, rest, SendFlags::NOSIGNAL | more),
            };
            match sent {
                Ok(count) => (self.sent, self.progress) = (self.sent + count, now),
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => (),
                Err(_) => return Err(Broken),
            }
        }
        self.outbox = Vec::new();
        self.sent = 0;
        while let Some(body) = self.body.as_mut().filter(|body| body.left > 0) {
            if *room == 0 {
                return Ok(false);
            }
            let source = body.blob.as_ref().unwrap_or(&desk.index.file);
            let count = usize::try_from(body.left.min(*room)).unwrap_or(BUFFER);
            let sent = match &mut self.tunnel {
                Some(tunnel) => sealed(tunnel, &self.socket, source, &mut body.at, count, &mut desk.buffer),
                None => rustix::fs::sendfile(&self.socket, source.as_fd(), Some(&mut body.at), count),
            };
            match sent {
                // It is shorter than it was when it was opened.
                Ok(0) => return Err(Broken),
                Ok(count) => {
                    let count = count as u64;
                    body.left = body.left.saturating_sub(count);
                    *room = room.saturating_sub(count);
                    self.progress = now;
                    desk.records.sent(self.record, count);
                }
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => (),
                Err(_) => return Err(Broken),
            }
        }
        self.body = None;
        match self.tunnel.as_mut().map_or(Ok(()), |tunnel| tunnel.flush(&self.socket)) {
            Ok(()) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(_) => Err(Broken),
        }
    }
}

/// Sends a part of a file through TLS, and gives how much that was.
fn sealed(
    tunnel: &mut Tunnel,
    socket: &OwnedFd,
    source: &File,
    at: &mut u64,
    count: usize,
    buffer: &mut [u8],
) -> Result<usize, Errno> {
    tunnel.flush(socket)?;
    let count = count.min(buffer.len());
    let buffer = buffer.get_mut(..count).unwrap_or_default();
    let read = rustix::io::pread(source, &mut *buffer, *at)?;
    let sent = match read {
        0 => return Ok(0),
        read => tunnel.send(socket, buffer.get(..read).unwrap_or_default())?,
    };
    *at += sent as u64;
    Ok(sent)
}

fn open(desk: &Desk, route: usize, start: u64, length: u64) -> Result<Sending, Broken> {
    let entry = desk.index.routes.get(route).ok_or(Broken)?;
    match entry.place {
        Place::Table(place) => Ok(Sending { blob: None, at: place + start, left: length }),
        Place::Blob => Ok(Sending { blob: Some(blob(desk, entry)?), at: start, left: length }),
    }
}

fn blob(desk: &Desk, entry: &Entry) -> Result<File, Broken> {
    let (folder, name) = (desk.folder.as_ref().ok_or(Broken)?, entry.blob().ok_or(Broken)?);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file = rustix::fs::openat2(folder, name, flags, Mode::empty(), resolve).map_err(|_| Broken)?;
    let stat = rustix::fs::fstat(&file).map_err(|_| Broken)?;
    let regular = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
    if !regular || u64::try_from(stat.st_size) != Ok(entry.length) {
        return Err(Broken);
    }
    Ok(file.into())
}
