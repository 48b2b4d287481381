//! One connection: requests are read and answered, well or as the faults say.

use std::{
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use super::{Fault, Request, Shared, files::Found};

/// Serves a connection until the client has no more requests.
pub(crate) fn serve(stream: TcpStream, shared: &Shared, tls: Option<Arc<rustls::ServerConfig>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => {
            let mut reader = BufReader::new(stream.try_clone()?);
            let mut writer = stream;
            while let Some(request) = Request::read(&mut reader)? {
                if request.method == "CONNECT" {
                    return tunnel(&request, shared, reader, writer);
                }
                if !Answer::new(&request, shared).send(&mut writer)? {
                    return writer.shutdown(Shutdown::Both);
                }
            }
        }
        Some(config) => {
            let session = rustls::ServerConnection::new(config).map_err(io::Error::other)?;
            let mut both = BufReader::new(rustls::StreamOwned::new(session, stream));
            while let Some(request) = Request::read(&mut both)? {
                if !Answer::new(&request, shared).send(both.get_mut())? {
                    return both.get_mut().sock.shutdown(Shutdown::Both);
                }
            }
        }
    }
    Ok(())
}

/// Passes bytes on in both directions.
fn tunnel(
    request: &Request,
    shared: &Shared,
    mut reader: BufReader<TcpStream>,
    mut writer: TcpStream,
) -> io::Result<()> {
    shared.note(request);
    let Some(place): Option<SocketAddr> = shared.tunnel() else {
        return writer.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let mut there = TcpStream::connect(place)?;
    writer.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
    there.write_all(reader.fill_buf()?.to_vec().as_slice())?;
    let length = reader.buffer().len();
    reader.consume(length);
    let mut back = there.try_clone()?;
    thread::spawn(move || {
        let _ = io::copy(&mut back, &mut writer);
        let _ = writer.shutdown(Shutdown::Both);
    });
    io::copy(&mut reader, &mut there)?;
    there.shutdown(Shutdown::Both)
}

/// The answer to one request.
struct Answer<'a> {
    request: &'a Request,
    shared: &'a Shared,
    faults: Vec<Fault>,
}

impl<'a> Answer<'a> {
    fn new(request: &'a Request, shared: &'a Shared) -> Self {
        shared.note(request);
        let path = request.path.split('?').next().unwrap_or_default();
        Self { request, shared, faults: shared.faults(path) }
    }

    /// Gives what a closure finds among the faults.
    fn fault<T>(&self, pick: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.faults.iter().find_map(pick)
    }

    /// Answers; says whether the connection may go on.
    fn send(&self, to: &mut dyn Write) -> io::Result<bool> {
        if let Some(going_on) = self.without_file(to)? {
            return Ok(going_on);
        }
        let bytes = self.fault(|fault| if let Fault::Bytes(bytes) = fault { Some(bytes.clone()) } else { None });
        let found = match bytes {
            Some(bytes) => Some(Found::bytes(bytes)),
            None => Found::file(self.shared.root(), &self.request.path),
        };
        match found {
            Some(found) => self.send_file(found, to),
            None => self.send_empty("404 Not Found", &[], to),
        }
    }

    /// Answers where no file is needed for it.
    fn without_file(&self, to: &mut dyn Write) -> io::Result<Option<bool>> {
        for fault in &self.faults {
            let going_on = match fault {
                Fault::Silent => {
                    while !self.shared.ended() {
                        thread::sleep(Duration::from_millis(50));
                    }
                    false
                }
                Fault::Garbage(bytes) => {
                    to.write_all(bytes)?;
                    false
                }
                Fault::HeaderFlood => {
                    to.write_all(b"HTTP/1.1 200 OK\r\n")?;
                    while !self.shared.ended() {
                        to.write_all(format!("X-Flood: {}\r\n", "x".repeat(1000)).as_bytes())?;
                    }
                    false
                }
                Fault::HeaderTrickle => {
                    to.write_all(b"HTTP/1.1 200 OK\r\nX-Trickle: ")?;
                    while !self.shared.ended() {
                        to.write_all(b"x")?;
                        thread::sleep(Duration::from_millis(50));
                    }
                    false
                }
                Fault::Status { status, retry_after, .. } => {
                    let later = retry_after.map(|seconds| ("Retry-After".to_owned(), seconds.to_string()));
                    self.send_empty(&format!("{status} Fault"), later.as_slice(), to)?
                }
                Fault::Redirect(place) => {
                    self.send_empty("302 Found", &[("Location".to_owned(), place.clone())], to)?
                }
                Fault::BasicAuth { login, password } if !self.has_login(login, password) => {
                    let ask = ("WWW-Authenticate".to_owned(), "Basic realm=\"test\"".to_owned());
                    self.send_empty("401 Unauthorized", &[ask], to)?
                }
                _ => continue,
            };
            return Ok(Some(going_on));
        }
        Ok(None)
    }

