//! Which proxy a URL is asked through, if any.

use std::net::IpAddr;

use crate::{
    config::{Proxies, ProxyAddress},
    guard,
    url::Url,
};

impl Proxies {
    /// Gives the proxy for a URL, or nothing when it is asked directly.
    pub(crate) fn for_url(&self, url: &Url) -> Option<&ProxyAddress> {
        let proxy = if url.is_secure() { self.https.as_ref() } else { self.http.as_ref() }?;
        let direct = guard::is_loopback_text(url) || self.no_proxy.iter().any(|entry| matches(entry, url));
        (!direct).then_some(proxy)
    }
}

fn matches(entry: &str, url: &Url) -> bool {
    let entry = entry.trim().to_ascii_lowercase();
    let host = url.host().trim_end_matches('.');
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if entry == "*" {
        return true;
    }
    if let Ok(address) = bare.parse::<IpAddr>() {
        return matches_address(&entry, address, url.port());
    }
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, port)) => (name.to_owned(), port.parse::<u16>().ok()),
        None => (entry.clone(), None),
    };
    let name = name.trim_start_matches('*').trim_start_matches('.').trim_end_matches('.');
    let same = host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
    !name.is_empty() && same && port.is_none_or(|port| port == url.port())
}

fn matches_address(entry: &str, address: IpAddr, port: u16) -> bool {
    let same = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse() == Ok(address);
    if same(entry) {
        return true;
    }
    if let Some((net, bits)) = entry.split_once('/') {
        let (Ok(net), Ok(bits)) = (net.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
        return within(address, net, bits);
    }
    entry.rsplit_once(':').is_some_and(|(text, digits)| same(text) && digits.parse() == Ok(port))
}

fn within(address: IpAddr, net: IpAddr, bits: u32) -> bool {
    let (address, net, width) = match (address, net) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (u128::from(a.to_bits()), u128::from(n.to_bits()), 32_u32),
        (IpAddr::V6(a), IpAddr::V6(n)) => (a.to_bits(), n.to_bits(), 128),
        _ => return false,
    };
    let Some(shift) = width.checked_sub(bits) else { return false };
    address.checked_shr(shift).unwrap_or(0) == net.checked_shr(shift).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(no_proxy: &[&str]) -> Proxies {
        let http = Some(ProxyAddress::parse("http://u:w@proxy.example:3128").expect("a proxy"));
        Proxies { http, https: None, no_proxy: no_proxy.iter().map(|&entry| entry.into()).collect() }
    }

    fn proxied(no_proxy: &[&str], url: &str) -> bool {
        proxies(no_proxy).for_url(&Url::parse(url).expect("a URL")).is_some()
    }

    #[test]
    fn only_the_scheme_that_has_a_proxy_uses_it() {
        assert!(proxied(&[], "http://m.example/"));
        assert!(!proxied(&[], "https://m.example/"));
        assert!(!proxied(&[], "http://localhost/") && !proxied(&[], "http://127.3.2.1/"), "loopback is asked directly");
    }

    #[test]
    fn exceptions_are_read_as_clients_do() {
        for (entry, url) in [
            ("*", "http://m.example/"),
            ("example", "http://m.example/"),
            (".m.example", "http://a.m.example/"),
            ("*.m.example", "http://a.m.example/"),
            ("M.Example", "http://m.example/"),
            ("m.example:8080", "http://m.example:8080/"),
            ("10.0.0.0/8", "http://10.2.3.4/"),
            ("10.2.3.4:80", "http://10.2.3.4/"),
            ("fd00::/8", "http://[fd00::1]/"),
            ("[fd00::1]", "http://[fd00::1]/"),
            ("0.0.0.0/0", "http://10.2.3.4/"),
        ] {
            assert!(!proxied(&[entry], url), "{entry} {url}");
        }
        for (entry, url) in [
            ("m.example", "http://xm.example/"),
            ("m.example:81", "http://m.example/"),
            ("", "http://m.example/"),
            (".", "http://m.example/"),
            ("10.0.0.0/8", "http://11.2.3.4/"),
            ("10.0.0.0/99", "http://10.2.3.4/"),
            ("fd00::/8", "http://10.2.3.4/"),
        ] {
            assert!(proxied(&[entry], url), "{entry} {url}");
        }
    }
}
