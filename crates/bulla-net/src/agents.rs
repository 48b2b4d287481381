//! The HTTP agents: one set of pooled connections for each way that leads out.

use ureq::{
    Agent, Proxy, ProxyProtocol,
    config::Config,
    http::Uri,
    tls::TlsConfig,
    unversioned::{
        resolver::{DefaultResolver, Resolver},
        transport::{Connector, DefaultConnector, TcpConnector},
    },
};

use crate::{
    absolute::AbsoluteConnector,
    config::{NetConfig, ProxyAddress, Reach},
    error::NetError,
    guard::{self, FixedResolver, GuardedResolver},
    tls,
    url::Url,
};

/// The most bytes of status line and headers.
const MAX_HEADERS: usize = 64 * 1024;

/// The ways out.
#[derive(Debug)]
pub(crate) struct Agents {
    /// Straight, to addresses that only configuration may name.
    anywhere: Agent,
    /// Straight, but never to a local address.
    outside: Agent,
    /// Through the proxy for `http`.
    http_proxy: Option<Agent>,
    /// Through the proxy for `https`, by a tunnel.
    https_proxy: Option<Agent>,
}

impl Agents {
    /// Makes the agents. Nothing is connected yet.
    pub(crate) fn new(config: &NetConfig) -> Result<Self, NetError> {
        let tls = tls::settings(&config.authorities)?;
        let make = |proxy| settings(config, &tls, proxy);
        Ok(Self {
            anywhere: straight(make(None), DefaultResolver::default()),
            outside: straight(make(None), GuardedResolver::default()),
            http_proxy: config.proxies.http.as_ref().map(|proxy| for_http(proxy, make)).transpose()?,
            https_proxy: config.proxies.https.as_ref().map(|proxy| tunnel(proxy, make)).transpose()?,
        })
    }

    /// Gives the agent that a URL is to be asked with.
    pub(crate) fn pick(&self, url: &Url, reach: Reach, config: &NetConfig) -> Result<&Agent, NetError> {
        if reach == Reach::Public && guard::is_local_text(url) {
            return Err(NetError::Local { url: url.shown() });
        }
        let proxy = if url.is_secure() { &self.https_proxy } else { &self.http_proxy };
        Ok(match (config.proxies.for_url(url), proxy, reach) {
            (Some(_), Some(agent), _) => agent,
            (_, _, Reach::Configured) => &self.anywhere,
            (_, _, Reach::Public) => &self.outside,
        })
    }

    /// Breaks all connections, so that who waits on one wakes up.
    pub(crate) fn shut_down(&self) {
        let all = [Some(&self.anywhere), Some(&self.outside), self.http_proxy.as_ref(), self.https_proxy.as_ref()];
        all.into_iter().flatten().for_each(|agent| agent.clone().shutdown());
    }
}

fn straight(settings: Config, resolver: impl Resolver) -> Agent {
    Agent::with_parts(settings, DefaultConnector::default(), resolver)
}

fn settings(config: &NetConfig, tls: &TlsConfig, proxy: Option<Proxy>) -> Config {
    Agent::config_builder()
        .tls_config(tls.clone())
        .proxy(proxy)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .accept("*/*")
        .accept_encoding("identity")
        .user_agent(config.user_agent.as_str())
        .max_response_header_size(MAX_HEADERS)
        .max_idle_connections_per_host(config.parallelism)
        .max_idle_connections(4 * config.parallelism)
        .timeout_resolve(Some(config.timeouts.connect))
        .timeout_connect(Some(config.timeouts.connect))
        .timeout_send_request(Some(config.timeouts.response))
        .timeout_recv_response(Some(config.timeouts.response))
        .timeout_per_read(Some(config.timeouts.stall))
        .build()
}

/// Plain HTTP goes in absolute form to a plain proxy, and through a tunnel to an encrypted one.
fn for_http(proxy: &ProxyAddress, make: impl Fn(Option<Proxy>) -> Config) -> Result<Agent, NetError> {
    if proxy.url.is_secure() {
        return tunnel(proxy, make);
    }
    let place: Uri =
        proxy.url.origin().parse().map_err(|error| bad_proxy(proxy, ureq::http::Error::from(error).into()))?;
    let resolver = FixedResolver { place, inner: DefaultResolver::default() };
    let connector = ().chain(TcpConnector::default()).chain(AbsoluteConnector);
    Ok(Agent::with_parts(make(None), connector, resolver))
}

fn tunnel(proxy: &ProxyAddress, make: impl Fn(Option<Proxy>) -> Config) -> Result<Agent, NetError> {
    let protocol = if proxy.url.is_secure() { ProxyProtocol::Https } else { ProxyProtocol::Http };
    let mut builder = Proxy::builder(protocol).host(proxy.url.host()).port(proxy.url.port());
    if let Some((name, password)) = &proxy.login {
        builder = builder.username(name).password(password.reveal());
    }
    let proxy = builder.build().map_err(|error| bad_proxy(proxy, error))?;
    Ok(Agent::with_parts(make(Some(proxy)), DefaultConnector::default(), DefaultResolver::default()))
}

fn bad_proxy(proxy: &ProxyAddress, error: ureq::Error) -> NetError {
    NetError::Proxy { url: proxy.url.shown(), source: Box::new(error) }
}
