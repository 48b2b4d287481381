//! The server as the proxy of hosts that its table has: real clients, and attacks on what a proxy is usually attacked by.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

use bulla_model::{Digest, Origin};
use bulla_serve::{Authority, Body, Route, Table};
use rustix::process::{Resource, Rlimit};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tempfile::NamedTempFile;

use crate::{
    Case,
    world::{LARGE, Served, World, large, route},
};

pub(crate) const CASES: &[Case] = &[
    ("curl_finds_whole_addresses", curl_finds_whole_addresses),
    ("no_other_host_port_or_name_is_reached", no_other_host_port_or_name_is_reached),
    ("who_does_not_know_the_authority_does_not_believe_it", who_does_not_know_the_authority_does_not_believe_it),
    ("a_request_is_of_one_host_and_nothing_is_smuggled", a_request_is_of_one_host_and_nothing_is_smuggled),
    ("what_is_no_tls_ends_the_connection_and_nothing_else", what_is_no_tls_ends_the_connection),
    ("ten_thousand_that_connect_starve_nobody", ten_thousand_that_connect_starve_nobody),
];

const FILES: &str = "https://files.example";
const PLAIN: &str = "http://plain.example:8080";

/// A server that is a proxy, and the certificate by which it is believed.
struct Proxy {
    served: Served,
    ca: NamedTempFile,
}

fn origin(text: &str) -> Origin {
    let (protocol, rest) = text.split_once("://").expect("an origin");
    Origin::parse(rest, protocol == "https").expect("an origin")
}

impl Proxy {
    fn new(world: &World) -> Self {
        let of = |at: &str, path: &str, body: Body| Route { origin: Some(origin(at)), ..route(path, body) };
        let words = |text: &str| Body::Bytes(text.as_bytes().to_vec());
        let mut routes = world.table().routes;
        routes.push(of(FILES, "/packages/large.whl", Body::Blob { digest: Digest::of(large()), size: LARGE as u64 }));
        routes.push(of(FILES, "/packages/a+b.txt", words("by TLS\n")));
        routes.push(of(PLAIN, "/dists/list", words("plain\n")));
        routes.push(of("https://other.example", "/own", words("the other one's\n")));
        let origins: BTreeSet<Origin> = routes.iter().filter_map(|route| route.origin.clone()).collect();
        let authority = Authority::new(&origins).expect("an authority");
        let ca = NamedTempFile::new().expect("a file");
        std::fs::write(ca.path(), &authority.pem).expect("written");
        let served =
            world.serve_table(&Table { blobs: Some(world.blobs()), routes, identity: Some(authority.identity) });
        Self { served, ca }
    }

    /// Runs curl with this proxy; `None` where there is none.
    fn try_curl(&self, words: &[&str]) -> Option<Output> {
        let curl = Path::new("/usr/bin/curl");
        if !curl.exists() {
            println!("SKIPPED: curl as a client of the proxy, since it is not installed");
            return None;
        }
        let mut command = Command::new(curl);
        command.env_clear().args(["-sS", "--max-time", "60", "--noproxy", ""]);
        command.args(["--proxy", &self.served.url("")]).arg("--cacert").arg(self.ca.path()).args(words);
        Some(command.output().expect("curl runs"))
    }

    fn curl(&self, words: &[&str]) -> Option<Vec<u8>> {
        let output = self.try_curl(words)?;
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Some(output.stdout)
    }

    /// Connects, and speaks TLS as `name`.
    fn tunnel(&self, to: &str, name: &str) -> StreamOwned<ClientConnection, TcpStream> {
        let mut stream = self.served.connect();
        stream.write_all(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").as_bytes()).expect("sent");
        let mut answer = [0; 26];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200 Connected\r\n\r\n");
        let mut roots = RootCertStore::empty();
        let pem = std::fs::read(self.ca.path()).expect("a certificate");
        roots.add(CertificateDer::from_pem_slice(&pem).expect("a certificate")).expect("it is one");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("protocols").with_root_certificates(roots).with_no_client_auth();
        let name = name.to_owned().try_into().expect("a name");
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).expect("a client"), stream)
    }

    /// Says something within TLS, and gives all that is answered.
    fn within(&self, text: &str) -> String {
        let mut stream = self.tunnel("files.example:443", "files.example");
        stream.write_all(text.as_bytes()).expect("sent");
        let mut all = Vec::new();
        // What the server throws away unread may reset the connection after its answer.
        let _ = stream.read_to_end(&mut all);
        String::from_utf8_lossy(&all).into_owned()
    }

    fn lives(&self) {
        assert_eq!(self.served.get("/go/gone").0, "HTTP/1.1 410 Gone");
        let said = self.within("GET /packages/a%2Bb.txt HTTP/1.1\r\nHost: files.example\r\nConnection: close\r\n\r\n");
        assert!(said.ends_with("\r\n\r\nby TLS\n"), "{said}");
    }
}

