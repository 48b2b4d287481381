//! Makes the HTTP client out of the configuration, the environment and apt's settings, in this order of strength.

use std::io::Read;

use bulla_model::{Fault, Kind};
use bulla_net::{Authority, Client, NetConfig, Proxies, ProxyAddress, SshConfig, UrlError};

use crate::{
    error::{CliError, Result},
    registry::Apt,
    session::Session,
};

/// The most bytes that a file of certificates may have.
const MAX_AUTHORITIES: u64 = 4 << 20;

/// A proxy whose address is wrong.
#[derive(Debug, thiserror::Error)]
#[error("reading the address of the proxy from {place}")]
struct ProxyError {
    place: &'static str,
    source: UrlError,
}

impl Fault for ProxyError {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hints(&self) -> Vec<String> {
        vec!["write `http://HOST:PORT`; SOCKS proxies are not supported".into()]
    }
}

/// Says how SSH is used: by the program that stands first in `$PATH`.
///
/// # Errors
/// When the configuration is wrong.
pub(crate) fn ssh(session: &Session) -> Result<SshConfig> {
    let environment = &session.environment;
    let path = environment.path.clone().unwrap_or_default();
    let mut places =
        std::env::split_paths(&path).filter(|folder| folder.is_absolute()).map(|folder| folder.join("ssh"));
    Ok(SshConfig {
        program: places.find(|place| place.is_file()).unwrap_or_else(|| "/usr/bin/ssh".into()),
        hosts: session.config()?.network.ssh_hosts.clone(),
        environment: environment.ssh.clone(),
        cancel: session.interrupt.flag(),
    })
}

/// Makes the client.
///
/// # Errors
/// When a proxy's address or a file of certificates is wrong.
pub(crate) fn client(session: &Session, apt: &Apt) -> Result<Client> {
    let configured = &session.config()?.network;
    let environment = &session.environment;
    let proxy = |key: &'static str, own: &Option<String>, variable: &Option<String>, of_apt: &Option<String>| {
        let sources = [(key, own), ("the environment", variable), ("apt's settings", of_apt)];
        let found = sources.into_iter().find_map(|(place, text)| Some((place, text.as_ref()?)));
        found.map(|(place, text)| ProxyAddress::parse(text).map_err(|source| ProxyError { place, source })).transpose()
    };
    let no_proxy = configured.no_proxy.clone().unwrap_or_else(|| {
        let listed = environment.no_proxy.as_deref().unwrap_or_default().split(',').map(str::trim);
        let listed = listed.filter(|host| !host.is_empty()).map(str::to_owned);
        listed.chain(apt.direct_hosts.iter().cloned()).collect()
    });
    let mut config = NetConfig {
        proxies: Proxies {
            http: proxy(
                "`http-proxy` of the configuration",
                &configured.http_proxy,
                &environment.http_proxy,
                &apt.http_proxy,
            )?,
            https: proxy(
                "`https-proxy` of the configuration",
                &configured.https_proxy,
                &environment.https_proxy,
                &apt.https_proxy,
            )?,
            no_proxy,
        },
        credentials: apt.credentials.clone(),
        local_hosts: configured.local_hosts.clone(),
        cancel: session.interrupt.flag(),
        ..NetConfig::default()
    };
    for file in configured.ca_files.iter().chain(&apt.ca_files) {
        let mut pem = Vec::new();
        let open = fs_err::File::open(file).map_err(CliError::file)?;
        open.take(MAX_AUTHORITIES).read_to_end(&mut pem).map_err(CliError::file)?;
        config.authorities.push(Authority { name: file.display().to_string(), pem });
    }
    if let Some(connections) = configured.connections {
        config.parallelism = connections;
    }
    Ok(Client::new(config)?)
}
