//! What stands at the address of a step's loopback while it is observed: a thread for each connection, of which there are few. What comes from
//! the step is read by the locked repository's own reader, and is answered, passed on or refused; all of it is noted.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use bulla_build::run::{Mirrored, Passing, Unsupplied};
use bulla_ecosystems::dependencies::{maven, observe};
use bulla_model::{Address, Ecosystem, Origin};
use bulla_sandbox::{Connection, Serve, monotonic};
use bulla_serve::{
    Body, NotSpoken, Report, Secure, Served, Table,
    request::{self, Method, Request},
};
use bulla_store::Store;
use rustix::event::{EventfdFlags, PollFd, PollFlags};

use super::{
    answers::{Book, Desk, Reply},
    budget::{Budget, Used},
    sent::{Ready, Sent, send},
};
use crate::{
    error::{CommandError, Result},
    ops::{dependencies::Known, supply::unsupplied},
};

/// The most connections at once.
const MAX_CONNECTIONS: usize = 64;
/// The most different requests that are remembered.
const MAX_NOTED: usize = 50_000;
/// How much of a path is remembered.
const MAX_SHOWN: usize = 1024;
/// How long a client may be silent, or take nothing of what it asked for.
const PATIENCE: Duration = Duration::from_secs(120);
/// The route that is noted of what was passed on: none of the table.
const PASSED: usize = usize::MAX;

/// The registries of a kind of dependencies, and the answers of theirs so far.
type Kind = (Ecosystem, Arc<Known>, Book);

/// What all threads of one step share.
struct Hall {
    kinds: Vec<Kind>,
    desk: Desk,
    table: Table,
    /// TLS for the hosts of the table, by the authority that was made for this run.
    secure: Secure,
    /// Below which addresses registries of the loopback are looked for.
    mirrored: Mirrored,
    /// The routes of each path of the table, after its host where it has one.
    paths: HashMap<String, Vec<usize>>,
    /// Readable when something was refused.
    refused: OwnedFd,
    /// Set at the end: nothing is passed on any more.
    ended: AtomicBool,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    served: Vec<(Served, u16, Duration)>,
    known: BTreeMap<(String, String, u16), usize>,
    dropped: u64,
    failed: Option<CommandError>,
    open: HashMap<u64, TcpStream>,
}

/// What answers to one step.
struct Door {
    hall: Arc<Hall>,
    /// Readable at the end.
    end: Arc<OwnedFd>,
    keepers: Vec<JoinHandle<()>>,
}

/// Gets ready for a step.
///
/// # Errors
/// When the kernel gives no descriptors.
pub(super) fn start(
    kinds: Vec<Kind>,
    store: Store,
    (table, mirrored): (Table, Mirrored),
    budget: Budget,
) -> Result<Box<dyn Passing>> {
    let sign = || rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
    let sign = || sign().map_err(|errno| crate::error::CliError::file(errno.into()));
    let mut paths: HashMap<String, Vec<usize>> = HashMap::new();
    for (number, route) in table.routes.iter().enumerate() {
        let origin = route.origin.as_ref().map(ToString::to_string).unwrap_or_default();
        paths.entry(origin + &route.path).or_default().push(number);
    }
    let secure = Secure::of(&table).ok_or_else(|| crate::error::CliError::Option("its certificate is none".into()))?;
    let hall = Hall {
        kinds,
        secure,
        mirrored,
        desk: Desk { store, budget, used: Used::default() },
        table,
        paths,
        refused: sign()?,
        ended: AtomicBool::new(false),
        noted: Mutex::default(),
    };
    Ok(Box::new(Door { hall: Arc::new(hall), end: Arc::new(sign()?), keepers: Vec::new() }))
}

impl Serve for Door {
    fn listen(&mut self, listener: OwnedFd) -> io::Result<()> {
        let listener = TcpListener::from(listener);
        listener.set_nonblocking(true)?;
        let (hall, end) = (Arc::clone(&self.hall), Arc::clone(&self.end));
        let keeper = std::thread::Builder::new().name("bulla-observe".into());
        self.keepers.push(keeper.spawn(move || attend(&hall, &listener, end.as_fd()))?);
        Ok(())
    }

    fn refused(&self) -> Option<BorrowedFd<'_>> {
        Some(self.hall.refused.as_fd())
    }
}

