//! A server on loopback that gives the files of a folder, well or badly.

mod connection;
mod files;
mod request;

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

pub use request::Request;

use crate::authority::TestAuthority;

/// What goes wrong with a path.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The body comes at this pace.
    Slow {
        /// Bytes a second.
        bytes_per_second: u64,
    },
    /// The connection ends after so many bytes of a body; so many times, then all is well.
    CutOff {
        /// Bytes of a body before the end.
        after: u64,
        /// How often.
        times: u32,
    },
    /// An error, so many times, then all is well.
    Status {
        /// The status.
        status: u16,
        /// How often.
        times: u32,
        /// Seconds, for `Retry-After`.
        retry_after: Option<u64>,
    },
    /// Other bytes under the name.
    Bytes(Vec<u8>),
    /// A body without end.
    Endless,
    /// Nothing is answered at all.
    Silent,
    /// A redirect to any text.
    Redirect(String),
    /// A `Content-Length` that is not that of the body.
    ContentLength(u64),
    /// `Range` is ignored.
    NoRange,
    /// A part is given that was not asked for.
    WrongRange,
    /// The file only for this login.
    BasicAuth {
        /// The name.
        login: String,
        /// The password.
        password: String,
    },
    /// Headers without end.
    HeaderFlood,
    /// One header without end, a byte at a time.
    HeaderTrickle,
    /// More headers on the answer.
    Headers(Vec<(String, String)>),
    /// An answer that is not HTTP.
    Garbage(Vec<u8>),
}

/// A server on loopback. It ends when it is dropped.
#[derive(Debug)]
pub struct Mirror {
    address: SocketAddr,
    shared: Arc<Shared>,
    secure: bool,
}

/// What all connections know.
#[derive(Debug)]
pub(crate) struct Shared {
    root: PathBuf,
    faults: Mutex<BTreeMap<String, Vec<Fault>>>,
    requests: Mutex<Vec<Request>>,
    /// Where a tunnel leads, whatever host it is asked for.
    tunnel: Mutex<Option<SocketAddr>>,
    ended: AtomicBool,
    open: AtomicUsize,
    most_open: AtomicUsize,
    sent: AtomicU64,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mirror {
    /// Serves the files of a folder over plain HTTP.
    pub fn serve(root: impl AsRef<Path>) -> Self {
        Self::start(root.as_ref(), "127.0.0.1:0", None)
    }

    /// Serves the files of a folder at a given port.
    pub fn serve_at(root: impl AsRef<Path>, port: u16) -> Self {
        Self::start(root.as_ref(), &format!("127.0.0.1:{port}"), None)
    }

    /// Serves the files of a folder over HTTPS, with a certificate of an authority for `localhost` and 127.0.0.1.
    pub fn serve_tls(root: impl AsRef<Path>, authority: &TestAuthority) -> Self {
        Self::serve_named(root, authority, &["localhost", "127.0.0.1"])
    }

    /// Serves the files of a folder over HTTPS, with a certificate for any names.
    pub fn serve_named(root: impl AsRef<Path>, authority: &TestAuthority, names: &[&str]) -> Self {
        Self::start(root.as_ref(), "127.0.0.1:0", Some(authority.server(names)))
    }

    fn start(root: &Path, place: &str, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind(place).expect("a port on loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            faults: Mutex::default(),
            requests: Mutex::default(),
            tunnel: Mutex::default(),
            ended: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
        });
        let (secure, for_thread) = (tls.is_some(), shared.clone());
        thread::spawn(move || accept(&listener, &for_thread, tls.as_ref()));
        Self { address, shared, secure }
    }

    /// Gives `http://127.0.0.1:PORT` (or `https://…`), without a slash at the end.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.address)
    }

    /// Gives `HOST:PORT`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes something go wrong with a path (`/dists/x`), beside what goes wrong with it already.
    pub fn fault(&self, path: &str, fault: Fault) {
        lock(&self.shared.faults).entry(path.to_owned()).or_default().push(fault);
    }

    /// Makes something go wrong with every path that has no fault of its own.
    pub fn fault_everywhere(&self, fault: Fault) {
        self.fault("*", fault);
    }

    /// Makes all well again.
    pub fn heal(&self) {
        lock(&self.shared.faults).clear();
    }

    /// Lets tunnels (`CONNECT`) lead to an address, whatever host they ask for: the mirror is then a proxy.
    pub fn tunnel_to(&self, address: SocketAddr) {
        *lock(&self.shared.tunnel) = Some(address);
    }

    /// Gives all requests so far, in the order they came.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        lock(&self.shared.requests).clear();
    }

    /// Gives how many bytes of bodies were sent so far.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Gives the most connections that were open at once.
    pub fn most_connections(&self) -> usize {
        self.shared.most_open.load(Ordering::Relaxed)
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, tls: Option<&Arc<rustls::ServerConfig>>) {
    for stream in listener.incoming() {
        if shared.ended.load(Ordering::Relaxed) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let (shared, tls) = (shared.clone(), tls.cloned());
        thread::spawn(move || {
            let open = shared.open.fetch_add(1, Ordering::Relaxed) + 1;
            shared.most_open.fetch_max(open, Ordering::Relaxed);
            // A client that goes away is no failure of the mirror.
            let _: io::Result<()> = connection::serve(stream, &shared, tls);
            shared.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

impl Shared {
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn tunnel(&self) -> Option<SocketAddr> {
        *lock(&self.tunnel)
    }

    pub(crate) fn note(&self, request: &Request) {
        lock(&self.requests).push(request.clone());
    }

    /// Gives what goes wrong with a path now, and counts down what goes wrong only some times.
    pub(crate) fn faults(&self, path: &str) -> Vec<Fault> {
        let mut all = lock(&self.faults);
        let key = if all.contains_key(path) { path } else { "*" };
        let Some(list) = all.get_mut(key) else { return Vec::new() };
        let now = list.clone();
        for fault in list.iter_mut() {
            if let Fault::CutOff { times, .. } | Fault::Status { times, .. } = fault {
                *times = times.saturating_sub(1);
            }
        }
        list.retain(|fault| !matches!(fault, Fault::CutOff { times: 0, .. } | Fault::Status { times: 0, .. }));
        now
    }
}
