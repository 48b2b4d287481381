//! The only HTTP client of Bulla: blocking, with proxies, corporate authorities and credentials, and hostile to what it hears.
//!
//! The way of one download: the mirrors of a [`Download`] are tried in order; each gets some attempts with pauses between
//! them; each attempt is an exchange that follows few and harmless redirects; the body is read while its pace, size and
//! digest are watched, and goes into a [`DownloadSink`]. The crate reads no environment and no file: what it needs of
//! either is in the [`NetConfig`] that it is made with.

mod absolute;
mod agents;
mod ask;
mod client;
mod config;
mod download;
mod error;
mod exchange;
mod first;
mod gate;
mod guard;
mod many;
pub mod oci;
mod pace;
mod proxy;
mod retry;
mod ssh;
mod tls;
mod url;

pub use ask::{Ask, Heard};
pub use client::{Body, Client, Get};
pub use config::{Authority, Credential, NetConfig, Proxies, ProxyAddress, Reach, Secret, Timeouts};
pub use download::{Download, DownloadSink, Finish, MemorySink, SinkError};
pub use error::{FetchErrors, NetError};
pub use many::Progress;
pub use ssh::{Ssh, SshConfig};
pub use url::{Url, UrlError};
