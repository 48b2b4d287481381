//! A registry of images on loopback, which keeps what it is given in memory, and does so well or badly. The real one of
//! [`crate::docker`] shows that Bulla speaks with registries; this one shows what Bulla does when they lie.

mod answer;
mod connection;

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use bulla_model::Digest;

use crate::{
    authority::TestAuthority,
    mirror::{Request, lock},
};

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub enum RegistryFault {
    /// Another status, with no body.
    Status(u16),
    /// The body of the answer is another one; its head is as if it were the right one.
    Body(Vec<u8>),
    /// The answer has these headers too, in place of its own of the same names.
    Header(&'static str, String),
    /// The answer's connection ends after so many bytes of its body.
    CutAnswer(usize),
    /// The connection ends after so many bytes of the request's body were read and kept.
    CutRequest(u64),
    /// A redirect.
    Redirect(String),
    /// The request is done, but the connection ends before the answer.
    NoAnswer,
}

/// A fault and the requests that it is for.
#[derive(Debug, Clone)]
struct Planned {
    method: &'static str,
    part: String,
    times: u32,
    fault: RegistryFault,
}

/// Who is let in.
#[derive(Debug, Clone, Default)]
struct Door {
    /// The login, where one is needed.
    login: Option<(String, String)>,
    /// The address of the token service; nothing where logins go to the registry itself.
    realm: Option<String>,
    /// Nobody is let in.
    shut: bool,
}

/// A manifest with its media type.
pub(crate) type Stored = (String, Vec<u8>);

/// What the registry has.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) blobs: BTreeMap<(String, String), Vec<u8>>,
    pub(crate) manifests: BTreeMap<(String, String), Stored>,
    pub(crate) uploads: BTreeMap<u64, Vec<u8>>,
    pub(crate) next_upload: u64,
    /// What tags become once their head was asked for.
    pub(crate) moves: BTreeMap<(String, String), Stored>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    address: SocketAddr,
    secure: bool,
    faults: Mutex<Vec<Planned>>,
    requests: Mutex<Vec<Request>>,
    door: Mutex<Door>,
    pub(crate) shelf: Mutex<Shelf>,
    /// Whether there is no list of referrers.
    pub(crate) old: AtomicBool,
    ended: AtomicBool,
}

/// A registry. It ends when it is dropped.
#[derive(Debug)]
pub struct FakeRegistry {
    shared: Arc<Shared>,
}

impl Default for FakeRegistry {
    fn default() -> Self {
        Self::start()
    }
}

impl FakeRegistry {
    /// Starts one that speaks plain HTTP.
    pub fn start() -> Self {
        Self::with(None)
    }

    /// Starts one that speaks HTTPS, with a certificate of an authority for `localhost` and 127.0.0.1.
    pub fn start_tls(authority: &TestAuthority) -> Self {
        Self::with(Some(authority.server(&["localhost", "127.0.0.1"])))
    }

