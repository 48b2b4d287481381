//! The client against registries: a real one, and one that lies, breaks off and redirects.

mod access;
mod pull;
mod push;
mod real;

use std::{sync::Arc, time::Duration};

use bulla_model::{
    Digest,
    oci::{self, Descriptor, Index, Manifest, Reference},
};
use bulla_net::{
    Client, MemorySink, NetConfig, Reach, Secret, SinkError, Timeouts,
    oci::{Login, Logins, Registries, RegistryConfig, RegistryError, Repository},
};
use bulla_testkit::FakeRegistry;

/// Waits that are short enough for tests.
fn quick() -> NetConfig {
    let timeouts = Timeouts {
        connect: Duration::from_secs(5),
        response: Duration::from_secs(5),
        stall: Duration::from_secs(2),
        slowest: 2000,
        pause: Duration::from_millis(10),
        longest_pause: Duration::from_secs(1),
    };
    NetConfig { timeouts, ..NetConfig::default() }
}

/// Gives one login for one registry.
struct One(String, Login);

impl Logins for One {
    fn login(&self, host: &str, _: &str) -> Result<Option<Login>, SinkError> {
        Ok((host == self.0).then(|| self.1.clone()))
    }
}

const USER: &str = "ada";
const PASSWORD: &str = "correct-horse";

fn password() -> Login {
    Login::Password { name: USER.into(), password: Secret::new(PASSWORD) }
}

fn registries(net: NetConfig, config: RegistryConfig) -> Registries {
    Registries::new(Client::new(net).expect("a client"), config)
}

fn with_login(registry: &FakeRegistry, login: Login) -> Registries {
    let logins = Arc::new(One(registry.address(), login));
    registries(quick(), RegistryConfig { logins, ..RegistryConfig::default() })
}

fn reference(registry: &str, rest: &str) -> Reference {
    Reference::parse(&format!("{registry}/{rest}")).expect("a reference")
}

/// Opens `team/shop` of a registry, as the user would name it.
fn open(registries: &Registries, registry: &FakeRegistry) -> Result<Repository, RegistryError> {
    registries.repository(&reference(&registry.address(), "team/shop"), Reach::Configured)
}

/// Opens `team/shop` without any login.
fn shop(registry: &FakeRegistry) -> Repository {
    open(&registries(quick(), RegistryConfig::default()), registry).expect("a registry")
}

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at * 31 % 251) as u8).collect()
}

fn described(bytes: &[u8]) -> Descriptor {
    Descriptor::new(oci::LAYER_GZIP, Digest::of(bytes), bytes.len() as u64)
}

/// Downloads a blob into memory.
fn fetch(repository: &Repository, blob: &Descriptor) -> Result<Vec<u8>, RegistryError> {
    let mut sink = MemorySink::default();
    repository.blob(blob, &mut sink, &|_| {})?;
    Ok(sink.into_verified().expect("verified"))
}

fn send(repository: &Repository, bytes: &[u8]) -> Result<(), RegistryError> {
    let upload = repository.begin()?;
    repository.upload(&described(bytes), upload, &mut std::io::Cursor::new(bytes), &|_| {})
}

fn manifest(layers: usize) -> Vec<u8> {
    let config = Descriptor::new(oci::CONFIG, Digest::of("{}"), 2);
    let layer = |at: usize| Descriptor::new(oci::LAYER_GZIP, Digest::of(at.to_string()), 100);
    oci::encode(&Manifest::new(config, (0..layers).map(layer).collect()))
}

fn index() -> Vec<u8> {
    oci::encode(&Index::new(vec![Descriptor::new(oci::MANIFEST, Digest::of("m"), 1)]))
}
