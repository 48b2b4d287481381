//! What stands in for Vault's transit engine, on loopback: its keys are OpenSSL's, which really signs with them.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{mirror::Request, process, skipped, softhsm::openssl};

/// What goes wrong with its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaultFault {
    /// It signs by another key than it shows.
    OtherKey,
    /// It signs something else.
    OtherMessage,
    /// It says that an older version of the key signed.
    OtherVersion,
    /// It shows something that is no public key.
    NoKey,
    /// It says something twice.
    Twice,
    /// It answers without end.
    Huge,
    /// It answers a byte at a time.
    Slow,
    /// It sends whoever asks elsewhere.
    Elsewhere(SocketAddr),
    /// It is sealed.
    Sealed,
}

/// A Vault. It ends when it is dropped.
#[derive(Debug)]
pub struct Vault {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: tempfile::TempDir,
    keys: Mutex<BTreeMap<String, Key>>,
    fault: Mutex<Option<VaultFault>>,
    signed: Mutex<Vec<Value>>,
    ended: AtomicBool,
}

#[derive(Debug, Clone)]
struct Key {
    kind: String,
    file: String,
    versions: u64,
}

impl Vault {
    /// The token that may use its keys.
    pub const TOKEN: &'static str = "hvs.token-of-the-vault";
    /// Where its engine is.
    pub const ENGINE: &'static str = "team/signing";

    /// Starts one. `None`, after it was said why, where there is no OpenSSL.
    pub fn start() -> Option<Self> {
        if !process::exists("openssl") {
            skipped("keys of Vault", "openssl is not installed");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("bulla-vault-").tempdir().expect("a temporary folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            folder,
            keys: Mutex::default(),
            fault: Mutex::default(),
            signed: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if for_thread.ended.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&for_thread);
                thread::spawn(move || serve(&shared, &connection));
            }
        });
        Some(Self { address, shared })
    }

    /// Gives its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a key of a type in the words of Vault, which has been rotated so often. Gives its public key in PEM, where it has one, as OpenSSL
    /// writes it.
    pub fn key(&self, name: &str, kind: &str, versions: u64) -> String {
        let file = self.shared.folder.path().join(format!("{name}.pem")).display().to_string();
        let algorithm: &[&str] = match kind {
            "ecdsa-p256" => &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "ecdsa-p384" => &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
            "ed25519" => &["ED25519"],
            _ => &[],
        };
        let mut public = String::new();
        if !algorithm.is_empty() {
            openssl(&[&["genpkey", "-out", &file, "-algorithm"], algorithm].concat());
            public = openssl(&["pkey", "-in", &file, "-pubout"]);
        }
        lock(&self.shared.keys).insert(name.to_owned(), Key { kind: kind.to_owned(), file, versions });
        public
    }

    /// Makes something go wrong, or all well again.
    pub fn fault(&self, fault: Option<VaultFault>) {
        *lock(&self.shared.fault) = fault;
    }

    /// Gives what it was asked to sign.
    pub fn signed(&self) -> Vec<Value> {
        lock(&self.shared.signed).clone()
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(shared: &Shared, connection: &TcpStream) {
    let mut reader = BufReader::new(connection);
    while let Ok(Some(request)) = Request::read(&mut reader) {
        let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() || answer(shared, &request, &body, connection).is_err() {
            return;
        }
    }
    let _ = reader.fill_buf();
}

fn answer(shared: &Shared, request: &Request, body: &[u8], mut to: &TcpStream) -> io::Result<()> {
    let fault = *lock(&shared.fault);
    match fault {
        Some(VaultFault::Huge) => {
            to.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"data\": \"")?;
            loop {
                to.write_all(&[b'a'; 4096])?;
            }
        }
        Some(VaultFault::Slow) => {
            to.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{")?;
            loop {
                to.write_all(b" ")?;
                thread::sleep(Duration::from_millis(50));
            }
        }
        Some(VaultFault::Elsewhere(address)) => {
            let head = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{address}{}\r\ncontent-length: 0\r\n\r\n",
                request.path
            );
            return to.write_all(head.as_bytes());
        }
        _ => (),
    }
    let (status, value) = match fault {
        Some(VaultFault::Sealed) => ("503 Service Unavailable", json!({"errors": ["Vault is sealed"]})),
        _ if request.header("authorization") != Some(&format!("Bearer {}", Vault::TOKEN)) => {
            ("403 Forbidden", json!({"errors": ["permission denied"]}))
        }
        _ => match told(shared, request, body, fault) {
            Some(data) => ("200 OK", json!({"request_id": "x", "data": data})),
            None => ("404 Not Found", json!({"errors": []})),
        },
    };
    let mut text = value.to_string();
    if fault == Some(VaultFault::Twice) {
        text = text.replacen('{', "{\"data\": {},", 1);
    }
    let length = text.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    to.write_all(&[head.as_bytes(), text.as_bytes()].concat())
}