    fn with(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            address,
            secure: tls.is_some(),
            faults: Mutex::default(),
            requests: Mutex::default(),
            door: Mutex::default(),
            shelf: Mutex::default(),
            old: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let for_thread = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if for_thread.ended.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (shared, tls) = (for_thread.clone(), tls.clone());
                // A client that goes away is no failure of the registry.
                thread::spawn(move || drop(connection::serve(stream, &shared, tls)));
            }
        });
        Self { shared }
    }

    /// Gives `127.0.0.1:PORT`, as references name it.
    pub fn address(&self) -> String {
        self.shared.address.to_string()
    }

    /// Gives `http://127.0.0.1:PORT` or `https://…`.
    pub fn url(&self) -> String {
        self.shared.url()
    }

    /// Makes something go wrong, so many times, with the requests of a method whose target has a text in it.
    pub fn fault(&self, method: &'static str, part: &str, times: u32, fault: RegistryFault) {
        lock(&self.shared.faults).push(Planned { method, part: part.to_owned(), times, fault });
    }

    /// Makes all well again.
    pub fn heal(&self) {
        lock(&self.shared.faults).clear();
    }

    /// Lets in only who has a token that the registry's own service gave for a login.
    pub fn require_token(&self, login: &str, password: &str) {
        let realm = format!("{}/token", self.url());
        self.require_token_of(&realm, login, password);
    }

    /// Lets in only who has a token, and says that a service at any place gives it.
    pub fn require_token_of(&self, realm: &str, login: &str, password: &str) {
        let login = Some((login.to_owned(), password.to_owned()));
        *lock(&self.shared.door) = Door { login, realm: Some(realm.to_owned()), shut: false };
    }

    /// Lets in only who has a login.
    pub fn require_login(&self, login: &str, password: &str) {
        let login = Some((login.to_owned(), password.to_owned()));
        *lock(&self.shared.door) = Door { login, realm: None, shut: false };
    }

    /// Lets nobody in, whatever they bring, though tokens are given.
    pub fn shut(&self) {
        lock(&self.shared.door).shut = true;
    }

    /// Has no list of referrers, as registries before version 1.1 of the specification.
    pub fn without_referrers(&self) {
        self.shared.old.store(true, Ordering::Relaxed);
    }

    /// Puts a blob there, and gives its digest.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        lock(&self.shared.shelf).blobs.insert((repository.to_owned(), digest.to_string()), bytes.to_vec());
        digest
    }

    /// Puts a manifest there under its digest and a tag, and gives its digest.
    pub fn put_manifest(&self, repository: &str, tag: &str, media_type: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let mut shelf = lock(&self.shared.shelf);
        for name in [tag.to_owned(), digest.to_string()] {
            shelf.manifests.insert((repository.to_owned(), name), (media_type.to_owned(), bytes.to_vec()));
        }
        digest
    }

    /// Lets a tag become another manifest once its head was asked for.
    pub fn move_after_head(&self, repository: &str, tag: &str, media_type: &str, bytes: &[u8]) {
        let mut shelf = lock(&self.shared.shelf);
        let stored = (media_type.to_owned(), bytes.to_vec());
        shelf.manifests.insert((repository.to_owned(), Digest::of(bytes).to_string()), stored.clone());
        shelf.moves.insert((repository.to_owned(), tag.to_owned()), stored);
    }

    /// Gives a blob that was pushed.
    pub fn blob(&self, repository: &str, digest: &Digest) -> Option<Vec<u8>> {
        lock(&self.shared.shelf).blobs.get(&(repository.to_owned(), digest.to_string())).cloned()
    }

    /// Gives a manifest by its tag or digest.
    pub fn manifest(&self, repository: &str, wanted: &str) -> Option<Vec<u8>> {
        let shelf = lock(&self.shared.shelf);
        shelf.manifests.get(&(repository.to_owned(), wanted.to_owned())).map(|(_, bytes)| bytes.clone())
    }

    /// Gives all requests so far, in the order they came.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        lock(&self.shared.requests).clear();
    }

    /// Counts the requests of a method whose target has a text in it.
    pub fn count(&self, method: &str, part: &str) -> usize {
        self.requests().iter().filter(|request| request.method == method && request.target.contains(part)).count()
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.shared.address);
    }
}

impl Shared {
    fn url(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.address)
    }

    /// Takes note of a request, and gives what goes wrong with it.
    fn note(&self, request: &Request) -> Vec<RegistryFault> {
        lock(&self.requests).push(request.clone());
        let mut planned = lock(&self.faults);
        let mut now = Vec::new();
        for one in planned.iter_mut().filter(|one| one.method == request.method && request.target.contains(&one.part)) {
            if one.times > 0 {
                one.times -= 1;
                now.push(one.fault.clone());
            }
        }
        now
    }

    fn door(&self) -> Door {
        lock(&self.door).clone()
    }
}
