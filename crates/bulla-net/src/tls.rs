//! Whom the client believes: the system's authorities, and those that the configuration names beside them.

use std::sync::Arc;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use crate::{config::Authority, error::NetError};

/// Makes the TLS settings. The system's own store is only read here when there are authorities to add to it; else the
/// platform's verifier reads it at the first encrypted connection.
pub(crate) fn settings(authorities: &[Authority]) -> Result<TlsConfig, NetError> {
    let roots = if authorities.is_empty() { RootCerts::PlatformVerifier } else { with_system(authorities)? };
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(roots)
        .build())
}

fn with_system(authorities: &[Authority]) -> Result<RootCerts, NetError> {
    // A broken file in the system's store must not hide the good ones: only a whole absence matters, and then the
    // configured ones still count.
    let system = rustls_native_certs::load_native_certs().certs;
    let mut roots: Vec<Certificate<'static>> = system.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    for authority in authorities {
        roots.extend(certificates(authority)?);
    }
    Ok(RootCerts::new_with_certs(&roots))
}

fn certificates(authority: &Authority) -> Result<Vec<Certificate<'static>>, NetError> {
    let fail = |reason: String| NetError::Authority { name: authority.name.clone(), reason };
    let mut found = Vec::new();
    let mut store = rustls::RootCertStore::empty();
    for item in parse_pem(&authority.pem) {
        let PemItem::Certificate(certificate) = item.map_err(|error| fail(error.to_string()))? else { continue };
        // What the verifier would silently ignore is an error here: the user named the file on purpose.
        store.add(certificate.der().to_vec().into()).map_err(|error| fail(error.to_string()))?;
        found.push(certificate);
    }
    if found.is_empty() { Err(fail("there is no certificate in PEM in it".to_owned())) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_that_is_none_is_an_error_with_its_name() {
        for pem in [&b""[..], b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let authority = Authority { name: "corporate.pem".into(), pem: pem.to_vec() };
            let error = settings(&[authority]).expect_err("refused").to_string();
            assert!(error.contains("corporate.pem"), "{error}");
        }
    }
}