/// Answers as Vault's documentation of the engine says ("Read key", "Sign data").
fn told(shared: &Shared, request: &Request, body: &[u8], fault: Option<VaultFault>) -> Option<Value> {
    let path = request.path.strip_prefix(&format!("/v1/{}/", Vault::ENGINE))?;
    let words: Vec<&str> = path.split('/').collect();
    let key = |name: &str| lock(&shared.keys).get(name).cloned();
    match (request.method.as_str(), words.as_slice()) {
        ("GET", ["keys", name]) => {
            let key = key(name)?;
            let public = match (fault, key.kind.as_str()) {
                (Some(VaultFault::NoKey), _) => json!({"public_key": "none"}),
                (_, "ed25519") => json!({"name": "ed25519", "public_key": raw(&key)}),
                (_, "aes256-gcm96") => json!(1_700_000_000),
                _ => json!({"name": "P-256", "public_key": openssl(&["pkey", "-in", &key.file, "-pubout"])}),
            };
            let versions: serde_json::Map<String, Value> =
                (1..=key.versions).map(|version| (version.to_string(), public.clone())).collect();
            Some(json!({"type": key.kind, "latest_version": key.versions, "name": name, "keys": versions}))
        }
        ("POST", ["sign", name]) => sign(shared, &key(name)?, None, body, fault),
        ("POST", ["sign", name, hash]) => sign(shared, &key(name)?, Some(hash), body, fault),
        _ => None,
    }
}

/// The 32 bytes of a public key of Ed25519, which stand at the end of its DER.
fn raw(key: &Key) -> String {
    let pem = openssl(&["pkey", "-in", &key.file, "-pubout"]);
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    // 12 bytes stand before them: 16 characters of base64.
    text.get(16..).unwrap_or_default().to_owned()
}

fn sign(shared: &Shared, key: &Key, hash: Option<&str>, body: &[u8], fault: Option<VaultFault>) -> Option<Value> {
    let question: Value = serde_json::from_slice(body).ok()?;
    lock(&shared.signed).push(question.clone());
    let input = question["input"].as_str()?;
    let prehashed = question["prehashed"].as_bool().unwrap_or(false);
    let version = question["key_version"].as_u64()?;
    let scratch = tempfile::tempdir_in(shared.folder.path()).ok()?;
    let path = |name: &str| scratch.path().join(name).display().to_string();
    let (encoded, message, signature, other) = (path("input.b64"), path("message"), path("signature"), path("other"));
    fs_err::write(&encoded, format!("{input}\n")).ok()?;
    process::output(Command::new("openssl").args(["base64", "-d", "-A", "-in", &encoded, "-out", &message])).ok()?;
    if fault == Some(VaultFault::OtherMessage) {
        let mut bytes = fs_err::read(&message).ok()?;
        *bytes.first_mut()? ^= 1;
        fs_err::write(&message, bytes).ok()?;
    }
    let mut file = key.file.clone();
    if fault == Some(VaultFault::OtherKey) {
        let kind: &[&str] =
            if key.kind == "ed25519" { &["ED25519"] } else { &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"] };
        openssl(&[&["genpkey", "-out", &other, "-algorithm"], kind].concat());
        file = other;
    }
    let how: &[&str] = match (key.kind.as_str(), hash, prehashed) {
        ("ecdsa-p256", Some("sha2-256"), true) => &[],
        ("ed25519", None, false) => &["-rawin"],
        _ => return None,
    };
    let arguments = ["pkeyutl", "-sign", "-inkey", &file, "-in", &message, "-out", &signature];
    process::output(Command::new("openssl").args(arguments).args(how)).ok()?;
    let text = openssl(&["base64", "-A", "-in", &signature]);
    let version = if fault == Some(VaultFault::OtherVersion) { version - 1 } else { version };
    Some(json!({"key_version": version, "signature": format!("vault:v{version}:{}", text.trim())}))
}
