//! A server that gives what a repository has, and notes what it does not have.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use bulla_ecosystems::dependencies::{Bodies, Body, Repository, Request};

/// Repositories with the bytes of their artifacts.
pub(crate) struct Served {
    pub(crate) repositories: Vec<(Repository, Box<dyn Bodies + Send + Sync>)>,
}

/// A server on loopback, which lives as long as the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    refused: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn start(served: Served) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback");
        let address = listener.local_addr().expect("an address");
        let refused = Arc::new(Mutex::new(Vec::new()));
        let (served, noted) = (Arc::new(served), Arc::clone(&refused));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (served, noted) = (Arc::clone(&served), Arc::clone(&noted));
                thread::spawn(move || {
                    // A client that goes away is no matter of the test.
                    let _ = answer(&stream, &served, &noted);
                });
            }
        });
        Self { address, refused }
    }

    /// The base that clients are told.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked for and is not there, since the last call.
    pub(crate) fn refused(&self) -> Vec<Request> {
        std::mem::take(&mut *self.refused.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn answer(stream: &TcpStream, served: &Served, noted: &Mutex<Vec<Request>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let (mut accept, mut header) = (String::new(), String::new());
        while reader.read_line(&mut header)? > 2 {
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("accept:") {
                accept = value.trim().to_owned();
            }
            header.clear();
        }
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let path = path.replace("%2B", "+");
        let found = served.repositories.iter().find_map(|(repository, bodies)| {
            let accepted =
                |wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| accept.contains(wanted.as_str()));
            let route = repository.routes.iter().find(|route| route.path == path && accepted(&route.accept))?;
            Some((&route.answer, bodies))
        });
        let mut stream = stream;
        let Some((answer, bodies)) = found else {
            let request = Request { method: method.to_owned(), path };
            noted.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        };
        let mut body = Vec::new();
        match &answer.body {
            Body::Bytes(bytes) => body.clone_from(bytes),
            Body::Artifact(at) => {
                bodies.open(*at)?.read_to_end(&mut body)?;
            }
        }
        write!(
            stream,
            "HTTP/1.1 {} OK\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
            answer.status,
            answer.content_type,
            body.len()
        )?;
        if method != "HEAD" {
            stream.write_all(&body)?;
        }
    }
}
