//! Where a private key is, by what the user calls it.

use std::{os::unix::ffi::OsStrExt as _, path::Path};

use bulla_evidence::key::uri::{self, TokenUri, TokenUriError};
use bulla_model::{Fault, Kind};

use super::vault;

/// Where a private key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// In a file under a passphrase.
    File(&'a Path),
    /// On a token, `pkcs11:…`.
    Token(Box<TokenUri>),
    /// In Vault, `hashivault://KEY`.
    Vault(&'a str),
}

/// Says why a text names no place of a private key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    /// It is to be on a token.
    #[error("reading the URI of the private key")]
    Uri(#[from] TokenUriError),
    /// It is with a service that is not asked.
    #[error("keys of `{0}` are not asked for directly")]
    Service(&'static str),
    /// It is no text.
    #[error("the name of the private key is not UTF-8")]
    Text,
}

impl Fault for PlaceError {
    fn kind(&self) -> Kind {
        Kind::Spec
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Uri(TokenUriError::Pin) => {
                vec!["give the PIN by `pin-source=FILE` in the URI, `--passphrase-file FILE` or `BULLA_KEY_PASSWORD`, or type it".into()]
            }
            Self::Service(_) => {
                vec![
                    "the service's PKCS #11 module reaches them, as `pkcs11:token=…;object=…?module-path=/…/MODULE.so`"
                        .into(),
                ]
            }
            Self::Uri(_) | Self::Text => Vec::new(),
        }
    }
}

/// What cosign calls keys of services that nothing asks here.
const SERVICES: [&str; 4] = ["awskms://", "gcpkms://", "azurekms://", "k8s://"];

impl<'a> Place<'a> {
    /// Reads what a user calls a private key. A file of such a name is `./NAME`.
    ///
    /// # Errors
    /// When it begins as the name of a key elsewhere, and is none.
    pub(crate) fn parse(name: &'a Path) -> Result<Self, PlaceError> {
        let bytes = name.as_os_str().as_bytes();
        if let Some(service) = SERVICES.iter().find(|service| bytes.starts_with(service.as_bytes())) {
            return Err(PlaceError::Service(service));
        }
        let text = || std::str::from_utf8(bytes).map_err(|_| PlaceError::Text);
        if uri::is_token(bytes) {
            return Ok(Self::Token(Box::new(TokenUri::parse(text()?)?)));
        }
        if bytes.starts_with(vault::SCHEME.as_bytes()) {
            return Ok(Self::Vault(text()?));
        }
        Ok(Self::File(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_where_the_key_is() {
        let parse = |name: &'static str| Place::parse(Path::new(name));
        for file in ["release.key", "/etc/bulla/release.key", "./pkcs11:x", "./hashivault://x"] {
            assert!(matches!(parse(file), Ok(Place::File(path)) if path == Path::new(file)));
        }
        assert!(matches!(parse("pkcs11:object=x"), Ok(Place::Token(uri)) if uri.object.as_deref() == Some("x")));
        assert!(matches!(parse("hashivault://x"), Ok(Place::Vault("hashivault://x"))));
        assert!(matches!(parse("pkcs11:?pin-value=1"), Err(PlaceError::Uri(TokenUriError::Pin))));
        for service in SERVICES {
            assert!(matches!(parse(service), Err(PlaceError::Service(_))), "{service}");
        }
    }
}