impl Door {
    /// Ends all connections, and waits for what is still passed on: it ends by the limits of the network.
    fn close(&mut self) {
        self.hall.ended.store(true, Ordering::Relaxed);
        // It cannot be full: it is written once.
        let _ = rustix::io::write(&self.end, &1_u64.to_ne_bytes());
        for (_, stream) in self.hall.noted().open.drain() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        for keeper in self.keepers.drain(..) {
            let _ = keeper.join();
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}

impl Passing for Door {
    fn finish(mut self: Box<Self>, connections: &[Connection]) -> Result<Report, Unsupplied> {
        self.close();
        let noted = std::mem::take(&mut *self.hall.noted());
        if let Some(error) = noted.failed {
            return Err(unsupplied(error));
        }
        let by = |port: u16, accepted: Duration| {
            let of = connections.iter().filter(|one| one.port == port && one.at <= accepted);
            of.max_by_key(|one| one.at).map(|one| Arc::clone(&one.by))
        };
        let served =
            noted.served.into_iter().map(|(served, port, accepted)| Served { by: by(port, accepted), ..served });
        Ok(Report { served: served.collect(), dropped: noted.dropped })
    }
}

/// Takes connections until the end.
fn attend(hall: &Arc<Hall>, listener: &TcpListener, end: BorrowedFd<'_>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for number in 0.. {
        let mut polled = [PollFd::from_borrowed_fd(end, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
        match rustix::event::poll(&mut polled, None) {
            Ok(_) if polled[0].revents().is_empty() => {}
            Err(rustix::io::Errno::INTR) => continue,
            _ => break,
        }
        threads.retain(|thread| !thread.is_finished());
        let Ok((stream, from)) = listener.accept() else { continue };
        if threads.len() >= MAX_CONNECTIONS {
            // A client that opens more is no client: the rest of it goes on.
            hall.note("CONNECT", "more than 64 connections at once", 503, None, (from.port(), monotonic()));
            continue;
        }
        let (hall, accepted) = (Arc::clone(hall), monotonic());
        let thread = std::thread::Builder::new().name("bulla-passes".into());
        let spawned = thread.spawn(move || {
            // A client that is gone has nothing to be told.
            let _ = hall.connection(stream, number, (from.port(), accepted));
        });
        threads.extend(spawned);
    }
    for thread in threads {
        let _ = thread.join();
    }
}

impl Hall {
    fn noted(&self) -> std::sync::MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self, mut stream: TcpStream, number: u64, (port, accepted): (u16, Duration)) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        // Head and body go in two, and nobody is to wait for the second.
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        self.noted().open.insert(number, stream.try_clone()?);
        // The end may have come before it was among them.
        let served =
            if self.ended.load(Ordering::Relaxed) { Ok(()) } else { self.serve(&mut stream, (port, accepted)) };
        self.noted().open.remove(&number);
        let _ = stream.shutdown(Shutdown::Both);
        served
    }

    /// Speaks with a client, and goes on within TLS where it wants to be connected to a host that the step's lock files have.
    fn serve(&self, stream: &mut TcpStream, from: (u16, Duration)) -> io::Result<()> {
        let Some((origin, early)) = self.talk(stream, None, from)? else { return Ok(()) };
        let socket = OwnedFd::from(stream.try_clone()?);
        let mut secured = self.secure.open(&origin, early, socket).ok_or(io::ErrorKind::NotFound)?;
        let talked = self.talk(&mut secured, Some(&origin), from);
        if let Err(error) = &talked
            && let Some(why) = error.get_ref().and_then(|error| error.downcast_ref::<NotSpoken>())
        {
            self.note("TLS", &why.to_string(), 0, None, from);
        }
        secured.close();
        talked.map(drop)
    }

    /// Answers requests, until the client ends or is to be connected to a host: then gives that, and what it has said since.
    fn talk(
        &self,
        stream: &mut (impl Read + Write),
        within: Option<&Origin>,
        from: (u16, Duration),
    ) -> io::Result<Option<(Origin, Vec<u8>)>> {
        let (mut inbox, mut seen, mut chunk) = (Vec::new(), 0, vec![0; 16 << 10]);
        while !self.ended.load(Ordering::Relaxed) {
            match request::read(&inbox, seen) {
                request::Read::More => {
                    seen = inbox.len();
                    match stream.read(&mut chunk)? {
                        0 => return Ok(None),
                        count => inbox.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                    }
                }
                request::Read::Head(length, read) => {
                    inbox.drain(..length.min(inbox.len()));
                    seen = 0;
                    if let Some(origin) = read.as_ref().ok().and_then(|request| self.connects(request, within)) {
                        stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
                        return Ok(Some((origin, inbox)));
                    }
                    let (method, path, keep, ready) = match read {
                        Ok(request) => {
                            let ready = self.answer(&request, within);
                            (request.method.as_str().to_owned(), name(&request, within), request.keep, ready)
                        }
                        Err(bad) => (bad.method.clone(), bad.target.clone(), false, Ready::said(bad.status, bad.why)),
                    };
                    self.note(&method, &path, ready.status, ready.route, from);
                    send(stream, &self.desk.store, ready, method == "HEAD", keep)?;
                    if !keep {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Gives the host that a client is to be connected to: one of the step's lock files, which is answered for here.
    fn connects(&self, request: &Request, within: Option<&Origin>) -> Option<Origin> {
        let origin = request.origin.as_ref().filter(|_| request.method == Method::Connect && within.is_none())?;
        let counted = self.desk.used.request(&self.desk.budget).is_ok();
        (counted && self.secure.has(origin)).then(|| origin.clone())
    }

    /// Gives the path of the loopback that a request means, where its host is one of which lock files name a registry.
    fn meant(&self, request: &Request, origin: Option<&Origin>) -> Option<String> {
        let Some(origin) = origin else { return Some(request.path.clone()) };
        let below = |(address, below): &(Address, &str)| {
            let rest = (address.origin == *origin).then(|| request.path.strip_prefix(&address.path))??;
            Some(format!("{below}{rest}"))
        };
        self.mirrored.iter().find_map(below)
    }

    /// Decides about a request.
    fn answer(&self, request: &Request, within: Option<&Origin>) -> Ready {
        if let Err(over) = self.desk.used.request(&self.desk.budget) {
            return self.failed(over.into());
        }
        if !matches!(request.method, Method::Get | Method::Head) || request.body {
            return Ready::said(405, "nothing but GET and HEAD is passed on, without a body");
        }
        let named = || request.host.as_deref().and_then(|host| Origin::parse(host, true).ok());
        if within.is_some_and(|origin| request.origin.is_some() || named().as_ref() != Some(origin)) {
            return Ready::said(421, "what is asked for here is of the host that was connected to, and of no other");
        }
        let origin = request.origin.as_ref().or(within);
        if let Some(found) = self.of_table(request, &name(request, within)) {
            return found;
        }
        let Some(path) = self.meant(request, origin) else {
            return Ready::said(
                403,
                "a step that is observed reaches no host but those that its lock files name, and nothing of these but what they name",
            );
        };
        if self.noted().failed.is_some() {
            return Ready::said(403, "nothing is passed on any more");
        }
        let mut why = "nothing of this stage is observed";
        for (ecosystem, known, book) in &self.kinds {
            let asked = match observe::asked(*ecosystem, &path) {
                Ok(asked) => asked,
                Err(problem) => {
                    why = problem;
                    continue;
                }
            };
            return match book.reply(known, &self.desk, &asked) {
                Ok(Reply::Absent) => Ready { route: Some(PASSED), ..Ready::said(404, "the registry does not have it") },
                Ok(Reply::Refused(why)) => Ready::said(403, why),
                Ok(Reply::Text(text, content_type)) => Ready {
                    status: 200,
                    content_type: content_type.into(),
                    body: Sent::Bytes(text.into_bytes()),
                    route: Some(PASSED),
                },
                Ok(Reply::Blob { digest, size }) => Ready {
                    status: 200,
                    content_type: maven::media_type(&asked.path).into(),
                    body: Sent::Blob { digest, size },
                    route: Some(PASSED),
                },
                Err(error) => self.failed(error),
            };
        }
        Ready::said(403, why)
    }

    /// Keeps the first failure, which is the one that is told: nothing is pinned then, and nothing more is passed on.
    fn failed(&self, error: CommandError) -> Ready {
        self.noted().failed.get_or_insert(error);
        Ready::said(502, "the observation has failed")
    }

    /// Answers what the stage's lock files name.
    fn of_table(&self, request: &Request, name: &str) -> Option<Ready> {
        let routes = || {
            self.paths
                .get(name)
                .into_iter()
                .flatten()
                .filter_map(|number| Some((*number, self.table.routes.get(*number)?)))
        };
        let accepts = |kind: &str| request.accept.iter().flatten().any(|one| one.eq_ignore_ascii_case(kind));
        let named = routes().find(|(_, route)| route.accept.as_deref().is_some_and(accepts));
        let (number, route) =
            named.or_else(|| routes().find(|(_, route)| route.accept.is_none())).or_else(|| routes().next())?;
        let body = match &route.body {
            Body::Bytes(bytes) => Sent::Bytes(bytes.clone()),
            Body::Blob { digest, size } => Sent::Blob { digest: *digest, size: *size },
        };
        Some(Ready { status: route.status, content_type: route.content_type.clone(), body, route: Some(number) })
    }

    /// Remembers a request; equal ones are counted once.
    fn note(&self, method: &str, path: &str, status: u16, route: Option<usize>, (port, accepted): (u16, Duration)) {
        let path: String = path.chars().take(MAX_SHOWN).collect();
        let method: String = method.chars().take(16).collect();
        if route.is_none() {
            let _ = rustix::io::write(&self.refused, &1_u64.to_ne_bytes());
        }
        let mut noted = self.noted();
        let key = (method.clone(), path.clone(), status);
        if let Some(at) = noted.known.get(&key).copied() {
            if let Some((served, ..)) = noted.served.get_mut(at) {
                served.times += 1;
            }
            return;
        }
        if noted.served.len() >= MAX_NOTED {
            noted.dropped += 1;
            return;
        }
        let at = noted.served.len();
        noted.known.insert(key, at);
        let served = Served { method, path, status, route, bytes: 0, times: 1, at: monotonic(), by: None };
        noted.served.push((served, port, accepted));
    }
}

/// Gives what a request asks for: a path, after its host where it is not the loopback.
fn name(request: &Request, within: Option<&Origin>) -> String {
    match request.origin.as_ref().or(within) {
        Some(origin) if request.method == Method::Connect => format!("{}:{}", origin.host(), origin.port()),
        Some(origin) => format!("{origin}{}", request.path),
        None => request.path.clone(),
    }
}
