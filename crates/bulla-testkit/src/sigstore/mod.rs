//! An instance of Sigstore on loopback: a certificate authority (Fulcio), a log (Rekor 2), a timestamp authority, and what GitHub gives jobs to
//! get their tokens by. All keys are made for the test, and its `trusted_root.json` says which they are.

mod certificates;
mod der;
mod log;
mod timestamps;

use std::{
    io::{self, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rcgen::PublicKeyData as _;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

use self::{certificates::Authority, log::Log, timestamps::Timestamps};
use crate::mirror::{Request, lock};

/// What the instance's own tokens are vouched for by.
pub const ISSUER: &str = "https://login.bulla.test";
/// What a job shows to get a token.
pub const REQUEST_TOKEN: &str = "request-token-of-the-job";

/// Whom the token of a job is about.
const JOB: &str = "https://forge.bulla.test/team/shop/.forge/workflows/release.yml@refs/tags/v1";

/// An instance of Sigstore. It ends when it is dropped.
#[derive(Debug)]
pub struct FakeSigstore {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What all connections know.
#[derive(Debug)]
struct Shared {
    authority: Authority,
    timestamps: Timestamps,
    log: Mutex<Log>,
    requests: Mutex<Vec<(Request, Vec<u8>)>>,
    /// How many seconds the timestamp authority is ahead.
    ahead: AtomicI64,
    /// Whether the log gives proofs of another entry.
    lies: AtomicBool,
    ended: AtomicBool,
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

impl Default for FakeSigstore {
    fn default() -> Self {
        Self::start()
    }
}

impl FakeSigstore {
    /// Starts an instance with fresh keys.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            authority: Authority::new(),
            timestamps: Timestamps::new(),
            log: Mutex::new(Log::new()),
            requests: Mutex::default(),
            ahead: AtomicI64::new(0),
            lies: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if for_thread.ended.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), shared) = (stream, Arc::clone(&for_thread)) else { continue };
                // A client that goes away is no failure of the instance.
                thread::spawn(move || _ = shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    /// Gives `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Writes its trusted root to a file, and gives the section of a configuration that names all of it.
    pub fn configuration(&self, trusted_root: &Path) -> String {
        fs_err::write(trusted_root, self.trusted_root().to_string()).expect("a file");
        let (url, file) = (self.url(), trusted_root.display());
        format!(
            "[evidence.keyless]\nfulcio = \"{url}\"\nrekor = \"{url}\"\ntimestamp = \"{url}/api/v1/timestamp\"\ntrusted-root = \"{file}\"\n"
        )
    }

    /// Gives its trusted root.
    pub fn trusted_root(&self) -> Value {
        let Shared { authority, timestamps, log, .. } = &*self.shared;
        let log = lock(log);
        let start = json!({"start": "2020-01-01T00:00:00Z"});
        let chain = |certificates: &[&[u8]]| {
            let certificates: Vec<Value> =
                certificates.iter().map(|der| json!({"rawBytes": STANDARD.encode(der)})).collect();
            json!({"certificates": certificates})
        };
        let entry = |url: &str, key: &rcgen::KeyPair, details: &str, id: [u8; 32]| {
            json!({
                "baseUrl": url,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(key.subject_public_key_info()),
                    "keyDetails": details,
                    "validFor": start,
                },
                "logId": {"keyId": STANDARD.encode(id)},
            })
        };
        let certificates = sha256(&authority.log.subject_public_key_info());
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [entry(&format!("https://{}", log::NAME), &log.key, "PKIX_ED25519", log.id())],
            "certificateAuthorities": [{
                "subject": {"organization": "bulla.test", "commonName": "fulcio"},
                "uri": "https://fulcio.bulla.test",
                "certChain": chain(&[authority.intermediate.der(), authority.root.der()]),
                "validFor": start,
            }],
            "ctlogs": [entry("https://ct.bulla.test", &authority.log, "PKIX_ECDSA_P256_SHA_256", certificates)],
            "timestampAuthorities": [{
                "subject": {"organization": "bulla.test", "commonName": "timestamps"},
                "uri": "https://timestamp.bulla.test/api/v1/timestamp",
                "certChain": chain(&[&timestamps.leaf, timestamps.root.der()]),
                "validFor": start,
            }],
        })
    }

    /// Gives a token for somebody, which is good for ten minutes.
    pub fn token(identity: &str) -> String {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        token(identity, now + 600)
    }

    /// Gives a token that is good no longer.
    pub fn old_token(identity: &str) -> String {
        token(identity, OffsetDateTime::now_utc().unix_timestamp() - 60)
    }

    /// Gives the address by which a job gets its token, as `ACTIONS_ID_TOKEN_REQUEST_URL` has it.
    pub fn token_url(&self) -> String {
        format!("{}/token?api-version=2", self.url())
    }

    /// Lets the timestamp authority be ahead of the time by some seconds.
    pub fn ahead(&self, seconds: i64) {
        self.shared.ahead.store(seconds, Ordering::Relaxed);
    }

    /// Lets the log give proofs of other entries.
    pub fn lie(&self) {
        self.shared.lies.store(true, Ordering::Relaxed);
    }

    /// Gives the timestamp authority's answer over a signature, for a time so many seconds after now.
    pub fn timestamp(&self, signature: &[u8], after: i64) -> Vec<u8> {
        self.shared.timestamps.of(signature, OffsetDateTime::now_utc() + Duration::seconds(after))
    }

    /// Gives all requests so far with their bodies.
    pub fn requests(&self) -> Vec<(Request, Vec<u8>)> {
        lock(&self.shared.requests).clone()
    }
}

