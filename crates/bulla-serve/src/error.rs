//! What can go wrong with the server, as its caller sees it. What a client does wrong is no error: it is recorded.

use std::io;

use bulla_model::{Fault, Kind};

/// Why the locked repository could not be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A route cannot be answered as it is.
    #[error("serving {path}: {what}")]
    Route {
        /// The path.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A certificate would have too many hosts, or none.
    #[error("{0} hosts for one certificate; it can have from one to {max}", max = crate::authority::MAX_HOSTS)]
    Hosts(usize),
    /// A certificate could not be made.
    #[error("making the certificate of the locked repository")]
    Certificate(#[from] rcgen::Error),
    /// The process of the server could not be had.
    #[error("starting the server of the locked repository")]
    Start(#[source] bulla_sandbox::Error),
    /// The table could not be handed over.
    #[error("{doing} of the locked repository")]
    Table {
        /// What failed.
        doing: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The process of the server ended before it was told to, so that nobody knows what it was asked.
    #[error("the server of the locked repository ended before its step")]
    Lost,
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Route { .. } | Self::Lost | Self::Hosts(_) | Self::Certificate(_) => Kind::Internal,
            Self::Start(source) => source.kind(),
            Self::Table { .. } => Kind::Environment,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Start(source) => source.hints(),
            _ => Vec::new(),
        }
    }
}
