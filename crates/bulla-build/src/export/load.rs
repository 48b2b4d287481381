//! Hands an image to the container engine of this machine: a docker-archive into `docker load` or `podman load`.

use std::{
    io::{self, Read},
    process::{Child, Command, Stdio},
    thread,
};

use bulla_model::tar::TarError;
use bulla_store::Store;

use super::{ArchiveKind, ExportError, archive_to};
use crate::assemble::Joined;

/// How much is kept of what the engine writes, in bytes.
const KEPT: usize = 16 * 1024;

/// What an engine said when it had taken an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The engine's program.
    pub engine: String,
    /// What it wrote to its standard output; foreign text.
    pub message: String,
}

/// Loads the image into the first of these engines that is there, `["docker", "podman"]` usually. The engine finds its own
/// server, by `DOCKER_HOST` or its contexts.
///
/// # Errors
/// When no engine is there, or the engine fails.
pub fn load(store: &Store, image: &Joined, names: &[String], engines: &[&str]) -> Result<Loaded, ExportError> {
    for engine in engines {
        match start(engine) {
            Ok(child) => return feed(store, image, names, engine, child),
            // A folder of the path that this user may not look into answers the second.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {}
            Err(error) => return Err(ExportError::io("starting", *engine)(error)),
        }
    }
    Err(ExportError::NoEngine)
}

#[allow(clippy::disallowed_methods, reason = "the user asked for their engine, which is no part of the build")]
fn start(engine: &str) -> io::Result<Child> {
    Command::new(engine).arg("load").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

fn feed(
    store: &Store,
    image: &Joined,
    names: &[String],
    engine: &str,
    mut child: Child,
) -> Result<Loaded, ExportError> {
    let command = || format!("{engine} load");
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (fed, message, complaint) = thread::scope(|scope| {
        let message = scope.spawn(|| stdout.map(drain).unwrap_or_default());
        let complaint = scope.spawn(|| stderr.map(drain).unwrap_or_default());
        let fed = match stdin {
            Some(mut pipe) => archive_to(store, image, ArchiveKind::Docker, &mut pipe, names),
            None => Ok(()),
        };
        (fed, message.join().unwrap_or_default(), complaint.join().unwrap_or_default())
    });
    let status = child.wait().map_err(ExportError::io("waiting for", command()))?;
    // When the engine failed, that the pipe broke is only its echo; but when the image could not be read, that the engine
    // got half of it is.
    if let Err(error) = fed
        && !is_echo(&error)
    {
        return Err(error);
    }
    if !status.success() {
        let message = if complaint.trim().is_empty() { status.to_string() } else { complaint.trim().to_owned() };
        return Err(ExportError::Engine { command: command(), message });
    }
    Ok(Loaded { engine: engine.to_owned(), message: message.trim().to_owned() })
}

/// Says whether an error only tells that the engine read no further; that it then succeeded is its own affair.
fn is_echo(error: &ExportError) -> bool {
    let source = match error {
        ExportError::Archive(TarError::Write { source, .. }) | ExportError::Io { source, .. } => source,
        _ => return false,
    };
    source.kind() == io::ErrorKind::BrokenPipe
}

/// Reads a pipe to its end and keeps the last of it.
fn drain(mut pipe: impl Read) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut buffer) {
        kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if kept.len() > 2 * KEPT {
            kept.drain(..kept.len() - KEPT);
        }
    }
    kept.drain(..kept.len().saturating_sub(KEPT));
    String::from_utf8_lossy(&kept).into_owned()
}