fn curl_finds_whole_addresses(world: &World) {
    let proxy = Proxy::new(world);
    let (large_url, small) = (format!("{FILES}/packages/large.whl"), format!("{FILES}/packages/a%2Bb.txt"));
    let Some(whole) = proxy.curl(&[&large_url]) else { return };
    assert_eq!(Digest::of(&whole), Digest::of(large()));
    let text = |words: &[&str]| String::from_utf8(proxy.curl(words).expect("it is there")).expect("text");
    assert_eq!(text(&[&small]), "by TLS\n");
    assert_eq!(text(&["--tlsv1.2", "--tls-max", "1.2", &small]), "by TLS\n", "the version before");
    assert_eq!(text(&["--http1.0", &small]), "by TLS\n", "the protocol before");
    assert_eq!(text(&[&format!("{PLAIN}/dists/list")]), "plain\n");
    assert_eq!(proxy.curl(&["-r", "7-1000006", &large_url]).expect("there"), large()[7..1_000_007]);
    let head = text(&["-I", &large_url]);
    assert!(head.contains(&format!("Content-Length: {LARGE}\r\n")), "{head}");
    let both = ["-o", "/dev/null", "-w", "%{http_code} %{num_connects}\n", &small, "-o", "/dev/null", &large_url];
    assert_eq!(text(&both), "200 1\n200 0\n", "one connection for both");
    // The registry is there as before.
    assert_eq!(text(&["--proxy", "", &proxy.served.url("/go/gone")]), "gone\n");
    let report = proxy.served.finish();
    assert!(report.served.iter().all(|one| !one.refused()), "{:?}", report.served);
    let paths: BTreeSet<&str> = report.served.iter().map(|one| one.path.as_str()).collect();
    let expected =
        ["/go/gone", "http://plain.example:8080/dists/list", "https://files.example/packages/a+b.txt", &large_url];
    assert_eq!(paths, expected.into());
    let bytes = |method: &str| -> u64 {
        let large = report.served.iter().filter(|one| one.method == method && one.path.ends_with(".whl"));
        large.map(|one| one.bytes).sum()
    };
    assert!(bytes("GET") > LARGE as u64 + 1_000_000, "what went through TLS counts: {}", bytes("GET"));
    assert_eq!(bytes("HEAD"), 0);
}