    fn has_login(&self, login: &str, password: &str) -> bool {
        let wanted = crate::archive::base64(format!("{login}:{password}").as_bytes());
        self.request.header("authorization").is_some_and(|found| found == format!("Basic {wanted}"))
    }

    fn send_empty(&self, status: &str, headers: &[(String, String)], to: &mut dyn Write) -> io::Result<bool> {
        let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        to.write_all(head.as_bytes())?;
        Ok(true)
    }

    fn send_file(&self, mut found: Found, to: &mut dyn Write) -> io::Result<bool> {
        let no_range = self.faults.iter().any(|fault| matches!(fault, Fault::NoRange));
        let first = if no_range { None } else { found.wanted_from(self.request) };
        if first.is_some_and(|first| first >= found.length) {
            let whole = ("Content-Range".to_owned(), format!("bytes */{}", found.length));
            return self.send_empty("416 Range Not Satisfiable", &[whole], to);
        }
        let wrong = self.faults.iter().any(|fault| matches!(fault, Fault::WrongRange));
        let first = if wrong { first.map(|first| first / 2) } else { first };
        let start = first.unwrap_or(0);
        found.source.seek(SeekFrom::Start(start))?;
        let length = found.length - start;
        to.write_all(self.head(&found, first, length).as_bytes())?;
        if self.request.method == "HEAD" {
            return Ok(true);
        }
        self.send_body(found, length, to)
    }

    fn head(&self, found: &Found, first: Option<u64>, length: u64) -> String {
        let mut head =
            String::from(if first.is_some() { "HTTP/1.1 206 Partial Content\r\n" } else { "HTTP/1.1 200 OK\r\n" });
        if let Some(first) = first {
            head.push_str(&format!("Content-Range: bytes {first}-{}/{}\r\n", found.length - 1, found.length));
        }
        let lie = self.fault(|fault| if let Fault::ContentLength(lie) = fault { Some(*lie) } else { None });
        if !self.is_endless() {
            head.push_str(&format!("Content-Length: {}\r\n", lie.unwrap_or(length)));
        }
        for fault in &self.faults {
            let Fault::Headers(headers) = fault else { continue };
            headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        }
        head.push_str(&format!("ETag: {}\r\nAccept-Ranges: bytes\r\n\r\n", found.tag));
        head
    }

    fn is_endless(&self) -> bool {
        self.faults.iter().any(|fault| matches!(fault, Fault::Endless))
    }

    fn send_body(&self, mut found: Found, length: u64, to: &mut dyn Write) -> io::Result<bool> {
        let cut = self.fault(|fault| if let Fault::CutOff { after, .. } = fault { Some(*after) } else { None });
        let slow = self.fault(|fault| match fault {
            Fault::Slow { bytes_per_second } => Some(*bytes_per_second),
            _ => None,
        });
        let chunk = slow.map_or(256 * 1024, |pace| (pace / 20).clamp(1, 64 * 1024));
        let mut left = cut.map_or(length, |cut| cut.min(length));
        let mut buffer = Vec::new();
        while left > 0 && !self.shared.ended() {
            buffer.clear();
            let count = (&mut found.source).take(chunk.min(left)).read_to_end(&mut buffer)? as u64;
            if count == 0 {
                break;
            }
            to.write_all(&buffer)?;
            self.shared.sent.fetch_add(count, Ordering::Relaxed);
            left -= count;
            if let Some(pace) = slow {
                thread::sleep(Duration::from_secs_f64(count as f64 / pace.max(1) as f64));
            }
        }
        while self.is_endless() && !self.shared.ended() {
            to.write_all(&[0; 64 * 1024])?;
        }
        to.flush()?;
        let lies = self.faults.iter().any(|fault| matches!(fault, Fault::ContentLength(_)));
        Ok(cut.is_none() && !lies)
    }
}
