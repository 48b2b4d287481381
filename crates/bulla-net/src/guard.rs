//! Keeps URLs that strangers chose away from this machine: its loopback, its link, and the services that clouds put there
//! (server-side request forgery). Names are checked after look-up, so that one which resolves to loopback is caught too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ureq::{
    Error,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::NextTimeout,
    },
};

use crate::url::Url;

/// Says whether an address is of this machine, its link, or no host at all.
pub(crate) fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_local_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4() {
            Some(v4) if !v6.is_loopback() && !v6.is_unspecified() => is_local_v4(v4),
            _ => is_local_v6(v6),
        },
    }
}

/// The metadata service of one large cloud stands at a shared address instead of a link-local one.
const METADATA_V4: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
/// The metadata service of another, by IPv6.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

fn is_local_v4(address: Ipv4Addr) -> bool {
    address.octets()[0] == 0
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address == METADATA_V4
}

fn is_local_v6(address: Ipv6Addr) -> bool {
    address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unicast_link_local()
        || address == METADATA_V6
}

/// Says whether the host of a URL is local by its text alone: an address, or a name that stands for loopback.
pub(crate) fn is_local_text(url: &Url) -> bool {
    let host = url.host().trim_end_matches('.');
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok_and(is_local) || is_loopback_name(host)
}

/// Says whether the host of a URL is loopback by its text: such are never asked through a proxy.
pub(crate) fn is_loopback_text(url: &Url) -> bool {
    let host = url.host().trim_end_matches('.');
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) || is_loopback_name(host)
}

/// RFC 6761, section 6.3, and the names in a usual hosts file.
fn is_loopback_name(host: &str) -> bool {
    matches!(host, "localhost" | "ip6-localhost" | "ip6-loopback" | "localhost.localdomain")
        || host.ends_with(".localhost")
}

/// Looks names up and refuses those that lead to a local address.
#[derive(Debug, Default)]
pub(crate) struct GuardedResolver(DefaultResolver);

/// The refusal of [`GuardedResolver`], as it travels through the HTTP library.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to an address of this machine or its link")]
pub(crate) struct LeadsHome;

impl Resolver for GuardedResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let addresses = self.0.resolve(uri, config, timeout)?;
        if addresses.iter().any(|address| is_local(address.ip())) {
            return Err(Error::Other(Box::new(LeadsHome)));
        }
        Ok(addresses)
    }
}

/// Looks up one fixed place, whatever is asked for: the proxy.
#[derive(Debug)]
pub(crate) struct FixedResolver {
    pub(crate) place: Uri,
    pub(crate) inner: DefaultResolver,
}

impl Resolver for FixedResolver {
    fn resolve(&self, _: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        self.inner.resolve(&self.place, config, timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_known_in_all_their_spellings() {
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "::1",
            "::",
            "fe80::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "::ffff:169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
            "100.100.100.200",
            "fd00:ec2::254",
        ] {
            assert!(is_local(address.parse().expect("an address")), "{address}");
        }
        for address in ["10.0.0.1", "192.168.1.1", "93.184.216.34", "2001:db8::1", "fd00::1", "::ffff:10.0.0.1"] {
            assert!(!is_local(address.parse().expect("an address")), "{address}");
        }
    }

    #[test]
    fn names_of_loopback_are_known() {
        let local = |text: &str| is_local_text(&Url::parse(text).expect("a URL"));
        assert!(
            local("http://localhost/")
                && local("http://a.LOCALHOST./")
                && local("http://[::1]:8/")
                && local("http://127.0.0.2/")
        );
        assert!(!local("http://localhost.example/") && !local("http://mirror.example/"));
    }
}
