//! What a client asked.

use std::io::{self, BufRead, Read};

/// One request, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `HEAD`, `CONNECT`.
    pub method: String,
    /// The target as it stands in the request line: a path, or a whole URL when the mirror is used as a proxy.
    pub target: String,
    /// The path of the target, with the query.
    pub path: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
}

/// The most bytes of a request's head.
const MAX_HEAD: u64 = 256 * 1024;

impl Request {
    /// Gives the first header of a name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Reads a request; `None` when the client has no more.
    pub(crate) fn read(from: &mut dyn BufRead) -> io::Result<Option<Self>> {
        let mut from = from.take(MAX_HEAD);
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let path = match target.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]).to_owned(),
            None => target.clone(),
        };
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end();
            if line.is_empty() {
                return Ok(Some(Self { method, target, path, headers }));
            }
            if let Some((name, value)) = line.split_once(':') {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
    }
}
