//! What the client is made with. Who makes it has read the user's configuration, apt's settings and the environment; this
//! crate reads none of them.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use crate::url::{Url, UrlError};

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Takes a text that is never to be printed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A login for one origin, sent by basic authentication (RFC 7617) to no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Scheme, host and port as [`Url::origin`] writes them. For an entry of apt's `auth.conf` without a scheme: `https://HOST`
    /// (`apt_auth.conf(5)`: logins without a scheme are for encrypted origins).
    pub origin: String,
    /// The path that the login is for, and all beneath it; `/` or nothing for the whole origin.
    pub path: String,
    /// The name.
    pub login: String,
    /// The password or token.
    pub password: Secret,
}

impl Credential {
    /// Gives the value of `Authorization` that the login is sent as.
    pub fn authorization(&self) -> Secret {
        Secret(crate::exchange::basic(&self.login, self.password.reveal()))
    }

    /// Says whether the login is for a URL: the same origin, and the path or one beneath it.
    pub(crate) fn is_for(&self, url: &Url) -> bool {
        let prefix = self.path.trim_end_matches('/');
        let beneath = url.path().strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.origin.trim_end_matches('/').eq_ignore_ascii_case(&url.origin()) && beneath
    }
}

/// Where a proxy listens, and the login for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyAddress {
    pub(crate) url: Url,
    pub(crate) login: Option<(String, Secret)>,
}

impl ProxyAddress {
    /// Reads `http://[user:word@]host[:port]`, or the same without a scheme, as `http_proxy` and apt's settings have it.
    ///
    /// # Errors
    /// When it is not the address of an HTTP or HTTPS proxy (SOCKS is not supported).
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let (url, credential) = Url::parse_with_login(&whole)?;
        Ok(Self { url, login: credential.map(|found| (found.login, found.password)) })
    }
}

/// Which proxies stand between this machine and which hosts.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// The proxy for `http` URLs.
    pub http: Option<ProxyAddress>,
    /// The proxy for `https` URLs.
    pub https: Option<ProxyAddress>,
    /// Hosts that are asked directly: `*`, `host`, `.suffix`, `*.suffix`, `host:port`, an address, or `address/bits`. A name
    /// also stands for the names beneath it. Loopback is always asked directly.
    pub no_proxy: Vec<String>,
}

/// A certificate authority that is trusted beside the system's.
#[derive(Clone)]
pub struct Authority {
    /// Where it comes from, for messages: a file name.
    pub name: String,
    /// One or more certificates in PEM.
    pub pem: Vec<u8>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How long the client waits, and for what.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// For a connection, with name look-up, proxy and TLS.
    pub connect: Duration,
    /// For the whole head of an answer.
    pub response: Duration,
    /// For the next bytes of a body; also the time over which the pace is measured.
    pub stall: Duration,
    /// The fewest bytes a second, on average over [`Timeouts::stall`], that count as progress.
    pub slowest: u64,
    /// Before the first repetition; doubled each time.
    pub pause: Duration,
    /// The longest pause, also where a server asks for a longer one.
    pub longest_pause: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            response: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            slowest: 1024,
            pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
        }
    }
}

/// Who chose a URL, and so where it may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// A spec, a lock or a server chose it: never this machine itself nor its link.
    #[default]
    Public,
    /// The user's or the machine's configuration chose it: anywhere.
    Configured,
}

/// All that the client needs to know of the user, the machine and the environment.
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// The proxies.
    pub proxies: Proxies,
    /// Certificate authorities beside the system's own.
    pub authorities: Vec<Authority>,
    /// The logins, each for its origin.
    pub credentials: Vec<Credential>,
    /// The hosts of this machine or its link that a URL of a spec may lead to all the same: `HOST` or `HOST:PORT`.
    pub local_hosts: Vec<String>,
    /// How long is waited.
    pub timeouts: Timeouts,
    /// The most connections to one host, and the most downloads at once.
    pub parallelism: usize,
    /// What the client calls itself.
    pub user_agent: String,
    /// How often a mirror is asked again after a passing failure.
    pub retries: u32,
    /// Becomes true when the user stops the program; all that goes on then ends with [`crate::NetError::Cancelled`].
    pub cancel: Arc<AtomicBool>,
}

impl NetConfig {
    /// Gives how far a URL may lead: what the user lets be reached counts as configured, for this one hop.
    pub(crate) fn reach(&self, url: &Url, reach: Reach) -> Reach {
        let with_port = format!("{}:{}", url.host(), url.port());
        let allowed = |host: &String| host.eq_ignore_ascii_case(url.host()) || host.eq_ignore_ascii_case(&with_port);
        if self.local_hosts.iter().any(allowed) { Reach::Configured } else { reach }
    }
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            proxies: Proxies::default(),
            authorities: Vec::new(),
            credentials: Vec::new(),
            local_hosts: Vec::new(),
            timeouts: Timeouts::default(),
            parallelism: 6,
            user_agent: concat!("bulla/", env!("CARGO_PKG_VERSION")).to_owned(),
            retries: 3,
            cancel: Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_for_its_origin_and_path_alone() {
        let login = Credential {
            origin: "https://m.example".into(),
            path: "/private/".into(),
            login: "u".into(),
            password: Secret::new("w"),
        };
        let fits = |text: &str| login.is_for(&Url::parse(text).expect("a URL"));
        assert!(fits("https://m.example/private/x") && fits("https://M.example:443/private"));
        for other in [
            "http://m.example/private/x",
            "https://m.example:444/private/x",
            "https://m.example/privately",
            "https://m.example/",
            "https://m.example.evil.example/private/x",
            "https://m.example/private/../x",
        ] {
            assert!(!fits(other), "{other}");
        }
    }
}
