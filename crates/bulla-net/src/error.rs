//! What can go wrong between asking and having. URLs in messages have neither login nor query.

use bulla_model::{Digest, Fault, Kind};

use crate::{download::SinkError, url::UrlError};

/// Says why something was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// A text is not a URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A certificate authority of the configuration cannot be read.
    #[error("reading the certificate authority {name}: {reason}")]
    Authority {
        /// Where it comes from.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No connection, or it broke before an answer came.
    #[error("asking {url}")]
    Connect {
        /// What was asked for.
        url: String,
        /// What happened.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The other side did not prove that it is who it should be.
    #[error("making a trusted connection for {url}")]
    Tls {
        /// What was asked for.
        url: String,
        /// What happened.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The answer is not HTTP, or more than is accepted.
    #[error("reading the answer of {url}")]
    Protocol {
        /// What was asked for.
        url: String,
        /// What happened.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The proxy refused.
    #[error("asking {url} through the proxy")]
    Proxy {
        /// What was asked for.
        url: String,
        /// What happened.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The answer contradicts the question.
    #[error("the answer of {url} makes no sense: {reason}")]
    Nonsense {
        /// What was asked for.
        url: String,
        /// How it contradicts.
        reason: &'static str,
    },
    /// The server answered with an error.
    #[error("{url} answered {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status (RFC 9110, section 15).
        status: u16,
    },
    /// The server asked to come back later than is waited.
    #[error("{url} answered {status} and asks to come back in {seconds} seconds")]
    Later {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
        /// The pause that the server asks for.
        seconds: u64,
    },
    /// No bytes came for too long, or too few.
    #[error("{url} stalled: {received} bytes in {seconds} seconds")]
    Stalled {
        /// What was asked for.
        url: String,
        /// The bytes of the last window.
        received: u64,
        /// The length of that window.
        seconds: u64,
    },
    /// The connection ended before the body did.
    #[error("{url} was cut off after {received} bytes")]
    CutOff {
        /// What was asked for.
        url: String,
        /// The bytes there are so far.
        received: u64,
        /// What happened, where the connection says it.
        #[source]
        source: Option<std::io::Error>,
    },
    /// The server points to where the client does not go.
    #[error("{url} redirects to {target}: {reason}")]
    Redirect {
        /// What was asked for.
        url: String,
        /// Where the server points, made harmless.
        target: String,
        /// Why the client does not go there.
        reason: &'static str,
    },
    /// A URL that configuration did not choose leads to this machine or its link.
    #[error(
        "{url} leads to an address of this machine or its link, and only the user's configuration may name such a place"
    )]
    Local {
        /// What was asked for.
        url: String,
    },
    /// The body is longer than what is accepted here.
    #[error("{url} is longer than {limit} bytes, the most that is accepted for it")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The most bytes.
        limit: u64,
    },
    /// The body has another length than the one it is pinned with.
    #[error("{url} has the wrong size: expected {expected} bytes, got {got}")]
    WrongSize {
        /// What was asked for.
        url: String,
        /// The pinned size in bytes.
        expected: u64,
        /// `1234`, or `more` when the rest was not read.
        got: String,
    },
    /// A spec or lock names a host for SSH that the configuration does not.
    #[error(
        "{host} is not among the hosts that may be asked by SSH, with your keys: only your configuration names such"
    )]
    SshHost {
        /// The host, perhaps with a port.
        host: String,
    },
    /// The program for SSH cannot be run.
    #[error("running {}", program.display())]
    SshProgram {
        /// The program.
        program: std::path::PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A conversation by SSH ended before its time.
    #[error("the conversation with {host} by SSH ended: {words}")]
    Ssh {
        /// The host, perhaps with a port.
        host: String,
        /// What `ssh` and the server said, made printable.
        words: String,
    },
    /// The bytes are not the pinned ones.
    #[error("{url} is not what it should be: expected {expected}, got {actual}")]
    WrongDigest {
        /// What was asked for.
        url: String,
        /// The pinned digest.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// What came could not be kept.
    #[error("keeping what came from {url}")]
    Sink {
        /// What was asked for.
        url: String,
        /// What happened.
        #[source]
        source: SinkError,
    },
    /// There is no mirror to ask.
    #[error("no mirror is configured to ask for {what}")]
    NoMirror {
        /// The digest or name of what is wanted.
        what: String,
    },
    /// Every mirror failed.
    #[error("none of {} mirrors gave it: {}", failures.len(), each(failures))]
    Mirrors {
        /// What each mirror did, in the order they were asked.
        failures: Vec<NetError>,
    },
    /// The user stopped it.
    #[error("stopped while downloading")]
    Cancelled,
}

fn each(failures: &[NetError]) -> String {
    failures.iter().map(NetError::with_cause).collect::<Vec<_>>().join("; ")
}

impl NetError {
    /// Says whether the server, or every mirror, said that there is no such file (404 or 410).
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 404 | 410),
            Self::Mirrors { failures } => !failures.is_empty() && failures.iter().all(Self::is_not_found),
            _ => false,
        }
    }

    /// Says whether asking the same mirror again may help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Stalled { .. } | Self::CutOff { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// Says whether no other mirror could do better.
    pub(crate) const fn is_final(&self) -> bool {
        matches!(self, Self::Cancelled | Self::Sink { .. })
    }

    /// Makes one error of what the mirrors did.
    pub(crate) fn of_mirrors(mut failures: Vec<Self>, what: impl FnOnce() -> String) -> Self {
        match failures.len() {
            0 => Self::NoMirror { what: what() },
            1 => failures.remove(0),
            _ => Self::Mirrors { failures },
        }
    }

    /// Writes the message and its causes on one line.
    fn with_cause(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl Fault for NetError {
    fn kind(&self) -> Kind {
        match self {
            Self::Cancelled => Kind::Interrupted,
            Self::WrongDigest { .. } | Self::WrongSize { .. } | Self::TooLarge { .. } => Kind::Integrity,
            Self::Redirect { .. } | Self::Local { .. } | Self::SshHost { .. } => Kind::Policy,
            Self::Mirrors { failures } => {
                let integrity = failures.iter().any(|failure| failure.kind() == Kind::Integrity);
                if integrity { Kind::Integrity } else { Kind::Environment }
            }
            _ => Kind::Environment,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Mirrors { failures } => {
                let mut hints: Vec<String> = failures.iter().flat_map(Fault::hints).collect();
                hints.dedup();
                return hints;
            }
            Self::Status { status: 401 | 403, .. } => {
                "put a login for this host into apt's auth.conf or Bulla's configuration; a redirect drops logins"
            }
            Self::Status { status: 404 | 410, .. } => {
                "an index that is older than its mirror names files that are gone: run `bulla lock --update`"
            }
            Self::Status { status: 407, .. } => "put the proxy's login into the proxy's address in the configuration",
            Self::Tls { .. } => {
                "where the connection is inspected by a company's proxy, name its authority as a CA file in Bulla's configuration"
            }
            Self::Proxy { .. } => "check the proxy in Bulla's configuration, apt's settings and `http_proxy`",
            Self::Connect { .. } => {
                "check the name and that the network, or the proxy that it needs, works; what has come is kept for the next run"
            }
            Self::Stalled { .. } | Self::CutOff { .. } | Self::Later { .. } => {
                "run it again: what has come is kept; or configure a mirror that is nearer"
            }
            Self::WrongDigest { .. } | Self::WrongSize { .. } => {
                "the mirror, or something on the way to it, changed the file: try another mirror; if it was replaced on \
                 purpose, run `bulla lock --update`"
            }
            Self::Local { .. } => {
                "if you trust it, add `HOST:PORT` to `local-hosts` under `[network]` in Bulla's configuration; a mirror of \
                 packages is named there as well"
            }
            Self::Redirect { .. } => "name the final place as the mirror in Bulla's configuration, if you trust it",
            Self::SshHost { .. } => {
                "if you trust it, add `HOST` or `HOST:PORT` to `ssh-hosts` under `[network]` in Bulla's configuration"
            }
            Self::SshProgram { .. } => "install OpenSSH's client",
            Self::Ssh { .. } => {
                "does `ssh HOST` work without a question? The host's key must be known, and yours in the agent or without a passphrase"
            }
            Self::NoMirror { .. } => "name a mirror in Bulla's configuration",
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

/// All that went wrong in downloads that ran side by side.
#[derive(Debug, thiserror::Error)]
#[error("{}{}", first(errors), rest(errors.len(), *left))]
pub struct FetchErrors {
    /// What went wrong, in the order of the downloads; never empty.
    pub errors: Vec<NetError>,
    /// The place in the list of the download that each is of.
    pub places: Vec<usize>,
    /// How many downloads were not begun because of it.
    pub left: usize,
}

fn first(errors: &[NetError]) -> String {
    errors.first().map(NetError::with_cause).unwrap_or_default()
}

fn rest(errors: usize, left: usize) -> String {
    let more = if errors > 1 { format!(" (and {} more failed)", errors - 1) } else { String::new() };
    if left > 0 { format!("{more} ({left} more were not begun)") } else { more }
}

impl Fault for FetchErrors {
    fn kind(&self) -> Kind {
        let kinds = || self.errors.iter().map(Fault::kind);
        kinds().find(|kind| *kind == Kind::Integrity).or_else(|| kinds().next()).unwrap_or(Kind::Environment)
    }

    fn hints(&self) -> Vec<String> {
        self.errors.first().map(Fault::hints).unwrap_or_default()
    }
}
