//! The client against mirrors that are slow, broken or hostile.

#![expect(clippy::disallowed_methods, reason = "the tests fill the folders of their mirrors")]

mod credentials;
mod digest;
mod faults;
mod first;
mod proxy;
mod redirects;
mod resume;
mod together;
mod trust;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bulla_model::Digest;
use bulla_net::{Body, Client, Download, Get, MemorySink, NetConfig, NetError, Reach, Timeouts, Url};
use bulla_testkit::Mirror;

/// A folder with one file of a size, and the mirror that serves it as `/file`.
struct Served {
    mirror: Mirror,
    bytes: Vec<u8>,
    _folder: tempfile::TempDir,
}

fn serve(size: usize) -> Served {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
    std::fs::write(folder.path().join("file"), &bytes).expect("a file");
    Served { mirror: Mirror::serve(folder.path()), bytes, _folder: folder }
}

impl Served {
    fn url(&self) -> Url {
        url(&format!("{}/file", self.mirror.url()))
    }

    fn download(&self) -> Download {
        Download {
            urls: vec![self.url()],
            reach: Reach::Configured,
            size: Some(self.bytes.len() as u64),
            digest: Digest::of(&self.bytes),
        }
    }
}

fn url(text: &str) -> Url {
    Url::parse(text).expect("a URL")
}

/// Waits that are short enough for tests.
fn quick() -> NetConfig {
    let timeouts = Timeouts {
        connect: Duration::from_secs(5),
        response: Duration::from_secs(2),
        stall: Duration::from_secs(1),
        slowest: 2000,
        pause: Duration::from_millis(10),
        longest_pause: Duration::from_secs(2),
    };
    NetConfig { timeouts, ..NetConfig::default() }
}

fn client() -> Client {
    Client::new(quick()).expect("a client")
}

fn get(client: &Client, url: Url) -> Result<Body, NetError> {
    client.get_bytes(&Get { urls: vec![url], reach: Reach::Configured, max_size: 1 << 20, accept: None })
}

/// Downloads into memory; gives the verified bytes and the most bytes that were ever there.
fn fetch(client: &Client, download: &Download) -> Result<(Vec<u8>, u64), NetError> {
    fetch_onto(client, download, Vec::new())
}

fn fetch_onto(client: &Client, download: &Download, before: Vec<u8>) -> Result<(Vec<u8>, u64), NetError> {
    let (mut sink, most) = (MemorySink::with(before), AtomicU64::new(0));
    client.download(download, &mut sink, &|have| {
        most.fetch_max(have, Ordering::Relaxed);
    })?;
    Ok((sink.into_verified().expect("verified"), most.into_inner()))
}
