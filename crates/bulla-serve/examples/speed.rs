//! Measures the server over the loopback of this machine: how long it takes to start, a blob of 100 MB in bytes a second, and small
//! documents in requests a second.

#![expect(clippy::print_stdout, reason = "it is a measuring tool")]
#![expect(clippy::disallowed_methods, reason = "it is the client as well")]

use std::{
    error::Error,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    time::Instant,
};

use bulla_model::Digest;
use bulla_sandbox::{Launcher, Options, Serve as _};
use bulla_serve::{Body, Route, Server, Table};

const BLOB: usize = 100_000_000;
const ROUNDS: usize = 20;
const CLIENTS: usize = 4;
const REQUESTS: usize = 20_000;

fn main() -> Result<(), Box<dyn Error>> {
    bulla_sandbox::intercept();
    bulla_serve::intercept();
    let folder = tempfile::Builder::new().prefix("bulla-serve-").tempdir_in("/var/tmp")?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    let bytes = vec![b'x'; BLOB];
    let digest = Digest::of(&bytes);
    std::fs::write(folder.path().join(digest.hex()), &bytes)?;
    let route = |path: &str, body| Route {
        origin: None,
        path: path.to_owned(),
        accept: None,
        status: 200,
        content_type: "application/octet-stream".to_owned(),
        body,
    };
    let small = Body::Bytes(vec![b'y'; 2000]);
    let routes = vec![route("/blob", Body::Blob { digest, size: BLOB as u64 }), route("/small", small)];
    let table = Table { blobs: Some(folder.path().to_owned()), routes, identity: None };
    let launcher = Launcher::start(Options::default())?;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        drop(Server::start(&launcher, &table)?);
    }
    println!("started and ended in {:.1} ms", start.elapsed().as_secs_f64() * 1000.0 / ROUNDS as f64);
    let mut server = Server::start(&launcher, &table)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    server.listen(listener.into())?;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        ask(&mut TcpStream::connect(address)?, "/blob", BLOB)?;
    }
    let rate = (ROUNDS * BLOB) as f64 / start.elapsed().as_secs_f64();
    println!("a blob of 100 MB: {:.2} GB/s", rate / 1e9);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(move || many(address))).collect();
        clients.into_iter().all(|client| client.join().is_ok_and(|done| done.is_ok()))
    });
    let rate = (CLIENTS * REQUESTS) as f64 / start.elapsed().as_secs_f64();
    println!("2 kB, {CLIENTS} clients, one connection each: {rate:.0} requests/s");
    let start = Instant::now();
    for _ in 0..REQUESTS / 10 {
        ask(&mut TcpStream::connect(address)?, "/small", 2000)?;
    }
    let rate = (REQUESTS / 10) as f64 / start.elapsed().as_secs_f64();
    println!("2 kB, one client, a connection for each: {rate:.0} requests/s");
    let report = server.finish(&[])?;
    report.served.iter().for_each(|one| println!("{} times {}, {} bytes", one.times, one.path, one.bytes));
    Ok(())
}

fn many(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    (0..REQUESTS).try_for_each(|_| ask(&mut stream, "/small", 2000))
}

fn ask(stream: &mut TcpStream, path: &str, length: usize) -> std::io::Result<()> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes())?;
    let mut buffer = vec![0; 256 << 10];
    let (mut count, mut head) = (0, None);
    while head.is_none_or(|head| count < head + length) {
        let read = stream.read(&mut buffer[..])?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if head.is_none() {
            head = buffer[..read].windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        }
        count += read;
    }
    Ok(())
}