fn token(identity: &str, expires: i64) -> String {
    let mut claims = json!({"iss": ISSUER, "aud": "sigstore", "sub": identity, "exp": expires});
    if !identity.contains("://") {
        claims["sub"] = "account-17".into();
        claims["email"] = identity.into();
        claims["email_verified"] = true.into();
    }
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(json!({"alg": "RS256"})), part(claims), URL_SAFE_NO_PAD.encode("not looked at"))
}

impl Drop for FakeSigstore {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = Request::read(&mut reader)? {
            let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            let mut body = Vec::new();
            reader.by_ref().take(length).read_to_end(&mut body)?;
            let answer = self.answer(&request, &body);
            lock(&self.requests).push((request, body));
            let (status, kind, bytes) = match answer {
                Some((status, kind, bytes)) => (status, kind, bytes),
                None => ("400 Bad Request", "application/json", br#"{"message":"not so"}"#.to_vec()),
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", bytes.len());
            reader.get_mut().write_all(&[head.as_bytes(), &bytes].concat())?;
        }
        Ok(())
    }

    fn answer(&self, request: &Request, body: &[u8]) -> Option<(&'static str, &'static str, Vec<u8>)> {
        let json = || serde_json::from_slice::<Value>(body).ok();
        let written = |value: Value| value.to_string().into_bytes();
        match (request.method.as_str(), request.path.split('?').next()?) {
            ("POST", "/api/v2/signingCert") => {
                Some(("200 OK", "application/json", written(self.certificate(&json()?)?)))
            }
            ("POST", "/api/v2/log/entries") => {
                let mut entry = lock(&self.log).add(&json()?)?;
                if self.lies.load(Ordering::Relaxed) {
                    entry["inclusionProof"]["hashes"][0] = STANDARD.encode([7; 32]).into();
                }
                Some(("201 Created", "application/json", written(entry)))
            }
            ("POST", "/api/v1/timestamp") => {
                let at = OffsetDateTime::now_utc() + Duration::seconds(self.ahead.load(Ordering::Relaxed));
                Some(("201 Created", "application/timestamp-reply", self.timestamps.answer(body, at)?))
            }
            ("GET", "/token") => {
                let may = request.header("authorization") == Some(&format!("Bearer {REQUEST_TOKEN}"));
                let asked = may && request.path.ends_with("&audience=sigstore");
                asked.then(|| ("200 OK", "application/json", written(json!({"value": FakeSigstore::token(JOB)}))))
            }
            _ => None,
        }
    }

    /// Makes a certificate for whoever a token is about, who has to show that the key is theirs.
    fn certificate(&self, request: &Value) -> Option<Value> {
        let token = request["credentials"]["oidcIdentityToken"].as_str()?;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?).ok()?;
        let now = OffsetDateTime::now_utc();
        let good =
            claims["iss"] == ISSUER && claims["aud"] == "sigstore" && claims["exp"].as_i64()? > now.unix_timestamp();
        let identity = claims["email"].as_str().or(claims["sub"].as_str()).filter(|_| good)?;
        let asked = &request["publicKeyRequest"];
        let pem = asked["publicKey"]["content"].as_str()?;
        let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let spki = STANDARD.decode(text).ok()?;
        let proof = STANDARD.decode(asked["proofOfPossession"].as_str()?).ok()?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, spki.get(spki.len().checked_sub(65)?..)?);
        key.verify(identity.as_bytes(), &proof).ok()?;
        let leaf = self.authority.certify(&spki, identity, ISSUER, now - Duration::seconds(5));
        let chain = [leaf.as_slice(), self.authority.intermediate.der(), self.authority.root.der()].map(pem_of);
        Some(json!({"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}))
    }
}

fn pem_of(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
