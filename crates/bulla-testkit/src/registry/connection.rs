//! One connection: requests with their bodies are read, and answered as the faults say.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::Arc,
};

use super::{RegistryFault, Shared, answer::Answer};
use crate::mirror::Request;

/// The most bytes of a body that are taken at once.
const MAX_BODY: u64 = 1 << 30;

/// Serves a connection until the client has no more requests, or a fault ends it.
pub(super) fn serve(stream: TcpStream, shared: &Shared, tls: Option<Arc<rustls::ServerConfig>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => talk(&mut BufReader::new(stream), shared, |reader| reader.get_mut()),
        Some(config) => {
            let session = rustls::ServerConnection::new(config).map_err(io::Error::other)?;
            let mut both = BufReader::new(rustls::StreamOwned::new(session, stream));
            talk(&mut both, shared, |reader| reader.get_mut())
        }
    }
}

fn talk<S: Read + Write>(
    reader: &mut BufReader<S>,
    shared: &Shared,
    writer: impl Fn(&mut BufReader<S>) -> &mut S,
) -> io::Result<()> {
    while let Some(request) = Request::read(reader as &mut dyn BufRead)? {
        let faults = shared.note(&request);
        let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0_u64);
        let cut =
            faults.iter().find_map(|fault| if let RegistryFault::CutRequest(at) = fault { Some(*at) } else { None });
        let mut body = Vec::new();
        (&mut *reader).take(cut.unwrap_or(length).min(length).min(MAX_BODY)).read_to_end(&mut body)?;
        let mut answer = Answer::to(&request, &body, shared);
        if cut.is_some() || faults.iter().any(|fault| matches!(fault, RegistryFault::NoAnswer)) {
            return Ok(());
        }
        faults.iter().for_each(|fault| answer.spoil(fault));
        if !answer.send(&request, writer(reader))? {
            return Ok(());
        }
    }
    Ok(())
}
