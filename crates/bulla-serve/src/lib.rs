//! The locked repository: what a step finds on its loopback, served by a process of its own.
//!
//! The process holds a listening socket of the step's network namespace and the read-only blobs that the table names. It
//! has no network of its own, no credentials, no way to write, and no more power than that ([`bulla_sandbox::Cell`]).
//! Whatever it is asked for, it answers from the table, or that there is no such thing, and remembers it.
//!
//! 1. [`Server::start`] writes the [`Table`] to a sealed memory file and starts the process, which shuts itself in;
//! 2. the sandbox hands the socket over ([`bulla_sandbox::Serve`]), before the command starts;
//! 3. the process serves ([`request`] reads, `answer` decides, `engine` moves the bytes);
//! 4. [`Server::finish`] has the process tell what it was asked, brings each request together with the process that asked,
//!    and ends it.
//!
//! It has two faces. Asked for a path, it is a registry. Asked for a whole address, or to connect to a host that routes of the table
//! have ([`Route::origin`]), it is a proxy that answers for that host itself, by TLS with a certificate that was made for the run
//! ([`Authority`]); so clients find what their lock files have whole addresses of, and nothing is rewritten.
//!
//! One thread serves all connections, as they get ready: the clients are a handful of processes on the same machine, and
//! a blob goes from the page cache to the socket without a copy.

mod answer;
mod authority;
mod connection;
mod engine;
mod error;
mod record;
pub mod request;
mod server;
mod table;
mod tunnel;

pub use authority::{Authority, Identity, MAX_HOSTS};
pub use error::Error;
pub use record::{Heard, Report, Served};
pub use server::{Server, intercept};
pub use table::{Body, MAX_PATH, Route, Table};
pub use tunnel::{NotSpoken, Secure, Secured};
