//! How clients in a step come to the proxy: only where a lock file has whole addresses that they go to by themselves.
//!
//! All of it is the same in every build, but for the certificate, which is made anew for each run: it is no part of a step's key, and may
//! stay nowhere. So it is a file that lies outside of what a step leaves, clients are told of it by variables, the system's own
//! bundle is not touched, and what a step left is searched for it.

use std::collections::BTreeMap;

use bulla_model::{SecretBytes, spec::Name};
use bulla_serve::{Authority, Served};

use crate::secret::Secrets;

/// Where a step finds the certificate.
pub(super) const CERTIFICATE: &str = "/run/bulla/ca.pem";

/// The variables that name a proxy to clients: some read only one spelling.
const PROXIES: [&str; 5] = ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
/// Those that say what is asked without it.
const WITHOUT: [&str; 2] = ["no_proxy", "NO_PROXY"];
/// Those that name the authorities that clients believe.
const AUTHORITIES: [&str; 9] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "npm_config_cafile",
    "CARGO_HTTP_CAINFO",
    "GIT_SSL_CAINFO",
    "DENO_CERT",
];

/// Gives the variables of a step that has the proxy at `base`.
pub(super) fn variables(base: &str) -> BTreeMap<String, String> {
    let of = |names: &[&str], value: &str| names.iter().map(|name| (name.to_string(), value.to_owned())).collect();
    let mut all: BTreeMap<String, String> = of(&PROXIES, base);
    all.append(&mut of(&WITHOUT, "127.0.0.1,localhost,::1"));
    all.append(&mut of(&AUTHORITIES, CERTIFICATE));
    all
}

/// Gives what copies of the certificates have in them, to be searched for.
pub(super) fn marks(authority: &Authority) -> Secrets {
    let names = ["authority", "certificate"].map(|name| Name::parse(name).expect("a name"));
    let keys = authority.keys.iter().map(|key| SecretBytes::new(key.clone()));
    Secrets::new(names.into_iter().zip(keys).collect())
}

/// Gives them as a text that goes into keys.
pub(super) fn text() -> String {
    format!("{:?}", variables(""))
}

/// Says what a request to the proxy that was not answered is about.
pub(super) fn advice(served: &Served) -> Option<String> {
    let Served { method, path, status, .. } = served;
    match (method.as_str(), status) {
        ("CONNECT", _) => Some(format!(
            "a step reaches no host, and no lock file of the stage has an address of {path}: lock what is wanted there, or make it a source"
        )),
        ("TLS", _) => Some(format!(
            "the client has to believe the certificate in {CERTIFICATE}, and to ask by the name that it was connected with"
        )),
        _ if path.contains("://") => Some(format!(
            "no lock file of the stage has the address {path}: a step is given what they name, at exactly the addresses that they have"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_is_told_of_proxy_and_certificate() {
        let variables = variables("http://127.0.0.1:1");
        assert_eq!(variables["https_proxy"], "http://127.0.0.1:1");
        assert_eq!(variables["NO_PROXY"], "127.0.0.1,localhost,::1");
        assert_eq!(variables.values().filter(|value| *value == CERTIFICATE).count(), AUTHORITIES.len());
        assert!(!text().contains("8417"), "the same text, wherever the proxy is");
    }
}
