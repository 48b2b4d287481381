//! Answers to a step that is observed, and how they are sent.

use std::io::{self, Read as _, Write};

use bulla_store::Store;

/// What is sent.
pub(super) enum Sent {
    Bytes(Vec<u8>),
    Blob { digest: bulla_model::Digest, size: u64 },
}

/// An answer, ready to be sent.
pub(super) struct Ready {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) body: Sent,
    /// What is noted of it: nothing for a refusal.
    pub(super) route: Option<usize>,
}

impl Ready {
    pub(super) fn said(status: u16, words: &str) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=UTF-8".into(),
            body: Sent::Bytes(format!("{words}\n").into_bytes()),
            route: None,
        }
    }
}

/// Sends an answer.
///
/// # Errors
/// When the client is gone, or the store has lost what is sent.
pub(super) fn send(
    stream: &mut impl Write,
    store: &Store,
    ready: Ready,
    head_only: bool,
    keep: bool,
) -> io::Result<()> {
    let (length, blob) = match &ready.body {
        Sent::Bytes(bytes) => (bytes.len() as u64, None),
        Sent::Blob { digest, size } => {
            let file = store.open_blob(digest).map_err(io::Error::other)?;
            (*size, Some(file.ok_or(io::ErrorKind::NotFound)?))
        }
    };
    let connection = if keep { "keep-alive" } else { "close" };
    let head = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n",
        ready.status,
        if ready.status == 200 { "OK" } else { "Not Given" },
        ready.content_type
    );
    stream.write_all(head.as_bytes())?;
    match (head_only, &ready.body, blob) {
        (false, Sent::Bytes(bytes), _) => stream.write_all(bytes)?,
        (false, _, Some(file)) => {
            // A blob never changes; of one that is longer no byte is sent that was not announced.
            io::copy(&mut file.take(length), stream)?;
        }
        _ => {}
    }
    stream.flush()
}
