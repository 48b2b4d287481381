//! What a step finds on its loopback, as plain data: the server knows no ecosystem.

use std::collections::BTreeMap;

use bulla_model::CleanPath;
use serde::{Deserialize, Serialize};

/// A folder of the step that is empty when it begins and gone when it has ended: for what clients keep for themselves.
pub const CACHE: &str = "/run/bulla/cache";

/// Everything that a client may ask for. What is not here does not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repository {
    /// The paths. Of routes with the same path, the first whose media type a client accepts counts, else the one without.
    pub routes: Vec<Route>,
}

/// One path, and what is answered to `GET` and `HEAD` of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The path, percent-decoded, beginning with `/` and the ecosystem's name: `/npm/@scope/name`.
    pub path: String,
    /// The media type that the client must accept for this answer; `None` for whatever it accepts.
    pub accept: Option<String>,
    /// The answer.
    pub answer: Answer,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    /// The status: 200, or a 404 or 410 that the lock knows of, which is no refusal.
    pub status: u16,
    /// The `Content-Type`.
    pub content_type: String,
    /// The bytes.
    pub body: Body,
}

/// The bytes of an answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Body {
    /// An artifact as it is, by its place in [`super::Locked::artifacts`].
    Artifact(usize),
    /// A document that was made for this lock.
    Bytes(Vec<u8>),
}

/// A folder of artifacts that are unpacked, which a client reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Where it lies in the sandbox, without its first slash. It is the same in every sandbox: clients build it into what they make.
    pub target: CleanPath,
    /// What lies in it, by places in [`super::Locked::artifacts`].
    pub artifacts: Vec<usize>,
}

/// How a client finds the repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// Variables of the step's environment; the spec's own win.
    pub env: BTreeMap<String, String>,
    /// Files that are mounted read-only, by their absolute path in the root without its first slash.
    pub files: BTreeMap<CleanPath, Vec<u8>>,
    /// Files of the same kind that can be executed.
    pub programs: BTreeMap<CleanPath, Vec<u8>>,
}

/// A script of a package that a client ran, or would have run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Script {
    /// Where the package lies.
    pub place: String,
    /// When it is run, in the client's words: `postinstall`.
    pub event: String,
    /// What it is.
    pub command: String,
    /// Whether it ran; else it was denied.
    pub ran: bool,
}

/// What a client asked for and was not given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path, percent-decoded.
    pub path: String,
}
