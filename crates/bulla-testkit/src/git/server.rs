//! The server on loopback, and what can be changed about its answers.

use std::{
    fmt,
    io::{self, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use super::backend;
use crate::{
    authority::TestAuthority,
    mirror::{Request, lock},
};

/// What a client asked.
#[derive(Debug, Clone)]
pub struct GitAsked {
    /// `GET` or `POST`.
    pub method: String,
    /// The path, with the query.
    pub path: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl GitAsked {
    /// Gives the first header of a name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// What the server says.
#[derive(Debug, Clone)]
pub struct GitSaid {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl GitSaid {
    /// An answer without a body.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// A redirect.
    pub fn redirect(place: &str) -> Self {
        Self { status: 302, headers: vec![("Location".into(), place.into())], body: Vec::new() }
    }

    /// An answer with a body.
    pub fn body(media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: vec![("Content-Type".into(), media_type.into())], body: body.into() }
    }
}

/// Answers in place of git's server program, where it gives something; it may change the request, and pass it on.
type Before = Box<dyn Fn(&mut GitAsked) -> Option<GitSaid> + Send + Sync>;
/// Changes an answer.
type After = Box<dyn Fn(&GitAsked, GitSaid) -> GitSaid + Send + Sync>;

/// A server on loopback. It ends when it is dropped.
pub struct GitServer {
    address: SocketAddr,
    secure: bool,
    shared: Arc<Shared>,
}

impl fmt::Debug for GitServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitServer").field("address", &self.address).finish_non_exhaustive()
    }
}

struct Shared {
    root: PathBuf,
    before: Mutex<Option<Before>>,
    after: Mutex<Option<After>>,
    asked: Mutex<Vec<GitAsked>>,
    ended: AtomicBool,
}

impl GitServer {
    /// Serves the repositories of a folder over plain HTTP.
    pub fn serve(root: impl AsRef<Path>) -> Self {
        Self::start(root.as_ref(), None)
    }

    /// Serves the repositories of a folder over HTTPS, with a certificate of an authority for `localhost` and 127.0.0.1.
    pub fn serve_tls(root: impl AsRef<Path>, authority: &TestAuthority) -> Self {
        Self::start(root.as_ref(), Some(authority.server(&["localhost", "127.0.0.1"])))
    }

    fn start(root: &Path, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            before: Mutex::default(),
            after: Mutex::default(),
            asked: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let (secure, for_thread) = (tls.is_some(), shared.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                if for_thread.ended.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), shared, tls) = (stream, for_thread.clone(), tls.clone()) else { continue };
                // A client that goes away is no failure of the server.
                thread::spawn(move || _ = connection(stream, &shared, tls));
            }
        });
        Self { address, secure, shared }
    }

    /// Gives `http://127.0.0.1:PORT` (or `https://…`), without a slash at the end.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.address)
    }

    /// Gives `HOST:PORT`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers in place of git's server program.
    pub fn before(&self, before: impl Fn(&mut GitAsked) -> Option<GitSaid> + Send + Sync + 'static) {
        *lock(&self.shared.before) = Some(Box::new(before));
    }

    /// Changes the answers.
    pub fn after(&self, after: impl Fn(&GitAsked, GitSaid) -> GitSaid + Send + Sync + 'static) {
        *lock(&self.shared.after) = Some(Box::new(after));
    }

    /// Makes all well again.
    pub fn heal(&self) {
        *lock(&self.shared.before) = None;
        *lock(&self.shared.after) = None;
    }

    /// Gives all that was asked so far.
    pub fn asked(&self) -> Vec<GitAsked> {
        lock(&self.shared.asked).clone()
    }

    /// Forgets what was asked so far.
    pub fn forget(&self) {
        lock(&self.shared.asked).clear();
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn connection(stream: TcpStream, shared: &Shared, tls: Option<Arc<rustls::ServerConfig>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => {
            let mut reader = BufReader::new(stream.try_clone()?);
            let mut writer = stream;
            while let Some(said) = request(&mut reader, shared)? {
                send(&said, &mut writer)?;
            }
        }
        Some(config) => {
            let session = rustls::ServerConnection::new(config).map_err(io::Error::other)?;
            let mut both = BufReader::new(rustls::StreamOwned::new(session, stream));
            while let Some(said) = request(&mut both, shared)? {
                send(&said, both.get_mut())?;
            }
        }
    }
    Ok(())
}

fn request<R: Read>(reader: &mut BufReader<R>, shared: &Shared) -> io::Result<Option<GitSaid>> {
    let Some(request) = Request::read(reader)? else { return Ok(None) };
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = Vec::new();
    reader.by_ref().take(length).read_to_end(&mut body)?;
    let mut asked = GitAsked { method: request.method, path: request.path, headers: request.headers, body };
    lock(&shared.asked).push(asked.clone());
    let early = lock(&shared.before).as_ref().and_then(|before| before(&mut asked));
    let said = early.unwrap_or_else(|| backend::run(&shared.root, &asked));
    Ok(Some(match lock(&shared.after).as_ref() {
        Some(after) => after(&asked, said),
        None => said,
    }))
}

fn send(said: &GitSaid, to: &mut dyn Write) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Said\r\nContent-Length: {}\r\n", said.status, said.body.len());
    for (name, value) in said.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-length")) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    to.write_all(head.as_bytes())?;
    to.write_all(&said.body)?;
    to.flush()
}