fn no_other_host_port_or_name_is_reached(world: &World) {
    let proxy = Proxy::new(world);
    proxy.lives();
    let refused = [
        ("CONNECT", "registry.example:443", "registry.example:443", 403),
        ("CONNECT", "files.example:8443", "files.example:8443", 403),
        ("CONNECT", "files.example:22", "files.example:22", 403),
        ("CONNECT", "files.example.evil.example:443", "files.example.evil.example:443", 403),
        ("CONNECT", "plain.example:8080", "plain.example:8080", 403),
        ("CONNECT", "127.0.0.1:22", "127.0.0.1:22", 403),
        ("CONNECT", "[::1]:22", "[::1]:22", 403),
        ("CONNECT", "files.example", "files.example", 400),
        ("CONNECT", "files.example:443@evil.example:443", "files.example:443@evil.example:443", 400),
        ("CONNECT", "https://files.example:443", "https://files.example:443", 400),
        ("GET", "http://registry.example/x", "http://registry.example/x", 403),
        ("GET", "http://plain.example/dists/list", "http://plain.example/dists/list", 403),
        ("GET", "http://files.example/packages/large.whl", "http://files.example/packages/large.whl", 403),
        ("GET", "http://plain.example:8080/dists/other", "http://plain.example:8080/dists/other", 404),
        ("GET", "http://plain.example:8080/dists/x/../list", "http://plain.example:8080/dists/x/../list", 400),
        ("GET", "https://files.example/packages/large.whl", "https://files.example/packages/large.whl", 403),
        ("GET", "http://127.0.0.1/latest/meta-data", "http://127.0.0.1/latest/meta-data", 403),
        ("GET", "ftp://plain.example:8080/dists/list", "ftp://plain.example:8080/dists/list", 400),
        ("PUT", "http://plain.example:8080/dists/list", "http://plain.example:8080/dists/list", 405),
    ];
    for (method, target, _, status) in refused {
        let host = target.split("://").last().unwrap_or_default().split('/').next().unwrap_or_default();
        let said = proxy
            .served
            .raw(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {target}: {said}");
    }
    let report = proxy.served.finish();
    let told: BTreeSet<(&str, &str)> =
        report.served.iter().filter(|one| one.refused()).map(|one| (one.method.as_str(), one.path.as_str())).collect();
    assert_eq!(told, refused.iter().map(|(method, _, path, _)| (*method, *path)).collect());
}

fn who_does_not_know_the_authority_does_not_believe_it(world: &World) {
    let proxy = Proxy::new(world);
    let address = format!("{FILES}/packages/a%2Bb.txt");
    let Some(control) = proxy.curl(&[&address]) else { return };
    assert_eq!(control, b"by TLS\n");
    let another = NamedTempFile::new().expect("a file");
    let foreign = Authority::new(&[origin(FILES)]).expect("an authority");
    std::fs::write(another.path(), &foreign.pem).expect("written");
    let foreign = another.path().display().to_string();
    let disbelieved = proxy.try_curl(&["--cacert", &foreign, &address]).expect("curl");
    assert_eq!(disbelieved.status.code(), Some(60), "{}", String::from_utf8_lossy(&disbelieved.stderr));
    // Connected to one host, it asks for another one, which the table has too, and which the certificate has.
    let foreign_name = ["--connect-to", "other.example:443:files.example:443", "https://other.example/own"];
    assert_eq!(proxy.curl(&[foreign_name[2]]).expect("the control"), b"the other one's\n");
    let misled = proxy.try_curl(&foreign_name).expect("curl");
    assert_eq!(misled.status.code(), Some(35), "{}", String::from_utf8_lossy(&misled.stderr));
    proxy.lives();
    let report = proxy.served.finish();
    let told: Vec<&str> = report.served.iter().filter(|one| one.method == "TLS").map(|one| one.path.as_str()).collect();
    let [disbelief, name] = told[..] else { panic!("{told:?}") };
    assert!(disbelief.starts_with("https://files.example: the client does not take its certificate"), "{disbelief}");
    assert_eq!(name, "https://files.example under the name other.example");
}

fn a_request_is_of_one_host_and_nothing_is_smuggled(world: &World) {
    let proxy = Proxy::new(world);
    let status = |text: &str| proxy.within(text).lines().next().unwrap_or_default().to_owned();
    let good = "Host: files.example\r\n";
    assert_eq!(
        status(&format!("GET /packages/large.whl HTTP/1.1\r\n{good}Connection: close\r\n\r\n")),
        "HTTP/1.1 200 OK"
    );
    assert_eq!(
        status("GET /packages/a+b.txt HTTP/1.1\r\nHost: Files.Example:443\r\nConnection: close\r\n\r\n"),
        "HTTP/1.1 200 OK"
    );
    for (text, expected) in [
        ("GET /own HTTP/1.1\r\nHost: other.example\r\n\r\n".to_owned(), 421),
        ("GET /packages/a+b.txt HTTP/1.1\r\nHost: files.example:8443\r\n\r\n".to_owned(), 421),
        (format!("GET http://plain.example:8080/dists/list HTTP/1.1\r\n{good}\r\n"), 400),
        ("GET http://plain.example:8080/dists/list HTTP/1.1\r\nHost: plain.example:8080\r\n\r\n".to_owned(), 421),
        ("CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n".to_owned(), 403),
        (format!("GET /go/gone HTTP/1.1\r\n{good}Connection: close\r\n\r\n"), 404),
        (format!("GET /packages/../go/gone HTTP/1.1\r\n{good}\r\n"), 400),
        (format!("POST /packages/a+b.txt HTTP/1.1\r\n{good}Content-Length: 5\r\n\r\nhello"), 405),
        (format!("GET /packages/a+b.txt HTTP/1.1\r\n{good}Host: other.example\r\n\r\n"), 400),
    ] {
        let said = proxy.within(&text);
        assert!(said.starts_with(&format!("HTTP/1.1 {expected} ")), "{text:?}: {said}");
    }
    // A body that nobody reads has no request in it.
    let said = proxy.within(&format!(
        "GET /packages/a+b.txt HTTP/1.1\r\n{good}Content-Length: 5\r\n\r\nhelloGET /packages/large.whl HTTP/1.1\r\n{good}\r\n"
    ));
    assert!(said.ends_with("by TLS\n") && said.matches("HTTP/1.1").count() == 1, "{said}");
    // What follows a request to be connected is TLS, and no request to the server itself.
    let plain = "GET /go/gone HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    assert!(proxy.served.raw(plain.as_bytes()).contains("gone"), "the control");
    let mut stream = proxy.served.connect();
    stream.write_all(format!("CONNECT files.example:443 HTTP/1.1\r\nHost: h\r\n\r\n{plain}").as_bytes()).expect("sent");
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    let said = String::from_utf8_lossy(&all);
    assert!(said.starts_with("HTTP/1.1 200 Connected\r\n\r\n") && !said.contains("gone"), "{said:?}");
    let with_a_body = "CONNECT files.example:443 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nGET ";
    assert!(proxy.served.raw(with_a_body.as_bytes()).starts_with("HTTP/1.1 400 "));
    // An absolute address and a host that say different things.
    let two = "GET http://plain.example:8080/dists/list HTTP/1.1\r\nHost: other.example\r\n\r\n";
    assert!(proxy.served.raw(two.as_bytes()).starts_with("HTTP/1.1 400 "));
    proxy.lives();
}

fn what_is_no_tls_ends_the_connection(world: &World) {
    let proxy = Proxy::new(world);
    let garbage: [&[u8]; 6] = [
        b"\x16\x03\x01\xff\xff",
        &[0x16, 3, 1, 0, 4, 1, 0, 0, 0],
        &[0; 20_000],
        &[0x17, 3, 3, 0, 1, 0].repeat(1000),
        // Records without anything in them, for ever.
        &[0x16, 3, 3, 0, 0].repeat(20_000),
        b"SSH-2.0-OpenSSH\r\n",
    ];
    for bytes in garbage {
        let mut stream = proxy.served.connect();
        stream.write_all(b"CONNECT files.example:443 HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
        // It may have been ended while this goes.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        assert!(all.len() < 200, "an alert at most: {}", all.len());
        proxy.lives();
    }
    let report = proxy.served.finish();
    let told: BTreeSet<_> =
        report.served.iter().filter(|one| one.refused()).map(|one| (one.method.as_str(), one.path.as_str())).collect();
    assert_eq!(told, [("TLS", "https://files.example: what the client says is no TLS that is known")].into());
}

fn ten_thousand_that_connect_starve_nobody(world: &World) {
    const MANY: usize = 10_000;
    let limit = rustix::process::getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|most| most <= MANY as u64 + 200) {
        println!("SKIPPED: ten thousand connections, since this user may not have so many descriptors");
        return;
    }
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("a limit");
    let proxy = Proxy::new(world);
    let mut held: Vec<TcpStream> = Vec::new();
    for number in 0..MANY {
        let mut stream = proxy.served.connect();
        let _ = stream.write_all(b"CONNECT files.example:443 HTTP/1.1\r\nHost: h\r\n\r\n");
        // Some are silent then, and some have begun to speak TLS.
        if number % 3 == 0 {
            let _ = stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
        }
        held.push(stream);
        if number % 2000 == 0 {
            proxy.lives();
        }
    }
    proxy.lives();
    drop(held);
    proxy.lives();
    assert_eq!(proxy.served.finish().served.iter().filter(|one| one.refused()).count(), 0);
}
